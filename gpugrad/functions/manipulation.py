"""Functions that are made of table ops: other signatures, and compositions.

Imports creation, core and the bound ops. They need no derivative of their own. Names and
argument orders are NumPy's and the Array API standard's.
"""

import math
import typing
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.backend.device import Device, device_of, to_numpy
from gpugrad.engine.op import TABLE
from gpugrad.engine.record import record
from gpugrad.errors import ArgumentError, DTypeError, ShapeError
from gpugrad.functions.operands import axis_number, axis_numbers, together
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.creation import as_tensor
from gpugrad.tensor.indices import getitem, index_array
from gpugrad.tensor.table import OPS

__all__ = [
    "clip", "concat", "concatenate", "dot", "expand_dims", "flatten",
    "matrix_transpose", "moveaxis", "outer", "ravel", "repeat", "squeeze",
    "stack", "std", "swapaxes", "take", "take_along_axis", "tensordot", "tile",
    "transpose", "unstack", "var",
]  # fmt: skip
METHODS = (
    "dot", "expand_dims", "flatten", "moveaxis", "outer", "ravel", "repeat", "squeeze", "swapaxes",
    "take", "tile", "to", "unstack",
)  # fmt: skip


# Shapes.


def reshape(x: Any, /, shape: int | Sequence[int], order: str = "C") -> Tensor:
    """The same elements in another shape; the public `reshape` has ``copy=`` as well."""
    sizes = tuple(map(int, (shape,) if isinstance(shape, int | np.integer) else shape))
    if order == "F":
        return transpose(OPS["reshape"](transpose(x), sizes[::-1]))
    if order != "C":
        raise ArgumentError(
            f"reshape: expected order 'C', the last axis first, or 'F', the first, got {order!r}"
        )
    return OPS["reshape"](x, sizes)


def ravel(x: Any, /, order: str = "C") -> Tensor:
    """The elements along one axis, the last of x running quickest; with ``order="F"`` the first."""
    return reshape(x, -1, order)


def flatten(
    x: Any,
    /,
    start_dim: "int | typing.Literal['C', 'F']" = 0,
    end_dim: int = -1,
    order: str = "C",
) -> Tensor:
    """The axes from ``start_dim`` to ``end_dim``, both included, made one.

    ``flatten("F")`` is NumPy's: all axes, the first running quickest.
    """
    x = as_tensor(x)
    if isinstance(start_dim, str):
        order, start_dim = start_dim, 0
    if x.ndim == 0:
        return reshape(x, 1, order)
    first, last = (axis_number("flatten", axis, x.ndim) for axis in (start_dim, end_dim))
    if last < first:
        raise ShapeError(f"flatten: end_dim {end_dim} comes before start_dim {start_dim}")
    if order != "C":
        if last - first + 1 < x.ndim:
            raise ArgumentError(f"flatten: order {order!r} is for all axes together")
        return reshape(x, -1, order)
    size = math.prod(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], size, *x.shape[last + 1 :]))


def transpose(x: Any, /, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in another order: reversed, or as ``axes`` lists them (also ``permute_dims``)."""
    return OPS["transpose"](x, None if axes is None else tuple(int(axis) for axis in axes))


def matrix_transpose(x: Any, /) -> Tensor:
    """The last two axes exchanged."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"matrix_transpose: expected two axes or more, got shape {x.shape}")
    return swapaxes(x, -1, -2)


def swapaxes(x: Any, /, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged."""
    x = as_tensor(x)
    order = list(range(x.ndim))
    one, two = (axis_number("swapaxes", axis, x.ndim) for axis in (axis1, axis2))
    order[one], order[two] = two, one
    return transpose(x, order)


def moveaxis(x: Any, /, source: Any, destination: Any) -> Tensor:
    """Axes moved to other places, the others keeping their order."""
    x = as_tensor(x)
    sources, targets = (axis_numbers("moveaxis", axes, x.ndim) for axes in (source, destination))
    if len(sources) != len(targets):
        raise ShapeError(
            f"moveaxis: expected as many destinations as sources, got {destination} for {source}"
        )
    order = [axis for axis in range(x.ndim) if axis not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return transpose(x, order)


def expand_dims(x: Any, /, axis: Any = 0) -> Tensor:
    """New axes of size 1 at the places ``axis`` of the result (PyTorch's ``unsqueeze``)."""
    x = as_tensor(x)
    count = len(axis) if isinstance(axis, tuple | list) else 1
    places = axis_numbers("expand_dims", axis, x.ndim + count)
    sizes = iter(x.shape)
    return reshape(x, [1 if i in places else next(sizes) for i in range(x.ndim + count)])


def squeeze(x: Any, /, axis: Any = None) -> Tensor:
    """Without axes of size 1: all of them, or those in ``axis``."""
    x = as_tensor(x)
    if axis is None:
        return reshape(x, [size for size in x.shape if size != 1])
    places = axis_numbers("squeeze", axis, x.ndim)
    for place in places:
        if x.shape[place] != 1:
            raise ShapeError(f"squeeze: axis {place} of shape {x.shape} has not size 1")
    return reshape(x, [size for i, size in enumerate(x.shape) if i not in places])


# Joining and repeating.


def _same_rank(name: str, arrays: Any, equal: bool) -> list[Tensor]:
    if isinstance(arrays, Tensor) or hasattr(arrays, "ndim"):
        arrays = list(as_tensor(arrays))
    tensors = together(*arrays)
    if not tensors:
        raise ShapeError(f"{name}: expected at least one array, got none")
    shapes = [tensor.shape for tensor in tensors]
    if (len(set(shapes)) if equal else len({len(shape) for shape in shapes})) > 1:
        what = "equal shapes" if equal else "equal numbers of axes"
        raise ShapeError(f"{name}: expected {what}, got {', '.join(map(str, shapes))}")
    return tensors


def concat(arrays: Sequence[Any], /, axis: int | None = 0) -> Tensor:
    """Arrays joined along an axis that they have (also ``concatenate``); None ravels them first.

    >>> import gpugrad as gg
    >>> gg.concat([gg.ones((2, 1)), gg.zeros((2, 2))], axis=1).shape
    (2, 3)
    """
    if axis is None:
        arrays, axis = [ravel(array) for array in arrays], 0
    tensors = _same_rank("concat", arrays, equal=False)
    return record(TABLE["concat_arrays"], tensors, {"axis": axis})


concatenate = concat


def stack(arrays: Sequence[Any], /, axis: int = 0) -> Tensor:
    """Arrays of one shape joined along a new axis."""
    tensors = _same_rank("stack", arrays, equal=True)
    return record(TABLE["stack_arrays"], tensors, {"axis": axis})


def unstack(x: Any, /, axis: int = 0) -> tuple[Tensor, ...]:
    """The pieces of x along an axis, without that axis."""
    x = moveaxis(x, axis, 0)
    return tuple(x[index] for index in range(len(x)))


def tile(x: Any, /, reps: int | Sequence[int]) -> Tensor:
    """x repeated as a whole, ``reps`` times along each axis."""
    x = as_tensor(x)
    times = (reps,) if isinstance(reps, int | np.integer) else tuple(reps)
    rank = max(x.ndim, len(times))
    times = (1,) * (rank - len(times)) + times
    shape = (1,) * (rank - x.ndim) + x.shape
    apart = reshape(x, [size for n in shape for size in (1, n)])
    spread = [size for pair in zip(times, shape, strict=True) for size in pair]
    repeated = OPS["broadcast_to"](apart, tuple(spread))
    return reshape(repeated, [n * m for n, m in zip(times, shape, strict=True)])


def repeat(x: Any, /, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element repeated along an axis: as often for all, or as ``repeats`` lists."""
    x = as_tensor(x)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_number("repeat", axis, x.ndim)
    if isinstance(repeats, int | np.integer):
        shape = x.shape
        apart = OPS["broadcast_to"](
            expand_dims(x, axis + 1), (*shape[: axis + 1], int(repeats), *shape[axis + 1 :])
        )
        return reshape(apart, (*shape[:axis], shape[axis] * int(repeats), *shape[axis + 1 :]))
    counts = to_numpy(repeats.data) if isinstance(repeats, Tensor) else np.asarray(repeats)
    if counts.shape not in ((1,), (x.shape[axis],)):
        raise ShapeError(
            f"repeat: expected {x.shape[axis]} repeats for axis {axis}, got shape {counts.shape}"
        )
    places = np.repeat(np.arange(x.shape[axis]), counts)
    return take(x, x.device.send(places), axis)


# Indexing.


def _numbered(count: int, like: Any) -> Any:
    """0, 1, ... count - 1, made on the device of an array."""
    place = device_of(like)
    with place.activate():
        return place.xp.arange(count)


def take(x: Any, /, indices: Any, axis: int | None = None) -> Tensor:
    """The elements at ``indices`` along an axis; along the raveled x where axis is None."""
    x = as_tensor(x)
    if axis is None:
        x, axis = ravel(x), 0
    return getitem(x, (slice(None),) * axis_number("take", axis, x.ndim) + (indices,))


def take_along_axis(x: Any, /, indices: Any, axis: int = -1) -> Tensor:
    """For each place of ``indices``, the element that it names along an axis."""
    x = as_tensor(x)
    return getitem(x, along("take_along_axis", x, indices, axis))


def along(who: str, x: Tensor, indices: Any, axis: int) -> tuple[Any, ...]:
    """The index of the elements that ``indices`` name along an axis."""
    axis = axis_number(who, axis, x.ndim)
    indices = index_array(who, indices, x._array, axis)
    if indices.ndim != x.ndim:
        raise ShapeError(f"{who}: expected indices with {x.ndim} axes, got shape {indices.shape}")
    parts: list[Any] = []
    for i, size in enumerate(x.shape):
        shape = tuple(-1 if j == i else 1 for j in range(x.ndim))
        parts.append(indices if i == axis else _numbered(size, x._array).reshape(shape))
    return tuple(parts)


# Products.


def dot(a: Any, b: Any, /) -> Tensor:
    """NumPy's dot: a product of numbers, vectors or matrices; of more axes, a tensordot."""
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim == 0 or b.ndim == 0:
        return OPS["multiply"](a, b)
    if b.ndim > 2:
        return tensordot(a, b, axes=((-1,), (-2,)))
    return OPS["matmul"](a, b)


def outer(a: Any, b: Any, /) -> Tensor:
    """Every element of a times every element of b, as a matrix."""
    return OPS["multiply"](reshape(a, (-1, 1)), ravel(b))


def tensordot(a: Any, b: Any, /, axes: Any = 2) -> Tensor:
    """The sum of products over axes: the last ``axes`` of a with the first of b, or as listed."""
    a, b = as_tensor(a), as_tensor(b)
    if isinstance(axes, int):
        left, right = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
        if axes > min(a.ndim, b.ndim):
            raise ShapeError(f"tensordot: {axes} axes of {a.shape} and {b.shape}")
    else:
        left, right = (
            axis_numbers("tensordot", part, x.ndim) for part, x in zip(axes, (a, b), strict=True)
        )
    sizes = [a.shape[i] for i in left]
    if sizes != [b.shape[i] for i in right]:
        raise ShapeError(
            f"tensordot: the summed axes differ in size: {left} of {a.shape} and "
            f"{right} of {b.shape}"
        )
    rest_a = [i for i in range(a.ndim) if i not in left]
    rest_b = [i for i in range(b.ndim) if i not in right]
    n = int(np.prod(sizes, dtype=int))
    flat_a = reshape(
        transpose(a, [*rest_a, *left]), (int(np.prod([a.shape[i] for i in rest_a], dtype=int)), n)
    )
    flat_b = reshape(
        transpose(b, [*right, *rest_b]), (n, int(np.prod([b.shape[i] for i in rest_b], dtype=int)))
    )
    shape = [a.shape[i] for i in rest_a] + [b.shape[i] for i in rest_b]
    return reshape(OPS["matmul"](flat_a, flat_b), shape)


# Other signatures.


def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """x held between ``min`` and ``max``, numbers or arrays, either of which may be None."""
    return record(TABLE["clip"], (x, min, max))


def var(
    x: Any,
    /,
    axis: Any = None,
    keepdims: bool = False,
    *,
    correction: float = 0,
    ddof: float | None = None,
) -> Tensor:
    """The variance along axes, with n - correction in the denominator (NumPy's ``ddof``)."""
    freedom = correction if ddof is None else ddof
    return OPS["var"](x, axis, keepdims, correction=freedom)


def std(
    x: Any,
    /,
    axis: Any = None,
    keepdims: bool = False,
    *,
    correction: float = 0,
    ddof: float | None = None,
) -> Tensor:
    """The standard deviation along axes, with n - correction in the denominator (NumPy's ``ddof``).

    Where all elements are equal its gradient is 0.
    """
    freedom = correction if ddof is None else ddof
    return OPS["std"](x, axis, keepdims, correction=freedom)


def to(x: Any, target: Any = None, /, *, device: Any = None, dtype: Any = None) -> Tensor:
    """x on another device, in another dtype, or both; x itself where nothing changes.

    >>> import gpugrad as gg
    >>> gg.ones(2).to("float64").to("cpu").dtype
    dtype('float64')
    """
    x = as_tensor(x)
    if target is not None:
        if isinstance(target, Device) or (isinstance(target, str) and _is_device(target)):
            device = target
        else:
            dtype = target
    try:
        dtype = None if dtype is None else np.dtype(dtype)
    except TypeError:
        raise DTypeError(
            f"to: expected a dtype or a device, such as 'cpu' or 'cuda:1', got {dtype!r}"
        ) from None
    if dtype is not None and x.dtype != dtype:
        x = OPS["astype"](x, dtype)
    if device is not None and x.device != (place := Device(device)):
        x = OPS["to_device"](x, device=str(place), source=str(x.device))
    return x


def _is_device(name: str) -> bool:
    return name.partition(":")[0] in ("cpu", "cuda", "sim", "auto")
