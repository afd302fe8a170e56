"""A rule of an optimizer as a list of calls of ufuncs. Imports engine.

The rule runs once, over operands that stand for its arrays and numbers. What it calls is noted, and
called for each parameter: no Python runs while a parameter changes, so nothing comes in between
(see `gpugrad.backend.interrupts`), and the rule itself costs nothing at a step.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from operator import setitem
from typing import Any

import numpy as np

from gpugrad.backend.device import device_of
from gpugrad.backend.interrupts import Repeatable

__all__ = ["HALF", "Call", "Recorded", "merging", "recorded"]

Call = Callable[[], Any]
# The name of a ufunc, the places of its operands, and whether the last, the output, is a keyword.
Operation = tuple[str, tuple[int, ...], bool]


class _NotRecordedError(Exception):
    """The rule does something else than to call ufuncs with an output array."""


class _Operand:
    """An array or a number of a rule, without operations."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place


class _Recorder:
    """The array module with which a rule is recorded: ``xp.multiply(a, b, out)``."""

    def __init__(self, count: int) -> None:
        self.operations: list[Operation] = []
        self.constants: list[Any] = []
        self._count = count

    def __getattr__(self, name: str) -> Callable[..., None]:
        function = getattr(np, name, None)
        if not isinstance(function, np.ufunc) or function.nout != 1:
            raise _NotRecordedError(name)
        count = function.nin + 1

        def record(*operands: Any, out: Any = None) -> None:
            if out is not None:
                operands = (*operands, out)
            if len(operands) != count or not isinstance(operands[-1], _Operand):
                raise _NotRecordedError(name)
            places = tuple(map(self._place, operands))
            self.operations.append((name, places, out is not None))

        return record

    def _place(self, operand: Any) -> int:
        if isinstance(operand, _Operand):
            return operand.place
        if not isinstance(operand, int | float):
            raise _NotRecordedError(type(operand).__name__)
        self.constants.append(operand)
        return self._count + len(self.constants) - 1


class Recorded:
    """What a rule does: names of ufuncs, and places of their operands in a list.

    The list has the parameter, its gradient, its states, scratch arrays, the numbers that are not
    None, and then the constants of the rule.
    """

    def __init__(self, operations: Sequence[Operation], constants: Sequence[Any]) -> None:
        self._operations = operations
        self._constants = tuple(constants)

    def calls(self, xp: Any, operands: Sequence[Any]) -> list[Call]:
        """The calls over arrays of a module, in the order of the list and without the constants."""
        of = (*operands, *self._constants)
        on_cuda = xp is not np and device_of(operands[0]).kind == "cuda"
        kind = Repeatable if on_cuda else partial
        calls: list[Call] = []
        for name, places, by_name in self._operations:
            function, own = getattr(xp, name), [of[place] for place in places]
            if by_name:  # NumPy's maximum and minimum want it so
                calls.append(kind(function, *own[:-1], out=own[-1]))
            else:
                calls.append(kind(function, *own))
        return calls

    def half_calls(
        self, xp: Any, arrays: Sequence[Any], scratch: Sequence[Any], numbers: Any, has_master: bool
    ) -> list[Call]:
        """The calls of a step in float32 for a parameter of half precision.

        ``arrays`` has its master weights last, if it has any. Of the scratch arrays the last
        `HALF` are not the rule's.
        """
        *rest, wide, wide_g, narrow, where = scratch
        p, g, *states = arrays
        calls: list[Call] = []
        if has_master:
            wide = states.pop()
            calls += merging(xp, wide, p, _viewed(narrow, p.dtype), _viewed(where, bool))
        else:
            calls.append(partial(setitem, wide, ..., p))
        calls.append(partial(setitem, wide_g, ..., g))
        calls += self.calls(xp, [wide, wide_g, *states, *rest, *numbers])
        calls.append(partial(setitem, p, ..., wide))
        return calls


HALF = 4  # the arrays that `half_calls` needs beside the rule's


def _viewed(array: Any, dtype: Any) -> Any:
    """An array over the memory of a dense one, of its shape and a narrower dtype."""
    return array.reshape(-1).view(dtype)[: array.size].reshape(array.shape)


def merging(xp: Any, master: Any, p: Any, narrow: Any, where: Any) -> list[Call]:
    """Calls that give master weights the values of p where it is not they, rounded, any more.

    Somebody else has changed p there. ``narrow`` is scratch memory of the parameter's dtype,
    ``where`` of Booleans.
    """
    return [
        partial(setitem, narrow, ..., master),
        partial(xp.not_equal, narrow, p, where),
        Repeatable(xp.copyto, master, p, where=where),
    ]


@cache
def recorded(
    rule: Callable[..., None], states: int, scratch: int, present: tuple[bool, ...]
) -> Recorded | None:
    """The rule for so many arrays, where ``present`` says which of its numbers are not None.

    None for a rule that does anything but call ufuncs of its module with an output array.
    """
    count = 2 + states + scratch + sum(present)
    places = iter(range(count))
    p, g = _Operand(next(places)), _Operand(next(places))
    state = tuple(_Operand(next(places)) for _ in range(states))
    spare = tuple(_Operand(next(places)) for _ in range(scratch))
    numbers = [_Operand(next(places)) if there else None for there in present]
    recorder = _Recorder(count)
    try:
        rule(recorder, p, g, state, spare, *numbers)
    except (_NotRecordedError, AttributeError, TypeError):
        return None
    return Recorded(recorder.operations, recorder.constants)
