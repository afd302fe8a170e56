"""Systems of equations, inverses, determinants and ranks.

Imports decompositions, manipulation, operands, type_check and tensor.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.precision import is_half, kind_of, limits_of
from gpugrad.errors import ArgumentError, DTypeError, ShapeError
from gpugrad.functions.linalg.decompositions import matrices, svdvals
from gpugrad.functions.manipulation import moveaxis, reshape
from gpugrad.functions.operands import axis_number, together
from gpugrad.functions.type_check import square_size
from gpugrad.ops.dtypes import SINGLE
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = [
    "SlogdetResult", "det", "inv", "lstsq", "matrix_rank", "pinv", "slogdet", "solve",
    "solve_triangular", "tensorinv", "tensorsolve",
]  # fmt: skip


class SlogdetResult(NamedTuple):
    """The results of `slogdet`."""

    sign: Tensor
    logabsdet: Tensor


def det(x: Any, /) -> Tensor:
    """The determinant of each matrix.

    Its first two derivatives are exact for singular matrices too; a third one raises LinAlgError
    there (on a GPU: it is NaN or infinite).

    >>> import gpugrad as gg
    >>> gg.linalg.det(gg.tensor([[2.0, 0.0], [1.0, 3.0]])).round(3)
    tensor(6.)
    """
    return OPS["det"](matrices("det", x))


def slogdet(x: Any, /) -> SlogdetResult:
    """The determinant's sign and the logarithm of its absolute value, for values of any size.

    A singular matrix gives 0 and -inf; its gradient raises LinAlgError.
    """
    return SlogdetResult(*OPS["slogdet"](matrices("slogdet", x)))


def inv(x: Any, /) -> Tensor:
    """The inverse of each matrix. LinAlgError for a singular one (on a GPU: NaN or infinity)."""
    return OPS["inv"](matrices("inv", x))


def pinv(x: Any, /, rcond: Any = None, *, rtol: Any = None) -> Tensor:
    """The Moore-Penrose inverse of each matrix, square or not.

    Singular values up to ``rtol`` (in NumPy also ``rcond``) times the largest count as 0. The
    default is the larger size times the dtype's rounding error, as in the Array API standard. It
    may be an array, with a number for each matrix. The derivative assumes a constant rank.
    """
    x = matrices("pinv", x, square=False)
    if rcond is not None and rtol is not None:
        raise ArgumentError("pinv: expected rcond or rtol, which mean the same, got both")
    limit = rtol if rcond is None else rcond
    if getattr(limit, "ndim", 0):
        return OPS["pinv"](x, rcond=as_tensor(limit)._array)
    return OPS["pinv"](x, rcond=_tolerance("pinv", x, limit))


def _tolerance(name: str, x: Tensor, limit: Any) -> float:
    """The tolerance for singular values that count as 0, relative to the largest."""
    if limit is None:
        dtype = x.dtype if kind_of(x.dtype) in "fc" else np.dtype(np.float64)
        size, rounding = max(x.shape[-2:]), float(limits_of(dtype).eps)
        if is_half(dtype):  # computed in single: the values are as exact as half, the sums more so
            return max(rounding, size * float(np.finfo(SINGLE).eps))
        return size * rounding
    try:
        return float(limit)
    except (TypeError, ValueError) as error:
        raise DTypeError(
            f"{name}: expected a number as tolerance, got {type(limit).__name__}"
        ) from error


def _sides(name: str, a: Any, b: Any, square: bool = True) -> tuple[Tensor, Tensor, bool]:
    """The operands, b as matrices, and whether b was a vector."""
    a, b = together(a, b)
    a = matrices(name, a, square)
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
    written ``b[..., None]``. LinAlgError for a singular a (on a GPU: NaN or infinity).

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

    With ``unit_diagonal`` the diagonal is taken to be ones and not read either. b is as in
    `solve`. One matrix is solved by substitution on CuPy, and where SciPy is installed. Stacks,
    and a matrix without SciPy, are solved by LU factors, at the cost of `solve`.
    """
    a, b, vector = _sides("solve_triangular", a, b)
    x = OPS["solve_triangular"](a, b, lower=bool(lower), unit_diagonal=bool(unit_diagonal))
    return x[..., 0] if vector else x


def lstsq(a: Any, b: Any, /, rcond: float | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The least-squares solution x of a @ x = b of least norm, and NumPy's three other results.

    They are the residual sums of squares, the rank of a, and its singular values. The sums are
    empty where a has not full column rank or no more rows than columns, for which the host waits
    for a GPU. Stacks are accepted. Singular values up to ``rcond`` times the largest count as 0;
    the derivative assumes a constant rank.
    """
    a, b, vector = _sides("lstsq", a, b, square=False)
    limit = _tolerance("lstsq", a, rcond)
    x = OPS["least_squares"](a, b, rcond=limit)
    values = svdvals(a)
    rank = matrix_rank(a, rtol=limit)
    rows, columns = a.shape[-2:]
    beside = b - OPS["matmul"](a, x)
    remains = OPS["sum"](square_size(beside), axis=-2)
    if rows <= columns or not bool((rank == columns).all()):
        remains = remains[..., :0]
    return x[..., 0] if vector else x, remains, rank, values


def tensorsolve(a: Any, b: Any, /, axes: Sequence[int] | None = None) -> Tensor:
    """The x with tensordot(a, x, x.ndim) equal to b; ``axes`` of a are moved to its end first.

    The first axes of a, as many as b has, are read as those of b: only their product counts.
    """
    a, b = together(a, b)
    if axes is not None:
        first = [axis_number("tensorsolve", axis, a.ndim) for axis in axes]
        a = moveaxis(a, first, tuple(range(a.ndim - len(first), a.ndim)))
    shape = a.shape[b.ndim :]
    if prod(shape) != b.size or prod(a.shape[: b.ndim]) != b.size:
        raise ShapeError(
            f"tensorsolve: expected a of shape {b.shape} followed by axes of as many elements, "
            f"got {a.shape}{'' if axes is None else f', after axes {axes} were moved to its end'}"
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

    The default is the larger size times the dtype's rounding error times the largest. No gradient.
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
        limit = _tolerance("matrix_rank", x, None) if rtol is None else _per_matrix(rtol)
        above = values > limit * OPS["max"](values, axis=-1, keepdims=True)
    else:
        above = values > _per_matrix(tol)
    return OPS["sum"](above.astype(np.int64), axis=-1)


def _per_matrix(limit: Any) -> Any:
    """A tolerance for singular values: a number, or one for each matrix of a stack."""
    return limit if isinstance(limit, int | float) else as_tensor(limit)[..., None]
