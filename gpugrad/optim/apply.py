"""Runs a rule over arrays: over many small ones at once, over large ones block by block.

Imports engine and backend. On NumPy the cost of a small parameter is the number of calls, so the
small parameters of a group are concatenated and the rule runs once over all of them. The cost of a
large one is memory traffic, so the rule runs over blocks that stay in the cache during all of its
operations, on two threads where there are two cores. On other devices it runs over each parameter.

A step has two parts. The first checks everything and makes jobs, the second runs them; so a step
that fails has changed nothing. Half precisions are updated in float32: their states are float32,
and so are their master weights, if they have any, from which the parameter is rounded.
"""

import contextvars
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import attrgetter, is_
from typing import Any

import numpy as np

from gpugrad.backend.device import check_same_device, device_of
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine import versions
from gpugrad.engine.windows import Window

__all__ = [
    "MASTER", "SMALL", "Advance", "Clock", "FlatParameters", "Numbers", "buckets_of", "constants",
    "jobs_of", "run_jobs", "separate", "working_dtype",
]  # fmt: skip

SMALL = 16384  # elements: a larger parameter gains little from a bucket
BUCKET = 32768  # elements of one bucket
BLOCK = 1 << 18  # bytes of an array in a block
JOB = 1 << 20  # elements: the smallest job for a thread
MASTER = "master_weights"  # the last state of a parameter that has them

Numbers = tuple[float | None, ...]
Clock = tuple[Any, ...]  # the steps that a parameter has taken, and other numbers of its state
Advance = Callable[[Any, Clock], tuple[Clock, Numbers]]  # a group's next clock, and its numbers
Rule = Callable[..., None]
Job = Callable[[dict[Any, np.ndarray]], None]

_array, _node = attrgetter("_array"), attrgetter("_node")


def constants(values: Numbers, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Numbers as 0-d NumPy arrays, which cost half as much as floats in a call on small arrays."""
    return tuple(None if value is None else np.array(value, dtype) for value in values)


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which parameters are updated: float32 for half precisions, else their own."""
    return np.dtype(np.float32) if dtype.itemsize < 4 else dtype


def separate(arrays: list[Any]) -> list[bool]:
    """For each array, whether no other one overlaps its memory."""
    alone = [True] * len(arrays)
    ends = [(one.low, one.high) for one in map(Window, arrays)]
    end, last = -1, -1
    for index in sorted(range(len(arrays)), key=ends.__getitem__):
        if ends[index][0] < end:
            alone[index] = alone[last] = False
        if ends[index][1] > end:
            end, last = ends[index][1], index
    return alone


def buckets_of(members: list[Any]) -> list[list[Any]]:
    """The members in groups of at most BUCKET elements."""
    parts: list[list[Any]] = [[]]
    size = 0
    for p in members:
        if size + p.size > BUCKET:
            parts.append([])
            size = 0
        parts[-1].append(p)
        size += p.size
    return parts


class FlatParameters:
    """Small parameters of one dtype and age, whose state arrays are concatenated.

    The arrays in ``states``, the state of each parameter, become views of the bucket's. ``clock``
    has the number of steps taken and what else the optimizer counts, under the names ``counted``;
    ``unload`` writes it into the entries. ``names`` has the names of the rule's states, and last
    `MASTER`, if the parameters have master weights.
    """

    __slots__ = (
        "_flat", "_flat_p", "_numbers", "_p", "_scratch", "_state", "_values", "_views", "arrays",
        "clock", "counted", "dtype", "master", "names", "size", "state_views", "states", "tensors",
    )  # fmt: skip

    def __init__(
        self,
        tensors: list[Any],
        states: list[dict[str, Any]],
        names: tuple[str, ...],
        counted: tuple[str, ...],
        scratch: int,
    ) -> None:
        self._take(tensors, states, names, counted)
        self._flat = [array.reshape(-1) for array in self.arrays]
        self.size = sum(array.size for array in self.arrays)
        working = working_dtype(self.dtype)
        self._p = np.empty(self.size, working)
        self._scratch = tuple(np.empty(self.size, working) for _ in range(scratch))
        state = []
        self.state_views: list[list[Any]] = []
        for name in names:
            flat = np.concatenate([entry[name].reshape(-1) for entry in states])
            views = self._cut(flat)
            for entry, view in zip(states, views):
                entry[name] = view
            state.append(flat)
            self.state_views.append(views)
        self._state = tuple(state[: len(names) - self.master])
        self._flat_p = state[-1] if self.master else self._p  # what the rule updates
        self._views = self._cut(self._flat_p)
        self._values: Numbers = ()
        self._numbers: tuple[Any, ...] = ()

    def _take(
        self,
        tensors: list[Any],
        states: list[dict[str, Any]],
        names: tuple[str, ...],
        counted: tuple[str, ...],
    ) -> None:
        self.tensors = tensors
        self.states = states
        self.names = names
        self.master = MASTER in names
        self.arrays = [tensor.data for tensor in tensors]
        self.dtype = self.arrays[0].dtype
        self.counted = counted
        self.clock: Clock = tuple([states[0][name] for name in counted])

    def _cut(self, flat: np.ndarray) -> list[np.ndarray]:
        ends = np.cumsum([array.size for array in self.arrays])[:-1]
        return [part.reshape(array.shape) for part, array in zip(np.split(flat, ends), self.arrays)]

    def whole(self) -> bool:
        """Whether the entries still have the bucket's arrays and clock."""
        return all(
            entry[name] == value
            for entry in self.states
            for name, value in zip(self.counted, self.clock)
        ) and all(
            entry.get(name) is view
            for name, views in zip(self.names, self.state_views)
            for entry, view in zip(self.states, views)
        )

    def unload(self) -> None:
        """Write the clock into the entries."""
        for entry in self.states:
            entry.update(zip(self.counted, self.clock))

    def prepared(self, rule: Rule, advance: Advance, group: Any) -> Callable[[], None] | None:
        """The joint step as a function that cannot fail; None where there is none."""
        tensors = self.tensors
        if not all(map(is_, map(_array, tensors), self.arrays)) or None in map(_node, tensors):
            return None
        try:
            g = np.concatenate([tensor._grad._array.ravel() for tensor in tensors])
        except (AttributeError, TypeError):  # no gradient yet, or one on another device
            return None
        if g.dtype != self.dtype or g.size != self.size:
            return None
        clock, values = advance(group, self.clock)
        if values != self._values:
            self._numbers = constants(values, self._p.dtype)
            self._values = values
        if g.dtype != self._p.dtype:
            g = g.astype(self._p.dtype)
        return partial(self._run, rule, g, clock)

    def _run(self, rule: Rule, g: np.ndarray, clock: Clock) -> None:
        np.concatenate(self._flat, 0, self._p)
        if self.master:
            changed = self._flat_p.astype(self.dtype) != self._p  # as in `_update_half`
            np.copyto(self._flat_p, self._p, where=changed)
        rule(np, self._flat_p, g, self._state, self._scratch, *self._numbers)
        for array, view in zip(self.arrays, self._views):
            array[...] = view
        versions.changed_all(self.arrays)
        self.clock = clock


# ---------------------------------------------------------------- one parameter


def jobs_of(
    rule: Rule, arrays: list[Any], scratch: int, values: Numbers, has_master: bool, cut: bool = True
) -> list[Job]:
    """Jobs that run the rule over one parameter, or over its master weights.

    ``arrays`` are the parameter, its gradient, its states, and last its master weights, if any.
    With ``cut`` a large one on the host is cut into blocks; a rule that is not elementwise needs
    the whole.
    """
    p = arrays[0]
    if not cut or type(p) is not np.ndarray or type(arrays[1]) is not np.ndarray:
        check_same_device("optimizer step", tuple(arrays[:2]))
        return [_whole(rule, arrays, scratch, values, has_master)]
    working = working_dtype(p.dtype)
    half = working != p.dtype
    numbers = constants(values, working)
    length = p.size
    if all(row.flags.c_contiguous for row in arrays):
        rows = [row.reshape(-1) for row in arrays]
    elif all(row.flags.f_contiguous for row in arrays):
        rows = [row.T.reshape(-1) for row in arrays]
    else:
        rows = list(arrays)
        if p.ndim:
            length = p.shape[0]  # blocks along the first axis
    if not p.size:
        return []
    master = rows.pop() if has_master else None
    p, g, *states = rows
    width = p.size // length
    step = max(1, BLOCK // (working.itemsize * width))

    def job(start: int, stop: int, memory: dict[Any, np.ndarray]) -> None:
        count = min(step, stop - start)
        need = scratch * count * width
        buffer = memory.get(working)
        if buffer is None or buffer.size < need:
            buffer = memory[working] = np.empty(need, working)
        spare = tuple(buffer[:need].reshape(scratch, count, *p.shape[1:]))
        for low in range(start, stop, count):
            here = spare if low + count <= stop else tuple(s[: stop - low] for s in spare)
            block = slice(low, min(low + count, stop))
            parts = tuple([state[block] for state in states])
            if not half:
                rule(np, p[block], g[block], parts, here, *numbers)
                continue
            kept = None if master is None else master[block]
            _update_half(rule, np, p[block], g[block], parts, here, numbers, kept)

    chunk = max(step, JOB // width // step * step)
    return [partial(job, low, min(low + chunk, length)) for low in range(0, length, chunk)]


def _whole(rule: Rule, arrays: list[Any], scratch: int, values: Numbers, has_master: bool) -> Job:
    *rows, master = arrays if has_master else [*arrays, None]
    p, g, *states = rows
    device, working = device_of(p), working_dtype(p.dtype)
    with device.activate():
        xp = namespace_of(p).module
        spare = tuple(xp.empty_like(p, dtype=working) for _ in range(scratch))

    def job(memory: dict[Any, np.ndarray]) -> None:
        with device.activate():
            if working == p.dtype:
                rule(xp, p, g, tuple(states), spare, *values)
            else:
                _update_half(rule, xp, p, g, tuple(states), spare, values, master)

    return job


def _update_half(
    rule: Rule, xp: Any, p: Any, g: Any, state: tuple[Any, ...], scratch: tuple[Any, ...],
    numbers: Any, master: Any,
) -> None:  # fmt: skip
    """Run the rule in float32 for a parameter of half precision."""
    if master is None:
        master = p.astype(np.float32)
    else:  # where it is not the parameter any more, somebody has changed that
        xp.copyto(master, p.astype(np.float32), where=master.astype(p.dtype) != p)
    rule(xp, master, g.astype(np.float32), state, scratch, *numbers)
    p[...] = master.astype(p.dtype)


def threads() -> int:
    """The number of threads for an update: at most two, since more are bound by memory.

    On a machine with two cores, an SGD step with momentum on 4096 x 4096 float32 numbers took
    11 ms with two threads and 18 ms with one. OMP_NUM_THREADS=1 limits them to one here too.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(2, cores or 1, int(asked) if asked.isdigit() and int(asked) else 2)


def run_jobs(jobs: list[Job], memories: list[dict[Any, np.ndarray]]) -> None:
    """Run the jobs of `jobs_of`; ``memories`` has the scratch memory of each thread."""
    if len(jobs) < 3 or threads() < 2:
        for job in jobs:
            job(memories[0])
        return

    def work(start: int) -> None:
        for job in jobs[start::2]:
            job(memories[start])

    # A new thread costs 0.1 ms, less than a job, and none is alive when the process forks.
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(contextvars.copy_context().run, work, 1)
        work(0)
        other.result()
