"""NumPy's dtypes, numbers and ufuncs as C code. Imports nothing.

CUDA and host compilers both accept the code.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

__all__ = ["TEMPLATES", "NotFusibleError", "c_type", "literal", "math_function"]

# The C type in which a kernel computes with a dtype.
C_TYPES = {
    "bool": "bool",
    "int8": "signed char",
    "int16": "short",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned int",
    "uint64": "unsigned long long",
    "float16": "float",
    "float32": "float",
    "float64": "double",
}


class NotFusibleError(Exception):
    """A formula without an elementwise C expression: it uses several elements, for example."""


@cache  # NumPy computes the name of a dtype anew each time
def c_type(dtype: Any) -> str:
    """The C type in which a kernel computes with a dtype; NotFusibleError if there is none."""
    name = C_TYPES.get(dtype.name)
    if name is None:
        raise NotFusibleError(f"no kernel computes with {dtype.name}")
    return name


def literal(number: Any, dtype: Any) -> str:
    """The C literal of a number of a dtype, exact to the last bit."""
    if dtype == np.float16:
        dtype = np.dtype(np.float32)  # in which float16 is computed
    try:
        number = dtype.type(number)
    except OverflowError as error:
        raise NotFusibleError(f"{dtype.name} does not hold {number}") from error
    if dtype.kind == "b":
        return "true" if number else "false"
    if dtype.kind in "iu":
        # The least integer has no literal: -9223372036854775808 is minus a number too large.
        low = number == np.iinfo(dtype).min and dtype.kind == "i"
        code = f"({int(number) + 1} - 1)" if low else f"{int(number)}"
        return f"(({c_type(dtype)}){code})"
    end = "" if dtype == np.float64 else "f"
    if math.isfinite(number):
        code = float(number).hex() + end
        return f"({code})" if code[0] == "-" else code
    top = "0.0" if math.isnan(number) else "1.0" if number > 0 else "-1.0"
    return f"({top}{end} / 0.0{end})"


# A template gets the dtype of its operands and their code: names of variables or literals, which
# need no parentheses.


def math_function(name: str) -> Callable[..., str]:
    """A function of <math.h>; that of float has the suffix f."""

    def code(dtype: Any, *operands: str) -> str:
        if dtype.kind != "f":
            raise NotFusibleError(f"{name} of {dtype.name}")
        end = "" if dtype == np.float64 else "f"
        return f"{name}{end}({', '.join(operands)})"

    return code


def _rounding(name: str) -> Callable[..., str]:
    """A rounding function; integers stay as they are."""
    rounded = math_function(name)
    return lambda dtype, x: rounded(dtype, x) if dtype.kind == "f" else x


def _infix(symbol: str) -> Callable[..., str]:
    def code(dtype: Any, a: str, b: str) -> str:
        if dtype.kind == "b" and symbol in "+-*":
            raise NotFusibleError(f"{symbol} of booleans")
        return f"{a} {symbol} {b}"

    return code


def _bits(symbol: str) -> Callable[..., str]:
    return lambda dtype, a, b: f"{a} {symbol} {b}"


def _extreme(symbol: str) -> Callable[..., str]:
    """The extreme operand, NaN if there is one; of two zeros the second, as NumPy on x86."""
    return lambda dtype, a, b: f"{a} {symbol} {b} || {a} != {a} ? {a} : {b}"


def _not_nan(symbol: str) -> Callable[..., str]:
    """As `_extreme`, but of a number and NaN the number."""
    return lambda dtype, a, b: f"{a} {symbol} {b} || {b} != {b} ? {a} : {b}"


def _negative(dtype: Any, x: str) -> str:
    if dtype.kind == "b":
        raise NotFusibleError("the negative of booleans")
    return f"-{x}"


def _divide(dtype: Any, a: str, b: str) -> str:
    if dtype.kind != "f":
        raise NotFusibleError(f"division of {dtype.name}")
    return f"{a} / {b}"


def _power(dtype: Any, a: str, b: str) -> str:
    # As in NumPy, common exponents are exact and fast.
    if dtype.kind == "f":
        special = {literal(2, dtype): f"{a} * {a}", literal(1, dtype): a}
        if b in special:
            return special[b]
    return math_function("pow")(dtype, a, b)


def _absolute(dtype: Any, x: str) -> str:
    if dtype.kind == "f":
        return math_function("fabs")(dtype, x)
    return f"{x} < 0 ? -{x} : {x}" if dtype.kind == "i" else x


def _sign(dtype: Any, x: str) -> str:
    if dtype.kind == "b":
        raise NotFusibleError("the sign of booleans")
    return f"{x} != {x} ? {x} : ({c_type(dtype)})(({x} > 0) - ({x} < 0))"


def _reciprocal(dtype: Any, x: str) -> str:
    return _divide(dtype, literal(1, dtype), x)


TEMPLATES: dict[str, Callable[..., str]] = {
    "add": _infix("+"),
    "subtract": _infix("-"),
    "multiply": lambda dtype, a, b: f"{a} && {b}" if dtype.kind == "b" else f"{a} * {b}",
    "divide": _divide,
    "power": _power,
    "negative": _negative,
    "positive": lambda dtype, x: x,
    "absolute": _absolute,
    "fabs": _absolute,
    "sign": _sign,
    "square": lambda dtype, x: f"{x} * {x}",
    "reciprocal": _reciprocal,
    "maximum": _extreme(">"),
    "minimum": _extreme("<"),
    "fmax": _not_nan(">"),
    "fmin": _not_nan("<"),
    "bitwise_and": _bits("&"),
    "bitwise_or": _bits("|"),
    "bitwise_xor": _bits("^"),
    "invert": lambda dtype, x: f"!{x}" if dtype.kind == "b" else f"~{x}",
    "logical_not": lambda dtype, x: f"!{x}",
    "logical_and": lambda dtype, a, b: f"{a} && {b}",
    "logical_or": lambda dtype, a, b: f"{a} || {b}",
    "logical_xor": lambda dtype, a, b: f"!{a} != !{b}",
    "isnan": lambda dtype, x: f"{x} != {x}",
    "isinf": lambda dtype, x: f"{x} == {x} && {x} - {x} != 0" if dtype.kind == "f" else "false",
    "isfinite": lambda dtype, x: f"{x} - {x} == 0" if dtype.kind == "f" else "true",
    "signbit": lambda dtype, x: f"copysignf(1.0f, (float){x}) < 0",
    **{
        name: _infix(symbol)
        for name, symbol in {
            "equal": "==",
            "not_equal": "!=",
            "less": "<",
            "less_equal": "<=",
            "greater": ">",
            "greater_equal": ">=",
        }.items()
    },
    **{name: _rounding(name) for name in ("floor", "ceil", "trunc", "rint")},
    **{
        name: math_function(c_name)
        for name, c_name in {
            "exp": "exp", "exp2": "exp2", "expm1": "expm1", "log": "log", "log1p": "log1p",
            "log2": "log2", "log10": "log10", "sqrt": "sqrt", "cbrt": "cbrt", "sin": "sin",
            "cos": "cos", "tan": "tan", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
            "arctan2": "atan2", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh",
            "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "hypot": "hypot",
            "fmod": "fmod", "copysign": "copysign",
        }.items()
    },
}  # fmt: skip
