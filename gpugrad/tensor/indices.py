"""Converts a user's index to raw arrays, and checks that it is in range.

CuPy wraps index arrays that are out of range around, silently. Here those that come from the
host (lists, NumPy arrays, Tensors on the CPU) are checked before they are sent to a device, which
costs next to nothing and raises what NumPy raises. Those that are on a device already are checked
in `gg.debug_mode` only, as the host would have to wait for them.

Imports creation, core, table, backend, the engine's modes and errors.
"""

from typing import Any
from weakref import ref

import numpy as np

from gpugrad.backend import device
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import is_debugging
from gpugrad.errors import IndexingError
from gpugrad.ops.index import is_basic, split
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.creation import as_tensor
from gpugrad.tensor.table import OPS

__all__ = [
    "beside", "check_numbers", "getitem", "index_array", "index_errors", "raw_index", "raw_part",
]  # fmt: skip
_getitem = OPS["getitem"]


def raw_index(who: str, index: Any, like: Any, keep: bool = False) -> Any:
    """An index with Tensors and lists replaced by raw arrays; with ``keep`` by copies.

    Where ``like``, the array to be indexed, is on a device, IndexingError where NumPy would
    raise on the host.
    """
    return index if is_basic(index) else _raw_index(who, index, like, keep)


def _raw_index(who: str, index: Any, like: Any, keep: bool) -> Any:
    many = isinstance(index, tuple)
    parts = [raw_part(part) for part in (index if many else (index,))]
    if not isinstance(like, np.ndarray):
        if namespace_of(like).waits and not (len(parts) == 1 and _waits(parts[0])):
            _check_index(who, parts, like.shape)
        parts = [beside(part, like) for part in parts]
    if keep:  # for a graph, which must not see later writes of the owner
        parts = [device.copied(part) if hasattr(part, "dtype") else part for part in parts]
    return tuple(parts) if many else parts[0]


def getitem(x: Any, /, index: Any) -> Tensor:
    """x[index], for every index that NumPy takes; gradients of repeated elements add up."""
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    if is_basic(index):
        result: Tensor = _getitem(x, index=index)
        if (node := result._node) is not None:
            node.tensor = ref(x)  # for in-place changes of the view
    else:
        pattern, arrays = split(_raw_index("getitem", index, x._array, x._node is not None))
        result = _getitem(x, *arrays, index=pattern)
    return result


def index_array(who: str, numbers: Any, like: Any, axis: int) -> Any:
    """Numbers along an axis of ``like`` as a raw array beside it; IndexingError as above.

    Also for a mask.
    """
    part = raw_part(numbers)
    if hasattr(part, "dtype") and part.dtype.kind == "b":
        raise IndexingError(f"{who}: expected whole numbers as indices, got a mask. Write x[mask]")
    if namespace_of(like).waits:
        check_numbers(who, part, axis, like.shape[axis])
    return beside(part, like)


class index_errors:  # noqa: N801 - a block
    """Inside this block an IndexError of an array library becomes gpugrad's IndexingError."""

    __slots__ = ("_array", "_who")

    def __init__(self, who: str, array: Any) -> None:
        self._who = who
        self._array = array

    def __enter__(self) -> None:
        pass

    def __exit__(self, error_type: type[BaseException] | None, error: Any, trace: Any) -> None:
        if isinstance(error, IndexError) and type(error) is not IndexingError:
            raise IndexingError(
                f"{self._who}: {str(error).rstrip('. ')}. The tensor has shape {self._array.shape}"
            ) from error


def check_numbers(who: str, numbers: Any, axis: int, size: int) -> None:
    """IndexingError for numbers that count no element of an axis.

    Numbers on a device are checked in `gg.debug_mode` only.
    """
    if not _is_numbers(numbers) or not numbers.size:
        return
    if _on_host(numbers) or is_debugging():
        xp = namespace_of(numbers)
        for number in (xp.min(numbers).item(), xp.max(numbers).item()):
            if not -size <= number < size:
                raise IndexingError(
                    f"{who}: index {number} is out of bounds for axis {axis} with size {size}"
                )


def _on_host(array: Any) -> bool:
    return not namespace_of(array).waits


def _is_numbers(part: Any) -> bool:
    return hasattr(part, "dtype") and part.dtype.kind in "iu"


def _waits(part: Any) -> bool:
    """Whether a part is an index array on a device that is not checked: the usual index."""
    return _is_numbers(part) and not _on_host(part) and not is_debugging()


def _is_mask(part: Any) -> bool:
    return isinstance(part, bool) or (hasattr(part, "dtype") and part.dtype.kind == "b")


def raw_part(part: Any) -> Any:
    """A part of an index, of a Tensor the raw array, of a list a NumPy array."""
    if isinstance(part, Tensor):
        return part._array
    if isinstance(part, list | tuple):
        part = np.asarray(part)
        if part.size == 0:
            part = part.astype(np.int64)
    return part


def beside(part: Any, like: Any) -> Any:
    """A NumPy array sent to the device of another array; anything else is returned itself."""
    if not isinstance(part, np.ndarray) or isinstance(like, np.ndarray | np.generic):
        return part
    return device.beside(part, like)


def _check_index(who: str, parts: list[Any], shape: tuple[int, ...]) -> None:
    """Raise what NumPy raises for these parts of an index, where that takes no waiting."""
    counts = [_axes(who, part) for part in parts]
    rest = len(shape) - sum(counts)
    if rest < 0:  # too many: the array library raises
        return
    axis = 0
    for part, count in zip(parts, counts, strict=True):
        if part is Ellipsis:
            axis += rest
        elif _is_numbers(part):
            check_numbers(who, part, axis, shape[axis])
        axis += count
    _check_broadcast(who, parts)


def _axes(who: str, part: Any) -> int:
    """The number of axes of an array that a part of an index consumes."""
    if part is None or part is Ellipsis:
        return 0
    if _is_mask(part):
        return getattr(part, "ndim", 0)
    array = hasattr(part, "dtype") and part.ndim
    if isinstance(part, (slice, int)) or array or _is_numbers(part):
        return 1  # every array library refuses other dtypes
    raise IndexingError(
        f"{who}: only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer "
        f"or boolean arrays are valid indices, got {type(part).__name__}"
    )


def _check_broadcast(who: str, parts: list[Any]) -> None:
    shapes = []
    for part in parts:
        if _is_numbers(part):
            shapes.append(part.shape)
        elif _is_mask(part):
            if not _on_host(part):
                return  # only the device knows how many elements it selects
            shapes.append((int(np.count_nonzero(part)),))
    if len(shapes) < 2:
        return
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " ".join(map(str, shapes))
        raise IndexingError(
            f"{who}: shape mismatch: indexing arrays could not be broadcast together with shapes "
            f"{listed}"
        ) from None
