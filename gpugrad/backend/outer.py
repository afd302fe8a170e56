"""Products of columns and rows, by NumPy: matrix products that add nothing up.

Imports precision and reuse.
"""

from typing import Any

import numpy as np

from gpugrad.backend.precision import DOUBLE, SINGLE
from gpugrad.backend.reuse import LARGE, empty

__all__ = ["FEW", "outer_products"]

FEW = 4096  # numbers: what comes before the product takes longer than it saves


def outer_products(columns: Any, rows: Any) -> Any:
    """``columns * rows`` of stacks, in less time where they are large. The rows may be a vector.

    NumPy's product takes 100 ns to begin with each row. BLAS does not, and takes products of
    matrices: a second column and row, of zeros, make one. It adds zeros up, so that there is no -0.
    """
    size = columns.size * rows.shape[-1]
    if size <= FEW or columns.dtype is not rows.dtype:
        return columns * rows
    is_single = columns.dtype is SINGLE
    if not is_single and columns.dtype is not DOUBLE:
        return columns * rows
    if rows.ndim == 1:
        rows = rows[None]
    stacks = columns.shape[:-2]
    if stacks != rows.shape[:-2]:
        stacks = np.broadcast_shapes(stacks, rows.shape[:-2])
    y = empty((*stacks, columns.shape[-2], rows.shape[-1]), columns.dtype)
    is_large = y.nbytes > LARGE
    if is_large and not is_single:
        return np.einsum("...ik,...kj->...ij", columns, rows, out=y)
    # Of large results BLAS writes the numbers in order where both lie as they are to be multiplied.
    return np.matmul(_with_zeros(columns, -1, is_large), _with_zeros(rows, -2, is_large), out=y)


def _with_zeros(x: Any, axis: int, is_turned: bool) -> Any:
    """Columns or rows with one of zeros along an axis of size one, which may come to lie turned."""
    shape = [*x.shape]
    shape[axis] = 2
    if is_turned:
        wide = np.zeros((*shape[:-2], shape[-1], shape[-2]), x.dtype).swapaxes(-1, -2)
    else:
        wide = np.zeros(shape, x.dtype)
    wide[(..., slice(1), slice(None)) if axis == -2 else (..., slice(1))] = x
    return wide
