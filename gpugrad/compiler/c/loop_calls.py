"""The turns of a loop in C that is no part of a program's C: a call of it. Imports native.

The source of such a loop's body has a function that computes all turns (`compiler/c/source.py`).
Between two it moves the pointers to the arrays of its tuple: from one slice to the next, and from
the carries that were written to those that are read. So each carry is two arrays of this call.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.compiler.c.native import Native

__all__ = ["turns_in_c"]


def turns_in_c(native: Native, loop: Any, operands: Sequence[Any]) -> tuple[Any, ...] | None:
    """The results of a loop whose body is one function of C; None for operands it does not take."""
    count, first = loop.carries, loop.carries + loop.slices
    outputs = loop.body.outputs
    slices = [
        one if one.flags.carray else np.require(one, None, ["C", "A"])
        for one in operands[count:first]
    ]
    own = [(np.array(one, order="C"), np.empty_like(one, order="C")) for one in operands[:count]]
    columns = [np.empty((loop.length, *y.shape), y.dtype) for y in outputs[count:]]
    start = loop.length - 1 if loop.reverse else 0
    moved = [*(before for before, _ in own), *(one[start, ...] for one in slices)]
    written = [*(after for _, after in own), *(one[start, ...] for one in columns)]
    rest = operands[first:]
    step = -1 if loop.reverse else 1
    if not native.turns([*moved, *map(np.asarray, rest), *written], loop.length, step):
        rest = [native.converted(first + i, one) for i, one in enumerate(rest)]
        if not native.turns([*moved, *rest, *written], loop.length, step):
            return None
    return (*(pair[loop.length % 2] for pair in own), *columns)
