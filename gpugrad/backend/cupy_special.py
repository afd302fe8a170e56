"""Formulas that replace functions of ``cupyx.scipy.special`` with wrong values in some region.

A formula gets the array namespace, CuPy's module, and floating-point operands of one dtype. It
calls CuPy's function where that is right; its docstring says where it is wrong. The same formulas
run operation by operation and write kernels. Those of Bessel functions are in `bessel`, and
`cupy_ufuncs` replaces functions of CuPy itself. Imports bessel.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from gpugrad.backend.bessel import BESSEL, OF_SCIPY

__all__ = ["ON_A_CPU", "REPLACEMENTS", "log_ratio"]


def _logit(xp: Any, theirs: Any, x: Any) -> Any:
    """log(x / (1 - x)), CuPy's formula, loses digits around x = 0.5, where it is close to 0."""
    s = 2 * (x - 0.5)
    near = xp.abs(s) < 0.4
    s = xp.where(near, s, 0.0)
    return xp.where(near, xp.log1p(s) - xp.log1p(-s), theirs.logit(x))


def log_ratio(xp: Any, a: Any, b: Any) -> Any:
    """log(a / b) of positive numbers of any size; accurate where they are close."""
    near = (a < 2 * b) & (b < 2 * a)
    gap = xp.where(near, (a - b) / b, 0)
    return xp.where(near, xp.log1p(gap), xp.log(a) - xp.log(b))


def _rel_entr(xp: Any, theirs: Any, a: Any, b: Any) -> Any:
    """a log(a / b): CuPy's quotient overflows, and its logarithm loses digits where a is near b.

    CuPy computes float32 in float64, which needs no replacement.
    """
    plain = theirs.rel_entr(a, b)
    if plain.dtype != "float64":
        return plain
    inside = (a > 0) & (b > 0)
    y = a * log_ratio(xp, xp.where(inside, a, 1.0), xp.where(inside, b, 1.0))
    return xp.where(inside, y, plain)


def _at_poles(name: str, value: float) -> Callable[..., Any]:
    """At poles of the gamma function of a + b CuPy returns NaN in place of ``value``."""

    def formula(xp: Any, theirs: Any, a: Any, b: Any) -> Any:
        y = getattr(theirs, name)(a, b)
        total = a + b
        pole = (total <= 0) & (total == xp.floor(total)) & (a != xp.floor(a))
        return xp.where((y != y) & pole, value, y)

    return formula


def _of_numbers(name: str) -> Callable[..., Any]:
    """CuPy returns a number for NaN with 0 or infinity."""

    def formula(xp: Any, theirs: Any, a: Any, x: Any) -> Any:
        return xp.where((a == a) & (x == x), getattr(theirs, name)(a, x), math.nan)

    return formula


@cache
def _hides_nan(theirs: Any, name: str) -> bool:
    return not math.isnan(getattr(theirs, name)(math.nan, 0.0))


def _of_numbers_in_scipy(name: str) -> Callable[..., Any]:
    """SciPy before 1.16 does, too."""
    formula = _of_numbers(name)

    def function(xp: Any, theirs: Any, a: Any, x: Any) -> Any:
        hides_nan = _hides_nan(theirs, name)
        return formula(xp, theirs, a, x) if hides_nan else getattr(theirs, name)(a, x)

    return function


def _betainc(xp: Any, theirs: Any, a: Any, b: Any, x: Any) -> Any:
    """CuPy's continued fraction stops after 300 terms: too few where x is near the mean a / (a + b)
    and both are large. There it is an asymptotic series.
    """
    wide = [array.astype("float64") for array in (a, b, x)]
    large_a, large_b, at = wide
    both = large_a + large_b
    gap = xp.where(large_a > large_b, both * (1 - at) - large_b, large_a - both * at)
    least = xp.minimum(large_a, large_b)
    near = (least > 1e5) & (xp.abs(gap) < 0.03 * least)
    below = gap > 0
    first, second = xp.where(below, large_a, large_b), xp.where(below, large_b, large_a)
    series = _near_mean(xp, theirs, first, second, xp.abs(gap))
    series = xp.where(below, series, 1 - series).astype(x.dtype)
    return xp.where(near, series, theirs.betainc(a, b, x))


def _near_mean(xp: Any, theirs: Any, a: Any, b: Any, gap: Any) -> Any:
    """betainc(a, b, x) for x = (a - gap) / (a + b), below the mean: BASYM of Algorithm 708 (A. R.
    DiDonato and A. H. Morris, ACM Trans. Math. Softw. 18, 1992), six terms of its series.
    """
    least, most = xp.minimum(a, b), xp.maximum(a, b)
    h, skew = least / most, (b - a) / most
    step = 1 / xp.sqrt(least * (1 + h))
    f = a * _log_excess(-gap / a) + b * _log_excess(gap / b)
    z = xp.sqrt(f)
    powers = [2 / 3 * skew]
    c = [-0.5 * powers[0]]
    d = [-c[0]]
    even, odd = math.sqrt(math.pi) / 4 * theirs.erfcx(z), math.sqrt(0.125)
    total = even + d[0] * step * odd
    s, hn, lower, upper, weight = 1.0, 1.0, math.sqrt(2) * z, 2 * f, step
    for n in (2, 4):
        hn = hn * h * h
        s = s + hn
        powers += [2 / (n + 2) * (1 + h * hn) / (1 + h), 2 / (n + 3) * skew * s]
        for i in (n, n + 1):
            r = -0.5 * (i + 1)
            b_terms = [r * powers[0]]
            for m in range(2, i + 1):
                terms = [
                    (j * r - (m - j)) / m * powers[j - 1] * b_terms[m - j - 1] for j in range(1, m)
                ]
                b_terms.append(r * powers[m - 1] + sum(terms))
            c.append(b_terms[-1] / (i + 1))
            d.append(-sum((d[i - j - 1] * c[j - 1] for j in range(1, i)), c[-1]))
        even = math.sqrt(0.125) * lower + (n - 1) * even
        odd = math.sqrt(0.125) * upper + n * odd
        lower, upper = 2 * f * lower, 2 * f * upper
        total = total + weight * step * (d[-2] * even + d[-1] * step * odd)
        weight = weight * step * step
    stirling = (1 / a + 1 / b - 1 / (a + b)) / 12
    return 2 / math.sqrt(math.pi) * xp.exp(-f - stirling) * total


def _log_excess(t: Any) -> Any:
    """t - log(1 + t) for abs(t) < 0.03."""
    y = 1 / 12
    for k in range(11, 1, -1):
        y = 1 / k - t * y
    return t * t * y


REPLACEMENTS: dict[str, Callable[..., Any]] = {
    "beta": _at_poles("beta", 0.0),
    "betaln": _at_poles("betaln", -math.inf),
    "betainc": _betainc,
    "gammainc": _of_numbers("gammainc"),
    "gammaincc": _of_numbers("gammaincc"),
    **BESSEL,
    "logit": _logit,
    "rel_entr": _rel_entr,
}
# The same for ``scipy.special``.
ON_A_CPU: dict[str, Callable[..., Any]] = {
    **OF_SCIPY,
    "gammainc": _of_numbers_in_scipy("gammainc"),
    "gammaincc": _of_numbers_in_scipy("gammaincc"),
}
