"""``gpugrad.special``: the functions of ``scipy.special`` that have derivatives here.

Imports functions, creation and core. Names and arguments are SciPy's; the derivatives, of every
order, stand in ``gpugrad/ops/special.py`` and ``incomplete.py``. On a CPU, and on the simulated
device, SciPy computes the values (``pip install 'gpugrad[special]'``), on CUDA
``cupyx.scipy.special``; erf, expit, log_expit, entr, xlogy, xlog1py, sinc and the sums of
exponentials need neither.

SciPy's own functions take Tensors where they are ufuncs: ``scipy.special.gammaln(t)`` is
``gg.special.gammaln(t)``.
"""

import math
from typing import Any

from gpugrad.errors import ArgumentError, DTypeError
from gpugrad.functions.manipulation import _OPS, together
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.creation import as_tensor

__all__ = [
    "beta", "betainc", "betaln", "cbrt", "digamma", "entr", "erf", "erfc", "erfcinv", "erfcx",
    "erfinv", "exp2", "expit", "expm1", "gamma", "gammainc", "gammaincc", "gammaln", "i0", "i0e",
    "i1", "i1e", "kl_div", "log1p", "log_expit", "log_ndtr", "log_softmax", "logit", "logsumexp",
    "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "rel_entr", "sinc", "softmax", "xlog1py",
    "xlogy",
]  # fmt: skip

# From the table as they are.
beta = _OPS["beta"]
betainc = _OPS["betainc"]
betaln = _OPS["betaln"]
cbrt = _OPS["cbrt"]
digamma = _OPS["digamma"]
entr = _OPS["entr"]
erf = _OPS["erf"]
erfc = _OPS["erfc"]
erfcinv = _OPS["erfcinv"]
erfcx = _OPS["erfcx"]
erfinv = _OPS["erfinv"]
exp2 = _OPS["exp2"]
expit = _OPS["expit"]
expm1 = _OPS["expm1"]
gamma = _OPS["gamma"]
gammainc = _OPS["gammainc"]
gammaincc = _OPS["gammaincc"]
gammaln = _OPS["gammaln"]
i0 = _OPS["i0"]
i0e = _OPS["i0e"]
i1 = _OPS["i1"]
i1e = _OPS["i1e"]
kl_div = _OPS["kl_div"]
log1p = _OPS["log1p"]
log_expit = _OPS["log_expit"]
log_ndtr = _OPS["log_ndtr"]
logit = _OPS["logit"]
ndtr = _OPS["ndtr"]
ndtri = _OPS["ndtri"]
rel_entr = _OPS["rel_entr"]
sinc = _OPS["sinc"]
xlog1py = _OPS["xlog1py"]
xlogy = _OPS["xlogy"]
psi = digamma


def polygamma(n: int, x: Any, /) -> Tensor:
    """The derivative of digamma of the order n, a whole number: digamma itself for 0.

    ArgumentError for an order that is negative or not whole.

    >>> import gpugrad as gg
    >>> gg.special.polygamma(1, gg.tensor([1.0, 2.0])).round(4)
    tensor([1.6449, 0.6449])
    """
    try:
        order = int(n)
    except TypeError as error:
        raise DTypeError(f"polygamma: expected one whole number as the order, got {n!r}") from error
    if order != n or order < 0:
        raise ArgumentError(f"polygamma: expected an order of 0 or a whole number above, got {n}")
    return _OPS["polygamma"](x, n=order)


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
    total = d * (d - 1) / 4 * math.log(math.pi) + _OPS["gammaln"](a)
    for j in range(1, d):
        total = total + _OPS["gammaln"](a - 0.5 * j)
    return total


def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """log(sum(b * exp(a))) along axes, for a of any size; the sum of exponentials without b.

    With ``return_sign`` the logarithm of the absolute value and the sign of the sum, which may
    then be negative; without, it is NaN.

    >>> import gpugrad as gg
    >>> gg.special.logsumexp(gg.tensor([1000.0, 1000.0]), b=[0.5, 0.5])
    tensor(1000.)
    """
    if b is None:
        y = _OPS["logsumexp"](a, axis=axis, keepdims=keepdims)
        return (y, (y.detach() != -math.inf).astype(y.dtype)) if return_sign else y
    a, b = together(a, b)
    # What has the weight 0 counts as nothing, however large it is.
    a = _OPS["where"](b == 0, -math.inf, a)
    top = _OPS["max"](a.detach(), axis=axis, keepdims=True)
    top = _OPS["where"](_OPS["isfinite"](top), top, 0)
    total = _OPS["sum"](b * _OPS["exp"](a - top), axis=axis, keepdims=keepdims)
    sign = _OPS["sign"](total.detach())
    if not keepdims:
        top = top.reshape(total.shape)
    y = _OPS["log"](_OPS["abs"](total)) + top
    return (y, sign) if return_sign else _OPS["where"](sign < 0, math.nan, y)


def softmax(x: Any, axis: Any = None) -> Tensor:
    """exp(x) divided by its sum along axes, all of them unless given: SciPy's default."""
    return _over_axes("softmax", x, axis)


def log_softmax(x: Any, axis: Any = None) -> Tensor:
    """The logarithm of `softmax` along axes, for x of any size."""
    return _over_axes("log_softmax", x, axis)


def _over_axes(name: str, x: Any, axis: Any) -> Tensor:
    x = as_tensor(x)
    return _OPS[name](x, axis=tuple(range(x.ndim)) if axis is None else axis)
