"""Joining, cutting and turning arrays: compositions of functions.py.

Imports functions, creation and core. Names, argument orders and results are NumPy's; what NumPy
returns as a list is a tuple here.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.manipulation import (
    concat,
    getitem,
    moveaxis,
    ravel,
    reshape,
    swapaxes,
    take,
    tile,
)
from gpugrad.functions.operands import axis_number, together
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.creation import as_tensor
from gpugrad.tensor.table import OPS

__all__ = [
    "append", "array_split", "atleast_1d", "atleast_2d", "atleast_3d", "block", "column_stack",
    "delete", "dsplit", "dstack", "fliplr", "flipud", "hsplit", "hstack", "insert", "meshgrid",
    "resize", "rollaxis", "rot90", "row_stack", "vsplit", "vstack",
]  # fmt: skip


def slices(x: Tensor, axis: int, *edges: int | None) -> Tensor:
    """x[start:stop:step] along an axis that is counted from the front."""
    return getitem(x, (slice(None),) * axis + (slice(*edges),))


def _several(arrays: tuple[Any, ...], one: Any) -> Any:
    made = tuple(one(as_tensor(array)) for array in arrays)
    return made[0] if len(made) == 1 else made


def atleast_1d(*arrays: Any) -> Any:
    """x with one axis if it has none; a tuple for several arrays."""
    return _several(arrays, lambda x: x if x.ndim else reshape(x, 1))


def atleast_2d(*arrays: Any) -> Any:
    """x with new axes before its own until it has two; a tuple for several arrays."""
    return _several(
        arrays, lambda x: x if x.ndim > 1 else reshape(x, (1,) * (2 - x.ndim) + x.shape)
    )


def atleast_3d(*arrays: Any) -> Any:
    """x with three axes or more; a tuple for several arrays.

    As in NumPy a vector becomes (1, n, 1) and a matrix (m, n, 1).

    >>> import gpugrad as gg
    >>> gg.atleast_3d(gg.ones(2)).shape, gg.atleast_3d(gg.ones((2, 3))).shape
    ((1, 2, 1), (2, 3, 1))
    """

    def one(x: Tensor) -> Tensor:
        if x.ndim > 2:
            return x
        return reshape(x, (*x.shape, 1) if x.ndim == 2 else (1, *(x.shape or (1,)), 1))

    return _several(arrays, one)


def _pieces(name: str, arrays: Any) -> list[Tensor]:
    if isinstance(arrays, Tensor) or hasattr(arrays, "ndim"):
        arrays = list(as_tensor(arrays))
    if not arrays:
        raise ShapeError(f"{name}: expected at least one array, got none")
    return together(*arrays)


def hstack(tup: Sequence[Any]) -> Tensor:
    """Arrays joined along their second axis; along the first where they have one."""
    pieces = [atleast_1d(piece) for piece in _pieces("hstack", tup)]
    return concat(pieces, axis=0 if pieces[0].ndim == 1 else 1)


def vstack(tup: Sequence[Any]) -> Tensor:
    """Arrays joined along their first axis; vectors become rows."""
    return concat([atleast_2d(piece) for piece in _pieces("vstack", tup)], axis=0)


row_stack = vstack


def dstack(tup: Sequence[Any]) -> Tensor:
    """Arrays joined along their third axis, made by `atleast_3d`."""
    return concat([atleast_3d(piece) for piece in _pieces("dstack", tup)], axis=2)


def column_stack(tup: Sequence[Any]) -> Tensor:
    """Vectors, as columns, and matrices joined along the second axis."""
    pieces = _pieces("column_stack", tup)
    return concat([p if p.ndim > 1 else reshape(p, (p.size, 1)) for p in pieces], axis=1)


def block(arrays: Any) -> Tensor:
    """An array of blocks: nested lists of them, the innermost joined along the last axis.

    >>> import gpugrad as gg
    >>> gg.block([[gg.ones((2, 2)), gg.zeros((2, 1))], [gg.zeros((1, 2)), gg.full((1, 1), 5.0)]])
    tensor([[1., 1., 0.],
            [1., 1., 0.],
            [0., 0., 5.]])
    """
    found: list[Any] = []
    depth = _depth(arrays, found)
    leaves = together(*found)
    rank = max(depth, *(leaf.ndim for leaf in leaves))
    rest = iter(leaves)

    def joined(part: Any, level: int) -> Tensor:
        if level:
            return concat([joined(one, level - 1) for one in part], axis=-level)
        leaf = next(rest)
        return reshape(leaf, (1,) * (rank - leaf.ndim) + leaf.shape)

    return joined(arrays, depth)


def _depth(part: Any, found: list[Any]) -> int:
    """How deep lists are nested; what they hold is added to ``found``."""
    if isinstance(part, tuple):
        raise DTypeError("block: expected lists of arrays, got a tuple")
    if not isinstance(part, list):
        found.append(part)
        return 0
    depths = {_depth(one, found) for one in part}
    if len(depths) != 1:
        what = "lists nested to one depth" if depths else "lists with arrays in them"
        raise ShapeError(f"block: expected {what}, got depths {sorted(depths)}")
    return depths.pop() + 1


def array_split(x: Any, /, indices_or_sections: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """x cut along an axis: into pieces as equal as can be, the first longer, or at given places.

    >>> import gpugrad as gg
    >>> [len(piece) for piece in gg.array_split(gg.arange(5), 3)]
    [2, 2, 1]
    """
    x = as_tensor(x)
    axis = axis_number("array_split", axis, x.ndim)
    if hasattr(indices_or_sections, "__index__"):
        count = int(indices_or_sections)
        if count < 1:
            raise ShapeError(f"array_split: expected one piece or more, got {count}")
        least, longer = divmod(x.shape[axis], count)
        sizes = [least + (i < longer) for i in range(count)]
        cuts = tuple(int(cut) for cut in np.cumsum(sizes)[:-1])
    else:
        cuts = tuple(int(cut) for cut in indices_or_sections)
    return OPS["split"](x, cuts, axis=axis)


def _split(name: str, x: Any, sections: Any, axis: int) -> tuple[Tensor, ...]:
    x = as_tensor(x)
    if x.ndim <= axis:
        raise ShapeError(f"{name}: expected {axis + 1} axes or more, got shape {x.shape}")
    if hasattr(sections, "__index__"):
        return OPS["split"](x, int(sections), axis=axis)
    return OPS["split"](x, tuple(int(cut) for cut in sections), axis=axis)


def hsplit(x: Any, /, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x cut along its second axis, or its only one; see `split`."""
    x = as_tensor(x)
    if x.ndim == 0:
        raise ShapeError("hsplit: expected 1 axis or more, got shape ()")
    return _split("hsplit", x, indices_or_sections, 0 if x.ndim == 1 else 1)


def vsplit(x: Any, /, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x, of two axes or more, cut along its first axis; see `split`."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"vsplit: expected 2 axes or more, got shape {x.shape}")
    return _split("vsplit", x, indices_or_sections, 0)


def dsplit(x: Any, /, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x, of three axes or more, cut along its third axis; see `split`."""
    return _split("dsplit", x, indices_or_sections, 2)


def fliplr(x: Any, /) -> Tensor:
    """The columns in reverse order: x flipped along its second axis."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"fliplr: expected 2 axes or more, got shape {x.shape}")
    return OPS["flip"](x, axis=1)


def flipud(x: Any, /) -> Tensor:
    """The rows in reverse order: x flipped along its first axis."""
    x = as_tensor(x)
    if x.ndim < 1:
        raise ShapeError("flipud: expected 1 axis or more, got shape ()")
    return OPS["flip"](x, axis=0)


def rot90(x: Any, /, k: int = 1, axes: Sequence[int] = (0, 1)) -> Tensor:
    """x turned ``k`` times by 90 degrees, from the first of two axes to the second."""
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
    """One axis moved before the axis ``start``; `moveaxis` says it more plainly."""
    x = as_tensor(x)
    axis = axis_number("rollaxis", axis, x.ndim)
    if not -x.ndim <= start <= x.ndim:
        raise ShapeError(f"rollaxis: start {start} is out of range for {x.ndim} axes")
    start = start + x.ndim if start < 0 else start
    return moveaxis(x, axis, start - 1 if axis < start else start)


def meshgrid(
    *arrays: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[Tensor, ...]:
    """The coordinates of a grid, from those along each axis; with ``sparse``, in broadcast shapes.

    With ``indexing="xy"`` the first two axes are exchanged, as for plots; with "ij" they are not.
    ``copy=False`` may give views of the arrays.

    >>> import gpugrad as gg
    >>> x, y = gg.meshgrid(gg.arange(3), gg.arange(2))
    >>> x.shape, y.tolist()
    ((2, 3), [[0, 0, 0], [1, 1, 1]])
    """
    if indexing not in ("xy", "ij"):
        raise ShapeError(f"meshgrid: expected indexing 'xy' or 'ij', got {indexing!r}")
    ones = [as_tensor(array) for array in arrays]
    for x in ones:
        if x.ndim > 1:
            raise ShapeError(f"meshgrid: expected vectors, got shape {x.shape}")
    order = list(range(len(ones)))
    if indexing == "xy" and len(ones) > 1:
        order[:2] = 1, 0
    sparse_ones = []
    for place, x in zip(order, ones, strict=True):
        sparse_ones.append(reshape(x, [-1 if i == place else 1 for i in range(len(ones))]))
    if not sparse:
        shape = np.broadcast_shapes(*(x.shape for x in sparse_ones))
        sparse_ones = [OPS["broadcast_to"](x, shape) for x in sparse_ones]
    if copy:
        return tuple(OPS["astype"](x, x.dtype) for x in sparse_ones)
    return tuple(sparse_ones)


def append(x: Any, /, values: Any, axis: int | None = None) -> Tensor:
    """x with ``values`` after it along an axis; both raveled where axis is None."""
    return concat(together(x, values), axis=axis)


def _places(name: str, obj: Any, size: int) -> Any:
    """An index of elements along an axis as host numbers, counted from the front."""
    if isinstance(obj, slice):
        return np.arange(*obj.indices(size))
    found = np.asarray(obj.numpy() if isinstance(obj, Tensor) else obj)
    if found.dtype == np.bool_:
        if found.shape != (size,):
            raise ShapeError(f"{name}: expected a mask of {size} elements, got {found.shape}")
        return np.flatnonzero(found)
    if found.size == 0:
        return np.zeros(0, np.int64)
    if found.dtype.kind not in "iu":
        raise ShapeError(f"{name}: expected whole numbers, a mask or a slice, got {obj!r}")
    return found


def delete(x: Any, /, obj: Any, axis: int | None = None) -> Tensor:
    """x without the elements at ``obj``: numbers, a mask or a slice, which the host looks at."""
    x = as_tensor(x)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_number("delete", axis, x.ndim)
    size = x.shape[axis]
    places = np.ravel(_places("delete", obj, size))
    if places.size and (places.min() < -size or places.max() >= size):
        raise ShapeError(f"delete: index {obj!r} is out of range for {size} elements")
    stays = np.ones(size, bool)
    stays[places] = False
    return take(x, x.device.send(np.flatnonzero(stays)), axis)


def insert(x: Any, /, obj: Any, values: Any, axis: int | None = None) -> Tensor:
    """x with ``values`` before the elements at ``obj``: a number, numbers, a mask or a slice.

    The places count elements of x; ``values`` broadcast to them. A host decides the order.

    >>> import gpugrad as gg
    >>> gg.insert(gg.arange(3), [0, 2], 9)
    tensor([9, 0, 1, 9, 2])
    """
    x, values = together(x, values)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_number("insert", axis, x.ndim)
    size = x.shape[axis]
    places = _places("insert", obj, size)
    if places.size and (places.min() < -size or places.max() > size):
        raise ShapeError(f"insert: index {obj!r} is out of range for {size} elements")
    if places.size == 1:
        # NumPy's rule: for one place, the values bring their own length along the axis.
        values = reshape(values, (1,) * (x.ndim - values.ndim) + values.shape)
        if places.ndim == 0:
            values = moveaxis(values, 0, axis)
        shape = (*x.shape[:axis], values.shape[axis], *x.shape[axis + 1 :])
        block = OPS["broadcast_to"](values, shape).astype(x.dtype)
        at = places.item() + (size if places.item() < 0 else 0)
        return concat([slices(x, axis, None, at), block, slices(x, axis, at, None)], axis=axis)
    places = np.ravel(np.where(places < 0, places + size, places))
    shape = (*x.shape[:axis], places.size, *x.shape[axis + 1 :])
    block = OPS["broadcast_to"](values, shape).astype(x.dtype)
    order = np.argsort(np.concatenate([np.arange(size) + 0.5, places]), kind="stable")
    return take(concat([x, block], axis=axis), x.device.send(order), axis)


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
