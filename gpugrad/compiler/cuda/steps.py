"""Steps of a program in a form of which CUDA makes fewer kernels. Imports program and expansion.

A dot product of two vectors is a product and its sum, which are fused with what comes before; what
depends on small constants alone is a constant.
"""

from math import prod
from typing import Any

import numpy as np

from gpugrad.compiler.programs.expansion import expanded
from gpugrad.compiler.programs.program import Program, Step, Value, function_of, is_elementwise
from gpugrad.compiler.schedule.indexed import index_of
from gpugrad.compiler.schedule.steps import computes

__all__ = ["prepared"]

SMALL = 1024  # elements of a constant that is computed beforehand
FILLED = {"ones_like": 1, "zeros_like": 0}


def prepared(program: Program) -> Program:
    """An equivalent program."""
    program = expanded(program, _computes)
    constants = dict(program.constants)
    known = {v: a for v, a in constants.items() if isinstance(a, np.ndarray | np.generic)}
    steps: list[Step] = []
    for step in program.steps:
        found = _constant(step, known)
        if found is not None:
            known[step.results[0]] = constants[step.results[0]] = found
        elif _is_dot(step):
            (a, b), (result,) = step.operands, step.results
            products = Value(a.shape, result.dtype)
            steps.append(Step("multiply", (a, b), {}, (products,)))
            steps.append(Step("sum", (products,), {}, (result,)))
        else:
            steps.append(step)
    return Program(program.inputs, constants, steps, program.outputs)


def _computes(step: Step) -> bool:
    """Whether kernels compute a step: an index of arrays is CuPy's."""
    return index_of(step) is None and computes(step)


def _constant(step: Step, known: dict[Value, Any]) -> Any:
    """The array that a step gives at each call; None where it depends on the call."""
    result = step.results[0]
    if len(step.results) != 1 or result is None or result.weak or prod(result.shape) > SMALL:
        return None
    if step.name in FILLED:
        return np.full(result.shape, FILLED[step.name], result.dtype)
    values = list(step.values())
    if not values or not is_elementwise(step.name) or not all(v in known for v in values):
        return None
    operands = [known[one] if isinstance(one, Value) else one for one in step.operands]
    with np.errstate(all="ignore"):
        array = np.asarray(function_of(operands[0], step.name)(*operands, **step.parameters))
    return array if (array.shape, array.dtype) == (result.shape, result.dtype) else None


def _is_dot(step: Step) -> bool:
    """Whether a step is the dot product of two real vectors of one dtype."""
    if step.name not in ("vdot", "dot") or len(step.operands) != 2 or step.parameters:
        return False
    values = (*step.operands, *step.results)
    return (
        all(isinstance(one, Value) and not one.weak for one in values)
        and {one.dtype for one in values} in ({np.dtype("f")}, {np.dtype("d")})
        and all(one.ndim == 1 for one in step.operands)
    )
