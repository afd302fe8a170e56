"""The turns of a loop in C, with no Python in between. Imports native, c_compiler.

The body of a loop is a function of C that takes a tuple of arrays and finds their memory in the
objects (`gpugrad.compiler.c_source`). Between two turns another function, the same for all loops,
moves the memory that the objects of the tuple point to: from one slice to the next, and the carries
that were written to where they are read. The objects are views of this call alone.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from gpugrad.compiler.c_compiler import load
from gpugrad.compiler.native import Native

__all__ = ["turns_in_c"]

_SOURCE = """\
#include <stddef.h>

typedef struct {{
    char head[{head}];
    char *data;
}} array_t;

/* All turns of a loop; what the first returns instead of 0 where it has done nothing. */
int turns(int (*turn)(char *, void **), char *tuple, void **table, const ptrdiff_t *facts)
{{
    array_t **items = (array_t **)(tuple + {items});
    const ptrdiff_t length = facts[0], count = facts[1], carries = facts[2], first = facts[3];
    const ptrdiff_t *strides = facts + 4;
    for (ptrdiff_t index = 0; index < length; index++) {{
        const int code = turn(tuple, table);
        if (code) return code;
        for (ptrdiff_t i = 0; i < carries; i++) {{
            char *written = items[first + i]->data;
            items[first + i]->data = items[i]->data;
            items[i]->data = written;
        }}
        for (ptrdiff_t i = 0; i < count; i++)
            if (strides[i]) items[i]->data += strides[i];
    }}
    return 0;
}}
"""


@cache
def _function() -> Any:
    text = _SOURCE.format(head=object.__basicsize__, items=tuple.__basicsize__)
    function = load(text).turns
    function.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p]
    function.restype = ctypes.c_int
    return function


def turns_in_c(native: Native, loop: Any, operands: Sequence[Any]) -> tuple[Any, ...] | None:
    """The results of a loop whose body is one function of C; None for operands it does not take."""
    count, first = loop.carries, loop.carries + loop.slices
    outputs = loop.body.outputs
    slices = [np.require(one, None, ["C", "A"]) for one in operands[count:first]]
    rest = [native.converted(first + i, one) for i, one in enumerate(operands[first:])]
    own = [(np.array(one, order="C"), np.empty_like(one, order="C")) for one in operands[:count]]
    columns = [np.empty((loop.length, *y.shape), y.dtype) for y in outputs[count:]]
    start = loop.length - 1 if loop.reverse else 0
    items = [
        *(before[...] for before, _ in own),
        *(one[start, ...] for one in slices),
        *rest,
        *(after[...] for _, after in own),
        *(one[start, ...] for one in columns),
    ]
    strides = [0] * count + [_stride(one) for one in slices]
    strides += [0] * (len(items) - len(strides) - len(columns)) + [_stride(one) for one in columns]
    if loop.reverse:
        strides = [-stride for stride in strides]
    written = len(items) - len(columns) - count
    facts = np.array([loop.length, len(items), count, written, *strides], np.intp)
    if not native.turns(_function(), items, facts):
        return None
    return (*(pair[loop.length % 2] for pair in own), *columns)


def _stride(array: np.ndarray) -> int:
    """The bytes from one slice to the next."""
    return array.strides[0] if array.size else 0
