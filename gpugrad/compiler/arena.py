"""Memory that the results of a program share, in time. Imports NumPy alone.

A place in the arena is taken for a result, and taken again by another once nobody reads it.
"""

from bisect import insort
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any

import numpy as np

__all__ = ["Arena", "dense", "plan_memory", "result_layout"]

ALIGNED = 64  # bytes: a cache line


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

    def allocate(self) -> np.ndarray:
        """The memory."""
        memory = np.empty(self.size + ALIGNED, np.uint8)
        return memory[-memory.ctypes.data % ALIGNED :]


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


def _rounded(size: int) -> int:
    return max(-(-size // ALIGNED), 1) * ALIGNED


def dense(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array that stands for another one in questions about its layout; its memory is unused."""
    return np.empty(shape, dtype)


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
