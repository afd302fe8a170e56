"""Arrays of the host that lie one after the other in one memory. Imports backend.

Parameters, and their gradients, that lie so are updated and sent without a copy: what takes them
together takes the memory.
"""

import math
import weakref
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from operator import is_
from sys import getrefcount
from typing import Any

import numpy as np

__all__ = ["Flat", "in_order", "run_of"]

_flats: dict[int, "weakref.ref[Flat]"] = {}  # by the identity of their arrays


class Flat:
    """One memory, ``memory``, and an array of each shape in it, ``arrays``.

    Each of these is its memory's owner for all who look: a change of one is none of the others.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], dtype: Any) -> None:
        sizes = [math.prod(shape) for shape in shapes]
        self.memory = np.empty(sum(sizes), dtype)
        self._starts = [0, *accumulate(sizes)]
        # Not views of the memory, whose changes and references NumPy would count together.
        raw, width = self.memory.view(np.uint8).data, self.memory.itemsize
        self._owners = [
            np.frombuffer(raw[start * width : (start + size) * width], dtype)
            if size
            else np.empty(0, dtype)
            for size, start in zip(sizes, self._starts)
        ]
        self.arrays = [own.reshape(shape) for own, shape in zip(self._owners, shapes)]
        self._places = {id(array): place for place, array in enumerate(self.arrays)}
        self._runs: dict[tuple[int, int], np.ndarray] = {}
        for key in self._places:  # called back in C: what arrives in Python's functions is dropped
            _flats[key] = weakref.ref(self, partial(_flats.pop, key))

    def is_free(self, place: int) -> bool:
        """Whether nobody else refers to an array, or to a part of it."""
        of_owner = getrefcount(self._owners[place]) - 1  # without that of the array
        return getrefcount(self.arrays[place]) <= _ALONE >= of_owner

    def place(self, array: Any) -> int:
        """Which of the arrays this is."""
        return self._places[id(array)]

    def run(self, arrays: Sequence[Any]) -> Any:
        """The part of the memory that some arrays make up; None where they do not, in order."""
        first = self._places.get(id(arrays[0]), len(self.arrays))
        last = first + len(arrays)
        if last > len(self.arrays) or not all(map(is_, arrays, self.arrays[first:last])):
            return None
        if (first, last) not in self._runs:
            self._runs[first, last] = self.memory[self._starts[first] : self._starts[last]]
        return self._runs[first, last]


def run_of(arrays: Sequence[Any]) -> Any:
    """The one array that some make up which lie one after the other in a `Flat`; else None."""
    flat = _flat_of(arrays[0])
    return None if flat is None else flat.run(arrays)


def in_order(tensors: Sequence[Any]) -> list[Any]:
    """Tensors, those of a `Flat` in its order and beside each other."""

    def place(tensor: Any) -> tuple[int, int]:
        flat = _flat_of(tensor.data)
        return (0, 0) if flat is None else (id(flat), flat.place(tensor.data))

    return sorted(tensors, key=place)


def _flat_of(array: Any) -> Flat | None:
    reference = _flats.get(id(array))
    return None if reference is None else reference()


def _alone() -> int:
    arrays = [np.empty(1)]
    return getrefcount(arrays[0])


_ALONE = _alone()
