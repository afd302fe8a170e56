"""Elementwise ops: arithmetic, exponentials, trigonometry, choices, comparisons.

Imports engine.op. A rule is the derivative as mathematics has it: infinite at a singular point
(sqrt at 0), NaN where there is none. What a choice left out is zero whatever formulas stand behind
it: the engine sees to that, by the masks of the rules that choose. Where the slope jumps, as that
of a norm at 0, `subgradient` gives the one that is documented.
"""

import math
from typing import Any

import numpy as np

from gpugrad.engine.op import ANALYTIC, REAL, SAME, Checks, Sample, choosing, op, taken
from gpugrad.ops.agreement import negative_subnormal, whole_zero, wide_shift

LN2 = math.log(2.0)
LN10 = math.log(10.0)
POSITIVE = (0.3, 3.0)
NUMBERS = (int, float, complex, np.generic)


def _nowhere(xp: Any, y: Any, *arrays: Any, **parameters: Any) -> Any:
    """The mask of what is zero everywhere, whatever the values are."""
    return xp.zeros(y.shape, dtype="bool")


def zero(xp: Any, g: Any, y: Any, *arrays: Any, **parameters: Any) -> Any:
    """The derivative of a step function: zero wherever it exists, whatever stands behind it."""
    return xp.zeros_like(g)


choosing(_nowhere, zero)


def _is_finite(value: Any) -> bool:
    """Whether a factor is a Python number that leaves zero what it is: what ``2 * x`` has."""
    return type(value) in (int, float) and math.isfinite(value)


# Arithmetic.
# fmt: off
op("add", "a, b, /", vjp=[lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: g],
   at_ones=(), **SAME, finite=True, operator="add", doc="a + b, elementwise.")
op("subtract", "a, b, /", vjp=[lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: -g],
   **SAME, finite=True, operator="sub", doc="a - b, elementwise.")
op("multiply", "a, b, /", vjp=[lambda xp, g, y, a, b: g * b, lambda xp, g, y, a, b: g * a],
   same=lambda xp, g, y, a, b: xp.square_vjp(g, a),
   at_ones=(1, 0), saves=("b", "a"), **ANALYTIC,
   finite=lambda index, a, b: _is_finite(a if index else b),
   operator="mul", doc="a * b, elementwise.")
op("divide", "a, b, /", vjp=[lambda xp, g, y, a, b: g / b, lambda xp, g, y, a, b: -g * y / b],
   saves=("b", "y b"), **ANALYTIC, domain=POSITIVE,
   finite=lambda index, a, b: not index and _is_finite(b) and b != 0,
   aliases="true_divide", operator="truediv", doc="a / b, elementwise.")
op("subgradient", lambda xp, slope, at, /: xp.where(at, 0, slope),
   vjp=[lambda xp, g, y, slope, at: g, None],
   **SAME, finite=True, operands="real mask", public="",
   samples=[Sample((2, 3), (2, 3)), Sample((2, 3), (3,)), Sample((), (2,))],
   prepare=lambda xp, slope, at: (slope, xp.not_equal(at, at)),  # nowhere: there it has a jump
   doc="The slope of a function, and 0 at its kinks. The slope's own derivative there is that of "
       "its formula, so that second derivatives at a kink are what mathematics makes of it.")
op("masked", lambda xp, x, out, /: xp.where(out, 0, x),
   vjp=[choosing(lambda xp, y, x, out: xp.logical_not(out),
                 lambda xp, g, y, x, out: xp.masked(g, out)), None],
   saves="out", **SAME, finite=True, operands="real mask", public="",
   samples=[Sample((2, 3), (2, 3)), Sample((2, 3), (3,)), Sample((), (2,))],
   checks=Checks(either_zero=True),
   doc="x, and 0 where ``out`` holds: one operation in place of a choice of three operands.")
op("negative", "x, /", vjp=[lambda xp, g, y, x: -g],
   **SAME, finite=True, operator="neg", doc="-x, elementwise.")
op("positive", "x, /", vjp=[lambda xp, g, y, x: g],
   **SAME, finite=True, operator="pos", doc="+x: the values of x.")
# Gradients that are one operation where they are recorded: those of squares and of tanh.
op("square_vjp", lambda xp, g, x, /: 2.0 * (g * x),
   vjp=[lambda xp, d, y, g, x: xp.square_vjp(d, x), lambda xp, d, y, g, x: xp.square_vjp(d, g)],
   saves=("x", "g"), **ANALYTIC, public="", doc="2 g x: the gradient behind x * x.")
op("square", "x, /", vjp=[lambda xp, g, y, x: xp.square_vjp(g, x)], saves="x",
   **ANALYTIC, method=True, doc="x * x, elementwise.")
# fmt: on


def _root_vjp(xp: Any, g: Any, y: Any, x: Any, order: float | None) -> Any:
    return g * xp.subgradient(0.5 / y if order is None else y / (order * x), x == 0)


# fmt: off
op("sqrt", "x, /", vjp=[lambda xp, g, y, x: 0.5 * g / y], saves="y",
   **ANALYTIC, domain=POSITIVE, method=True, doc="The square root, elementwise.")
op("root", lambda xp, x, /, order=None: xp.sqrt(x) if order is None else x ** (1 / order),
   vjp=[_root_vjp], saves="x y", **ANALYTIC, domain=POSITIVE, public="",
   samples=[Sample((2, 3)), Sample((3,), order=3), Sample((), order=1.5)], autocast="float32",
   doc="The root of a sum of powers, square without ``order``, as of a norm. Where the sum is 0, "
       "a kink of the norm, the derivative is 0.")
op("reciprocal", "x, /", vjp=[lambda xp, g, y, x: -g * y * y], saves="y",
   **ANALYTIC, domain=POSITIVE, checks=Checks(differs=whole_zero), method=True, autocast="float32",
   doc="1 / x, elementwise.")
# fmt: on


def _power_base(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    if isinstance(b, NUMBERS):  # the exponents that everyone writes
        if b == 2:
            return xp.square_vjp(g, a)
        if b == 1:
            return g
        if b == 0:
            return xp.zeros_like(g)
    slope = b * a ** (b - 1)
    if isinstance(b, NUMBERS):
        return g * slope
    # a ** 0 is 1 for every a, also where this slope is 0 times infinity or NaN.
    return g * xp.subgradient(slope, b == 0)


def _power_exponent(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    if g.dtype.kind == "c":  # the logarithm of a negative number is complex
        a = xp.full_like(g, a, shape=()) if isinstance(a, NUMBERS) else a.astype(g.dtype)
    elif isinstance(a, int | float | np.generic):
        base = float(g.dtype.type(a))  # infinite if it is so among numbers of that dtype
        return g * (y * (math.log(base) if base > 0 else 0.0 if base == 0 else math.nan))
    elif not hasattr(a, "dtype"):  # a number that is an argument of a kernel
        a = a * xp.ones_like(g)
    elif a.dtype.kind != "c" and a.dtype != g.dtype:
        a = a.astype(g.dtype)
    # 0 ** b is 0 for every b > 0, so its derivative by b is 0; for b < 0 it is infinite.
    return g * (y * xp.log(xp.where(a == 0, 1, a)))


# fmt: off
op("power", "a, b, /", vjp=[_power_base, _power_exponent], saves=("a b", "y a"),
   **ANALYTIC, domain=POSITIVE, checks=Checks(differs=negative_subnormal, refused="bhil"),
   aliases="pow", method="power pow", operator="pow", autocast="float32",
   doc="a ** b, elementwise; at a = 0 the derivative by b is 0.")
op("floor_divide", "a, b, /", vjp=[zero, zero],
   **REAL, finite=True, domain=POSITIVE, operator="floordiv",
   doc="The largest integer not above a / b, elementwise; its derivative is 0.")
op("remainder", "a, b, /",
   vjp=[lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: -g * xp.floor_divide(a, b)],
   saves=("", "a b"), **REAL, domain=POSITIVE, aliases="mod", operator="mod",
   doc="a - b * floor(a / b), elementwise: Python's %.")

# Exponentials and logarithms.
op("exp", "x, /", vjp=[lambda xp, g, y, x: g * y], saves="y",
   **ANALYTIC, method=True, autocast="float32", doc="e ** x, elementwise.")
op("exp2", "x, /", vjp=[lambda xp, g, y, x: g * (y * LN2)], saves="y",
   **ANALYTIC, public="gg special", autocast="float32", doc="2 ** x, elementwise.")
op("expm1", "x, /", vjp=[lambda xp, g, y, x: g * xp.exp(x)], saves="x",
   **ANALYTIC, public="gg special", method=True, autocast="float32",
   doc="e ** x - 1, elementwise, accurate near 0.")
op("log", "x, /", vjp=[lambda xp, g, y, x: g / x], saves="x",
   **ANALYTIC, domain=POSITIVE, checks=Checks(differs=negative_subnormal), method=True,
   autocast="float32", doc="The natural logarithm, elementwise.")
op("log1p", "x, /", vjp=[lambda xp, g, y, x: g / (1.0 + x)], saves="x",
   **ANALYTIC, domain=POSITIVE, public="gg special", method=True, autocast="float32",
   doc="log(1 + x), elementwise, accurate near 0.")
op("log2", "x, /", vjp=[lambda xp, g, y, x: g / x / LN2], saves="x",
   **ANALYTIC, domain=POSITIVE, checks=Checks(differs=negative_subnormal), method=True,
   autocast="float32", doc="The logarithm to base 2, elementwise.")
op("log10", "x, /", vjp=[lambda xp, g, y, x: g / (x * LN10)], saves="x",
   **ANALYTIC, domain=POSITIVE, checks=Checks(differs=negative_subnormal), method=True,
   autocast="float32", doc="The logarithm to base 10, elementwise.")

# Trigonometry.
def _arcsinh_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    if x.dtype.kind == "c":
        return g / xp.sqrt(x * x + 1)
    return g / xp.hypot(x, 1)  # whose square does not overflow


op("sin", "x, /", vjp=[lambda xp, g, y, x: g * xp.cos(x)], saves="x",
   **ANALYTIC, method=True, doc="The sine of an angle in radians.")
op("cos", "x, /", vjp=[lambda xp, g, y, x: -g * xp.sin(x)], saves="x",
   **ANALYTIC, method=True, doc="The cosine of an angle in radians.")
op("tan", "x, /", vjp=[lambda xp, g, y, x: g * (1.0 + y * y)], saves="y",
   **ANALYTIC, domain=(-1.0, 1.0), method=True, autocast="float32",
   doc="The tangent of an angle in radians.")
op("one_minus_square_vjp", lambda xp, g, x, /: -2.0 * (g * x),
   vjp=[lambda xp, d, y, g, x: xp.one_minus_square_vjp(d, x),
        lambda xp, d, y, g, x: xp.one_minus_square_vjp(d, g)],
   saves=("x", "g"), **ANALYTIC, public="", doc="-2 g x: the gradient behind 1 - x * x.")
op("one_minus_square", lambda xp, x, /: (1 - x) * (1 + x),
   vjp=[lambda xp, g, y, x: xp.one_minus_square_vjp(g, x)], saves="x",
   **ANALYTIC, public="", doc="1 - x * x, accurate where x is nearly 1.")
op("arcsin", "x, /", vjp=[lambda xp, g, y, x: g / xp.sqrt(xp.one_minus_square(x))], saves="x",
   **ANALYTIC, domain=(-0.8, 0.8), aliases="asin", autocast="float32",
   doc="The angle in [-π/2, π/2], in radians, whose sine is x.")
op("arccos", "x, /", vjp=[lambda xp, g, y, x: -g / xp.sqrt(xp.one_minus_square(x))], saves="x",
   **ANALYTIC, domain=(-0.8, 0.8), aliases="acos", autocast="float32",
   doc="The angle in [0, π], in radians, whose cosine is x.")
op("arctan", "x, /", vjp=[lambda xp, g, y, x: g / (1.0 + x * x)], saves="x",
   **ANALYTIC, aliases="atan", doc="The angle in [-π/2, π/2], in radians, whose tangent is x.")
op("sinh", "x, /", vjp=[lambda xp, g, y, x: g * xp.cosh(x)], saves="x",
   **ANALYTIC, method=True, autocast="float32", doc="The hyperbolic sine.")
op("cosh", "x, /", vjp=[lambda xp, g, y, x: g * xp.sinh(x)], saves="x",
   **ANALYTIC, method=True, autocast="float32", doc="The hyperbolic cosine.")
op("tanh_vjp", lambda xp, g, t, /: g * (1.0 - t * t),
   vjp=[lambda xp, d, y, g, t: xp.tanh_vjp(d, t),
        lambda xp, d, y, g, t: d * xp.one_minus_square_vjp(g, t)],
   saves=("t", "g t"), **ANALYTIC, public="",
   doc="g (1 - t ** 2): the gradient behind t = tanh(x).")
op("tanh", "x, /", vjp=[lambda xp, g, y, x: xp.tanh_vjp(g, y)], saves="y",
   **ANALYTIC, public="gg nn.functional", method=True, layer="Tanh",
   doc="The hyperbolic tangent: 1 for large x, never an overflow.")
op("arcsinh", "x, /", vjp=[_arcsinh_vjp], saves="x",
   **ANALYTIC, aliases="asinh", autocast="float32", doc="The inverse of the hyperbolic sine.")
op("arccosh", "x, /", vjp=[lambda xp, g, y, x: g / xp.sqrt(x - 1) / xp.sqrt(x + 1)], saves="x",
   **ANALYTIC, domain=(1.5, 3.0), aliases="acosh", autocast="float32",
   doc="The inverse of the hyperbolic cosine, for x >= 1.")
op("arctanh", "x, /", vjp=[lambda xp, g, y, x: g / xp.one_minus_square(x)], saves="x",
   **ANALYTIC, domain=(-0.8, 0.8), aliases="atanh", autocast="float32",
   doc="The inverse of the hyperbolic tangent, for -1 < x < 1.")
# fmt: on


# Choices. At a tie, both operands get half of the gradient; where one is NaN, both get all of it.
# The operand whose gradient it is stands first in comparisons: CuPy rounds a NumPy scalar that
# stands there to the array's dtype.
def chosen(xp: Any, g: Any, beaten: Any, ties: Any) -> Any:
    return xp.where(beaten, 0, xp.where(ties, g * 0.5, g))


op("maximum", "a, b, /",
   vjp=[choosing(lambda xp, y, a, b: xp.logical_not(a < b),
                 lambda xp, g, y, a, b: chosen(xp, g, a < b, a == b)),
        choosing(lambda xp, y, a, b: xp.logical_not(b < a),
                 lambda xp, g, y, a, b: chosen(xp, g, b < a, b == a))],
   saves="a b", **REAL, finite=True, checks=Checks(either_zero=True),
   doc="The larger of a and b, elementwise; at a tie each gets half of the gradient.")  # fmt: skip
op("minimum", "a, b, /",
   vjp=[choosing(lambda xp, y, a, b: xp.logical_not(a > b),
                 lambda xp, g, y, a, b: chosen(xp, g, a > b, a == b)),
        choosing(lambda xp, y, a, b: xp.logical_not(b > a),
                 lambda xp, g, y, a, b: chosen(xp, g, b > a, b == a))],
   saves="a b", **REAL, finite=True, checks=Checks(either_zero=True),
   doc="The smaller of a and b, elementwise; at a tie each gets half of the gradient.")  # fmt: skip


def _clip(xp: Any, x: Any, min: Any = None, max: Any = None, /) -> Any:
    if min is not None:
        x = xp.maximum(x, min)
    return x if max is None else xp.minimum(x, max)


def _inside(xp: Any, y: Any, x: Any, low: Any, high: Any) -> Any:
    if low is None:
        return xp.ones_like(x, dtype=bool) if high is None else x <= high
    return x >= low if high is None else (x >= low) & (x <= high)


def _below(xp: Any, y: Any, x: Any, low: Any, high: Any) -> Any:
    # Where the bounds cross, the upper one wins.
    return x < low if high is None else (x < low) & (low <= high)


def _above(xp: Any, y: Any, x: Any, low: Any, high: Any) -> Any:
    return x > high if low is None else (x > high) | (low > high)


# fmt: off
op("clip", _clip, vjp=[taken(_inside), taken(_below), taken(_above)], saves="x min max",
   **REAL, finite=True, samples=[Sample((3, 4), (4,), (3, 1))],
   prepare=lambda xp, x, min, max: (x, min - 1.0, max + 0.3),  # bounds that do not cross
   checks=Checks(either_zero=True), method=True,
   doc="x held between min and max, either of which may be None; at a bound the gradient is x's.")
op("where", "condition, a, b, /",
   vjp=[None,
        choosing(lambda xp, y, condition, a, b: condition,
                 lambda xp, g, y, condition, a, b: xp.where(condition, g, 0)),
        choosing(lambda xp, y, condition, a, b: xp.logical_not(condition),
                 lambda xp, g, y, condition, a, b: xp.where(condition, 0, g))],
   saves=("", "condition", "condition"), **SAME, finite=True, operands="mask real real",
   doc="a where the condition holds and else b.")
# ``keep(xp, x)`` sets the same elements to zero each time, and scales the others up.
op("dropped", lambda xp, x, /, keep: keep(xp, x),
   vjp=[lambda xp, g, y, x, keep: xp.dropped(g, keep=keep)],
   kind="linear", moves=True, chooses=True, public="", shown="dropout",
   samples=[Sample((2, 3), keep=lambda xp, x: xp.where(
                xp.arange_like(x, x.shape[-1]) % 2 == 0, 1.5 * x, 0))],
   doc="x with random elements set to zero, and the others scaled up.")
# fmt: on


# Steps: constant almost everywhere.
def _step(name: str, doc: str, **entry: Any) -> None:
    doc = f"{doc}, elementwise; its derivative is 0."
    op(name, "x, /", vjp=[zero], finite=True, doc=doc, **entry)


_step("floor", "The largest integer not above x", method=True, **REAL)
_step("ceil", "The smallest integer not below x", method=True, **REAL)
_step("trunc", "x without what follows the point", method=True, aliases="fix", **REAL)
_step("rint", "The nearest integer, the even one at a tie", **SAME)
op("round", "x, /, decimals=0", vjp=[zero],
   **SAME, finite=True, samples=[Sample((2, 3)), Sample((4,), decimals=1)],
   checks=Checks(refused="?"), aliases="around", method=True,
   doc="x rounded to ``decimals`` places, to even at a tie; its derivative is 0.")  # fmt: skip


# What has no derivative: comparisons, logic, tests.
def without_gradient(name: str, arrays: str, doc: str, **entry: Any) -> None:
    """Enter an elementwise op that has no derivative."""
    op(name, f"{arrays}, /", doc=f"{doc}, elementwise. No gradient.", **ANALYTIC, **entry)


WHOLE: Any = {"operands": "whole whole"}
# fmt: off
without_gradient("equal", "a, b", "a == b", operator="eq")
without_gradient("not_equal", "a, b", "a != b", operator="ne")
without_gradient("less", "a, b", "a < b", operator="lt")
without_gradient("less_equal", "a, b", "a <= b", operator="le")
without_gradient("greater", "a, b", "a > b", operator="gt")
without_gradient("greater_equal", "a, b", "a >= b", operator="ge")
without_gradient("logical_and", "a, b", "Both of a and b")
without_gradient("logical_or", "a, b", "Either of a and b")
without_gradient("logical_xor", "a, b", "One of a and b, not both")
without_gradient("bitwise_and", "a, b", "a & b", operator="and", **WHOLE)
without_gradient("bitwise_or", "a, b", "a | b", operator="or", **WHOLE)
without_gradient("bitwise_xor", "a, b", "a ^ b", operator="xor", **WHOLE)
without_gradient("left_shift", "a, b", "a << b, of integers", operator="lshift",
                 aliases="bitwise_left_shift", checks=Checks(differs=wide_shift), **WHOLE)
without_gradient("right_shift", "a, b", "a >> b, of integers", operator="rshift",
                 aliases="bitwise_right_shift", checks=Checks(differs=wide_shift), **WHOLE)
without_gradient("logical_not", "x", "Not x")
without_gradient("invert", "x", "~x", operator="invert", aliases="bitwise_invert bitwise_not",
                 operands="whole")
without_gradient("isnan", "x", "Whether x is not a number", method=True)
without_gradient("isinf", "x", "Whether x is infinite", method=True)
without_gradient("isfinite", "x", "Whether x is a finite number", method=True)
without_gradient("signbit", "x", "Whether the sign of x is minus")
# fmt: on
