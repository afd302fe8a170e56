"""What a recording leaves: a program, and what finds its arrays. Imports graph and engine."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gpugrad.autodiff import tree
from gpugrad.compiler.calls.places import Given, Output, Place
from gpugrad.compiler.programs.program import Program, Value
from gpugrad.compiler.recording.graph import Graph
from gpugrad.engine.windows import Window, apart
from gpugrad.errors import CompileError
from gpugrad.nn.settings import Settings

__all__ = ["RecordedCall", "Write", "hooks_of", "share"]


class Write(NamedTuple):
    """What each call changes: ``name`` of the tensor that ``find`` finds, or the array itself.

    ``name`` is "_array" or "_grad", or None for the elements of an array that is found. ``output``
    is the number of an output of the program, None where a gradient is cleared; ``value`` that of
    the array before, where it is an array. ``is_argument`` says that it is an argument's, which may
    share the memory of another one.
    """

    find: Place
    name: str | None
    output: int | None
    value: Value | None = None
    is_argument: bool = False


class RecordedCall(NamedTuple):
    """A recorded call: the program, and what connects it with the world.

    ``finds`` has the place of each input, ``results`` what gives each leaf of the result.
    ``before`` is called at each call, then the ``calls`` of what is in ``after``, and after an
    error what is then in ``undo``, last first. ``modules`` has weak references to the layers that
    were called, their settings, and the names of those that do not matter; ``tensors`` what finds
    the tensors that were met, each with its array, its hooks, None for one that needs no gradient,
    and whether it has a gradient, None where that does not matter.
    ``namespaces`` are those of its arrays. ``graph`` is the backward pass from the results, where
    there is one, and ``drawn`` has the arrays of random numbers that the recorded call has drawn.
    ``guards`` are the numbers of outputs of which Python has asked the truth or the whole number,
    and what it was told: the program is right where they are the same. ``told`` is the error where
    Python was told other values: the program is right for the recorded call alone. ``pieces`` is
    what has run already, where there were programs for that. ``keeps`` says that the function has
    kept somewhere an array that records.
    """

    program: Program
    finds: list[Place]
    writes: list[Write]
    results: list[Output | Given]
    structure: tree.Tree
    before: list[Callable[[], None]]
    after: list[Any]
    undo: list[Callable[[], None]]
    modules: list[tuple[Any, Settings, frozenset[str]]]
    tensors: list[tuple[Place, Any, tuple[Any, ...] | None, bool | None]]
    namespaces: list[Any]
    graph: Graph | None
    drawn: dict[Value, Any]
    guards: list[tuple[int, Any]]
    told: CompileError | None
    pieces: Any
    keeps: bool


def hooks_of(node: Any) -> tuple[Any, ...] | None:
    """The hooks of a tensor's node; None where the tensor needs no gradient."""
    return None if node is None else tuple(getattr(node, "hooks", {}).values())


def share(array: Any, other: Any) -> bool:
    """Whether two arrays may share memory."""
    if type(array) is np.ndarray and type(other) is np.ndarray:
        return np.may_share_memory(array, other)
    return type(array) is type(other) and not apart(Window(array), Window(other))
