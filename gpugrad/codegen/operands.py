"""Classes of operands: the cache key of a kernel, and all that its text depends on.

Each operand is classified once. A formula that writes a kernel sees the classes and nothing else,
so a number that is in the text of a kernel is in its key as well. The class of

- an array, a NumPy scalar or a `ShapeDtype` is its type and its dtype;
- a Python number is ``float`` or ``int``: it is an argument of the kernel, so that a schedule of
  learning rates compiles no further kernel;
- a value that is written into the text is a `Constant`: the few numbers on which formulas branch
  (`x ** 2`), strings, None, and integer parameters, which a formula may loop to;
- anything else is its type, and has no kernel.

Imports the modules beside it.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gpugrad.codegen.expression import NotFusibleError, Writer

__all__ = [
    "Constant", "Signature", "argument", "classify", "classify_parameter", "in_place_of",
    "in_place_of_all", "signature",
]  # fmt: skip

WRITTEN = frozenset((-2, -1, -0.5, 0, 0.5, 1, 2, 3, 4))
LARGE = 2**63  # too large for an argument of type long long


class Constant(NamedTuple):
    """A value in the text of a kernel. The type tells 1, 1.0 and True apart, which are equal."""

    python_type: type
    value: Any


class Signature(NamedTuple):
    """The classes of the operands and parameters of a formula, and the names of the parameters."""

    operands: tuple[Any, ...]
    parameters: tuple[Any, ...] = ()
    names: tuple[str, ...] = ()


def signature(operands: tuple[Any, ...], parameters: dict[str, Any] | None = None) -> Signature:
    """The classes of operands and parameters.

    >>> signature((2, 0.37)).operands
    (Constant(python_type=<class 'int'>, value=2), <class 'float'>)
    >>> signature((), {"order": 5}).parameters
    (Constant(python_type=<class 'int'>, value=5),)
    """
    classes = tuple(map(classify, operands))
    if not parameters:
        return Signature(classes)
    values = tuple(map(classify_parameter, parameters.values()))
    return Signature(classes, values, tuple(parameters))


def classify(operand: Any) -> Any:
    """The class of an operand."""
    cls = type(operand)
    if cls is float or cls is int:
        return Constant(cls, operand) if _is_written(operand) else cls
    dtype = getattr(operand, "dtype", None)
    if dtype is not None:
        return cls, dtype
    if operand is None or cls is bool or cls is str:
        return Constant(cls, operand)
    return cls


def classify_parameter(value: Any) -> Any:
    """The class of a parameter: an integer or a bool is a Constant, all else as an operand."""
    cls = type(value)
    if cls is int or isinstance(value, np.integer | np.bool_):
        return Constant(cls, value)
    return classify(value)


def _is_written(number: int | float) -> bool:
    if type(number) is int and abs(number) >= LARGE:
        return True
    # -0.0 equals 0 without being the same number: it is an argument.
    return number in WRITTEN and (number != 0 or math.copysign(1, number) > 0)


def in_place_of(operand_class: Any, writer: Writer, index: int) -> Any:
    """What a formula gets for an operand of a class: a constant, else the value ``x<index>``.

    NotFusibleError for a class without a kernel.
    """
    if isinstance(operand_class, Constant):
        return operand_class.value
    if operand_class is float or operand_class is int:
        return writer.number(f"x{index}", operand_class, index)
    if isinstance(operand_class, type):
        raise NotFusibleError(f"an operand is a {operand_class.__name__}")
    _, dtype = operand_class
    return writer.operand(f"x{index}", dtype, index)


def in_place_of_all(classes: Signature, writer: Writer, first: int) -> dict[str, Any]:
    """What a formula gets for its parameters, of which the first is number ``first``."""
    named = zip(classes.names, classes.parameters, strict=True)
    return {name: in_place_of(one, writer, i) for i, (name, one) in enumerate(named, first)}


def argument(operand_class: Any) -> Any:
    """The dtype of a scalar that is an argument of the kernel; None for other operands."""
    if isinstance(operand_class, Constant):
        return None
    if operand_class is float or operand_class is int:
        return np.dtype(np.float64 if operand_class is float else np.int64)
    cls, dtype = operand_class
    return dtype if issubclass(cls, np.generic) else None
