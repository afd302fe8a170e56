"""Memory that the results of a program share, in time. Imports NumPy alone.

A place in the arena is taken for a result, and taken again by another once nobody reads it.
"""

from bisect import insort
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import accumulate
from typing import Any

import numpy as np

__all__ = [
    "Arena",
    "allocated",
    "dense",
    "packed",
    "plan_memory",
    "result_layout",
    "strided",
]

ALIGNED = 64  # bytes: a cache line
FEW = 256  # arrays that are compared with each other


class Arena:
    """Offsets of blocks of memory that is to be allocated once; ``size`` is how much of it.

    >>> arena = Arena()
    >>> first, second = arena.take(100), arena.take(10)
    >>> arena.free(first, 100)
    >>> (first, second, arena.take(128), arena.size)
    (0, 128, 0, 192)
    """

    def __init__(self) -> None:
        self.size = 0
        self._free: list[tuple[int, int]] = []  # (offset, size), in order, none beside another

    def take(self, size: int) -> int:
        """The offset of a block: in the smallest gap that holds it, else at the end."""
        size = _rounded(size)
        fits = [(gap, offset) for offset, gap in self._free if gap >= size]
        if fits:
            gap, offset = min(fits)
            self._free.remove((offset, gap))
            if gap > size:
                insort(self._free, (offset + size, gap - size))
            return offset
        offset = self.size
        if self._free and sum(self._free[-1]) == offset:
            offset, _ = self._free.pop()
        self.size = offset + size
        return offset

    def free(self, offset: int, size: int) -> None:
        """Give a block back, and join it with the gaps beside it."""
        size = _rounded(size)
        for gap in self._free:
            before, length = gap
            if before + length == offset or offset + size == before:
                self._free.remove(gap)
                self.free(min(before, offset), length + size)
                return
        insort(self._free, (offset, size))


def plan_memory(lives: Iterable[tuple[Any, int, int, int]]) -> tuple[dict[Any, int], int]:
    """The offsets of arrays, and the bytes that all of them need.

    An array is (key, bytes, first, last): it is in use from the item ``first`` to the item
    ``last``. They are placed in the order of their beginnings, the largest first.

    >>> plan_memory([("a", 100, 0, 1), ("b", 64, 1, 2), ("c", 64, 2, 2)])
    ({'a': 0, 'b': 128, 'c': 0}, 192)
    """
    arena = Arena()
    offsets: dict[Any, int] = {}
    used: list[tuple[int, int, int]] = []  # a heap of (last, offset, bytes)
    for key, size, first, last in sorted(lives, key=lambda life: (life[2], -life[1])):
        while used and used[0][0] < first:
            arena.free(*heappop(used)[1:])
        offsets[key] = arena.take(size)
        heappush(used, (last, offsets[key], size))
    return offsets, arena.size


def packed(lives: Sequence[tuple[int, int, int]]) -> tuple[list[int], int]:
    """The offsets of arrays (bytes, first, last), see `plan_memory`, and the bytes that all need.

    The largest are placed first, each in the lowest gap, if that needs less.

    >>> packed([(64, 0, 1), (128, 0, 3), (128, 2, 3)])
    ([128, 0, 128], 256)
    """
    offsets, size = plan_memory([(i, *life) for i, life in enumerate(lives)])
    if len(lives) > FEW or size == _most_at_once(lives):
        return [offsets[i] for i in range(len(lives))], size
    placed: list[tuple[int, int, int, int]] = []
    by_size: dict[int, int] = {}
    most = 0
    for i in sorted(range(len(lives)), key=lambda i: -lives[i][0]):
        length, first, last = _rounded(lives[i][0]), *lives[i][1:]
        at = 0
        for start, end in sorted(one[:2] for one in placed if one[2] <= last and first <= one[3]):
            if start - at >= length:
                break
            at = max(at, end)
        by_size[i] = at
        placed.append((at, at + length, first, last))
        most = max(most, at + length)
    if most < size:
        offsets, size = by_size, most
    return [offsets[i] for i in range(len(lives))], size


def _most_at_once(lives: Sequence[tuple[int, int, int]]) -> int:
    """The bytes of the arrays that are in use at the item where these are the most."""
    changes: dict[int, int] = {}
    for size, first, last in lives:
        changes[first] = changes.get(first, 0) + _rounded(size)
        changes[last + 1] = changes.get(last + 1, 0) - _rounded(size)
    return max(accumulate(change for _, change in sorted(changes.items())), default=0)


def allocated(size: int) -> np.ndarray:
    """Memory of so many bytes, from the beginning of a cache line."""
    memory = np.empty(size + ALIGNED, np.uint8)
    return memory[-memory.ctypes.data % ALIGNED :]


def _rounded(size: int) -> int:
    return max(-(-size // ALIGNED), 1) * ALIGNED


def dense(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array that stands for another one in questions about its layout; its memory is unused."""
    return np.empty(shape, dtype)


def strided(shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...] | None) -> np.ndarray:
    """As `dense`, with strides in bytes if there are any; dense where one is not positive."""
    if strides is None or not all(shape) or not all(stride > 0 for stride in strides):
        return dense(shape, dtype)
    size = sum((length - 1) * stride for length, stride in zip(shape, strides))
    return np.ndarray(shape, dtype, np.empty(size + dtype.itemsize, np.uint8), 0, strides)


def result_layout(arrays: list[np.ndarray], shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array with the layout that NumPy gives to the result of a ufunc of these arrays."""
    if all(array.flags.c_contiguous for array in arrays if array.ndim > 1):
        return dense(shape, dtype)
    iterator = np.nditer(
        [*arrays, None],
        flags=["zerosize_ok"],
        op_dtypes=[*(array.dtype for array in arrays), dtype],
        itershape=shape,
    )
    made: np.ndarray = iterator.operands[-1]
    return made
