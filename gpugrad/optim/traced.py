"""A step of an optimizer inside a compiled function. Imports apply and the layers below.

The rule runs over the arrays that record, for each parameter. Its numbers, which depend on the
settings of the group and on the count of steps, are given anew at each call of the program.
"""

import weakref
from collections.abc import Sequence
from functools import partial
from operator import is_, itemgetter, setitem
from typing import Any, ClassVar

from gpugrad.backend.lines import user_line
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import tracing
from gpugrad.errors import CompileError
from gpugrad.optim.apply import MASTER, update_half, working_dtype
from gpugrad.optim.together import are_identical, drop_layouts, is_due

__all__ = [
    "Advance", "not_recorded", "record_changes", "record_clearing", "record_count", "record_step",
]  # fmt: skip

Clock = tuple[Any, ...]


def record_clearing(optimizer: Any) -> None:
    """Tell the recording, if there is one, that the gradients of all parameters are cleared."""
    session = tracing.get()
    if session is not None:
        session.clear(p for group in optimizer.param_groups for p in group["params"])


def not_recorded(what: str, why: str) -> None:
    """Raise CompileError inside a recording, which could not repeat this."""
    if tracing.get() is not None:
        where = user_line()
        raise CompileError(
            f"compile: {what} is called{'' if where is None else f' at {where}'}, and {why}. "
            "Compile the rest, and call it outside of the compiled function"
        )


def record_changes(
    rule: Any, tensors: Sequence[Any], others: Sequence[Any], numbers: Sequence[Any]
) -> None:
    """Record a rule without state that changes tensors, with others in place of gradients."""
    for own, other in zip(tensors, others):
        arrays = own.data, other.data
        xp, dtype = namespace_of(own.data), working_dtype(own.dtype)
        spare = (xp.empty_like(own.data, dtype=dtype),)
        parts = [arrays]
        if dtype.kind == "c":
            parts = [tuple(a.real for a in arrays), tuple(a.imag for a in arrays)]
        for p, g in parts:
            if dtype == own.dtype:
                rule(xp, p, g, (), spare, *numbers)
            else:
                update_half(rule, xp, p, g, [], spare, numbers, False)


def record_count(counter: Any) -> tuple[Any, bool]:
    """Record that a whole number is counted up; its value before, and whether that is not 0."""
    session = tracing.get()
    count = _Count(session, counter)
    (number,) = session.numbers(count)
    return number, bool(count.has_begun)


class _Count:
    """The value of a counter on the host, which each call counts up."""

    calls: ClassVar[list[Any]] = []
    entries: ClassVar[list[Any]] = []
    next: ClassVar[dict[str, Any]] = {}

    def __init__(self, session: Any, counter: Any) -> None:
        self.session = session
        self.counter = counter
        self.has_begun: bool | None = None

    def __call__(self) -> Sequence[float] | None:
        array = array_of(self.counter)
        count = int(array)
        if self.has_begun not in (None, count > 0):
            return None
        self.has_begun = count > 0
        self.session.undo.append(partial(setitem, array, ..., count))
        array[...] = count + 1
        return (float(count),)


def array_of(tensor: Any) -> Any:
    """The array of a tensor, also while it records."""
    return getattr(tensor._array, "array", tensor._array)


def record_step(optimizer: Any, skips: Any = None) -> list["Advance"]:
    """Record the step of all parameters with a gradient; what counts its steps.

    Where ``skips``, a truth value that records, is true, the program changes nothing.
    """
    session, advances = tracing.get(), []
    drop_layouts(optimizer)
    for group in optimizer.param_groups:
        names = optimizer._names(group)
        by_clock: dict[Clock, list[Any]] = {}
        for p in group["params"]:
            session.meet(p)
            if not is_due(p):
                continue
            if p not in optimizer._state:
                session.undo.append(partial(optimizer._state.pop, p, None))
            entry = _entry(optimizer, group, p, names)
            by_clock.setdefault(optimizer._clock(entry), []).append(p)
        advances += [
            _record_members(optimizer, session, group, members, skips)
            for members in by_clock.values()
        ]
    return advances


def _record_members(
    optimizer: Any, session: Any, group: dict[str, Any], members: Sequence[Any], skips: Any
) -> "Advance":
    """Record the step of parameters of one group that have made equally many."""
    advance = Advance(optimizer, group, members, session.steps)
    numbers = session.numbers(advance)
    for index, p in enumerate(members):
        names = optimizer._with_master(group, p, optimizer._names(group))
        states = [session.state(advance.entries, index, name) for name in names]
        arrays = [p.data, p.grad.data, *states]
        parts: tuple[list[Any], ...] = (arrays,)
        if p.dtype.kind == "c":  # a complex number is updated as two real ones
            parts = ([a.real for a in arrays], [a.imag for a in arrays])
        for own, g, *state in parts:
            before = [] if skips is None else [one.copy() for one in (own, *state)]
            _record_rule(optimizer, own, g.astype(own.dtype, copy=False), state, numbers, names)
            for one, old in zip((own, *state), before):
                one[...] = namespace_of(one).where(skips, old, one)
    return advance


def _entry(optimizer: Any, group: dict[str, Any], p: Any, names: Sequence[str]) -> Any:
    """The state of a parameter, made where there is none: arrays, also while it records."""
    before, session = p._array, tracing.get()
    try:
        tracing.set(None)
        p._array = array_of(p)
        return optimizer._entry(group, p, optimizer._with_master(group, p, names))
    finally:
        p._array = before
        tracing.set(session)


def _record_rule(
    optimizer: Any, p: Any, g: Any, states: list[Any], numbers: Any, names: Sequence[str]
) -> None:
    xp, dtype = namespace_of(p), working_dtype(p.dtype)
    spare = tuple([xp.empty_like(p, dtype=dtype) for _ in range(optimizer.scratch)])
    rule = type(optimizer).rule
    if dtype == p.dtype:
        rule(xp, p, g, tuple(states), spare, *numbers)
    else:
        update_half(rule, xp, p, g, states, spare, numbers, MASTER in names)


class Advance:
    """The numbers of one more step of parameters that have made equally many.

    ``latest`` has by parameter the last one of this recording, whose count of steps this continues.
    """

    def __init__(
        self, optimizer: Any, group: dict[str, Any], members: Sequence[Any], latest: dict[int, Any]
    ) -> None:
        self.optimizer = weakref.ref(optimizer)  # another may take its place
        self.group = group
        self.groups, self.params = [*optimizer.param_groups], [*group["params"]]
        self.members = members
        self.earlier = [latest.get(id(p)) for p in members]
        self.is_first = not any(self.earlier)
        latest.update((id(p), self) for p in members)
        self.counts = itemgetter(*optimizer.counted)
        self.kind: Any = None
        self.types: list[Any] = []  # of the numbers
        self.whole: list[tuple[int, int]] = []  # numbers that are whole, and so constants
        self.clock: Clock = ()
        self.before: Clock = ()
        self.next: dict[str, Any] = {}  # the clock by name
        self.entries: list[Any] = []  # the states, as they were found last
        self.calls: list[Any] = []  # what writes the clock to them

    def _find(self, optimizer: Any, names: Sequence[str]) -> None:
        """Find the states of the members anew."""
        drop_layouts(optimizer)
        self.entries[:] = [_entry(optimizer, self.group, p, names) for p in self.members]
        self.calls = [partial(entry.update, self.next) for entry in self.entries]

    def taking_back(self) -> list[Any]:
        """Calls that take back what the last step has counted: the states, if it was the first."""
        optimizer = self.optimizer()
        if optimizer is None:
            return []
        if self.before[0] == 0:  # a state may begin with the rate of its first step
            return [partial(optimizer._state.pop, p, None) for p in self.members]
        before = dict(zip(optimizer.counted, self.before))
        return [partial(entry.update, before) for entry in self.entries]

    def _seen(self, optimizer: Any) -> list[Clock]:
        """What each member has counted before."""
        pairs = zip(self.earlier, self.entries)
        return [optimizer._clock(e) if one is None else one.clock for one, e in pairs]

    def _is_recorded(self, values: Sequence[Any], kind: Any) -> bool:
        """Whether a step is of the kind that was recorded, if there was one."""
        types = [*map(type, values)]
        if self.kind is None:
            self.kind, self.types = kind, types
            self.whole = [(i, value) for i, value in enumerate(values) if isinstance(value, int)]
        is_same = kind == self.kind and types == self.types
        return is_same and (not self.whole or all(values[i] == value for i, value in self.whole))

    def __call__(self) -> Sequence[float | None] | None:
        """The numbers, None where the step is another one than that which was recorded."""
        optimizer, group = self.optimizer(), self.group
        if optimizer is None or not are_identical(self.groups, optimizer.param_groups):
            return None
        if not are_identical(self.params, group["params"]):
            return None
        optimizer._settle()
        names, entries = optimizer._names(group), self.entries
        found = map(optimizer._state.get, self.members)
        is_known = entries and not optimizer._exposed and not any(optimizer._layouts)
        if not is_known or not all(map(is_, found, entries)):
            self._find(optimizer, names)
        seen = [*map(self.counts, entries)] if self.is_first else self._seen(optimizer)
        clock = seen[0]
        if seen.count(clock) < len(seen):
            return None
        self.before = clock if type(clock) is tuple else (clock,)
        self.clock, values = optimizer._advance(group, self.before)
        if len(self.clock) == 1:
            self.next[optimizer.counted[0]] = self.clock[0]
        else:
            self.next.update(zip(optimizer.counted, self.clock))
        return values if self._is_recorded(values, (names, group.get(MASTER))) else None
