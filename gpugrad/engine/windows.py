"""Where arrays lie in memory, and where two of them meet. Imports backend and errors.

Addresses, shapes and strides alone are looked at, on the host.
"""

import math
import sys
from typing import Any

import numpy as np

from gpugrad.backend.namespace import NAMESPACES
from gpugrad.errors import ArgumentError

__all__ = [
    "Window", "apart", "check_writable", "index_within", "is_same", "meet", "overlap", "repeats",
]  # fmt: skip


class Window:
    """Where the elements of an array are in memory, as numbers alone.

    ``low`` and ``high`` are the addresses of the first byte and after the last; of an empty array
    both are 0. Where nothing is known of them ``address`` is None, and the window all of memory.
    """

    __slots__ = ("address", "dtype", "high", "low", "shape", "size", "strides")

    def __init__(self, array: Any) -> None:
        self.dtype = array.dtype
        self.shape: tuple[int, ...] = array.shape
        self.size: int = array.size
        self.address: int | None = NAMESPACES[type(array)].address(array)
        self.strides: tuple[int, ...] = () if self.address is None else array.strides
        self.low, self.high = self._bounds()

    def _bounds(self) -> tuple[int, int]:
        low = self.address
        if low is None:
            return 0, sys.maxsize
        if self.size == 0:
            return 0, 0
        high = low + self.dtype.itemsize
        for size, stride in zip(self.shape, self.strides, strict=True):
            if stride < 0:
                low += (size - 1) * stride
            else:
                high += (size - 1) * stride
        return low, high

    @property
    def extent(self) -> tuple[int, int, int, int]:
        """``low``, ``high``, what all elements are apart or a multiple of it, and their bytes."""
        step = 1 if self.address is None else math.gcd(*self.steps())
        return self.low, self.high, step, self.dtype.itemsize

    def fills(self) -> bool:
        """Whether every byte between the bounds is one of an element."""
        return self.high - self.low == self.size * self.dtype.itemsize and 0 not in self.strides

    def steps(self) -> list[int]:
        """The strides of axes with more than one element."""
        return [s for size, s in zip(self.shape, self.strides, strict=True) if size > 1]


def repeats(array: Any) -> bool:
    """Whether several elements are one in memory, as after broadcasting."""
    strides = getattr(array, "strides", ())
    return (
        0 in strides
        and array.size > 0
        and any(stride == 0 and size > 1 for size, stride in zip(array.shape, strides, strict=True))
    )


def check_writable(who: str, array: Any) -> None:
    """ArgumentError where a change of one element would be a change of others, or is forbidden."""
    if repeats(array):
        raise ArgumentError(
            f"{who}: the tensor of shape {tuple(array.shape)} was made by broadcasting: several of "
            "its elements are one in memory, and would all change. Write `t = t.copy()` first"
        )
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        raise ArgumentError(
            f"{who}: the tensor of shape {array.shape} is over memory that NumPy does not write "
            "to, such as that of diagonal, sliding_window_view or a constant array. Write "
            "`t = t.copy()` first"
        )


def apart(a: Window, b: Window) -> bool:
    """Whether one window ends before the other begins: they have no common byte then.

    If not, they may have none all the same: see `meet`.
    """
    return a.high <= b.low or b.high <= a.low


def meet(a: Window, b: Window) -> bool:
    """Whether two windows have a common element; of two dtypes, whether they may have a byte."""
    if apart(a, b):
        return False
    if a.dtype != b.dtype:
        return not _between(a, b)
    for whole, part in ((a, b), (b, a)):
        ends_inside = whole.low <= part.low < whole.high or whole.low < part.high <= whole.high
        if ends_inside and whole.fills():
            return True
    return overlap(a, b) is not None


def _between(a: Window, b: Window) -> bool:
    """Whether the elements of one lie between those of the other, as those of two columns do."""
    (low, _, step, size), (other_low, _, other_step, other_size) = a.extent, b.extent
    step = math.gcd(step, other_step)
    distance = (other_low - low) % step if step else 0
    return size <= distance <= step - other_size


def is_same(a: Window, b: Window) -> bool:
    """Whether two windows have the same elements in the same order."""
    if a.shape != b.shape or a.dtype != b.dtype or a.address != b.address:
        return False
    return a.steps() == b.steps()


def index_within(window: Window, part: Window) -> Any:
    """An index without arrays at which a window has the elements of another; None if it has none.

    Found for what an index without arrays makes, if it is not empty.
    """
    if window.address is None or part.address is None or window.dtype != part.dtype:
        return None
    if window.size == 0 or part.size == 0:
        return None
    axes = [*zip(window.shape, window.strides, strict=True)]
    longest_first = sorted(range(len(axes)), key=lambda axis: -abs(axes[axis][1]))
    reach = window.dtype.itemsize
    for axis in reversed(longest_first):
        size, stride = axes[axis]
        if size > 1 and abs(stride) < reach:
            return None  # an element may be at several places
        reach += (size - 1) * abs(stride)
    places = [0] * len(axes)  # of the first element along each axis
    rest = part.address - window.low
    for axis in longest_first:
        size, stride = axes[axis]
        if size > 1:
            place, rest = divmod(rest, abs(stride))
            places[axis] = place if stride > 0 else size - 1 - place
            if not 0 <= place < size:
                return None
    if rest:
        return None
    index: list[Any] = []
    axis = 0
    for size, stride in zip(part.shape, part.strides, strict=True):
        if size == 1:
            index.append(None)
            continue
        while axis < len(axes):
            place, (own_size, own) = places[axis], axes[axis]
            step = stride // own if own_size > 1 and own else 0
            end = place + (size - 1) * step
            if step and step * own == stride and 0 <= end < own_size:
                break
            index.append(place)
            axis += 1
        else:
            return None
        stop = end + (1 if step > 0 else -1)
        index.append(slice(place, stop if stop >= 0 else None, step))
        axis += 1
    return (*index, *places[axis:], Ellipsis)


def overlap(array: Window, window: Window) -> tuple[np.ndarray, np.ndarray] | None:
    """The elements of an array that lie in a window: their numbers in both; None if there are none.

    The elements of the window are distinct.
    """
    if apart(array, window) or _between(array, window):
        return None
    places, of_window = _places(array), _places(window)
    order = np.argsort(of_window)
    nearest = np.searchsorted(of_window, places, sorter=order)
    nearest = order[np.minimum(nearest, order.size - 1)]
    own = np.flatnonzero(of_window[nearest] == places)
    return (own, nearest[own]) if own.size else None


def _places(window: Window) -> np.ndarray:
    """The address of each element, in the order of the elements."""
    places = np.asarray(window.address, np.int64)
    for size, stride in zip(window.shape, window.strides, strict=True):
        places = places[..., None] + np.arange(size) * stride
    return places.reshape(-1)
