"""Steps that are whole formulas, written as the steps they are made of. Imports namespaces.

A layer, an activation or a loss is one step of a program, since libraries have a function for it. A
compiler makes better of its pieces: it puts them into loops with what comes before and after. The
formula of the op table, or one of the compiler's own, runs over arrays that record, of the shapes,
dtypes and layouts of the operands.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.compiler.programs.program import Program, Step, Value, flat, function_of
from gpugrad.compiler.recording.namespaces import recorded_type  # noqa: F401  the types that record
from gpugrad.compiler.recording.recorded import Recorded
from gpugrad.compiler.recording.tape import Tape
from gpugrad.compiler.recording.unseen import LARGE
from gpugrad.compiler.schedule.layout import layout_of
from gpugrad.errors import GpugradError

__all__ = ["expanded"]

# Functions of no array, which give the same in every call.
_FILLED = frozenset(("arange", "eye", "full", "linspace", "ones", "tri", "zeros"))
DEEPEST = 8  # formulas within formulas


def expanded(
    program: Program, computes: Callable[[Step], bool], own: dict[str, Any] | None = None
) -> Program:
    """The program, with pieces in place of the steps all of whose pieces ``computes`` accepts.

    ``own`` has formulas that go before those of the op table.
    """
    formulas = FORMULAS | (own or {})
    steps: list[Step] = []
    constants = dict(program.constants)
    for step in program.steps:
        pieces = None if computes(step) else _pieces(step, computes, formulas, constants, DEEPEST)
        steps += [step] if pieces is None else pieces
    return Program(program.inputs, constants, steps, program.outputs)


def _pieces(
    step: Step, computes: Callable[[Step], bool], formulas: dict[str, Any],
    constants: dict[Value, Any], depth: int,
) -> list[Step] | None:  # fmt: skip
    """The pieces of a step; None if it has none, or one that is computed otherwise."""
    if step.name in _FILLED and not any(True for _ in step.values()):
        array = function_of(np.empty(0), step.name)(*step.operands, **step.parameters)
        constants[step.results[0]] = array
        return []
    formula = formulas.get(step.name) if depth else None
    recorded = None if formula is None else _recorded(step, formula, constants)
    if recorded is None:
        return None
    pieces: list[Step] = []
    for piece in recorded:
        inner = (
            [piece] if computes(piece) else _pieces(piece, computes, formulas, constants, depth - 1)
        )
        if inner is None:
            return None
        pieces += inner
    return pieces


def _recorded(step: Step, formula: Any, constants: dict[Value, Any]) -> list[Step] | None:
    """What the formula of a step does with arrays of its operands' shapes and dtypes."""
    tape = Tape(is_example=True)
    known: dict[Value, Recorded] = {}
    names: dict[Value, Value] = {}

    def example(operand: Any) -> Any:
        if isinstance(operand, tuple | list):
            return type(operand)(map(example, operand))
        if not isinstance(operand, Value):
            return operand
        if operand not in known:
            known[operand] = tape.enter(_example(operand))
            names[known[operand].value] = operand
        return known[operand]

    operands = [example(operand) for operand in step.operands]
    arrays = [one for one in known.values() if not one.is_weak]
    if not arrays:
        return None
    xp = namespace_of(arrays[0])
    try:
        with np.errstate(all="ignore"):
            made = [*flat(formula(xp, *operands, **step.parameters))]
    except (GpugradError, TypeError, ValueError, AttributeError, NotImplementedError):
        return None  # it asks for a value, or for what no recording has
    if len(made) != len(step.results):
        return None
    after = []
    for result, one in zip(step.results, made):
        if result is None:
            continue
        if isinstance(one, np.ndarray):  # which depends on shapes alone
            constants[result] = one
            continue
        if not isinstance(one, Recorded):
            return None
        if (one.value.shape, one.value.dtype) != (result.shape, result.dtype):
            return None
        after.append(Step("copy", (one.value,), {}, (result,)))
    tape.is_open = False
    # What a formula has from elsewhere is the same in every call.
    constants |= {one.first: one.array for one in tape.captured.values() if one.first not in names}
    return [_renamed(piece, names) for piece in (*tape.steps, *after)]


def _example(value: Value) -> Any:
    """An array that lies in memory as that of a value did."""
    if value.weak:
        return 1.0
    layout = layout_of(value)
    like = as_strided(np.empty((), np.int8), layout.shape, layout.strides)
    # What is large is not looked at, see `unseen`.
    is_large = value.dtype.kind == "f" and like.size >= LARGE
    return (np.empty_like if is_large else np.ones_like)(like, value.dtype)


def _renamed(step: Step, names: dict[Value, Value]) -> Step:
    """A step of a formula, with the operands of the whole step in place of the examples."""

    def named(operand: Any) -> Any:
        if isinstance(operand, tuple | list):
            return type(operand)(map(named, operand))
        return names.get(operand, operand) if isinstance(operand, Value) else operand

    return Step(step.name, tuple(map(named, step.operands)), step.parameters, step.results)
