"""What a function has done while it was recorded: a program's steps. Imports program, rewriting.

The arrays that record (`gpugrad.compiler.recording.recorded`) append to it what is done with them.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gpugrad.backend.lines import user_line
from gpugrad.backend.namespace import NAMESPACES, namespace_of
from gpugrad.compiler.programs.program import VIEWS, Program, Step, Value, flat
from gpugrad.compiler.programs.rewriting import needed
from gpugrad.engine.node import Leaf, Node
from gpugrad.engine.outputs import ShapeDtype
from gpugrad.errors import CompileError

__all__ = ["Tape", "Traced", "innermost", "place", "recorded_in", "use_types"]


class Traced:
    """What records: the base of `Recorded` (recorded.py), which says what it has."""

    __slots__ = ()


def _is_traced(operand: Any) -> bool:
    return isinstance(operand, Traced)


# Set once by `recording`: the type that records arrays of a namespace.
_type_of: Callable[[Any], Any]


def use_types(type_of: Callable[[Any], Any]) -> None:
    """Set what gives the type that records arrays of a namespace, or numbers for None."""
    global _type_of
    _type_of = type_of


class Tape:
    """What a function has done so far: the steps of a program, and what they begin with.

    ``inputs`` has the values that are given at each call, ``captured`` by identity the arrays that
    the function has from elsewhere. ``is_open`` ends with the recording.

    A tape with a ``parent`` is that of the body of a loop (scan.py). Its inputs
    are what differs from step to step. ``foreign`` has what it reads of the tapes around it, by
    value, and ``constants`` the arrays that it has made. A step goes to the innermost tape of its
    operands, so that what is the same in all steps of a loop is computed before it.

    ``given`` has what records the inputs, ``left_out`` what has no values (unseen.py),
    None where all is computed. Values of an example never matter.
    """

    def __init__(self, parent: "Tape | None" = None, is_example: bool = False) -> None:
        self.parent = parent
        self.is_example = is_example
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.has_inner = False
        self.foreign: dict[Value, Any] = {}
        self.constants: dict[Value, Any] = {}
        self.steps: list[Step] = []
        self.inputs: list[Value] = []
        self.given: list[Any] = []
        self.left_out: list[weakref.ref[Any]] | None = [] if parent is None else None
        self.captured: dict[int, Any] = {}
        self.arguments: list[Any] = []
        self.before: dict[Any, Any] = {}  # copies of those before they were changed
        # Of all arrays that were seen.
        self.namespaces: dict[Any, None] = {} if parent is None else parent.namespaces
        self.is_open = True
        # Why the program is right for this call alone: Python was told values of it.
        self.told: CompileError | None = None
        self.made: list[weakref.ref[Any]] | None = None  # all that record, where it matters
        self.pieces: Any = None  # see `gpugrad.compiler.pieces`

    def enter(self, array: Any) -> Any:
        """An array, or a number, that the caller gives."""
        recorded = self._made(array)
        self.inputs.append(recorded.first)
        self.given.append(recorded)
        recorded.kept += 1
        return recorded

    def capture(self, array: Any) -> Any:
        """An array that the function has from elsewhere: the program reads it at each call."""
        if self.parent is not None:
            return self.parent.capture(array)
        recorded = self.captured.get(id(array))
        if recorded is None:
            recorded = self.captured[id(array)] = self.enter(array)
            recorded.kept += 1
        return recorded

    def own(self, array: Any) -> Any:
        """An array of constants that the function has made, and may change in place."""
        if self.parent is None:
            return self.capture(array)
        recorded = self._made(array)
        self.constants[recorded.first] = namespace_of(array).copy(array)
        return recorded

    def check_change(self, recorded: Any) -> None:
        """CompileError for a change in place of what a loop has from outside, or gets anew."""
        if self.has_inner or (self.depth and recorded.first in self.inputs):
            raise self.changes_in_place()

    def check_outermost(self) -> None:
        """CompileError inside of a loop, where something would happen once for all turns."""
        if self.parent is not None:
            raise CompileError(
                "compile: the function of scan draws random numbers, or steps an optimizer, which "
                f"would happen once for all turns{place()}. Draw before the loop, for all of them, "
                "and pass the numbers as xs; step after it"
            )

    @staticmethod
    def changes_in_place() -> CompileError:
        """The error where a loop's function changes what it should not."""
        return CompileError(
            "compile: the function of scan changes its carry, its x or an array from outside in "
            f"place{place()}. Return the new value as carry or y, `c = c + x` in place of `c += x`"
        )

    def protect(self, array: Any) -> None:
        """Note what arrays from elsewhere have, which are about to be changed in place."""
        owner = namespace_of(array).owner_of(array)
        for one in (*self.captured.values(), *self.arguments):
            if one in self.before or isinstance(one.array, np.generic):
                continue
            if namespace_of(one.array).owner_of(one.array) is owner:
                self.before[one] = one.array.copy()

    def restore(self) -> None:
        """Give captured arrays back what they had before."""
        for one, before in reversed(self.before.items()):  # of memory that they share the first
            if getattr(one.array.flags, "writeable", True):  # CuPy's arrays always are
                one.array[...] = before

    def leave_out(self, recorded: Any) -> None:
        """Note that the memory of an array has not its values."""
        root = recorded if recorded.base is None else recorded.base
        if self.left_out is not None and not root.unseen:
            root.unseen = True
            self.left_out.append(weakref.ref(root))

    def see(self) -> None:
        """Compute what was left out, and from now on all at once: values begin to matter."""
        if self.parent is not None:
            self.parent.see()
        if self.parent is not None or self.is_example:
            return
        references, self.left_out = self.left_out or (), None if self.pieces is None else []
        left = [one for reference in references if (one := reference()) is not None]
        if not left:
            return
        for one, value in zip(left, self._computed([one.value for one in left])):
            one.unseen = False
            if isinstance(one.array, np.ndarray):
                self.protect(one.array)
                one.array[...] = value
            else:
                one.array = value[()] if isinstance(value, np.ndarray) else value

    def _computed(self, outputs: list[Value]) -> list[Any]:
        """Some values, computed by the steps recorded so far."""
        if self.pieces is not None:
            return list(self.pieces.values(outputs))
        known = {one.first: self.before.get(one, one.array) for one in self.given}
        with np.errstate(all="ignore"):
            return needed(Program([*known], {}, self.steps, outputs))([*known.values()])

    def lifted(self, operand: Any) -> Any:
        """An operand of a step in place of an operand of a call."""
        if _is_traced(operand):
            value = operand.value
            if operand.tape is not self:
                if not self._is_inside(operand.tape):
                    raise CompileError(
                        "compile: an array of another recording is used here. Return what is "
                        "needed later from the compiled function, rather than keep it elsewhere"
                    )
                self.foreign[value] = operand
            return value
        if isinstance(operand, tuple) or (isinstance(operand, list) and [*recorded_in(operand)]):
            return tuple(map(self.lifted, operand))
        if isinstance(operand, Node | Leaf):  # for an array that no rule reads
            return ShapeDtype(operand.shape, operand.dtype)
        if isinstance(operand, np.generic) or NAMESPACES.get(type(operand)) is None:
            return operand
        return self.lifted(self.capture(operand))

    def _is_inside(self, tape: "Tape") -> bool:
        one = self.parent
        while one is not None and one is not tape:
            one = one.parent
        return one is not None

    def step(self, name: str, operands: Sequence[Any], parameters: Any, result: Any) -> Any:
        """Append a step whose result is an array, or a tuple of arrays."""
        given = tuple(map(self.lifted, operands))
        made = self._made(result)
        results = [None if one is None else one.first for one in flat(made)]
        self.steps.append(Step(name, given, parameters, results))
        first: Any = operands[0] if operands else None
        if _is_traced(made) and name in VIEWS and _shares_memory(first, made):
            step = name, given[1:], parameters
            root: Any = first if first.base is None else first.base
            made.base, made.version = root, root.version
            made.views = (*first.views, (step, made.shape))
            return made
        return self._apart(made, [*recorded_in(operands)])

    def _apart(self, made: Any, operands: Sequence[Any]) -> Any:
        """Results of a step not known for views: copies of those that are views all the same."""
        if isinstance(made, tuple):
            return tuple([self._apart(one, operands) for one in made])
        if made is None or not any(_shares_memory(operand, made) for operand in operands):
            return made
        return made._call("own")

    def _made(self, array: Any) -> Any:
        """What records a result, each array of it with a value of its own."""
        if array is None:
            return None
        if isinstance(array, tuple | list):
            return tuple(map(self._made, array))
        namespace = namespace_of(array)
        kind = _type_of(namespace)
        if namespace is not None:
            self.namespaces[namespace] = None
        dtype = getattr(array, "dtype", None) or np.dtype(type(array))
        if dtype.kind in "biufc" and dtype.isnative:
            dtype = np.dtype(dtype.type)  # by which C knows it: there are equal ones, such as '<f8'
        value = Value(np.shape(array), dtype, kind.is_weak)
        if type(array) is np.ndarray and not array.flags.c_contiguous:
            value.strides = array.strides
        recorded = kind(self, array, value)
        if self.made is not None:
            self.made.append(weakref.ref(recorded))
        return recorded


def place() -> str:
    where = user_line()
    return "" if where is None else f" at {where}"


def _shares_memory(operand: Any, made: Any) -> bool:
    """Whether a result is over the memory of an operand."""
    if not _is_traced(operand):
        return False
    a, b = operand.array, made.array
    if isinstance(a, np.generic | int | float) or isinstance(b, np.generic | int | float):
        return False
    xp = namespace_of(b)
    return xp is namespace_of(a) and xp.owner_of(a) is xp.owner_of(b)


def recorded_in(operands: Sequence[Any]) -> Iterator[Any]:
    for operand in operands:
        if _is_traced(operand):
            yield operand
        elif isinstance(operand, tuple | list):
            yield from recorded_in(operand)


def innermost(operands: Sequence[Any]) -> Tape:
    """The tape to which a step with such operands goes."""
    return max((one.tape for one in operands), key=lambda tape: tape.depth)
