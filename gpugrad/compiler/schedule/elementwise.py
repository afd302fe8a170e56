"""Elementwise steps as C statements for a host compiler. Imports codegen, backend and program."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from gpugrad.backend.namespace import ELEMENTWISE
from gpugrad.codegen.expression import EXPRESSIONS, NotFusibleError, Value, Writer
from gpugrad.codegen.host_math import FUNCTIONS
from gpugrad.codegen.operations import TEMPLATES, c_type

__all__ = ["HostWriter", "has_c_type", "in_c", "memory_type", "row_step", "with_own_math"]

# The dtypes in which C computes. float16 and complex numbers are NumPy's.
_DTYPES = frozenset(
    ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32",
     "float64")
)  # fmt: skip
BOOL = np.dtype(bool)
# What NumPy's arithmetic is for truth values.
_OF_TRUTH = {"add": "logical_or", "multiply": "logical_and"}
# The powers for which NumPy's operator calls another function.
_POWERS = {-1: "reciprocal", 0.5: "sqrt", 1: "positive", 2: "square"}
_COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
_NO_READS: frozenset[int] = frozenset()
# Functions of <math.h> by their names, and NumPy's names of those that replace them.
_MATH = {
    "exp": "exp", "exp2": "exp2", "expm1": "expm1", "log": "log", "log1p": "log1p",
    "log2": "log2", "log10": "log10", "cbrt": "cbrt", "sin": "sin", "cos": "cos", "tan": "tan",
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "sinh": "sinh",
    "cosh": "cosh", "tanh": "tanh", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
    "hypot": "hypot", "pow": "power", "erf": "erf", "erfc": "erfc",
}  # fmt: skip
_CALLS = re.compile(rf"\b({'|'.join(_MATH)})(f?)\(")


@cache
def has_c_type(dtype: Any) -> bool:
    """Whether C computes with numbers of a dtype: not those in another order of bytes."""
    return np.dtype(dtype).isnative and np.dtype(dtype).name in _DTYPES


def _extreme(sign: str) -> Callable[[Any, str, str], str]:
    def code(dtype: Any, a: str, b: str) -> str:
        other = f"({b} != {b} ? {b} : {a})" if dtype.kind == "f" else a
        return f"{b} {sign} {a} ? {b} : {other}"

    return code


_NAMES = frozenset((*vars(EXPRESSIONS), "astype", "copy", "item"))


# In the form in which compilers make vector loops of them; NaN is the largest and the smallest.
_EXTREMES = {name: _extreme(sign) for name, sign in (("maximum", ">"), ("minimum", "<"))}


class HostWriter(Writer):
    """Writes statements of C, where `Writer` writes those of CUDA C++."""

    templates = TEMPLATES | _EXTREMES

    def load(self, code: str, dtype: Any, weak: bool = False) -> Value:
        """An element that ``code`` reads; a weak one is a Python number."""
        if weak:
            return Value(self, code, None, _NO_READS, number_type(dtype))
        return self._named(code, dtype, _NO_READS)

    def step(self, name: str, operands: Sequence[Any], parameters: dict[str, Any]) -> Value:
        """The result of an elementwise step; NotFusibleError if C does not compute it."""
        first = operands[0]
        if name == "astype":
            return self.cast(first, np.dtype(operands[1]))
        if name == "copy":
            return first
        if name == "item" and first.dtype.kind in "iuf":
            whole = first.dtype.kind != "f"
            code = self.cast(first, np.dtype(np.int64 if whole else np.float64)).code
            return Value(self, code, None, _NO_READS, int if whole else float)
        function: Any = EXPRESSIONS
        for part in name.split("."):
            function = getattr(function, part)
        result = function(*operands, **parameters)
        if not isinstance(result, Value):
            raise NotFusibleError(f"{name} returns no array")
        return result

    def call(self, name: str, operands: tuple[Any, ...]) -> Value:
        dtypes = [getattr(one, "dtype", None) for one in operands]
        if name in _OF_TRUTH and all(dtype == BOOL for dtype in dtypes):
            name = _OF_TRUTH[name]
        if name == "power" and operands[1].__class__ in (int, float):
            power = _POWERS.get(operands[1])
            if power and getattr(dtypes[0], "kind", None) == "f":
                return super().call(power, operands[:1])
        kinds = {getattr(dtype, "kind", None) for dtype in dtypes}
        if name in _COMPARISONS and {"i", "u"} <= kinds and np.uint64 in dtypes:
            raise NotFusibleError("C compares a signed and an unsigned number as unsigned")
        return super().call(name, operands)

    def routine(self, name: str, *values: Value) -> Value:
        raise NotFusibleError(f"special.{name} is written for CUDA alone")

    def converted(self, value: Value, dtype: Any, weak: bool) -> str:
        """Code of a result as it is stored."""
        if value.weak is not None:
            return f"({c_type(dtype)}){value.code}"
        if value.dtype != dtype or weak:
            raise NotFusibleError(f"the result has dtype {value.dtype}, not {dtype}")
        return value.code


def with_own_math(text: str) -> tuple[str, set[tuple[str, str]]]:
    """C text that calls the functions of `codegen.host_math`, and those functions and dtypes."""
    used = set()

    def own(match: re.Match[str]) -> str:
        name, dtype = _MATH[match[1]], "float32" if match[2] else "float64"
        used.add((name, dtype))
        return f"{FUNCTIONS[name][dtype]}("

    return _CALLS.sub(own, text), used


def memory_type(dtype: Any) -> str:
    """The C type of the elements of an array. Compilers make no vector loops of arrays of bool."""
    return "unsigned char" if dtype == BOOL else c_type(dtype)


def number_type(dtype: Any) -> type:
    """The type of a Python number of a dtype."""
    return float if dtype.kind == "f" else int


def _class_of(operand: Any) -> Any:
    """What the code of a step depends on: of a value its dtype, else the operand."""
    if hasattr(operand, "weak"):
        return operand.dtype, operand.weak
    return type(operand), operand


def row_step(array: Any, operand: Callable[[HostWriter, int], Any]) -> list[str]:
    """The statements that declare and compute the step of an array that is done once for each row.

    ``operand`` gives the step's operands, by position.
    """
    writer = HostWriter()
    given = [operand(writer, i) for i in range(len(array.operands))]
    value = writer.step(array.step.name, given, array.step.parameters)
    code = writer.converted(value, array.dtype, array.weak)
    body = [f"    {line}" for line in (*writer.lines, f"r{array.number} = {code};")]
    return [f"{c_type(array.dtype)} r{array.number}; {{", *body, "}"]


def in_c(name: str, operands: Sequence[Any], parameters: dict[str, Any], result: Any) -> bool:
    """Whether C computes a step element by element, with a result of the dtype of ``result``."""
    if any(isinstance(one, tuple | list | slice) for one in operands):
        return False
    try:
        return _compiles(
            name, tuple(map(_class_of, operands)), tuple(parameters.items()), _class_of(result)
        )
    except TypeError:  # an operand or parameter that is not hashable is no number
        return False


@cache
def _compiles(
    name: str, operands: tuple[Any, ...], parameters: tuple[Any, ...], result: Any
) -> bool:
    if name.split(".")[0] not in _NAMES and name not in ELEMENTWISE:
        return False
    writer = HostWriter()
    given = []
    for index, (kind, known) in enumerate(operands):
        if isinstance(kind, np.dtype):
            if not has_c_type(kind):
                return False
            given.append(writer.load(f"x{index}", kind, known))
        else:
            given.append(known)
    if not any(isinstance(one, Value) for one in given) or not has_c_type(result[0]):
        return False
    try:
        value = writer.step(name, given, dict(parameters))
        writer.converted(value, *result)
    except (NotFusibleError, AttributeError, TypeError, ValueError):
        return False
    return True
