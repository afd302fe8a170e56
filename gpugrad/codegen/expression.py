"""An array namespace whose values are C expressions: it writes the body of a kernel.

A formula of the op table runs over this namespace in place of NumPy or CuPy. It leaves behind the
C statements that compute it for one element, so there is no second set of formulas. Types follow
NumPy's promotion, as its ufuncs report it; float16 is computed in float32 and rounded at the end.

The special functions are CuPy's (`routines`) or those of `cupy_special`; functions in which CuPy
differs from NumPy are those of `cupy_ufuncs`. CUDA and host compilers both accept the code. Imports
these modules, namespace, operators, precision, special and operations.
"""

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from gpugrad.backend.bessel import OF_ORDER
from gpugrad.backend.cupy_special import REPLACEMENTS
from gpugrad.backend.cupy_ufuncs import UFUNCS
from gpugrad.backend.namespace import Namespace
from gpugrad.backend.operators import BINARY, COMPARISONS, UNARY
from gpugrad.backend.precision import HALF
from gpugrad.backend.special import computed_in
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
_NAMES = re.compile(r"\bt\d+\b")  # variables in the code


class Value:
    """A scalar in a kernel: C code of a dtype, which reads one element of the arrays ``reads``.

    A Python number that is an argument of the kernel has no ``dtype``: it is weak, as in NumPy,
    and takes the type of the other operand. ``weak`` is then int or float, else None.
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
        raise NotFusibleError("the formula depends on the value of an element")

    __bool__ = __index__ = __int__ = __float__ = _unknown

    def __getattr__(self, name: str) -> Any:
        if name == "dtype":  # of a weak number: formulas use hasattr
            raise AttributeError(name)
        raise NotFusibleError(f"an element has no {name}")

    __hash__ = object.__hash__


class Writer:
    """Writes the statements of one kernel. An operation that occurs twice is written once."""

    templates = TEMPLATES

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._known: dict[Any, Value] = {}
        self._functions: dict[str, str] = {}

    def body(self, result: Value) -> list[str]:
        """The statements on which the result depends, in order."""
        needed = set(_NAMES.findall(result.code))
        used = []
        for line in reversed(self.lines):
            name, code = line.split(" = ", 1)
            if name.rpartition(" ")[2] in needed:
                needed.update(_NAMES.findall(code))
                used.append(line)
        return used[::-1]

    def functions(self, lines: list[str]) -> tuple[str, ...]:
        """The definitions of the special functions that the statements call."""
        code = "\n".join(lines)
        return tuple(text for name, text in self._functions.items() if f"{name}(" in code)

    def operand(self, code: str, dtype: Any, index: int) -> Value:
        """The element of the array ``index``, which ``code`` loads."""
        return self._named(f"({c_type(dtype)}){code}", dtype, frozenset((index,)))

    def number(self, code: str, python_type: type, index: int) -> Value:
        """A Python number, the kernel's argument ``index``."""
        return Value(self, code, None, frozenset((index,)), python_type)

    def literal(self, number: Any, dtype: Any, reads: frozenset[int] = frozenset()) -> Value:
        """A number written into the code."""
        return Value(self, literal(number, dtype), dtype, reads)

    def cast(self, value: Value, dtype: Any) -> Value:
        """The value cast to a dtype."""
        if value.weak is None and value.dtype == dtype:
            return value
        target = c_type(dtype)
        if value.weak is None and c_type(value.dtype) == target:
            return Value(self, value.code, dtype, value.reads)  # float16, which is float here
        if dtype == BOOL:
            return self._named(f"{value.code} != 0", dtype, value.reads)
        return self._named(f"({target}){value.code}", dtype, value.reads)

    def call(self, name: str, operands: tuple[Any, ...]) -> Value:
        """A NumPy ufunc of values and Python numbers."""
        ufunc = getattr(np, name)
        types = tuple(_loop_type(operand) for operand in operands)
        try:
            *in_dtypes, out_dtype = ufunc.resolve_dtypes((*types, None))
        except TypeError as error:
            raise NotFusibleError(f"{name}: {error}") from None
        values = [self._as(operand, dtype) for operand, dtype in zip(operands, in_dtypes)]
        code = self.templates[name](in_dtypes[0], *(value.code for value in values))
        result = self._named(code, out_dtype, _union(values))
        if out_dtype != BOOL and all(isinstance(one, type) for one in types):  # still weak
            weak = float if out_dtype.kind == "f" else int
            return Value(self, result.code, None, result.reads, weak)
        return result

    def function(self, name: str, x: Value) -> Value:
        """A function of <math.h> without a NumPy ufunc, of a floating-point value."""
        return self._named(math_function(name)(x.dtype, x.code), x.dtype, x.reads)

    def special(self, name: str, operands: tuple[Any, ...]) -> Value:
        """A special function, computed in the dtype of `backend.special.computed_in`."""
        dtype = np.result_type(*map(_example, operands))
        values = [self._as(operand, computed_in(dtype)) for operand in operands]
        if name in OF_ORDER:  # the formula is another for each order
            values[0] = operands[0]
        replacement = REPLACEMENTS.get(name)
        if replacement is None:
            y = self.routine(name, *values)
        else:
            y = replacement(EXPRESSIONS, _Functions(partial(partial, self.routine)), *values)
        return self.cast(y, dtype) if dtype == HALF else y

    def routine(self, name: str, *values: Value) -> Value:
        """A special function of CuPy, of values of one dtype."""
        dtype = values[0].dtype
        function = device_function(name, dtype, len(values))
        if function is None:
            raise NotFusibleError(f"no kernel computes special.{name}")
        self._functions[function.name] = function.text
        codes = ", ".join(value.code for value in values)
        return self._named(f"{function.name}({codes})", dtype, _union(values))

    def choose(self, condition: Any, a: Any, b: Any) -> Value:
        """a where the condition holds, else b."""
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


def _loop_type(operand: Any) -> Any:
    """What ``ufunc.resolve_dtypes`` takes: a dtype; int or float for a weak number."""
    if isinstance(operand, Value):
        return operand.dtype if operand.weak is None else operand.weak
    if isinstance(operand, np.generic):
        return operand.dtype
    cls = type(operand)
    if cls is bool:
        return BOOL
    if cls is not int and cls is not float:
        raise NotFusibleError(f"no kernel computes with {cls.__name__}")
    return cls


def _example(operand: Any) -> Any:
    """What ``numpy.result_type`` takes for an operand."""
    loop_type = _loop_type(operand)
    return loop_type(1) if isinstance(loop_type, type) else loop_type


def _union(values: Iterable[Value]) -> frozenset[int]:
    return frozenset().union(*(value.reads for value in values))


def _written(
    write: Callable[[Writer, tuple[Any, ...]], Value], otherwise: Callable[..., Any]
) -> Callable[..., Any]:
    """A function that a `Writer` writes; ``otherwise`` is called with numbers alone."""

    def call(*operands: Any) -> Any:
        writer = next((x.writer for x in operands if isinstance(x, Value)), None)
        return otherwise(*operands) if writer is None else write(writer, operands)

    return call


def _ufunc(name: str) -> Callable[..., Any]:
    return _written(lambda writer, operands: writer.call(name, operands), getattr(np, name))


def _full_like(x: Value, number: Any, dtype: Any = None) -> Value:
    filled = x.writer.literal(number, np.dtype(dtype or x.dtype))
    filled.reads = x.reads
    return filled


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _ufunc(name) for name in TEMPLATES},
    "abs": _ufunc("absolute"),
    "erf": lambda x: x.writer.function("erf", x),
    "where": _written(
        lambda writer, operands: writer.choose(*operands),
        lambda condition, a, b: np.where(condition, a, b)[()],  # type: ignore[call-overload]
    ),
    "full_like": _full_like,
    "zeros_like": lambda x, dtype=None: _full_like(x, 0, dtype),
    "ones_like": lambda x, dtype=None: _full_like(x, 1, dtype),
}


class _Functions:
    """Functions by name, as of a module; ``find`` looks up those that are not given."""

    def __init__(self, find: Callable[[str], Any], **functions: Callable[..., Any]) -> None:
        self.__name__ = "xp"
        self._find = find
        self.__dict__.update(functions)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # doctest and others ask any object for these
            raise AttributeError(name)
        return self._find(name)


def _no_function(name: str) -> Any:
    raise NotFusibleError(f"no kernel computes xp.{name}")


def _special(name: str) -> Callable[..., Any]:
    return _written(
        lambda writer, operands: writer.special(name, operands),
        lambda *numbers: _no_function(f"special.{name} of numbers only"),
    )


# erfc is in <math.h>; the other special functions are CuPy's.
_SPECIAL = _Functions(_special, erfc=lambda x: x.writer.function("erfc", x))
EXPRESSIONS = Namespace(_Functions(_no_function), fast={**_FUNCTIONS, "special": _SPECIAL})
# The functions of the array library that `cupy_ufuncs` calls: only fmod, which is in <math.h>.
_LIBRARY = _Functions(_no_function, fmod=_FUNCTIONS["fmod"])
for _name, _formula in UFUNCS.items():
    _FUNCTIONS[_name] = partial(_formula, EXPRESSIONS, _LIBRARY)
    setattr(EXPRESSIONS, _name, _FUNCTIONS[_name])


def _operator(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *others: function(self, *others)


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: function(other, self)


for _method, _name in {**BINARY, **COMPARISONS, **UNARY}.items():
    if _name in _FUNCTIONS:
        setattr(Value, f"__{_method}__", _operator(_FUNCTIONS[_name]))
        if _method in BINARY:
            setattr(Value, f"__r{_method}__", _reflected(_FUNCTIONS[_name]))
