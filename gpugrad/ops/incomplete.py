"""Incomplete gamma and beta functions. Imports engine.op, complex_parts, special.

SciPy and CuPy compute the values; neither has the derivatives of gammainc by a. They are integrals
of the density's derivative by a, from 0 to x, or from x to infinity with the other sign: log(t) is
there on one side of its mean, so that nothing cancels in the first of them. The density falls by
exp(-40) within an interval that is known beforehand, and in it Gauss and Legendre's rule is exact
to rounding. Where x is small a series is.
"""

import functools
import math
from typing import Any

import numpy as np

from gpugrad.engine.op import Sample, op
from gpugrad.ops.complex_parts import refuse_complex
from gpugrad.ops.special import EW, POSITIVE, _arrays

FALL = 40.0  # the density is nothing where it has fallen by exp(-FALL)
NEAR = 2.0  # up to here the series is used: its terms fall fast, and lose little in their sum
TERMS = 26
NODES = 32
# Of log Gamma(a) beside Stirling's formula, by odd powers of 1 / a (DLMF 5.11.1).
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def _log_front(xp: Any, a: Any, x: Any) -> Any:
    """The logarithm of x**a exp(-x) / Gamma(a + 1); for large a without the terms that cancel."""
    large = a > 20
    s = xp.where(large, a, 20.0)
    over = (x - s) / s
    rest, square = 0.0, 1 / (s * s)
    for coefficient in reversed(STIRLING):
        rest = rest * square + coefficient
    far = s * (xp.log1p(over) - over) - 0.5 * xp.log(2 * math.pi * s) - rest / s
    return xp.where(large, far, xp.xlogy(a, x) - x - xp.gammaln(a + 1))


def _jet(xp: Any, v: Any, a: Any, order: int) -> list[Any]:
    """The derivatives by e, at 0 and up to an order, of t**e Gamma(a + 1) / Gamma(a + 1 + e).

    v is log(t) - digamma(a + 1), and the logarithm of it has the derivatives v, -polygamma(1), ...
    """
    found: list[Any] = [1.0]
    for k in range(order):
        following = v * found[k]
        for j in range(1, k + 1):
            following = following - math.comb(k, j) * xp.polygamma(a + 1, n=j) * found[k - j]
        found.append(following)
    return found


def _density_slope(xp: Any, v: Any, a: Any, order: int) -> Any:
    """A derivative by a of t**(a-1) exp(-t) / Gamma(a), over t**(a-1) exp(-t) / Gamma(a + 1)."""
    jet = _jet(xp, v, a, order)
    return a * jet[order] + order * jet[order - 1]


def _near(xp: Any, a: Any, x: Any, order: int) -> Any:
    """By the series of x**a / Gamma(a + 1) * sum of (-x)**n / n! * a / (a + n) (DLMF 8.7.1).

    With a / (a + n) = 1 - n / (a + n), no derivative by a has a pole at 0.
    """
    sums: list[Any] = [1.0] + [0.0] * order
    term: Any = 1.0
    for n in range(1, TERMS):
        term = term * (x / -n)
        part = term / (a + n)
        sums[0] = sums[0] + part * a
        for j in range(1, order + 1):
            part = part * (-j / (a + n))
            sums[j] = sums[j] - part * n
    jet = _jet(xp, xp.log(x) - xp.digamma(a + 1), a, order)
    total = sum(math.comb(order, j) * jet[order - j] * sums[j] for j in range(order + 1))
    return xp.exp(xp.xlogy(a, x) - xp.gammaln(a + 1)) * total


def _far(xp: Any, a: Any, x: Any, order: int) -> Any:
    """By quadrature over s = log(x / t), which is positive below x and negative above."""
    v = xp.log(x) - xp.digamma(a + 1)
    below = a * v <= -1  # log(x) is below its mean, digamma(a)
    # At s the density has fallen by exp(-(a s + x expm1(-s))). A bound of where that is FALL:
    # below, from exp(-s) - 1 + s >= s * s / (2 + s); above, from exp(s) - 1 - s >= s * s / 2, made
    # better by exp(s) = 1 + (FALL + a s) / x.
    gap = 2 * (a - x) - FALL
    some = xp.where(below, a, 1.0)
    falls = (xp.sqrt(gap * gap + (8 * FALL) * some) - gap) / (2 * some)
    rises = (a - x + xp.sqrt((a - x) * (a - x) + (2 * FALL) * x)) / x
    for _ in range(2):
        rises = xp.minimum(rises, xp.log1p((FALL + a * rises) / x))
    end = xp.where(below, falls, -rises)
    total: Any = 0.0
    for place, weight in _rule():
        s = end * place
        slope = _density_slope(xp, v - s, a, order)
        total = total + weight * slope * xp.exp(-(a * s + x * xp.expm1(-s)))
    return end * total * xp.exp(_log_front(xp, a, x))


@functools.cache
def _rule() -> list[tuple[float, float]]:
    """Gauss and Legendre's places in the interval from 0 to 1, and their weights."""
    places, weights = np.polynomial.legendre.leggauss(NODES)
    return list(zip(((places + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


def _gammainc_slope(xp: Any, a: Any, x: Any, /, order: int = 1) -> Any:
    """Computed in float64, as SciPy computes gammainc in every dtype."""
    a, x = _arrays(xp, a, x)
    refuse_complex(a)
    given = a.dtype
    a, x = a.astype("float64"), x.astype("float64")
    inside = (a >= 0) & (x > 0) & (a < math.inf) & (x < math.inf)
    near = x <= NEAR
    b = xp.where(inside, a, 1.0)
    small = _near(xp, b, xp.where(inside & near, x, 1.0), order)
    large = _far(xp, b, xp.where(inside & ~near, x, 2 * NEAR), order)
    outside = xp.where((a >= 0) & (x >= 0), xp.zeros_like(a), xp.full_like(a, math.nan))
    y = xp.where(inside, xp.where(near, small, large), outside)
    return y if y.dtype == given else y.astype(given)


def _gamma_density(xp: Any, g: Any, a: Any, x: Any) -> Any:
    a, x = _arrays(xp, a, x)
    end = x == math.inf
    return xp.scale(g, xp.where(end, 0.0, xp.exp(_log_front(xp, a - 1, xp.where(end, 1.0, x)))))


def _slope_of_slope(xp: Any, g: Any, a: Any, x: Any, order: int) -> Any:
    """By x: a derivative of the density by a."""
    a, x = _arrays(xp, a, x)
    positive = xp.where(x > 0, x, 1.0)
    slope = _density_slope(xp, xp.log(positive) - xp.digamma(a + 1), a, order) / positive
    return xp.scale(g, xp.where(x > 0, slope * xp.exp(_log_front(xp, a, positive)), 0.0))


op(
    "gammainc",
    lambda xp, a, x, /: xp.special.gammainc(a, x),
    vjp=[
        lambda xp, g, y, a, x: xp.scale(g, xp.gammainc_slope(a, x)),
        lambda xp, g, y, a, x: _gamma_density(xp, g, a, x),
    ],
    saves="a x",
    domain=POSITIVE,
    doc="The regularized lower incomplete gamma function, elementwise.",
    **EW,
)
op(
    "gammaincc",
    lambda xp, a, x, /: xp.special.gammaincc(a, x),
    vjp=[
        lambda xp, g, y, a, x: -xp.scale(g, xp.gammainc_slope(a, x)),
        lambda xp, g, y, a, x: -_gamma_density(xp, g, a, x),
    ],
    saves="a x",
    domain=POSITIVE,
    doc="The regularized upper incomplete gamma function, elementwise.",
    **EW,
)
op(
    "gammainc_slope",
    _gammainc_slope,
    vjp=[
        lambda xp, g, y, a, x, order: xp.scale(g, xp.gammainc_slope(a, x, order=order + 1)),
        lambda xp, g, y, a, x, order: _slope_of_slope(xp, g, a, x, order),
    ],
    saves="a x",
    domain=POSITIVE,
    samples=[Sample((2, 3), (2, 3)), Sample((3,), (2, 1)), Sample((2,), (2,), order=2)],
    doc="The derivative of gammainc by a, of an order.",
    **EW,
)


def _beta_density(xp: Any, g: Any, y: Any, a: Any, b: Any, x: Any) -> Any:
    logarithm = xp.xlogy(a - 1, x) + xp.xlog1py(b - 1, -x) - xp.betaln(a, b)
    return xp.scale(g, xp.exp(logarithm))


# By a and b it has derivatives that no library computes: they are constants, and the function that
# users call refuses those that require a gradient.
op(
    "betainc",
    lambda xp, a, b, x, /: xp.special.betainc(a, b, x),
    vjp=[None, None, _beta_density],
    saves=("", "", "a b x"),
    domain=(0.34, 0.96),
    doc="The regularized incomplete beta function, elementwise; no derivative by a and b.",
    **EW,
)
