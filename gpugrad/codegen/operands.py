"""What a kernel knows of its operands: the key that it is found by, and all that is written of it.

Each operand is classified once, and a formula that writes a kernel gets what the classes say and
nothing else: a number cannot stand in a kernel's text without standing in its key. The class of

- an array, a NumPy scalar or a stand-in is its type and its dtype;
- a Python number is ``float`` or ``int``: it is an argument of the kernel, so that a schedule of
  learning rates compiles nothing anew;
- what is written into the text is a `Constant`: numbers that formulas look at and that are few
  (`x ** 2`), words, None, and whole numbers among the parameters, which a formula may count up to;
- anything else is its type, and has no kernel.

Imports the modules beside it.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gpugrad.codegen.expression import NotFusibleError, Writer

__all__ = [
    "Constant", "Signature", "argument", "classify", "classify_parameter", "in_place_of",
    "signature",
]  # fmt: skip

WRITTEN = frozenset((-2, -1, -0.5, 0, 0.5, 1, 2, 3, 4))
LARGE = 2**63  # no argument of a kernel holds it


class Constant(NamedTuple):
    """A value that is written into the kernel. 1, 1.0 and True are equal: its type tells them."""

    kind: type
    value: Any


class Signature(NamedTuple):
    """The classes of a formula's operands and parameters, with the names of the latter."""

    operands: tuple[Any, ...]
    parameters: tuple[Any, ...] = ()
    names: tuple[str, ...] = ()


def signature(operands: tuple[Any, ...], words: dict[str, Any] | None = None) -> Signature:
    """The classes of the operands and of the parameters ``words``.

    >>> signature((2, 0.37)).operands
    (Constant(kind=<class 'int'>, value=2), <class 'float'>)
    >>> signature((), {"order": 5}).parameters
    (Constant(kind=<class 'int'>, value=5),)
    """
    known = tuple(map(classify, operands))
    if not words:
        return Signature(known)
    return Signature(known, tuple(map(classify_parameter, words.values())), tuple(words))


def classify(operand: Any) -> Any:
    """The class of an operand."""
    kind = type(operand)
    if kind is float or kind is int:
        return Constant(kind, operand) if _is_written(operand) else kind
    dtype = getattr(operand, "dtype", None)
    if dtype is not None:
        return kind, dtype
    if operand is None or kind is bool or kind is str:
        return Constant(kind, operand)
    return kind


def classify_parameter(value: Any) -> Any:
    """The class of a parameter: as an operand's, but for whole numbers and truth values."""
    kind = type(value)
    if kind is int or isinstance(value, np.integer | np.bool_):
        return Constant(kind, value)
    return classify(value)


def _is_written(number: int | float) -> bool:
    if type(number) is int and abs(number) >= LARGE:
        return True
    # -0.0 equals 0, and the two are not the same number: it is an argument.
    return number in WRITTEN and (number != 0 or math.copysign(1, number) > 0)


def in_place_of(known: Any, writer: Writer, index: int) -> Any:
    """What a formula gets in place of an operand of a class; NotFusibleError if it has no kernel.

    A constant as it is, and else the expression ``x<index>``.
    """
    if isinstance(known, Constant):
        return known.value
    if known is float or known is int:
        return writer.number(f"x{index}", known, index)
    if isinstance(known, type):
        raise NotFusibleError(f"an operand is a {known.__name__}")
    _, dtype = known
    return writer.operand(f"x{index}", dtype, index)


def argument(known: Any) -> Any:
    """The dtype of an operand that is a number and an argument of the kernel; None if it is not."""
    if isinstance(known, Constant):
        return None
    if known is float or known is int:
        return np.dtype(np.float64 if known is float else np.int64)
    kind, dtype = known
    return dtype if issubclass(kind, np.generic) else None
