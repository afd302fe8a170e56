"""Arrays that travel together. Imports backend and engine.

A message costs its latency, so small arrays of one device and dtype are copied into one flat array;
a large one travels as it is, in its own memory.
"""

import math
from collections.abc import Sequence
from sys import getrefcount
from typing import Any

from gpugrad.backend.device import device_of
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine import versions

__all__ = ["ALONE", "FULL", "Bucket", "Moving", "cut"]

# Bytes from which an array travels alone: at 10 GB/s they take about as long as a message does
# that is empty, some 20 us. And those of a full bucket, which waits for its last array.
ALONE = 1 << 18
FULL = 1 << 22


class Bucket:
    """The places of some arrays, in their order, and the memory in which they travel."""

    def __init__(self, members: Sequence[int], arrays: Sequence[Any]) -> None:
        self.members = tuple(members)
        first = arrays[members[0]]
        self.alone = len(members) == 1
        self.shapes = [arrays[index].shape for index in members]
        self.size = sum(arrays[index].size for index in members)
        self.dtype, self.device = first.dtype, device_of(first)
        self._flat: Any = None

    @property
    def nbytes(self) -> int:
        """How many bytes travel."""
        return int(self.size * self.dtype.itemsize)

    def pack(self, arrays: Sequence[Any]) -> Any:
        """One array with the numbers of all: that of a single one itself, if it is contiguous.

        The flat array of the step before is used again, unless somebody still holds a part of it.
        """
        if self.alone and arrays[0].flags.c_contiguous:
            return arrays[0]
        with self.device.activate():
            xp = namespace_of(arrays[0]).module
            if self._flat is None or getrefcount(self._flat) > _HELD:
                self._flat = xp.empty(self.size, self.dtype)
            xp.concatenate([array.reshape(-1) for array in arrays], out=self._flat)
        return self._flat

    def views(self, flat: Any) -> list[Any]:
        """The part of each array in what `pack` returned."""
        if self.alone:
            return [flat.reshape(self.shapes[0])]
        parts, end = [], 0
        for shape in self.shapes:
            start, end = end, end + math.prod(shape)
            parts.append(flat[start:end].reshape(shape))
        return parts


class _Held:
    def __init__(self) -> None:
        self._flat = object()

    def count(self) -> int:
        return getrefcount(self._flat)


_HELD = _Held().count()  # the references to an array that only its bucket has


def cut(arrays: Sequence[Any], order: Sequence[int]) -> list[Bucket]:
    """The buckets of arrays that will be ready in some order, by when their last one is."""
    open_: dict[Any, list[int]] = {}
    done: list[list[int]] = []
    filled: dict[Any, int] = {}
    for index in order:
        array = arrays[index]
        if array.nbytes >= ALONE:
            done.append([index])
            continue
        key = (str(device_of(array)), str(array.dtype))
        if key in open_ and filled[key] + array.nbytes > FULL:
            done.append(open_.pop(key))
        if key not in open_:
            open_[key], filled[key] = [], 0
        open_[key].append(index)
        filled[key] += array.nbytes
    done += open_.values()
    ready = {index: place for place, index in enumerate(order)}
    done.sort(key=lambda members: max(ready[index] for index in members))
    return [Bucket(sorted(members), arrays) for members in done]


class Moving:
    """Gives arrays the values that they have on one process each, in place.

    ``roots`` are the processes; ``arrays`` are as those will be of which `run` changes the values.
    """

    def __init__(self, arrays: Sequence[Any], roots: Sequence[int]) -> None:
        self._buckets = [
            (root, bucket)
            for root in sorted(set(roots))
            for bucket in cut(arrays, [index for index, at in enumerate(roots) if at == root])
        ]

    def run(self, group: Any, arrays: Sequence[Any], note: str = "") -> None:
        """Move the values; ``note`` says of what they are, for errors."""
        waiting = []
        for root, bucket in self._buckets:
            members = [arrays[index] for index in bucket.members]
            flat = bucket.pack(members)
            engine = group.engine(flat)
            handle = engine.broadcast(flat, root, block=False, note=note)
            waiting.append((bucket, members, flat, handle, root == engine.rank))
        calls: list[Any] = []
        changed = []
        for bucket, members, flat, handle, is_own in waiting:
            handle.wait()
            if is_own:
                continue
            changed += members
            if flat is not members[0]:
                for array, part in zip(members, bucket.views(flat)):
                    calls += versions.writing(array, part)
        versions.change(calls, changed)
