"""Sums of arrays in host memory that keep their digits however many numbers there are.

NumPy adds the elements of a row in pairs, but rows one by one: beyond 2**24 of them a float32 sum
of ones stays where it is, and long before it loses digits. Here long axes are added in blocks, and
float16 is added in float32, as a GPU does. Running sums, and sums of products, are carried from
block to block in float64. BLAS adds in blocks itself. Imports outer and precision.
"""

import math
from typing import Any

import numpy as np

from gpugrad.backend.outer import FEW, outer_products
from gpugrad.backend.precision import DOUBLE, SINGLE, is_half

__all__ = [
    "ENOUGH", "adds_few", "careful_cumsum", "careful_einsum", "careful_matmul", "careful_sum",
    "sum_of_rows",
]  # fmt: skip

BLOCK = 256
ENOUGH = 4 * BLOCK  # so many numbers, added one by one, lose no digits that count
MANY = 1 << 14  # so many lose a thousandth at worst, and make a block worth its call
_WIDE = {"f": np.dtype(np.float64), "F": np.dtype(np.complex128)}
_NO_MARKS = str.maketrans("", "", ",->")
_add: Any = np.add.reduce
_ROWS_OF_ONES = {dtype: np.ones(ENOUGH, dtype) for dtype in (SINGLE, DOUBLE)}
_matmul: Any = np.matmul


def adds_few(x: Any, axis: Any) -> bool:
    """Whether NumPy's sum of float32 numbers is as good: a quick look at the usual cases."""
    if x.size <= ENOUGH:
        return True
    if axis is None:
        return bool(x.flags.c_contiguous)  # added in pairs
    return axis.__class__ is int and -x.ndim <= axis < x.ndim and x.shape[axis] <= ENOUGH


def careful_sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """numpy.sum, in which the error does not grow with the number of rows."""
    dtype = x.dtype
    if dtype.char not in "efF" and not is_half(dtype):
        return _add(x, axis, None, None, keepdims)
    wide = SINGLE if is_half(dtype) else None
    axes = _axes(x, axis)
    if x.size <= ENOUGH or _are_rows(x, axes):
        y = _add(x, axis, wide, None, keepdims)
    else:
        y = _in_blocks(x, axes, wide)
        if not keepdims:
            y = y.reshape(tuple(n for i, n in enumerate(x.shape) if i not in axes))[()]
    return y.astype(dtype) if wide else y


def sum_of_rows(x: Any) -> Any:
    """The sum of the rows of a matrix, as a product with ones: BLAS adds up faster than NumPy.

    In blocks of rows, so that sums keep their digits.
    """
    ones = _ROWS_OF_ONES.get(x.dtype)
    if ones is None or not x.flags.c_contiguous:
        few = x.dtype is SINGLE and adds_few(x, 0)
        return _add(x, 0, None, None, False) if few else careful_sum(x, 0)
    rows = len(x)
    if rows <= ENOUGH:
        return ones[:rows].dot(x)
    blocks = (x[start : start + ENOUGH] for start in range(0, rows, ENOUGH))
    return careful_sum(np.stack([ones[: len(block)].dot(block) for block in blocks]), 0)


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


def careful_cumsum(x: Any, axis: Any = None) -> Any:
    """numpy.cumsum, in which the error does not grow with the number of rows."""
    wide = _WIDE.get(x.dtype.char)
    if wide is None or x.size <= ENOUGH or not -x.ndim <= (axis or 0) < x.ndim:
        return np.cumsum(x, axis)
    if axis is None:
        x, axis = x.reshape(-1), 0
    axis %= x.ndim
    size = x.shape[axis]
    rows = max(BLOCK, MANY * size // x.size)
    y, ahead = np.empty(x.shape, x.dtype), (slice(None),) * axis
    total: Any = 0
    for start in range(0, size, rows):
        block = (*ahead, slice(start, start + rows))
        sums = np.add.accumulate(x[block], axis, wide)
        sums += total
        y[block] = sums
        total = sums[(*ahead, slice(-1, None))]
    return y


def careful_matmul(a: Any, b: Any) -> Any:
    """numpy.matmul, with numpy.dot for matrices and vectors, which gives BLAS all of them.

    Of a broadcast array ``dot`` makes a copy for BLAS, where ``matmul`` adds its products up one by
    one; and it takes half the time for small matrices. Half precision is computed in float32.
    """
    if a.itemsize > 2:
        if a.ndim == 2 == b.ndim or 0 < a.ndim < 3 > b.ndim > 0:
            return a.dot(b)  # the method: numpy.dot looks for another library's first
    elif is_half(a.dtype) and is_half(b.dtype):
        y = careful_matmul(a.astype(SINGLE), b.astype(SINGLE))
        return y.astype(a.dtype) if a.dtype == b.dtype else y
    if a.ndim > 1 < b.ndim and a.shape[-1] == 1 == b.shape[-2] and a.size * b.shape[-1] > FEW:
        return outer_products(a, b)
    return _matmul(a, b)


def careful_einsum(subscripts: str, /, *operands: Any, optimize: Any = False) -> Any:
    """numpy.einsum, in which long sums are added up in float64 if all axes have letters."""
    if "->" not in subscripts or not subscripts.translate(_NO_MARKS).isalpha():
        return np.einsum(subscripts, *operands, optimize=optimize)
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    sizes: dict[str, int] = {}
    for term, x in zip(terms, operands, strict=True):
        for letter, size in zip(term, x.shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    summed = [letter for letter in sizes if letter not in output]
    count = math.prod(sizes[letter] for letter in summed)
    wide = _WIDE.get(np.result_type(*operands).char)
    if count <= MANY or wide is None:
        return np.einsum(subscripts, *operands, optimize=optimize)
    along = max(summed, key=sizes.__getitem__)
    step = max(1, MANY * sizes[along] // count)
    total = np.zeros([sizes[letter] for letter in output], wide)
    for start in range(0, sizes[along], step):
        total += np.einsum(
            subscripts,
            *(_part(x, term.find(along), start, step) for term, x in zip(terms, operands)),
            optimize=optimize,
        )
    return total.astype(np.result_type(*operands))[()]


def _part(x: Any, axis: int, start: int, step: int) -> Any:
    """A slice along an axis; all of x where it has no such axis, or one element that repeats."""
    if axis < 0 or x.shape[axis] == 1:
        return x
    return x[(*(slice(None),) * axis, slice(start, start + step))]
