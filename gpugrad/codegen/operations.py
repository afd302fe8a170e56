"""NumPy's dtypes, numbers and ufuncs in C, as the statements of kernels have them. Imports nothing.

The code is C that CUDA and host compilers both take.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["TEMPLATES", "NotFusibleError", "c_type", "literal", "math_function"]

# What a value of a dtype is inside a kernel.
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
    """A formula that no expression can be written for: it needs more than one element, say."""


def c_type(dtype: Any) -> str:
    """The type of C in which a kernel has a value of a dtype; NotFusibleError if there is none."""
    found = C_TYPES.get(dtype.name)
    if found is None:
        raise NotFusibleError(f"no kernel computes with {dtype.name}")
    return found


def literal(number: Any, dtype: Any) -> str:
    """A number of a dtype in C, to the last bit."""
    if dtype == np.float16:
        dtype = np.dtype(np.float32)  # which it is computed in
    try:
        number = dtype.type(number)
    except OverflowError as error:
        raise NotFusibleError(f"{dtype.name} does not hold {number}") from error
    if dtype.kind == "b":
        return "true" if number else "false"
    if dtype.kind in "iu":
        # The least integer of a type has no literal: 9223372036854775808 is too large for one.
        low = number == np.iinfo(dtype).min and dtype.kind == "i"
        code = f"({int(number) + 1} - 1)" if low else f"{int(number)}"
        return f"(({c_type(dtype)}){code})"
    end = "" if dtype == np.float64 else "f"
    if math.isfinite(number):
        code = float(number).hex() + end
        return f"({code})" if code[0] == "-" else code
    top = "0.0" if math.isnan(number) else "1.0" if number > 0 else "-1.0"
    return f"({top}{end} / 0.0{end})"


# Each gets the dtype that the loop takes and the codes of its operands, which are names of
# variables or literals, so that no brackets are needed around them.


def math_function(name: str) -> Callable[..., str]:
    """A function of <math.h>, which has an f at its end for float."""

    def code(dtype: Any, *operands: str) -> str:
        if dtype.kind != "f":
            raise NotFusibleError(f"{name} of {dtype.name}")
        end = "" if dtype == np.float64 else "f"
        return f"{name}{end}({', '.join(operands)})"

    return code


def _whole(name: str) -> Callable[..., str]:
    """Rounding, which leaves whole numbers as they are."""
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


def _larger(symbol: str) -> Callable[..., str]:
    """The one of two that is NaN, or else compares so; of zeros the second, as NumPy on x86."""
    return lambda dtype, a, b: f"{a} {symbol} {b} || {a} != {a} ? {a} : {b}"


def _not_nan(symbol: str) -> Callable[..., str]:
    """The one of two that compares so, or is not NaN; of zeros the second, as NumPy on x86."""
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
    # As NumPy: the exponents that everyone writes are exact, and quick.
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
    "maximum": _larger(">"),
    "minimum": _larger("<"),
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
    **{name: _whole(name) for name in ("floor", "ceil", "trunc", "rint")},
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
