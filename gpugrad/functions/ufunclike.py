"""Elementwise functions that are no op of the table. Imports type_check and tensor."""

import math
from typing import Any

from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.precision import kind_of
from gpugrad.engine.op import TABLE
from gpugrad.engine.record import record
from gpugrad.functions.type_check import real_only
from gpugrad.tensor import OPS, Tensor, as_tensor
from gpugrad.tensor.views import unshared

__all__ = ["clip", "divmod", "float_power", "frexp", "isneginf", "isposinf", "modf"]


def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """x clipped to [``min``, ``max``], numbers or arrays, either of which may be None."""
    result: Tensor = record(TABLE["clip"], (x, min, max))
    return result if min is not None or max is not None else unshared(result, as_tensor(x))


def divmod(a: Any, b: Any, /) -> tuple[Tensor, Tensor]:
    """a // b and a % b, elementwise."""
    return OPS["floor_divide"](a, b), OPS["remainder"](a, b)


def modf(x: Any, /) -> tuple[Tensor, Tensor]:
    """The fractional and the integral part, whose sum is x."""
    x = real_only("modf", x)
    x = x if kind_of(x.dtype) == "f" else x.astype("float64")
    integer = OPS["trunc"](x)
    infinite = OPS["isinf"](x)
    return OPS["where"](infinite, 0, x) - OPS["where"](infinite, 0, integer), integer


def frexp(x: Any, /) -> tuple[Tensor, Tensor]:
    """A mantissa between 0.5 and 1 and a whole exponent, so that x = mantissa * 2**exponent."""
    x = real_only("frexp", x)
    exponent = Tensor(namespace_of(x.data).frexp(x.data)[1])
    return OPS["ldexp"](x, -exponent), exponent


def float_power(a: Any, b: Any, /) -> Tensor:
    """a ** b, elementwise, in float64, or complex128 where one of them is complex."""
    a, b = (
        x.astype("complex128" if x.dtype.kind == "c" else "float64") if isinstance(x, Tensor) else x
        for x in (a, b)
    )
    y = OPS["power"](a, b)
    return y if y.dtype.kind == "c" else y.astype("float64")


def isposinf(x: Any, /) -> Tensor:
    """Whether x is positive infinity, elementwise. No gradient."""
    return OPS["equal"](real_only("isposinf", x), math.inf)


def isneginf(x: Any, /) -> Tensor:
    """Whether x is negative infinity, elementwise. No gradient."""
    return OPS["equal"](real_only("isneginf", x), -math.inf)
