"""Bessel functions. Imports engine.op and agreement.

The derivative of one of any order is a sum of those of the orders beside it (DLMF 10.6.1, 10.29.1):
nothing is divided by an x that goes to 0. SciPy has them for every order, the formulas for CUDA in
`gpugrad/backend/bessel.py` for whole and half ones.
"""

from typing import Any

from gpugrad.engine.op import REAL, Checks, Sample, op
from gpugrad.ops.agreement import far_phase, infinite, least_normal, subnormal

POSITIVE = (0.4, 3.0)
# Half orders of negative numbers are NaN.
OF_ORDER: Any = {
    **REAL, "domain": POSITIVE, "public": "", "autocast": "float32",
    "samples": [Sample((2, 3), order=2.0), Sample((3,), order=-1.5)],
}  # fmt: skip


def _at_orders(differs: Any) -> Checks:
    """On a GPU not all orders are valid; test_special.py has more of them than the samples."""
    return Checks(differs=differs, either_zero=True, fixed="order")


# fmt: off
op("i0", lambda xp, x, /: xp.special.i0(x), vjp=[lambda xp, g, y, x: g * xp.i1(x)], saves="x",
   **REAL, checks=Checks(differs=infinite), public="gg special", autocast="float32",
   doc="The modified Bessel function of the first kind of order 0, elementwise.")
op("i1", lambda xp, x, /: xp.special.i1(x),
   vjp=[lambda xp, g, y, x: g * (0.5 * (xp.i0(x) + xp.bessel_i(x, order=2)))], saves="x",
   **REAL, checks=Checks(differs=infinite), public="special", autocast="float32",
   doc="The modified Bessel function of the first kind of order 1, elementwise.")
op("i0e", lambda xp, x, /: xp.special.i0e(x),
   vjp=[lambda xp, g, y, x: g * (xp.i1e(x) - xp.sign(x) * y)], saves="x y",
   **REAL, public="special", autocast="float32",
   doc="exp(-abs(x)) * i0(x), elementwise; its derivative at 0, a kink, is 0.")
op("i1e", lambda xp, x, /: xp.special.i1e(x),
   vjp=[lambda xp, g, y, x: (
            g * (0.5 * (xp.i0e(x) + xp.bessel_ie(x, order=2)) - xp.sign(x) * y))],
   saves="x y", **REAL, checks=Checks(differs=subnormal), public="special", autocast="float32",
   doc="exp(-abs(x)) * i1(x), elementwise.")
op("j0", lambda xp, x, /: xp.special.j0(x), vjp=[lambda xp, g, y, x: -g * xp.j1(x)], saves="x",
   **REAL, checks=Checks(differs=far_phase), public="special", autocast="float32",
   doc="The Bessel function of the first kind of order 0, elementwise.")
op("j1", lambda xp, x, /: xp.special.j1(x),
   vjp=[lambda xp, g, y, x: g * (0.5 * (xp.bessel_j(x, order=0) - xp.bessel_j(x, order=2)))],
   saves="x", **REAL, checks=Checks(differs=far_phase), public="special", autocast="float32",
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

# Of any order.
op("bessel_j", lambda xp, x, /, order: xp.special.jv(order, x),
   vjp=[lambda xp, g, y, x, order: g * (0.5 * (
            xp.bessel_j(x, order=order - 1) - xp.bessel_j(x, order=order + 1)))],
   saves="x", **OF_ORDER, checks=_at_orders(far_phase), shown="jv",
   doc="The Bessel function of the first kind, elementwise.")
op("bessel_y", lambda xp, x, /, order: xp.special.yv(order, x),
   vjp=[lambda xp, g, y, x, order: g * (0.5 * (
            xp.bessel_y(x, order=order - 1) - xp.bessel_y(x, order=order + 1)))],
   saves="x", **OF_ORDER, checks=_at_orders(far_phase), shown="yv",
   doc="The Bessel function of the second kind, elementwise, for x > 0.")
op("bessel_i", lambda xp, x, /, order: xp.special.iv(order, x),
   vjp=[lambda xp, g, y, x, order: g * (0.5 * (
            xp.bessel_i(x, order=order - 1) + xp.bessel_i(x, order=order + 1)))],
   saves="x", **OF_ORDER, checks=_at_orders(infinite), shown="iv",
   doc="The modified Bessel function of the first kind, elementwise.")
op("bessel_k", lambda xp, x, /, order: xp.special.kv(order, x),
   vjp=[lambda xp, g, y, x, order: g * (-0.5 * (
            xp.bessel_k(x, order=order - 1) + xp.bessel_k(x, order=order + 1)))],
   saves="x", **OF_ORDER, checks=_at_orders(least_normal), shown="kv",
   doc="The modified Bessel function of the second kind, elementwise, for x > 0.")
op("bessel_ie", lambda xp, x, /, order: xp.special.ive(order, x),
   vjp=[lambda xp, g, y, x, order: g * (0.5 * (
            xp.bessel_ie(x, order=order - 1) + xp.bessel_ie(x, order=order + 1)) - xp.sign(x) * y)],
   saves="x y", **OF_ORDER, checks=_at_orders(subnormal), shown="ive",
   doc="exp(-abs(x)) * iv(order, x), elementwise.")
op("bessel_ke", lambda xp, x, /, order: xp.special.kve(order, x),
   vjp=[lambda xp, g, y, x, order: g * (y - 0.5 * (
            xp.bessel_ke(x, order=order - 1) + xp.bessel_ke(x, order=order + 1)))],
   saves="x y", **OF_ORDER, checks=_at_orders(least_normal), shown="kve",
   doc="exp(x) * kv(order, x), elementwise, for x > 0.")
# fmt: on
