"""Reshaping, joining, repeating and rotating arrays: compositions of the table's functions.

Imports operands and tensor. Names, argument orders and results are NumPy's.
"""

import math
import typing
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np

from gpugrad.backend.device import to_numpy
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.op import TABLE
from gpugrad.engine.record import record
from gpugrad.errors import ArgumentError, ShapeError
from gpugrad.functions.operands import (
    all_or_numbers,
    axis_number,
    axis_numbers,
    together,
    with_axes,
    with_size,
)
from gpugrad.tensor import OPS, Tensor, as_tensor, getitem
from gpugrad.tensor.views import unshared

__all__ = [
    "append", "concat", "concatenate", "delete", "expand_dims", "flatten", "fliplr", "flipud",
    "insert", "matrix_transpose", "moveaxis", "ravel", "repeat", "reshape", "resize", "rollaxis",
    "rot90", "squeeze", "stack", "swapaxes", "tile", "transpose", "trim_zeros", "unstack",
]  # fmt: skip
METHODS = (
    "expand_dims", "flatten", "moveaxis", "ravel", "repeat", "squeeze", "swapaxes", "tile",
    "unstack",
)  # fmt: skip


# Shapes.


def reshape(
    x: Any, /, shape: int | Sequence[int], order: str = "C", *, copy: bool | None = None
) -> Tensor:
    """The same elements in another shape, one size of which may be -1.

    Elements are read and written with the last axis varying fastest, with ``order="F"`` the first.

    With ``copy`` None memory is shared where possible, with True never; with False ArgumentError,
    a ValueError, is raised where it cannot be.

    >>> import gpugrad as gg
    >>> gg.reshape(gg.arange(6), (2, -1)).shape
    (2, 3)
    """
    if copy is not None:
        return _reshape_with_copy(as_tensor(x), shape, order, copy)
    sizes = tuple(map(int, (shape,) if isinstance(shape, int | np.integer) else shape))
    if order == "F":
        return transpose(OPS["reshape"](transpose(x), sizes[::-1]))
    if order != "C":
        raise ArgumentError(
            f"reshape: expected order 'C', the last axis first, or 'F', the first, got {order!r}"
        )
    return OPS["reshape"](x, sizes)


def _reshape_with_copy(x: Tensor, shape: Any, order: str, copy: bool) -> Tensor:
    x.data  # noqa: B018  a NumPy scalar inside becomes an array, which has memory to share
    result = reshape(x, shape, order)
    owner_of = namespace_of(x.data).owner_of
    shares = owner_of(x.data) is owner_of(result.data) or result.size == 0
    if copy:
        return result.copy() if shares else result
    if not shares:
        raise ArgumentError(
            f"reshape: copy=False, but {x.shape} to {result.shape} needs a copy, as the elements "
            "are not in order in memory"
        )
    return result


def ravel(x: Any, /, order: str = "C") -> Tensor:
    """The elements along one axis, the last axis varying fastest; with ``order="F"`` the first.

    They are a view of x where they lie side by side in its memory, else a copy, as NumPy's.
    """
    y = reshape(x, -1, order)
    flags = getattr(y._array, "flags", None)
    return y if flags is None or flags.c_contiguous else OPS["astype"](y, y.dtype)


def flatten(
    x: Any, /, start_dim: "int | typing.Literal['C', 'F']" = 0, end_dim: int = -1, order: str = "C",
) -> Tensor:  # fmt: skip
    """The axes from ``start_dim`` to ``end_dim``, both included, merged into one.

    ``flatten("F")`` is NumPy's: all axes, the first varying fastest. All axes merged are a copy, as
    NumPy's; some, as PyTorch's, are a view where they can be.
    """
    x = as_tensor(x)
    if isinstance(start_dim, str):
        order, start_dim = start_dim, 0
    if x.ndim == 0:
        return unshared(reshape(x, 1, order), x)
    first, last = (axis_number("flatten", axis, x.ndim) for axis in (start_dim, end_dim))
    if last < first:
        raise ShapeError(f"flatten: end_dim {end_dim} comes before start_dim {start_dim}")
    if last - first + 1 == x.ndim:
        return unshared(reshape(x, -1, order), x)
    if order != "C":
        raise ArgumentError(f"flatten: order {order!r} is for all axes together")
    size = math.prod(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], size, *x.shape[last + 1 :]))


def transpose(x: Any, /, axes: SupportsIndex | Sequence[int] | None = None) -> Tensor:
    """The axes in another order: reversed, or as ``axes`` lists them (also ``permute_dims``)."""
    if axes is None:
        return OPS["transpose"](x, None)
    listed = axes if isinstance(axes, Sequence | np.ndarray) else (axes,)  # one axis, of a vector
    return OPS["transpose"](x, tuple(int(axis) for axis in listed))


def matrix_transpose(x: Any, /) -> Tensor:
    """The last two axes exchanged."""
    return swapaxes(with_axes("matrix_transpose", x, "two axes or more", 2), -1, -2)


def swapaxes(x: Any, /, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged."""
    x = as_tensor(x)
    order = list(range(x.ndim))
    one, two = (axis_number("swapaxes", axis, x.ndim) for axis in (axis1, axis2))
    order[one], order[two] = two, one
    return transpose(x, order)


def moveaxis(x: Any, /, source: Any, destination: Any) -> Tensor:
    """Axes moved to other positions; the others keep their order."""
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
    """New axes of size 1 at the positions ``axis`` of the result (PyTorch's ``unsqueeze``)."""
    x = as_tensor(x)
    count = len(axis) if isinstance(axis, tuple | list) else 1
    new_axes = axis_numbers("expand_dims", axis, x.ndim + count)
    sizes = iter(x.shape)
    return reshape(x, [1 if i in new_axes else next(sizes) for i in range(x.ndim + count)])


def squeeze(x: Any, /, axis: Any = None) -> Tensor:
    """Without axes of size 1: all of them, or those in ``axis``."""
    x = as_tensor(x)
    if axis is None:
        return reshape(x, [size for size in x.shape if size != 1])
    if not x.ndim and axis in (0, -1):
        return reshape(x, ())  # NumPy takes these axes of a number
    dropped = axis_numbers("squeeze", axis, x.ndim)
    for number in dropped:
        if x.shape[number] != 1:
            raise ShapeError(f"squeeze: axis {number} of shape {x.shape} does not have size 1")
    return reshape(x, [size for i, size in enumerate(x.shape) if i not in dropped])


# Joining and repeating.


def pieces(name: str, arrays: Any) -> list[Tensor]:
    """Arrays to be joined, one or more; those of an array are its rows."""
    if isinstance(arrays, Tensor) or hasattr(arrays, "ndim"):
        arrays = list(as_tensor(arrays))
    if not arrays:
        raise ShapeError(f"{name}: expected at least one array, got none")
    return together(*arrays)


def _same_rank(name: str, arrays: Any, equal: bool) -> list[Tensor]:
    tensors = pieces(name, arrays)
    shapes = [tensor.shape for tensor in tensors]
    if (len(set(shapes)) if equal else len({len(shape) for shape in shapes})) > 1:
        expected = "equal shapes" if equal else "equal numbers of axes"
        raise ShapeError(f"{name}: expected {expected}, got {', '.join(map(str, shapes))}")
    return tensors


def concat(arrays: Sequence[Any], /, axis: int | None = 0) -> Tensor:
    """Arrays joined along an existing axis (also ``concatenate``); None ravels them first.

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
    """Copies of x joined, ``reps`` along each axis."""
    x = as_tensor(x)
    times = (reps,) if isinstance(reps, int | np.integer) else tuple(reps)
    rank = max(x.ndim, len(times))
    times = (1,) * (rank - len(times)) + times
    shape = (1,) * (rank - x.ndim) + x.shape
    apart = reshape(x, [size for n in shape for size in (1, n)])
    spread = [size for pair in zip(times, shape, strict=True) for size in pair]
    repeated = OPS["broadcast_to"](apart, tuple(spread))
    return unshared(reshape(repeated, [n * m for n, m in zip(times, shape, strict=True)]), x)


def repeat(x: Any, /, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element repeated along an axis; ``repeats`` is a number, or one for each element."""
    x, axis = raveled_or_along("repeat", x, axis)
    if isinstance(repeats, int | np.integer):
        apart = expand_dims(x, axis + 1)
        apart = OPS["broadcast_to"](apart, with_size(apart.shape, axis + 1, int(repeats)))
        return unshared(reshape(apart, with_size(x.shape, axis, x.shape[axis] * int(repeats))), x)
    counts = to_numpy(repeats.data) if isinstance(repeats, Tensor) else np.asarray(repeats)
    if counts.shape not in ((1,), (x.shape[axis],)):
        raise ShapeError(
            f"repeat: expected {x.shape[axis]} repeats for axis {axis}, got shape {counts.shape}"
        )
    positions = np.repeat(np.arange(x.shape[axis]), counts)
    return _elements(x, positions, axis)


def raveled_or_along(name: str, x: Any, axis: Any) -> tuple[Tensor, int]:
    """x and its axis, counted from the front; for None the raveled x and 0.

    A number has an axis 0, also named -1, as a vector of one element: so it is in NumPy.
    """
    x = as_tensor(x)
    if axis is None or (not x.ndim and axis in (0, -1)):
        return ravel(x), 0
    return x, axis_number(name, axis, x.ndim)


def slices(x: Tensor, axis: int, *edges: int | None) -> Tensor:
    """x[start:stop:step] along an axis that is counted from the front."""
    return getitem(x, (slice(None),) * axis + (slice(*edges),))


def _elements(x: Tensor, numbers: np.ndarray, axis: int) -> Tensor:
    """The elements of x at positions along an axis, which are a host array."""
    return getitem(x, (slice(None),) * axis + (x.device.send(numbers),))


def fliplr(x: Any, /) -> Tensor:
    """The columns in reverse order: x flipped along its second axis."""
    return OPS["flip"](with_axes("fliplr", x, "2 axes or more", 2), axis=1)


def flipud(x: Any, /) -> Tensor:
    """The rows in reverse order: x flipped along its first axis."""
    return OPS["flip"](with_axes("flipud", x, "1 axis or more", 1), axis=0)


def rot90(x: Any, /, k: int = 1, axes: Sequence[int] = (0, 1)) -> Tensor:
    """x rotated ``k`` times by 90 degrees, from the first of two axes to the second."""
    x = as_tensor(x)
    if len(axes) != 2:
        raise ShapeError(f"rot90: expected two axes, got {tuple(axes)}")
    first, second = (axis_number("rot90", axis, x.ndim) for axis in axes)
    if first == second:
        raise ShapeError(f"rot90: expected two different axes, got {tuple(axes)}")
    turns = k % 4
    if turns == 2:
        return OPS["flip"](x, axis=(first, second))
    if turns == 1:
        return swapaxes(OPS["flip"](x, axis=second), first, second)
    if turns == 3:
        return OPS["flip"](swapaxes(x, first, second), axis=second)
    return x


def rollaxis(x: Any, /, axis: int, start: int = 0) -> Tensor:
    """One axis moved before the axis ``start``; `moveaxis` is easier to read."""
    x = as_tensor(x)
    axis = axis_number("rollaxis", axis, x.ndim)
    if not -x.ndim <= start <= x.ndim:
        raise ShapeError(f"rollaxis: start {start} is out of range for {x.ndim} axes")
    start = start + x.ndim if start < 0 else start
    return moveaxis(x, axis, start - 1 if axis < start else start)


def append(x: Any, /, values: Any, axis: int | None = None) -> Tensor:
    """x with ``values`` after it along an axis; both raveled where axis is None."""
    return concat(together(x, values), axis=axis)


def _positions(name: str, obj: Any, size: int, last: int) -> Any:
    """An index along an axis, up to the position ``last``, as a host array of positions."""
    if isinstance(obj, slice):
        return np.arange(*obj.indices(size))
    positions = np.asarray(obj.numpy() if isinstance(obj, Tensor) else obj)
    if positions.dtype == np.bool_:
        if positions.shape != (size,):
            raise ShapeError(f"{name}: expected a mask of {size} elements, got {positions.shape}")
        return np.flatnonzero(positions)
    if positions.size == 0:
        return np.zeros(0, np.int64)
    if positions.dtype.kind not in "iu":
        raise ShapeError(f"{name}: expected whole numbers, a mask or a slice, got {obj!r}")
    if positions.min() < -size or positions.max() > last:
        raise ShapeError(f"{name}: index {obj!r} is out of range for {size} elements")
    return np.where(positions < 0, positions + size, positions)


def delete(x: Any, /, obj: Any, axis: int | None = None) -> Tensor:
    """x without the elements at ``obj``: numbers, a mask or a slice. Waits for the device."""
    x, axis = raveled_or_along("delete", x, axis)
    size = x.shape[axis]
    stays = np.ones(size, bool)
    stays[_positions("delete", obj, size, size - 1)] = False
    return _elements(x, np.flatnonzero(stays), axis)


def insert(x: Any, /, obj: Any, values: Any, axis: int | None = None) -> Tensor:
    """x with ``values`` before the elements at ``obj``: a number, numbers, a mask or a slice.

    Positions count elements of x; ``values`` broadcast to them. Waits for the device.

    >>> import gpugrad as gg
    >>> gg.insert(gg.arange(3), [0, 2], 9)
    tensor([9, 0, 1, 9, 2])
    """
    x, values = together(x, values)
    x, axis = raveled_or_along("insert", x, axis)
    size = x.shape[axis]
    positions = _positions("insert", obj, size, size)
    if positions.size == 1:
        # NumPy's rule: at one position, the values have their own length along the axis.
        values = reshape(values, (1,) * (x.ndim - values.ndim) + values.shape)
        if positions.ndim == 0:
            values = moveaxis(values, 0, axis)
    count = values.shape[axis] if positions.size == 1 else positions.size
    block = OPS["broadcast_to"](values, with_size(x.shape, axis, count)).astype(x.dtype)
    if positions.size == 1:
        at = positions.item()
        return concat([slices(x, axis, None, at), block, slices(x, axis, at, None)], axis=axis)
    keys = np.concatenate([np.arange(size) + 0.5, np.ravel(positions)])
    return _elements(concat([x, block], axis=axis), np.argsort(keys, kind="stable"), axis)


def resize(x: Any, /, new_shape: int | Sequence[int]) -> Tensor:
    """The elements of x in another shape, repeated from the start until it is full."""
    x = ravel(x)
    sizes = [new_shape] if isinstance(new_shape, int) else new_shape
    shape = tuple(int(size) for size in sizes)
    if any(size < 0 for size in shape):
        raise ShapeError(f"resize: expected sizes of 0 or more, got {shape}")
    size = math.prod(shape)
    if x.size == 0 and size:
        raise ShapeError(f"resize: no elements to fill shape {shape} with")
    if size == 0:
        return reshape(x[:0], shape)
    return reshape(tile(x, -(-size // x.size))[:size], shape)


def trim_zeros(x: Any, /, trim: str = "fb", axis: Any = None) -> Tensor:
    """x without the zeros at its front, its back or both, along all axes or some.

    Waits for the device.

    >>> import gpugrad as gg
    >>> gg.trim_zeros(gg.tensor([0.0, 0.0, 1.0, 0.0, 2.0, 0.0]))
    tensor([1., 0., 2.])
    """
    x = as_tensor(x)
    sides = str(trim).lower()
    if sides not in ("f", "b", "fb", "bf"):
        raise ArgumentError(f"trim_zeros: expected trim 'f', 'b' or 'fb', got {trim!r}")
    nonzero = (x.detach() != 0).cpu().numpy()
    index = [slice(None)] * x.ndim
    for one in all_or_numbers("trim_zeros", axis, x.ndim):
        used = np.flatnonzero(nonzero.any(axis=tuple(i for i in range(x.ndim) if i != one)))
        if not used.size:
            index[one] = slice(0, 0)
            continue
        first = int(used[0]) if "f" in sides else None
        index[one] = slice(first, int(used[-1]) + 1 if "b" in sides else None)
    return x[tuple(index)]
