"""Elementwise ops: arithmetic, exponentials, trigonometry, choices, comparisons.

Imports engine.op. At a singular point a derivative counts as zero, so gradients are finite
wherever values are: ``ratio(g, d)`` is g / d but zero where d is zero (sqrt at 0, arccos at
1), and both it and ``scale(g, d)``, which is g * d, are zero where g is zero: what a `where`
did not choose gets nothing, whatever its derivative is.
"""

import math
from typing import Any

import numpy as np

from gpugrad.engine.op import Sample, op

LN2 = math.log(2.0)
LN10 = math.log(10.0)
# Analytic functions; those with real coefficients or rules for complex numbers; real functions.
EW: Any = {"kind": "elementwise", "complex": "conjugate"}
SAME: Any = {"kind": "elementwise", "complex": "same"}
REAL: Any = {"kind": "elementwise", "complex": "refused"}
POSITIVE = (0.3, 3.0)
NUMBERS = (int, float, complex, np.generic)


def zero(xp: Any, g: Any, y: Any, *arrays: Any, **parameters: Any) -> Any:
    """The derivative of a step function: zero wherever it exists."""
    return xp.zeros_like(g)


# Arithmetic.
op(
    "add",
    "a, b, /",
    vjp=[lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: g],
    operator="add",
    doc="a + b, elementwise.",
    **SAME,
)
op(
    "subtract",
    "a, b, /",
    vjp=[lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: -g],
    operator="sub",
    doc="a - b, elementwise.",
    **SAME,
)
op(
    "multiply",
    "a, b, /",
    vjp=[lambda xp, g, y, a, b: xp.scale(g, b), lambda xp, g, y, a, b: xp.scale(g, a)],
    saves=("b", "a"),
    operator="mul",
    doc="a * b, elementwise.",
    **EW,
)
op(
    "divide",
    "a, b, /",
    vjp=[
        lambda xp, g, y, a, b: xp.ratio(g, b),
        lambda xp, g, y, a, b: -xp.ratio(xp.scale(g, y), b),
    ],
    saves=("b", "y b"),
    domain=POSITIVE,
    operator="truediv",
    aliases="true_divide",
    doc="a / b, elementwise.",
    **EW,
)
op(
    "ratio",
    lambda xp, g, d, /: xp.where((g == 0) | (d == 0), 0, g / d),
    vjp=[
        lambda xp, g, y, a, d: xp.ratio(g, d),
        lambda xp, g, y, a, d: -xp.ratio(xp.ratio(g * a, d), d),
    ],
    saves=("d", "g d"),
    domain=POSITIVE,
    public="",
    doc="g / d, and zero where either is zero.",
    **EW,
)
op(
    "scale",
    lambda xp, g, d, /: xp.where((g == 0) | (d == 0), 0, g * d),
    vjp=[
        lambda xp, g, y, a, d: xp.scale(g, d),
        lambda xp, g, y, a, d: xp.scale(g, a),
    ],
    saves=("d", "g"),
    public="",
    doc="g * d, and zero where either is zero, even if the other is infinite.",
    **EW,
)
op(
    "negative",
    "x, /",
    vjp=[lambda xp, g, y, x: -g],
    operator="neg",
    doc="-x, elementwise.",
    **SAME,
)
op(
    "positive",
    "x, /",
    vjp=[lambda xp, g, y, x: g],
    operator="pos",
    doc="+x: the values of x.",
    **SAME,
)
op(
    "square",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.scale(g, 2 * x)],
    saves="x",
    method=True,
    doc="x * x, elementwise.",
    **EW,
)
op(
    "sqrt",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g, 2 * y)],
    saves="y",
    domain=POSITIVE,
    method=True,
    doc="The square root, elementwise.",
    **EW,
)
op(
    "reciprocal",
    "x, /",
    vjp=[lambda xp, g, y, x: -xp.ratio(xp.ratio(g, x), x)],
    saves="x",
    domain=POSITIVE,
    method=True,
    doc="1 / x, elementwise.",
    **EW,
)


def _power_base(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    if isinstance(b, int | float | np.generic):  # the exponents that everyone writes
        if b == 2:
            return xp.scale(g, 2 * a)
        if b == 1:
            return g
        if b == 0:
            return xp.zeros_like(g)
    if g.dtype.kind == "c":
        none = a == 0
        slope = xp.where(none, xp.ones_like(a), a) ** (b - 1)
        return xp.scale(g * b, xp.where(none, b == 1, slope))
    # At a = 0 with b < 1 the derivative is infinite (or, for b = 0, zero): it counts as zero.
    slope = xp.where((a == 0) & (b < 1), 0, a ** (b - 1))
    return xp.scale(g * b, slope)


def _power_exponent(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    if g.dtype.kind == "c":  # the logarithm of a negative number is complex
        base = xp.full_like(g, a, shape=()) if isinstance(a, NUMBERS) else a.astype(g.dtype)
        return xp.scale(xp.scale(g, y), xp.log(xp.where(base == 0, xp.ones_like(base), base)))
    if isinstance(a, int | float | np.generic):
        base = float(a)
        slope = math.log(base) if base > 0 else 0.0 if base == 0 else math.nan
        return xp.scale(xp.scale(g, y), slope)
    if not hasattr(a, "dtype"):  # a number that is an argument of a kernel
        a = a * xp.ones_like(g)
    elif a.dtype.kind != "c" and a.dtype != g.dtype:
        a = a.astype(g.dtype)
    # 0 ** b is 0 for every b > 0, so its derivative by b is 0.
    return xp.scale(xp.scale(g, y), xp.log(xp.where(a == 0, xp.ones_like(a), a)))


op(
    "power",
    "a, b, /",
    vjp=[_power_base, _power_exponent],
    saves=("a b", "y a"),
    domain=POSITIVE,
    method="power pow",
    operator="pow",
    aliases="pow",
    doc="a ** b, elementwise; at a = 0 the derivative by b is 0.",
    **EW,
)
op(
    "floor_divide",
    "a, b, /",
    vjp=[zero, zero],
    domain=POSITIVE,
    operator="floordiv",
    doc="The largest integer not above a / b, elementwise; its derivative is 0.",
    **REAL,
)
op(
    "remainder",
    "a, b, /",
    vjp=[
        lambda xp, g, y, a, b: g,
        lambda xp, g, y, a, b: -g * xp.floor_divide(a, b),
    ],
    saves=("", "a b"),
    domain=POSITIVE,
    operator="mod",
    aliases="mod",
    doc="a - b * floor(a / b), elementwise: Python's %.",
    **REAL,
)

# Exponentials and logarithms.
op(
    "exp",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.scale(g, y)],
    saves="y",
    method=True,
    doc="e ** x, elementwise.",
    **EW,
)
op(
    "exp2",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.scale(g, y) * LN2],
    saves="y",
    public="gg special",
    doc="2 ** x, elementwise.",
    **EW,
)
op(
    "expm1",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.scale(g, y + 1)],
    saves="y",
    public="gg special",
    method=True,
    doc="e ** x - 1, elementwise, accurate near 0.",
    **EW,
)
op(
    "log",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g, x)],
    saves="x",
    domain=POSITIVE,
    method=True,
    doc="The natural logarithm, elementwise.",
    **EW,
)
op(
    "log1p",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g, 1 + x)],
    saves="x",
    domain=POSITIVE,
    public="gg special",
    method=True,
    doc="log(1 + x), elementwise, accurate near 0.",
    **EW,
)
op(
    "log2",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g * (1 / LN2), x)],
    saves="x",
    domain=POSITIVE,
    method=True,
    doc="The logarithm to base 2, elementwise.",
    **EW,
)
op(
    "log10",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g * (1 / LN10), x)],
    saves="x",
    domain=POSITIVE,
    method=True,
    doc="The logarithm to base 10, elementwise.",
    **EW,
)

# Trigonometry.
op(
    "sin",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.scale(g, xp.cos(x))],
    saves="x",
    method=True,
    doc="The sine of an angle in radians.",
    **EW,
)
op(
    "cos",
    "x, /",
    vjp=[lambda xp, g, y, x: -xp.scale(g, xp.sin(x))],
    saves="x",
    method=True,
    doc="The cosine of an angle in radians.",
    **EW,
)
op(
    "tan",
    "x, /",
    vjp=[lambda xp, g, y, x: g * (1 + y * y)],
    saves="y",
    domain=(-1.0, 1.0),
    method=True,
    doc="The tangent of an angle in radians.",
    **EW,
)
op(
    "arcsin",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g, xp.sqrt((1 - x) * (1 + x)))],
    saves="x",
    domain=(-0.8, 0.8),
    aliases="asin",
    doc="The angle in [-π/2, π/2], in radians, whose sine is x.",
    **EW,
)
op(
    "arccos",
    "x, /",
    vjp=[lambda xp, g, y, x: -xp.ratio(g, xp.sqrt((1 - x) * (1 + x)))],
    saves="x",
    domain=(-0.8, 0.8),
    aliases="acos",
    doc="The angle in [0, π], in radians, whose cosine is x.",
    **EW,
)
op(
    "arctan",
    "x, /",
    vjp=[lambda xp, g, y, x: g / (1 + x * x)],
    saves="x",
    aliases="atan",
    doc="The angle in [-π/2, π/2], in radians, whose tangent is x.",
    **EW,
)
op(
    "sinh",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.scale(g, xp.cosh(x))],
    saves="x",
    method=True,
    doc="The hyperbolic sine.",
    **EW,
)
op(
    "cosh",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.scale(g, xp.sinh(x))],
    saves="x",
    method=True,
    doc="The hyperbolic cosine.",
    **EW,
)
op(
    "tanh",
    "x, /",
    vjp=[lambda xp, g, y, x: g - g * (y * y)],
    saves="y",
    public="gg nn.functional",
    method=True,
    layer="Tanh",
    doc="The hyperbolic tangent: 1 for large x, never an overflow.",
    **EW,
)
op(
    "arcsinh",
    "x, /",
    vjp=[lambda xp, g, y, x: g / xp.sqrt(x * x + 1)],
    saves="x",
    aliases="asinh",
    doc="The inverse of the hyperbolic sine.",
    **EW,
)


def _arccosh_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    if x.dtype.kind == "c":  # the root of the product has another sign left of the axis
        return xp.ratio(xp.ratio(g, xp.sqrt(x - 1)), xp.sqrt(x + 1))
    return xp.ratio(g, xp.sqrt((x - 1) * (x + 1)))


op(
    "arccosh",
    "x, /",
    vjp=[_arccosh_vjp],
    saves="x",
    domain=(1.5, 3.0),
    aliases="acosh",
    doc="The inverse of the hyperbolic cosine, for x >= 1.",
    **EW,
)
op(
    "arctanh",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g, (1 - x) * (1 + x))],
    saves="x",
    domain=(-0.8, 0.8),
    aliases="atanh",
    doc="The inverse of the hyperbolic tangent, for -1 < x < 1.",
    **EW,
)


# Choices. At a tie, both operands get half of the gradient. The operand whose gradient it is stands
# first in comparisons: CuPy rounds a NumPy scalar that stands there to the array's dtype.
def _chosen(xp: Any, g: Any, wins: Any, ties: Any) -> Any:
    return xp.where(wins, g, xp.where(ties, g * 0.5, xp.zeros_like(g)))


op(
    "maximum",
    "a, b, /",
    vjp=[
        lambda xp, g, y, a, b: _chosen(xp, g, a > b, a == b),
        lambda xp, g, y, a, b: _chosen(xp, g, b > a, b == a),
    ],
    saves="a b",
    doc="The larger of a and b, elementwise; at a tie each gets half of the gradient.",
    **REAL,
)
op(
    "minimum",
    "a, b, /",
    vjp=[
        lambda xp, g, y, a, b: _chosen(xp, g, a < b, a == b),
        lambda xp, g, y, a, b: _chosen(xp, g, b < a, b == a),
    ],
    saves="a b",
    doc="The smaller of a and b, elementwise; at a tie each gets half of the gradient.",
    **REAL,
)


def _clip(xp: Any, x: Any, min: Any = None, max: Any = None, /) -> Any:
    if min is not None:
        x = xp.maximum(x, min)
    return x if max is None else xp.minimum(x, max)


def _inside(xp: Any, g: Any, y: Any, x: Any, low: Any, high: Any) -> Any:
    zeros = xp.zeros_like(g)
    if low is not None:
        g = xp.where(x >= low, g, zeros)
    return g if high is None else xp.where(x <= high, g, zeros)


def _below(xp: Any, g: Any, y: Any, x: Any, low: Any, high: Any) -> Any:
    passes = x < low
    if high is not None:  # where the bounds cross, the upper one wins
        passes = passes & (low <= high)
    return xp.where(passes, g, xp.zeros_like(g))


def _above(xp: Any, g: Any, y: Any, x: Any, low: Any, high: Any) -> Any:
    passes = x > high
    if low is not None:
        passes = passes | (low > high)
    return xp.where(passes, g, xp.zeros_like(g))


op(
    "clip",
    _clip,
    vjp=[_inside, _below, _above],
    saves="x min max",
    samples=[Sample((3, 4), (4,), (3, 1))],
    prepare=lambda xp, x, min, max: (x, min - 1.0, max + 0.3),  # bounds that do not cross
    method=True,
    doc="x held between min and max, either of which may be None; at a bound the gradient is x's.",
    **REAL,
)
op(
    "where",
    "condition, a, b, /",
    vjp=[
        None,
        lambda xp, g, y, condition, a, b: xp.where(condition, g, xp.zeros_like(g)),
        lambda xp, g, y, condition, a, b: xp.where(condition, xp.zeros_like(g), g),
    ],
    saves=("", "condition", "condition"),
    operands="mask real real",
    doc="a where the condition holds and else b.",
    **SAME,
)


# Steps: constant almost everywhere.
def _step(name: str, doc: str, **entry: Any) -> None:
    op(name, "x, /", vjp=[zero], doc=f"{doc}, elementwise; its derivative is 0.", **entry)


_step("floor", "The largest integer not above x", method=True, **REAL)
_step("ceil", "The smallest integer not below x", method=True, **REAL)
_step("trunc", "x without what follows the point", method=True, aliases="fix", **REAL)
_step("rint", "The nearest integer, the even one at a tie", **SAME)
op(
    "round",
    "x, /, decimals=0",
    vjp=[zero],
    samples=[Sample((2, 3)), Sample((4,), decimals=1)],
    method=True,
    aliases="around",
    doc="x rounded to ``decimals`` places, to even at a tie; its derivative is 0.",
    **SAME,
)


# What has no derivative: comparisons, logic, tests.
def without_gradient(name: str, arrays: str, doc: str, **entry: Any) -> None:
    """Enter an elementwise op that has no derivative."""
    op(name, f"{arrays}, /", doc=f"{doc}, elementwise. No gradient.", **EW, **entry)


WHOLE: Any = {"operands": "whole whole"}
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
without_gradient(
    "left_shift",
    "a, b",
    "a << b, of integers",
    operator="lshift",
    aliases="bitwise_left_shift",
    **WHOLE,
)
without_gradient(
    "right_shift",
    "a, b",
    "a >> b, of integers",
    operator="rshift",
    aliases="bitwise_right_shift",
    **WHOLE,
)
without_gradient("logical_not", "x", "Not x")
without_gradient(
    "invert",
    "x",
    "~x",
    operator="invert",
    aliases="bitwise_invert bitwise_not",
    operands="whole",
)
without_gradient("isnan", "x", "Whether x is not a number", method=True)
without_gradient("isinf", "x", "Whether x is infinite", method=True)
without_gradient("isfinite", "x", "Whether x is a finite number", method=True)
without_gradient("signbit", "x", "Whether the sign of x is minus")
