"""A function that is told values in the middle, as several programs. Imports the modules beside it.

Each call records the whole function, without computing what is large. Where Python asks for a value
(`float(t)`, `print(t)`), the steps up to there run as one program; it gives that value, and what
is still referred to. From there the recording goes on, and what is left at the end is the last
program. So nothing is assumed of what the function does: a program is found again by all of its
steps (`_key`), and compiled the second time that it is met.
"""

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.backend.host import NUMPY
from gpugrad.compiler.backends import in_c
from gpugrad.compiler.programs.liveness import roots
from gpugrad.compiler.programs.loop import Loop
from gpugrad.compiler.programs.passes import simplified
from gpugrad.compiler.programs.program import Program, Step, Value, is_elementwise
from gpugrad.compiler.recording.unseen import LARGE, PRODUCTS
from gpugrad.compiler.replay import replay

__all__ = ["Pieces", "Programs"]

LIMIT = 32  # programs of one signature
MANY = 256  # steps that may be computed again in any case
FEW = 8  # large arrays that are all kept
# Elements of results for each step from which on recording each call costs less than it saves.
ENOUGH = 1 << 18


class Programs:
    """The programs of the pieces of one signature, by what they do.

    A number of Python may be another one at each call. ``is_over`` says that too many programs, or
    one that cannot be found again, were met, or that pieces compute the same too often.
    """

    def __init__(self) -> None:
        self._known: dict[Any, _Piece] = {}
        self.is_over = False

    @classmethod
    def of(cls, program: Program, namespaces: Sequence[Any]) -> "Programs | None":
        """Those of a function with such steps; None where pieces would not be faster."""
        if any(one is not NUMPY for one in namespaces):
            return None
        computed = (
            step for step in program.steps if is_elementwise(step.name) or step.name in PRODUCTS
        )
        elements = sum(math.prod(step.results[0].shape) for step in computed)
        return cls() if elements >= ENOUGH * len(program.steps) else None

    @staticmethod
    def may_run() -> bool:
        """Whether no other thread would meet tensors that record."""
        return threading.active_count() == 1

    def report(self) -> str:
        """What runs, in words."""
        compiled = sum(piece.backend is not None for piece in self._known.values())
        return f"runs in pieces, of {len(self._known)} programs ({compiled} compiled)"

    def run(self, program: Program, arrays: Sequence[Any]) -> list[Any]:
        """The outputs, which have memory of their own."""
        try:
            key, numbers = _key(program)
            piece = self._known.get(key)
        except TypeError:  # for what has no hash
            self.is_over, piece = True, None
        if piece is not None:
            return piece.run(program, arrays, numbers)
        if not self.is_over:
            self._known[key] = _Piece(numbers)
            self.is_over = len(self._known) > LIMIT
        with np.errstate(all="ignore"):
            return [_own(array) for array in program(arrays)]


class _Piece:
    """A program, compiled for numbers that change and numbers that do not."""

    def __init__(self, numbers: list[float]) -> None:
        self.numbers = numbers
        self.changing: set[int] = set()
        self.backend: Any = None
        self.views: list[int] = []  # outputs whose memory is another one's, too

    def run(self, program: Program, arrays: Sequence[Any], numbers: list[float]) -> list[Any]:
        differ = {i for i, one in enumerate(numbers) if repr(one) != repr(self.numbers[i])}
        if self.backend is None or not differ <= self.changing:
            self.changing |= differ
            general = simplified(_with_inputs(program, self.changing))
            self.backend = in_c(general, {}) or replay.build(general)
            root, made = roots(general), {v for step in general.steps for v in step.results}
            self.views = [
                i
                for i, value in enumerate(general.outputs)
                if root[value] is not value or value not in made
            ]
        results = self.backend.run([*arrays, *(numbers[i] for i in sorted(self.changing))])
        for i in self.views:
            results[i] = _own(results[i])
        return results


def _own(array: Any) -> Any:
    return np.array(array, order="K") if isinstance(array, np.ndarray | np.generic) else array


def _is_number(step: Step, operand: Any) -> bool:
    """Whether an operand is a number that may be an input in its place."""
    return type(operand) is float and is_elementwise(step.name)


def _with_inputs(program: Program, changing: set[int]) -> Program:
    """A program with some of its numbers as inputs, after the others."""
    steps, inputs, count = [], [*program.inputs], -1
    for step in program.steps:
        operands = [*step.operands]
        for i, operand in enumerate(operands):
            if _is_number(step, operand):
                count += 1
                if count in changing:
                    operands[i] = Value((), np.dtype(float), True)
                    inputs.append(operands[i])
        steps.append(Step(step.name, operands, step.parameters, step.results))
    return Program(inputs, {}, steps, program.outputs)


def _key(program: Program) -> tuple[Any, list[float]]:
    """What a program is found by: all of it, but numbers, which are returned beside it.

    TypeError for what cannot be compared.
    """
    places: dict[Value, int] = {}
    numbers: list[float] = []

    def entered(value: Value | None) -> Any:
        if value is None:
            return None
        places[value] = len(places)
        return value.shape, value.dtype, value.weak, value.strides

    def part(operand: Any) -> Any:
        if isinstance(operand, Value):
            return places[operand]
        if isinstance(operand, tuple | list):
            return type(operand), *map(part, operand)
        return _constant(operand)

    rows: list[Any] = [*map(entered, program.inputs)]
    for step in program.steps:
        operands = []
        for operand in step.operands:
            if _is_number(step, operand):
                numbers.append(operand)
                operands.append(float)
            else:
                operands.append(part(operand))
        parameters = [(name, _constant(value)) for name, value in step.parameters.items()]
        rows.append((step.name, *operands, *parameters, *map(entered, step.results)))
    return (*rows, *(places[value] for value in program.outputs)), numbers


def _constant(value: Any) -> Any:
    """A constant, equal to no other one: neither 0.0 to -0.0, nor 1 to True."""
    if isinstance(value, tuple | list):
        return type(value), *map(_constant, value)
    if isinstance(value, slice):
        return slice, _constant(value.start), _constant(value.stop), _constant(value.step)
    if isinstance(value, dict):
        return dict, *((name, _constant(one)) for name, one in value.items())
    if isinstance(value, float | complex | np.generic):
        return type(value), repr(value)
    if isinstance(value, Loop):
        raise TypeError  # another one at each call
    hash(value)
    return type(value), value


class Pieces:
    """The pieces of one call that is recorded on a tape."""

    def __init__(self, programs: Programs, tape: Any) -> None:
        self.programs = programs
        self.tape = tape
        self.known: dict[Value, Any] = {}  # what the pieces so far have given
        self.given: dict[Value, Any] = {}  # the inputs of the tape, if its end was reached
        self.cheap: set[Value] = set()  # the large results of elementwise steps, so far
        self.seen = 0
        self.computed = 0  # steps
        self.whole: Any = None  # the program of the whole function, from then on

    def told(self, recorded: Any) -> Any:
        """The array, or number, that Python may know."""
        return self.values([recorded.value, *self._worth_keeping()])[0]

    def _worth_keeping(self) -> list[Value]:
        """Of the values that are still referred to, those that are not soon computed again.

        To compute elementwise steps again, in a loop with others, costs less than to write and read
        memory for all that a graph refers to.
        """
        steps = self.tape.steps
        for step in steps[self.seen :]:
            if is_elementwise(step.name):
                self.cheap.update(v for v in step.results if math.prod(v.shape) >= LARGE)
        self.seen = len(steps)
        alive = [one.value for reference in self.tape.left_out if (one := reference()) is not None]
        if sum(value in self.cheap for value in alive) <= FEW:
            return alive
        return [value for value in alive[:-1] if value not in self.cheap] + alive[-1:]

    def values(self, outputs: Sequence[Value]) -> list[Any]:
        """Some values, which nobody may change; for those that are not known yet a piece runs."""
        new = [value for value in dict.fromkeys(outputs) if value not in self.known]
        if new:
            self.known.update(zip(new, self._run(new)))
        return [self.known[value] for value in outputs]

    def _run(self, outputs: list[Value]) -> list[Any]:
        given = self.given or {
            one.first: self.tape.before.get(one, one.array) for one in self.tape.given
        }
        steps: list[Step] = []
        read = {value for value in outputs if value not in given}
        inputs: dict[Value, Any] = {value: given[value] for value in outputs if value in given}
        for step in reversed(self.tape.steps):
            if not read:
                break
            if read.isdisjoint(step.results):
                continue
            steps.append(step)
            read.difference_update(step.results)
            for value in step.values():
                source = self.known if value in self.known else given
                if value in source:
                    inputs[value] = source[value]
                else:
                    read.add(value)
        self.computed += len(steps)
        if self.computed > 2 * len(self.tape.steps) + MANY:
            self.programs.is_over = True
        program = Program([*inputs], {}, steps[::-1], outputs)
        return self.programs.run(program, [*inputs.values()])

    prepare = None  # what has run already does not wait

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """The outputs of the whole function, each with memory of its own, for its inputs."""
        self.given = dict(zip(self.whole.inputs, arrays)) | self.whole.constants
        results, known = [], self.values(self.whole.outputs)
        for i, array in enumerate(known):
            is_twice = any(array is other for other in known[:i])
            results.append(_own(array) if is_twice else array)
        return results
