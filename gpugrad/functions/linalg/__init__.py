"""``gpugrad.linalg``: NumPy's and the Array API standard's linear algebra, and some of SciPy's.

Imports creation, core, factors, functions and norms. The functions take stacks of matrices: the
last two axes are the matrix. Gradients flow through all of them but `matrix_rank`; the derivatives,
where they come from and what they are at singular matrices and repeated eigenvalues, stand in
``gpugrad/ops/solvers.py`` and ``gpugrad/ops/decompositions.py``.

On a CPU, LinAlgError is raised as NumPy does, for a singular matrix, say. On a GPU, CuPy gives
NaN or infinity instead, as finding out would make the host wait.
"""

import operator
from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np

from gpugrad.errors import ArgumentError, DTypeError, ShapeError
from gpugrad.functions.linalg.decompositions import (
    EighResult,
    EigResult,
    QRResult,
    SVDResult,
    cholesky,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    matrices,
    qr,
    svd,
    svdvals,
)
from gpugrad.functions.linalg.norms import cond, matrix_norm, norm, vector_norm
from gpugrad.functions.manipulation import matrix_transpose, moveaxis, reshape, squeeze, tensordot
from gpugrad.functions.manipulation import outer as _outer
from gpugrad.functions.operands import axis_number
from gpugrad.functions.type_check import conjugated, square_size
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.creation import as_tensor
from gpugrad.tensor.table import OPS

__all__ = [
    "EigResult", "EighResult", "QRResult", "SVDResult", "SlogdetResult", "cholesky", "cond",
    "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "expm", "inv", "lstsq",
    "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot",
    "norm", "outer", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals",
    "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot", "vector_norm",
]  # fmt: skip

matmul = OPS["matmul"]


class SlogdetResult(NamedTuple):
    """What `slogdet` gives."""

    sign: Tensor
    logabsdet: Tensor


# Determinants and inverses.


def det(x: Any, /) -> Tensor:
    """The determinant of each matrix; its derivative is exact for singular matrices too.

    >>> import gpugrad as gg
    >>> gg.linalg.det(gg.tensor([[2.0, 0.0], [1.0, 3.0]])).round(3)
    tensor(6.)
    """
    return OPS["det"](matrices("det", x))


def slogdet(x: Any, /) -> SlogdetResult:
    """The determinant's sign and the logarithm of its absolute value, for values of any size.

    A singular matrix gives 0 and -inf, and its gradient LinAlgError.
    """
    return SlogdetResult(*OPS["slogdet"](matrices("slogdet", x)))


def inv(x: Any, /) -> Tensor:
    """The inverse of each matrix. LinAlgError for a singular one (on a GPU: no numbers)."""
    return OPS["inv"](matrices("inv", x))


def pinv(x: Any, /, rcond: Any = None, *, rtol: Any = None) -> Tensor:
    """The Moore-Penrose inverse of each matrix, square or not.

    Singular values up to ``rtol`` (NumPy also says ``rcond``) times the largest count as 0: by
    default the larger size times the dtype's rounding error, as the standard asks. It may be an
    array, with a number for each matrix. The derivative is that for a rank that does not change.
    """
    x = matrices("pinv", x, square=False)
    if rcond is not None and rtol is not None:
        raise ArgumentError("pinv: expected rcond or rtol, which mean the same, got both")
    limit = rtol if rcond is None else rcond
    if getattr(limit, "ndim", 0):
        return OPS["pinv"](x, rcond=as_tensor(limit)._array)
    return OPS["pinv"](x, rcond=_tolerance("pinv", x, limit))


def _tolerance(name: str, x: Tensor, limit: Any) -> float:
    """The singular values that count as zero, by the largest."""
    if limit is None:
        kind = x.dtype if x.dtype.kind in "fc" else np.dtype(np.float64)
        return max(x.shape[-2:]) * float(np.finfo(kind).eps)
    try:
        return float(limit)
    except (TypeError, ValueError) as error:
        raise DTypeError(
            f"{name}: expected a number as tolerance, got {type(limit).__name__}"
        ) from error


# Linear equations.


def _sides(name: str, a: Any, b: Any, square: bool = True) -> tuple[Tensor, Tensor, bool]:
    """The operands, b as matrices, and whether it was a vector."""
    a = matrices(name, a, square)
    b = as_tensor(b)
    vector = b.ndim == 1
    if b.ndim == 0 or b.shape[0 if vector else -2] != a.shape[-2]:
        raise ShapeError(
            f"{name}: expected a right-hand side with {a.shape[-2]} rows for a of shape {a.shape},"
            f" got shape {b.shape}. A stack of vectors is a stack of matrices as b[..., None]"
        )
    return a, b[:, None] if vector else b, vector


def solve(a: Any, b: Any, /) -> Tensor:
    """The x with a @ x equal to b.

    b is one vector, or matrices whose columns are right-hand sides; a stack of vectors is
    written ``b[..., None]``. LinAlgError for a singular a (on a GPU: no numbers).

    >>> import gpugrad as gg
    >>> gg.linalg.solve(gg.tensor([[2.0, 0.0], [0.0, 4.0]]), gg.tensor([2.0, 2.0]))
    tensor([1. , 0.5])
    """
    a, b, vector = _sides("solve", a, b)
    x = OPS["solve"](a, b)
    return x[..., 0] if vector else x


def solve_triangular(
    a: Any, b: Any, /, *, lower: bool = False, unit_diagonal: bool = False
) -> Tensor:
    """The x with a @ x equal to b, where a is triangular; its other triangle is not read.

    ``unit_diagonal`` takes the diagonal as ones, unread as well. b is as in `solve`. One
    matrix is solved by substitution where SciPy is installed, as is CuPy's; else, and for stacks,
    by LU factors, which costs as much as `solve`.
    """
    a, b, vector = _sides("solve_triangular", a, b)
    x = OPS["solve_triangular"](a, b, lower=bool(lower), unit_diagonal=bool(unit_diagonal))
    return x[..., 0] if vector else x


def lstsq(a: Any, b: Any, /, rcond: float | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The shortest x for which a @ x is as near as can be to b, and NumPy's three others.

    They are the sums of the squares of what remains (empty where a has not full column rank or
    no more rows than columns: to know this the host waits for a GPU), the rank of a, and its
    singular values. Stacks are taken as well. Singular values up to ``rcond`` times the largest
    count as 0; the derivative is that for a rank that does not change.
    """
    a, b, vector = _sides("lstsq", a, b, square=False)
    limit = _tolerance("lstsq", a, rcond)
    x = OPS["least_squares"](a, b, rcond=limit)
    values = OPS["svdvals"](a)
    rank = matrix_rank(a, rtol=limit)
    rows, columns = a.shape[-2:]
    beside = b - matmul(a, x)
    remains = OPS["sum"](square_size(beside), axis=-2)
    if rows <= columns or not bool((rank == columns).all()):
        remains = remains[..., :0]
    return x[..., 0] if vector else x, remains, rank, values


def tensorsolve(a: Any, b: Any, /, axes: Sequence[int] | None = None) -> Tensor:
    """The x with tensordot(a, x, x.ndim) equal to b; ``axes`` of a are moved to its end first."""
    a, b = as_tensor(a), as_tensor(b)
    if axes is not None:
        first = [axis_number("tensorsolve", axis, a.ndim) for axis in axes]
        a = moveaxis(a, first, tuple(range(a.ndim - len(first), a.ndim)))
    shape = a.shape[b.ndim :]
    if prod(shape) != b.size or a.shape[: b.ndim] != b.shape:
        raise ShapeError(
            f"tensorsolve: expected a of shape {b.shape} followed by axes of as many elements, "
            f"got {a.shape}"
        )
    return reshape(solve(reshape(a, (b.size, b.size)), reshape(b, -1)), shape)


def tensorinv(a: Any, /, ind: int = 2) -> Tensor:
    """The inverse of a as a map from its last axes to its first ``ind``."""
    a = as_tensor(a)
    if ind <= 0:
        raise ArgumentError(f"tensorinv: expected ind of 1 or more, got {ind}")
    first, last = a.shape[:ind], a.shape[ind:]
    if prod(first) != prod(last):
        raise ShapeError(
            f"tensorinv: expected as many elements before axis {ind} as after it, got {a.shape}"
        )
    return reshape(inv(reshape(a, (prod(first), prod(last)))), (*last, *first))


def matrix_rank(x: Any, tol: Any = None, *, rtol: Any = None) -> Tensor:
    """The number of singular values above ``tol``, or above ``rtol`` times the largest.

    By default the larger size times the dtype's rounding error, by the largest. No gradient.
    """
    x = as_tensor(x).detach()
    if x.ndim < 2:
        return OPS["any"](x != 0).astype(np.int64)
    if tol is not None and rtol is not None:
        raise ArgumentError("matrix_rank: expected tol or rtol, got both")
    values = OPS["svdvals"](x)
    if tol is None:
        if 0 in x.shape[-2:]:
            return OPS["sum"](values, axis=-1).astype(np.int64)
        limit = _tolerance("matrix_rank", x, None) if rtol is None else _each(rtol)
        above = values > limit * OPS["max"](values, axis=-1, keepdims=True)
    else:
        above = values > _each(tol)
    return OPS["sum"](above.astype(np.int64), axis=-1)


def _each(limit: Any) -> Any:
    """A number, or one for each matrix of a stack, to compare singular values with."""
    return limit if isinstance(limit, int | float) else as_tensor(limit)[..., None]


# Powers and products.


def matrix_power(x: Any, n: int) -> Tensor:
    """Each matrix multiplied n times with itself; its inverse, for n below 0.

    >>> import gpugrad as gg
    >>> gg.linalg.matrix_power(gg.tensor([[1.0, 1.0], [0.0, 1.0]]), 5)
    tensor([[1., 5.],
            [0., 1.]])
    """
    x = matrices("matrix_power", x)
    try:
        times = operator.index(n)
    except TypeError as error:
        raise DTypeError(
            f"matrix_power: expected a whole number, got {type(n).__name__}"
        ) from error
    if times < 0:
        x, times = inv(x), -times
    if times == 0:
        return OPS["broadcast_to"](OPS["eye_like"](x), x.shape)
    result = None
    while True:
        if times % 2:
            result = x if result is None else matmul(result, x)
        times //= 2
        if times == 0:
            return x if result is None else result
        x = matmul(x, x)


def expm(x: Any, /) -> Tensor:
    """The exponential of each matrix: the sum of ``x ** k / k!`` with matrix powers.

    >>> import gpugrad as gg
    >>> gg.linalg.expm(gg.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([[1., 1.],
            [0., 1.]])
    """
    return OPS["expm"](matrices("expm", x))


def multi_dot(arrays: Sequence[Any], /) -> Tensor:
    """The product of two or more matrices, in the order that takes the fewest multiplications.

    The first may be a row vector of one axis, the last a column vector. The order is found by
    the algorithm of T. Cormen et al., "Introduction to Algorithms", section 15.2.
    """
    tensors = [as_tensor(array) for array in arrays]
    if len(tensors) < 2:
        raise ShapeError(f"multi_dot: expected two matrices or more, got {len(tensors)}")
    row, column = tensors[0].ndim == 1, tensors[-1].ndim == 1
    if row:
        tensors[0] = tensors[0][None, :]
    if column:
        tensors[-1] = tensors[-1][:, None]
    shapes = [tensor.shape for tensor in tensors]
    if any(len(shape) < 2 for shape in shapes) or any(a[-1] != b[-2] for a, b in pairwise(shapes)):
        raise ShapeError(
            "multi_dot: expected matrices whose inner sizes agree, got shapes "
            f"{', '.join(map(str, shapes))}"
        )
    cuts = _cuts([*(shape[-2] for shape in shapes), shapes[-1][-1]])

    def product(first: int, last: int) -> Tensor:
        if first == last:
            return tensors[first]
        cut = cuts[first, last]
        return matmul(product(first, cut), product(cut + 1, last))

    result = product(0, len(tensors) - 1)
    return squeeze(result, (-2,) * row + (-1,) * column)


def _cuts(sizes: list[int]) -> dict[tuple[int, int], int]:
    """For each run of matrices, where the cheapest product cuts it in two."""
    count = len(sizes) - 1
    costs = {(i, i): 0 for i in range(count)}
    cuts = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            costs[i, j], cuts[i, j] = min(
                (costs[i, k] + costs[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )
    return cuts


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The vector product of three-dimensional vectors along an axis."""
    x1, x2 = as_tensor(x1), as_tensor(x2)
    for x in (x1, x2):
        if x.ndim == 0 or x.shape[axis_number("cross", axis, x.ndim)] != 3:
            raise ShapeError(f"cross: expected 3 elements along axis {axis}, got shape {x.shape}")
    roll = OPS["roll"]
    return roll(x1, -1, axis) * roll(x2, -2, axis) - roll(x1, -2, axis) * roll(x2, -1, axis)


def outer(x1: Any, x2: Any, /) -> Tensor:
    """Every element of one vector times every element of another."""
    x1, x2 = as_tensor(x1), as_tensor(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ShapeError(
            f"outer: expected two vectors, got shapes {x1.shape} and {x2.shape}. gg.outer ravels"
        )
    return _outer(x1, x2)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The inner product of the vectors along an axis, counted in each before they broadcast.

    Complex x1 are conjugated.
    """
    x1, x2 = as_tensor(x1), as_tensor(x2)
    sizes = [x.shape[axis_number("vecdot", axis, x.ndim)] for x in (x1, x2)]
    if sizes[0] != sizes[1]:
        raise ShapeError(
            f"vecdot: expected vectors of one size along axis {axis}, got {x1.shape} and {x2.shape}"
        )
    x1 = conjugated(x1)
    # A product of matrices keeps the dtype of small integers, where a sum would widen it.
    x1, x2 = moveaxis(x1, axis, -1), moveaxis(x2, axis, -1)
    return matmul(x1[..., None, :], x2[..., None])[..., 0, 0]


def diagonal(x: Any, /, *, offset: int = 0) -> Tensor:
    """The diagonal of each matrix, or the ``offset``-th above it (below it, if negative)."""
    x = matrices("diagonal", x, square=False)
    rows, columns = x.shape[-2:]
    count = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    if count <= 0:
        return reshape(x, (*x.shape[:-2], rows * columns))[..., :0]
    # In memory, the elements of a diagonal are one row and one column apart.
    start = offset if offset >= 0 else -offset * columns
    stop = start + (count - 1) * (columns + 1) + 1
    return reshape(x, (*x.shape[:-2], rows * columns))[..., start : stop : columns + 1]


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sum of the diagonal of each matrix, or of the ``offset``-th above it.

    >>> import gpugrad as gg
    >>> gg.linalg.trace(gg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(5.)
    """
    on = diagonal(x, offset=offset)
    return OPS["sum"](on if dtype is None else on.astype(dtype), axis=-1)
