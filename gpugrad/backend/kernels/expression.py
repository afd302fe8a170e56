"""An array namespace whose values are expressions of C: it writes a kernel's body.

A formula of the op table, run over this namespace in place of NumPy or CuPy, leaves behind the
C statements that compute it for one element. There is no second set of formulas. The types are
NumPy's, found by asking its ufuncs; float16 is computed in float32 and rounded once, at the end.

Special functions are those of CuPy, see `routines`, or `mended`. The code is C that CUDA and host
compilers both take. Imports mended, namespace, special and routines.
"""

import math
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from gpugrad.backend.kernels.routines import device_function
from gpugrad.backend.mended import MENDED
from gpugrad.backend.namespace import Namespace
from gpugrad.backend.special import HALF, computed_in

__all__ = ["C_TYPES", "EXPRESSIONS", "NotFusibleError", "Value", "Writer"]

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
BOOL = np.dtype(bool)
_NAMES = re.compile(r"\bt\d+\b")  # of variables in the code


class NotFusibleError(Exception):
    """A formula that no expression can be written for: it needs more than one element, say."""


class Value:
    """A number in a kernel: C code of a dtype, that of one element of the arrays ``reads``.

    A Python number that is an argument of the kernel has no ``dtype``: it is weak, as in NumPy,
    and takes the type of what it meets. ``weak`` is then int or float, else None.
    """

    __slots__ = ("code", "dtype", "reads", "weak", "writer")
    __array_ufunc__ = None

    def __init__(
        self, writer: "Writer", code: str, dtype: Any, reads: frozenset[int], weak: Any = None
    ) -> None:
        self.writer = writer
        self.code = code
        self.reads = reads
        self.weak = weak
        if weak is None:
            self.dtype = dtype

    def astype(self, dtype: Any, copy: bool = True) -> "Value":
        return self.writer.cast(self, np.dtype(dtype))

    def __bool__(self) -> bool:
        raise NotFusibleError("the formula chooses by an element's value")

    def __getattr__(self, name: str) -> Any:
        if name == "dtype":  # of a number: formulas ask whether there is one
            raise AttributeError(name)
        raise NotFusibleError(f"an element has no {name}")

    __hash__ = object.__hash__


class Writer:
    """Writes the statements of one kernel; the same operation on the same values, once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._known: dict[Any, Value] = {}
        self._functions: dict[str, str] = {}

    def body(self, result: Value) -> list[str]:
        """The statements that the result needs, in their order."""
        needed = set(_NAMES.findall(result.code))
        kept = []
        for line in reversed(self.lines):
            name, code = line.split(" = ", 1)
            if name.rpartition(" ")[2] in needed:
                needed.update(_NAMES.findall(code))
                kept.append(line)
        return kept[::-1]

    def functions(self, lines: list[str]) -> tuple[str, ...]:
        """The definitions of the special functions that the statements call."""
        code = "\n".join(lines)
        return tuple(text for name, text in self._functions.items() if f"{name}(" in code)

    def operand(self, code: str, dtype: Any, index: int) -> Value:
        """The element of the array ``index``, which ``code`` loads."""
        return self._named(f"({_c_type(dtype)}){code}", dtype, frozenset((index,)))

    def number(self, code: str, kind: type, index: int) -> Value:
        """A Python number, the kernel's argument ``index``."""
        return Value(self, code, None, frozenset((index,)), kind)

    def literal(self, number: Any, dtype: Any, reads: frozenset[int] = frozenset()) -> Value:
        """A number that is written into the code."""
        return Value(self, _literal(number, dtype), dtype, reads)

    def cast(self, value: Value, dtype: Any) -> Value:
        """The value as another dtype."""
        if value.weak is None and value.dtype == dtype:
            return value
        target = _c_type(dtype)
        if value.weak is None and _c_type(value.dtype) == target:
            return Value(self, value.code, dtype, value.reads)  # float16, which is float here
        if dtype == BOOL:
            return self._named(f"{value.code} != 0", dtype, value.reads)
        return self._named(f"({target}){value.code}", dtype, value.reads)

    def call(self, name: str, operands: tuple[Any, ...]) -> Value:
        """A ufunc of NumPy's applied to values and Python numbers."""
        ufunc = getattr(np, name)
        kinds = tuple(_kind(operand) for operand in operands)
        try:
            *takes, gives = ufunc.resolve_dtypes((*kinds, None))
        except TypeError as error:
            raise NotFusibleError(f"{name}: {error}") from None
        values = [self._as(operand, dtype) for operand, dtype in zip(operands, takes)]
        code = TEMPLATES[name](takes[0], *(value.code for value in values))
        made = self._named(code, gives, _union(values))
        if gives != BOOL and all(isinstance(kind, type) for kind in kinds):  # still weak
            return Value(self, made.code, None, made.reads, float if gives.kind == "f" else int)
        return made

    def function(self, name: str, x: Value) -> Value:
        """A function of <math.h> that NumPy lacks, of a floating-point value."""
        return self._named(_function(name)(x.dtype, x.code), x.dtype, x.reads)

    def special(self, name: str, operands: tuple[Any, ...]) -> Value:
        """A special function, of the dtype that `backend.special` computes it in."""
        kind = np.result_type(*map(_example, operands))
        values = [self._as(operand, computed_in(kind)) for operand in operands]
        mended = MENDED.get(name)
        if mended is None:
            y = self.routine(name, *values)
        else:
            y = mended(EXPRESSIONS, _Functions(partial(partial, self.routine)), *values)
        return self.cast(y, kind) if kind == HALF else y

    def routine(self, name: str, *values: Value) -> Value:
        """A special function of CuPy's, of values of one dtype."""
        dtype = values[0].dtype
        found = device_function(name, dtype, len(values))
        if found is None:
            raise NotFusibleError(f"no kernel computes special.{name}")
        self._functions[found.name] = found.text
        codes = ", ".join(value.code for value in values)
        return self._named(f"{found.name}({codes})", dtype, _union(values))

    def choose(self, condition: Any, a: Any, b: Any) -> Value:
        """a where the condition holds and else b."""
        dtype = np.result_type(*map(_example, (a, b)))
        values = [self._as(condition, BOOL), self._as(a, dtype), self._as(b, dtype)]
        condition, a, b = (value.code for value in values)
        return self._named(f"{condition} ? {a} : {b}", dtype, _union(values))

    def _as(self, operand: Any, dtype: Any) -> Value:
        if isinstance(operand, Value):
            return self.cast(operand, dtype)
        return self.literal(operand, dtype)

    def _named(self, code: str, dtype: Any, reads: frozenset[int]) -> Value:
        key = (code, _c_type(dtype))
        known = self._known.get(key)
        if known is None or known.dtype != dtype or known.reads != reads:
            if known is None:
                name = f"t{len(self.lines)}"
                self.lines.append(f"const {key[1]} {name} = {code};")
            else:
                name = known.code
            known = self._known[key] = Value(self, name, dtype, reads)
        return known


def _c_type(dtype: Any) -> str:
    found = C_TYPES.get(dtype.name)
    if found is None:
        raise NotFusibleError(f"no kernel computes with {dtype.name}")
    return found


def _literal(number: Any, dtype: Any) -> str:
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
        return f"(({_c_type(dtype)}){code})"
    end = "" if dtype == np.float64 else "f"
    if math.isfinite(number):
        code = float(number).hex() + end
        return f"({code})" if code[0] == "-" else code
    top = "0.0" if math.isnan(number) else "1.0" if number > 0 else "-1.0"
    return f"({top}{end} / 0.0{end})"


def _kind(operand: Any) -> Any:
    """What ufuncs resolve types by: a dtype, or int or float for a weak number."""
    if isinstance(operand, Value):
        return operand.dtype if operand.weak is None else operand.weak
    if isinstance(operand, np.generic):
        return operand.dtype
    kind = type(operand)
    if kind is bool:
        return BOOL
    if kind is not int and kind is not float:
        raise NotFusibleError(f"no kernel computes with {kind.__name__}")
    return kind


def _example(operand: Any) -> Any:
    """What numpy.result_type takes in the operand's place."""
    kind = _kind(operand)
    return kind(1) if isinstance(kind, type) else kind


def _union(values: Iterable[Value]) -> frozenset[int]:
    return frozenset().union(*(value.reads for value in values))


# ---------------------------------------------------------------- operations in C
# Each gets the dtype that the loop takes and the codes of its operands, which are names of
# variables or literals, so that no brackets are needed around them.


def _function(name: str) -> Callable[..., str]:
    """A function of <math.h>, which has an f at its end for float."""

    def code(dtype: Any, *operands: str) -> str:
        if dtype.kind != "f":
            raise NotFusibleError(f"{name} of {dtype.name}")
        end = "" if dtype == np.float64 else "f"
        return f"{name}{end}({', '.join(operands)})"

    return code


def _nextafter(dtype: Any, x: str, y: str) -> str:
    if dtype == np.float16:
        raise NotFusibleError("float16, which is float here, has other neighbours")
    return _function("nextafter")(dtype, x, y)


def _whole(name: str) -> Callable[..., str]:
    """Rounding, which leaves whole numbers as they are."""
    rounded = _function(name)
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
    """The one of two that is NaN, or else compares so."""
    return lambda dtype, a, b: f"{a} {symbol} {b} || {a} != {a} ? {a} : {b}"


def _not_nan(symbol: str) -> Callable[..., str]:
    """The one of two that compares so, or is not NaN."""
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
        special = {_literal(2, dtype): f"{a} * {a}", _literal(1, dtype): a}
        if b in special:
            return special[b]
    return _function("pow")(dtype, a, b)


def _absolute(dtype: Any, x: str) -> str:
    if dtype.kind == "f":
        return _function("fabs")(dtype, x)
    return f"{x} < 0 ? -{x} : {x}" if dtype.kind == "i" else x


def _sign(dtype: Any, x: str) -> str:
    if dtype.kind == "b":
        raise NotFusibleError("the sign of booleans")
    return f"{x} != {x} ? {x} : ({_c_type(dtype)})(({x} > 0) - ({x} < 0))"


def _reciprocal(dtype: Any, x: str) -> str:
    return _divide(dtype, _literal(1, dtype), x)


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
    "maximum": _larger(">="),
    "minimum": _larger("<="),
    "fmax": _not_nan(">="),
    "fmin": _not_nan("<="),
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
        name: _function(c_name)
        for name, c_name in {
            "exp": "exp", "exp2": "exp2", "expm1": "expm1", "log": "log", "log1p": "log1p",
            "log2": "log2", "log10": "log10", "sqrt": "sqrt", "cbrt": "cbrt", "sin": "sin",
            "cos": "cos", "tan": "tan", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
            "arctan2": "atan2", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh",
            "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "hypot": "hypot",
            "fmod": "fmod", "copysign": "copysign",
        }.items()
    },
    "nextafter": _nextafter,
}  # fmt: skip


# ---------------------------------------------------------------- the namespace


def _writer(*operands: Any) -> Writer | None:
    return next((operand.writer for operand in operands if isinstance(operand, Value)), None)


def _bound(name: str) -> Callable[..., Any]:
    def call(*operands: Any) -> Any:
        writer = _writer(*operands)
        # Of numbers alone NumPy says what comes out.
        return getattr(np, name)(*operands) if writer is None else writer.call(name, operands)

    return call


def _where(condition: Any, a: Any, b: Any) -> Any:
    writer = _writer(condition, a, b)
    return np.where(condition, a, b)[()] if writer is None else writer.choose(condition, a, b)


def _full_like(x: Value, number: Any, dtype: Any = None) -> Value:
    made = x.writer.literal(number, np.dtype(dtype or x.dtype))
    made.reads = x.reads
    return made


def _remainder(a: Any, b: Any) -> Any:
    """Python's %: with the sign of b."""
    r = _FUNCTIONS["fmod"](a, b)
    moved = _where((r < 0) != (b < 0), r + b, r)
    return _where(r != 0, moved, _FUNCTIONS["copysign"](r, b))


def _floor_divide(a: Any, b: Any) -> Any:
    """Python's //: the quotient of what fmod leaves, which is whole but for rounding."""
    r = _FUNCTIONS["fmod"](a, b)
    nearest = _FUNCTIONS["rint"]((a - r) / b)
    found = _where((r != 0) & ((r < 0) != (b < 0)), nearest - 1, nearest)
    found = _where(found == 0, _FUNCTIONS["copysign"](found, a / b), found)
    return _where(b == 0, a / b, found)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _bound(name) for name in TEMPLATES},
    "abs": _bound("absolute"),
    "erf": lambda x: x.writer.function("erf", x),
    "where": _where,
    "full_like": _full_like,
    "zeros_like": lambda x, dtype=None: _full_like(x, 0, dtype),
    "ones_like": lambda x, dtype=None: _full_like(x, 1, dtype),
    "remainder": _remainder,
    "floor_divide": _floor_divide,
}


class _Functions:
    """A module in which ``find`` knows the functions that are not given."""

    def __init__(self, find: Callable[[str], Any], **functions: Callable[..., Any]) -> None:
        self.__name__ = "xp"
        self._find = find
        self.__dict__.update(functions)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by those who look at any object, such as doctest
            raise AttributeError(name)
        return self._find(name)


def _no_function(name: str) -> Any:
    raise NotFusibleError(f"no kernel computes xp.{name}")


def _special(name: str) -> Callable[..., Any]:
    def call(*operands: Any) -> Any:
        writer = _writer(*operands)
        if writer is None:
            raise NotFusibleError(f"special.{name} of numbers alone")
        return writer.special(name, operands)

    return call


# C has erfc under <math.h>; the other special functions are CuPy's.
_SPECIAL = _Functions(_special, erfc=lambda x: x.writer.function("erfc", x))
EXPRESSIONS = Namespace(_Functions(_no_function), fast={**_FUNCTIONS, "special": _SPECIAL})


def _operator(name: str, swapped: bool = False) -> Callable[..., Any]:
    function = _FUNCTIONS[name]
    if swapped:
        return lambda self, other: function(other, self)
    return lambda self, *others: function(self, *others)


for _method, _name in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power",
    "mod": "remainder", "floordiv": "floor_divide", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor",
}.items():  # fmt: skip
    setattr(Value, f"__{_method}__", _operator(_name))
    setattr(Value, f"__r{_method}__", _operator(_name, swapped=True))
for _method, _name in {
    "neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert", "eq": "equal",
    "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
}.items():  # fmt: skip
    setattr(Value, f"__{_method}__", _operator(_name))
