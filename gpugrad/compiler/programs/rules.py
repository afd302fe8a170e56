"""What a step equals, rule by rule. Imports program, rewriting.

The rules are exact: they hold for infinities, NaN, which stays NaN, and for the sign of zero.
Where one is not, it says so.
"""

import math
from typing import Any

import numpy as np

from gpugrad.compiler.programs.program import (
    Step,
    Value,
    function_of,
    gives_view,
    is_elementwise,
    values_in,
)
from gpugrad.compiler.programs.rewriting import Rewriter, Rule, is_plus_zero

__all__ = ["RULES"]

MANY = 4096  # a constant that is computed beforehand has so many elements at most
EXPANDING = ("broadcast_to", "expand")
ARITHMETIC = ("add", "subtract", "multiply", "divide", "negative", "square")
NEVER_NEGATIVE = ("absolute", "abs", "exp", "exp2", "cosh", "hypot", "square")
NOT_CONSTANT = ("empty", "empty_like", "copy")


def fold_constants(rewriter: Rewriter, step: Step) -> Any:
    """The result of a step of constants. An error is left to the call that meets it."""
    values = list(step.values())
    if len(step.results) != 1 or step.name in NOT_CONSTANT or not _are_few(rewriter, step):
        return None
    (result,) = step.results
    if not all(value in rewriter.constants for value in values):
        return None
    if result.weak and result in rewriter.escaping:
        return None
    if not values and not (result.weak and is_elementwise(step.name)):
        return None  # it depends on the device
    array = rewriter.constants[values[0]] if values else np.empty(0)
    operands = _with_arrays(step.operands, rewriter.constants)
    try:
        with np.errstate(all="ignore"):
            y = function_of(array, step.name)(*operands, **step.parameters)
    except (ArithmeticError, TypeError, ValueError):
        return None
    if result.weak:
        return y.item() if isinstance(y, np.generic) else y
    if getattr(y, "shape", None) != result.shape or y.dtype != result.dtype:
        return None
    return rewriter.constant(y)


def _are_few(rewriter: Rewriter, step: Step) -> bool:
    return gives_view(step) or math.prod(step.results[0].shape) <= MANY


def _with_arrays(operand: Any, arrays: dict[Value, Any]) -> Any:
    if isinstance(operand, Value):
        return arrays[operand]
    if isinstance(operand, tuple | list):
        return type(operand)(_with_arrays(part, arrays) for part in operand)
    return operand


def fold_fills(rewriter: Rewriter, step: Step) -> Any:
    """Arithmetic of arrays that are one number each: an array that is one number."""
    if step.name not in ARITHMETIC:
        return None
    (result,) = step.results
    numbers = [rewriter.number(operand) for operand in step.operands]
    if any(number is None for number in numbers) or result.weak or result.dtype.kind != "f":
        return None
    with np.errstate(all="ignore"):
        y = getattr(np, step.name)(*numbers)
    # A GPU takes subnormal numbers for zeros.
    if y.dtype != result.dtype or (y != 0 and not abs(y) >= np.finfo(y.dtype).tiny):
        return None
    return Step("full", [result.shape, float(y)], {"dtype": result.dtype}, step.results)


def strip_broadcasts(rewriter: Rewriter, step: Step) -> Any:
    """An operand that is broadcast before an elementwise step, as it was: the step broadcasts."""
    if not is_elementwise(step.name):
        return None
    operands = list(step.operands)
    for place, operand in enumerate(operands):
        made = rewriter.maker(operand, *EXPANDING)
        if made is not None:
            before = operands[place]
            operands[place] = made.operands[0]
            if _broadcast(operands) != step.results[0].shape:
                operands[place] = before
    if all(a is b for a, b in zip(operands, step.operands)):
        return None
    return Step(step.name, operands, step.parameters, step.results)


def _broadcast(operands: list[Any]) -> tuple[int, ...]:
    return np.broadcast_shapes(*(value.shape for value in values_in(tuple(operands))))


def number_for_fill(rewriter: Rewriter, step: Step) -> Any:
    """A number in place of an array that is one number everywhere, beside arrays of its dtype."""
    if not is_elementwise(step.name) or step.name == "astype":
        return None
    operands = list(step.operands)
    for place in range(step.name == "where", len(operands)):
        operand = operands[place]
        fill = rewriter.number(operand)
        if fill is None or not isinstance(operand, Value) or operand.weak:
            continue
        others = operands[:place] + operands[place + 1 :]
        beside = [one for one in others[step.name == "where" :] if isinstance(one, Value)]
        if not any(one.dtype == operand.dtype and not one.weak for one in beside):
            continue
        if operand.dtype.kind in "biuf" and _broadcast(others) == step.results[0].shape:
            operands[place] = fill.item()
    if all(a is b for a, b in zip(operands, step.operands)):
        return None
    return Step(step.name, operands, step.parameters, step.results)


def _is_same(operand: Any, result: Value) -> bool:
    """Whether an operand has the shape and dtype of a result."""
    return (
        isinstance(operand, Value)
        and operand.shape == result.shape
        and operand.dtype == result.dtype
        and operand.weak == result.weak
    )


def _kind(step: Step) -> str:
    return str(step.results[0].dtype.kind)


def add(rewriter: Rewriter, step: Step) -> Any:
    """x + -0.0 is x, and x + 0 where x is not -0.0; a + -b is a - b."""
    for one, other in (step.operands, step.operands[::-1]):
        number = rewriter.number(other)
        if number is not None and number == 0 and _is_same(one, step.results[0]):
            exact = not is_plus_zero(number) or _not_minus_zero(rewriter, one)
            if _kind(step) in "iu" or (_kind(step) == "f" and exact):
                return one
        if (negated := rewriter.maker(other, "negative")) is not None and _kind(step) in "ifc":
            return Step("subtract", [one, negated.operands[0]], {}, step.results)
    return None


def _not_minus_zero(rewriter: Rewriter, value: Any) -> bool:
    """Whether no element is -0.0, as far as that is easy to see."""
    made = rewriter.maker(value, "add", "astype", *NEVER_NEGATIVE)
    if made is None or made.name in NEVER_NEGATIVE:
        return made is not None
    if made.name == "astype":
        return isinstance(made.operands[0], Value) and made.operands[0].dtype.kind in "biu"
    numbers = map(rewriter.number, made.operands)
    return any(number is not None and is_plus_zero(number) for number in numbers)


def subtract(rewriter: Rewriter, step: Step) -> Any:
    """x - 0 is x, where 0 is not -0.0; a - -b is a + b."""
    a, b = step.operands
    number = rewriter.number(b)
    if number is not None and is_plus_zero(number) and _is_same(a, step.results[0]):
        return a if _kind(step) in "iuf" else None
    if (negated := rewriter.maker(b, "negative")) is not None and _kind(step) in "ifc":
        return Step("add", [a, negated.operands[0]], {}, step.results)
    return None


def multiply(rewriter: Rewriter, step: Step) -> Any:
    """x * 1 is x, x * -1 is -x, -a * -b is a * b."""
    for one, other in (step.operands, step.operands[::-1]):
        number = rewriter.number(other)
        if number is None or not _is_same(one, step.results[0]):
            continue
        if number == 1 and _kind(step) in "biuf":
            return one
        if number == -1 and _kind(step) in "if":
            return Step("negative", [one], {}, step.results)
    a, b = (rewriter.maker(operand, "negative") for operand in step.operands)
    if a is not None and b is not None and _kind(step) in "if":
        return Step("multiply", [a.operands[0], b.operands[0]], {}, step.results)
    return None


def divide(rewriter: Rewriter, step: Step) -> Any:
    """x / 1 is x; x / 2**n is a product, which is quicker."""
    x, divisor = step.operands
    result = step.results[0]
    number = rewriter.number(divisor)
    if number is None or not _is_same(x, result) or result.dtype.kind != "f" or result.weak:
        return None
    if number == 1:
        return x
    limits = np.finfo(result.dtype)
    fraction, _ = math.frexp(number)
    if abs(fraction) != 0.5 or not limits.tiny <= abs(number) <= 1 / limits.tiny:
        return None
    return Step("multiply", [x, 1 / float(number)], {}, step.results)


def negative(rewriter: Rewriter, step: Step) -> Any:
    """-(-x) is x."""
    made = rewriter.maker(step.operands[0], "negative")
    return None if made is None else made.operands[0]


def positive(rewriter: Rewriter, step: Step) -> Any:
    """+x is x."""
    return step.operands[0] if _is_same(step.operands[0], step.results[0]) else None


def power(rewriter: Rewriter, step: Step) -> Any:
    """x ** 2 is a square, and so on: what the operator ** of NumPy's arrays does."""
    x, exponent = step.operands
    number = rewriter.number(exponent)
    if number is None or not _is_same(x, step.results[0]) or _kind(step) != "f":
        return None
    if number == 1:
        return x
    name = {2: "square", 0.5: "sqrt", -1: "reciprocal"}.get(number)
    if name is None or not x.shape or isinstance(exponent, Value):
        return None
    return Step(name, [x], {}, step.results)


def logical_not(rewriter: Rewriter, step: Step) -> Any:
    """not not x is x, of Booleans."""
    made = rewriter.maker(step.operands[0], "logical_not")
    inner = None if made is None else made.operands[0]
    return inner if _is_same(inner, step.results[0]) else None


def where(rewriter: Rewriter, step: Step) -> Any:
    """The choice of x or x is x; a negated condition is the choice turned around."""
    condition, a, b = step.operands
    if a is b and _is_same(a, step.results[0]):
        return a
    made = rewriter.maker(condition, "logical_not")
    inner = None if made is None else made.operands[0]
    if not isinstance(inner, Value) or inner.dtype.kind != "b" or inner.weak:
        return None
    return Step("where", [inner, b, a], {}, step.results)


def astype(rewriter: Rewriter, step: Step) -> Any:
    """A cast to the same dtype is none; a cast to a wider dtype and back is none either."""
    x, result = step.operands[0], step.results[0]
    if _is_same(x, result):
        return x
    made = rewriter.maker(x, "astype")
    if made is None or not isinstance(x, Value) or not _is_same(made.operands[0], result):
        return None
    wider = np.can_cast(result.dtype, x.dtype) and x.dtype.kind == result.dtype.kind
    return made.operands[0] if wider else None


def copy(rewriter: Rewriter, step: Step) -> Any:
    """A copy is needed only for the caller: values of a program do not change."""
    return step.operands[0] if _is_same(step.operands[0], step.results[0]) else None


def reshape(rewriter: Rewriter, step: Step) -> Any:
    """A chain of reshapes is one, and none if the shape is the first again.

    So are added and removed axes, which are reshapes as well.
    """
    (result,) = step.results
    x = step.operands[0]
    made = rewriter.maker(x, "reshape")
    if _is_same(x, result):
        return x
    if made is None and step.name == "reshape" and step.operands[1:] == (result.shape,):
        return None
    source = x if made is None else made.operands[0]
    return Step("reshape", [source, result.shape], {}, step.results)


def transpose(rewriter: Rewriter, step: Step) -> Any:
    """Two transposes are one, and none if the axes are in their order again.

    ``swapaxes`` and ``moveaxis`` are transposes as well.
    """
    (result,) = step.results
    x = step.operands[0]
    axes = _axes(step)
    made = rewriter.maker(x, "transpose")
    if made is not None:
        before = _axes(made)
        x, axes = made.operands[0], tuple(before[axis] for axis in axes)
    if axes == tuple(range(result.ndim)):
        return x
    if made is None and step.name == "transpose" and step.operands[1:] == (axes,):
        return None
    return Step("transpose", [x, axes], {}, step.results)


def _axes(step: Step) -> tuple[int, ...]:
    """For each axis of a transposed array the axis that it was: its number is its length here."""
    ndim = step.results[0].ndim
    if step.name == "transpose" and len(step.operands) == 2 and not step.parameters:
        axes = step.operands[1]
        if isinstance(axes, tuple) and all(type(axis) is int and axis >= 0 for axis in axes):
            return axes
    lengths = np.empty(tuple(range(ndim)))
    moved = function_of(lengths, step.name)(lengths, *step.operands[1:], **step.parameters)
    return tuple(moved.shape)


def expand(rewriter: Rewriter, step: Step) -> Any:
    """Broadcasting to the same shape is none, and twice is once."""
    (result,) = step.results
    x = step.operands[0]
    if _is_same(x, result):
        return x
    made = rewriter.maker(x, *EXPANDING)
    if made is None:
        return None
    return Step(step.name, [made.operands[0], *step.operands[1:]], step.parameters, step.results)


def reduction(rewriter: Rewriter, step: Step) -> Any:
    """A sum, or an extreme, along axes of size 1 is a reshape. A sum of -0.0 is 0.0 in NumPy."""
    x, (result,) = step.operands[0], step.results
    if not isinstance(x, Value) or x.dtype != result.dtype or not x.ndim:
        return None
    if math.prod(x.shape) != math.prod(result.shape) or math.prod(x.shape) == 0:
        return None
    if step.name == "sum" and x.dtype.kind in "fc":
        x = rewriter.new("add", [x, 0.0], x.shape, x.dtype)
    return Step("reshape", [x, result.shape], {}, step.results)


def matmul(rewriter: Rewriter, step: Step) -> Any:
    """A product with a transposed first matrix, by its name: it needs no transposing."""
    a, b = step.operands
    made = rewriter.maker(a, "transpose")
    if made is None or a.ndim != 2 or not isinstance(b, Value) or b.ndim != 2 or step.parameters:
        return None
    return Step("transposed_matmul", [made.operands[0], b], {}, step.results)


def add_of_item(rewriter: Rewriter, step: Step) -> Any:
    """``total`` and zeros but at an index: an addition at that index, which memory allows in place.

    So backward adds up the gradients of slices. Elsewhere a -0.0 of the total stays one, as there.
    """
    (result,) = step.results
    for total, other in (step.operands, step.operands[::-1]):
        made = rewriter.maker(other, "set_item")
        if made is None or not _is_same(total, result) or not _is_same(other, result):
            continue
        zeros, index, value = made.operands
        fill = rewriter.number(zeros)
        if fill is None or not is_plus_zero(fill) or not isinstance(value, Value):
            continue
        if value.dtype == result.dtype and not value.weak:
            return Step("add_item", [total, index, value], {}, step.results)
    return None


_BY_NAME: dict[str, tuple[Rule, ...]] = {
    "add": (add, add_of_item),
    **{
        rule.__name__: (rule,)
        for rule in (
            subtract, multiply, divide, negative, positive, power, logical_not, where, astype, copy,
            matmul,
        )
    },
    **dict.fromkeys(("reshape", "expand_dims", "squeeze", "ravel"), (reshape,)),
    **dict.fromkeys(("transpose", "swapaxes", "moveaxis"), (transpose,)),
    **dict.fromkeys(EXPANDING, (expand,)),
    **dict.fromkeys(("sum", "max", "min", "prod"), (reduction,)),
}  # fmt: skip


def by_name(rewriter: Rewriter, step: Step) -> Any:
    """The rules for steps of one name."""
    if len(step.results) != 1:
        return None
    for rule in _BY_NAME.get(step.name, ()):
        found = rule(rewriter, step)
        if found is not None:
            return found
    return None


RULES: tuple[Rule, ...] = (fold_constants, strip_broadcasts, fold_fills, number_for_fill, by_name)
