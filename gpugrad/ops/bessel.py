"""Bessel functions. Imports engine.op, agreement and dtypes.

With A[k] = I[k] / x**k and B[k] = J[k] / x**k, which are smooth and have no singularity,
d A[k] / dx = x A[k+1] and d B[k] / dx = -x B[k+1] (DLMF 10.29.4, 10.6.6): all derivatives of I and
J are sums of these, and nothing is divided by an x that goes to 0. Those of K and Y are in DLMF
10.29.3 and 10.6.3.
"""

import math
from typing import Any

from gpugrad.engine.op import REAL, Checks, Sample, op
from gpugrad.ops.agreement import far_phase, infinite, least_normal, subnormal
from gpugrad.ops.dtypes import refuse_complex, widened

POSITIVE = (0.4, 3.0)
WITH_ORDER = [Sample((2, 3)), Sample(()), Sample((3,), order=2), Sample((2,), order=3)]


def _series(xp: Any, square: Any, order: int, terms: int) -> Any:
    """The sum of (square / 4)**m / (2**order m! (m + order)!).

    It is I[order](x) / x**order for the square of x, and that of J for minus the square.
    """
    quarter = 0.25 * square
    series = xp.ones_like(quarter)
    for m in range(terms, 0, -1):
        series = series * quarter * (1 / (m * (m + order))) + 1
    return series * (0.5**order / math.factorial(order))


def _bessel_quotient(xp: Any, x: Any, /, order: int = 1, scaled: bool = False) -> Any:
    """I[order](x) / x**order, times exp(-abs(x)) if scaled.

    By its series, or for large x by I[k+1] = I[k-1] - 2k/x I[k] (DLMF 10.25.2, 10.29.1).
    """
    refuse_complex(x)
    z = xp.abs(widened(x))
    near = z < 10.0 + order * order  # beyond, each step loses little
    small = xp.where(near, z, 0)
    series = _series(xp, small * small, order, 26 + 2 * order + order * order)
    if scaled:
        series = series * xp.exp(-small)
    big = xp.where(near, 20.0 + order * order, z)
    below, far = (xp.i0e(big), xp.i1e(big)) if scaled else (xp.i0(big), xp.i1(big))
    for k in range(1, order):
        below, far = far, below - 2 * k / big * far
    return xp.where(near, series, far / big**order).astype(x.dtype)


def _quotient_vjp(xp: Any, g: Any, y: Any, x: Any, order: int, scaled: bool) -> Any:
    slope = x * xp.bessel_quotient(x, order=order + 1, scaled=scaled)
    return g * (slope - xp.sign(x) * y if scaled else slope)


def _bessel_j_quotient(xp: Any, x: Any, /, order: int = 1) -> Any:
    """J[order](x) / x**order, by its series, or beyond the order by a recurrence, stable there.

    J[k+1] = 2k/x J[k] - J[k-1] (DLMF 10.2.2, 10.6.1).
    """
    refuse_complex(x)
    z = xp.abs(widened(x))
    near = z < 2.0 + order
    small = xp.where(near, z, 0)
    series = _series(xp, -small * small, order, 16 + 2 * order)
    big = xp.where(near, 20.0 + order, z)
    below, far = xp.j0(big), xp.j1(big)
    for k in range(1, order):
        below, far = far, 2 * k / big * far - below
    return xp.where(near, series, far / big**order).astype(x.dtype)


# fmt: off
op("bessel_quotient", _bessel_quotient, vjp=[_quotient_vjp], saves="x y", **REAL, public="",
   samples=[*WITH_ORDER, Sample((2, 3), scaled=True), Sample((2,), order=2, scaled=True)],
   autocast="float32",
   doc="I[order](x) / x**order, I[k] being modified Bessel functions; exact at 0 too.")
op("i0", lambda xp, x, /: xp.special.i0(x), vjp=[lambda xp, g, y, x: g * xp.i1(x)], saves="x",
   **REAL, checks=Checks(differs=infinite), public="gg special", autocast="float32",
   doc="The modified Bessel function of the first kind of order 0, elementwise.")
op("i1", lambda xp, x, /: xp.special.i1(x),
   vjp=[lambda xp, g, y, x: g * (xp.i0(x) - xp.bessel_quotient(x, order=1))], saves="x",
   **REAL, checks=Checks(differs=infinite), public="special", autocast="float32",
   doc="The modified Bessel function of the first kind of order 1, elementwise.")
op("i0e", lambda xp, x, /: xp.special.i0e(x),
   vjp=[lambda xp, g, y, x: g * (xp.i1e(x) - xp.sign(x) * y)], saves="x y",
   **REAL, public="special", autocast="float32",
   doc="exp(-abs(x)) * i0(x), elementwise; its derivative at 0, a kink, is 0.")
op("i1e", lambda xp, x, /: xp.special.i1e(x),
   vjp=[lambda xp, g, y, x: (
            g * (xp.i0e(x) - xp.bessel_quotient(x, order=1, scaled=True) - xp.sign(x) * y))],
   saves="x y", **REAL, checks=Checks(differs=subnormal), public="special", autocast="float32",
   doc="exp(-abs(x)) * i1(x), elementwise.")
op("bessel_j_quotient", _bessel_j_quotient,
   vjp=[lambda xp, g, y, x, order: -g * x * xp.bessel_j_quotient(x, order=order + 1)], saves="x",
   **REAL, checks=Checks(differs=far_phase), public="", samples=WITH_ORDER, autocast="float32",
   doc="J[order](x) / x**order, J[k] being Bessel functions; exact at 0 too.")
op("j0", lambda xp, x, /: xp.special.j0(x), vjp=[lambda xp, g, y, x: -g * xp.j1(x)], saves="x",
   **REAL, checks=Checks(differs=far_phase), public="special", autocast="float32",
   doc="The Bessel function of the first kind of order 0, elementwise.")
op("j1", lambda xp, x, /: xp.special.j1(x),
   vjp=[lambda xp, g, y, x: g * (xp.j0(x) - xp.bessel_j_quotient(x, order=1))], saves="x",
   **REAL, checks=Checks(differs=far_phase), public="special", autocast="float32",
   doc="The Bessel function of the first kind of order 1, elementwise.")
op("y0", lambda xp, x, /: xp.special.y0(x), vjp=[lambda xp, g, y, x: -g * xp.y1(x)], saves="x",
   **REAL, domain=POSITIVE, checks=Checks(differs=far_phase), public="special", autocast="float32",
   doc="The Bessel function of the second kind of order 0, elementwise, for x > 0.")
op("y1", lambda xp, x, /: xp.special.y1(x), vjp=[lambda xp, g, y, x: g * (xp.y0(x) - y / x)],
   saves="x y", **REAL, domain=POSITIVE, checks=Checks(differs=far_phase), public="special",
   autocast="float32",
   doc="The Bessel function of the second kind of order 1, elementwise, for x > 0.")
op("k0", lambda xp, x, /: xp.special.k0(x), vjp=[lambda xp, g, y, x: -g * xp.k1(x)], saves="x",
   **REAL, domain=POSITIVE, checks=Checks(differs=least_normal), public="special",
   autocast="float32",
   doc="The modified Bessel function of the second kind of order 0, elementwise, for x > 0.")
op("k1", lambda xp, x, /: xp.special.k1(x), vjp=[lambda xp, g, y, x: -g * (xp.k0(x) + y / x)],
   saves="x y", **REAL, domain=POSITIVE, checks=Checks(differs=least_normal), public="special",
   autocast="float32",
   doc="The modified Bessel function of the second kind of order 1, elementwise, for x > 0.")
op("k0e", lambda xp, x, /: xp.special.k0e(x), vjp=[lambda xp, g, y, x: g * (y - xp.k1e(x))],
   saves="x y", **REAL, domain=POSITIVE, checks=Checks(differs=least_normal), public="special",
   autocast="float32", doc="exp(x) * k0(x), elementwise, for x > 0.")
op("k1e", lambda xp, x, /: xp.special.k1e(x),
   vjp=[lambda xp, g, y, x: g * (y - xp.k0e(x) - y / x)], saves="x y",
   **REAL, domain=POSITIVE, checks=Checks(differs=least_normal), public="special",
   autocast="float32", doc="exp(x) * k1(x), elementwise, for x > 0.")
# fmt: on
