"""The rest of NumPy's elementwise functions. Imports engine.op, dtypes, elementwise."""

import math
from typing import Any

from gpugrad.engine.op import ANALYTIC, REAL, Checks, Sample, choosing, op, taken
from gpugrad.ops.agreement import beyond_the_dtype, largest
from gpugrad.ops.dtypes import refuse_complex, widened
from gpugrad.ops.elementwise import LN2, chosen, without_gradient, zero

# fmt: off
op("hypot", "a, b, /",
   vjp=[lambda xp, g, y, a, b: g * xp.subgradient(a / y, y == 0),
        lambda xp, g, y, a, b: g * xp.subgradient(b / y, y == 0)],
   saves=("y a", "y b"), **REAL, checks=Checks(differs=largest), autocast="float32",
   doc="sqrt(a**2 + b**2), elementwise, without overflow; its derivative at (0, 0), a kink, is 0.")
op("arctan2", "a, b, /",
   vjp=[lambda xp, g, y, a, b: g * _over_square(b, xp.hypot(a, b)),
        lambda xp, g, y, a, b: -g * _over_square(a, xp.hypot(a, b))],
   saves="a b", **REAL, checks=Checks(differs=largest), aliases="atan2",
   doc="The angle in [-π, π] of the point (b, a); at (0, 0) it has no derivative: NaN.")
# fmt: on


def _over_square(side: Any, h: Any) -> Any:
    """side / h**2, whose square may overflow."""
    return side / h / h


def _gap(xp: Any, a: Any, b: Any) -> Any:
    """a - b, and 0 where both are the same infinity."""
    same = (a == b) & xp.isinf(a)
    return xp.where(same, 0, a) - xp.where(same, 0, b)


# fmt: off
op("logaddexp", "a, b, /",
   vjp=[lambda xp, g, y, a, b: g * xp.sigmoid(_gap(xp, a, b)),
        lambda xp, g, y, a, b: g * xp.sigmoid(_gap(xp, b, a))],
   saves="a b", **REAL, autocast="float32",
   doc="log(exp(a) + exp(b)), elementwise, for numbers of any size.")
op("logaddexp2", "a, b, /",
   vjp=[lambda xp, g, y, a, b: g * xp.sigmoid(_gap(xp, a, b) * LN2),
        lambda xp, g, y, a, b: g * xp.sigmoid(_gap(xp, b, a) * LN2)],
   saves="a b", **REAL, autocast="float32",
   doc="log2(2**a + 2**b), elementwise, for numbers of any size.")
op("copysign", "a, b, /",
   vjp=[lambda xp, g, y, a, b: g * xp.sign(a) * xp.where(xp.signbit(b), -1, 1).astype(g.dtype),
        zero],
   saves=("a b", ""), **REAL,
   doc="The absolute value of a with the sign of b; its derivatives at a = 0 and by b are 0.")
op("nextafter", "a, b, /", vjp=[lambda xp, g, y, a, b: g, zero], saves=("", ""), **REAL,
   checks=Checks(bits=True), finite=True,
   doc="The next number after a in the direction of b, elementwise; its derivative by a is 1.")
# fmt: on


def _beaten(a: Any, b: Any, worse: Any) -> Any:
    """Where b is chosen and not a, which is worse, or NaN where b is a number."""
    return worse | ((a != a) & (b == b))


# fmt: off
op("fmax", "a, b, /",
   vjp=[choosing(lambda xp, y, a, b: xp.logical_not(_beaten(a, b, a < b)),
                 lambda xp, g, y, a, b: chosen(xp, g, _beaten(a, b, a < b), a == b)),
        choosing(lambda xp, y, a, b: xp.logical_not(_beaten(b, a, b < a)),
                 lambda xp, g, y, a, b: chosen(xp, g, _beaten(b, a, b < a), b == a))],
   saves="a b", **REAL, finite=True, checks=Checks(either_zero=True),
   doc="The larger of a and b, or the one that is not NaN; at a tie each gets half the gradient.")
op("fmin", "a, b, /",
   vjp=[choosing(lambda xp, y, a, b: xp.logical_not(_beaten(a, b, a > b)),
                 lambda xp, g, y, a, b: chosen(xp, g, _beaten(a, b, a > b), a == b)),
        choosing(lambda xp, y, a, b: xp.logical_not(_beaten(b, a, b > a)),
                 lambda xp, g, y, a, b: chosen(xp, g, _beaten(b, a, b > a), b == a))],
   saves="a b", **REAL, finite=True, checks=Checks(either_zero=True),
   doc="The smaller of a and b, or the one that is not NaN; at a tie each gets half the gradient.")
op("fmod", "a, b, /",
   vjp=[lambda xp, g, y, a, b: g,
        # The quotient of what fmod leaves is nearly whole: a / b may be rounded to the next one.
        lambda xp, g, y, a, b: -g * xp.rint((a - xp.fmod(a, b)) / b)],
   saves=("", "a b"), **REAL, domain=(0.3, 3.0),
   doc="a - b * trunc(a / b), elementwise: the remainder with the sign of a, as in C.")
op("heaviside", "a, b, /", vjp=[zero, taken(lambda xp, y, a, b: (a >= 0) & (a <= 0))],
   saves=("", "a"), **REAL, finite=True,
   doc="0 where a is negative, b where it is 0, 1 where it is positive; by a the derivative is 0.")
op("ldexp", "x, exponent, /", vjp=[lambda xp, g, y, x, exponent: xp.ldexp(g, exponent), None],
   saves=("exponent", ""), support=lambda xp, mask, y, x, exponent: mask,
   samples=[Sample((2, 3), (2, 3)), Sample((2, 3), (3,)), Sample((), (2,))], operands="real whole",
   doc="x * 2**exponent, elementwise, for whole exponents, by which there is no gradient.")
op("fabs", "x, /", vjp=[lambda xp, g, y, x: g * xp.sign(x)], saves="x",
   **REAL, doc="The absolute value as a floating-point number; its derivative at 0 is 0.")
op("cbrt", "x, /", vjp=[lambda xp, g, y, x: g / (3.0 * y * y)], saves="y",
   **REAL, domain=(0.3, 3.0), public="gg special", autocast="float32",
   doc="The real cube root, elementwise; its derivative at 0 is infinite.")
op("deg2rad", "x, /", vjp=[lambda xp, g, y, x: g * (math.pi / 180)],
   **REAL, finite=True, aliases="radians", doc="An angle in degrees as radians.")
op("rad2deg", "x, /", vjp=[lambda xp, g, y, x: g * (180 / math.pi)],
   **REAL, finite=True, aliases="degrees", doc="An angle in radians as degrees.")
# fmt: on


def _sinc(xp: Any, x: Any, /, order: int = 0) -> Any:
    """The derivative of sin(u) / u, u = πx, of an order in u, times π**order.

    Differentiating u * s(u) = sin(u) ``k`` times gives the recurrence
    u * s_k = sin(u + kπ/2) - k * s_(k-1), which is accurate for |u| > k; elsewhere the Taylor
    series is summed: s_k = sum over j of (-1)**j * u**(2j - k) / ((2j + 1) * (2j - k)!).
    """
    u = widened(x) * math.pi
    near = xp.abs(u) < order + 1.0
    big = xp.where(near, 1, u)
    far = xp.sin(big) / big
    for k in range(1, order + 1):
        far = (xp.sin(big + k * (math.pi / 2)) - k * far) / big
    small = xp.where(near, u, 0)
    square = small * small
    start = (order + 1) // 2  # the first term with a power that is not negative
    series = xp.zeros_like(u)
    for j in range(start + 12 + order, start - 1, -1):
        series = series * square + (-1) ** j / ((2 * j + 1) * math.factorial(2 * j - order))
    if order % 2:
        series = series * small
    y = xp.where(near, series, far) * math.pi**order
    return y.astype(x.dtype)


# fmt: off
op("sinc_slope", _sinc, vjp=[lambda xp, g, y, x, order: g * xp.sinc_slope(x, order=order + 1)],
   saves="x", **ANALYTIC, public="",
   samples=[Sample((2, 3), order=0), Sample((3,), order=1), Sample((3,), order=2)],
   doc="A derivative of sinc, of any order; exact at 0 too.")
op("sinc", lambda xp, x, /: _sinc(xp, x if x.dtype.kind in "fc" else x.astype("float64")),
   vjp=[lambda xp, g, y, x: g * xp.sinc_slope(x, order=1)], saves="x",
   **ANALYTIC, public="gg special",
   doc="sin(πx) / (πx), and 1 at 0; its derivatives at 0 are exact, of every order.")
without_gradient("gcd", "a, b", "The greatest common divisor of whole numbers",
                 operands="whole whole")
without_gradient("lcm", "a, b", "The least common multiple of whole numbers",
                 operands="whole whole", checks=Checks(differs=beyond_the_dtype))
without_gradient("bitwise_count", "x", "How many bits of abs(x) are 1", operands="whole")
# fmt: on


def _spacing(xp: Any, x: Any, /) -> Any:
    if x.dtype.kind != "f":
        refuse_complex(x)
        x = x.astype("float64")
    there = xp.isfinite(x)
    size = xp.where(there, xp.abs(x), 1)
    gap = xp.nextafter(size, xp.full_like(size, math.inf)) - size
    return xp.where(there, xp.where(x < 0, -gap, gap), math.nan)


op("spacing", _spacing, **REAL, checks=Checks(bits=True),
   doc="The distance from x to the next number away from 0, elementwise. No gradient.")  # fmt: skip
