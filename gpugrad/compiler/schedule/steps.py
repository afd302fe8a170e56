"""Which steps of a program C computes, and what they cost. Imports elementwise, layout, program."""

import numpy as np

from gpugrad.compiler.programs.program import Step, Value
from gpugrad.compiler.schedule.elementwise import has_c_type, in_c
from gpugrad.compiler.schedule.indexed import index_of
from gpugrad.compiler.schedule.layout import contiguous, parts_of, view_of

__all__ = [
    "CONVOLUTIONS", "COPIES", "PRODUCTS", "REDUCTIONS", "RUNNING", "axes_of", "computes", "is_view",
    "weight_of",
]  # fmt: skip

REDUCTIONS = frozenset(("sum", "prod", "max", "min"))
RUNNING = ("cumsum", "cumprod")
COPIES = ("copy", "own")  # values never change, so that a copy is the same value
PRODUCTS = ("matmul", "transposed_matmul")
CONVOLUTIONS = ("under_windows_matmul", "under_windows_gradient")  # of `gpugrad.compiler.c.windows`
HEAVY = 20  # what a step that is no arithmetic weighs
DIVISIONS, DIVISION = ("divide", "reciprocal", "sqrt"), 4  # and what these do
ARITHMETIC = frozenset(
    ("sum", "prod", "max", "min", "add", "subtract", "multiply", "negative", "maximum", "minimum",
     "where", "astype", "copy", "square", "greater", "greater_equal", "less", "less_equal", "equal",
     "not_equal", "absolute", "logical_not", "logical_and", "logical_or", "zeros_like", "ones_like")
)  # fmt: skip


def computes(step: Step) -> bool:
    """Whether C computes a step, on arrays of any layout."""
    values = [value for value in (*step.values(), *step.results) if value is not None]
    if len(step.results) != 1 or step.results[0] is None or not step.operands:
        return False
    if any(0 in value.shape for value in values):
        return False
    first = step.operands[0]
    if isinstance(first, Value) and is_view(step, first):
        return True
    if not all(has_c_type(value.dtype) for value in values):
        return False
    if step.name in REDUCTIONS:
        return axes_of(step) is not None
    if step.name in PRODUCTS:
        return _is_product(step)
    if step.name in CONVOLUTIONS:
        dtypes = {np.dtype(value.dtype) for value in values}
        return len(dtypes) == 1 and dtypes.pop().kind == "f"
    if step.name in RUNNING:
        return _runs_along(step)
    if in_c(step.name, step.operands, step.parameters, step.results[0]):
        return True
    if index_of(step) is not None:
        return not any(value.weak for value in values)
    return not any(value.weak for value in values) and parts_of(step) is not None


def is_view(step: Step, first: Value) -> bool:
    """Whether a step gives a view of its first operand, where that is contiguous."""
    return step.name in COPIES or view_of(contiguous(first.shape), step) is not None


def axes_of(step: Step) -> tuple[int, ...] | None:
    """The axes of a reduction, among those longer than 1; None if C does not compute it."""
    x, result = step.operands[0], step.results[0]
    given = (*step.operands[1:], None)[0]
    if len(step.operands) > 2 or step.parameters.keys() - {"axis", "keepdims"}:
        return None
    axis = step.parameters.get("axis", given)
    if not isinstance(x, Value) or x.weak:
        return None
    if step.name in ("max", "min") and (x.dtype != result.dtype or np.dtype(x.dtype).kind == "b"):
        return None
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    reduced = [one % x.ndim for one in axes] if x.ndim else []
    longer = [i for i, size in enumerate(x.shape) if size != 1]
    return tuple(sorted(longer.index(i) for i in reduced if i in longer))


def _is_product(step: Step) -> bool:
    a, b = step.operands
    result = step.results[0]
    if step.parameters or not isinstance(a, Value) or not isinstance(b, Value):
        return False
    dtypes = {np.dtype(one.dtype) for one in (a, b, result)}
    if len(dtypes) > 1 or dtypes.pop().kind != "f" or a.weak or b.weak:
        return False
    return step.name == "matmul" or a.ndim == 2


def _runs_along(step: Step) -> bool:
    """Whether a running sum or product goes along one axis, of numbers of a kind."""
    x, axis = step.operands[0], step.parameters.get("axis")
    if not isinstance(x, Value) or x.weak or len(step.operands) > 1:
        return False
    return step.parameters.keys() <= {"axis"} and (isinstance(axis, int) or x.ndim == 1)


def weight_of(step: Step) -> int:
    """About how many operations of C a step of a loop takes."""
    if step.name in DIVISIONS:
        return DIVISION
    return 1 if step.name in ARITHMETIC else HEAVY
