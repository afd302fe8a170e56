"""A program written anew, step by step, by rules. Imports liveness, program.

A rule looks at one step and at how its operands were made. It returns a value or a Python number
that the result equals, a step that computes it in another way, or None.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.compiler.programs.liveness import escaping
from gpugrad.compiler.programs.program import Program, Step, Value, gives_view

__all__ = ["Rewriter", "Rule", "as_filled", "rewritten"]

Rule = Callable[["Rewriter", Step], Any]
FEW = 64  # a constant of so many elements at most is looked at
NUMBERS = (bool, int, float, complex)
# Steps that give elements of their first operand, and nothing else.
MOVING = (
    "broadcast_to", "copy", "expand", "expand_dims", "flip", "get_item", "moveaxis", "ravel",
    "reshape", "squeeze", "swapaxes", "transpose",
)  # fmt: skip


class Rewriter:
    """The new program so far, and what rules ask about its values.

    ``fills`` has the values all of whose elements are one number, as scalars of NumPy.
    """

    def __init__(self, program: Program, rules: Sequence[Rule]) -> None:
        self.program = program
        self.constants = dict(program.constants)
        self.steps: list[Step] = []
        self.fills: dict[Value, Any] = {}
        self.escaping = escaping(program)
        self._rules = rules
        self._makers: dict[Value, Step] = {}
        self._instead: dict[Value, Any] = {}
        for value, array in program.constants.items():
            self._note_constant(value, array)

    def rewrite(self) -> Program:
        """Apply the rules to each step, until none applies."""
        for step in self.program.steps:
            self.add(Step(step.name, self._current(step.operands), step.parameters, step.results))
        outputs = [self._instead.get(value, value) for value in self.program.outputs]
        return Program(self.program.inputs, self.constants, self.steps, outputs)

    def maker(self, operand: Any, *names: str) -> Step | None:
        """The step of one of these names whose result an operand is, None if there is none."""
        step = self._makers.get(operand) if isinstance(operand, Value) else None
        return step if step is not None and step.name in names else None

    def number(self, operand: Any) -> Any:
        """The number that an operand, or each of its elements, is; None if that is not known."""
        if isinstance(operand, Value):
            return self.fills.get(operand)
        return operand if isinstance(operand, NUMBERS) else None

    def new(self, name: str, operands: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> Value:
        """A new value, and the step that computes it."""
        value = Value(shape, dtype)
        self.add(Step(name, operands, {}, [value]))
        current = self._instead.get(value, value)
        assert isinstance(current, Value)
        return current

    def constant(self, array: Any) -> Value:
        """A new constant."""
        value = Value(array.shape, array.dtype)
        self.constants[value] = array
        self._note_constant(value, array)
        return value

    def _current(self, operand: Any) -> Any:
        if isinstance(operand, Value):
            return self._instead.get(operand, operand)
        if isinstance(operand, tuple | list):
            return type(operand)(map(self._current, operand))
        return operand

    def add(self, step: Step) -> None:
        """Add a step, or what the rules make of it."""
        while True:
            for rule in self._rules:
                found = rule(self, step)
                if found is not None:
                    break
            else:
                self._append(step)
                return
            if not isinstance(found, Step):
                self._replace(step, found)
                return
            step = found

    def _replace(self, step: Step, other: Any) -> None:
        """Take another value, or a number, for the result of a step.

        What the caller gets has memory of its own, unless it is a view of that value anyway.
        """
        (value,) = step.results
        if value not in self.escaping or (gives_view(step) and isinstance(other, Value)):
            self._instead[value] = other
        elif other not in self.escaping and self._is_new(other):
            self.escaping.add(other)  # the caller gets that memory
            self._instead[value] = other
        else:
            self._append(Step("copy", [other], {}, step.results))

    def _is_new(self, operand: Any) -> bool:
        """Whether an operand is a result with memory of its own."""
        made = self._makers.get(operand) if isinstance(operand, Value) else None
        return made is not None and not gives_view(made)

    def _append(self, step: Step) -> None:
        self.steps.append(step)
        for value in step.results:
            self._makers[value] = step
        if len(step.results) == 1 and (fill := self._filled(step)) is not None:
            self.fills[step.results[0]] = fill

    def _filled(self, step: Step) -> Any:
        """The number that all elements of the result are, None if that is not known."""
        (value,) = step.results
        kind = value.dtype.type
        if step.name.removesuffix("_like") in ("zeros", "ones"):
            return kind(step.name.startswith("ones"))
        if step.name in ("full", "full_like") and type(step.operands[1]) in NUMBERS:
            return as_filled(step.operands[1], value.dtype)
        if step.name in MOVING and value.dtype == getattr(step.operands[0], "dtype", None):
            return self.number(step.operands[0])
        return None

    def _note_constant(self, value: Value, array: Any) -> None:
        """Note that a small constant has one number alone, one that is equal to itself."""
        if isinstance(array, np.ndarray | np.generic) and 0 < array.size <= FEW:
            first = array.reshape(-1)[0]
            if np.all(array == first) and array.dtype.kind in "biuf" and signs_agree(array):
                self.fills[value] = first


def as_filled(number: Any, dtype: Any) -> Any:
    """A number as it is in an array that NumPy fills with it; None where that is refused."""
    try:
        with np.errstate(all="ignore"):  # of NaN in whole numbers, and of what is too large
            return np.full((), number, dtype)[()]
    except (OverflowError, ValueError, TypeError):
        return None


def signs_agree(array: Any) -> bool:
    """Whether zeros, if there are any, have one sign."""
    if array.dtype.kind != "f":
        return True
    signs = np.signbit(array)  # not `np.unique`, which imports numpy.ma
    return bool(signs.all() == signs.any())


def is_plus_zero(number: Any) -> bool:
    """Whether a number is 0 and not -0.0."""
    return number == 0 and math.copysign(1, number) > 0


def rewritten(program: Program, rules: Sequence[Rule]) -> Program:
    """The program with each step replaced by what the first rules that apply give."""
    return Rewriter(program, rules).rewrite()


def needed(program: Program) -> Program:
    """The program without steps and constants that no output depends on."""
    alive = set(program.outputs)
    steps = []
    for step in reversed(program.steps):
        if not alive.isdisjoint(step.results):
            steps.append(step)
            alive.update(step.values())
    constants = {value: array for value, array in program.constants.items() if value in alive}
    return Program(program.inputs, constants, steps[::-1], program.outputs)
