"""Whole numbers: grids of them, indices of triangles and diagonals, numbers of elements, bits.

Imports functions, joining, creation and core. None of these has a gradient. New arrays come on the
default device unless ``device`` names another; those made for an array are where it is.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.backend.device import Device, default_device
from gpugrad.errors import ArgumentError, DTypeError, IndexingError, ShapeError
from gpugrad.functions.manipulation import moveaxis, reshape
from gpugrad.functions.operands import axis_numbers
from gpugrad.tensor import creation
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.creation import as_tensor
from gpugrad.tensor.table import OPS

__all__ = [
    "diag_indices", "diag_indices_from", "fromfunction", "identity", "indices", "ix_",
    "mask_indices", "packbits", "ravel_multi_index", "tril_indices", "tril_indices_from",
    "trim_zeros", "triu_indices", "triu_indices_from", "unpackbits", "unravel_index",
]  # fmt: skip


def _sent(arrays: Any, device: Any) -> tuple[Tensor, ...]:
    """Arrays of the host as tensors on a device, or on the default one."""
    place = default_device() if device is None else Device(device)
    return tuple(Tensor(place.send(array)) for array in arrays)


# Grids and triangles.


def identity(n: int, dtype: Any = None, *, device: Any = None) -> Tensor:
    """A square matrix with ones on its diagonal and zeros elsewhere."""
    return creation.eye(n, dtype=dtype, device=device)


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
    made: Any = np.indices(tuple(dimensions), dtype=dtype, sparse=sparse)  # type: ignore[call-overload]
    return _sent(made, device) if sparse else _sent([made], device)[0]


def fromfunction(
    function: Callable[..., Any], shape: Sequence[int], *, dtype: Any = None, **kwargs: Any
) -> Any:
    """What a function gives of the coordinates of an array of a shape, one tensor for each axis.

    It is called once, with whole arrays; the coordinates have the default dtype unless ``dtype``
    is given.

    >>> import gpugrad as gg
    >>> gg.fromfunction(lambda i, j: i - j, (2, 3))
    tensor([[ 0., -1., -2.],
            [ 1.,  0., -1.]])
    """
    kind = creation.get_default_dtype() if dtype is None else dtype
    return function(*indices(shape, dtype=kind), **kwargs)


def diag_indices(n: int, ndim: int = 2, *, device: Any = None) -> tuple[Tensor, ...]:
    """The index of the diagonal of an array of ``ndim`` axes of size n."""
    return _sent(np.diag_indices(n, ndim), device)


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
    """The index of what lies at and below the diagonal ``k`` of a matrix of n rows, m columns."""
    return _sent(np.tril_indices(n, k, m), device)


def triu_indices(
    n: int, k: int = 0, m: int | None = None, *, device: Any = None
) -> tuple[Tensor, ...]:
    """The index of what lies at and above the diagonal ``k`` of a matrix of n rows, m columns."""
    return _sent(np.triu_indices(n, k, m), device)


def _matrix(name: str, x: Any) -> Tensor:
    x = as_tensor(x)
    if x.ndim != 2:
        raise ShapeError(f"{name}: expected a matrix, got shape {x.shape}")
    return x


def tril_indices_from(x: Any, /, k: int = 0) -> tuple[Tensor, ...]:
    """The index of what lies at and below the diagonal ``k`` of a matrix."""
    x = _matrix("tril_indices_from", x)
    return tril_indices(x.shape[0], k, x.shape[1], device=x.device)


def triu_indices_from(x: Any, /, k: int = 0) -> tuple[Tensor, ...]:
    """The index of what lies at and above the diagonal ``k`` of a matrix."""
    x = _matrix("triu_indices_from", x)
    return triu_indices(x.shape[0], k, x.shape[1], device=x.device)


def mask_indices(n: int, mask_func: Callable[..., Any], k: Any = 0) -> tuple[Tensor, ...]:
    """The index of what ``mask_func(ones, k)`` leaves of a square matrix of ones.

    Waits for the device.

    >>> import gpugrad as gg
    >>> rows, columns = gg.mask_indices(2, gg.triu)
    >>> rows, columns
    (tensor([0, 0, 1]), tensor([0, 1, 1]))
    """
    mask = as_tensor(mask_func(creation.ones((n, n)), k))
    return tuple(Tensor(places) for places in mask.detach().data.nonzero())


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
        part = creation.asarray(one).detach()
        if part.ndim != 1:
            raise ShapeError(f"ix_: expected vectors, got shape {part.shape}")
        if part.dtype == np.bool_:
            part = Tensor(part.data.nonzero()[0])
        elif part.size == 0:
            part = part.astype("int64")
        parts.append(reshape(part, [-1 if j == i else 1 for j in range(len(args))]))
    return tuple(parts)


def trim_zeros(x: Any, /, trim: str = "fb", axis: Any = None) -> Tensor:
    """x without the zeros at its front, its back or both, along all axes or some.

    The gradient of what stays goes through. Waits for the device.

    >>> import gpugrad as gg
    >>> gg.trim_zeros(gg.tensor([0.0, 0.0, 1.0, 0.0, 2.0, 0.0]))
    tensor([1., 0., 2.])
    """
    x = as_tensor(x)
    sides = str(trim).lower()
    if sides not in ("f", "b", "fb", "bf"):
        raise ArgumentError(f"trim_zeros: expected trim 'f', 'b' or 'fb', got {trim!r}")
    axes = tuple(range(x.ndim)) if axis is None else axis_numbers("trim_zeros", axis, x.ndim)
    there = (x.detach() != 0).cpu().numpy()
    index = [slice(None)] * x.ndim
    for one in axes:
        used = np.flatnonzero(there.any(axis=tuple(i for i in range(x.ndim) if i != one)))
        if not used.size:
            index[one] = slice(0, 0)
            continue
        first = int(used[0]) if "f" in sides else None
        index[one] = slice(first, int(used[-1]) + 1 if "b" in sides else None)
    return x[tuple(index)]


# Numbers of elements.


def _strides(name: str, dims: Sequence[int], order: str) -> list[int]:
    """How far apart in a raveled array of these sizes the neighbours along each axis are."""
    if order not in ("C", "F"):
        raise ArgumentError(f"{name}: expected order 'C' or 'F', got {order!r}")
    if order == "C":
        return [math.prod(dims[i + 1 :]) for i in range(len(dims))]
    return [math.prod(dims[:i]) for i in range(len(dims))]


def _whole(name: str, x: Any) -> Tensor:
    x = creation.asarray(x).detach()
    if x.dtype.kind not in "iu":
        raise DTypeError(f"{name}: expected whole numbers, got {x.dtype}")
    return x.astype("int64")


def ravel_multi_index(
    multi_index: Sequence[Any], dims: Sequence[int], mode: Any = "raise", order: str = "C"
) -> Tensor:
    """The number of each element in a raveled array of sizes ``dims``, by its index.

    ``mode``, or one for each axis, says what to do with an index that is out of range: "raise"
    IndexingError, for which the host waits, "wrap" it or "clip" it.

    >>> import gpugrad as gg
    >>> gg.ravel_multi_index(([1, 0], [2, 1]), (2, 3))
    tensor([5, 1])
    """
    parts = [_whole("ravel_multi_index", part) for part in multi_index]
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
    numbers = _whole("unravel_index", indices)
    sizes = tuple(shape) if isinstance(shape, Sequence) else (int(shape),)
    count = math.prod(sizes)
    if bool(((numbers < 0) | (numbers >= count)).any()):
        raise IndexingError(f"unravel_index: a number is not from 0 to {count - 1}")
    return tuple(
        (numbers // stride) % size
        for size, stride in zip(sizes, _strides("unravel_index", sizes, order), strict=True)
    )


# Bits.


def _shifts(name: str, x: Tensor, bitorder: str) -> Tensor:
    """By how much each of eight bits is shifted in its byte, on the device of x."""
    if bitorder not in ("big", "little"):
        raise ArgumentError(f"{name}: expected bitorder 'big' or 'little', got {bitorder!r}")
    places = np.arange(8, dtype=np.uint8)
    return _sent([places if bitorder == "little" else places[::-1].copy()], x.device)[0]


def packbits(x: Any, /, axis: int | None = None, bitorder: str = "big") -> Tensor:
    """Truth values, or what is not 0, as the bits of bytes, along an axis or raveled.

    >>> import gpugrad as gg
    >>> gg.packbits(gg.asarray([1, 0, 0, 0, 0, 0, 0, 1, 1]))
    tensor([129, 128], dtype=uint8)
    """
    x = creation.asarray(x).detach()
    if x.dtype.kind not in "iub":
        raise DTypeError(f"packbits: expected whole numbers or truth values, got {x.dtype}")
    shifts = _shifts("packbits", x, bitorder)
    x, axis = (reshape(x, -1), 0) if axis is None else (x, axis)
    bits = moveaxis((x != 0).astype(np.uint8), axis, -1)
    more = -bits.shape[-1] % 8
    bits = OPS["pad_zeros"](bits, pad_width=((0, 0),) * (bits.ndim - 1) + ((0, more),))
    bits = reshape(bits, (*bits.shape[:-1], bits.shape[-1] // 8, 8))
    return moveaxis(OPS["sum"](bits << shifts, axis=-1).astype(np.uint8), -1, axis)


def unpackbits(
    x: Any, /, axis: int | None = None, count: int | None = None, bitorder: str = "big"
) -> Tensor:
    """The bits of bytes, as 0 and 1 of dtype uint8, along an axis or raveled.

    ``count`` is how many of them to give, zeros after the last; a negative one leaves so many away.
    """
    x = creation.asarray(x).detach()
    if x.dtype != np.uint8:
        raise DTypeError(f"unpackbits: expected dtype uint8, got {x.dtype}")
    shifts = _shifts("unpackbits", x, bitorder)
    x, axis = (reshape(x, -1), 0) if axis is None else (x, axis)
    bits = (moveaxis(x, axis, -1)[..., None] >> shifts) & np.uint8(1)
    bits = reshape(bits, (*bits.shape[:-2], 8 * bits.shape[-2]))
    if count is not None:
        more = max(count - bits.shape[-1], 0)
        bits = OPS["pad_zeros"](bits, pad_width=((0, 0),) * (bits.ndim - 1) + ((0, more),))
        bits = bits[..., :count]
    return moveaxis(bits, -1, axis)
