"""NumPy's namespace: the module, with quicker equals of some of its functions.

Imports namespace only. On small arrays the cost of a NumPy call is mostly that of the
Python around it: an operator or a ufunc's own ``reduce`` does the same with less.
"""

import operator
from typing import Any

import numpy
import numpy as np

from gpugrad.backend.namespace import Namespace, register

__all__ = ["NUMPY"]

_add: Any = np.add.reduce
_maximum: Any = np.maximum.reduce
_minimum: Any = np.minimum.reduce
_multiply: Any = np.multiply.reduce


def _sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if x.dtype == np.float16:  # accumulated in float32, as CuPy does
        return _add(x, axis, np.float32, None, keepdims).astype(np.float16)
    return _add(x, axis, None, None, keepdims)


def _max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _maximum(x, axis, None, None, keepdims)


def _min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _minimum(x, axis, None, None, keepdims)


def _prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _multiply(x, axis, None, None, keepdims)


def _has_nan(x: Any) -> bool:
    """Whether any element is NaN (or so large that its square is): one pass, no temporary."""
    square = np.vdot(x, x)
    return bool(square != square)


def _ratio(g: Any, d: Any) -> Any:
    r = g / d
    return np.where(g == 0, np.zeros((), r.dtype), r) if _has_nan(r) else r


def _scale(g: Any, d: Any) -> Any:
    r = g * d
    return np.where(g == 0, np.zeros((), r.dtype), r) if _has_nan(r) else r


def _transpose(x: Any, axes: Any = None) -> Any:
    return x.transpose() if axes is None else x.transpose(axes)


NUMPY = Namespace(
    numpy,
    fast={
        "add": operator.add,
        "subtract": operator.sub,
        "multiply": operator.mul,
        "divide": operator.truediv,
        "negative": operator.neg,
        "power": operator.pow,
        "abs": operator.abs,
        "sum": _sum,
        "max": _max,
        "min": _min,
        "prod": _prod,
        "ratio": _ratio,
        "scale": _scale,
        "transpose": _transpose,
    },
)

register(np.ndarray, NUMPY)
register(np.generic, NUMPY)
