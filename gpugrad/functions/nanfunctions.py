"""Reductions that ignore NaN. Imports keywords, operands, reductions, type_check and tensor.

An element that is NaN has the gradient 0. Where all elements are NaN the result is NumPy's,
without its warning: 0 for a sum, 1 for a product, else NaN. Nothing waits for the device.
"""

import math
from typing import Any

import numpy as np

from gpugrad.backend.precision import kind_of
from gpugrad.errors import DTypeError
from gpugrad.functions.keywords import freedom, masked_mean, masked_variance, shaped
from gpugrad.functions.operands import cast
from gpugrad.functions.reductions import prod, sum
from gpugrad.functions.type_check import by_parts
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = [
    "nan_to_num", "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean",
    "nanmin", "nanprod", "nanstd", "nansum", "nanvar",
]  # fmt: skip


def _filled(x: Any, value: float) -> tuple[Tensor, Tensor | None]:
    """x with NaN replaced by a number, and the mask of NaN; None for a dtype without NaN."""
    x = as_tensor(x)
    if kind_of(x.dtype) not in "fc":
        return x, None
    missing = OPS["isnan"](x)
    return OPS["where"](missing, value, x), missing


def nansum(x: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Tensor:
    """The sum along axes of the elements that are not NaN: 0 where there is none."""
    return sum(_filled(x, 0)[0], axis, keepdims, dtype=dtype)


def nanprod(x: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Tensor:
    """The product along axes of the elements that are not NaN: 1 where there is none."""
    return prod(_filled(x, 1)[0], axis, keepdims, dtype=dtype)


def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """The cumulative sum along an axis, with NaN as 0."""
    return cast(OPS["cumsum"](cast(_filled(x, 0)[0], dtype), axis=axis), dtype)


def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """The cumulative product along an axis, with NaN as 1."""
    return cast(OPS["cumprod"](cast(_filled(x, 1)[0], dtype), axis=axis), dtype)


def nanmean(x: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Tensor:
    """The mean along axes of the elements that are not NaN; NaN where there is none.

    >>> import gpugrad as gg
    >>> x = gg.tensor([1.0, float("nan"), 3.0], requires_grad=True)
    >>> y = gg.nanmean(x)
    >>> y.item(), gg.gradients(y, x)
    (2.0, tensor([0.5, 0. , 0.5]))
    """
    filled, missing = _filled(x, 0)
    filled = cast(filled, dtype)
    if missing is None:
        return OPS["mean"](filled, axis=axis, keepdims=keepdims)
    return shaped(masked_mean(filled, missing, axis)[0], filled, axis, keepdims)


def nanvar(
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    correction: float | None = None,
    keepdims: bool = False,
) -> Tensor:
    """The variance along axes of the n elements that are not NaN, with n - ddof in the denominator.

    NaN where that is not positive. ``correction`` is another name of ``ddof``.
    """
    return _spread("var", x, axis, dtype, freedom("nanvar", correction, ddof), keepdims)


def _spread(name: str, x: Any, axis: Any, dtype: Any, less: float, keepdims: bool) -> Tensor:
    """The variance, or with the name "std" its root."""
    filled, missing = _filled(x, 0)
    filled = cast(filled, dtype)
    if missing is None:
        return OPS[name](filled, axis, keepdims, correction=less)
    variance = masked_variance(filled, missing, axis, less)
    return shaped(OPS["root"](variance) if name == "std" else variance, filled, axis, keepdims)


def nanstd(
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    correction: float | None = None,
    keepdims: bool = False,
) -> Tensor:
    """The standard deviation along axes of the elements that are not NaN: see `nanvar`.

    Where all of them are equal its gradient is 0.
    """
    return _spread("std", x, axis, dtype, freedom("nanstd", correction, ddof), keepdims)


def _extreme(
    name: str, x: Any, axis: Any, keepdims: bool, worst: float, none: float = math.nan
) -> Tensor:
    """A reduction with NaN replaced by ``worst``; ``none`` where all elements are NaN."""
    filled, missing = _filled(x, worst)
    y = OPS[name](filled, axis=axis, keepdims=keepdims)
    if missing is None:
        return y
    return OPS["where"](OPS["all"](missing, axis=axis, keepdims=keepdims), none, y)


def nanmax(x: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The largest element along axes that is not NaN; those that tie share the gradient."""
    return _extreme("max", x, axis, keepdims, -math.inf)


def nanmin(x: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The smallest element along axes that is not NaN; those that tie share the gradient."""
    return _extreme("min", x, axis, keepdims, math.inf)


def nanargmax(x: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The index of the first of the largest elements that are not NaN; -1 if all are. No gradient.

    NumPy raises an error where all are NaN; that would wait for the device.
    """
    return _extreme("argmax", x, axis, keepdims, -math.inf, none=-1)


def nanargmin(x: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The index of the first of the smallest elements that are not NaN; -1 if all are. No gradient.

    NumPy raises an error where all are NaN; that would wait for the device.
    """
    return _extreme("argmin", x, axis, keepdims, math.inf, none=-1)


def nan_to_num(
    x: Any,
    copy: bool = True,
    nan: float = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """x with NaN replaced by 0 and infinities by the largest numbers, or by those given.

    Replaced elements have the gradient 0. The result is a copy: ``copy=False`` is refused.
    """
    if not copy:
        raise DTypeError("nan_to_num: copy=False would change x; omit copy")
    x = as_tensor(x)
    if x.dtype.kind == "c":
        return by_parts(lambda part: nan_to_num(part, True, nan, posinf, neginf), x)
    if kind_of(x.dtype) != "f":
        return x.copy()
    high = float(np.finfo(x.dtype).max) if posinf is None else posinf
    low = -float(np.finfo(x.dtype).max) if neginf is None else neginf
    y = OPS["where"](OPS["isnan"](x), nan, x)
    y = OPS["where"](x == math.inf, high, y)
    return OPS["where"](x == -math.inf, low, y)
