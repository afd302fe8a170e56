"""An array namespace whose values are expressions of C: it writes a kernel's body.

A formula of the op table, run over this namespace in place of NumPy or CuPy, leaves behind the
C statements that compute it for one element. There is no second set of formulas. The types are
NumPy's, found by asking its ufuncs; float16 is computed in float32 and rounded once, at the end.

Special functions are those of CuPy, see `routines`, or `mended`; what CuPy's own functions have
otherwise than NumPy's is `mended_ufuncs`. The code is C that CUDA and host compilers both take.
Imports these modules, namespace, special and operations.
"""

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from gpugrad.backend.mended import MENDED
from gpugrad.backend.mended_ufuncs import UFUNCS
from gpugrad.backend.namespace import Namespace
from gpugrad.backend.special import HALF, computed_in
from gpugrad.codegen.operations import (
    TEMPLATES,
    NotFusibleError,
    c_type,
    literal,
    math_function,
)
from gpugrad.codegen.routines import device_function

__all__ = ["EXPRESSIONS", "NotFusibleError", "Value", "Writer"]

BOOL = np.dtype(bool)
_NAMES = re.compile(r"\bt\d+\b")  # of variables in the code


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

    def _unknown(self) -> Any:
        raise NotFusibleError("the formula looks at an element's value")

    __bool__ = __index__ = __int__ = __float__ = _unknown

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
        return self._named(f"({c_type(dtype)}){code}", dtype, frozenset((index,)))

    def number(self, code: str, kind: type, index: int) -> Value:
        """A Python number, the kernel's argument ``index``."""
        return Value(self, code, None, frozenset((index,)), kind)

    def literal(self, number: Any, dtype: Any, reads: frozenset[int] = frozenset()) -> Value:
        """A number that is written into the code."""
        return Value(self, literal(number, dtype), dtype, reads)

    def cast(self, value: Value, dtype: Any) -> Value:
        """The value as another dtype."""
        if value.weak is None and value.dtype == dtype:
            return value
        target = c_type(dtype)
        if value.weak is None and c_type(value.dtype) == target:
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
        return self._named(math_function(name)(x.dtype, x.code), x.dtype, x.reads)

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
        key = (code, c_type(dtype))
        known = self._known.get(key)
        if known is None or known.dtype != dtype or known.reads != reads:
            if known is None:
                name = f"t{len(self.lines)}"
                self.lines.append(f"const {key[1]} {name} = {code};")
            else:
                name = known.code
            known = self._known[key] = Value(self, name, dtype, reads)
        return known


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


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _bound(name) for name in TEMPLATES},
    "abs": _bound("absolute"),
    "erf": lambda x: x.writer.function("erf", x),
    "where": _where,
    "full_like": _full_like,
    "zeros_like": lambda x, dtype=None: _full_like(x, 0, dtype),
    "ones_like": lambda x, dtype=None: _full_like(x, 1, dtype),
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
# C has fmod for floating-point numbers; what else CuPy computes right, it computes itself.
_THEIRS = _Functions(_no_function, fmod=_FUNCTIONS["fmod"])
for _name, _formula in UFUNCS.items():
    _FUNCTIONS[_name] = partial(_formula, EXPRESSIONS, _THEIRS)
    setattr(EXPRESSIONS, _name, _FUNCTIONS[_name])


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
