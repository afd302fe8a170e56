"""Formulas of Bessel functions: those of any order, of which CuPy has four and none.

As in `cupy_special`, a formula gets the namespace and the module of special functions; ``v`` is the
order, a number. Orders that are whole, or half of an odd number, have formulas; others, and J of
any order, are SciPy's on a CPU (`OF_SCIPY`). Imports errors.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.errors import ArgumentError

__all__ = ["BESSEL", "OF_ORDER", "OF_SCIPY"]

FAR = 50.0  # from here 14 terms of the series for large x have all digits of float64
HIGHEST = 40  # a kernel has some 8 operations an order


def _series_far_out(order: int, sign: int) -> Callable[[Any], Any]:
    """The series in 1 / x of Bessel functions of large x: of I with sign 1, of K with -1.

    DLMF 10.40.1 and 10.40.2, without exp(x) or exp(-x) and a constant.
    """
    terms = [1.0]
    for k in range(1, 15):
        terms.append(terms[-1] * sign * ((2 * k - 1) ** 2 - 4 * order**2) / (8 * k))

    def series(x: Any) -> Any:
        total = terms[-1]
        for term in terms[-2::-1]:
            total = total / x + term
        return total

    return series


def _scaled_i(order: int) -> Callable[..., Any]:
    """exp(-abs(x)) I[order](x). CuPy multiplies the two: 0 * inf beyond 88 in float32, else 713."""
    series = _series_far_out(order, 1)

    def formula(xp: Any, theirs: Any, x: Any) -> Any:
        size = xp.abs(x)
        near = size < FAR
        inner = xp.where(near, x, 0.0)
        y = getattr(theirs, f"i{order}")(inner) * xp.exp(-xp.abs(inner))
        outer = xp.where(near, FAR, size)
        far = series(outer) * math.sqrt(0.5 / math.pi) / xp.sqrt(outer)
        return xp.where(near, y, xp.where(x < 0, -far, far) if order else far)

    return formula


def _scaled_k(order: int) -> Callable[..., Any]:
    """exp(x) K[order](x). CuPy multiplies the two: inf * 0 for large x."""
    series = _series_far_out(order, -1)

    def formula(xp: Any, theirs: Any, x: Any) -> Any:
        near = x < FAR
        y = getattr(theirs, f"k{order}e")(xp.where(near, x, 1.0))
        outer = xp.where(near, FAR, x)
        return xp.where(near, y, series(outer) * math.sqrt(math.pi / 2) / xp.sqrt(outer))

    return formula


_I0E, _I1E, _K0E, _K1E = _scaled_i(0), _scaled_i(1), _scaled_k(0), _scaled_k(1)


# Functions of other orders. The formulas of half-integers are in DLMF 10.16.1, 10.39.1 and 10.39.2,
# the recurrences in 10.6.1 and 10.29.1, negative orders in 10.4.1, 10.4.2, 10.27.1 to 10.27.3.


def _has_formula(order: float) -> bool:
    return abs(order) <= HIGHEST and 2 * order == int(2 * order)


def _or_refused(name: str, formula: Callable[..., Any]) -> Callable[..., Any]:
    def call(xp: Any, theirs: Any, v: Any, x: Any) -> Any:
        order = float(v)
        if not _has_formula(order):
            raise ArgumentError(
                f"{name}: on a GPU an order is a whole number or half of one, and {HIGHEST} at "
                f"most, got {order:g}; CuPy has no functions of others. Compute it on the CPU: "
                f"{name}(v, x.cpu())"
            )
        return formula(xp, theirs, order, x)

    return call


def _or_theirs(name: str, formula: Callable[..., Any]) -> Callable[..., Any]:
    @np.errstate(all="ignore")
    def call(xp: Any, theirs: Any, v: Any, x: Any) -> Any:
        order = float(v)
        if not _has_formula(order):
            return getattr(theirs, name)(v, x)
        return formula(xp, theirs, order, x)

    return call


def _halves(order: float) -> bool:
    return order != int(order)


def _odd(n: float) -> bool:
    return int(n) % 2 == 1


def _upward(order: float, below: Any, y: Any, step: Callable[[float, Any, Any], Any]) -> Any:
    """F[order] by F[k+1] = step(2k, F[k], F[k-1]), from F[0] and F[1], or F[-1/2] and F[1/2]."""
    k = 0.5 if _halves(order) else 1.0
    if order == 0:
        return below
    while k < order:
        below, y = y, step(2 * k, y, below)
        k += 1
    return y


def _j(xp: Any, theirs: Any, order: float, x: Any) -> Any:
    """By its series, or beyond the order by the recurrence upward, which is stable there.

    Of both float32 would keep 4 digits around the order.
    """
    if x.dtype != "float64":
        return _j(xp, theirs, order, x.astype("float64")).astype(x.dtype)
    halves = _halves(order)
    if order < 0 and halves:
        y = _y(xp, theirs, -order, x)
        return y if _odd(-order) else -y
    positive, order = order >= 0, abs(order)
    z = xp.abs(x)
    near = z < 2 + order
    small = xp.where(near, z, 0)
    series = xp.ones_like(small)
    for m in range(16 + 2 * math.ceil(order), 0, -1):
        series = 1 - series * (0.25 * small * small) * (1 / (m * (m + order)))
    k = order
    while k > 0.5:
        series = series * small * (0.5 / k)
        k -= 1
    big = xp.where(near, 20 + order, z)
    if halves:
        series = series * xp.sqrt(small * (2 / math.pi))
        root = math.sqrt(2 / math.pi) / xp.sqrt(big)
        seeds = root * xp.cos(big), root * xp.sin(big)
    else:
        seeds = theirs.j0(big), theirs.j1(big)
    far = _upward(order, *seeds, lambda k, y, below: k / big * y - below)
    y = xp.where(near, series, far)
    if halves:
        return xp.where(x < 0, math.nan, y)
    return xp.where((x < 0) == positive, -y, y) if _odd(order) else y


def _y(xp: Any, theirs: Any, order: float, x: Any) -> Any:
    """By the recurrence upward, which is stable."""
    if x.dtype != "float64":
        return _y(xp, theirs, order, x.astype("float64")).astype(x.dtype)
    halves = _halves(order)
    x = xp.where(x < 0, math.nan, x + 0.0)  # -0.0 is 0
    if order < 0 and halves:
        y = _j(xp, theirs, -order, x)
        return -y if _odd(-order) else y
    if halves:
        root = math.sqrt(2 / math.pi) / xp.sqrt(x)
        seeds = root * xp.sin(x), -root * xp.cos(x)
    else:
        seeds = theirs.y0(x), theirs.y1(x)
    y = _upward(abs(order), *seeds, lambda k, y, below: k / x * y - below)
    # Infinite terms of two signs meet where x is next to nothing.
    y = xp.where((y != y) & (x >= 0) & (x < 1), -math.inf, y)
    return -y if order < 0 and _odd(-order) else y


def _ie(xp: Any, theirs: Any, order: float, x: Any) -> Any:
    """By the ratios I[k+1] / I[k], a continued fraction, or far beyond the order upward."""
    halves = _halves(order)
    z = xp.abs(x)
    if halves:
        root = math.sqrt(0.5 / math.pi) / xp.sqrt(z)
        lowest = xp.where(z == 0, 0, -xp.expm1(-2 * z) * root)
    else:
        lowest = _I0E(xp, theirs, z)
    n = abs(order)
    near = z < 10 + n * n
    small = xp.where(near, z, 1)
    ratio, product = xp.zeros_like(z), xp.ones_like(z)
    k = n + math.ceil(math.sqrt(n * n + 37 * (10 + n * n)) - n)
    while k >= 0:
        ratio = small / (2 * (k + 1) + small * ratio)
        if k < n:
            product = product * ratio
        k -= 1
    below = root * (1 + xp.exp(-2 * z)) if halves else lowest
    seeds = below, lowest if halves else _I1E(xp, theirs, z)
    big = xp.where(near, 20 + n * n, z)
    far = _upward(n, *seeds, lambda k, y, below: below - k / big * y)
    y = xp.where(near, lowest * product, far)
    if not halves:
        return xp.where(x < 0, -y, y) if _odd(n) else y
    if order < 0:
        other = (2 / math.pi) * _ke(xp, theirs, n, z) * xp.exp(-2 * z)
        y = y - other if _odd(n) else y + other
    return xp.where(x < 0, math.nan, y)


def _ke(xp: Any, theirs: Any, order: float, x: Any) -> Any:
    """By the recurrence upward, which is stable."""
    order = abs(order)
    x = xp.where(x < 0, math.nan, x + 0.0)  # -0.0 is 0
    if _halves(order):
        below = y = math.sqrt(math.pi / 2) / xp.sqrt(x)
    else:
        below, y = _K0E(xp, theirs, x), _K1E(xp, theirs, x)
    return _upward(order, below, y, lambda k, y, below: k / x * y + below)


def _i(xp: Any, theirs: Any, order: float, x: Any) -> Any:
    """In two factors: exp(x) is infinite where I is not."""
    root = xp.exp(0.5 * xp.abs(x))
    return _ie(xp, theirs, order, x) * root * root


def _k(xp: Any, theirs: Any, order: float, x: Any) -> Any:
    root = xp.exp(-0.5 * x)
    return _ke(xp, theirs, order, x) * root * root


OF_ORDER = {"iv": _i, "ive": _ie, "jv": _j, "kv": _k, "kve": _ke, "yv": _y}
BESSEL: dict[str, Callable[..., Any]] = {
    "i0e": _I0E,
    "i1e": _I1E,
    "k0e": _K0E,
    "k1e": _K1E,
    **{name: _or_refused(name, formula) for name, formula in OF_ORDER.items()},
}
# Those of SciPy are NaN beyond 2**30, and wrong next to 0.
OF_SCIPY = {name: _or_theirs(name, OF_ORDER[name]) for name in ("iv", "ive", "kv", "kve", "yv")}
