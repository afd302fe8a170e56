"""Special functions: error and gamma functions, entropies.

Imports backend.cupy_special, engine.op, dtypes. Values are those of SciPy on a CPU and of
``cupyx.scipy.special`` on CUDA (``xp.special``), save where a formula of the table is as good.
Derivatives are written so that tails keep their digits and that those of higher order do not
divide by what goes to zero; sources are named beside them.
"""

import math
from typing import Any

import numpy as np

from gpugrad.backend.cupy_special import log_ratio
from gpugrad.engine.op import ANALYTIC, REAL, Checks, Sample, op
from gpugrad.ops.agreement import far_out, negative_subnormal, subnormal
from gpugrad.ops.dtypes import refuse_complex, widened

ROOT_HALF = math.sqrt(0.5)
ROOT_TWO_OVER_PI = math.sqrt(2 / math.pi)
TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
POSITIVE = (0.4, 3.0)
WITH_ORDER = [Sample((2, 3)), Sample(()), Sample((3,), order=2), Sample((2,), order=3)]


def _floating(x: Any) -> Any:
    """Whole numbers and truth values in float64, as SciPy takes them; no complex ones."""
    refuse_complex(x)
    return x.astype("float64") if x.dtype.kind in "biu" else x


# The normal distribution and the error function.
# fmt: off
op("erfc", lambda xp, x, /: xp.special.erfc(x),
   vjp=[lambda xp, g, y, x: -TWO_OVER_ROOT_PI * g * xp.exp(-x * x)], saves="x",
   **REAL, public="special", autocast="float32",
   doc="1 - erf(x), elementwise, to the last digit where that is tiny.")
# fmt: on


def _erfcx_slope(xp: Any, x: Any, /, order: int = 1) -> Any:
    """The derivative of erfcx of an order, without cancellation where x is large.

    It is (-2)**n n! times erfcx's repeated integral, whose ratios are a continued fraction,
    r[n-1] = 1 / (2 (x + n r[n])), for positive x (DLMF 7.18.7); for x below 2 the recurrence
    y[n+1] = 2 x y[n] + 2 n y[n-1] loses nothing.
    """
    z = widened(x)
    y = xp.erfcx(z)
    before, near = y, 2 * z * y - TWO_OVER_ROOT_PI
    for k in range(1, order):
        before, near = near, 2 * z * near + 2 * k * before
    far, ratio = y, 0.0
    held = xp.maximum(z, 2.0)
    for k in range(order + 45, 0, -1):
        ratio = 0.5 / (held + (k + 1) * ratio)
        if k <= order:
            far = far * (-2 * k * ratio)
    return xp.where(z < 2, near, far).astype(x.dtype)


# fmt: off
op("erfcx", lambda xp, x, /: xp.special.erfcx(x),
   vjp=[lambda xp, g, y, x: g * xp.erfcx_slope(x, order=1)], saves="x",
   **REAL, public="special", autocast="float32",
   doc="exp(x**2) * erfc(x), elementwise, for large x too.")
op("erfcx_slope", _erfcx_slope,
   vjp=[lambda xp, g, y, x, order: g * xp.erfcx_slope(x, order=order + 1)], saves="x",
   **REAL, domain=(-2.0, 4.0), samples=WITH_ORDER, public="", autocast="float32",
   doc="A derivative of erfcx, of any order; accurate for large x.")
op("erfinv", lambda xp, x, /: xp.special.erfinv(x),
   vjp=[lambda xp, g, y, x: g * (xp.exp(y * y) / TWO_OVER_ROOT_PI)], saves="y",
   **REAL, domain=(-0.8, 0.8), public="special", autocast="float32",
   doc="The number whose erf is x, elementwise, for -1 < x < 1.")
op("erfcinv", lambda xp, x, /: xp.special.erfcinv(x),
   vjp=[lambda xp, g, y, x: -g * (xp.exp(y * y) / TWO_OVER_ROOT_PI)], saves="y",
   **REAL, domain=(0.2, 1.8), checks=Checks(differs=negative_subnormal), public="special",
   autocast="float32", doc="The number whose erfc is x, elementwise, for 0 < x < 2.")
op("ndtr", lambda xp, x, /: xp.special.ndtr(x),
   vjp=[lambda xp, g, y, x: ROOT_HALF / math.sqrt(math.pi) * g * xp.exp(-0.5 * x * x)], saves="x",
   **REAL, public="special", autocast="float32",
   doc="The probability that a standard normal number is below x, elementwise.")
op("ndtri", lambda xp, x, /: xp.special.ndtri(x),
   vjp=[lambda xp, g, y, x: g * (xp.exp(0.5 * y * y) * math.sqrt(2 * math.pi))], saves="y",
   **REAL, domain=(0.1, 0.9), checks=Checks(differs=negative_subnormal), public="special",
   autocast="float32",
   doc="The number below which a standard normal one is with probability x, elementwise.")
op("log_ndtr", lambda xp, x, /: xp.special.log_ndtr(x),
   vjp=[lambda xp, g, y, x: g * xp.normal_hazard(x)], saves="x",
   **REAL, checks=Checks(cancels=True), public="special", autocast="float32",
   doc="The logarithm of ndtr, elementwise, for x far below zero too.")
# fmt: on


def _hazard_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    # The derivative is -y (x + y). Far below zero y is nearly -x, and the sum is had from the
    # derivative of erfcx without a difference; far above y is 0, whatever x is.
    u = xp.maximum(-x, 0) * ROOT_HALF
    low = -ROOT_HALF * xp.erfcx_slope(u, order=1) / xp.erfcx(u)
    return -g * (y * xp.where(x < 0, low, xp.minimum(x, 100.0) + y))


# fmt: off
op("normal_hazard", lambda xp, x, /: ROOT_TWO_OVER_PI / xp.erfcx(-ROOT_HALF * x), vjp=[_hazard_vjp],
   saves="x y", **REAL, checks=Checks(differs=far_out, cancels=True), public="", autocast="float32",
   doc="The derivative of log_ndtr: the normal density over its distribution function.")

# The logistic function.
op("expit", lambda xp, x, /: xp.sigmoid(_floating(x)),
   vjp=[lambda xp, g, y, x: g * (y * xp.expit(-x))], saves="x y",
   **REAL, public="special",
   doc="1 / (1 + e ** -x), elementwise; its derivative keeps its digits on both sides.")
op("log_expit", lambda xp, x, /: -xp.softplus(-_floating(x)),
   vjp=[lambda xp, g, y, x: g * xp.expit(-x)], saves="x",
   **REAL, public="special", autocast="float32",
   doc="The logarithm of expit, elementwise, for x of any size.")
op("logit", lambda xp, x, /: xp.special.logit(x), vjp=[lambda xp, g, y, x: g / x + g / (1 - x)],
   saves="x", **REAL, domain=(0.1, 0.9), checks=Checks(differs=negative_subnormal),
   public="special", autocast="float32", doc="log(x / (1 - x)), elementwise: the inverse of expit.")

# Gamma and beta functions.
op("gammaln", lambda xp, x, /: xp.special.gammaln(x), vjp=[lambda xp, g, y, x: g * xp.digamma(x)],
   saves="x", **REAL, domain=POSITIVE, checks=Checks(cancels=True), public="special",
   autocast="float32",
   doc="The logarithm of the absolute value of the gamma function, elementwise.")
op("gamma", lambda xp, x, /: xp.special.gamma(x), vjp=[lambda xp, g, y, x: g * (y * xp.digamma(x))],
   saves="x y", **REAL, domain=POSITIVE, public="special", autocast="float32",
   doc="The gamma function, elementwise: (x - 1)! for whole x.")
op("digamma", lambda xp, x, /: xp.special.digamma(x),
   vjp=[lambda xp, g, y, x: g * xp.polygamma(x, n=1)], saves="x",
   **REAL, domain=POSITIVE, public="special", autocast="float32",
   doc="The derivative of gammaln, elementwise (also ``psi``).")
# fmt: on


def _polygamma(xp: Any, x: Any, /, n: int) -> Any:
    """By Hurwitz's zeta function (DLMF 5.15.1); its factor n! is infinite beyond float64."""
    if n == 0:
        return xp.special.digamma(x)
    factor = float(math.factorial(n)) if n <= 170 else math.inf
    return (-1) ** (n + 1) * factor * xp.special.zeta(n + 1.0, x)


op("polygamma", _polygamma, vjp=[lambda xp, g, y, x, n: g * xp.polygamma(x, n=n + 1)], saves="x",
   **REAL, domain=POSITIVE, public="special",
   samples=[Sample((2, 3), n=1), Sample((3,), n=0), Sample((), n=2), Sample((0,), n=3)],
   autocast="float32", doc="The derivative of digamma of the order n, elementwise.")  # fmt: skip


def _digamma_gap(xp: Any, a: Any, b: Any) -> Any:
    if not hasattr(a, "dtype"):  # a number has the dtype of what is beside it
        a = xp.zeros_like(b) + a
    return xp.digamma(a) - xp.digamma(a + b)


op("beta", lambda xp, a, b, /: xp.special.beta(a, b),
   vjp=[lambda xp, g, y, a, b: g * (y * _digamma_gap(xp, a, b)),
        lambda xp, g, y, a, b: g * (y * _digamma_gap(xp, b, a))],
   saves="a b y", **REAL, domain=POSITIVE, checks=Checks(differs=subnormal), public="special",
   autocast="float32", doc="gamma(a) gamma(b) / gamma(a + b), elementwise.")  # fmt: skip
op("betaln", lambda xp, a, b, /: xp.special.betaln(a, b),
   vjp=[lambda xp, g, y, a, b: g * _digamma_gap(xp, a, b),
        lambda xp, g, y, a, b: g * _digamma_gap(xp, b, a)],
   saves="a b", **REAL, domain=POSITIVE, checks=Checks(differs=subnormal, cancels=True),
   public="special", autocast="float32",
   doc="The logarithm of the absolute value of beta, elementwise.")  # fmt: skip

# Entropies.


def _entr(xp: Any, x: Any, /) -> Any:
    x = _floating(x)
    inside = x > 0
    y = -x * xp.log(xp.where(inside, x, 1))
    return xp.where(x < 0, -math.inf, y)


op("entr", _entr, vjp=[lambda xp, g, y, x: -g * (1 + xp.log(x))], saves="x",
   **REAL, domain=POSITIVE, checks=Checks(differs=negative_subnormal), public="special",
   autocast="float32",
   doc="-x * log(x), elementwise: 0 at 0, where its derivative is inf; -inf below.")  # fmt: skip


def _arrays(xp: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Both as arrays of one floating dtype: a number gets the one that it has beside the other."""
    if not hasattr(a, "dtype"):
        a = xp.zeros_like(b) + a
    if not hasattr(b, "dtype"):
        b = xp.zeros_like(a) + b
    kind = np.result_type(a.dtype, b.dtype)
    kind = np.dtype(np.float64) if kind.kind in "biu" else kind
    return tuple(x if x.dtype == kind else x.astype(kind) for x in (a, b))


def _log_ratio(xp: Any, a: Any, b: Any) -> Any:
    """log(a / b): accurate also where the two are close."""
    return log_ratio(xp, *_arrays(xp, a, b))


def _quotient(xp: Any, a: Any, b: Any) -> Any:
    """a / b, the slope by b of a log(b): at a = b = 0 it is 0, as along all of a = 0."""
    return xp.subgradient(a / b, (a == 0) & (b == 0))


op("rel_entr", lambda xp, a, b, /: xp.special.rel_entr(a, b),
   vjp=[lambda xp, g, y, a, b: g * (1 + _log_ratio(xp, a, b)),
        lambda xp, g, y, a, b: -g * _quotient(xp, a, b)],
   saves="a b", **REAL, domain=POSITIVE, checks=Checks(differs=subnormal), public="special",
   autocast="float32",
   doc="a * log(a / b), elementwise: 0 where a is 0, inf where either is negative.")  # fmt: skip


def _less_quotient(xp: Any, a: Any, b: Any) -> Any:
    """1 - a / b, accurate where that is small; at a = b = 0 it is 1, as along all of a = 0."""
    none = (a == 0) & (b == 0)
    return xp.subgradient((b - a) / b, none) + none


# fmt: off
op("kl_div", lambda xp, a, b, /: xp.special.kl_div(a, b),
   vjp=[lambda xp, g, y, a, b: g * _log_ratio(xp, a, b),
        lambda xp, g, y, a, b: g * _less_quotient(xp, a, b)],
   saves="a b", **REAL, domain=POSITIVE, checks=Checks(differs=subnormal), public="special",
   autocast="float32",
   doc="a * log(a / b) - a + b, elementwise: b where a is 0, inf where either is negative.")
# fmt: on


def _times_log(xp: Any, a: Any, b: Any, log: Any, one: float) -> Any:
    """a times log(b), and 0 where a is 0, unless b is NaN; ``one`` is where the log is 0."""
    a, b = _arrays(xp, a, b)
    none = (a == 0) & (b == b)
    return xp.where(none, 0, a * log(xp.where(none, one, b)))


def _slope_by_a(xp: Any, g: Any, a: Any, b: Any, log: Any, pole: float) -> Any:
    """The derivative by a, log(b); where a is 0 it is 0 from the pole down, as the function is."""
    a, b = _arrays(xp, a, b)
    out = b == pole if b.dtype.kind == "c" else b <= pole
    return g * xp.subgradient(log(b), (a == 0) & out)


op("xlogy", lambda xp, a, b, /: _times_log(xp, a, b, xp.log, 1.0),
   vjp=[lambda xp, g, y, a, b: _slope_by_a(xp, g, a, b, xp.log, 0.0),
        lambda xp, g, y, a, b: g * _quotient(xp, a, b)],
   saves="a b", **ANALYTIC, domain=POSITIVE, checks=Checks(differs=negative_subnormal),
   public="special", autocast="float32",
   doc="a * log(b), elementwise, and 0 where a is 0.")  # fmt: skip
op("xlog1py", lambda xp, a, b, /: _times_log(xp, a, b, xp.log1p, 0.0),
   vjp=[lambda xp, g, y, a, b: _slope_by_a(xp, g, a, b, xp.log1p, -1.0),
        lambda xp, g, y, a, b: g * _quotient(xp, a, 1 + b)],
   saves="a b", **ANALYTIC, domain=POSITIVE, public="special", autocast="float32",
   doc="a * log(1 + b), elementwise, and 0 where a is 0; accurate near b = 0.")  # fmt: skip
