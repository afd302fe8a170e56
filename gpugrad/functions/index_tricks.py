"""Grids of whole numbers, and indices of triangles, diagonals and flat arrays.

Imports manipulation, operands, stride_tricks and tensor. Only `meshgrid`, `fill_diagonal`, `r_` and
`c_` have a gradient. New arrays are created on the default device unless ``device`` names another,
or on that of an operand.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.backend.device import Device, default_device
from gpugrad.errors import ArgumentError, DTypeError, IndexingError, ShapeError
from gpugrad.functions.manipulation import concat, ravel, reshape, tile
from gpugrad.functions.operands import (
    along_axis,
    beside,
    together,
    with_axes,
    without_lists,
    xp_of,
)
from gpugrad.functions.stride_tricks import broadcast_arrays
from gpugrad.tensor import OPS, Tensor, as_tensor, creation
from gpugrad.tensor.assign import index_update

__all__ = [
    "diag_indices", "diag_indices_from", "fill_diagonal", "indices", "ix_", "mask_indices",
    "meshgrid", "ravel_multi_index", "tril_indices", "tril_indices_from", "triu_indices",
    "triu_indices_from", "unravel_index",
]  # fmt: skip


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
    order = list(range(len(arrays)))
    if indexing == "xy" and len(order) > 1:
        order[:2] = 1, 0
    grids: Sequence[Tensor] = [
        along_axis(with_axes("meshgrid", x, "vectors", 0, 1), axis, len(order))
        for axis, x in zip(order, arrays, strict=True)
    ]
    if not sparse:
        grids = broadcast_arrays(*grids)
    return tuple(grid.copy() for grid in grids) if copy else tuple(grids)


def from_host(arrays: Any, device: Any) -> tuple[Tensor, ...]:
    """Host arrays as tensors on a device, by default the default device."""
    target = default_device() if device is None else Device(device)
    return tuple(Tensor(target.send(array)) for array in arrays)


def indices(
    dimensions: Sequence[int], dtype: Any = np.int64, sparse: bool = False, *, device: Any = None
) -> Any:
    """For each axis of an array of these sizes, the number of each element along it.

    One array whose first axis counts the axes, or with ``sparse`` a tuple of arrays that
    broadcast to them.

    >>> import gpugrad as gg
    >>> gg.indices((2, 3))[1]
    tensor([[0, 1, 2],
            [0, 1, 2]])
    """
    if not isinstance(dimensions, Sequence):
        raise ShapeError(f"indices: expected the sizes of all axes, got {dimensions!r}")
    grids: Any = np.indices(tuple(dimensions), dtype=dtype, sparse=sparse)  # type: ignore[call-overload]
    return from_host(grids, device) if sparse else from_host([grids], device)[0]


def diag_indices(n: int, ndim: int = 2, *, device: Any = None) -> tuple[Tensor, ...]:
    """The index of the diagonal of an array of ``ndim`` axes of size n."""
    return from_host(np.diag_indices(n, ndim), device)


def diag_indices_from(x: Any, /) -> tuple[Tensor, ...]:
    """The index of the diagonal of an array, whose axes have one size."""
    x = as_tensor(x)
    if x.ndim < 2 or len(set(x.shape)) > 1:
        raise ShapeError(
            f"diag_indices_from: expected two axes or more of one size, got shape {x.shape}"
        )
    return diag_indices(x.shape[0], x.ndim, device=x.device)


def tril_indices(
    n: int, k: int = 0, m: int | None = None, *, device: Any = None
) -> tuple[Tensor, ...]:
    """The index of the elements on and below the diagonal ``k`` of an n x m matrix."""
    return from_host(np.tril_indices(n, k, m), device)


def triu_indices(
    n: int, k: int = 0, m: int | None = None, *, device: Any = None
) -> tuple[Tensor, ...]:
    """The index of the elements on and above the diagonal ``k`` of an n x m matrix."""
    return from_host(np.triu_indices(n, k, m), device)


def tril_indices_from(x: Any, /, k: int = 0) -> tuple[Tensor, ...]:
    """The index of the elements on and below the diagonal ``k`` of a matrix."""
    x = with_axes("tril_indices_from", x, "a matrix", 2, 2)
    return tril_indices(x.shape[0], k, x.shape[1], device=x.device)


def triu_indices_from(x: Any, /, k: int = 0) -> tuple[Tensor, ...]:
    """The index of the elements on and above the diagonal ``k`` of a matrix."""
    x = with_axes("triu_indices_from", x, "a matrix", 2, 2)
    return triu_indices(x.shape[0], k, x.shape[1], device=x.device)


def mask_indices(n: int, mask_func: Callable[..., Any], k: Any = 0) -> tuple[Tensor, ...]:
    """The index of the elements of a square matrix that ``mask_func(ones, k)`` does not zero.

    Waits for the device.

    >>> import gpugrad as gg
    >>> rows, columns = gg.mask_indices(2, gg.triu)
    >>> rows, columns
    (tensor([0, 0, 1]), tensor([0, 1, 1]))
    """
    mask = as_tensor(mask_func(creation.ones((n, n)), k))
    return tuple(Tensor(positions) for positions in xp_of(mask).nonzero(mask.data))


def ix_(*args: Any) -> tuple[Tensor, ...]:
    """The index of the rows, columns and so on that each of several vectors names.

    A vector of truth values names those that are true, for which the host waits.

    >>> import gpugrad as gg
    >>> x = gg.asarray([[0, 1, 2], [3, 4, 5]])
    >>> x[gg.ix_([0, 1], [2, 0])]
    tensor([[2, 0],
            [5, 3]])
    """
    parts = []
    for i, one in enumerate(args):
        part = with_axes("ix_", creation.asarray(one).detach(), "vectors", 1, 1)
        if part.dtype == np.bool_:
            part = Tensor(xp_of(part).nonzero(part.data)[0])
        elif part.size == 0:
            part = part.astype("int64")
        parts.append(along_axis(part, i, len(args)))
    return tuple(parts)


# Numbers of elements.


def _strides(name: str, dims: Sequence[int], order: str) -> list[int]:
    """The strides, in elements, of a raveled array of these sizes."""
    if order not in ("C", "F"):
        raise ArgumentError(f"{name}: expected order 'C' or 'F', got {order!r}")
    return [math.prod(dims[i + 1 :] if order == "C" else dims[:i]) for i in range(len(dims))]


def _integers(name: str, x: Any) -> Tensor:
    x = creation.asarray(x).detach()
    if x.dtype.kind not in "iu":
        raise DTypeError(f"{name}: expected whole numbers, got {x.dtype}")
    return x.astype("int64")


def ravel_multi_index(
    multi_index: Sequence[Any], dims: Sequence[int], mode: Any = "raise", order: str = "C"
) -> Tensor:
    """The number of each element in a raveled array of sizes ``dims``, by its index.

    ``mode``, or one for each axis, handles an index that is out of range: "raise" raises
    IndexingError, for which the host waits; "wrap" and "clip" change the index.

    >>> import gpugrad as gg
    >>> gg.ravel_multi_index(([1, 0], [2, 1]), (2, 3))
    tensor([5, 1])
    """
    parts = [_integers("ravel_multi_index", part) for part in multi_index]
    if len(parts) != len(dims):
        raise ShapeError(
            f"ravel_multi_index: expected {len(dims)} indices for dims {tuple(dims)}, got "
            f"{len(parts)}"
        )
    modes = (mode,) * len(parts) if isinstance(mode, str) else tuple(mode)
    strides = _strides("ravel_multi_index", dims, order)
    total: Any = 0
    for part, size, how, stride in zip(parts, dims, modes, strides, strict=True):
        if how == "wrap":
            part = part % size
        elif how == "clip":
            part = OPS["clip"](part, 0, size - 1)
        elif how != "raise":
            raise ArgumentError(
                f"ravel_multi_index: expected mode 'raise', 'wrap' or 'clip', got {how!r}"
            )
        elif bool(((part < 0) | (part >= size)).any()):
            raise IndexingError(f"ravel_multi_index: an index is not from 0 to {size - 1}")
        total = total + part * stride
    return as_tensor(total)


def unravel_index(indices: Any, shape: int | Sequence[int], order: str = "C") -> tuple[Tensor, ...]:
    """The index of elements of an array of a shape, by their numbers in the raveled array.

    IndexingError for numbers that are out of range, for which the host waits.

    >>> import gpugrad as gg
    >>> gg.unravel_index([5, 1], (2, 3))
    (tensor([1, 0]), tensor([2, 1]))
    """
    numbers = _integers("unravel_index", indices)
    sizes = tuple(shape) if isinstance(shape, Sequence) else (int(shape),)
    count = math.prod(sizes)
    if bool(((numbers < 0) | (numbers >= count)).any()):
        raise IndexingError(f"unravel_index: a number is not from 0 to {count - 1}")
    return tuple(
        (numbers // stride) % size
        for size, stride in zip(sizes, _strides("unravel_index", sizes, order), strict=True)
    )


def fill_diagonal(x: Any, /, val: Any, wrap: bool = False) -> Tensor:
    """A copy of x with ``val`` on its diagonal: a number, or one for each element.

    The axes of x have one size, if there are more than two. With ``wrap`` the diagonal of a tall
    matrix starts again below its end. `numpy.fill_diagonal` changes its array and returns None;
    so it does for a tensor, too.

    >>> import gpugrad as gg
    >>> gg.fill_diagonal(gg.zeros((2, 3)), gg.tensor([1.0, 2.0]))
    tensor([[1., 0., 0.],
            [0., 2., 0.]])
    """
    x = as_tensor(without_lists(x, val)[0])
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


class Joined:
    """NumPy's ``r_`` or ``c_`` over tensors: what stands in the brackets, joined along an axis.

    NumPy's object joins the positions of the elements, not the elements, so all of its rules hold.

    >>> import gpugrad as gg
    >>> gg.r_[gg.tensor([1.0, 2.0]), 0, [3, 4]]
    tensor([1., 2., 0., 3., 4.])
    >>> gg.c_[gg.arange(2), gg.arange(2, 4)].tolist()
    [[0, 2], [1, 3]]
    """

    def __init__(self, of_numpy: Any) -> None:
        self._of_numpy = of_numpy

    def __getitem__(self, key: Any) -> Tensor:
        items = key if isinstance(key, tuple) else (key,)
        home = next((item.device for item in items if isinstance(item, Tensor)), default_device())
        arrays = [home.send(np.r_[one]) if isinstance(one, slice) else one for one in items]
        tensors = together(*(item for item in arrays if not isinstance(item, str)))
        remaining, start = iter(tensors), 0
        positions: list[Any] = []
        for item in arrays:
            if isinstance(item, str):  # such as "0,2": how NumPy is to join
                positions.append(item)
                continue
            x = next(remaining)
            positions.append(start + np.arange(x.size).reshape(x.shape))
            start += x.size
        flat = concat(tensors, axis=None)
        return flat[flat.device.send(np.asarray(self._of_numpy[tuple(positions)]))]


r_ = Joined(np.r_)
c_ = Joined(np.c_)
