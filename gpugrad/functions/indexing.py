"""Elements chosen by numbers, masks and conditions.

Imports manipulation, operands, ufunclike and tensor.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.manipulation import ravel, raveled_or_along, reshape, slices
from gpugrad.functions.operands import (
    along_axis,
    arange_beside,
    axis_number,
    beside,
    is_number,
    without_lists,
    xp_of,
)
from gpugrad.functions.ufunclike import clip
from gpugrad.tensor import OPS, Tensor, as_tensor, asarray, getitem
from gpugrad.tensor.assign import index_update
from gpugrad.tensor.indices import index_array
from gpugrad.tensor.views import unshared

__all__ = [
    "argwhere", "choose", "compress", "extract", "flatnonzero", "nonzero", "put_along_axis",
    "select", "take", "take_along_axis",
]  # fmt: skip
METHODS = ("choose", "nonzero", "take")


def flatnonzero(x: Any, /) -> Tensor:
    """The indices of the elements of the raveled x that are not 0. Waits for the device."""
    x = ravel(as_tensor(x).detach())
    return Tensor(xp_of(x).nonzero(x.data)[0])


def argwhere(x: Any, /) -> Tensor:
    """The indices of the elements that are not 0, one row for each. Waits for the device."""
    x = as_tensor(x).detach()
    return Tensor(xp_of(x).argwhere(x.data))


def take(x: Any, /, indices: Any, axis: int | None = None, *, mode: str = "raise") -> Tensor:
    """The elements at ``indices`` along an axis; along the raveled x where axis is None.

    With ``mode="wrap"`` indices out of range wrap around, with "clip" they are clipped. Truth
    values are the numbers 0 and 1, as in NumPy; ``x[mask]`` takes where they are true.
    """
    x, axis = raveled_or_along("take", x, axis)
    if isinstance(indices, list | tuple) and bool in map(type, indices):
        indices = np.array(indices)
    if hasattr(indices, "dtype") and indices.dtype.kind == "b":
        indices = asarray(indices, device=x.device).astype("int64")
    if mode != "raise":
        indices = _in_range("take", asarray(indices, device=x.device), x.shape[axis], mode)
    return unshared(getitem(x, (slice(None),) * axis + (indices,)), x)


def _in_range(who: str, indices: Tensor, size: int, mode: str) -> Tensor:
    """Indices with those out of range wrapped around or clipped."""
    if mode not in ("wrap", "clip"):
        raise ShapeError(f"{who}: expected mode 'raise', 'wrap' or 'clip', got {mode!r}")
    return OPS["remainder"](indices, size) if mode == "wrap" else clip(indices, 0, size - 1)


def take_along_axis(x: Any, /, indices: Any, axis: int = -1) -> Tensor:
    """The elements that ``indices`` select along an axis, each in its own vector."""
    x = as_tensor(x)
    return getitem(x, along("take_along_axis", x, indices, axis))


def along(who: str, x: Tensor, indices: Any, axis: int) -> tuple[Any, ...]:
    """The index of the elements that ``indices`` select along an axis."""
    axis = axis_number(who, axis, x.ndim)
    indices = index_array(who, indices, x._array, axis)
    if indices.ndim != x.ndim:
        raise ShapeError(f"{who}: expected indices with {x.ndim} axes, got shape {indices.shape}")
    return tuple(
        indices if i == axis else along_axis(arange_beside(size, x._array), i, x.ndim)
        for i, size in enumerate(x.shape)
    )


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Tensor:
    """For each element that of the first choice whose condition holds, else ``default``.

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
    *choices, y = without_lists(*choicelist, default)
    for condition, choice in zip(reversed(condlist), reversed(choices), strict=True):
        if is_number(condition):
            condition = condition[()]
        elif not isinstance(condition, bool):
            condition = as_tensor(condition)
        dtype = getattr(condition, "dtype", np.bool_)
        if dtype != np.bool_:
            raise DTypeError(f"select: expected conditions of dtype bool, got {dtype}")
        y = OPS["where"](condition, choice, y)
    return y


def choose(a: Any, choices: Sequence[Any], mode: str = "raise") -> Tensor:
    """For each whole number in ``a`` the element of that choice, all of them broadcast.

    Numbers out of range raise ShapeError, for which the host waits; with ``mode="wrap"`` they
    wrap around, with "clip" they are clipped.
    """
    a = asarray(a).detach()
    choices = without_lists(*choices)
    if a.dtype.kind not in "iub":
        raise DTypeError(f"choose: expected whole numbers, got {a.dtype}")
    if not choices:
        raise ShapeError("choose: expected at least one choice, got none")
    if mode != "raise":
        a = _in_range("choose", a, len(choices), mode)
    elif bool(OPS["any"]((a < 0) | (a >= len(choices)))):
        raise ShapeError(f"choose: expected numbers from 0 to {len(choices) - 1}")
    shape = np.broadcast_shapes(a.shape, *(as_tensor(c).shape for c in choices))
    y = OPS["broadcast_to"](as_tensor(choices[-1]), shape)
    for number in range(len(choices) - 2, -1, -1):
        y = OPS["where"](a == number, choices[number], y)
    return y


def compress(condition: Any, x: Any, /, axis: int | None = None) -> Tensor:
    """The elements along an axis where a vector of conditions holds. Waits for the device."""
    x, axis = raveled_or_along("compress", x, axis)
    mask = beside(condition, x).detach().astype("bool")
    if mask.ndim != 1 or mask.size > x.shape[axis]:
        raise ShapeError(
            f"compress: expected a vector of up to {x.shape[axis]} conditions, got {mask.shape}"
        )
    return getitem(slices(x, axis, 0, mask.size), (slice(None),) * axis + (mask,))


def extract(condition: Any, x: Any, /) -> Tensor:
    """The elements of x where a condition of its size holds, raveled. Waits for the device."""
    x = ravel(x)
    mask = ravel(beside(condition, x).detach().astype("bool"))
    return getitem(x, mask)


def put_along_axis(x: Any, /, indices: Any, values: Any, axis: int | None) -> Tensor:
    """A copy of x with ``values`` at ``indices`` along an axis: the inverse of `take_along_axis`.

    `numpy.put_along_axis` changes its array and returns None; so it does for a tensor, too.
    """
    x = as_tensor(without_lists(x, values)[0])
    if axis is None:
        flat = ravel(x)
        positions = index_array("put_along_axis", indices, flat._array, 0).reshape(-1)
        return reshape(index_update(flat, positions, values), x.shape)
    index = along("put_along_axis", x, indices, axis)
    return index_update(x, index, values)


def nonzero(x: Any, /) -> tuple[Tensor, ...]:
    """For each axis, the indices of the elements that are not zero. Waits for the device.

    >>> import gpugrad as gg
    >>> gg.nonzero(gg.asarray([0.0, 2.0, 3.0]))
    (tensor([1, 2]),)
    """
    x = as_tensor(x)
    if x.ndim == 0:
        raise ShapeError("nonzero: expected axes, got a tensor with none")
    return tuple(Tensor(positions) for positions in xp_of(x).nonzero(x.data))
