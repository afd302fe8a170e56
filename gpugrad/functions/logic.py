"""Comparisons of whole arrays, and within a tolerance. Imports tensor and operands."""

from typing import Any

import numpy as np

from gpugrad.functions.operands import together
from gpugrad.tensor import OPS, Tensor

__all__ = ["allclose", "array_equal", "array_equiv", "isclose"]


def isclose(
    a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """Whether abs(a - b) <= atol + rtol * abs(b), elementwise, or both are one infinity.

    With ``equal_nan`` NaN is close to NaN. No gradient.
    """
    a, b = (x.detach() for x in together(a, b))
    finite = OPS["isfinite"](a) & OPS["isfinite"](b)
    x, y = OPS["where"](finite, a, 0), OPS["where"](finite, b, 0)
    if x.dtype == np.bool_ or x.dtype.kind == "u":
        x = x.astype("float64")
    near = OPS["abs"](OPS["subtract"](x, y)) <= atol + rtol * OPS["abs"](y)
    close = OPS["where"](finite, near, OPS["equal"](a, b))
    return close | (OPS["isnan"](a) & OPS["isnan"](b)) if equal_nan else close


def allclose(
    a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Whether all elements are close: see `isclose`. A Python bool, for which the host waits."""
    return bool(OPS["all"](isclose(a, b, rtol, atol, equal_nan)))


def array_equal(a: Any, b: Any, equal_nan: bool = False) -> bool:
    """Whether two arrays have one shape and equal elements. A Python bool; the host waits."""
    a, b = (x.detach() for x in together(a, b))
    if a.shape != b.shape:
        return False
    same = OPS["equal"](a, b)
    if equal_nan:
        same = same | (OPS["isnan"](a) & OPS["isnan"](b))
    return bool(OPS["all"](same))


def array_equiv(a: Any, b: Any) -> bool:
    """Whether two arrays are equal when broadcast. A Python bool; the host waits."""
    a, b = (x.detach() for x in together(a, b))
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return False
    return bool(OPS["all"](OPS["equal"](a, b)))
