"""Products of matrices with CuPy that copy no operand. Imports nothing of gpugrad.

CuPy multiplies two matrices by one call of cuBLAS and passes a transposed one as a flag. For
operands of more axes it makes both C-contiguous first, which copies what is transposed, and
float16 becomes float32. Here a stack of rows times one matrix is a product of two matrices, and
stacks of matrices go to cuBLAS with strides and flags. What fits neither is left to CuPy. A product
is also added to what is there, in the same call of cuBLAS.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["add_product_with", "matmul_with"]

# By character: the number that CUDA has for a dtype, and the dtype of cuBLAS's scalars.
_KINDS = {"e": (2, "f"), "f": (0, "f"), "d": (1, "d"), "F": (4, "F"), "D": (5, "D")}
_SCALARS = {char: (np.ones((), char), np.zeros((), char)) for char in "fdFD"}
_LIMIT = 2**31  # cuBLAS takes lengths as int


class _Stack(NamedTuple):
    """A stack of matrices as cuBLAS takes it, with matrices seen column by column."""

    transposed: int
    leading: int  # from one column to the next, in elements
    step: int  # from one matrix to the next


def matmul_with(cupy: Any) -> Callable[[Any, Any], Any]:
    """``cupy.matmul`` for two operands, without its copies."""
    plain = cupy.matmul

    def matmul(a: Any, b: Any) -> Any:
        if a.ndim > 2 and 0 < b.ndim <= 2 and a.flags.c_contiguous and a.size:
            rows = a.reshape((a.size // a.shape[-1], a.shape[-1]))
            return plain(rows, b).reshape((*a.shape[:-1], *b.shape[1:]))
        if a.ndim + b.ndim > 4 and min(a.ndim, b.ndim) > 1:
            y = _stacked(cupy, a, b)
            if y is not None:
                return y
        return plain(a, b)

    return matmul


def add_product_with(cupy: Any) -> Callable[[Any, Any, Any], bool]:
    """A function ``add_product(total, a, b)`` that adds a @ b to an array, without a copy.

    It says whether it has: False, with nothing changed, where cuBLAS takes the arrays not as they
    lie. Rows that are one axis in the factors may be several in ``total``.
    """

    def add_product(total: Any, a: Any, b: Any) -> bool:
        shape = (*a.shape[:-1], b.shape[-1])
        if a.ndim == b.ndim == 2 < total.ndim and total.flags.c_contiguous:
            if total.shape[-1] != shape[1] or total.size != shape[0] * shape[1]:
                return False
            total = total.reshape(shape)
        if total.ndim == 2 and not total.flags.c_contiguous:
            total, a, b = total.T, b.T, a.T
        return total.flags.c_contiguous and _stacked(cupy, a, b, total) is not None

    return add_product


def _stacked(cupy: Any, a: Any, b: Any, total: Any = None) -> Any:
    """The products of two stacks by one call of cuBLAS; None where it does not take them so.

    They are added to ``total`` where it is given, which is in C order.
    """
    (m, k), n = a.shape[-2:], b.shape[-1]
    if a.dtype != b.dtype or a.dtype.char not in _KINDS or b.shape[-2] != k:
        return None
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        return None
    if total is not None and (total.shape != (*batch, m, n) or total.dtype != a.dtype):
        return None
    first, second = _stack(a, batch), _stack(b, batch)
    count = int(np.prod(batch))
    sizes = (m, n, k, count)
    if first is None or second is None or min(sizes) == 0 or max(sizes) >= _LIMIT:
        return None
    cublas = cupy.cuda.cublas  # loaded by CuPy when it is first asked for
    number, scalar = _KINDS[a.dtype.char]
    one, zero = _SCALARS[scalar]
    y = cupy.empty((*batch, m, n), a.dtype) if total is None else total
    kept = zero if total is None else one
    # What lies row by row is, column by column, the transpose: the product is y.T = b.T @ a.T.
    cublas.gemmStridedBatchedEx(
        cupy.cuda.device.get_cublas_handle(),
        *(second.transposed, first.transposed, n, m, k, one.ctypes.data),
        *(b.data.ptr, number, second.leading, second.step),
        *(a.data.ptr, number, first.leading, first.step),
        *(kept.ctypes.data, y.data.ptr, number, n, m * n),
        *(count, _precision(cupy, cublas, a.dtype), cublas.CUBLAS_GEMM_DEFAULT),
    )
    return y


def _precision(cupy: Any, cublas: Any, dtype: Any) -> int:
    """What cuBLAS computes in: that of CuPy's products of two matrices (CUPY_TF32=1 for TF32)."""
    if dtype.char in "dD":
        return int(cublas.CUBLAS_COMPUTE_64F)
    routines = cupy._core._routines_linalg
    chosen = routines.compute_type_to_str(routines.get_compute_type(dtype))
    fast = chosen == "COMPUTE_TYPE_TF32" and dtype.char != "e"
    return int(cublas.CUBLAS_COMPUTE_32F_FAST_TF32 if fast else cublas.CUBLAS_COMPUTE_32F)


def _stack(x: Any, batch: tuple[int, ...]) -> _Stack | None:
    """How an array, broadcast to a shape of stacks, lies in memory; None for no even steps."""
    rows, columns = x.shape[-2:]
    strides = [stride // x.itemsize for stride in x.strides]
    down, along = strides[-2:]
    if (along == 1 or columns == 1) and (down >= columns or rows == 1):
        transposed, leading = 0, down if rows > 1 else columns
    elif (down == 1 or rows == 1) and (along >= rows or columns == 1):
        transposed, leading = 1, along if columns > 1 else rows
    else:
        return None
    ahead = len(batch) - x.ndim + 2
    steps = [
        (size, 0 if length == 1 else stride)
        for size, length, stride in zip(
            batch, (1,) * ahead + x.shape[:-2], [0] * ahead + strides[:-2]
        )
        if size > 1
    ]
    step = expected = steps[-1][1] if steps else 0
    for size, stride in reversed(steps):
        if stride != expected:
            return None
        expected = stride * size
    return _Stack(transposed, leading, step) if leading < _LIMIT and step >= 0 else None
