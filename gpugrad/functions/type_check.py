"""Tests for complex numbers, their angles, and functions of their parts: compositions.

Imports tensor.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.errors import DTypeError
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = ["angle", "iscomplex", "iscomplexobj", "isreal", "isrealobj", "real_if_close"]


def real_if_close(x: Any, /, tol: float = 100) -> Tensor:
    """The real parts of x if all imaginary parts are nearly 0, else x. Waits for the device.

    ``tol`` is a bound in rounding errors of the dtype; of 1 or below, an absolute one.
    """
    x = as_tensor(x)
    if x.dtype.kind != "c":
        return x
    most = tol * float(np.finfo(x.dtype).eps) if tol > 1 else tol
    near = OPS["abs"](OPS["imag"](x.detach())) < most
    return OPS["real"](x) if bool(OPS["all"](near)) else x


def angle(z: Any, deg: bool = False) -> Tensor:
    """The angle of complex numbers in [-π, π], in degrees with ``deg``; of real ones 0 or π.

    At a complex 0 it has no derivative: NaN.

    >>> import gpugrad as gg
    >>> gg.angle(gg.tensor([1j, -1.0]), deg=True)
    tensor([ 90., 180.])
    """
    radians = OPS["angle"](z)
    return OPS["rad2deg"](radians) if deg else radians


def iscomplex(x: Any) -> Tensor:
    """Whether each element has an imaginary part other than 0. No gradient.

    >>> import gpugrad as gg
    >>> gg.iscomplex(gg.tensor([1j, 2.0]))
    tensor([ True, False])
    """
    return OPS["imag"](as_tensor(x).detach()) != 0


def isreal(x: Any) -> Tensor:
    """Whether each element has the imaginary part 0. No gradient."""
    return OPS["imag"](as_tensor(x).detach()) == 0


def iscomplexobj(x: Any) -> bool:
    """Whether x has a complex dtype, whatever its elements are. A Python bool."""
    return as_tensor(x).dtype.kind == "c"


def isrealobj(x: Any) -> bool:
    """Whether x has a dtype of real numbers. A Python bool."""
    return not iscomplexobj(x)


def conjugated(x: Tensor) -> Tensor:
    """The conjugate of complex numbers; x itself where they are real."""
    return OPS["conj"](x) if x.dtype.kind == "c" else x


def square_size(x: Tensor) -> Tensor:
    """The square of the absolute value, which is real."""
    if x.dtype.kind != "c":
        return OPS["square"](x)
    return OPS["square"](OPS["real"](x)) + OPS["square"](OPS["imag"](x))


def by_parts(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A function of real numbers; of complex ones, of the real and of the imaginary parts."""
    return f(x) if x.dtype.kind != "c" else f(OPS["real"](x)) + f(OPS["imag"](x)) * 1j


def real_only(name: str, x: Any) -> Tensor:
    """x as a Tensor; DTypeError for complex numbers, which have no order."""
    x = as_tensor(x)
    if x.dtype.kind == "c":
        raise DTypeError(
            f"{name}: expected real numbers, got {x.dtype}. Take abs(t), t.real or t.imag"
        )
    return x
