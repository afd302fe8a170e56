"""Sums, products and variances along axes, cumulative ones among them.

Imports keywords, manipulation, operands and tensor.
"""

from typing import Any, SupportsIndex, TypeAlias

from gpugrad.errors import ShapeError
from gpugrad.functions import keywords
from gpugrad.functions.manipulation import concat, reshape
from gpugrad.functions.operands import axis_number, cast, with_size
from gpugrad.tensor import OPS, TENSORS, Tensor, as_tensor

__all__ = ["cumulative_prod", "cumulative_sum", "prod", "ptp", "std", "sum", "var"]

Axis: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | None


def ptp(x: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The largest element minus the smallest, along axes; ties share the gradient."""
    high, low = (OPS[name](x, axis=axis, keepdims=keepdims) for name in ("max", "min"))
    return high - low


@keywords.open_ended
def var(
    x: Any, /, axis: Any = None, keepdims: bool = False, *, correction: float | Tensor = 0,
    ddof: float | Tensor | None = None, **more: Any,
) -> Tensor:  # fmt: skip
    """The variance along axes, with n - correction in the denominator (NumPy's ``ddof``)."""
    if more:
        more |= {"axis": axis, "keepdims": keepdims, "correction": correction, "ddof": ddof}
        return keywords.apply("var", var, (x,), more)
    return OPS["var"](x, axis, keepdims, correction=keywords.freedom("var", correction, ddof))


@keywords.open_ended
def std(
    x: Any, /, axis: Any = None, keepdims: bool = False, *, correction: float | Tensor = 0,
    ddof: float | Tensor | None = None, **more: Any,
) -> Tensor:  # fmt: skip
    """The standard deviation along axes, with n - correction in the denominator (NumPy's ``ddof``).

    Where all elements are equal the gradient is 0.
    """
    if more:
        more |= {"axis": axis, "keepdims": keepdims, "correction": correction, "ddof": ddof}
        return keywords.apply("std", std, (x,), more)
    return OPS["std"](x, axis, keepdims, correction=keywords.freedom("std", correction, ddof))


@keywords.open_ended
def sum(
    x: Any, /, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None, **more: Any
) -> Tensor:
    """The sum along axes; float16 is accumulated in float32.

    Small integers and booleans are summed up in int64 or uint64, all else in its own dtype,
    unless ``dtype`` names another.
    """
    if more:
        more |= {"axis": axis, "keepdims": keepdims, "dtype": dtype}
        return keywords.apply("sum", sum, (x,), more)
    if dtype is None:
        return OPS["sum"](x, axis, keepdims)
    return cast(OPS["sum"](cast(as_tensor(x), dtype), axis, keepdims), dtype)


@keywords.open_ended
def prod(
    x: Any, /, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None, **more: Any
) -> Tensor:
    """The product along axes; its derivatives are exact where elements are 0.

    Small integers and booleans are multiplied in int64 or uint64, all else in its own dtype,
    unless ``dtype`` names another.
    """
    if more:
        more |= {"axis": axis, "keepdims": keepdims, "dtype": dtype}
        return keywords.apply("prod", prod, (x,), more)
    if dtype is None:
        return OPS["prod"](x, axis, keepdims)
    return cast(OPS["prod"](cast(as_tensor(x), dtype), axis, keepdims), dtype)


def _cumulative(name: str, x: Any, axis: int | None, dtype: Any, include_initial: bool) -> Tensor:
    x = as_tensor(x)
    if axis is None and x.ndim > 1:
        raise ShapeError(f"{name}: expected an axis for x of shape {x.shape}")
    if not x.ndim:
        x = reshape(x, 1)
    axis = axis_number(name, 0 if axis is None else axis, x.ndim)
    y = OPS["cumsum" if name == "cumulative_sum" else "cumprod"](cast(x, dtype), axis=axis)
    y = cast(y, dtype)  # small integers were accumulated in int64
    if not include_initial:
        return y
    shape = with_size(x.shape, axis, 1)
    start = TENSORS.full_like(y.detach(), 0 if name == "cumulative_sum" else 1, shape=shape)
    return concat([start, y], axis=axis)


def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    """The cumulative sum along an axis; with ``include_initial`` it begins with 0.

    ``axis`` may be omitted where x has one axis only.
    """
    return _cumulative("cumulative_sum", x, axis, dtype, include_initial)


def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    """The cumulative product along an axis; with ``include_initial`` it begins with 1.

    ``axis`` may be omitted where x has one axis only. The derivatives are exact at zeros.
    """
    return _cumulative("cumulative_prod", x, axis, dtype, include_initial)
