"""Choices between arrays, functions applied piece by piece, and comparisons of whole arrays.

Imports functions, assign, creation and core.
"""

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from gpugrad.backend.namespace import namespace_of
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.manipulation import (
    along,
    clip,
    expand_dims,
    getitem,
    moveaxis,
    ravel,
    reshape,
    stack,
    tile,
)
from gpugrad.functions.operands import axis_number, beside, is_number, together
from gpugrad.functions.type_check import real_only
from gpugrad.tensor.assign import index_update
from gpugrad.tensor.core import TENSORS, Tensor
from gpugrad.tensor.creation import as_tensor, asarray
from gpugrad.tensor.indices import index_array
from gpugrad.tensor.table import OPS

__all__ = [
    "allclose", "apply_along_axis", "apply_over_axes", "array_equal", "array_equiv", "choose",
    "compress", "divmod", "extract", "fill_diagonal", "float_power", "frexp", "isclose",
    "isneginf", "isposinf", "modf", "piecewise", "put_along_axis", "real_if_close", "select",
    "vectorize",
]  # fmt: skip
METHODS = ("choose",)


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Tensor:
    """For each element the choice of the first condition that holds, else ``default``.

    Only the chosen elements get a gradient.

    >>> import gpugrad as gg
    >>> x = gg.arange(4)
    >>> gg.select([x < 1, x < 3], [-x, 10 * x], 99)
    tensor([ 0, 10, 20, 99])
    """
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ShapeError(
            f"select: expected as many choices as conditions, one or more, got {len(condlist)} "
            f"conditions and {len(choicelist)} choices"
        )
    y = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        if is_number(condition):
            condition = condition[()]
        elif not isinstance(condition, bool):
            condition = as_tensor(condition)
        kind = getattr(condition, "dtype", np.bool_)
        if kind != np.bool_:
            raise DTypeError(f"select: expected conditions of dtype bool, got {kind}")
        y = OPS["where"](condition, choice, y)
    return y


def choose(a: Any, choices: Sequence[Any], mode: str = "raise") -> Tensor:
    """For each whole number in ``a`` the element of that choice, all of them broadcast.

    Numbers outside raise ShapeError, for which the host waits; ``mode="wrap"`` counts them
    round, "clip" takes the nearest.
    """
    a = asarray(a).detach()
    choices = list(choices)
    if a.dtype.kind not in "iub":
        raise DTypeError(f"choose: expected whole numbers, got {a.dtype}")
    if not choices:
        raise ShapeError("choose: expected at least one choice, got none")
    if mode == "wrap":
        a = OPS["remainder"](a, len(choices))
    elif mode == "clip":
        a = clip(a, 0, len(choices) - 1)
    elif mode != "raise":
        raise ShapeError(f"choose: expected mode 'raise', 'wrap' or 'clip', got {mode!r}")
    elif bool(OPS["any"]((a < 0) | (a >= len(choices)))):
        raise ShapeError(f"choose: expected numbers from 0 to {len(choices) - 1}")
    shape = np.broadcast_shapes(a.shape, *(as_tensor(c).shape for c in choices))
    y = OPS["broadcast_to"](as_tensor(choices[-1]), shape)
    for number in range(len(choices) - 2, -1, -1):
        y = OPS["where"](a == number, choices[number], y)
    return y


def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Tensor:
    """Functions, or numbers, each where its condition holds; one more is for where none does.

    The functions are elementwise and called with all of x (NumPy calls them with parts of it),
    so that nothing waits for the device. What was not chosen gets no gradient, and a warning of
    NumPy about it is kept silent. Where several conditions hold the last one wins. The result has
    the dtype of x.

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


def compress(condition: Any, x: Any, /, axis: int | None = None) -> Tensor:
    """The elements along an axis where a vector of conditions holds. Waits for the device."""
    x = as_tensor(x)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_number("compress", axis, x.ndim)
    mask = beside(condition, x).detach().astype("bool")
    if mask.ndim != 1 or mask.size > x.shape[axis]:
        raise ShapeError(
            f"compress: expected a vector of up to {x.shape[axis]} conditions, got {mask.shape}"
        )
    part = getitem(x, (slice(None),) * axis + (slice(0, mask.size),))
    return getitem(part, (slice(None),) * axis + (mask,))


def extract(condition: Any, x: Any, /) -> Tensor:
    """The elements of x where a condition of its size holds, raveled. Waits for the device."""
    x = ravel(x)
    mask = ravel(beside(condition, x).detach().astype("bool"))
    return getitem(x, mask)


def put_along_axis(x: Any, /, indices: Any, values: Any, axis: int | None) -> Tensor:
    """A copy of x in which, for each place of ``indices``, the element named along an axis is
    that of ``values``: the opposite of `take_along_axis`.

    `numpy.put_along_axis` changes its array and returns None; so it does for a tensor, too.
    """
    x = as_tensor(x)
    if axis is None:
        flat = ravel(x)
        places = index_array("put_along_axis", indices, flat._array, 0).reshape(-1)
        return reshape(index_update(flat, places, values), x.shape)
    index = along("put_along_axis", x, indices, axis)
    return index_update(x, index, values)


def fill_diagonal(x: Any, /, val: Any, wrap: bool = False) -> Tensor:
    """A copy of x with ``val`` on its diagonal: a number, or as many as there are places.

    The axes of x have one size, if there are more than two. With ``wrap`` the diagonal of a tall
    matrix starts again below its end. `numpy.fill_diagonal` changes its array and returns None;
    so it does for a tensor, too.

    >>> import gpugrad as gg
    >>> gg.fill_diagonal(gg.zeros((2, 3)), gg.tensor([1.0, 2.0]))
    tensor([[1., 0., 0.],
            [0., 2., 0.]])
    """
    x = as_tensor(x)
    if x.ndim < 2 or (x.ndim > 2 and len(set(x.shape)) > 1):
        raise ShapeError(
            f"fill_diagonal: expected a matrix, or more axes of one size, got shape {x.shape}"
        )
    step = sum(math.prod(x.shape[i + 1 :]) for i in range(x.ndim))
    end = x.shape[1] * x.shape[1] if x.ndim == 2 and not wrap else x.size
    count = len(range(0, min(end, x.size), step))
    values = ravel(beside(val, x))
    if values.size != 1:
        if values.size < count:  # NumPy starts again with the first
            values = tile(values, -(-count // values.size))
        values = values[:count]
    flat = index_update(ravel(x), slice(0, min(end, x.size), step), values)
    return reshape(flat, x.shape)


# Functions applied piece by piece.


def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Tensor:
    """A function ``func(x, axis)`` applied along several axes, one after another.

    Its results have as many axes as x, or one less, which is put back with size 1.
    """
    x = as_tensor(a)
    for axis in axes if isinstance(axes, tuple | list) else (axes,):
        place = axis_number("apply_over_axes", axis, x.ndim)
        made = as_tensor(func(x, place))
        if made.ndim == x.ndim - 1:
            made = expand_dims(made, place)
        if made.ndim != x.ndim:
            raise ShapeError(
                f"apply_over_axes: expected a function that keeps {x.ndim} axes or drops one, it "
                f"made shape {made.shape} of {x.shape}"
            )
        x = made
    return x


def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any
) -> Tensor:
    """A function of vectors applied along an axis of an array, its results joined.

    ``func1d(vector, *args, **kwargs)`` gets and returns tensors, or numbers; its results, all of
    one shape, take the axis's place. It is called once for each vector: a function that works on
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
    made = [beside(func1d(flat[i], *args, **kwargs), arr) for i in range(len(flat))]
    joined = stack(made)
    inner = joined.ndim - 1
    joined = reshape(joined, (*outer, *joined.shape[1:]))
    return moveaxis(joined, tuple(range(len(outer), joined.ndim)), tuple(range(axis, axis + inner)))


def vectorize(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numbers as one of arrays, which broadcast: called once for each element.

    ``function`` gets 0-d tensors and returns one, a number, or a tuple of them. Each call costs
    what a Python call on a small array costs: write array operations where there are such.

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
        if isinstance(results[0], tuple):
            columns = zip(*results, strict=True)
            return tuple(reshape(_stacked(column, flat[0]), shape) for column in columns)
        return reshape(_stacked(results, flat[0]), shape)

    return mapped


def _stacked(results: Any, like: Tensor) -> Tensor:
    return stack([beside(result, like) for result in results])


# Elementwise functions with two results, or in float64.


def divmod(a: Any, b: Any, /) -> tuple[Tensor, Tensor]:
    """a // b and a % b, elementwise."""
    return OPS["floor_divide"](a, b), OPS["remainder"](a, b)


def modf(x: Any, /) -> tuple[Tensor, Tensor]:
    """What follows the point and what stands before it, x being their sum."""
    x = real_only("modf", x)
    x = x if x.dtype.kind == "f" else x.astype("float64")
    whole = OPS["trunc"](x)
    infinite = OPS["isinf"](x)
    return OPS["where"](infinite, 0, x) - OPS["where"](infinite, 0, whole), whole


def frexp(x: Any, /) -> tuple[Tensor, Tensor]:
    """A mantissa between 0.5 and 1 and a whole exponent, so that x = mantissa * 2**exponent."""
    x = real_only("frexp", x)
    exponent = Tensor(namespace_of(x.data).module.frexp(x.data)[1])
    return OPS["ldexp"](x, -exponent), exponent


def float_power(a: Any, b: Any, /) -> Tensor:
    """a ** b, elementwise, in float64, or complex128 where one of them is complex."""
    a, b = (
        x.astype("complex128" if x.dtype.kind == "c" else "float64") if isinstance(x, Tensor) else x
        for x in (a, b)
    )
    y = OPS["power"](a, b)
    return y if y.dtype.kind == "c" else y.astype("float64")


# Comparisons.


def isposinf(x: Any, /) -> Tensor:
    """Whether x is positive infinity, elementwise. No gradient."""
    return OPS["equal"](real_only("isposinf", x), math.inf)


def isneginf(x: Any, /) -> Tensor:
    """Whether x is negative infinity, elementwise. No gradient."""
    return OPS["equal"](real_only("isneginf", x), -math.inf)


def isclose(
    a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """Whether abs(a - b) <= atol + rtol * abs(b), elementwise, or both are one infinity.

    With ``equal_nan`` NaN is close to NaN. No gradient.
    """
    a, b = (x.detach() if isinstance(x, Tensor) else x for x in (a, b))
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a = as_tensor(a)
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


def real_if_close(x: Any, /, tol: float = 100) -> Tensor:
    """The real parts of x where all others are nearly 0, else x itself. Waits for the device.

    ``tol`` counts in rounding errors of the dtype; 1 or below, it is what they may reach.
    """
    x = as_tensor(x)
    if x.dtype.kind != "c":
        return x
    most = tol * float(np.finfo(x.dtype).eps) if tol > 1 else tol
    near = OPS["abs"](OPS["imag"](x.detach())) < most
    return OPS["real"](x) if bool(OPS["all"](near)) else x


def array_equal(a: Any, b: Any, equal_nan: bool = False) -> bool:
    """Whether two arrays have one shape and equal elements. A Python bool; the host waits."""
    a, b = as_tensor(a).detach(), as_tensor(b).detach()
    if a.shape != b.shape:
        return False
    same = OPS["equal"](a, b)
    if equal_nan:
        same = same | (OPS["isnan"](a) & OPS["isnan"](b))
    return bool(OPS["all"](same))


def array_equiv(a: Any, b: Any) -> bool:
    """Whether two arrays are equal when broadcast. A Python bool; the host waits."""
    a, b = as_tensor(a).detach(), as_tensor(b).detach()
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return False
    return bool(OPS["all"](OPS["equal"](a, b)))
