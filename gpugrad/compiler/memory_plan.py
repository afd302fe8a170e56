"""Places in one block of memory for arrays that live at different times. Imports nothing."""

from collections.abc import Iterable
from typing import Any

__all__ = ["plan_memory"]

ALIGNMENT = 64  # bytes: a line of the cache


def plan_memory(lives: Iterable[tuple[Any, int, int, int]]) -> tuple[dict[Any, int], int]:
    """The offsets of arrays, and the bytes that all of them need.

    An array is (key, bytes, first, last): it is in use from the item ``first`` to the item
    ``last``. Each gets the smallest gap that is free then, in the order of their beginnings.

    >>> plan_memory([("a", 100, 0, 1), ("b", 64, 1, 2), ("c", 64, 2, 2)])
    ({'a': 0, 'b': 128, 'c': 0}, 192)
    """
    offsets: dict[Any, int] = {}
    used: list[tuple[int, int, int]] = []  # (start, stop, last) of what is in use, by start
    total = 0
    for key, size, first, last in sorted(lives, key=lambda life: (life[2], -life[1])):
        used = [one for one in used if one[2] >= first]
        size = -(-size // ALIGNMENT) * ALIGNMENT
        start, best, free = 0, None, 0
        for begin, stop, _ in used:
            gap = begin - free
            if gap >= size and (best is None or gap < best):
                start, best = free, gap
            free = max(free, stop)
        if best is None:
            start = free
        offsets[key] = start
        used.append((start, start + size, last))
        used.sort()
        total = max(total, start + size)
    return offsets, total
