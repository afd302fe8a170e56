"""A user's functions, applied by condition, by vector or by element.

Imports manipulation, operands and tensor.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from gpugrad.errors import ShapeError
from gpugrad.functions.manipulation import expand_dims, moveaxis, ravel, reshape, stack
from gpugrad.functions.operands import axis_number, beside, together
from gpugrad.tensor import OPS, TENSORS, Tensor, as_tensor

__all__ = ["apply_along_axis", "apply_over_axes", "piecewise", "vectorize"]


def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Tensor:
    """Functions, or numbers, each where its condition holds; one more for where none does.

    The functions are elementwise and called with all of x (NumPy passes parts of it), so that
    nothing waits for the device. Values that are not chosen get no gradient, and NumPy's warnings
    about them are suppressed. Where several conditions hold the last one wins. The result has the
    dtype of x.

    >>> import gpugrad as gg
    >>> x = gg.tensor([-4.0, 9.0])
    >>> gg.piecewise(x, [x > 0], [gg.sqrt, 0.0])
    tensor([0., 3.])
    """
    x = as_tensor(x)
    if isinstance(condlist, Tensor | np.ndarray) or not isinstance(condlist, Sequence):
        condlist = [condlist] if getattr(condlist, "ndim", 0) <= x.ndim else list(condlist)
    elif condlist and isinstance(condlist[0], bool):
        condlist = [condlist]
    conditions = [beside(c, x).astype("bool") for c in condlist]
    if len(funclist) not in (len(conditions), len(conditions) + 1):
        raise ShapeError(
            f"piecewise: expected {len(conditions)} or {len(conditions) + 1} functions for "
            f"{len(conditions)} conditions, got {len(funclist)}"
        )
    with np.errstate(all="ignore"):
        values = [f(x, *args, **kw) if callable(f) else f for f in funclist]
    y: Any = TENSORS.zeros_like(x.detach())
    if len(values) > len(conditions):
        y = OPS["broadcast_to"](beside(values.pop(), x), x.shape)
    for condition, value in zip(conditions, values, strict=True):
        y = OPS["where"](condition, value, y)
    return y if y.dtype == x.dtype else y.astype(x.dtype)


def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Tensor:
    """A function ``func(x, axis)`` applied along several axes, one after another.

    Its results have as many axes as x, or one less, which is restored with size 1.
    """
    x = as_tensor(a)
    for axis in axes if isinstance(axes, tuple | list) else (axes,):
        number = axis_number("apply_over_axes", axis, x.ndim)
        result = as_tensor(func(x, number))
        if result.ndim == x.ndim - 1:
            result = expand_dims(result, number)
        if result.ndim != x.ndim:
            raise ShapeError(
                f"apply_over_axes: expected a function that keeps {x.ndim} axes or drops one, it "
                f"made shape {result.shape} of {x.shape}"
            )
        x = result
    return x


def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any
) -> Tensor:
    """A function of vectors applied along an axis of an array, its results joined.

    ``func1d(vector, *args, **kwargs)`` takes a tensor and returns a tensor or a number; the
    results, all of one shape, replace the axis. It is called once for each vector: a function of
    whole arrays with ``axis=`` is quicker.

    >>> import gpugrad as gg
    >>> gg.apply_along_axis(lambda v: v[0] * v, 1, gg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[ 1.,  2.],
            [ 9., 12.]])
    """
    arr = as_tensor(arr)
    axis = axis_number("apply_along_axis", axis, arr.ndim)
    rows = moveaxis(arr, axis, -1)
    outer = rows.shape[:-1]
    if 0 in outer:
        raise ShapeError(f"apply_along_axis: no vectors along axis {axis} of shape {arr.shape}")
    flat = reshape(rows, (-1, rows.shape[-1]))
    results = [beside(func1d(flat[i], *args, **kwargs), arr) for i in range(len(flat))]
    joined = stack(results)
    inner = joined.ndim - 1
    joined = reshape(joined, (*outer, *joined.shape[1:]))
    return moveaxis(joined, tuple(range(len(outer), joined.ndim)), tuple(range(axis, axis + inner)))


def vectorize(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numbers as one of arrays, which broadcast: called once for each element.

    ``function`` takes 0-d tensors and returns one, a number, or a tuple of them. Each call costs
    as much as an operation on a small array: prefer array operations.

    >>> import gpugrad as gg
    >>> larger = gg.vectorize(lambda a, b: a if a > b else b * b)
    >>> larger(gg.tensor([1.0, 2.0]), 1.5)
    tensor([2.25, 2.  ])
    """

    @wraps(function)
    def mapped(*arrays: Any, **kwargs: Any) -> Any:
        if not arrays:
            raise ShapeError("vectorize: expected at least one array, got none")
        tensors = together(*arrays)
        shape = np.broadcast_shapes(*(t.shape for t in tensors))
        if 0 in shape:
            raise ShapeError(f"vectorize: no elements in shape {shape}")
        flat = [ravel(OPS["broadcast_to"](t, shape)) for t in tensors]
        results = [function(*elements, **kwargs) for elements in zip(*flat, strict=True)]

        def joined(numbers: Any) -> Tensor:
            return reshape(stack([beside(number, flat[0]) for number in numbers]), shape)

        if isinstance(results[0], tuple):
            return tuple(map(joined, zip(*results, strict=True)))
        return joined(results)

    return mapped
