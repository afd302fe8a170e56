"""Products of matrices with CuPy that copy no operand. Imports nothing of gpugrad.

A product is one call of cuBLAS, of which CuPy's Python binding is called: strides and transposes
are numbers that it takes, and those of arrays that lie alike are worked out once (`_plan`). CuPy's
own ``matmul`` makes operands of more than two axes C-contiguous first, which copies what is
transposed, and float16 becomes float32. Here a stack of rows times one matrix is a product of two
matrices, and stacks of matrices go to cuBLAS with strides and flags. What fits neither is left to
CuPy. A product is also added to what is there, in the same call of cuBLAS.
"""

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Products"]

# By character: the number that CUDA has for a dtype, and the dtype of cuBLAS's scalars.
_KINDS = {"e": (2, "f"), "f": (0, "f"), "d": (1, "d"), "F": (4, "F"), "D": (5, "D")}
_SCALARS = {char: (np.ones((), char), np.zeros((), char)) for char in "fdFD"}
_LIMIT = 2**31  # cuBLAS takes lengths as int
_KNOWN = 4096  # plans that are kept
ONE = (1, 1)  # a result for which CuPy has a kernel of its own
DEFAULT = -1  # cuBLAS's choice of an algorithm
PEDANTIC, TF32 = 2, 7  # what CuPy calls them


class _Stack(NamedTuple):
    """A stack of matrices as cuBLAS takes it, with matrices seen column by column."""

    transposed: int
    leading: int  # from one column to the next, in elements
    step: int  # from one matrix to the next


class _Plan(NamedTuple):
    """A product of two stacks as cuBLAS is called for it.

    What lies row by row is, column by column, the transpose: the product is y.T = b.T @ a.T, so b
    comes first, and n is before m.
    """

    shape: tuple[int, ...]  # of the result
    stacked: bool  # or two matrices
    turned_b: int
    turned_a: int
    n: int
    m: int
    k: int
    dtype: Any
    number: int  # that CUDA has for it
    leading_b: int
    leading_a: int
    step_b: int
    step_a: int
    matrices: int
    one: int  # the addresses of cuBLAS's scalars
    zero: int


class Products:
    """Products of arrays of ``cupy``, the module."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._plain = cupy.matmul
        self._array = cupy.ndarray
        self._cublas: Any = None  # loaded by CuPy when it is first asked for

    def matmul(self, a: Any, b: Any) -> Any:
        """``cupy.matmul`` for two operands, without its copies."""
        if a.ndim == 2 == b.ndim:
            return self.multiply(a, b)
        if a.ndim > 2 and 0 < b.ndim <= 2 and a.flags.c_contiguous and a.size:
            rows = a.reshape((a.size // a.shape[-1], a.shape[-1]))
            return self.matmul(rows, b).reshape((*a.shape[:-1], *b.shape[1:]))
        plan = self._planned(a, b)
        if plan is None:
            return self._plain(a, b)
        y = self._array(plan.shape, a.dtype)
        self._into(y, plan, a, b, plan.zero)
        return y

    def multiply(self, a: Any, b: Any, turn_a: bool = False, turn_b: bool = False) -> Any:
        """The product of two matrices, of which either may be transposed: the path of layers."""
        dtype = a.dtype
        if dtype == b.dtype:
            shape_a, strides_a, shape_b, strides_b = a.shape, a.strides, b.shape, b.strides
            if turn_a:
                shape_a, strides_a = shape_a[::-1], strides_a[::-1]
            if turn_b:
                shape_b, strides_b = shape_b[::-1], strides_b[::-1]
            plan = _plan(shape_a, strides_a, shape_b, strides_b, dtype)
            if plan is not None and plan.shape != ONE:
                y = self._array(plan.shape, dtype)
                self._into(y, plan, a, b, plan.zero)
                return y
        return self._plain(a.T if turn_a else a, b.T if turn_b else b)

    def add_product(self, total: Any, a: Any, b: Any) -> bool:
        """Add a @ b to an array, without a copy, and say whether it has been.

        False, with nothing changed, where cuBLAS takes the arrays not as they lie. Rows that are
        one axis in the factors may be several in ``total``.
        """
        shape = (*a.shape[:-1], b.shape[-1])
        if a.ndim == b.ndim == 2 < total.ndim and total.flags.c_contiguous:
            if total.shape[-1] != shape[1] or total.size != shape[0] * shape[1]:
                return False
            total = total.reshape(shape)
        if total.ndim == 2 and not total.flags.c_contiguous:
            total, a, b = total.T, b.T, a.T
        if total.dtype != a.dtype or not total.flags.c_contiguous:
            return False
        plan = self._planned(a, b)
        if plan is None or plan.shape != total.shape:
            return False
        self._into(total, plan, a, b, plan.one)
        return True

    def _planned(self, a: Any, b: Any) -> _Plan | None:
        dtype = a.dtype
        return _plan(a.shape, a.strides, b.shape, b.strides, dtype) if dtype == b.dtype else None

    def _into(self, y: Any, plan: _Plan, a: Any, b: Any, kept: int) -> None:
        """One call of cuBLAS: y = a @ b + the number at the address ``kept`` times y."""
        cublas = self._cublas
        if cublas is None:
            cublas = self._cublas = self._cupy.cuda.cublas
            self._handle = self._cupy.cuda.device.get_cublas_handle
            self._routines = self._cupy._core._routines_linalg
        # Unpacked, which costs half as much as the attributes.
        (_, stacked, turned_b, turned_a, n, m, k, dtype, number, leading_b, leading_a, step_b,
         step_a, matrices, one, _) = plan  # fmt: skip
        # CuPy is asked each time: CUPY_TF32=1 asks for TF32, and a program may choose anew.
        computed = _precision(cublas, dtype.char, self._routines.get_compute_type(dtype))
        if not stacked:
            cublas.gemmEx(
                self._handle(), turned_b, turned_a, n, m, k, one,
                b.data.ptr, number, leading_b, a.data.ptr, number, leading_a,
                kept, y.data.ptr, number, n, computed, DEFAULT,
            )  # fmt: skip
            return
        cublas.gemmStridedBatchedEx(
            self._handle(), turned_b, turned_a, n, m, k, one,
            b.data.ptr, number, leading_b, step_b, a.data.ptr, number, leading_a, step_a,
            kept, y.data.ptr, number, n, m * n, matrices, computed, DEFAULT,
        )  # fmt: skip


@lru_cache(64)
def _precision(cublas: Any, char: str, chosen: int) -> int:
    """What cuBLAS computes in: that of CuPy's products of two matrices, by the number it has."""
    if chosen == PEDANTIC:
        return int(
            cublas.CUBLAS_COMPUTE_64F_PEDANTIC
            if char in "dD"
            else cublas.CUBLAS_COMPUTE_32F_PEDANTIC
        )
    if char in "dD":
        return int(cublas.CUBLAS_COMPUTE_64F)
    fast = chosen == TF32 and char != "e"
    return int(cublas.CUBLAS_COMPUTE_32F_FAST_TF32 if fast else cublas.CUBLAS_COMPUTE_32F)


@lru_cache(_KNOWN)
def _plan(
    shape_a: tuple[int, ...], strides_a: tuple[int, ...], shape_b: tuple[int, ...],
    strides_b: tuple[int, ...], dtype: Any,
) -> _Plan | None:  # fmt: skip
    """The product of two stacks by one call of cuBLAS; None where it does not take them so."""
    if dtype.char not in _KINDS or min(len(shape_a), len(shape_b)) < 2:
        return None
    (m, k), n = shape_a[-2:], shape_b[-1]
    if shape_b[-2] != k:
        return None
    try:
        batch = np.broadcast_shapes(shape_a[:-2], shape_b[:-2])
    except ValueError:
        return None
    size = dtype.itemsize
    first, second = _stack(shape_a, strides_a, size, batch), _stack(shape_b, strides_b, size, batch)
    count = prod(batch)
    sizes = (m, n, k, count)
    if first is None or second is None or min(sizes) == 0 or max(sizes) >= _LIMIT:
        return None
    number, scalar = _KINDS[dtype.char]
    one, zero = (value.ctypes.data for value in _SCALARS[scalar])
    return _Plan(
        (*batch, m, n), bool(batch), second.transposed, first.transposed, n, m, k, dtype,
        number, second.leading, first.leading, second.step, first.step, count, one, zero,
    )  # fmt: skip


def _stack(
    shape: tuple[int, ...], strides: tuple[int, ...], size: int, batch: tuple[int, ...]
) -> _Stack | None:
    """How an array, broadcast to a shape of stacks, lies in memory; None for no even steps."""
    rows, columns = shape[-2:]
    steps_of = [stride // size for stride in strides]
    down, along = steps_of[-2:]
    if (along == 1 or columns == 1) and (down >= columns or rows == 1):
        transposed, leading = 0, down if rows > 1 else columns
    elif (down == 1 or rows == 1) and (along >= rows or columns == 1):
        transposed, leading = 1, along if columns > 1 else rows
    else:
        return None
    ahead = len(batch) - len(shape) + 2
    steps = [
        (size, 0 if length == 1 else stride)
        for size, length, stride in zip(
            batch, (1,) * ahead + shape[:-2], [0] * ahead + steps_of[:-2]
        )
        if size > 1
    ]
    step = expected = steps[-1][1] if steps else 0
    for size, stride in reversed(steps):
        if stride != expected:
            return None
        expected = stride * size
    return _Stack(transposed, leading, step) if leading < _LIMIT and step >= 0 else None
