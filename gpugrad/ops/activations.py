"""Elementwise ops of neural networks, and the error function.

Imports engine.op and dtypes. None of them takes complex numbers, recorded or not: what
NumPy would not refuse by itself (it compares by the real parts first) refuses them here.
"""

import math
from typing import Any, Literal

import numpy as np

from gpugrad.engine.op import ANALYTIC, REAL, Checks, Sample, choosing, op, part
from gpugrad.ops.dtypes import HALF, SINGLE, floating, refuse_complex


def _sigmoid(xp: Any, x: Any, /) -> Any:
    x = floating(x)
    # e ** -|x| cannot overflow, and neither branch subtracts numbers that are nearly equal.
    e = xp.exp(-xp.abs(x))
    return xp.where(xp.signbit(x), e, 1) / (1 + e)  # no sign: complex is refused


# One operation where it is recorded, for derivatives of derivatives.
op("sigmoid_vjp", lambda xp, g, s, /: g * (s * (1.0 - s)),
   vjp=[lambda xp, d, y, g, s: xp.sigmoid_vjp(d, s),
        lambda xp, d, y, g, s: d * (g * (1.0 - 2.0 * s))],
   saves=("s", "g s"), **ANALYTIC, public="",
   doc="g s (1 - s): the gradient behind s = sigmoid(x).")  # fmt: skip
op("sigmoid", _sigmoid, vjp=[lambda xp, g, y, x: xp.sigmoid_vjp(g, y)], saves="y",
   **REAL, reference=lambda x: 1 / (1 + math.e**-x),
   public="gg nn.functional", method=True, layer="Sigmoid",
   doc="1 / (1 + e ** -x), elementwise, for x of any size.")  # fmt: skip


def _relu(xp: Any, x: Any, /) -> Any:
    refuse_complex(x)
    return xp.maximum(x, 0)


# fmt: off
part("relu_vjp", lambda xp, g, y: xp.masked(g, y <= 0))
op("relu", _relu,
   vjp=[choosing(lambda xp, y, x: xp.logical_not(y <= 0), lambda xp, g, y, x: xp.relu_vjp(g, y))],
   saves="y", **REAL, finite=True, checks=Checks(either_zero=True), public="gg nn.functional",
   method=True, layer="ReLU", doc="x where x > 0 and else 0; its derivative at 0 is 0.")
# fmt: on


def _refuse_zero(name: str, number: Any) -> None:
    """ValueError for a parameter that is the number 0, by which the op divides."""
    if isinstance(number, int | float | np.generic) and number == 0:
        raise ValueError(f"{name} must not be 0, got {number!r}")


def _is_one(number: Any) -> bool:
    """Whether a parameter is the number 1, by which nobody needs to multiply."""
    return isinstance(number, int | float) and number == 1


def _softplus(xp: Any, x: Any, /, beta: float = 1.0, threshold: float | None = None) -> Any:
    refuse_complex(x)
    _refuse_zero("beta", beta)
    x = floating(x)
    scaled = x if _is_one(beta) else x * beta
    y = xp.maximum(scaled, 0) + xp.log1p(xp.exp(-xp.abs(scaled)))
    if scaled is not x:
        y = y / beta
    return y if threshold is None else xp.where(scaled > threshold, x, y)


def _softplus_vjp(xp: Any, g: Any, y: Any, x: Any, beta: float, threshold: float | None) -> Any:
    scaled = x if _is_one(beta) else x * beta
    d = g * xp.sigmoid(scaled)
    return d if threshold is None else xp.where(scaled > threshold, g, d)


op("softplus", _softplus, vjp=[_softplus_vjp], saves="x", smooth="beta",
   **REAL, samples=[Sample((2, 3)), Sample((4,), beta=0.5), Sample((5,), beta=2.0, threshold=1.0)],
   public="gg nn.functional", method=True, layer="Softplus", autocast="float32",
   doc="log(1 + e ** (beta * x)) / beta, elementwise, for x of any size; x itself where beta * x "
       "exceeds ``threshold``, by default nowhere (PyTorch's is 20).")  # fmt: skip


def _silu_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    s = xp.sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


op("silu", lambda xp, x, /: floating(x) * xp.sigmoid(x), vjp=[_silu_vjp], saves="x",
   **REAL, checks=Checks(cancels=True), public="gg nn.functional", method=True, layer="SiLU",
   doc="x * sigmoid(x), elementwise (Elfwing et al., 2018); also named swish.")  # fmt: skip


def _elu_vjp(xp: Any, g: Any, y: Any, x: Any, alpha: float) -> Any:
    # Not y + alpha, which loses the digits of both where they cancel.
    return xp.where(x > 0, g, g * (alpha * xp.exp(xp.minimum(x, 0))))


op("elu",
   lambda xp, x, /, alpha=1.0: xp.where(xp.signbit(x), alpha * xp.expm1(xp.minimum(x, 0)), x),
   vjp=[_elu_vjp], saves="x", smooth="alpha",
   **REAL, samples=[Sample((2, 3)), Sample((4,), alpha=0.5)], checks=Checks(either_zero=True),
   public="gg nn.functional", method=True, layer="ELU",
   doc="x where x > 0 and else alpha * (e ** x - 1) (Clevert et al., 2016).")  # fmt: skip
op("leaky_relu",
   lambda xp, x, /, negative_slope=0.01: xp.where(xp.signbit(x), negative_slope * x, x),
   vjp=[lambda xp, g, y, x, negative_slope: xp.where(x > 0, g, negative_slope * g)], saves="x",
   **REAL, finite=True, samples=[Sample((2, 3)), Sample((4,), negative_slope=0.2)],
   smooth="negative_slope",
   public="gg nn.functional", method=True, layer="LeakyReLU",
   doc="x where x > 0 and else negative_slope * x.")  # fmt: skip


# The scaled exponential unit: Klambauer et al., "Self-Normalizing Neural Networks", 2017.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def _selu(xp: Any, x: Any, /) -> Any:
    x = floating(x)
    below = (SELU_SCALE * SELU_ALPHA) * xp.expm1(xp.minimum(x, 0))
    return xp.where(xp.signbit(x), below, SELU_SCALE * x)


def _selu_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    steep = (SELU_SCALE * SELU_ALPHA) * xp.exp(xp.minimum(x, 0))
    return xp.where(x > 0, SELU_SCALE * g, g * steep)


def _celu(xp: Any, x: Any, /, alpha: float = 1.0) -> Any:
    _refuse_zero("alpha", alpha)
    return xp.where(xp.signbit(x), alpha * xp.expm1(xp.minimum(x, 0) / alpha), x)


def _celu_vjp(xp: Any, g: Any, y: Any, x: Any, alpha: float) -> Any:
    return xp.where(x > 0, g, g * xp.exp(xp.minimum(x, 0) / alpha))


def _mish(xp: Any, x: Any, /) -> Any:
    return floating(x) * xp.tanh(xp.softplus(x))


def _mish_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    t = xp.tanh(xp.softplus(x))
    return g * (t + x * (xp.sigmoid(x) * xp.one_minus_square(t)))


def _softsign_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    d = 1 + xp.abs(x)
    return g / d / d  # the square may overflow


def _softsign(xp: Any, x: Any, /) -> Any:
    refuse_complex(x)
    return x / (1 + xp.abs(x))


def _tanhshrink(xp: Any, x: Any, /) -> Any:
    refuse_complex(x)
    return x - xp.tanh(x)


# fmt: off
op("selu", _selu, vjp=[_selu_vjp], saves="x", **REAL, checks=Checks(either_zero=True),
   public="gg nn.functional", layer="SELU",
   doc="1.0507 x where x > 0 and else 1.0507 * 1.6733 * (e ** x - 1), with which deep networks "
       "keep mean 0 and variance 1 (Klambauer et al., 2017).")
op("celu", _celu, vjp=[_celu_vjp], saves="x", smooth="alpha",
   **REAL, samples=[Sample((2, 3)), Sample((4,), alpha=0.5)], checks=Checks(either_zero=True),
   public="gg nn.functional", layer="CELU",
   doc="x where x > 0 and else alpha * (e ** (x / alpha) - 1), without a kink (Barron, 2017).")
op("mish", _mish, vjp=[_mish_vjp], saves="x", **REAL, checks=Checks(cancels=True),
   public="gg nn.functional", layer="Mish", autocast="float32",
   doc="x * tanh(softplus(x)), elementwise (Misra, 2019).")
op("softsign", _softsign, vjp=[_softsign_vjp], saves="x", **REAL,
   public="gg nn.functional", layer="Softsign", doc="x / (1 + |x|), elementwise.")
op("tanhshrink", _tanhshrink, vjp=[lambda xp, g, y, x: g * xp.square(xp.tanh(x))], saves="x",
   **REAL, checks=Checks(cancels=True), public="gg nn.functional", layer="Tanhshrink",
   doc="x - tanh(x), elementwise.")
op("logsigmoid", lambda xp, x, /: -xp.softplus(-floating(x)),
   vjp=[lambda xp, g, y, x: g * xp.expit(-x)], saves="x", **REAL,
   public="gg nn.functional", layer="LogSigmoid", autocast="float32",
   doc="log(sigmoid(x)), elementwise, for x of any size.")
# fmt: on


# Functions in pieces. At a kink, each has PyTorch's derivative; docs/derivatives.md lists them.
def _held(xp: Any, x: Any, low: Any, high: Any) -> Any:
    refuse_complex(x)
    return xp.minimum(xp.maximum(x, low), high)


def _hardswish(xp: Any, x: Any, /) -> Any:
    refuse_complex(x)
    x = xp.maximum(floating(x), -3)
    return x * ((xp.minimum(x, 3) + 3) / 6)


def _hardswish_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    return xp.where(x <= -3, 0, xp.where(x < 3, g * (xp.clip(x, -3, 3) / 3 + 0.5), g))


def _hardshrink(xp: Any, x: Any, /, lambd: float = 0.5) -> Any:
    refuse_complex(x)
    return xp.masked(x, xp.abs(x) <= lambd)


def _threshold(xp: Any, x: Any, /, threshold: float, value: float) -> Any:
    refuse_complex(x)
    return xp.where(x <= threshold, +value, x)  # the sign refuses what is no number


def _softshrink(xp: Any, x: Any, /, lambd: float = 0.5) -> Any:
    refuse_complex(x)
    return xp.where(x > 0, xp.maximum(x - lambd, 0), xp.minimum(x + lambd, 0))


PIECES: Any = {**REAL, "finite": True, "public": "gg nn.functional"}
# fmt: off
op("relu6", lambda xp, x, /: _held(xp, x, 0, 6),
   vjp=[choosing(lambda xp, y, x: xp.logical_not((y <= 0) | (y >= 6)),
                 lambda xp, g, y, x: xp.masked(g, (y <= 0) | (y >= 6)))],
   saves="y", **PIECES, checks=Checks(either_zero=True), layer="ReLU6",
   doc="x held between 0 and 6; its derivative at both is 0.")
op("hardtanh", lambda xp, x, /, min_val=-1.0, max_val=1.0: _held(xp, x, min_val, max_val),
   vjp=[choosing(lambda xp, y, x, min_val=-1.0, max_val=1.0: (
                     xp.logical_not((x <= min_val) | (x >= max_val))),
                 lambda xp, g, y, x, min_val, max_val: (
                     xp.masked(g, (x <= min_val) | (x >= max_val))))],
   saves="x", **PIECES, samples=[Sample((2, 3)), Sample((4,), min_val=-0.5, max_val=0.25)],
   smooth="min_val max_val", layer="Hardtanh",
   doc="x held between min_val and max_val; its derivative at both is 0.")
op("hardsigmoid", lambda xp, x, /: _held(xp, floating(x), -3, 3) / 6 + 0.5,
   vjp=[choosing(lambda xp, y, x: xp.abs(x) < 3,
                 lambda xp, g, y, x: xp.masked(g / 6, xp.abs(x) >= 3))],
   saves="x", **PIECES, domain=(-4.0, 4.0), layer="Hardsigmoid",
   doc="x / 6 + 1/2 held between 0 and 1 (Howard et al., 2019); its derivative at -3 and 3 is 0.")
op("hardswish", _hardswish,
   vjp=[choosing(lambda xp, y, x: xp.logical_not(x <= -3), _hardswish_vjp)],
   saves="x", **PIECES, domain=(-4.0, 4.0), layer="Hardswish",
   doc="x * hardsigmoid(x) (Howard et al., 2019); its derivative is 0 at -3 and 1 at 3.")
op("hardshrink", _hardshrink,
   vjp=[choosing(lambda xp, y, x, lambd=0.5: xp.logical_not(xp.abs(x) <= lambd),
                 lambda xp, g, y, x, lambd: xp.masked(g, xp.abs(x) <= lambd))],
   saves="x", **PIECES, samples=[Sample((2, 3)), Sample((4,), lambd=1.0)],
   method=True, layer="Hardshrink",
   doc="x where |x| > lambd and else 0; its derivative where |x| <= lambd is 0.")
op("softshrink", _softshrink,
   vjp=[choosing(lambda xp, y, x, lambd=0.5: xp.logical_not(xp.abs(x) <= lambd),
                 lambda xp, g, y, x, lambd: xp.masked(g, xp.abs(x) <= lambd))],
   saves="x", **PIECES, samples=[Sample((2, 3)), Sample((4,), lambd=1.0)], smooth="lambd",
   layer="Softshrink",
   doc="x moved by lambd towards 0, and 0 where |x| <= lambd; its derivative there is 0.")
op("threshold", _threshold,
   vjp=[choosing(lambda xp, y, x, threshold, value: xp.logical_not(x <= threshold),
                 lambda xp, g, y, x, threshold, value: xp.masked(g, x <= threshold))],
   saves="x", **PIECES, samples=[Sample((2, 3), threshold=0.1, value=-2.0)], layer="Threshold",
   doc="x where x > threshold and else value; its derivative where x <= threshold is 0.")
op("prelu", lambda xp, x, weight, /: xp.where(xp.signbit(x), weight * x, x),
   vjp=[lambda xp, g, y, x, weight: xp.where(x > 0, g, weight * g),
        choosing(lambda xp, y, x, weight: xp.logical_not(x > 0),
                 lambda xp, g, y, x, weight: xp.where(x > 0, 0, x * g))],
   saves=("x weight", "x"), **REAL, public="nn.functional",
   doc="x where x > 0 and else weight * x, the weight broadcast: a leaky ReLU that is learned.")
# fmt: on


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

    refuse_complex(x)
    if x.dtype == HALF:  # the sums below do not fit into float16
        return _erf(xp, x.astype(SINGLE)).astype(HALF)
    a = xp.abs(x)
    near = xp.minimum(a, 0.5)
    small = near * rational(near * near, *_ERF_SMALL)
    mid = xp.clip(a, 0.46875, 4.0)
    middle = 1 - xp.exp(-mid * mid) * rational(mid, *_ERF_MIDDLE)
    far = xp.clip(a, 4.0, 10.0)  # beyond, erf is 1 to the last bit
    tail = (1 / math.sqrt(math.pi) - rational(1 / (far * far), *_ERF_LARGE) / (far * far)) / far
    large = 1 - xp.exp(-far * far) * tail
    y = xp.where(a <= 0.46875, small, xp.where(a <= 4.0, middle, large))
    return xp.where(x == x, xp.copysign(y, x), x)  # NaN stays NaN, and -0.0 is -0.0


op("erf", _erf, vjp=[lambda xp, g, y, x: g * (2 / math.sqrt(math.pi)) * xp.exp(-x * x)], saves="x",
   **REAL, public="gg special", method=True, autocast="float32",
   doc="The error function, elementwise (W. J. Cody's approximation, 1969).")  # fmt: skip


SLOPE = math.sqrt(2 / math.pi)
CUBIC = 0.044715 * SLOPE
FLAT = 30.0  # where the tanh is 1 in every dtype


def _gelu(xp: Any, x: Any, /, approximate: Literal["none", "tanh"] = "none") -> Any:
    if approximate == "none":
        return x * (0.5 * (1 + xp.erf(x * math.sqrt(0.5))))
    if approximate == "tanh":
        refuse_complex(x)
        return x * (0.5 * (1 + xp.tanh(x * (SLOPE + CUBIC * (x * x)))))
    raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")


def _gelu_vjp(xp: Any, g: Any, y: Any, x: Any, approximate: str) -> Any:
    if approximate == "none":
        # Of larger squares it is 0, in all derivatives, whatever they are multiplied by.
        density = xp.exp(-0.5 * xp.minimum(x * x, 3000.0)) * (1 / math.sqrt(2 * math.pi))
        return g * (0.5 * (1 + xp.erf(x * math.sqrt(0.5))) + x * density)
    x = xp.clip(x, -FLAT, FLAT)  # beyond, nothing changes any more, and the square may overflow
    square = x * x
    t = xp.tanh(x * (SLOPE + CUBIC * square))
    steep = (1 - t * t) * (SLOPE + 3 * CUBIC * square)
    return g * (0.5 * (1 + t) + 0.5 * x * steep)


op("gelu", _gelu, vjp=[_gelu_vjp], saves="x",
   **REAL, samples=[Sample((2, 3)), Sample((4,), approximate="tanh")], checks=Checks(cancels=True),
   public="gg nn.functional", method=True, layer="GELU",
   doc="x * Φ(x), Φ the normal distribution function (Hendrycks and Gimpel, 2016); "
       'approximate="tanh" for their faster form.')  # fmt: skip
