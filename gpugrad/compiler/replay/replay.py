"""A program that runs without a compiler: as one Python function over NumPy or another library.

The function is written line by line, one step a line. With NumPy, results are written into memory
that is planned beforehand and kept from call to call (`arena`), so that nothing is allocated, and
views of that memory are made once. Results that the caller gets are new arrays.

A program warns of nothing: NumPy's warnings are off during a run, as they are in backward().

Imports the modules beside it.
"""

import builtins
import math
from collections.abc import Collection, Sequence
from functools import partial
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from gpugrad.backend.interrupts import whole
from gpugrad.backend.namespace import namespace_of
from gpugrad.compiler.programs.expansion import expanded
from gpugrad.compiler.programs.passes import simplified
from gpugrad.compiler.programs.program import Program, Step
from gpugrad.compiler.replay.numpy_source import HostWriter
from gpugrad.compiler.replay.source import Writer
from gpugrad.compiler.replay.tail import UNKNOWN, Places

__all__ = ["Replay", "Way", "build"]

# Bytes: where functions allocate as much as would be planned, larger results are left to them. The
# memory is free when nobody reads it, for the functions' own.
LARGE = 1 << 16


class Replay:
    """A program that can be run; several threads may run it at once.

    >>> f = np.dtype("f")
    >>> from gpugrad.compiler.programs.program import Step, Value
    >>> x, y, z = (Value((3,), f) for _ in range(3))
    >>> steps = [Step("exp", [x], {}, [y]), Step("negative", [y], {}, [z])]
    >>> replay = build(Program([x], {}, steps, [z]))
    >>> replay.run([np.zeros(3, f)])
    [array([-1., -1., -1.], dtype=float32)]
    """

    def __init__(self, program: Program, steady: Collection[int] = ()) -> None:
        self.program = program
        self._steady = steady
        self._first = next((i for i, value in enumerate(program.inputs) if not value.weak), None)
        self._ways: dict[Any, Way] = {}

    def run(self, inputs: Sequence[Any], outs: Sequence[Any] | None = None) -> list[Any]:
        """The outputs for the arrays, and Python numbers, of the inputs.

        Where ``outs`` has an array in place of None, the output is written into it and it is
        returned. It may be the array of an input; else it has no memory in common with one, nor
        with another of them.
        """
        results, calls = self.prepare(inputs, outs)
        if calls:
            with np.errstate(all="ignore"):
                whole(calls)
        return results

    def prepare(
        self, inputs: Sequence[Any], outs: Sequence[Any] | None = None
    ) -> tuple[list[Any], list[Any]]:
        """As `run`, but that the outs are written by calls, which are returned: see `whole`.

        All else is done, so that nothing raises there, and nothing is changed before. NumPy's
        warnings are to be off there.
        """
        way = self.way(inputs, outs)
        try:
            function = way.idle.pop()
        except IndexError:  # all are running
            function = way.made()
        with np.errstate(all="ignore"):
            results, calls = function(inputs, outs)
        if calls:  # they read the memory of the function, which is free again after them
            calls.append(partial(way.idle.append, function))
        else:
            way.idle.append(function)
        return results, calls

    def way(self, inputs: Sequence[Any], outs: Sequence[Any] | None = None) -> "Way":
        """The program for the library of the inputs, and for outs that are where these are."""
        first = next(iter(self.program.constants.values()), None)
        if self._first is not None:
            first = inputs[self._first]
        xp = None if first is None else namespace_of(first)
        key = xp, () if outs is None else self._places(inputs, outs)
        way = self._ways.get(key)
        if way is None:
            way = self._ways[key] = Way(self.program, xp, key[1], self._steady)
        return way

    def release(self, way: "Way") -> None:
        """Give back the memory of all other ways."""
        for other in self._ways.values():
            if other is not way:
                other.idle.clear()

    @property
    def sources(self) -> list[str]:
        """The functions that were written so far: one for each array library, and set of outs."""
        return [way.source for way in self._ways.values()]

    @staticmethod
    def _places(inputs: Sequence[Any], outs: Sequence[Any]) -> Places:
        """What the outs are, see `tail`."""
        numbers: dict[int, int] = {}
        for number, array in enumerate(inputs):
            numbers[id(array)] = UNKNOWN if id(array) in numbers else number
        return tuple([None if out is None else numbers.get(id(out), -1) for out in outs])


class Way:
    """A program as a function over arrays of one library, that writes outputs to certain places.

    ``idle`` has functions that run at present nowhere: each has memory of its own.
    """

    def __init__(
        self, program: Program, xp: Any, places: Places, steady: Collection[int] = ()
    ) -> None:
        self._writer: Writer
        numpy = namespace_of(np.empty(0))
        on_host = xp is None or xp is numpy
        if on_host and not all(map(_is_whole, program.steps)):
            program = simplified(expanded(program, _is_whole))
        if on_host:
            self._writer, self.source = _written(program, numpy, places, steady)
        else:
            self._writer = Writer(program, xp, places)
            self.source = self._writer.write()
        module = compile(self.source, "<a compiled gpugrad program>", "exec")
        self._code = next(one for one in module.co_consts if isinstance(one, CodeType))
        self.idle: list[FunctionType] = []

    def made(self) -> FunctionType:
        """The function, over memory of its own."""
        # CuPy, which compiles kernels by Cython, looks for the built-in functions there.
        scope = {"__builtins__": builtins, **self._writer.scope()}
        return FunctionType(self._code, scope)


def _is_whole(step: Step) -> bool:
    """Whether a step stays one call: a layer's pieces write to planned memory, which costs less."""
    return not step.name.startswith("linear")


def _written(
    program: Program, numpy: Any, places: Places, steady: Collection[int]
) -> tuple[HostWriter, str]:
    """What has written the function for NumPy, and its source."""
    stay: list[Step] = []
    limit = math.inf
    while True:
        writer = HostWriter(program, numpy, places, steady, stay, limit)
        source = writer.write()
        if writer.refused:
            stay += writer.refused
        elif limit > LARGE < writer.size < 2 * writer.unplanned:
            limit = LARGE
        else:
            return writer, source


def build(program: Program, steady: Collection[int] = ()) -> Replay:
    """A program as something that runs, see `Replay`.

    ``steady`` has the numbers of inputs that are mostly the same array: what is done with them
    alone is prepared once.
    """
    return Replay(program, steady)
