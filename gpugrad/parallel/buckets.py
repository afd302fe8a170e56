"""Arrays that travel together. Imports optim and below, and engine.

A message costs its latency, so small arrays of one device and dtype travel together. NCCL takes
them as they lie. Else they travel as one flat array: on the host they lie in it from the beginning,
on a GPU they are copied into it by one kernel. A large one travels alone, in its own memory.
"""

import math
from collections.abc import Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from gpugrad.backend.device import device_of
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine import versions
from gpugrad.optim.apply import SMALL
from gpugrad.optim.flat import Flat, run_of
from gpugrad.parallel.engine import Engine, Handle

__all__ = ["ALONE", "FULL", "Bucket", "Moving", "cut"]

# Bytes from which an array travels alone: at 10 GB/s they take about as long as a message does
# that is empty, some 20 us. And those of a full bucket, which waits for its last array.
ALONE = 1 << 18
FULL = 1 << 22


class Bucket:
    """The places of some arrays, in their order, and the memory in which they travel.

    Where each array has an ``owner``, those of one lie beside each other: ``lengths`` says how many
    numbers each process has of the bucket, and ``root`` is the only one who has any.
    """

    def __init__(
        self, members: Sequence[int], arrays: Sequence[Any],
        owners: Sequence[int | None] | None = None, size: int = 1,
    ) -> None:  # fmt: skip
        ranks = {index: None if owners is None else owners[index] for index in members}

        # Those that an optimizer updates together lie beside each other as well: the small ones,
        # and among them matrices, and vectors, which are often without weight decay.
        def place(i: int) -> tuple[int, bool, bool, int]:
            return ranks[i] or 0, arrays[i].size > SMALL, arrays[i].ndim < 2, i

        self.members = tuple(sorted(members, key=place))
        members = self.members
        self.owners = [ranks[index] for index in members]
        self.root = self.owners[0] if len(set(self.owners)) == 1 else None
        self.is_divided = self.owners[0] is not None
        self.lengths = [
            sum(arrays[index].size for index in members if ranks[index] == rank)
            for rank in range(size)
        ]
        first = arrays[members[0]]
        self.alone = len(members) == 1
        self.shapes = [arrays[index].shape for index in members]
        self.size = sum(arrays[index].size for index in members)
        self.dtype, self.device = first.dtype, device_of(first)
        self._flat: Any = None
        self.on_host = type(first) is np.ndarray

    @property
    def nbytes(self) -> int:
        """How many bytes travel."""
        return int(self.size * self.dtype.itemsize)

    def memory(self, place: int) -> Any:
        """The place of one array in the memory of all, on the host.

        None for one that travels alone, and where somebody still uses it.
        """
        if self.alone or not self.on_host:
            return None
        if self._flat is None:
            self._flat = Flat(self.shapes, self.dtype)
        return self._flat.arrays[place] if self._flat.is_free(place) else None

    def message(self, arrays: Sequence[Any], engine: Engine) -> Any:
        """What travels for these arrays: a list of them as NCCL takes it, or one flat array.

        Without a copy where they are contiguous, or lie in the memory of all. The flat array of the
        step before is used again, unless somebody still holds a part of it.
        """
        if engine.joins and not self.on_host:
            with self.device.activate():
                xp = namespace_of(arrays[0]).module
                return [a if a.flags.c_contiguous else xp.ascontiguousarray(a) for a in arrays]
        if self.alone and arrays[0].flags.c_contiguous:
            return arrays[0]
        if self.on_host:
            memory = run_of(arrays)
            if memory is None or memory.size != self.size:
                memory = self._packed(arrays)
            return memory
        with self.device.activate():
            xp = namespace_of(arrays[0]).module
            if self._flat is None or getrefcount(self._flat) > _HELD:
                self._flat = xp.empty(self.size, self.dtype)
            xp.concatenate([array.reshape(-1) for array in arrays], out=self._flat)
        return self._flat

    def reduce(self, engine: Engine, message: Any, note: str) -> Handle:
        """Begin the mean of a message over the processes: each one's part, where it is divided."""
        if isinstance(message, list):
            return engine.reduce_each(message, self.owners, "mean", block=False, note=note)
        if not self.is_divided:
            return engine.all_reduce(message, "mean", block=False, note=note)
        if self.root is not None:
            return engine.reduce(message, self.root, "mean", block=False, note=note)
        return engine.reduce_scatter(message, "mean", lengths=self.lengths, block=False, note=note)

    def distribute(self, engine: Engine, message: Any, note: str) -> Handle:
        """Begin to send each owner's part of a message to all."""
        if isinstance(message, list):
            roots = [owner for owner in self.owners if owner is not None]
            return engine.broadcast_each(message, roots, block=False, note=note)
        if self.root is not None:
            return engine.broadcast(message, self.root, block=False, note=note)
        return engine.all_gather(message, lengths=self.lengths, block=False, note=note)

    def renew(self) -> None:
        """Leave the memory to a message that may still need it."""
        self._flat = None

    def _packed(self, arrays: Sequence[Any]) -> Any:
        """The memory of all on the host, after copies of what is not there yet."""
        flat, places = self._flat, range(len(arrays))
        if flat is None or not all(
            arrays[place] is flat.arrays[place] or flat.is_free(place) for place in places
        ):
            flat = self._flat = Flat(self.shapes, self.dtype)
        for array, own in zip(arrays, flat.arrays):
            if array is not own:
                own[...] = array
        return flat.run(flat.arrays)

    def views(self, message: Any, arrays: Sequence[Any]) -> list[Any]:
        """The part of each array in the `message` of them."""
        if isinstance(message, list):
            return message
        if self.alone:
            return [message.reshape(self.shapes[0])]
        if self.on_host:
            return list(arrays if run_of(arrays) is message else self._flat.arrays)
        parts, end = [], 0
        for shape in self.shapes:
            start, end = end, end + math.prod(shape)
            parts.append(message[start:end].reshape(shape))
        return parts


class _Held:
    def __init__(self) -> None:
        self._flat = object()

    def count(self) -> int:
        return getrefcount(self._flat)


_HELD = _Held().count()  # the references to an array that only its bucket has


def cut(
    arrays: Sequence[Any], order: Sequence[int], owners: Sequence[int | None] | None = None,
    size: int = 1,
) -> list[Bucket]:  # fmt: skip
    """The buckets of arrays that will be ready in some order, by when their last one is.

    ``owners`` are the ranks of those among ``size`` processes whose the arrays are, None for those
    that are everybody's.
    """
    open_: dict[Any, list[int]] = {}
    done: list[list[int]] = []
    filled: dict[Any, int] = {}
    for index in order:
        array = arrays[index]
        if array.nbytes >= ALONE:
            done.append([index])
            continue
        is_divided = owners is not None and owners[index] is not None
        key = (str(device_of(array)), str(array.dtype), is_divided)
        if key in open_ and filled[key] + array.nbytes > FULL:
            done.append(open_.pop(key))
        if key not in open_:
            open_[key], filled[key] = [], 0
        open_[key].append(index)
        filled[key] += array.nbytes
    done += open_.values()
    ready = {index: place for place, index in enumerate(order)}
    done.sort(key=lambda members: max(ready[index] for index in members))
    return [Bucket(members, arrays, owners, size) for members in done]


class Moving:
    """Gives arrays the values that they have on one process each, in place.

    ``roots`` are the ranks of these, among ``size``; ``arrays`` are as those will be of which `run`
    changes the values.
    """

    def __init__(self, arrays: Sequence[Any], roots: Sequence[int], size: int) -> None:
        # In the order of gradients, so that parameters which lie in the order of these are sent so.
        self._buckets = cut(arrays, range(len(arrays) - 1, -1, -1), roots, size)

    def run(self, group: Any, arrays: Sequence[Any], note: str = "") -> None:
        """Move the values; ``note`` says of what they are, for errors."""
        waiting = []
        for bucket in self._buckets:
            members = [arrays[index] for index in bucket.members]
            engine = group.engine(members[0])
            message = bucket.message(members, engine)
            handle = bucket.distribute(engine, message, note)
            waiting.append((bucket, members, message, handle))
        calls: list[Any] = []
        changed = []
        for bucket, members, message, handle in waiting:
            handle.wait()
            for array, part, owner in zip(members, bucket.views(message, members), bucket.owners):
                if owner != group.rank:
                    changed.append(array)
                    in_place = part is array or message is array
                    calls += [] if in_place else versions.writing(array, part)
        versions.change(calls, changed)
