"""A step of an optimizer inside a compiled function. Imports apply and the layers below.

The rule runs over the arrays that record, for each parameter. Its numbers, which depend on the
settings of the group and on the count of steps, are given anew at each call of the program.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import tracing
from gpugrad.errors import CompileError
from gpugrad.optim.apply import MASTER, are_there, update_half, working_dtype
from gpugrad.optim.together import is_due

__all__ = ["record_clearing", "record_step"]

Clock = tuple[Any, ...]


def record_clearing(optimizer: Any) -> None:
    """Tell the recording, if there is one, that the gradients of all parameters are cleared."""
    session = tracing.get()
    if session is not None:
        session.clear(p for group in optimizer.param_groups for p in group["params"])


def record_step(optimizer: Any, skip: Any) -> None:
    """Record the step of all parameters with a gradient; CompileError for one with ``skip``."""
    session = tracing.get()
    if skip is not None:
        raise CompileError(
            "compile: a GradScaler's step is not recorded. Compile what comes before it, and call "
            "scaler.step(optimizer) outside"
        )
    _ = optimizer.state  # the counts of steps that are kept for several parameters go to each
    for group in optimizer.param_groups:
        by_clock: dict[Clock, list[tuple[Any, dict[str, Any], tuple[str, ...]]]] = {}
        for p in filter(is_due, group["params"]):
            session.meet(p)
            recorded, p._array = p._array, p._array.array  # its state is an array as well
            try:
                names = optimizer._with_master(group, p, optimizer._names(group))
                entry = optimizer._entry(group, p, names)
            finally:
                p._array = recorded
            by_clock.setdefault(optimizer._clock(entry), []).append((p, entry, names))
        for members in by_clock.values():
            _record_members(optimizer, session, group, members)


def _record_members(
    optimizer: Any, session: Any, group: dict[str, Any], members: Sequence[Any]
) -> None:
    """Record the step of parameters of one group that have made equally many."""
    entries = [entry for _, entry, _ in members]
    numbers = session.numbers(_Advance(optimizer, group, entries, session.clocks))
    for p, entry, names in members:
        arrays = [p.data, p.grad.data, *(session.tape.capture(entry[name]) for name in names)]
        parts: tuple[list[Any], ...] = (arrays,)
        if p.dtype.kind == "c":  # a complex number is updated as two real ones
            parts = ([a.real for a in arrays], [a.imag for a in arrays])
        for own, g, *states in parts:
            _record_rule(optimizer, own, g.astype(own.dtype, copy=False), states, numbers, names)


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


class _Advance:
    """The numbers of one more step; ``clocks`` has the counts that a call has reached so far."""

    def __init__(
        self, optimizer: Any, group: dict[str, Any], entries: list[Any], clocks: dict[int, Any]
    ) -> None:
        self.optimizer = optimizer
        self.group = group
        self.entries = entries
        self.clocks = clocks
        self.number = len(optimizer.param_groups), len(group["params"])
        self.present: tuple[bool, ...] | None = None

    def __call__(self) -> Sequence[float | None] | None:
        """The numbers, None where the step is another one than that which was recorded."""
        optimizer, group, counted = self.optimizer, self.group, self.optimizer.counted
        _ = optimizer.state
        seen = {self.clocks.get(id(e)) or optimizer._clock(e) for e in self.entries}
        if len(seen) > 1 or (len(optimizer.param_groups), len(group["params"])) != self.number:
            return None
        clock, values = optimizer._advance(group, seen.pop())
        present = are_there(values)
        if self.present not in (None, present):
            return None
        self.present = present
        for entry in self.entries:
            self.clocks[id(entry)] = clock
        self.calls = [partial(entry.update, dict(zip(counted, clock))) for entry in self.entries]
        return values
