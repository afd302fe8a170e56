"""``gpugrad.special``: the functions of ``scipy.special`` that have derivatives here.

Imports operands, special_ops and tensor. Names and arguments are SciPy's; the derivatives, of every
order, are in ``gpugrad/ops/special.py`` and ``incomplete.py``. On a CPU and on the simulated device
SciPy computes the values (``pip install scipy``), on CUDA ``cupyx.scipy.special``.
erf, expit, log_expit, entr, xlogy, xlog1py, sinc and the sums of exponentials need neither.

SciPy's ufuncs accept Tensors: ``scipy.special.gammaln(t)`` is ``gg.special.gammaln(t)``.
"""

import math
from typing import TYPE_CHECKING, Any

from gpugrad.errors import ArgumentError, DTypeError
from gpugrad.functions import special_ops
from gpugrad.functions.operands import together
from gpugrad.functions.special_ops import *  # noqa: F403
from gpugrad.functions.special_ops import digamma
from gpugrad.tensor import OPS, Tensor, as_tensor
from gpugrad.tensor.hints import members

__all__ = [  # noqa: PLE0604  names of the table
    "hankel1", "hankel2", "iv", "ive", "jn", "jv", "kn", "kv", "kve", "log_softmax", "logsumexp",
    "multigammaln", "polygamma", "psi", "softmax", "yn", "yv", *special_ops.__all__,
]  # fmt: skip

psi = digamma


def _order(name: str, v: Any) -> float:
    """The order of a function; DTypeError or ArgumentError for what is not one real number."""
    if isinstance(v, Tensor) and v.requires_grad:
        raise DTypeError(f"{name}: there is no derivative by the order. Give a number, .item()")
    if getattr(v, "shape", None) or isinstance(v, (list, tuple)):
        raise DTypeError(
            f"{name}: expected one number as the order, got {type(v).__name__} of several. Write "
            f"gg.stack([gg.special.{name}(v, x) for v in orders])"
        )
    try:
        order = float(v)
    except (TypeError, ValueError) as error:
        raise DTypeError(f"{name}: expected one number as the order, got {v!r}") from error
    if not math.isfinite(order):
        raise ArgumentError(f"{name}: expected a finite order, got {v}")
    return order


def polygamma(n: int, x: Any, /) -> Tensor:
    """The derivative of order n of digamma, a whole number; digamma itself for 0.

    ArgumentError for an order that is negative or not whole.

    >>> import gpugrad as gg
    >>> gg.special.polygamma(1, gg.tensor([1.0, 2.0])).round(4)
    tensor([1.6449, 0.6449])
    """
    order = _order("polygamma", n)
    if order < 0 or order != int(order):
        raise ArgumentError(f"polygamma: expected an order of 0 or a whole number above, got {n}")
    return OPS["polygamma"](x, n=int(order))


def multigammaln(a: Any, d: int, /) -> Tensor:
    """The logarithm of the gamma function of d dimensions, elementwise, for 2 a > d - 1.

    https://en.wikipedia.org/wiki/Multivariate_gamma_function

    >>> import gpugrad as gg
    >>> gg.special.multigammaln(gg.tensor([3.0]), 1).round(4)
    tensor([0.6931])
    """
    if not (isinstance(d, int) and d > 0):
        raise ArgumentError(f"multigammaln: expected a whole number of dimensions, got {d!r}")
    a = as_tensor(a)
    total = d * (d - 1) / 4 * math.log(math.pi) + OPS["gammaln"](a)
    for j in range(1, d):
        total = total + OPS["gammaln"](a - 0.5 * j)
    return total


# Bessel functions. https://dlmf.nist.gov/10
def jv(v: float, x: Any, /) -> Tensor:
    """The Bessel function of the first kind of a real order, elementwise.

    On a GPU orders are whole or half odd numbers, up to 40, for this function and all below: CuPy
    has no others. None has a derivative by the order, which is a number.

    >>> import gpugrad as gg
    >>> gg.special.jv(2, gg.tensor([0.0, 1.0])).round(4)
    tensor([0.    , 0.1149])
    """
    return OPS["bessel_j"](x, order=_order("jv", v))


def iv(v: float, x: Any, /) -> Tensor:
    """The modified Bessel function of the first kind of a real order, elementwise.

    >>> import gpugrad as gg
    >>> gg.special.iv(0.5, gg.tensor([0.0, 1.0])).round(4)
    tensor([0.    , 0.9377])
    """
    return OPS["bessel_i"](x, order=_order("iv", v))


def ive(v: float, x: Any, /) -> Tensor:
    """exp(-abs(x)) * iv(v, x), elementwise.

    >>> import gpugrad as gg
    >>> gg.special.ive(2, gg.tensor([1.0, 2.0])).round(4)
    tensor([0.0499, 0.0932])
    """
    return OPS["bessel_ie"](x, order=_order("ive", v))


def yv(v: float, x: Any, /) -> Tensor:
    """The Bessel function of the second kind of a real order, elementwise, for x > 0.

    >>> import gpugrad as gg
    >>> gg.special.yv(2, gg.tensor([1.0, 2.0])).round(4)
    tensor([-1.6507, -0.6174])
    """
    return OPS["bessel_y"](x, order=_order("yv", v))


def kv(v: float, x: Any, /) -> Tensor:
    """The modified Bessel function of the second kind of a real order, elementwise, for x > 0.

    >>> import gpugrad as gg
    >>> gg.special.kv(2, gg.tensor([1.0, 2.0])).round(4)
    tensor([1.6248, 0.2538])
    """
    return OPS["bessel_k"](x, order=_order("kv", v))


def kve(v: float, x: Any, /) -> Tensor:
    """exp(x) * kv(v, x), elementwise, for x > 0.

    >>> import gpugrad as gg
    >>> gg.special.kve(2, gg.tensor([1.0, 2.0])).round(4)
    tensor([4.4168, 1.875 ])
    """
    return OPS["bessel_ke"](x, order=_order("kve", v))


def hankel1(v: float, z: Any, /) -> Tensor:
    """The Hankel function of the first kind, ``jv(v, z) + i yv(v, z)``, of real z > 0.

    >>> import gpugrad as gg
    >>> gg.special.hankel1(0.5, gg.tensor([1.0])).round(4)
    tensor([0.6714-0.4311j], dtype=complex64)
    """
    return jv(v, z) + 1j * yv(v, z)


def hankel2(v: float, z: Any, /) -> Tensor:
    """The Hankel function of the second kind, the conjugate of the first, of real z > 0.

    >>> import gpugrad as gg
    >>> gg.special.hankel2(0.5, gg.tensor([1.0])).round(4)
    tensor([0.6714+0.4311j], dtype=complex64)
    """
    return jv(v, z) - 1j * yv(v, z)


jn, yn, kn = jv, yv, kv


def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """log(sum(b * exp(a))) along axes, for a of any size; the sum of exponentials without b.

    With ``return_sign`` returns the logarithm of the absolute value, and the sign of the sum.
    Without it a negative sum gives NaN.

    >>> import gpugrad as gg
    >>> gg.special.logsumexp(gg.tensor([1000.0, 1000.0]), b=[0.5, 0.5])
    tensor(1000.)
    """
    if b is None:
        y = OPS["logsumexp"](a, axis=axis, keepdims=keepdims)
        return (y, (y.detach() != -math.inf).astype(y.dtype)) if return_sign else y
    a, b = together(a, b)
    # An element of weight 0 is ignored, however large it is.
    top = OPS["max"](OPS["where"](b == 0, -math.inf, a.detach()), axis=axis, keepdims=True)
    top = OPS["where"](OPS["isfinite"](top), top, 0)
    e = OPS["exp"](a - top)
    e = OPS["where"]((b == 0) & (e == math.inf), 0, e)
    total = OPS["sum"](b * e, axis=axis, keepdims=keepdims)
    sign = OPS["sign"](total.detach())
    if not keepdims:
        top = top.reshape(total.shape)
    y = OPS["log"](OPS["abs"](total)) + top
    return (y, sign) if return_sign else OPS["where"](sign < 0, math.nan, y)


def softmax(x: Any, axis: Any = None) -> Tensor:
    """exp(x) divided by its sum along axes, by default all of them, as in SciPy."""
    return _over_axes("softmax", x, axis)


def log_softmax(x: Any, axis: Any = None) -> Tensor:
    """The logarithm of `softmax` along axes, for x of any size."""
    return _over_axes("log_softmax", x, axis)


def _over_axes(name: str, x: Any, axis: Any) -> Tensor:
    x = as_tensor(x)
    return OPS[name](x, axis=tuple(range(x.ndim)) if axis is None else axis)


if not TYPE_CHECKING:  # a checker then reports names that are not there
    __getattr__, __dir__ = members("special", __all__)
