"""The array type that records: an array beside the value of a program. Imports program, errors.

A function runs once over such arrays. Each holds the array that NumPy or CuPy has computed, so that
shapes, dtypes and errors are theirs, and every call of a namespace becomes a step of the program.
Reading a number raises: it would be a constant of the program.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from operator import index
from typing import Any

import numpy as np

from gpugrad.backend.namespace import NAMESPACES, namespace_of, register
from gpugrad.backend.operators import BINARY, COMPARISONS, UNARY
from gpugrad.compiler.programs.program import Step, Value, flat, function_of
from gpugrad.compiler.recording.tape import Tape, Traced, innermost, place, recorded_in
from gpugrad.compiler.recording.unseen import is_blind, stand_in
from gpugrad.engine.modes import tracing
from gpugrad.errors import CompileError

__all__ = ["Recorded", "RecordedNumber", "array_of", "by_value", "call", "records"]

# Functions whose result, or the shape of it, Python code takes for a plain number.
BY_VALUE = frozenset((
    "allclose", "argwhere", "array_equal", "array_equiv", "bincount", "compress", "extract",
    "flatnonzero", "nonzero", "unique", "unique_all", "unique_counts", "unique_inverse",
    "unique_values",
))  # fmt: skip
# Functions whose result depends on shapes and dtypes alone.
BY_SHAPE = frozenset((
    "broadcast_shapes", "can_cast", "iscomplexobj", "isrealobj", "isscalar", "may_share_memory",
    "ndim", "result_type", "shape", "size",
))  # fmt: skip
# Functions that change an operand in place, and give nothing.
IN_PLACE = frozenset(("copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask"))


class Recorded(Traced):
    """An array that records what is done with it.

    ``array`` is the array itself, ``base`` the recorded array that it is a view of, if any, by
    ``views``: steps without their first operand, each with the shape that it gives. A change in
    place gives the base another value, and with it all its views. ``kept`` counts the references
    of the recording itself; ``unseen`` says that the array, and so its views, has other values.
    """

    __slots__ = (
        "__weakref__", "_value", "array", "base", "first", "kept", "tape", "unseen", "version",
        "views",
    )  # fmt: skip

    __array_priority__ = 500.0  # below a Tensor's
    is_weak = False

    def __init__(self, tape: Tape, array: Any, value: Value) -> None:
        self.tape = tape
        self.array = array
        self._value = self.first = value
        self.base: Recorded | None = None
        self.views: tuple[Any, ...] = ()
        self.kept = 0
        self.unseen = False
        self.version = 0

    @property
    def value(self) -> Value:
        """The value that the array has now."""
        self._check_open()
        base = self.base
        if base is not None and self.version != base.version:
            after = base.value
            for (name, operands, parameters), shape in self.views:
                before, after = after, Value(shape, self.dtype)
                self.tape.steps.append(Step(name, (before, *operands), parameters, (after,)))
            self._value, self.version = after, base.version
        return self._value

    def _check_open(self) -> None:
        if not self.tape.is_open:
            raise CompileError(
                "compile: this array was recorded by a call that has ended. Return it from the "
                "compiled function, rather than keep it elsewhere"
            )

    def become(self, value: Value) -> None:
        """Take another value, after the array was changed in place."""
        base = self.base
        if base is None:
            self._value = value
            self.version += 1
            return
        after = Value(base.shape, base.dtype)
        operands = (base.value, tuple([step for step, _ in self.views]), value)
        self.tape.steps.append(Step("set_view", operands, {}, (after,)))
        base.become(after)
        self._value, self.version = value, base.version

    @property
    def is_unseen(self) -> bool:
        """Whether the array has not its values: see `gpugrad.compiler.recording.unseen`."""
        return self.unseen if self.base is None else self.base.unseen

    def change(self, function: Callable[[Any], Any], after: "Recorded") -> None:
        """Change in place, by a function of the array, to the values of ``after``, cast."""
        self.tape.check_change(self if self.base is None else self.base)
        is_number = isinstance(self.array, np.generic | int | float)
        if (self.is_unseen or after.is_unseen) and (is_number or not self.array.flags.writeable):
            self.tape.see()
        if self.is_unseen or after.is_unseen:
            self.tape.leave_out(self)
        elif is_number:
            self.array = after.array.astype(self.dtype)
        else:
            self.tape.protect(self.array)
            function(self.array)
        self.become((after if after.dtype == self.dtype else after.astype(self.dtype)).value)

    # What arrays have.

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.array)

    @property
    def dtype(self) -> Any:
        return getattr(self.array, "dtype", np.dtype(float))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def strides(self) -> Any:
        return self.array.strides

    @property
    def flags(self) -> Any:
        return self.array.flags

    @property
    def T(self) -> "Recorded":  # noqa: N802 - NumPy's name
        return self._call("transpose")

    @property
    def real(self) -> "Recorded":
        return self._call("real")

    @property
    def imag(self) -> "Recorded":
        return self._call("imag")

    def astype(self, dtype: Any, copy: bool = True) -> "Recorded":
        if self.dtype == dtype and not copy:
            return self
        return self._call("astype", dtype)

    def reshape(self, *shape: Any, order: str = "C") -> "Recorded":
        return self._call("reshape", *shape) if order == "C" else self._call("ravel", order=order)

    def copy(self, order: str = "C") -> "Recorded":
        return self._call("copy")

    def item(self) -> "Recorded":
        """The one element as a number, of which nobody has asked what it is."""
        if self.tape.pieces is not None and self.tape.is_open:
            return self.tape.pieces.told(self).item()
        return self._call("item")

    def _call(self, name: str, *operands: Any, **parameters: Any) -> Any:
        return call(name, (self, *operands), parameters)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name == "tolist":
            return self.told("its values").tolist
        if name in ("tobytes", "fill", "put", "sort", "view", "resize"):
            raise by_value(f".{name}")
        return partial(getattr(namespace_of(self), name), self)

    def __getitem__(self, index: Any) -> "Recorded":
        for part in index if isinstance(index, tuple) else (index,):
            if isinstance(part, list) and [*recorded_in(part)]:
                raise by_value("a list as an index", "Write gg.stack of its elements")
            if isinstance(part, Recorded) and part.dtype == bool:
                raise by_value("an index of truth values", "Write gg.where(condition, a, b)")
        return self._call("get_item", index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raw, place = array_of(value), array_of(index)
        after = self._call_on_copy("set_item", index, value)
        self.change(lambda array: array.__setitem__(place, raw), after)

    def _call_on_copy(self, name: str, *operands: Any) -> "Recorded":
        raws = [array_of(operand) for operand in operands]
        array = np.asarray(self.array) if isinstance(self.array, np.generic) else self.array
        result = function_of(array, name)(array, *raws)
        recorded = [self, *recorded_in(operands)]
        return innermost(recorded).step(name, (self, *operands), {}, result)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator["Recorded"]:
        return (self[index] for index in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._asked(bool, "its truth", "Write gg.where(condition, a, b) for `if`"))

    def __int__(self) -> int:
        return int(self._asked(int, "its value as a number"))

    def __index__(self) -> int:
        return int(self._asked(index, "its value as a number"))

    def _asked(self, kind: Callable[[Any], Any], what: str, instead: str = "") -> Any:
        """What Python is told of the value, where the program may depend on it."""
        session = tracing.get()
        if self.tape.pieces is not None and self.tape.is_open:
            return kind(self.tape.pieces.told(self))
        if session is None or session.guards is None or self.tape.parent is not None:
            raise by_value(what, instead)
        answer = kind(array_of(self))
        session.guards.append((self.value, answer))
        return answer

    def told(self, what: str) -> Any:
        """The array itself, to be read, where Python may know it: see `Tape.told`."""
        session, tape = tracing.get(), self.tape
        if not tape.is_open and tape.told is not None:
            return self.array
        self._check_open()
        if tape.pieces is not None:
            return tape.pieces.told(self)
        error = by_value(what)
        if session is None or session.guards is None or tape.parent is not None:
            raise error
        tape.told = tape.told or error
        return array_of(self)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise by_value("its values as a NumPy array")

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **keywords: Any) -> Any:
        name = ufunc.__name__
        if method == "__call__" and not keywords.keys() - {"casting", "out"}:
            (out,) = keywords.get("out") or (None,)
            return call(name, operands, {} if out is None else {"out": out})
        if method == "reduce" and name in ("add", "multiply", "maximum", "minimum"):
            reduction = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min"}
            axis = keywords.pop("axis", 0)
            given = {key: value for key, value in keywords.items() if value not in (None, False)}
            if not given.keys() - {"keepdims"}:
                return call(reduction[name], operands, {"axis": axis, **given})
        what = name if method == "__call__" else f"{name}.{method}"
        raise CompileError(
            f"compile: np.{what} cannot be recorded with {', '.join(keywords) or 'these operands'}"
        )

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        path = f"{function.__module__}.{function.__name__}".removeprefix("numpy.")
        return call(path, args, dict(keywords))

    def __repr__(self) -> str:
        return f"<recorded array: {self.dtype}{list(self.shape)}>"

    __hash__ = object.__hash__


def _reads(function: Callable[..., Any]) -> Callable[..., Any]:
    def read(self: Recorded, *more: Any) -> Any:
        array = self.told("its value as a number")
        return function(array.item() if hasattr(array, "item") else array, *more)

    return read


for _function in (float, complex, round, math.trunc, math.floor, math.ceil, format):
    setattr(Recorded, f"__{_function.__name__}__", _reads(_function))


class RecordedNumber(Recorded):
    """A Python number that records: weak beside arrays, as the number is."""

    __slots__ = ()
    is_weak = True
    __str__ = _reads(str)

    def on_device(self, device: Any, dtype: Any) -> Recorded:
        """The number as an array without axes."""
        return call("number_on", (self, device, np.dtype(dtype)), {})


register(RecordedNumber, None)


def by_value(what: str, instead: str = "") -> CompileError:
    """The error where Python code asks for a value."""
    why = "of an array that is recorded; the program would be right for these values alone"
    instead = instead or "Compute it outside of the compiled function"
    instead += ", or compile with strict=False"
    return CompileError(f"compile: {what} is asked for{place()}, {why}. {instead}")


def records(array: Any) -> bool:
    """Whether an array records, or has a level of `vmap` below which there are those that do."""
    return isinstance(array, Recorded) or getattr(NAMESPACES.get(type(array)), "batched", False)


def array_of(operand: Any) -> Any:
    """An operand of a call with the arrays, which have their values, in place of what records."""
    for one in recorded_in((operand,)):
        if one.is_unseen:
            one.tape.see()
    return _raw(operand)


def _raw(operand: Any) -> Any:
    if isinstance(operand, Recorded):
        return operand.array
    if isinstance(operand, tuple | list):
        return type(operand)(map(_raw, operand))
    return operand


def _is_recordable(result: Any) -> bool:
    if result is None or isinstance(result, int | float | complex):
        return True
    return hasattr(result, "dtype") and hasattr(result, "shape")


def call(
    name: str, operands: Sequence[Any], parameters: dict[str, Any], function: Any = None
) -> Any:
    """Call a function of a namespace, and record that as a step.

    ``function`` is called where no operand records: it makes an array that is a constant.
    """
    out = parameters.pop("out", None)
    if name in BY_VALUE:
        raise by_value(f"the result of {name}, whose shape depends on values,")
    if name in IN_PLACE:
        raise CompileError(
            f"compile: {name} changes an array in place, which is not recorded. Write "
            "a[index] = b, or a function that returns a new array"
        )
    if next(recorded_in(tuple(parameters.values())), None) is not None:
        raise CompileError(f"compile: an array is a keyword of {name}; pass it by its position")
    recorded = [*recorded_in(operands)]
    if not recorded:
        made = (function or function_of(operands[0], name))(*operands, **parameters)
        session = tracing.get() if name == "empty" else None  # memory that is written to
        return made if session is None else session.tape.own(made)
    arrays = [one for one in recorded if not one.is_weak]
    tape = innermost(recorded)
    unseen = [one for one in recorded if one.is_unseen]
    if unseen and (tape.left_out is None or not is_blind(name, operands, unseen)):
        tape.see()
        unseen = []
    home = arrays[0].array if arrays else 0.0
    raws = [*map(_raw, operands)]
    result = None if tape.left_out is None else stand_in(name, raws, parameters)
    is_left_out = bool(unseen) or result is not None
    if result is None:
        with np.errstate(all="ignore") if unseen else nullcontext():
            result = function_of(home, name)(*raws, **parameters)
    if result is home and not isinstance(result, np.generic):  # np.True_ is one object
        return arrays[0]
    if name in BY_SHAPE or isinstance(result, np.dtype | type):
        return result
    if isinstance(result, bool) and arrays and name != "item":
        raise by_value(f"the result of {name}")
    if not all(_is_recordable(one) for one in flat(result)):
        raise CompileError(
            f"compile: {name}, which gives a {type(result).__name__}, is not recorded"
        )
    made = tape.step(name, operands, parameters, result)
    if is_left_out:
        for one in recorded_in(made if isinstance(made, tuple) else (made,)):
            tape.leave_out(one)
    if out is None:
        return made
    if not isinstance(out, Recorded):
        raise CompileError(
            f"compile: {name} writes into an array that does not record{place()}, where it would "
            "not be seen. Write a = a + b in place of `a += b`, or make `a` by gg.zeros"
        )
    out.change(lambda array: array.__setitem__(Ellipsis, result), made)
    return out


def _operator(name: str) -> Callable[..., Any]:
    def apply(self: Recorded, *others: Any) -> Any:
        if others and not _known(others[0]):
            return NotImplemented
        return call(name, (self, *others), {})

    return apply


def _reflected(name: str) -> Callable[..., Any]:
    def apply(self: Recorded, other: Any) -> Any:
        return call(name, (other, self), {}) if _known(other) else NotImplemented

    return apply


def _in_place(name: str) -> Callable[..., Any]:
    def apply(self: Recorded, other: Any) -> Any:
        after = call(name, (self, other), {})
        self.change(lambda array: array.__setitem__(Ellipsis, after.array), after)
        return self

    return apply


def _known(other: Any) -> bool:
    cls = type(other)
    if hasattr(cls, "_node") or getattr(NAMESPACES.get(cls), "batched", False):
        return False
    return issubclass(cls, Recorded | bool | int | float | complex | np.generic) or hasattr(
        cls, "__array_priority__"
    )


for _method, _name in {**BINARY, "matmul": "matmul", **COMPARISONS, **UNARY}.items():
    setattr(Recorded, f"__{_method}__", _operator(_name))
    if _method not in COMPARISONS and _method not in UNARY:
        setattr(Recorded, f"__r{_method}__", _reflected(_name))
        setattr(Recorded, f"__i{_method}__", _in_place(_name))
