"""Results of a recording that are not computed, as long as nothing depends on their values.

A recording is about shapes, dtypes and orders of axes. So a large result of an elementwise function
or of a product is memory that nobody writes to; what is computed of it has any values, and a change
in place by it does not happen. Where values matter, as of an index or a matrix that is factored,
they are computed by the steps recorded so far, and from then on all is (`Tape.see`).

Imports arena, program.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.compiler.programs.arena import result_layout
from gpugrad.compiler.programs.program import VIEWS, is_elementwise

__all__ = ["LARGE", "is_blind", "stand_in"]

LARGE = 1 << 14  # elements of a result from which on computing it costs more than asking for it
PRODUCTS = {"matmul": 1, "transposed_matmul": 0}  # by the axis over which the first matrix is added
# Beside elementwise ones, functions that do the same for all floating-point values; and the
# beginnings of names of layers, with their derivatives.
_BLIND = VIEWS | {
    *PRODUCTS, "concat", "concatenate", "copy", "empty_like", "full_like", "item", "join_heads",
    "max", "mean", "min", "ones_like", "own", "prod", "stack", "sum", "sum_of_rows", "zeros_like",
}  # fmt: skip
_LAYERS = (
    "attention", "batch_norm", "convolution", "cross_entropy", "gru", "layer_norm", "log_softmax",
    "lstm", "rms_norm", "rnn", "softmax",
)  # fmt: skip


def is_blind(name: str, operands: Sequence[Any], unseen: Sequence[Any]) -> bool:
    """Whether a step does the same whatever values those of its operands have that are unseen."""
    if any(one.dtype.kind not in "fb" for one in unseen):
        return False
    if name in ("get_item", "getitem"):
        return len(unseen) == 1 and unseen[0] is operands[0]
    return name in _BLIND or is_elementwise(name) or name.startswith(_LAYERS)


def stand_in(name: str, operands: Sequence[Any], parameters: dict[str, Any]) -> Any:
    """Memory for the large result of a step, in its shape, dtype and layout; else None.

    None as well where operands are of other libraries, or do not fit each other.
    """
    arrays = [one for one in operands if type(one) is np.ndarray and one.ndim]
    if parameters or sum(one.size for one in arrays) < LARGE:
        return None
    if any(type(one) not in _KNOWN and not isinstance(one, np.generic) for one in operands):
        return None
    axis = PRODUCTS.get(name)
    if axis is not None:
        a, b = operands
        if not a.ndim == b.ndim == 2 or a.shape[axis] != b.shape[0] or a.dtype != b.dtype:
            return None
        shape, dtype = (a.shape[1 - axis], b.shape[1]), a.dtype
    elif _is_left_out(name, operands, arrays):
        try:
            shape = np.broadcast_shapes(*[one.shape for one in arrays])
            few = [np.empty(0, one.dtype) if type(one) is np.ndarray else one for one in operands]
            dtype = getattr(np, name)(*few).dtype
        except (TypeError, ValueError):  # which computing it says better
            return None
    else:
        return None
    if dtype.kind not in "fb" or dtype.itemsize == 2 or np.prod(shape) < LARGE:
        return None
    return np.empty(shape, dtype) if axis is not None else result_layout(arrays, shape, dtype)


def _is_left_out(name: str, operands: Sequence[Any], arrays: Sequence[Any]) -> bool:
    """Whether the result of an elementwise function is known without its values."""
    if name == "where":  # whose result lies in C's order here
        return len(operands) == 3 and all(one.flags.c_contiguous for one in arrays)
    return name != "astype" and is_elementwise(name)


_KNOWN = (np.ndarray, int, float)
