"""One turn of a `gpugrad.scan` that is recorded, and the step "scan" of all turns.

Imports loop, tape, replay and the engine. The function runs once, over the first slices, on a tape
of its own: that is the body of the loop. What is the same in all turns is recorded on the tape
around it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpugrad.autodiff.run import connect
from gpugrad.backend.device import default_device, device_of
from gpugrad.backend.namespace import namespace_of
from gpugrad.compiler.programs.loop import Loop
from gpugrad.compiler.programs.program import Program, Value
from gpugrad.compiler.recording.recorded import Recorded, array_of
from gpugrad.compiler.recording.tape import Tape
from gpugrad.compiler.replay import replay
from gpugrad.engine import autocast
from gpugrad.engine.modes import recording
from gpugrad.engine.node import next_serial
from gpugrad.tensor import Tensor

__all__ = [
    "Call", "Leaves", "Turn", "emitted", "is_number", "known", "node_of", "raw", "settled",
]  # fmt: skip

Leaves = Sequence[Any]
Call = Callable[[Leaves, Leaves], tuple[list[Any], list[Any]]]


class Turn(NamedTuple):
    """A turn that was recorded: what the function got and gave, and the tape."""

    tape: Tape
    start: int  # the serial number at which its graph begins
    carries: list[Any]
    slices: list[Any]
    after: list[Any]
    ys: list[Any]
    outputs: list[Value]


def settled(session: Any, call: Call, carries: Leaves, slices: Leaves) -> tuple[Turn, list[Any]]:
    """A turn that gives carries of the kind that it gets, and the carries that it begins with."""
    while True:
        carries = [known(session, leaf, slices) for leaf in carries]
        turn = _turn(session, call, carries, slices)
        alike = [_alike(*one) for one in zip(carries, turn.after)]
        if all(a is b for a, b in zip(alike, carries)):
            return turn, carries
        carries = alike


def known(session: Any, leaf: Any, others: Leaves) -> Any:
    """A leaf that records: a Tensor, an array or a number."""
    if isinstance(leaf, Tensor):
        session.meet(leaf)
        return leaf
    if isinstance(leaf, Recorded):
        return leaf
    if isinstance(leaf, np.generic):
        leaf = np.asarray(leaf)
    elif namespace_of(leaf) is None:  # a number of Python, for now an array
        home = next((device_of(array_of(raw(one))) for one in others), default_device())
        return session.tape.capture(home.send(np.asarray(leaf))).item()
    return session.tape.capture(leaf)


def raw(leaf: Any) -> Any:
    """The array of a leaf."""
    return leaf._array if isinstance(leaf, Tensor) else leaf


def is_number(leaf: Any) -> bool:
    return namespace_of(leaf) is None


def _alike(before: Any, after: Any) -> Any:
    """The carry to begin with, of the kind that a turn gives."""
    if is_number(before) and not is_number(after):
        array = raw(after)
        before = before.on_device(device_of(array_of(array)), array.dtype)
    if isinstance(after, Tensor) and not isinstance(before, Tensor):
        return Tensor(before)
    return before


def _turn(session: Any, call: Call, carries: Leaves, slices: Leaves) -> Turn:
    """Call the function once, on a tape of its own."""
    outer, start = session.tape, next_serial()
    tape = session.tape = Tape(outer)
    outer.has_inner = True
    try:
        given = [_entered(tape, leaf, False) for leaf in carries]
        parts = [_entered(tape, leaf, True) for leaf in slices]
        arrays = [*map(raw, (*given, *parts))]
        with autocast.state_again(autocast.state()):  # a weight that is cast here is cast again
            after, ys = call(given, parts)
        if any(raw(leaf) is not array for leaf, array in zip((*given, *parts), arrays)):
            raise tape.changes_in_place()
        outputs = [_output(session, tape, leaf) for leaf in (*after, *ys)]
    finally:
        session.tape, outer.has_inner = outer, False
    return Turn(tape, start, given, parts, after, ys, outputs)


def _entered(tape: Tape, leaf: Any, is_sliced: bool) -> Any:
    """What the function gets for a leaf: its array, or a slice of it, as an input of the body."""
    recorded = raw(leaf)
    array = array_of(recorded)
    if is_number(recorded):
        return tape.enter(np.asarray(array)).item()
    array = array[0, ...] if is_sliced else array
    entered = tape.enter(array.copy())  # in C's order, as in all turns
    if not isinstance(leaf, Tensor):
        return entered
    moves = recording.get() and entered.dtype.kind in "fc"
    if not moves or (is_sliced and leaf._node is None):
        return Tensor(entered)
    return connect(connect(Tensor(entered)))  # no leaf, which says other things if it is changed


def _output(session: Any, tape: Tape, leaf: Any) -> Value:
    """The value of a result of the body."""
    value: Value = tape.lifted(_operand(known(session, leaf, ())))
    return value


def emitted(
    session: Any, turn: Turn, carries: Leaves, slices: Leaves, count: int, reverse: bool,
    with_carries: bool,
) -> list[Any]:  # fmt: skip
    """Record the loop; the last carries, the ys and, if asked for, the carries of all turns."""
    tape, outer = turn.tape, session.tape
    given = tape.inputs
    outputs = [*turn.outputs, *(given[: len(carries)] if with_carries else ())]
    made = {value for step in tape.steps for value in step.results}.union(given, tape.constants)
    used = dict.fromkeys([*(v for step in tape.steps for v in step.values()), *outputs])
    foreign = [value for value in used if value not in made]
    body = Program([*given, *foreign], tape.constants, tape.steps, outputs)
    tape.is_open = False
    loop = Loop(body, len(carries), len(slices), count, reverse)
    operands = [_operand(leaf) for leaf in (*carries, *slices)]
    operands += [tape.foreign[value] for value in foreign]
    results = loop.turns(replay.build(body).run, [array_of(one) for one in operands])
    made_by = outer.step("scan", operands, {"loop": loop}, results)
    return list(made_by) if isinstance(made_by, tuple) else [made_by]


def _operand(leaf: Any) -> Any:
    """The array of a leaf, of a number as well: one of its own dtype, of whole numbers, too."""
    array = raw(leaf)
    if not is_number(array):
        return array
    return array.on_device(default_device(), np.asarray(array_of(array)).dtype)


def node_of(leaf: Any) -> Any:
    return leaf._node if isinstance(leaf, Tensor) else None
