"""Sums of arrays in host memory that keep their digits however many numbers there are.

NumPy adds the elements of a row in pairs, but rows one by one: beyond 2**24 of them a float32 sum
of ones stays where it is, and long before it loses digits. Here long axes are added in blocks, and
float16 is added in float32, as a GPU does. Imports precision.
"""

import math
from typing import Any

import numpy as np

from gpugrad.backend.precision import HALF, SINGLE

__all__ = ["ENOUGH", "careful_sum"]

BLOCK = 256
ENOUGH = 4 * BLOCK  # so many numbers, added one by one, lose no digits that count
_add: Any = np.add.reduce


def careful_sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """numpy.sum, in which the error does not grow with the number of rows."""
    dtype = x.dtype
    if dtype.char not in "efF":
        return _add(x, axis, None, None, keepdims)
    wide = SINGLE if dtype == HALF else None
    axes = _axes(x, axis)
    if x.size <= ENOUGH or _are_rows(x, axes):
        y = _add(x, axis, wide, None, keepdims)
    else:
        y = _in_blocks(x, axes, wide)
        if not keepdims:
            y = y.reshape(tuple(n for i, n in enumerate(x.shape) if i not in axes))[()]
    return y.astype(HALF) if wide else y


def _axes(x: Any, axis: Any) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    if not x.ndim:
        return ()  # NumPy takes 0 and -1 there, and refuses others itself
    axes: tuple[int, ...] = np.lib.array_utils.normalize_axis_tuple(axis, x.ndim)
    return axes


def _are_rows(x: Any, axes: tuple[int, ...]) -> bool:
    """Whether what is added up lies side by side: then NumPy adds in pairs."""
    return x.flags.c_contiguous and all(i >= x.ndim - len(axes) for i in axes)


def _in_blocks(x: Any, axes: tuple[int, ...], dtype: Any) -> Any:
    """The sum along axes, which stay with size 1: the longest one in blocks, until few are left."""
    while math.prod(x.shape[i] for i in axes) > ENOUGH:
        axis = max(axes, key=lambda i: x.shape[i])
        size = x.shape[axis]
        blocks = size // BLOCK
        if not blocks:
            x = _add(x, axis, dtype, None, True)
            continue
        ahead = (slice(None),) * axis
        whole, rest = x[(*ahead, slice(blocks * BLOCK))], x[(*ahead, slice(blocks * BLOCK, None))]
        shape = (*x.shape[:axis], blocks, BLOCK, *x.shape[axis + 1 :])
        x = _add(whole.reshape(shape), axis + 1, dtype, None, False)
        if size % BLOCK:
            x = np.concatenate([x, _add(rest, axis, dtype, None, True)], axis=axis)
    return _add(x, axes, dtype, None, True)
