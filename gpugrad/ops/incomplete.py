"""Incomplete gamma and beta functions. Imports engine.op, dtypes, special.

SciPy and CuPy compute the values; neither has the derivatives by a and b. They are integrals of the
density's derivative by a, from 0 to x, or from x to the other end with the other sign: log(t) is
there on one side of its mean, so that nothing cancels in the first of them. The density falls by
exp(-40) within an interval that is known beforehand, and in it Gauss and Legendre's rule is exact
to rounding, if the parameters are not small: there a series or a recurrence stands before it.

On CUDA the derivatives by a and b run operation by operation: as one kernel, of some thousand
lines, the larger took a compiler minutes.
"""

import functools
import math
from typing import Any

import numpy as np

from gpugrad.engine.op import REAL, Checks, Sample, op
from gpugrad.ops.agreement import extreme_parameters, subnormal
from gpugrad.ops.dtypes import refuse_complex
from gpugrad.ops.special import POSITIVE, _arrays

FALL = 40.0  # the density is nothing where it has fallen by exp(-FALL)
NEAR = 2.0  # up to here the series is used: its terms fall fast, and lose little in their sum
TERMS = 26
NODES = 32
SHIFT = 8
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


def _polygammas(xp: Any, z: Any, count: int) -> list[Any]:
    """The derivatives of log Gamma at z, from the first on."""
    return [xp.polygamma(z, n=m) if m else xp.digamma(z) for m in range(count)]


def _jet(v: Any, gammas: list[Any]) -> list[Any]:
    """The derivatives by e, at 0, of t**e Gamma(a + 1) / Gamma(a + 1 + e), the 0th and more.

    From the `_polygammas` of a + 1, and v, log(t) less the first of them: these are the
    derivatives of its logarithm.
    """
    coefficients: list[Any] = [1.0]
    for k in range(len(gammas)):
        following = v * coefficients[k]
        for j in range(1, k + 1):
            following = following - math.comb(k, j) * gammas[j] * coefficients[k - j]
        coefficients.append(following)
    return coefficients


def _density_slope(v: Any, a: Any, gammas: list[Any]) -> Any:
    """A derivative by a of t**(a-1) exp(-t) / Gamma(a), over t**(a-1) exp(-t) / Gamma(a + 1)."""
    *_, before, last = _jet(v, gammas)
    return a * last + len(gammas) * before


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
    gammas = _polygammas(xp, a + 1, order)
    jet = _jet(xp.log(x) - gammas[0], gammas)
    total = sum(math.comb(order, j) * jet[order - j] * sums[j] for j in range(order + 1))
    return xp.exp(xp.xlogy(a, x) - xp.gammaln(a + 1)) * total


def _far(xp: Any, a: Any, x: Any, order: int) -> Any:
    """By quadrature over s = log(x / t), which is positive below x and negative above."""
    gammas = _polygammas(xp, a + 1, order)
    v = xp.log(x) - gammas[0]
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
    for node, weight in _rule():
        s = end * node
        slope = _density_slope(v - s, a, gammas)
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
    if 0 in a.shape:  # a kernel's element has no shape, so that this is none: see above
        return a * x
    dtype = a.dtype
    a, x = a.astype("float64"), x.astype("float64")
    inside = (a >= 0) & (x > 0) & (a < math.inf) & (x < math.inf)
    near = x <= NEAR
    b = xp.where(inside, a, 1.0)
    small = _near(xp, b, xp.where(inside & near, x, 1.0), order)
    large = _far(xp, b, xp.where(inside & ~near, x, 2 * NEAR), order)
    outside = xp.where((a >= 0) & (x >= 0), 0.0, math.nan)
    y = xp.where(inside, xp.where(near, small, large), outside)
    return y if y.dtype == dtype else y.astype(dtype)


def _gamma_density(xp: Any, g: Any, a: Any, x: Any) -> Any:
    a, x = _arrays(xp, a, x)
    end = x == math.inf
    return g * xp.where(end, 0.0, xp.exp(_log_front(xp, a - 1, xp.where(end, 1.0, x))))


def _slope_of_slope(xp: Any, g: Any, a: Any, x: Any, order: int) -> Any:
    """By x: a derivative of the density by a."""
    a, x = _arrays(xp, a, x)
    positive = xp.where(x > 0, x, 1.0)
    gammas = _polygammas(xp, a + 1, order)
    slope = _density_slope(xp.log(positive) - gammas[0], a, gammas) / positive
    # At 0 the powers of log(x) are infinite, and the density is 0 for a > 1.
    end = xp.where((x == 0) & (a > 1), 0.0, xp.where(x == 0, (-math.inf) ** order, math.nan))
    return g * xp.where(x > 0, slope * xp.exp(_log_front(xp, a, positive)), end)


# fmt: off
op("gammainc", lambda xp, a, x, /: xp.special.gammainc(a, x),
   vjp=[lambda xp, g, y, a, x: g * xp.gammainc_slope(a, x),
        lambda xp, g, y, a, x: _gamma_density(xp, g, a, x)],
   saves="a x", **REAL, domain=POSITIVE, checks=Checks(differs=subnormal), public="special",
   autocast="float32", doc="The regularized lower incomplete gamma function, elementwise.")
op("gammaincc", lambda xp, a, x, /: xp.special.gammaincc(a, x),
   vjp=[lambda xp, g, y, a, x: -g * xp.gammainc_slope(a, x),
        lambda xp, g, y, a, x: -_gamma_density(xp, g, a, x)],
   saves="a x", **REAL, domain=POSITIVE, checks=Checks(differs=subnormal), public="special",
   autocast="float32", doc="The regularized upper incomplete gamma function, elementwise.")
op("gammainc_slope", _gammainc_slope,
   vjp=[lambda xp, g, y, a, x, order: g * xp.gammainc_slope(a, x, order=order + 1),
        lambda xp, g, y, a, x, order: _slope_of_slope(xp, g, a, x, order)],
   saves="a x", **REAL, domain=POSITIVE,
   samples=[Sample((2, 3), (2, 3)), Sample((3,), (2, 1)), Sample((2,), (2,), order=2)],
   checks=Checks(slow=True), public="", autocast="float32",
   doc="The derivative of gammainc by a, of an order.")
# fmt: on

# The incomplete beta function.


def _beta_density(xp: Any, g: Any, y: Any, a: Any, b: Any, x: Any) -> Any:
    logarithm = xp.xlogy(a - 1, x) + xp.xlog1py(b - 1, -x) - xp.betaln(a, b)
    return g * xp.exp(logarithm)


def _one_up(values: list[Any], z: Any) -> list[Any]:
    """What `_polygammas` gives for z + 1, from what it gives for z (DLMF 5.15.5)."""
    return [
        value + (-1) ** m * math.factorial(m) * (1 / z) ** (m + 1) for m, value in enumerate(values)
    ]


def _beta_jet(logs: tuple[Any, Any], gammas: tuple[list[Any], ...], i: int, j: int) -> Any:
    """The derivative by e and f, at 0, i and j times, of

    t**e (1 - t)**f Gamma(n + e + f) / Gamma(n) * Gamma(a) Gamma(b) / (Gamma(a + e) Gamma(b + f)),

    from `_centred` logarithms of t and 1 - t and the `_polygammas` of a, b and n: the derivatives
    of its logarithm, each times a derivative of lower order.
    """
    if not i:
        if not j:
            return 1.0
        of_a, of_b, of_n = gammas
        return _beta_jet(logs[::-1], (of_b, of_a, of_n), j, 0)
    of_a, _, of_n = gammas
    total: Any = 0.0
    for k in range(i):
        for m in range(j + 1):
            rate = of_n[k + m] if m else of_n[k] - of_a[k] if k else logs[0]
            lower = _beta_jet(logs, gammas, i - 1 - k, j - m)
            total = total + math.comb(i - 1, k) * math.comb(j, m) * rate * lower
    return total


def _centred(logs: tuple[Any, Any], gammas: tuple[list[Any], ...]) -> tuple[Any, Any]:
    """The logarithms of t and 1 - t, less their means where there is a derivative by a, by b."""
    of_n = gammas[2]
    a, b = (log + (of_n[0] - of[0]) if of else log for log, of in zip(logs, gammas, strict=False))
    return a, b


def _beta_integral(
    xp: Any, a: Any, b: Any, x: Any, y: Any, lx: Any, ly: Any, i: int, j: int
) -> Any:
    """The derivative, for b of 8 and more or x below the mean, by quadrature over s.

    With the logit of t moved by s from that of x, away from the mean, the density falls by
    exp(-(p s + n log1p(x expm1(-s)))), p being a, or b and x, y exchanged above the mean.
    """
    n = a + b
    gammas = (_polygammas(xp, a, i), _polygammas(xp, b, j), _polygammas(xp, n, i + j))
    below = lx <= xp.digamma(a) - xp.digamma(n)
    vx, vy = _centred((lx, ly), gammas)
    p, near = xp.where(below, a, b), xp.where(below, x, y)
    far, log_far = xp.where(below, y, x), xp.where(below, ly, lx)
    # Bounds of where it has fallen by exp(-FALL): from a line, from s * s / (2 + s) as above; then
    # Newton's steps, which stay on their side, as the logarithm is convex.
    slope = p * far - (n - p) * near
    lead = slope + n * near * far
    some, gap = xp.where(lead > 0, lead, 1.0), 2 * slope - FALL
    curved = (xp.sqrt(gap * gap + (8 * FALL) * some) - gap) / (2 * some)
    end = (FALL - n * log_far) / p
    end = xp.where(lead > 0, xp.minimum(end, curved), end)
    for _ in range(3):
        fall = xp.exp(-end) * near
        step = (p * end + n * xp.log1p(near * xp.expm1(-end)) - FALL) / (
            p - n * fall / (far + fall)
        )
        end = end - xp.where(step > 0, step, 0.0)
    total: Any = 0.0
    for node, weight in _rule():
        s = end * node
        rest = xp.log1p(near * xp.expm1(-s))
        logs = (xp.where(below, vx - s, vx) - rest, xp.where(below, vy, vy - s) - rest)
        total = total + weight * _beta_jet(logs, gammas, i, j) * xp.exp(-(p * s + n * rest))
    front = xp.exp(a * lx + b * ly - xp.betaln(a, b))
    return xp.where(below, 1.0, -1.0) * end * front * total


def _steps(xp: Any, of: tuple[Any, Any], at: tuple[Any, Any, Any], counts: Any) -> Any:
    """The derivatives of T / a for a, a + 1, ...: of x**a (1 - x)**b / (a B(a, b))."""
    (a, b), (x, lx, ly) = of, at
    n, up = a + b, a + 1
    term = xp.exp(a * lx + b * ly - xp.betaln(a, b)) / a
    of_a, of_b, of_n = (_polygammas(xp, z, m) for z, m in zip((up, b, n), counts, strict=True))
    total: Any = 0.0
    for _ in range(SHIFT):
        gammas = (of_a, of_b, of_n)
        total = total + term * _beta_jet(_centred((lx, ly), gammas), gammas, *counts[:2])
        term = term * x * (n / up)
        of_a, of_n, n, up = _one_up(of_a, up), _one_up(of_n, n), n + 1, up + 1
    return total


def _betainc_slope(
    xp: Any, a: Any, b: Any, x: Any, /, by_a: int = 1, by_b: int = 0, above: bool = False
) -> Any:
    """Computed in float64. Parameters that are small go up to 8 and more by DLMF 8.17.20 and 21,

    I(a, b) = I(a + 1, b) + T / a = I(a, b + 1) - T / b with T = x**a (1 - x)**b / B(a, b),

    on the side where the derivatives by a of all terms have one sign.
    """
    a, b = _arrays(xp, a, b)
    b, x = _arrays(xp, b, x)
    a, x = _arrays(xp, a, x)
    refuse_complex(a)
    if 0 in a.shape:  # a kernel's element has no shape, so that this is none: see above
        return a * b * x
    dtype = a.dtype
    a, b, x = a.astype("float64"), b.astype("float64"), x.astype("float64")
    inside = (a > 0) & (b > 0) & (a < math.inf) & (b < math.inf) & (x > 0) & (x < 1)
    c, d, z = (xp.where(inside, operand, 0.5) for operand in (a, b, x))
    log_z, log_rest = xp.log(z), xp.log1p(-z)
    x_, y_, lx, ly = (1 - z, z, log_rest, log_z) if above else (z, 1 - z, log_z, log_rest)
    counts = by_a, by_b, by_a + by_b
    up = lx <= xp.digamma(c + 1) - xp.digamma(c + d)
    y = xp.where(up, _steps(xp, (c, d), (x_, lx, ly), counts), 0.0)
    c = xp.where(up, c + SHIFT, c)
    up = lx > xp.digamma(c) - xp.digamma(c + d)
    y = y - xp.where(up, _steps(xp, (d, c), (y_, ly, lx), (by_b, by_a, by_a + by_b)), 0.0)
    d = xp.where(up, d + SHIFT, d)
    y = y + _beta_integral(xp, c, d, x_, y_, lx, ly, by_a, by_b)
    valid = (a >= 0) & (b >= 0) & (x >= 0) & (x <= 1)
    y = xp.where(inside, y, xp.where(valid, 0.0, math.nan))
    return y if y.dtype == dtype else y.astype(dtype)


def _beta_slope_by_x(
    xp: Any, g: Any, a: Any, b: Any, x: Any, by_a: int, by_b: int, above: bool
) -> Any:
    inside = (x > 0) & (x < 1)
    z = xp.where(inside, x, 0.5)
    logs = (xp.log1p(-z), xp.log(z)) if above else (xp.log(z), xp.log1p(-z))
    density = xp.exp((a - 1) * logs[0] + (b - 1) * logs[1] - xp.betaln(a, b))
    counts = zip((a, b, a + b), (by_a, by_b, by_a + by_b), strict=True)
    gammas = tuple(_polygammas(xp, operand, count) for operand, count in counts)
    slope = density * _beta_jet(_centred(logs, gammas), gammas, by_a, by_b)
    # At an end the density is 0 if its power is positive, and else infinite, of one sign or both.
    first, last = (x == 1, x == 0) if above else (x == 0, x == 1)
    end = xp.where((first & (a > 1)) | (last & (b > 1)), 0.0, math.nan)
    return g * xp.where(inside, -slope if above else slope, end)


op("betainc", lambda xp, a, b, x, /: xp.special.betainc(a, b, x),
   vjp=[lambda xp, g, y, a, b, x: g * xp.betainc_slope(a, b, x),
        lambda xp, g, y, a, b, x: -g * xp.betainc_slope(b, a, x, above=True), _beta_density],
   saves="a b x", **REAL, domain=(0.34, 0.96), checks=Checks(differs=extreme_parameters),
   public="special", autocast="float32",
   doc="The regularized incomplete beta function, elementwise.")  # fmt: skip


def _betainc_more(more_a: int, more_b: int) -> Any:
    return lambda xp, g, y, a, b, x, by_a, by_b, above: (
        g * xp.betainc_slope(a, b, x, by_a=by_a + more_a, by_b=by_b + more_b, above=above)
    )


# fmt: off
op("betainc_slope", _betainc_slope,
   vjp=[_betainc_more(1, 0), _betainc_more(0, 1),
        lambda xp, g, y, a, b, x, by_a, by_b, above: _beta_slope_by_x(
            xp, g, a, b, x, by_a, by_b, above)],
   saves="a b x", **REAL, domain=(0.34, 0.96), checks=Checks(slow=True), public="",
   samples=[Sample((2, 3), (2, 3), (2, 3)), Sample((3,), (2, 1), (), above=True),
            Sample((2,), (2,), (2,), by_a=1, by_b=1)], autocast="float32",
   doc="A derivative by a and b, so many times by each, of betainc at x, or at 1 - x if above.")
# fmt: on
