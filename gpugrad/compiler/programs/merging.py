"""Steps that do the same, as one step; which values are the same. Imports liveness, program."""

import itertools
from typing import Any

import numpy as np

from gpugrad.compiler.programs.liveness import last_uses, roots
from gpugrad.compiler.programs.program import Program, Step, Value
from gpugrad.compiler.programs.rewriting import Rewriter, rewritten

__all__ = ["merged", "numbered"]

COMMUTATIVE = ("add", "multiply")
COPIES = ("copy", "own")
NEVER_MERGED = ("empty", "empty_like", *COPIES)
SMALL = 512  # bytes of constants that are compared


def merged(program: Program, while_alive: bool = False) -> Program:
    """Steps that do the same with the same operands as one step.

    With ``while_alive`` only if the first result is still in memory at the second step.
    """
    root, last = roots(program), last_uses(program)
    known: dict[Any, Value] = {}
    numbers = itertools.count()

    def merge(rewriter: Rewriter, step: Step) -> Any:
        index = next(numbers)
        if len(step.results) != 1 or step.name in NEVER_MERGED:
            return None
        (value,) = step.results
        first = known.setdefault(_key_of_step(step, program.constants, {}), value)
        if first is value:
            return None
        if while_alive and last[root[first]] < index:
            known[_key_of_step(step, program.constants, {})] = value
            return None
        last[root[first]] = max(last[root[first]], last[root[value]])
        return first

    return rewritten(program, (merge,))


def numbered(program: Program, given: dict[Value, Any]) -> dict[Value, Any]:
    """A number for each value; values with equal numbers are the same.

    ``given`` has those of inputs that are, or are said to be, the same as others.

    >>> x, y, z = (Value((), np.dtype("f")) for _ in range(3))
    >>> steps = [Step("exp", [x], {}, [y]), Step("exp", [x], {}, [z])]
    >>> numbers = numbered(Program([x], {}, steps, [y, z]), {})
    >>> numbers[y] == numbers[z] != numbers[x]
    True
    """
    numbers: dict[Value, Any] = {value: value for value in (*program.inputs, *program.constants)}
    numbers |= given
    first: dict[Any, Value] = {}
    for step in program.steps:
        if step.name in COPIES:
            numbers[step.results[0]] = numbers[step.operands[0]]
            continue
        key = _key_of_step(step, program.constants, numbers)
        for place, value in enumerate(step.results):
            is_new = step.name in NEVER_MERGED
            numbers[value] = value if is_new else first.setdefault((place, key), value)
    return numbers


def _key_of_step(step: Step, constants: dict[Value, Any], numbers: dict[Value, Any]) -> Any:
    operands: Any = [_key(operand, constants, numbers) for operand in step.operands]
    operands = frozenset(operands) if step.name in COMMUTATIVE else tuple(operands)
    parameters = [(name, _key(one, constants, numbers)) for name, one in step.parameters.items()]
    return step.name, operands, tuple(parameters), step.results[0].weak


def _key(operand: Any, constants: dict[Value, Any], numbers: dict[Value, Any]) -> Any:
    """What is equal only for operands that are the same: 1, 1.0 and True are not, nor 0.0, -0.0."""
    if isinstance(operand, Value):
        array = constants.get(operand)
        if isinstance(array, np.ndarray | np.generic) and array.nbytes <= SMALL:
            return type(array), array.dtype, array.shape, array.tobytes()
        return numbers.get(operand, operand)
    if isinstance(operand, tuple | list):
        return type(operand), *(_key(part, constants, numbers) for part in operand)
    if isinstance(operand, slice):
        return slice, *(repr(part) for part in (operand.start, operand.stop, operand.step))
    if isinstance(operand, np.generic):
        return type(operand), operand.tobytes()
    if isinstance(operand, bool | int | float | complex):
        return type(operand), repr(operand)
    if operand is None or isinstance(operand, str | type | np.dtype | type(Ellipsis)):
        return type(operand), operand
    return "object", id(operand)  # which the step keeps alive
