"""Elementwise ops: arithmetic, exponentials, trigonometry, activations, comparisons.

Imports engine.op. In a rule, ``ratio(g, d)`` is g / d and ``scale(g, d)`` is g * d, both
zero where g is zero: where a derivative is infinite and nothing comes in, nothing goes out.
"""

import math
from typing import Any

from gpugrad.engine.op import Sample, op

LN2 = math.log(2.0)
LN10 = math.log(10.0)
EW: Any = {"kind": "elementwise"}
POSITIVE = (0.3, 3.0)


def zero(xp: Any, g: Any, y: Any, *arrays: Any, **parameters: Any) -> Any:
    """The derivative of a step function: zero wherever it exists."""
    return xp.zeros_like(g)


# Arithmetic.
op(
    "add",
    "a, b, /",
    vjp=[lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: g],
    doc="a + b, elementwise.",
    **EW,
)
op(
    "subtract",
    "a, b, /",
    vjp=[lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: -g],
    doc="a - b, elementwise.",
    **EW,
)
op(
    "multiply",
    "a, b, /",
    vjp=[lambda xp, g, y, a, b: g * b, lambda xp, g, y, a, b: g * a],
    saves=("b", "a"),
    doc="a * b, elementwise.",
    **EW,
)
op(
    "divide",
    "a, b, /",
    vjp=[
        lambda xp, g, y, a, b: xp.ratio(g, b),
        lambda xp, g, y, a, b: -xp.ratio(g * y, b),
    ],
    saves=("b", "y b"),
    domain=POSITIVE,
    doc="a / b, elementwise.",
    **EW,
)
op(
    "ratio",
    lambda xp, g, d, /: xp.where(g == 0, xp.zeros_like(g), g / d),
    vjp=[
        lambda xp, g, y, a, d: xp.ratio(g, d),
        lambda xp, g, y, a, d: -xp.ratio(xp.ratio(g * a, d), d),
    ],
    saves=("d", "g d"),
    domain=POSITIVE,
    doc="g / d, and zero where g is zero, whatever d is.",
    **EW,
)
op(
    "scale",
    lambda xp, g, d, /: xp.where(g == 0, xp.zeros_like(g), g * d),
    vjp=[
        lambda xp, g, y, a, d: xp.scale(g, d),
        lambda xp, g, y, a, d: xp.scale(g, a),
    ],
    saves=("d", "g"),
    doc="g * d, and zero where g is zero, whatever d is.",
    **EW,
)
op(
    "negative",
    "x, /",
    vjp=[lambda xp, g, y, x: -g],
    doc="-x, elementwise.",
    **EW,
)
op("positive", "x, /", vjp=[lambda xp, g, y, x: g], doc="+x: the values of x.", **EW)
op(
    "abs",
    "x, /",
    vjp=[lambda xp, g, y, x: g * xp.sign(x)],
    saves="x",
    doc="The absolute value, elementwise; its derivative at 0 is 0.",
    **EW,
)
op(
    "square",
    "x, /",
    vjp=[lambda xp, g, y, x: g * (2 * x)],
    saves="x",
    doc="x * x, elementwise.",
    **EW,
)
op(
    "sqrt",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g, 2 * y)],
    saves="y",
    domain=POSITIVE,
    doc="The square root, elementwise.",
    **EW,
)
op(
    "reciprocal",
    "x, /",
    vjp=[lambda xp, g, y, x: -xp.ratio(xp.ratio(g, x), x)],
    saves="x",
    domain=POSITIVE,
    doc="1 / x, elementwise.",
    **EW,
)


def _power_base(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    if isinstance(b, int | float):  # the exponents that everyone writes
        if b == 2:
            return g * (2 * a)
        if b == 1:
            return g
        if b == 0:
            return xp.zeros_like(g)
        return xp.scale(g * b, a ** (b - 1))
    # Where b is 0 the derivative is 0, also at a = 0, where a ** (b - 1) is infinite.
    return xp.scale(g * b, a ** xp.where(b == 0, xp.ones_like(b), b - 1))


def _power_exponent(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    if isinstance(a, int | float):
        return xp.scale(g, y) * (math.log(a) if a > 0 else 0.0 if a == 0 else math.nan)
    # 0 ** b is 0 for every b > 0, so its derivative by b is 0.
    return xp.scale(g, y) * xp.log(xp.where(a == 0, xp.ones_like(a), a))


op(
    "power",
    "a, b, /",
    vjp=[_power_base, _power_exponent],
    saves=("a b", "y a"),
    domain=POSITIVE,
    doc="a ** b, elementwise; at a = 0 the derivative by b is 0.",
    **EW,
)
op(
    "floor_divide",
    "a, b, /",
    vjp=[zero, zero],
    domain=POSITIVE,
    doc="The largest integer not above a / b, elementwise; its derivative is 0.",
    **EW,
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
    doc="a - b * floor(a / b), elementwise: Python's %.",
    **EW,
)

# Exponentials and logarithms.
op(
    "exp",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.scale(g, y)],
    saves="y",
    doc="e ** x, elementwise.",
    **EW,
)
op(
    "exp2",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.scale(g, y) * LN2],
    saves="y",
    doc="2 ** x, elementwise.",
    **EW,
)
op(
    "expm1",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.scale(g, y + 1)],
    saves="y",
    doc="e ** x - 1, elementwise, accurate near 0.",
    **EW,
)
op(
    "log",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g, x)],
    saves="x",
    domain=POSITIVE,
    doc="The natural logarithm, elementwise.",
    **EW,
)
op(
    "log1p",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g, 1 + x)],
    saves="x",
    domain=POSITIVE,
    doc="log(1 + x), elementwise, accurate near 0.",
    **EW,
)
op(
    "log2",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g, x * LN2)],
    saves="x",
    domain=POSITIVE,
    doc="The logarithm to base 2, elementwise.",
    **EW,
)
op(
    "log10",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g, x * LN10)],
    saves="x",
    domain=POSITIVE,
    doc="The logarithm to base 10, elementwise.",
    **EW,
)

# Trigonometry.
op(
    "sin",
    "x, /",
    vjp=[lambda xp, g, y, x: g * xp.cos(x)],
    saves="x",
    doc="The sine of an angle in radians.",
    **EW,
)
op(
    "cos",
    "x, /",
    vjp=[lambda xp, g, y, x: -g * xp.sin(x)],
    saves="x",
    doc="The cosine of an angle in radians.",
    **EW,
)
op(
    "tan",
    "x, /",
    vjp=[lambda xp, g, y, x: g * (1 + y * y)],
    saves="y",
    domain=(-1.0, 1.0),
    doc="The tangent of an angle in radians.",
    **EW,
)
op(
    "arcsin",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g, xp.sqrt((1 - x) * (1 + x)))],
    saves="x",
    domain=(-0.8, 0.8),
    doc="The angle in [-π/2, π/2], in radians, whose sine is x.",
    **EW,
)
op(
    "arccos",
    "x, /",
    vjp=[lambda xp, g, y, x: -xp.ratio(g, xp.sqrt((1 - x) * (1 + x)))],
    saves="x",
    domain=(-0.8, 0.8),
    doc="The angle in [0, π], in radians, whose cosine is x.",
    **EW,
)
op(
    "arctan",
    "x, /",
    vjp=[lambda xp, g, y, x: g / (1 + x * x)],
    saves="x",
    doc="The angle in [-π/2, π/2], in radians, whose tangent is x.",
    **EW,
)
op(
    "sinh",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.scale(g, xp.cosh(x))],
    saves="x",
    doc="The hyperbolic sine.",
    **EW,
)
op(
    "cosh",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.scale(g, xp.sinh(x))],
    saves="x",
    doc="The hyperbolic cosine.",
    **EW,
)
op(
    "tanh",
    "x, /",
    vjp=[lambda xp, g, y, x: g * (1 - y * y)],
    saves="y",
    doc="The hyperbolic tangent: 1 for large x, never an overflow.",
    **EW,
)
op(
    "arcsinh",
    "x, /",
    vjp=[lambda xp, g, y, x: g / xp.sqrt(x * x + 1)],
    saves="x",
    doc="The inverse of the hyperbolic sine.",
    **EW,
)
op(
    "arccosh",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g, xp.sqrt((x - 1) * (x + 1)))],
    saves="x",
    domain=(1.5, 3.0),
    doc="The inverse of the hyperbolic cosine, for x >= 1.",
    **EW,
)
op(
    "arctanh",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.ratio(g, (1 - x) * (1 + x))],
    saves="x",
    domain=(-0.8, 0.8),
    doc="The inverse of the hyperbolic tangent, for -1 < x < 1.",
    **EW,
)


# Activations.
def _sigmoid(xp: Any, x: Any, /) -> Any:
    # e ** -|x| cannot overflow, and neither branch subtracts numbers that are nearly equal.
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, xp.ones_like(e), e) / (1 + e)


op(
    "sigmoid",
    _sigmoid,
    vjp=[lambda xp, g, y, x: g * (y * (1 - y))],
    saves="y",
    reference=lambda x: 1 / (1 + math.e**-x),
    doc="1 / (1 + e ** -x), elementwise, for x of any size.",
    **EW,
)
op(
    "relu",
    lambda xp, x, /: xp.maximum(x, 0),
    vjp=[lambda xp, g, y, x: g * (y > 0)],
    saves="y",
    doc="x where x > 0 and else 0; its derivative at 0 is 0.",
    **EW,
)
op(
    "softplus",
    lambda xp, x, /: xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x))),
    vjp=[lambda xp, g, y, x: g * xp.sigmoid(x)],
    saves="x",
    doc="log(1 + e ** x), elementwise, for x of any size.",
    **EW,
)


def _silu_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    s = xp.sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


op(
    "silu",
    lambda xp, x, /: x * xp.sigmoid(x),
    vjp=[_silu_vjp],
    saves="x",
    doc="x * sigmoid(x), elementwise (Elfwing et al., 2018); also named swish.",
    **EW,
)


def _elu_vjp(xp: Any, g: Any, y: Any, x: Any, alpha: float) -> Any:
    return xp.where(x > 0, g, g * (y + alpha))


op(
    "elu",
    lambda xp, x, /, alpha=1.0: xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0))),
    vjp=[_elu_vjp],
    saves="x y",
    samples=[Sample((2, 3)), Sample((4,), alpha=0.5)],
    doc="x where x > 0 and else alpha * (e ** x - 1) (Clevert et al., 2016).",
    **EW,
)
op(
    "leaky_relu",
    lambda xp, x, /, negative_slope=0.01: xp.where(x > 0, x, negative_slope * x),
    vjp=[
        lambda xp, g, y, x, negative_slope: xp.where(x > 0, g, negative_slope * g),
    ],
    saves="x",
    samples=[Sample((2, 3)), Sample((4,), negative_slope=0.2)],
    doc="x where x > 0 and else negative_slope * x.",
    **EW,
)


# Choices. At a tie, both operands get half of the gradient.
def _chosen(xp: Any, g: Any, wins: Any, ties: Any) -> Any:
    return xp.where(wins, g, xp.where(ties, g * 0.5, xp.zeros_like(g)))


op(
    "maximum",
    "a, b, /",
    vjp=[
        lambda xp, g, y, a, b: _chosen(xp, g, a > b, a == b),
        lambda xp, g, y, a, b: _chosen(xp, g, b > a, a == b),
    ],
    saves="a b",
    doc="The larger of a and b, elementwise; at a tie each gets half of the gradient.",
    **EW,
)
op(
    "minimum",
    "a, b, /",
    vjp=[
        lambda xp, g, y, a, b: _chosen(xp, g, a < b, a == b),
        lambda xp, g, y, a, b: _chosen(xp, g, b < a, a == b),
    ],
    saves="a b",
    doc="The smaller of a and b, elementwise; at a tie each gets half of the gradient.",
    **EW,
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
    doc="x held between min and max, either of which may be None; at a bound the gradient is x's.",
    **EW,
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
    doc="a where the condition holds and else b.",
    **EW,
)

# Steps: constant almost everywhere.
for _name, _doc in {
    "sign": "-1, 0 or 1, as x is negative, zero or positive",
    "floor": "The largest integer not above x",
    "ceil": "The smallest integer not below x",
    "trunc": "x without what follows the point",
    "rint": "The nearest integer, the even one at a tie",
}.items():
    op(_name, "x, /", vjp=[zero], doc=f"{_doc}, elementwise; its derivative is 0.", **EW)
op(
    "round",
    "x, /, decimals=0",
    vjp=[zero],
    samples=[Sample((2, 3)), Sample((4,), decimals=1)],
    doc="x rounded to ``decimals`` places, to even at a tie; its derivative is 0.",
    **EW,
)

# The error function, for the exact GELU. W. J. Cody, "Rational Chebyshev approximation for
# the error function", Math. Comp. 23 (1969): three ranges, each to about 1e-16.
_ERF_SMALL = (
    (3.16112374387056560e00, 1.13864154151050156e02, 3.77485237685302021e02,
     3.20937758913846947e03, 1.85777706184603153e-1),
    (2.36012909523441209e01, 2.44024637934444173e02, 1.28261652607737228e03,
     2.84423683343917062e03),
)  # fmt: skip
_ERF_MIDDLE = (
    (5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e01,
     2.98635138197400131e02, 8.81952221241769090e02, 1.71204761263407058e03,
     2.05107837782607147e03, 1.23033935479799725e03, 2.15311535474403846e-8),
    (1.57449261107098347e01, 1.17693950891312499e02, 5.37181101862009858e02,
     1.62138957456669019e03, 3.29079923573345963e03, 4.36261909014324716e03,
     3.43936767414372164e03, 1.23033935480374942e03),
)  # fmt: skip
_ERF_LARGE = (
    (3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4, 1.63153871373020978e-2),
    (2.56852019228982242e00, 1.87295284992346725e00, 5.27905102951428412e-1,
     6.05183413124413191e-2, 2.33520497626869185e-3),
)  # fmt: skip


def _erf(xp: Any, x: Any, /) -> Any:
    def rational(z: Any, top: tuple[float, ...], bottom: tuple[float, ...]) -> Any:
        p, q = top[-1] * z, z
        for above, below in zip(top[:-2], bottom[:-1], strict=True):
            p, q = (p + above) * z, (q + below) * z
        return (p + top[-2]) / (q + bottom[-1])

    a = xp.abs(x)
    near = xp.minimum(a, 0.5)
    small = near * rational(near * near, *_ERF_SMALL)
    mid = xp.clip(a, 0.46875, 4.0)
    middle = 1 - xp.exp(-mid * mid) * rational(mid, *_ERF_MIDDLE)
    far = xp.clip(a, 4.0, 10.0)  # beyond, erf is 1 to the last bit
    tail = (1 / math.sqrt(math.pi) - rational(1 / (far * far), *_ERF_LARGE) / (far * far)) / far
    large = 1 - xp.exp(-far * far) * tail
    y = xp.where(a <= 0.46875, small, xp.where(a <= 4.0, middle, large))
    return xp.where(x < 0, -y, y) + 0 * x  # NaN stays NaN


op(
    "erf",
    _erf,
    vjp=[lambda xp, g, y, x: g * (2 / math.sqrt(math.pi)) * xp.exp(-x * x)],
    saves="x",
    doc="The error function, elementwise (W. J. Cody's approximation, 1969).",
    **EW,
)


def _gelu(xp: Any, x: Any, /, approximate: str = "none") -> Any:
    if approximate == "none":
        return x * (0.5 * (1 + xp.erf(x * math.sqrt(0.5))))
    if approximate == "tanh":
        return x * (0.5 * (1 + xp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))))
    raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")


def _gelu_vjp(xp: Any, g: Any, y: Any, x: Any, approximate: str) -> Any:
    if approximate == "none":
        density = xp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        return g * (0.5 * (1 + xp.erf(x * math.sqrt(0.5))) + x * density)
    slope = math.sqrt(2 / math.pi)
    t = xp.tanh(slope * (x + 0.044715 * x * x * x))
    return g * (0.5 * (1 + t) + 0.5 * slope * x * (1 - t * t) * (1 + 3 * 0.044715 * x * x))


op(
    "gelu",
    _gelu,
    vjp=[_gelu_vjp],
    saves="x",
    samples=[Sample((2, 3)), Sample((4,), approximate="tanh")],
    doc='x * Φ(x), Φ the normal distribution function (Hendrycks and Gimpel, 2016); approximate="tanh" for their faster form.',
    **EW,
)

# What has no derivative: comparisons, logic, tests.
for _name, _doc in {
    "equal": "a == b",
    "not_equal": "a != b",
    "less": "a < b",
    "less_equal": "a <= b",
    "greater": "a > b",
    "greater_equal": "a >= b",
    "logical_and": "Both of a and b",
    "logical_or": "Either of a and b",
    "logical_xor": "One of a and b, not both",
    "bitwise_and": "a & b",
    "bitwise_or": "a | b",
    "bitwise_xor": "a ^ b",
    "left_shift": "a << b, of integers",
    "right_shift": "a >> b, of integers",
}.items():
    op(_name, "a, b, /", doc=f"{_doc}, elementwise. No gradient.", **EW)
for _name, _doc in {
    "logical_not": "Not x",
    "invert": "~x",
    "isnan": "Whether x is not a number",
    "isinf": "Whether x is infinite",
    "isfinite": "Whether x is a finite number",
    "signbit": "Whether the sign of x is minus",
}.items():
    op(_name, "x, /", doc=f"{_doc}, elementwise. No gradient.", **EW)
