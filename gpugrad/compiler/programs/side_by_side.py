"""Loops of a program that may run at the same time, as one loop. Imports merging, rewriting.

The derivatives of a loop along several directions are loops that compute the same turns again, each
for itself. As one loop they compute those once.
"""

from collections.abc import Sequence
from typing import Any

from gpugrad.compiler.programs.liveness import escaping
from gpugrad.compiler.programs.merging import numbered
from gpugrad.compiler.programs.program import Program, Step, Value
from gpugrad.compiler.programs.rewriting import needed

__all__ = ["side_by_side", "without_unused"]


def side_by_side(program: Program) -> Program:
    """The program with one loop for several of one length that share operands.

    None of them depends on another one: they have one level, which is how many loops lie behind
    each other up to a step, and steps are put in the order of their levels.
    """
    levels: dict[Value, int] = {}
    bunches: dict[Any, list[list[Step]]] = {}
    ranks = []
    for step in program.steps:
        level = max((levels.get(value, 0) for value in step.values()), default=0)
        is_loop = step.name == "scan"
        if is_loop:
            level += 1
            loop = step.parameters["loop"]
            _join(bunches.setdefault((level, loop.length, loop.reverse), []), step)
        levels |= dict.fromkeys(step.results, level)
        ranks.append((level, not is_loop))
    several = [one for found in bunches.values() for one in found if len(one) > 1]
    if not several:
        return program
    bunch_of = {id(step): bunch for bunch in several for step in bunch}
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    return _joined(program, [program.steps[i] for i in order], bunch_of)


def _join(bunches: list[list[Step]], loop: Step) -> None:
    operands = {*loop.values()}
    for bunch in bunches:
        if not operands.isdisjoint(value for one in bunch for value in one.values()):
            bunch.append(loop)
            return
    bunches.append([loop])


def _joined(program: Program, ordered: Sequence[Step], bunch_of: dict[int, list[Step]]) -> Program:
    """The program with a loop for each bunch of them, at the place of its first."""
    kept = escaping(program)  # whose memory the caller gets: each has its own
    instead: dict[Value, Value] = {}
    steps: list[Step] = []

    for step in ordered:
        bunch = bunch_of.get(id(step), [step])
        if bunch[0] is not step:
            continue
        given = [
            Step(one.name, _renamed(one.operands, instead), one.parameters, one.results)
            for one in bunch
        ]
        if len(bunch) == 1:
            steps += given
            continue
        together = _Together(given)
        steps.append(together.step())
        for value, first in together.same.items():
            if value in kept:
                steps.append(Step("copy", [first], {}, [value]))
            else:
                instead[value] = first
    return Program(program.inputs, program.constants, steps, program.outputs)


class _Together:
    """Some loops as one; ``same`` has the results that it does not give, by those they equal."""

    def __init__(self, loops: Sequence[Step]) -> None:
        self.first = loops[0].parameters["loop"]
        self.same: dict[Value, Value] = {}
        # Of a carry: what it begins with, the body's input, what follows it, and the result.
        self.carries: list[tuple[Value, Value, Value, Value]] = []
        self.slices: dict[Any, Value] = {}  # the body's inputs, by operands and kinds
        self.rest: dict[Any, Value] = {}
        self.ys: list[tuple[Value, Value]] = []  # the body's outputs, and the results
        self.constants: dict[Value, Any] = {}
        self.steps: list[Step] = []
        for step in loops:
            self._add(step)

    def _add(self, step: Step) -> None:
        loop = step.parameters["loop"]
        body, count, moving = loop.body, loop.carries, loop.carries + loop.slices
        own: dict[Value, Value] = {}
        for place, (operand, value) in enumerate(zip(step.operands, body.inputs)):
            if place < count:
                own[value] = _like(value)
                continue
            known = self.slices if place < moving else self.rest
            own[value] = known.setdefault((operand, _kind(value)), _like(value))
        self.constants |= body.constants
        for one in body.steps:
            operands = _renamed(one.operands, own)
            own |= {value: _like(value) for value in one.results if value is not None}
            results = [None if value is None else own[value] for value in one.results]
            self.steps.append(Step(one.name, operands, one.parameters, results))
        outputs = _renamed(tuple(body.outputs), own)
        inputs = _renamed(tuple(body.inputs), own)
        self.carries += zip(step.operands[:count], inputs, outputs, step.results)
        self.ys += zip(outputs[count:], step.results[count:])

    def step(self) -> Step:
        """The step of the loop."""
        first, numbers = self._equal_carries()
        own = {one[1]: self.carries[i][1] for one, i in zip(self.carries, first)}
        kept = [one for place, one in enumerate(self.carries) if first[place] == place]
        self.same |= {
            one[3]: self.carries[i][3]
            for one, i in zip(self.carries, first)
            if one[1] != own[one[1]]
        }
        ys: dict[Any, tuple[Value, Value]] = {}
        for output, result in self.ys:
            known = ys.setdefault(numbers[output], (output, result))
            if known[1] is not result:
                self.same[result] = known[1]
        inputs = [one[1] for one in kept] + [*self.slices.values(), *self.rest.values()]
        steps = [
            Step(one.name, _renamed(one.operands, own), one.parameters, one.results)
            for one in self.steps
        ]
        outputs = [*(one[2] for one in kept), *(output for output, _ in ys.values())]
        body = Program(inputs, self.constants, steps, _renamed(tuple(outputs), own))
        loop = type(self.first)(
            body, len(kept), len(self.slices), self.first.length, self.first.reverse
        )
        operands = [one[0] for one in kept] + [key[0] for key in (*self.slices, *self.rest)]
        results = [*(one[3] for one in kept), *(result for _, result in ys.values())]
        return Step("scan", operands, {"loop": loop}, results)

    def _equal_carries(self) -> tuple[list[int], dict[Value, Any]]:
        """By carry the first one that equals it in all turns, and the numbers of values.

        Carries that begin with the same are equal if what follows them is, were they equal.
        """
        body = Program([], self.constants, self.steps, [])
        inputs = [*self.slices.values(), *self.rest.values()]
        keys: list[Any] = [(one[0], _kind(one[1])) for one in self.carries]
        first: list[int] = []
        while True:
            equal, first = first, [keys.index(key) for key in keys]
            given = {one: one for one in inputs}
            given |= {one[1]: self.carries[i][1] for one, i in zip(self.carries, first)}
            numbers = numbered(body, given)
            if equal == first:
                return first, numbers
            keys = [(i, numbers[one[2]]) for one, i in zip(self.carries, first)]


def without_unused(program: Program) -> Program:
    """The program whose loops give, compute and take what is needed alone."""
    alive = set(program.outputs)
    steps = []
    for step in reversed(program.steps):
        if alive.isdisjoint(step.results):
            continue
        if step.name == "scan":
            step = _shortened(step, alive)
        steps.append(step)
        alive.update(step.values())
    return needed(Program(program.inputs, program.constants, steps[::-1], program.outputs))


def _shortened(step: Step, alive: set[Value]) -> Step:
    loop = step.parameters["loop"]
    body, count = loop.body, loop.carries
    outputs = [*zip(body.outputs, step.results)]
    ys = [one for one in outputs[count:] if one[1] in alive]
    kept = {place for place, (_, result) in enumerate(outputs[:count]) if result in alive}
    while True:  # until no carry is read for another one
        own = [outputs[place] for place in sorted(kept)] + ys
        short = needed(Program(body.inputs, body.constants, body.steps, [one for one, _ in own]))
        used = {*short.outputs, *(value for one in short.steps for value in one.values())}
        more = {place for place in range(count) if body.inputs[place] in used} - kept
        if not more:
            break
        kept |= more
    places = [*sorted(kept)]
    places += [place for place in range(count, len(body.inputs)) if body.inputs[place] in used]
    slices = sum(count <= place < count + loop.slices for place in places)
    short.inputs = [body.inputs[place] for place in places]
    loop = type(loop)(short, len(kept), slices, loop.length, loop.reverse)
    operands = [step.operands[place] for place in places]
    return Step("scan", operands, {"loop": loop}, [result for _, result in own])


def _kind(value: Value) -> Any:
    return value.shape, value.dtype, value.weak, value.strides


def _like(value: Value) -> Value:
    new = Value(value.shape, value.dtype, value.weak)
    new.strides = value.strides
    return new


def _renamed(operand: Any, names: dict[Value, Value]) -> Any:
    if isinstance(operand, Value):
        return names.get(operand, operand)
    return (
        tuple(_renamed(part, names) for part in operand) if isinstance(operand, tuple) else operand
    )
