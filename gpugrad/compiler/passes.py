"""Programs made shorter, with the same results. Imports liveness, program, rewriting, rules."""

import itertools
import math
from typing import Any

import numpy as np

from gpugrad.compiler.liveness import last_uses, peak_bytes, roots
from gpugrad.compiler.program import Program, Step, Value, is_elementwise
from gpugrad.compiler.rewriting import Rewriter, needed, rewritten
from gpugrad.compiler.rules import EXPANDING, RULES, strip_broadcasts

__all__ = ["simplified"]


def simplified(program: Program) -> Program:
    """An equivalent program that does less.

    Inputs and outputs have the shapes and dtypes that they had, and the same values to the last
    bit, but that a NaN may have another sign, and that a sum of gradients of slices keeps a -0.0,
    as eager's does. What the caller gets is memory of its own where it was before. The most memory
    in use at a time does not grow.

    >>> f = np.dtype("f")
    >>> x, y, z = (Value((3,), f) for _ in range(3))
    >>> steps = [Step("multiply", [x, 1], {}, [y]), Step("exp", [y], {}, [z])]
    >>> print(simplified(Program([x], {}, steps, [z])))
    x0: float32[3]
    v0: float32[3] = exp(x0)
    return v0
    """
    program = needed(rewritten(program, RULES))
    program = needed(shrunk(program))
    merged_all = merged(program)
    if peak_bytes(merged_all) > peak_bytes(program):  # as a checkpoint's second forward has it
        merged_all = merged(program, while_alive=True)
    return needed(merged_all)


def shrunk(program: Program) -> Program:
    """Elementwise steps of broadcast arrays as steps of the arrays before, broadcast afterwards.

    Only where elementwise steps alone read the result: they broadcast themselves, whereas sums and
    products may add in another order over other strides.
    """
    readers: dict[Value, bool] = {}
    for step in program.steps:
        for value in step.values():
            readers[value] = readers.get(value, True) and is_elementwise(step.name)

    def sink(rewriter: Rewriter, step: Step) -> Any:
        if not is_elementwise(step.name):
            return None
        (result,) = step.results
        if result in rewriter.escaping or not readers.get(result, False):
            return None
        operands = []
        for operand in step.operands:
            made = rewriter.maker(operand, *EXPANDING)
            operands.append(operand if made is None else made.operands[0])
        shape = np.broadcast_shapes(*(v.shape for v in operands if isinstance(v, Value)))
        if math.prod(shape) >= math.prod(result.shape):
            return None
        small = Value(shape, result.dtype)
        rewriter.add(Step(step.name, operands, step.parameters, [small]))
        return Step("broadcast_to", [small, result.shape], {}, step.results)

    return rewritten(program, (strip_broadcasts, sink))


COMMUTATIVE = ("add", "multiply")
NEVER_MERGED = ("empty", "empty_like", "copy", "own")
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
        first = known.setdefault(_key_of_step(step, program.constants), value)
        if first is value:
            return None
        if while_alive and last[root[first]] < index:
            known[_key_of_step(step, program.constants)] = value
            return None
        last[root[first]] = max(last[root[first]], last[root[value]])
        return first

    return rewritten(program, (merge,))


def _key_of_step(step: Step, constants: dict[Value, Any]) -> Any:
    operands: Any = [_key(operand, constants) for operand in step.operands]
    operands = frozenset(operands) if step.name in COMMUTATIVE else tuple(operands)
    parameters = [(name, _key(value, constants)) for name, value in step.parameters.items()]
    return step.name, operands, tuple(parameters), step.results[0].weak


def _key(operand: Any, constants: dict[Value, Any]) -> Any:
    """What is equal only for operands that are the same: 1, 1.0 and True are not, nor 0.0, -0.0."""
    if isinstance(operand, Value):
        array = constants.get(operand)
        if isinstance(array, np.ndarray | np.generic) and array.nbytes <= SMALL:
            return type(array), array.dtype, array.shape, array.tobytes()
        return operand
    if isinstance(operand, tuple | list):
        return type(operand), *(_key(part, constants) for part in operand)
    if isinstance(operand, slice):
        return slice, *(repr(part) for part in (operand.start, operand.stop, operand.step))
    if isinstance(operand, np.generic):
        return type(operand), operand.tobytes()
    if isinstance(operand, bool | int | float | complex):
        return type(operand), repr(operand)
    if operand is None or isinstance(operand, str | type | np.dtype | type(Ellipsis)):
        return type(operand), operand
    return "object", id(operand)  # which the step keeps alive
