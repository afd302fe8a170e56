"""Runs a rule over arrays: over many small ones at once, over large ones block by block.

Imports engine and backend. On NumPy the cost of a small parameter is the number of calls, so the
small parameters of a group are concatenated and the rule runs once over all of them. The cost of a
large one is memory traffic, so the rule runs over blocks that stay in the cache during all of its
operations, on two threads where there are two cores. On other devices it runs over each parameter.

A step has two parts. The first checks everything and makes a `Plan`, the second carries it out by
calls of functions in C; so a step that fails has changed nothing, and one that is interrupted has
changed nothing or is done. Half precisions are updated in float32: their states are float32,
and so are their master weights, if they have any, from which the parameter is rounded.
"""

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter, is_, setitem
from typing import Any

import numpy as np

from gpugrad.backend.device import check_same_device, device_of
from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.threads import thread_count
from gpugrad.engine import versions
from gpugrad.engine.windows import Window
from gpugrad.optim.flat import run_of
from gpugrad.optim.follower import Follower
from gpugrad.optim.recorded import HALF, Call, Recorded, merging, recorded
from gpugrad.optim.skipping import Skip

__all__ = [
    "MASTER", "SMALL", "Advance", "Clock", "FlatParameters", "Numbers", "Plan", "Rule", "are_there",
    "buckets_of", "jobs_of", "separate", "takes", "update_half", "working_dtype",
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
Memory = dict[Any, np.ndarray]  # scratch memory, by dtype
Job = Callable[[Memory], list[Call]]

_array, _node = attrgetter("_array"), attrgetter("_node")


def constants(values: Numbers, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """The numbers that are there as 0-d NumPy arrays.

    They cost half as much as floats in a call on small arrays.
    """
    return tuple([np.array(value, dtype) for value in values if value is not None])


def are_there(values: Numbers) -> tuple[bool, ...]:
    """Which numbers are not None."""
    return tuple([value is not None for value in values])


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
        "_calls", "_copy", "_flat", "_flat_p", "_g", "_in_place", "_numbers", "_p", "_present",
        "_scratch", "_state", "_values", "_views", "arrays", "clock", "counted", "dtype", "master",
        "names", "next_clock", "size", "state_views", "states", "tensors",
    )  # fmt: skip

    def __init__(
        self, tensors: list[Any], states: list[dict[str, Any]], names: tuple[str, ...],
        counted: tuple[str, ...], scratch: int,
    ) -> None:  # fmt: skip
        self._take(tensors, states, names, counted)
        self._flat = [array.reshape(-1) for array in self.arrays]
        self.size = sum(array.size for array in self.arrays)
        working = working_dtype(self.dtype)
        # Where the parameters lie in one memory the rule runs there, and where gradients do it
        # reads them there; else they are copied.
        own = run_of(self.arrays) if working == self.dtype else None
        self._in_place = own is not None
        self._p = np.empty(self.size, working) if own is None else own
        self._copy: Any = None
        self._g: Any = None
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
        self._present: tuple[bool, ...] | None = None
        self._numbers: tuple[Any, ...] = ()
        self._calls: list[Call] = []

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
        self.next_clock = self.clock

    def _cut(self, flat: np.ndarray) -> list[np.ndarray]:
        ends = np.cumsum([array.size for array in self.arrays])[:-1]
        return [part.reshape(array.shape) for part, array in zip(np.split(flat, ends), self.arrays)]

    def whole(self, state: dict[Any, dict[str, Any]]) -> bool:
        """Whether the state has these entries, and these the arrays and the clock of the bucket."""
        return (
            all(map(is_, map(state.get, self.tensors), self.states))
            and all(
                entry[name] == value
                for entry in self.states
                for name, value in zip(self.counted, self.clock)
            )
            and all(
                entry.get(name) is view
                for name, views in zip(self.names, self.state_views)
                for entry, view in zip(self.states, views)
            )
        )

    def unload(self) -> None:
        """Write the clock into the entries."""
        for entry in self.states:
            entry.update(zip(self.counted, self.clock))

    def prepared(
        self, rule: Rule, advance: Advance, group: Any, skip: Skip | None = None
    ) -> list[Call] | None:
        """The joint step as calls that do not fail; None where there is none.

        ``skip`` is for the parameters of a device: the host knows whether it skips a step.
        """
        tensors = self.tensors
        if not all(map(is_, map(_array, tensors), self.arrays)) or None in map(_node, tensors):
            return None
        try:
            self._take_gradients([tensor._grad._array for tensor in tensors])
        except (AttributeError, TypeError, ValueError):
            return None  # no gradient yet, or one on another device, or of another dtype or size
        clock, values = advance(group, self.clock)
        if values != self._values and not self._set_numbers(rule, values):
            return None
        if not self._in_place:
            np.concatenate(self._flat, 0, self._p)
        self.next_clock = clock
        return [*self._calls, partial(setattr, self, "clock", clock)]

    def _take_gradients(self, gradients: list[Any]) -> None:
        """Have the calls read gradients: in the memory where they lie, or in that of a copy."""
        raw = run_of(gradients)
        if raw is None or raw.dtype != self.dtype or raw.size != self.size:
            raw = self._copy
            if raw is None:
                raw = self._copy = np.empty(self.size, self.dtype)
            np.concatenate([g.ravel() for g in gradients], 0, raw, casting="no")
        if self._p.dtype != self.dtype:
            if self._g is None:
                self._g = np.empty(self.size, self._p.dtype)
            self._g[...] = raw
        elif raw is not self._g:
            self._g, self._values, self._present = raw, (), None  # the calls are made anew

    def _set_numbers(self, rule: Rule, values: Numbers) -> bool:
        """Take the numbers of a step; false where the rule cannot be recorded with these."""
        present = are_there(values)
        if present != self._present:
            steps = recorded(rule, len(self._state), len(self._scratch), present)
            if steps is None:
                return False
            self._numbers = constants(values, self._p.dtype)
            self._calls = self._calls_of(steps)
            self._present = present
        else:
            self._values = ()  # should an interrupt come in between
            there = [value for value in values if value is not None]
            for number, value in zip(self._numbers, there):
                number[...] = value
        self._values = values
        return True

    def _calls_of(self, steps: Recorded) -> list[Call]:
        calls: list[Call] = []
        if self.master:
            narrow, where = np.empty(self.size, self.dtype), np.empty(self.size, bool)
            calls += merging(np, self._flat_p, self._p, narrow, where)
        operands = [self._flat_p, self._g, *self._state, *self._scratch, *self._numbers]
        calls += steps.calls(np, operands)
        if self._in_place:
            return calls
        stores = [partial(setitem, array, ..., v) for array, v in zip(self.arrays, self._views)]
        return calls + stores

    def noting(self, clock: Clock) -> list[Call]:
        """Calls that write a clock, such as that of the prepared step, into the entries."""
        counts = dict(zip(self.counted, clock))
        return [partial(entry.update, counts) for entry in self.states]


# ---------------------------------------------------------------- one parameter


def jobs_of(
    rule: Rule, arrays: list[Any], scratch: int, values: Numbers, has_master: bool, *,
    cut: bool = True, alone: bool = True,
) -> list[Job]:  # fmt: skip
    """Jobs that make the calls of a step of one parameter, or of its master weights.

    ``arrays`` are the parameter, its gradient, its states, and last its master weights, if any.
    With ``cut`` a large one on the host is cut into blocks; a rule that is not elementwise needs
    the whole. ``alone`` says that no other parameter shares its memory.
    """
    p = arrays[0]
    steps = recorded(rule, len(arrays) - 2 - has_master, scratch, are_there(values))
    if steps is None or not cut:
        check_same_device("optimizer step", tuple(arrays[:2]))
        return [_in_python(rule, arrays, scratch, values, has_master, alone)]
    if type(p) is not np.ndarray or type(arrays[1]) is not np.ndarray:
        check_same_device("optimizer step", tuple(arrays[:2]))
        return [_on_device(steps, arrays, scratch, values, has_master)]
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
    width = p.size // length
    step = max(1, BLOCK // (working.itemsize * width))
    spares = scratch + HALF if half else scratch

    def job(start: int, stop: int, memory: Memory) -> list[Call]:
        count = min(step, stop - start)
        need = spares * count * width
        buffer = memory.get(working)
        if buffer is None or buffer.size < need:
            buffer = memory[working] = np.empty(need, working)
        spare = tuple(buffer[:need].reshape(spares, count, *rows[0].shape[1:]))
        calls: list[Call] = []
        for low in range(start, stop, count):
            here = spare if low + count <= stop else tuple([s[: stop - low] for s in spare])
            block = slice(low, min(low + count, stop))
            parts = [row[block] for row in rows]
            if half:
                calls += steps.half_calls(np, parts, here, numbers, has_master)
            else:
                calls += steps.calls(np, [*parts, *here, *numbers])
        return calls

    chunk = max(step, JOB // width // step * step)
    return [partial(job, low, min(low + chunk, length)) for low in range(0, length, chunk)]


def _on_device(
    steps: Recorded, arrays: list[Any], scratch: int, values: Numbers, has_master: bool
) -> Job:
    p = arrays[0]
    device, working = device_of(p), working_dtype(p.dtype)
    numbers = [value for value in values if value is not None]
    half = working != p.dtype
    with device.activate():
        xp = namespace_of(p).module
        spares = scratch + HALF if half else scratch
        spare = [xp.empty(p.shape, working) for _ in range(spares)]
    if half:
        calls = steps.half_calls(xp, arrays, spare, numbers, has_master)
    else:
        calls = steps.calls(xp, [*arrays, *spare, *numbers])
    return lambda memory: device.around(calls)


def _in_python(
    rule: Rule, arrays: list[Any], scratch: int, values: Numbers, has_master: bool, alone: bool
) -> Job:
    """A step by a rule that cannot be recorded: over copies, whose values are then taken.

    Arrays that share memory cannot be copied before the other one is written: there the rule runs
    in the midst of the step.
    """
    p, g, *states = arrays
    device, working = device_of(p), working_dtype(p.dtype)
    xp = namespace_of(p).module

    def run(p: Any, states: list[Any]) -> None:
        with device.activate():
            spare = tuple([xp.empty_like(p, dtype=working) for _ in range(scratch)])
            if working == p.dtype:
                rule(xp, p, g, tuple(states), spare, *values)
            else:
                update_half(rule, xp, p, g, states, spare, values, has_master)

    def job(memory: Memory) -> list[Call]:
        if not alone:
            return [partial(run, p, states)]
        with device.activate():
            own, *others = [xp.array(array) for array in (p, *states)]
        run(own, others)
        pairs = zip((p, *states), (own, *others))
        return [call for array, value in pairs for call in versions.writing(array, value)]

    return job


def update_half(
    rule: Rule, xp: Any, p: Any, g: Any, states: list[Any], scratch: tuple[Any, ...],
    numbers: Any, has_master: bool,
) -> None:  # fmt: skip
    """Run the rule in float32 for a parameter of half precision."""
    if has_master:
        *states, wide = states
        for call in merging(xp, wide, p, xp.empty_like(p), xp.empty_like(p, dtype=bool)):
            call()
    else:
        wide = p.astype(np.float32)
    rule(xp, wide, g.astype(np.float32), tuple(states), scratch, *numbers)
    p[...] = wide.astype(p.dtype)


def takes(rule: Rule, names: tuple[str, ...], scratch: int, values: Numbers) -> bool:
    """Whether the rule can be recorded, so that a step is a list of calls."""
    return recorded(rule, len(names) - (MASTER in names), scratch, are_there(values)) is not None


class Plan:
    """A step that is prepared: what may fail has been done, and what is left is done whole.

    ``calls`` are functions in C, or as good as such (see `gpugrad.backend.interrupts`); ``jobs``
    make more of them, that may run on two threads. ``arrays`` are those that change. ``skip`` is
    there where the device may skip the step.
    """

    __slots__ = ("arrays", "calls", "jobs", "skip")

    def __init__(self, skip: Skip | None = None) -> None:
        self.skip = skip
        self.calls: list[Call] = []
        self.jobs: list[Job] = []
        self.arrays: list[Any] = []

    def add(self, calls: list[Call], arrays: list[Any], undo: Sequence[Call]) -> None:
        """Add calls, what they change, and what takes back the counts if the step is skipped."""
        self.calls += calls
        self.arrays += arrays
        if self.skip is not None:
            self.skip.undo += undo

    def run(self, memories: list[Memory]) -> None:
        """Make the step; ``memories`` has the scratch memory of each thread.

        It takes two threads at most, since more are bound by memory: on two cores a step of SGD
        with momentum on 4096 x 4096 float32 numbers took 11 ms with two threads, 18 ms with one.
        """
        if len(self.jobs) >= 3 and thread_count() > 1:
            self._run_on_two(memories)
            return
        for job in self.jobs:
            self.calls += job(memories[0])
        versions.change(self.calls, self.arrays)

    def _run_on_two(self, memories: list[Memory]) -> None:
        mine, others = (
            [call for job in self.jobs[start::2] for call in job(memories[start])]
            for start in range(2)
        )
        follower = Follower()
        try:
            calls = [*self.calls, *mine]
            calls = follower.beside(calls, others) if follower.begin() else calls + others
            versions.change(calls, self.arrays)
        finally:
            follower.end()
        if follower.errors:
            raise follower.errors[0]
