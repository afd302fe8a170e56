"""The functions of `gpugrad.special` that are ops of the table as they stand.

Written by ci/stubs.py from the op table; do not edit.
"""

from typing import Any

from gpugrad.tensor.core import Tensor

__all__ = [
    "beta",
    "betainc",
    "betaln",
    "cbrt",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcinv",
    "erfcx",
    "erfinv",
    "exp2",
    "expit",
    "expm1",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "j0",
    "j1",
    "k0",
    "k0e",
    "k1",
    "k1e",
    "kl_div",
    "log1p",
    "log_expit",
    "log_ndtr",
    "logit",
    "ndtr",
    "ndtri",
    "rel_entr",
    "sinc",
    "xlog1py",
    "xlogy",
    "y0",
    "y1",
]

def beta(a: Any, b: Any, /) -> Tensor:
    """gamma(a) gamma(b) / gamma(a + b), elementwise."""

def betainc(a: Any, b: Any, x: Any, /) -> Tensor:
    """The regularized incomplete beta function, elementwise."""

def betaln(a: Any, b: Any, /) -> Tensor:
    """The logarithm of the absolute value of beta, elementwise."""

def cbrt(x: Any, /) -> Tensor:
    """The real cube root, elementwise; its derivative at 0 is infinite."""

def digamma(x: Any, /) -> Tensor:
    """The derivative of gammaln, elementwise (also ``psi``)."""

def entr(x: Any, /) -> Tensor:
    """-x * log(x), elementwise: 0 at 0, where its derivative is inf; -inf below."""

def erf(x: Any, /) -> Tensor:
    """The error function, elementwise (W. J. Cody's approximation, 1969)."""

def erfc(x: Any, /) -> Tensor:
    """1 - erf(x), elementwise, to the last digit where that is tiny."""

def erfcinv(x: Any, /) -> Tensor:
    """The number whose erfc is x, elementwise, for 0 < x < 2."""

def erfcx(x: Any, /) -> Tensor:
    """exp(x**2) * erfc(x), elementwise, for large x too."""

def erfinv(x: Any, /) -> Tensor:
    """The number whose erf is x, elementwise, for -1 < x < 1."""

def exp2(x: Any, /) -> Tensor:
    """2 ** x, elementwise."""

def expit(x: Any, /) -> Tensor:
    """1 / (1 + e ** -x), elementwise; its derivative keeps its digits on both sides."""

def expm1(x: Any, /) -> Tensor:
    """e ** x - 1, elementwise, accurate near 0."""

def gamma(x: Any, /) -> Tensor:
    """The gamma function, elementwise: (x - 1)! for whole x."""

def gammainc(a: Any, x: Any, /) -> Tensor:
    """The regularized lower incomplete gamma function, elementwise."""

def gammaincc(a: Any, x: Any, /) -> Tensor:
    """The regularized upper incomplete gamma function, elementwise."""

def gammaln(x: Any, /) -> Tensor:
    """The logarithm of the absolute value of the gamma function, elementwise."""

def i0(x: Any, /) -> Tensor:
    """The modified Bessel function of the first kind of order 0, elementwise."""

def i0e(x: Any, /) -> Tensor:
    """exp(-abs(x)) * i0(x), elementwise; its derivative at 0, a kink, is 0."""

def i1(x: Any, /) -> Tensor:
    """The modified Bessel function of the first kind of order 1, elementwise."""

def i1e(x: Any, /) -> Tensor:
    """exp(-abs(x)) * i1(x), elementwise."""

def j0(x: Any, /) -> Tensor:
    """The Bessel function of the first kind of order 0, elementwise."""

def j1(x: Any, /) -> Tensor:
    """The Bessel function of the first kind of order 1, elementwise."""

def k0(x: Any, /) -> Tensor:
    """The modified Bessel function of the second kind of order 0, elementwise, for x > 0."""

def k0e(x: Any, /) -> Tensor:
    """exp(x) * k0(x), elementwise, for x > 0."""

def k1(x: Any, /) -> Tensor:
    """The modified Bessel function of the second kind of order 1, elementwise, for x > 0."""

def k1e(x: Any, /) -> Tensor:
    """exp(x) * k1(x), elementwise, for x > 0."""

def kl_div(a: Any, b: Any, /) -> Tensor:
    """a * log(a / b) - a + b, elementwise: b where a is 0, inf where either is negative."""

def log1p(x: Any, /) -> Tensor:
    """log(1 + x), elementwise, accurate near 0."""

def log_expit(x: Any, /) -> Tensor:
    """The logarithm of expit, elementwise, for x of any size."""

def log_ndtr(x: Any, /) -> Tensor:
    """The logarithm of ndtr, elementwise, for x far below zero too."""

def logit(x: Any, /) -> Tensor:
    """log(x / (1 - x)), elementwise: the inverse of expit."""

def ndtr(x: Any, /) -> Tensor:
    """The probability that a standard normal number is below x, elementwise."""

def ndtri(x: Any, /) -> Tensor:
    """The number below which a standard normal one is with probability x, elementwise."""

def rel_entr(a: Any, b: Any, /) -> Tensor:
    """a * log(a / b), elementwise: 0 where a is 0, inf where either is negative."""

def sinc(x: Any, /) -> Tensor:
    """sin(πx) / (πx), and 1 at 0; its derivatives at 0 are exact, of every order."""

def xlog1py(a: Any, b: Any, /) -> Tensor:
    """a * log(1 + b), elementwise, and 0 where a is 0; accurate near b = 0."""

def xlogy(a: Any, b: Any, /) -> Tensor:
    """a * log(b), elementwise, and 0 where a is 0."""

def y0(x: Any, /) -> Tensor:
    """The Bessel function of the second kind of order 0, elementwise, for x > 0."""

def y1(x: Any, /) -> Tensor:
    """The Bessel function of the second kind of order 1, elementwise, for x > 0."""
