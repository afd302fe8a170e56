"""The source of a Python function that runs a program. Imports liveness, program and engine.

`Writer` writes for any array library, a call a line. What is read no more is deleted at once, and
an array that is changed in place, and not read as it was, is not copied before.
"""

import math
from collections.abc import Collection
from functools import partial
from operator import setitem
from typing import Any

import numpy as np

from gpugrad.backend.namespace import namespace_of
from gpugrad.compiler.programs.liveness import last_uses, roots
from gpugrad.compiler.programs.program import (
    FUNCTIONS,
    Program,
    Step,
    Value,
    flat,
    function_of,
    is_elementwise,
    values_in,
)
from gpugrad.compiler.replay.tail import UNKNOWN, Places, in_blocks, tail_of
from gpugrad.engine.op import TABLE
from gpugrad.engine.versions import writing

__all__ = ["Writer", "gives_several"]

NUMPY = namespace_of(np.empty(0))
# Functions that give several arrays in a tuple, or in a list, of however many.
SEVERAL = frozenset((
    "array_split", "broadcast_arrays", "dsplit", "hsplit", "meshgrid", "split", "split_heads",
    "unstack", "vsplit",
))  # fmt: skip
CHANGES = {
    "set_item": "{}[{}] = {}",
    "add_item": "{}[{}] += {}",
    "set_view": "set_view({}, {}, {})",
}
# Beside elementwise steps, those whose result is new memory: it may be changed in place.
NEW = frozenset((
    "convolution", "convolution_transpose", "copy", "empty", "empty_like", "full", "full_like",
    "matmul", "max", "min", "ones", "ones_like", "own", "prod", "scatter", "sum",
    "transposed_matmul", "zeros", "zeros_like", *CHANGES,
))  # fmt: skip
# Steps that are written without a call of a function.
INLINE = {
    "get_item": "{}[{}]", "astype": "{}.astype({})", "reshape": "{}.reshape({})",
    "copy": "{}.copy()", "own": "{}.copy()", "transpose": "{}.transpose({})",
}  # fmt: skip


def gives_several(step: Step) -> bool:
    """Whether a step's function gives a tuple of arrays, or a list, if only of one."""
    op = TABLE.get(step.name)
    return len(step.results) != 1 or step.name in SEVERAL or (op is not None and bool(op.outputs))


def set_view(array: Any, views: Any, value: Any) -> None:
    """Change a view of an array in place, which is a chain of (name, operands, parameters)."""
    for name, operands, parameters in views:
        array = function_of(array, name)(array, *operands, **parameters)
    array[...] = value


class Writer:
    """Writes the function for arrays of a namespace.

    ``places`` says what the outs are, and ``stay`` which steps are no calls, see `tail`. The
    function returns the outputs, and the calls that write those with an out into it.
    """

    # Whether the last steps of outputs are calls of ufuncs, which write into the outs.
    has_tail = False

    def __init__(
        self, program: Program, xp: Any, places: Places, stay: Collection[Step] = ()
    ) -> None:
        self.xp = xp
        count = len(program.outputs)
        self.places = (*places, *[None] * (count - len(places)))
        self.tail, self.direct = tail_of(program, self.places, stay) if self.has_tail else ([], {})
        last = set(self.tail)
        steps = [step for step in program.steps if step not in last]
        self.body = len(steps)
        self.program = Program(
            program.inputs, program.constants, [*steps, *self.tail], program.outputs
        )
        self.root = roots(self.program)
        self.last = last_uses(self.program)
        self.lines: list[str] = []
        self.globals: dict[str, Any] = {
            "array": np.array, "asarray": np.asarray, "flat": flat,
            "in_blocks": in_blocks, "partial": partial, "set_view": set_view,
            "setitem": setitem, "writing": writing,
        }  # fmt: skip
        self.names: dict[Value, str] = {}
        self.fresh: set[Value] = set()  # results in memory that nobody else has
        self.last_read = self._last_reads()

    def write(self) -> str:
        """The source."""
        given = "".join(f"{self._named(value, 'x')}, " for value in self.program.inputs)
        if given:
            self.lines.append(f"{given}= inputs")
        for value, constant in self.program.constants.items():
            self.globals[self._named(value, "c")] = constant
        for number, place in enumerate(self.places):
            if place is not None:
                self.lines.append(f"out{number} = outs[{number}]")
        for index, step in enumerate(self.program.steps):
            self.step(index, step)
            self._release(index, step)
        self._finish()
        body = "\n".join(f"    {line}" for line in self.lines)
        return f"def run(inputs, outs):\n{body}\n"

    def scope(self) -> dict[str, Any]:
        """What the names stand for that are not local."""
        return dict(self.globals)

    # What subclasses change.

    def step(self, index: int, step: Step) -> None:
        """Write a step."""
        if step.name in CHANGES:
            self.change(index, step)
        else:
            self.call(step)

    def call(self, step: Step) -> None:
        """Write a step as a call whose results are local variables."""
        names = [self._target(value) for value in step.results]
        if not gives_several(step):
            self.lines.append(f"{names[0]} = {self.expression(step)}")
            (value,) = step.results
            if value is not None and (is_elementwise(step.name) or step.name in NEW):
                self.fresh.add(value)
        else:
            self.lines.append(f"{', '.join(names)}, = flat({self.expression(step)})")

    def change(self, index: int, step: Step) -> None:
        """Write a change in place: of the array itself if that is not read any more."""
        array, *others = step.operands
        name = self._target(step.results[0])
        before = self.text(array)
        if not (array in self.fresh and array.ndim and self.last[array] == index):
            # NumPy gives a number in place of an array without axes.
            is_array = array.ndim or self.xp is not NUMPY
            before = f"{before}.copy()" if is_array else f"array({before})"
        self.lines.append(f"{name} = {before}")
        self.lines.append(CHANGES[step.name].format(name, *map(self.text, others)))
        self.fresh.add(step.results[0])

    def tail_calls(self) -> list[str]:
        """The lists of calls of the tail, starred."""
        return []

    # Expressions.

    def expression(self, step: Step) -> str:
        """The call of a step."""
        operands = [self.text(operand) for operand in step.operands]
        if step.name in INLINE and not step.parameters:
            return INLINE[step.name].format(operands[0], ", ".join(operands[1:]))
        named = [f"{key}={self.text(value)}" for key, value in step.parameters.items()]
        return f"{self.function(step)}({', '.join([*operands, *named])})"

    def function(self, step: Step) -> str:
        """The name of the function that a step calls."""
        numbers_alone = bool(list(step.values())) and all(value.weak for value in step.values())
        name = f"{'number' if numbers_alone else 'f'}_{step.name.replace('.', '_')}"
        if name not in self.globals:
            found = FUNCTIONS.get(step.name) or (NUMPY if numbers_alone else self.xp)
            if step.name not in FUNCTIONS:
                for part in step.name.split("."):
                    found = getattr(found, part)
            self.globals[name] = found
        return name

    def text(self, operand: Any) -> str:
        """An operand in the source."""
        if isinstance(operand, Value):
            return self.names[operand]
        if isinstance(operand, tuple | list) and any(True for _ in values_in(operand)):
            parts = "".join(f"{self.text(part)}, " for part in operand)
            return f"({parts})" if isinstance(operand, tuple) else f"[{parts}]"
        if operand is None or isinstance(operand, bool | int):
            return repr(operand)
        if type(operand) is float and math.isfinite(operand):
            return repr(operand) if operand >= 0 else f"({operand!r})"
        name = f"k{len(self.globals)}"
        self.globals[name] = operand
        return name

    def _named(self, value: Value, prefix: str) -> str:
        name = self.names[value] = f"{prefix}{len(self.names)}"
        return name

    def _target(self, value: Value | None) -> str:
        return "_" if value is None else self._named(value, "v")

    # Outputs.

    def _saved(self, number: int) -> str:
        """The value of an output, copied if that has memory of an input that is written to."""
        value = self.program.outputs[number]
        name = self.names[value]
        written = [place for place in self.places if place is not None and place != -1]
        inputs = self.program.inputs
        given = inputs if UNKNOWN in written else [inputs[place] for place in written]
        if self.root[value] not in given or value.weak:
            return name
        self.lines.append(f"copy{number} = {name}.copy()")
        return f"copy{number}"

    def _is_unchanged(self, number: int) -> bool:
        """Whether an out is the very input that is to be written into it."""
        place = self.places[number]
        value = self.program.outputs[number]
        return place is not None and place >= 0 and self.program.inputs[place] is value

    def _finish(self) -> None:
        """Return the outputs, and the calls that write into the outs."""
        results, calls = [], self.tail_calls()
        done = set(self.direct.values())
        for number, value in enumerate(self.program.outputs):
            name = f"out{number}"
            if self.places[number] is None:
                name = self._saved(number)
                if not value.ndim and not value.weak and self.xp is NUMPY:
                    name = f"asarray({name})"
            elif number not in done and not self._is_unchanged(number):
                calls.append(f"*writing({name}, {self._saved(number)})")
            results.append(name)
        self.lines.append(f"return [{', '.join(results)}], [{', '.join(calls)}]")

    # Memory.

    def _last_reads(self) -> dict[Value, int]:
        """The number of the last step that reads a value itself."""
        found: dict[Value, int] = {}
        for index, step in enumerate(self.program.steps):
            for value in (*step.values(), *step.results):
                if value is not None:
                    found[value] = index
        return found | dict.fromkeys(self.program.outputs, len(self.program.steps))

    def is_local(self, value: Value) -> bool:
        """Whether the name of a result is a local variable."""
        return self.names.get(value, "").startswith("v")

    def _release(self, index: int, step: Step) -> None:
        """Delete the variables that no later step reads."""
        values = dict.fromkeys((*step.values(), *step.results))
        names = [
            self.names[value]
            for value in values
            if value is not None and self.last_read[value] == index and self.is_local(value)
        ]
        if names and index < self.body:
            self.lines.append(f"del {', '.join(names)}")
