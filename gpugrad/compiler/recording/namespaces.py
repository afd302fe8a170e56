"""The namespaces of the arrays that record. Imports recorded and backend.

There is one for each namespace of arrays, which finds the same names: a function is a step of the
program, but for the formulas that are recorded piece by piece, so that loops can be made of them.
"""

from collections.abc import Callable
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np

from gpugrad.backend.host import NUMPY
from gpugrad.backend.namespace import ELEMENTWISE, FORMULAS, Namespace, register
from gpugrad.backend.special import Special
from gpugrad.compiler.recording.recorded import Recorded, RecordedNumber, array_of, by_value, call
from gpugrad.compiler.recording.tape import innermost, recorded_in, use_types
from gpugrad.errors import CompileError

__all__ = ["Recording", "recorded_type"]

# Formulas of the table that are recorded piece by piece, as the elementwise ones are. All others
# are one step.
IN_PIECES = frozenset((
    "astype", "getitem", "index_set", "linear", "linear_vjp", "mean", "mse_loss", "mse_loss_vjp",
    "relu_vjp", "reshape", "unless",
))  # fmt: skip
# Elementwise formulas that are one step, since libraries have a function for them.
WHOLE = frozenset(("erf", "erfc", "clip"))


class Recording(Namespace):
    """The namespace of recorded arrays of one type: each function of ``base`` is a step."""

    waits = True  # reading a value raises
    in_place = False

    def __init__(self, base: Any) -> None:
        super().__init__(base.module)
        if base is not NUMPY:  # whose own functions ask their arguments how to compute
            self.module = _Part("", base.module)
        self.lifts = base
        if base.checks is not None:
            self.checks = lambda op, raws: base.checks(op, tuple(map(array_of, raws)))
            self.alone = base.alone

    def device_id(self, array: Any) -> tuple[str, int]:
        return self.lifts.device_id(array.array)

    def owner_of(self, array: Any) -> Any:
        return array if array.base is None else array.base

    def owns_buffer(self, array: Any) -> bool:
        return array.base is None

    def address(self, array: Any) -> int | None:
        return self.lifts.address(array.array)

    def copy(self, array: Any) -> Any:
        return array.copy()

    def to_numpy(self, array: Any) -> Any:
        if not array.tape.is_open:
            array.value  # noqa: B018  raises that it was kept from a call that has ended
        raise by_value("a copy of its values on the host")

    def add_at(self, out: Any, index: Any, values: Any) -> None:
        raise CompileError("compile: a sum at an index in place cannot be recorded")

    maximum_at = add_at

    def copyto(self, array: Any, value: Any, where: Any = True) -> None:
        """Change an array in place where a condition holds."""
        after = call("where", (where, value, array), {})
        array.change(lambda own: own.__setitem__(Ellipsis, after.array), after)

    def expand(self, gradient: Any, shape: tuple[int, ...]) -> Any:
        return call("broadcast_to", (gradient, shape), {})

    def getitem(self, x: Any, *indices: Any, index: Any) -> Any:
        return FORMULAS["getitem"](self, _among(indices, x), *indices, index=index)

    def index_set(self, x: Any, v: Any, *indices: Any, **parameters: Any) -> Any:
        x = _among((v, *indices), x)
        return FORMULAS["index_set"](self, x, v, *indices, **parameters)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.lifts, name)
        in_pieces = name in IN_PIECES or (name in ELEMENTWISE and name not in WHOLE)
        # A layer of products is one kernel on a GPU alone.
        in_pieces |= self.lifts is NUMPY and name.startswith("linear")
        if name in FORMULAS and in_pieces:
            function: Any = partial(FORMULAS[name], self)
        elif isinstance(found, ModuleType | Special):
            function = _Part(name, found)
        elif isinstance(found, type) or not callable(found):
            function = found
        else:
            function = _step(name, found)
            if name in FORMULAS:
                function = _step_or_pieces(function, partial(FORMULAS[name], self))
        setattr(self, name, function)
        return function


def _among(operands: tuple[Any, ...], x: Any) -> Any:
    """An array that is indexed: as a constant of the program, where other operands are recorded."""
    recorded = [*recorded_in(operands)]
    return x if isinstance(x, Recorded) or not recorded else innermost(recorded).capture(x)


class _Part:
    """A part of a namespace, such as ``xp.linalg``, or with no name a library itself."""

    def __init__(self, name: str, functions: Any) -> None:
        self._prefix = f"{name}." if name else ""
        self._functions = functions

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._functions, name)
        if isinstance(found, ModuleType):
            return _Part(self._prefix + name, found)
        if isinstance(found, type) or not callable(found):
            return found
        return _step(self._prefix + name, found)


def _step_or_pieces(step: Callable[..., Any], formula: Callable[..., Any]) -> Callable[..., Any]:
    """A step, or the formula piece by piece where a parameter is a function, as of dropout.

    Such a function computes with arrays that record, which a library would not know.
    """

    def apply(*operands: Any, **parameters: Any) -> Any:
        if any(map(callable, operands)) or any(map(callable, parameters.values())):
            return formula(*operands, **parameters)
        return step(*operands, **parameters)

    return apply


def _step(name: str, function: Any) -> Callable[..., Any]:
    """The function of a namespace of recorded arrays."""
    count = getattr(getattr(np, name, None), "nin", None)  # of a ufunc

    def apply(*operands: Any, **parameters: Any) -> Any:
        if count is not None:
            parameters.pop("casting", None)
            if len(operands) == count + 1:
                parameters["out"], operands = operands[-1], operands[:-1]
        return call(name, operands, parameters, function)

    return apply


@cache
def recorded_type(namespace: Any) -> type[Recorded]:
    """The type of recorded arrays of a namespace, RecordedNumber for None."""
    if namespace is None:
        return RecordedNumber
    if isinstance(namespace, Recording):
        raise CompileError("compile: a compiled function is called inside another recording")
    cls = type("Recorded", (Recorded,), {"__slots__": ()})
    register(cls, Recording(namespace))
    return cls


use_types(recorded_type)
