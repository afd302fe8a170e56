"""Which products NumPy's BLAS computes faster the other way round. Imports precision and NumPy."""

import numpy as np

from gpugrad.backend.precision import SINGLE

__all__ = ["is_quicker_turned"]

FEW, SOME = 32, 64  # rows
# BLAS has quick kernels for small products as they stand: multiplications, and numbers of a result.
SMALL, SMALL_RESULT = 1_000_000, 2048


def is_quicker_turned(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether a @ b is computed in less time as (b.T @ a.T).T, and a step that turns it back.

    So it is for few rows times the transpose of weights, in float32: OpenBLAS 0.3 takes half of the
    time for 8 and 16 rows, 0.7 of it for 32 and 0.85 for 64; in float64 as long or longer.

    >>> x, w = np.empty((16, 784), "float32"), np.empty((256, 784), "float32")
    >>> is_quicker_turned(x, w.T), is_quicker_turned(x, np.ascontiguousarray(w.T))
    (True, False)
    """
    if a.dtype != SINGLE or not (a.flags.c_contiguous and b.flags.f_contiguous):
        return False
    (rows, inner), columns = a.shape, b.shape[1]
    if rows <= FEW:
        return rows * columns >= SMALL_RESULT or rows * columns * inner > SMALL
    return rows <= SOME and inner >= 256 and columns >= 128
