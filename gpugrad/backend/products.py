"""Matrix products with CuPy that copy no operand. Imports captures and precision.

A product is one call of cuBLAS through CuPy's binding, which takes strides and transposition flags;
they are computed once for each layout (`_plan`). CuPy's ``matmul`` makes operands of more than two
axes C-contiguous first, which copies transposed ones, and computes float16 in float32. Here a stack
of rows times one matrix is a product of two matrices, and stacks of matrices go to cuBLAS with
strides and flags. CuPy computes the rest. A product can be added to an array in the same call, and
that of half precisions be written in float32, in which cuBLAS sums.
"""

from functools import lru_cache
from math import prod
from threading import get_ident
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.captures import CAPTURES
from gpugrad.backend.precision import SINGLE, is_half

__all__ = ["Products"]

# By character of a dtype, or by name: its cudaDataType, and the dtype of cuBLAS's scalars.
_DTYPES = {
    "e": (2, "f"), "bfloat16": (14, "f"), "f": (0, "f"), "d": (1, "d"), "F": (4, "F"),
    "D": (5, "D"),
}  # fmt: skip
_SCALARS = {char: (np.ones((), char), np.zeros((), char)) for char in "fdFD"}
_LIMIT = 2**31  # cuBLAS takes lengths as int
_PLANS = 4096  # plans in the cache
ONE = (1, 1)  # a result for which CuPy has a kernel of its own
DEFAULT = -1  # cuBLAS's choice of an algorithm
PEDANTIC, TF32 = 2, 7  # CuPy's compute types


class _Stack(NamedTuple):
    """A stack of matrices as cuBLAS sees it: in column-major order."""

    transposed: int
    leading: int  # from one column to the next, in elements
    step: int  # from one matrix to the next


class _Plan(NamedTuple):
    """The arguments of cuBLAS for a product of two stacks.

    A row-major matrix is the transpose in column-major order, so the product is y.T = b.T @ a.T: b
    comes before a, and n before m.
    """

    shape: tuple[int, ...]  # of the result
    stacked: bool  # False for two matrices
    turned_b: int
    turned_a: int
    n: int
    m: int
    k: int
    dtype: Any
    data_type: int  # the cudaDataType of dtype
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
        self._cublas: Any = None  # CuPy loads it at first use

    def matmul(self, a: Any, b: Any) -> Any:
        """``cupy.matmul`` for two operands, without its copies."""
        if a.ndim == 2 == b.ndim:
            return self.multiply(a, b)
        if a.ndim > 2 and 0 < b.ndim <= 2 and a.flags.c_contiguous and a.size:
            rows = a.reshape((a.size // a.shape[-1], a.shape[-1]))
            return self.matmul(rows, b).reshape((*a.shape[:-1], *b.shape[1:]))
        plan = self._planned(a, b)
        if plan is None:
            return self._otherwise(a, b)
        y = self._array(plan.shape, a.dtype)
        self._into(y, plan, a, b, plan.zero)
        return y

    def _otherwise(self, a: Any, b: Any) -> Any:
        """The product where cuBLAS can't: CuPy's, which knows no stacks of bfloat16."""
        if a.dtype.kind != "V" or a.dtype != b.dtype:
            return self._plain(a, b)
        return self._plain(a.astype(SINGLE), b.astype(SINGLE)).astype(a.dtype)

    def widely(self, a: Any, b: Any) -> Any:
        """``matmul``, of half precisions in float32: their products are exact there."""
        if not is_half(a.dtype):
            return self.matmul(a, b)
        plan = self._planned(a, b)
        if plan is None:
            return self._plain(a.astype(SINGLE), b.astype(SINGLE))
        y = self._array(plan.shape, SINGLE)
        self._into(y, plan, a, b, plan.zero)
        return y

    def multiply(self, a: Any, b: Any, turn_a: bool = False, turn_b: bool = False) -> Any:
        """The product of two matrices, either of them transposed: the path of layers."""
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
        """Add a @ b to an array without a copy; returns whether it did.

        The array has the dtype of the factors, or is of float32 where these are half precisions.
        False, with nothing changed, if cuBLAS does not accept the layout. Rows that are one axis of
        the factors may be several axes of ``total``.
        """
        shape = (*a.shape[:-1], b.shape[-1])
        if a.ndim == b.ndim == 2 < total.ndim and total.flags.c_contiguous:
            if total.shape[-1] != shape[1] or total.size != shape[0] * shape[1]:
                return False
            total = total.reshape(shape)
        if total.ndim == 2 and not total.flags.c_contiguous:
            total, a, b = total.T, b.T, a.T
        alike = total.dtype == a.dtype or (total.dtype == SINGLE and is_half(a.dtype))
        if not alike or not total.flags.c_contiguous:
            return False
        plan = self._planned(a, b)
        if plan is None or plan.shape != total.shape:
            return False
        self._into(total, plan, a, b, plan.one)
        return True

    def product_into(self, y: Any, a: Any, b: Any) -> bool:
        """Write a @ b into a C-contiguous array of its shape; False where cuBLAS can't."""
        plan = self._planned(a, b)
        if plan is None or plan.shape != y.shape:
            return False
        self._into(y, plan, a, b, plan.zero)
        return True

    def _planned(self, a: Any, b: Any) -> _Plan | None:
        dtype = a.dtype
        return _plan(a.shape, a.strides, b.shape, b.strides, dtype) if dtype == b.dtype else None

    def _into(self, y: Any, plan: _Plan, a: Any, b: Any, beta: int) -> None:
        """One call of cuBLAS: y = a @ b + beta * y, with the address of the number beta."""
        cublas = self._cublas
        if cublas is None:
            cublas = self._cublas = self._cupy.cuda.cublas
            self._handle = self._cupy.cuda.device.get_cublas_handle
            self._routines = self._cupy._core._routines_linalg
        # Unpacking costs half as much as the attributes.
        (_, stacked, turned_b, turned_a, n, m, k, dtype, data_type, leading_b, leading_a, step_b,
         step_a, matrices, one, _) = plan  # fmt: skip
        # Asked at each call: CUPY_TF32=1 requests TF32, and a program may change it.
        computed = _precision(cublas, dtype.char, self._routines.get_compute_type(dtype))
        written = data_type if y.dtype is dtype else _data_type(y.dtype)
        handle = self._handle()
        if CAPTURES and (captured := CAPTURES.get(get_ident())):
            cublas, handle = captured, captured.handle
        if not stacked:
            cublas.gemmEx(
                handle, turned_b, turned_a, n, m, k, one,
                b.data.ptr, data_type, leading_b, a.data.ptr, data_type, leading_a,
                beta, y.data.ptr, written, n, computed, DEFAULT,
            )  # fmt: skip
            return
        cublas.gemmStridedBatchedEx(
            handle, turned_b, turned_a, n, m, k, one,
            b.data.ptr, data_type, leading_b, step_b, a.data.ptr, data_type, leading_a, step_a,
            beta, y.data.ptr, written, n, m * n, matrices, computed, DEFAULT,
        )  # fmt: skip


def _key(dtype: Any) -> str:
    return str(dtype.name if dtype.kind == "V" else dtype.char)


def _data_type(dtype: Any) -> int:
    return _DTYPES[_key(dtype)][0]


@lru_cache(64)
def _precision(cublas: Any, char: str, chosen: int) -> int:
    """The compute type of cuBLAS, that of CuPy's own products of two matrices."""
    name = "64F" if char in "dD" else "32F"
    if chosen == PEDANTIC:
        name += "_PEDANTIC"
    elif chosen == TF32 and char in "fF":
        name += "_FAST_TF32"
    return int(getattr(cublas, f"CUBLAS_COMPUTE_{name}"))


@lru_cache(_PLANS)
def _plan(
    shape_a: tuple[int, ...], strides_a: tuple[int, ...], shape_b: tuple[int, ...],
    strides_b: tuple[int, ...], dtype: Any,
) -> _Plan | None:  # fmt: skip
    """The product of two stacks as one call of cuBLAS; None if cuBLAS does not accept them."""
    if _key(dtype) not in _DTYPES or min(len(shape_a), len(shape_b)) < 2:
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
    data_type, scalar = _DTYPES[_key(dtype)]
    one, zero = (value.ctypes.data for value in _SCALARS[scalar])
    return _Plan(
        (*batch, m, n), bool(batch), second.transposed, first.transposed, n, m, k, dtype,
        data_type, second.leading, first.leading, second.step, first.step, count, one, zero,
    )  # fmt: skip


def _stack(
    shape: tuple[int, ...], strides: tuple[int, ...], size: int, batch: tuple[int, ...]
) -> _Stack | None:
    """The layout of an array broadcast to a batch shape; None if its steps are not even."""
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
