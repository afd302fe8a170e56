"""Programs made shorter, with the same results. Imports merging, rules, side_by_side."""

import math
from typing import Any

import numpy as np

from gpugrad.compiler.programs.liveness import peak_bytes
from gpugrad.compiler.programs.merging import merged
from gpugrad.compiler.programs.program import Program, Step, Value, is_elementwise
from gpugrad.compiler.programs.rewriting import Rewriter, needed, rewritten
from gpugrad.compiler.programs.rules import EXPANDING, RULES, strip_broadcasts
from gpugrad.compiler.programs.side_by_side import side_by_side, without_unused

__all__ = ["simplified"]

FEW_BYTES = 4096


def simplified(program: Program) -> Program:
    """An equivalent program that does less.

    Inputs and outputs have the shapes and dtypes that they had, and the same values to the last
    bit, but that a NaN may have another sign, and that a sum of gradients of slices keeps a -0.0,
    as eager's does. What the caller gets is memory of its own where it was before. The most memory
    in use at a time does not grow, but for the carries of loops that become one.

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
    program = without_unused(merged_all)
    together = without_unused(side_by_side(program))
    return program if peak_bytes(together) > peak_bytes(program) + FEW_BYTES else together


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
