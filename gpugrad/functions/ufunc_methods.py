"""NumPy's ufuncs on tensors: ``where=``, ``dtype=`` and ``out=``, ``reduce`` and ``accumulate``.

Imports keywords, manipulation, operands and tensor.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.errors import DTypeError, GradientError, ShapeError
from gpugrad.functions import keywords
from gpugrad.functions.manipulation import concat, slices, squeeze
from gpugrad.functions.operands import axis_number, cast
from gpugrad.tensor import OPS, Tensor, as_tensor
from gpugrad.tensor.assign import setitem

__all__ = ["accumulate", "elementwise", "into", "reduce"]

Function = Callable[..., Any]

# f(f(a, b), c) = f(a, f(b, c)): what can be joined in any grouping.
ASSOCIATIVE = frozenset(
    "bitwise_and bitwise_or bitwise_xor fmax fmin gcd hypot lcm logaddexp logaddexp2 logical_and "
    "logical_or logical_xor maximum minimum".split()
)


def elementwise(
    ufunc: Any,
    function: Function,
    inputs: tuple[Any, ...],
    kwargs: dict[str, Any],
    target: Any = None,
) -> Any:
    """A call of a ufunc. Where a mask is False, the result is ``target``, or 0 without one.

    NumPy leaves there what was in memory.
    """
    where = kwargs.pop("where", True)
    dtype = kwargs.pop("dtype", None)
    if dtype is not None:
        inputs = tuple(cast(x, dtype) if isinstance(x, Tensor) else x for x in inputs)
    if where is True:
        result = keywords.apply(ufunc.__name__, function, inputs, kwargs, ufunc, _shown(ufunc))
    else:
        with np.errstate(all="ignore"):  # NumPy does not compute what the mask leaves out
            result = keywords.apply(ufunc.__name__, function, inputs, kwargs, ufunc, _shown(ufunc))
        if isinstance(result, tuple):
            return tuple(_chosen(ufunc, one, where, None) for one in result)
        result = _chosen(ufunc, result, where, target)
    return cast(result, dtype) if isinstance(result, Tensor) else result


def _shown(ufunc: Any) -> str:
    return f"np.{ufunc.__name__}"


def _chosen(ufunc: Any, result: Tensor, where: Any, target: Any) -> Tensor:
    """The result where a mask holds, elsewhere the target or 0."""
    mask = keywords.mask_of(_shown(ufunc), where, result)
    chosen: Tensor
    if target is None:
        chosen = OPS["where"](mask, result, np.zeros((), result.dtype)[()])
    else:
        chosen = OPS["where"](mask, cast(result, target.dtype), target)
    return chosen


def into(target: Any, result: Any) -> Any:
    """``np.sin(t, out=u)`` and ``array += t``; GradientError where a graph would be lost."""
    own = isinstance(target, Tensor)
    if target.requires_grad and target.is_leaf if own else result.requires_grad:
        raise GradientError(
            "out=: a result that requires a gradient cannot be written into an existing array, and "
            "no result into a leaf that requires one. Omit out= and use the result (`a = a + t` in "
            "place of `a += t`)"
        )
    if not np.can_cast(result.dtype, target.dtype, "same_kind"):
        raise DTypeError(
            f"out=: the result has dtype {result.dtype}, which does not fit into an array of "
            f"{target.dtype}"
        )
    if not own:
        Tensor(target)._write(Ellipsis, result)
    elif target.shape != result.shape:
        raise ShapeError(f"out=: the result has shape {result.shape}, out has {target.shape}")
    else:
        setitem(target, Ellipsis, result)
    return target


def reduce(name: str, function: Function, x: Any, axis: Any = 0, keepdims: bool = False) -> Tensor:
    """``np.hypot.reduce`` and the like: the elements along an axis joined, two by two."""
    x = as_tensor(x)
    axis = _one_axis(name, "reduce", x, axis)
    if not x.shape[axis]:
        raise ShapeError(f"np.{name}.reduce: axis {axis} of shape {x.shape} has no elements")
    while (size := x.shape[axis]) > 1:
        half = size // 2
        pairs = function(slices(x, axis, None, half), slices(x, axis, half, 2 * half))
        x = concat([pairs, slices(x, axis, 2 * half, None)], axis=axis) if size % 2 else pairs
    return x if keepdims else squeeze(x, axis)


def accumulate(name: str, function: Function, x: Any, axis: Any = 0) -> Tensor:
    """``np.maximum.accumulate`` and the like: the results of all beginnings along an axis.

    In each pass the elements joined are twice as many; log2(n) passes join them all.
    """
    x = as_tensor(x)
    axis = _one_axis(name, "accumulate", x, axis)
    step = 1
    while step < x.shape[axis]:
        joined = function(slices(x, axis, None, -step), slices(x, axis, step, None))
        x = concat([cast(slices(x, axis, None, step), joined.dtype), joined], axis=axis)
        step *= 2
    return x


def _one_axis(name: str, method: str, x: Tensor, axis: Any) -> int:
    if name not in ASSOCIATIVE:
        raise DTypeError(
            f"np.{name}.{method}: gpugrad has no such function of tensors. Write it with gg's "
            "functions, or use .detach().numpy() for a result without a gradient"
        )
    if axis is None and x.ndim == 1:
        return 0
    return axis_number(f"np.{name}.{method}", axis, x.ndim)
