"""Polynomials as vectors of coefficients, the highest power first: compositions.

Imports function_base, linalg, manipulation, operands, tensor_contractions, twodim_base and tensor.
Names, arguments and results are those of NumPy's functions for arrays; ``numpy.poly1d`` is not
supported.
"""

from typing import Any

import numpy as np

from gpugrad.backend.lines import warn
from gpugrad.backend.precision import kind_of
from gpugrad.errors import ArgumentError, ShapeError
from gpugrad.functions import linalg
from gpugrad.functions.function_base import convolve
from gpugrad.functions.manipulation import concat, ravel, reshape, slices, stack
from gpugrad.functions.operands import beside, floating, in_single, together, with_axes
from gpugrad.functions.tensor_contractions import outer
from gpugrad.functions.twodim_base import vander
from gpugrad.tensor import OPS, TENSORS, Tensor, as_tensor

__all__ = [
    "poly", "polyadd", "polyder", "polydiv", "polyfit", "polyint", "polymul", "polysub", "polyval",
    "roots",
]  # fmt: skip


def _coefficients(name: str, *polynomials: Any) -> list[Tensor]:
    tensors = together(*polynomials)
    for p in tensors:
        if p.ndim > 1 or not p.size:
            raise ShapeError(f"{name}: expected a vector of coefficients, got shape {p.shape}")
    return [reshape(p, -1) for p in tensors]


@in_single
def polyval(p: Any, x: Any) -> Tensor:
    """The values at x of the polynomial with the coefficients p, by Horner's rule.

    >>> import gpugrad as gg
    >>> gg.polyval(gg.tensor([3.0, 0.0, 1.0]), 5.0)
    tensor(76.)
    """
    p, x = together(p, x)
    with_axes("polyval", p, "a vector of coefficients", 1, 1)
    y: Any = TENSORS.zeros_like(x.detach())
    for k in range(p.size):
        y = y * x + p[k]
    return y


def _padded(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """The coefficients of two polynomials, padded to the same powers."""
    a, b = _coefficients(name, a, b)
    size = max(a.size, b.size)
    zeros = [TENSORS.full_like(x.detach(), 0, shape=(size - x.size,)) for x in (a, b)]
    return concat([zeros[0], a]), concat([zeros[1], b])


def polyadd(a1: Any, a2: Any) -> Tensor:
    """The sum of two polynomials."""
    return OPS["add"](*_padded("polyadd", a1, a2))


def polysub(a1: Any, a2: Any) -> Tensor:
    """The difference of two polynomials."""
    return OPS["subtract"](*_padded("polysub", a1, a2))


def _leading_zeros(p: Tensor, most: float = 0.0) -> int:
    """The number of leading zeros, all but the last coefficient at most. Waits for the device.

    Numbers whose size is ``most`` or less count as zeros.
    """
    nonzero = np.flatnonzero(~(np.abs(p.detach().cpu().numpy()) <= most))
    return int(nonzero[0]) if nonzero.size else p.size - 1


def polymul(a1: Any, a2: Any) -> Tensor:
    """The product of two polynomials, without leading zeros.

    The host waits for the device to find these zeros; `convolve` does not look for them.
    """
    a, b = _coefficients("polymul", a1, a2)
    return convolve(a, b)[_leading_zeros(a) + _leading_zeros(b) :]


@in_single
def polydiv(u: Any, v: Any) -> tuple[Tensor, Tensor]:
    """The quotient and the remainder of a division of polynomials.

    Leading coefficients of the remainder that are nearly 0 are cut, for which the host waits.

    >>> import gpugrad as gg
    >>> quotient, remainder = gg.polydiv(gg.tensor([1.0, 3.0, 5.0]), gg.tensor([1.0, 1.0]))
    >>> quotient, remainder
    (tensor([1., 2.]), tensor([3.]))
    """
    u, v = map(floating, _coefficients("polydiv", u, v))
    scale, count = 1.0 / v[0], u.size - v.size + 1
    rest = u if u.dtype == v.dtype else u + TENSORS.zeros_like(v[0].detach())
    factors = []
    for k in range(count):
        factors.append(scale * rest[k])
        middle = rest[k : k + v.size] - factors[k] * v
        rest = concat([rest[:k], middle, rest[k + v.size :]])
    quotient = stack(factors) if factors else TENSORS.zeros_like(rest[:1].detach())
    return quotient, rest[_leading_zeros(rest, 1e-8) :]  # NumPy's allclose with 0


def _order(name: str, m: int) -> int:
    if int(m) != m or m < 0:
        raise ArgumentError(f"{name}: expected a whole number m of 0 or more, got {m}")
    return int(m)


def polyder(p: Any, m: int = 1) -> Tensor:
    """The coefficients of the derivative of a polynomial, of the order m."""
    (p,) = _coefficients("polyder", p)
    for _ in range(_order("polyder", m)):
        p = slices(p, 0, None, -1) * beside(list(range(p.size - 1, 0, -1)), p)
    return p


def polyint(p: Any, m: int = 1, k: Any = None) -> Tensor:
    """The coefficients of a polynomial whose derivative of the order m is p.

    ``k`` are the constants of the m integrations, one for all or one for each, in their order.
    """
    if k is not None:
        p, k = together(p, k)
    (p,) = _coefficients("polyint", p)
    p = floating(p)
    times = _order("polyint", m)
    constants = reshape(beside(0.0 if k is None else k, p), -1)
    if constants.size not in (1, times):
        raise ShapeError(f"polyint: expected 1 or {times} constants k, got {constants.size}")
    for i in range(times):
        powers = beside(list(range(p.size, 0, -1)), p)
        p = concat([p / powers, slices(constants, 0, i % constants.size, i % constants.size + 1)])
    return p


@in_single
def poly(seq_of_zeros: Any) -> Tensor:
    """The coefficients of the monic polynomial with these roots.

    For a square matrix those of its characteristic polynomial, whose roots are the eigenvalues.

    >>> import gpugrad as gg
    >>> gg.poly(gg.tensor([1.0, 2.0]))
    tensor([ 1., -3.,  2.])
    """
    zeros = floating(as_tensor(seq_of_zeros))
    dtype = zeros.dtype
    if zeros.ndim == 2 and zeros.shape[0] == zeros.shape[1] and zeros.size:
        zeros = linalg.eigvals(zeros)
    zeros = ravel(with_axes("poly", zeros, "a vector of zeros or a square matrix", 0, 1))
    p: Any = TENSORS.full_like(zeros.detach(), 1, shape=(1,))
    for k in range(zeros.size):
        p = concat([p, p[-1:] * 0.0]) - concat([p[:1] * 0.0, p]) * zeros[k]
    return p if p.dtype.kind == dtype.kind else OPS["real"](p).astype(dtype)  # of a real matrix


def roots(p: Any) -> Tensor:
    """The roots of a polynomial, in any order: the eigenvalues of its companion matrix.

    They are complex unless all are real. The host waits for the device to find that out, and to
    find zeros at both ends of the coefficients. A multiple root has no derivative.

    >>> import gpugrad as gg
    >>> gg.sort(gg.roots(gg.tensor([2.0, -6.0, 4.0]))).round(4)
    tensor([1., 2.])
    """
    (p,) = map(floating, _coefficients("roots", p))
    nonzero = np.flatnonzero(p.detach().cpu().numpy())
    if not nonzero.size:
        return p[:0]
    at_zero = p.size - 1 - int(nonzero[-1])
    p = p[int(nonzero[0]) : int(nonzero[-1]) + 1]
    result = p[:0]
    if p.size > 1:
        below = TENSORS.eye_like(TENSORS.full_like(p.detach(), 0, shape=(p.size - 1,) * 2))
        result = linalg.eigvals(concat([(-p[1:] / p[0])[None, :], below[:-1]]))
        if kind_of(p.dtype) == "f" and not result.detach().imag.cpu().numpy().any():
            result = OPS["real"](result).astype(p.dtype)
    return concat([result, TENSORS.full_like(result.detach(), 0, shape=(at_zero,))])


@in_single
def polyfit(
    x: Any,
    y: Any,
    deg: int,
    rcond: float | None = None,
    full: bool = False,
    w: Any = None,
    cov: bool | str = False,
) -> Any:
    """The coefficients of the polynomial of a degree that fits points best, by least squares.

    ``y`` may have a column for each of several fits; ``w`` are weights of the residuals. With
    ``full`` returns also the residual sums of squares, the rank, the singular values and
    ``rcond`` (see `linalg.lstsq`); with ``cov`` the covariance of the coefficients, scaled by
    the residuals unless it is "unscaled". NumPy's RankWarning where the rank is too low.

    >>> import gpugrad as gg
    >>> x = gg.tensor([0.0, 1.0, 2.0])
    >>> gg.polyfit(x, 2 * x * x + x, 1).round(3)
    tensor([ 5.   , -0.667])
    """
    x, y = map(floating, together(x, y))
    order = int(deg) + 1
    if order < 1:
        raise ArgumentError(f"polyfit: expected a degree of 0 or more, got {deg}")
    if x.ndim != 1 or not x.size or y.ndim not in (1, 2) or len(y) != len(x):
        raise ShapeError(
            f"polyfit: expected a vector x and a vector or matrix y of as many rows, got shapes "
            f"{x.shape} and {y.shape}"
        )
    if rcond is None:
        rcond = len(x) * float(np.finfo(x.dtype).eps)

    def each_row(values: Tensor) -> Tensor:
        return values[:, None] if y.ndim == 2 else values

    left, right = vander(x, order), y
    if w is not None:
        w = beside(w, x)
        if w.shape != x.shape:
            raise ShapeError(f"polyfit: expected {len(x)} weights, got shape {w.shape}")
        left, right = left * w[:, None], right * each_row(w)
    scale = OPS["sqrt"](OPS["sum"](left * left, axis=0))
    left = left / scale
    coefficients, remains, rank, values = linalg.lstsq(left, right, rcond)
    coefficients = coefficients / each_row(scale)
    if full:
        return coefficients, remains, rank, values, rcond
    if int(rank) != order:
        warn(
            "polyfit: the points tell too little for this degree, the fit is one of many",
            np.exceptions.RankWarning,
        )
    if not cov:
        return coefficients
    covariance = linalg.inv(left.T @ left) / outer(scale, scale)
    if y.ndim == 2:
        covariance = covariance[:, :, None]
    if cov != "unscaled":
        if len(x) <= order:
            raise ShapeError(
                f"polyfit: cov needs more points than coefficients, got {len(x)} and {order}"
            )
        covariance = covariance * (remains / (len(x) - order))
    return coefficients, covariance
