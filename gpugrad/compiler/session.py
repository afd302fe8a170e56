"""One call of a function, recorded. Imports recorded, program and the layers below.

While the function runs, each Tensor that it meets holds a recorded array in place of its own. The
function does all that it does otherwise. What it has changed when it ends, in tensors, in their
gradients and in arrays, the program changes as well, at each call.
"""

import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpugrad.autodiff import tree
from gpugrad.backend.interrupts import whole
from gpugrad.backend.namespace import NAMESPACES
from gpugrad.compiler.graph import Graph, recorded_backward
from gpugrad.compiler.program import Program, Value
from gpugrad.compiler.recorded import Recorded, Tape
from gpugrad.engine import detours
from gpugrad.engine.modes import tracing
from gpugrad.engine.node import Leaf
from gpugrad.errors import CompileError
from gpugrad.tensor import Tensor

__all__ = ["RecordedCall", "StaleError", "Write", "record"]

Find = Callable[[Sequence[Any]], Any]  # from the leaves of a call's arguments


class StaleError(Exception):
    """A program is not right any more, and another has to be recorded."""


class Write(NamedTuple):
    """What each call changes: ``name`` of the tensor that ``find`` finds, or the array itself.

    ``name`` is "_array" or "_grad", or None for the elements of an array that is found. ``output``
    is the number of an output of the program, None where a gradient is cleared; ``value`` that of
    the array before, where it is an array.
    """

    find: Find
    name: str | None
    output: int | None
    value: Value | None = None


class RecordedCall(NamedTuple):
    """A recorded call: the program, and what connects it with the world.

    ``finds`` has a function for each input, ``results`` one for each leaf of the result: from the
    leaves of the arguments and the outputs. ``before`` and ``after`` are called at each call, and
    after an error what is then in ``undo``, last first.
    ``modules`` has the layers that were called and their modes, ``tensors`` what finds the tensors
    that were met, each with its array, whether it needs no gradient, and whether it has one, None
    where that does not matter. ``namespaces`` are those of its arrays. ``graph`` is the backward
    pass from the results, where there is one, and ``drawn`` has the arrays of random numbers that
    the recorded call has drawn.
    """

    program: Program
    finds: list[Find]
    writes: list[Write]
    results: list[Callable[[Sequence[Any], Sequence[Any]], Any]]
    structure: tree.Tree
    before: list[Callable[[], None]]
    after: list[Callable[[], list[Any]]]
    undo: list[Callable[[], None]]
    modules: list[tuple[Any, bool]]
    tensors: list[tuple[Find, Any, bool, bool | None]]
    namespaces: list[Any]
    graph: Graph | None
    drawn: dict[Value, Any]


class _Met:
    """A tensor that the function has met, and what it held before.

    A call finds it among the arguments, at ``argument``, or as the gradient of ``owner``, or it is
    the same tensor at each call. ``tensor`` is a weak reference: a tensor that is gone when the
    function ends was its own.
    """

    def __init__(
        self, tensor: Tensor, recorded: Recorded, argument: int | None, owner: "_Met | None"
    ) -> None:
        self.tensor = weakref.ref(tensor)
        self.array = recorded.array
        self.recorded = recorded
        self.node = tensor._node
        self.grad = getattr(tensor, "_grad", None)
        self.argument = argument
        self.owner = owner
        self.is_cleared = False  # so that it does not matter whether there was a gradient
        self.is_looked_at = False  # whether somebody has asked before for the gradient

    def find(self) -> Find | None:
        """What finds the tensor, given the leaves of a call; None for one that is gone."""
        if self.argument is not None:
            index = self.argument
            return lambda leaves: leaves[index]
        tensor = self.tensor()
        if self.owner is None:
            return None if tensor is None else lambda leaves: tensor
        owner = self.owner.find()
        return None if owner is None else lambda leaves: owner(leaves)._grad

    def put_back(self) -> None:
        """Give the tensor what it held before."""
        tensor = self.tensor()
        if tensor is not None:
            tensor._array, tensor._node = self.array, self.node
            if self.grad is not None or getattr(tensor, "_grad", None) is not None:
                tensor._grad = self.grad


class Session:
    """The recording of one call, while the function runs.

    Whoever has state of another kind than tensors tells it: generators of random numbers,
    optimizers, layers.
    """

    def __init__(self) -> None:
        self.tape = Tape()
        self.met: list[_Met] = []
        self.by_tensor: dict[int, _Met] = {}
        self.roots: list[tuple[Tensor, int]] = []  # results that have a graph
        self.drawn: dict[Value, Any] = {}
        self.finds: dict[Value, Find] = {}
        self.places: dict[int, Find] = {}  # by the identity of captured arrays, what finds them
        self.before: list[Callable[[], None]] = []
        self.after: list[Callable[[], list[Any]]] = []
        self.modules: dict[int, tuple[Any, bool]] = {}
        self.clocks: dict[int, Any] = {}  # what the counts of optimizers are in this call
        self.undo: list[Callable[[], None]] = []  # what puts back numbers that this call changes
        self.before += [self.clocks.clear, self.undo.clear]

    # What the function meets.

    def argument(self, index: int, leaf: Any) -> Any:
        """What the function gets in place of an argument."""
        if isinstance(leaf, Tensor):
            self.meet(leaf, index)
            return leaf
        if NAMESPACES.get(type(leaf)) is None and type(leaf) is not float:
            return leaf  # a constant of the program, and part of its key
        return self._entered(leaf, lambda leaves: leaves[index])

    def meet(self, tensor: Tensor, argument: int | None = None, owner: _Met | None = None) -> None:
        """Let a tensor hold a recorded array, from its first use on."""
        array = tensor._array
        if isinstance(array, Recorded):
            return
        if isinstance(array, np.generic):
            array = np.asarray(array)
        met = _Met(tensor, self.tape.capture(array), argument, owner)
        self.met.append(met)
        self.by_tensor[id(tensor)] = met
        tensor._array = met.recorded
        if met.grad is not None:
            self.meet(met.grad, owner=met)

    def draw(self, function: Callable[[], Any]) -> Recorded:
        """The result of a function that gives another array at each call."""
        recorded = self._entered(function(), lambda leaves: function())
        self.drawn[recorded.value] = recorded.array
        return recorded

    def state(self, find: Callable[[], Any]) -> Recorded:
        """An array that is state, and which a function finds at each call."""
        array = find()
        self.places[id(array)] = lambda leaves: find()
        return self.tape.capture(array)

    def numbers(self, function: Any) -> list[Recorded | int | None]:
        """The results of a function that gives other numbers, or None, at each call.

        It gives None in their place where the program is not right any more. What ``calls`` of it
        has is called at the end of each call. Whole numbers are constants.
        """
        cell: list[Any] = []

        def refresh() -> None:
            values = function()
            if values is None:
                raise StaleError
            cell[:] = values

        refresh()
        self.before.append(refresh)
        self.after.append(lambda: function.calls)
        return [
            number
            if number is None or isinstance(number, int)
            else self._entered(float(number), partial(_item, cell, i))
            for i, number in enumerate(cell)
        ]

    def clear(self, tensors: Iterable[Tensor]) -> None:
        """Note that the gradients of tensors are cleared, before they are."""
        for tensor in tensors:
            self.meet(tensor)
            met = self.by_tensor.get(id(tensor))
            if met is not None and not met.is_looked_at:
                met.is_cleared = getattr(tensor, "_grad", None) is met.grad

    def look_at_grad(self, tensor: Tensor) -> None:
        """Note that the gradient of a tensor is asked for: it matters whether there is one."""
        self.meet(tensor)
        met = self.by_tensor.get(id(tensor))
        if met is not None:
            met.is_looked_at = True

    def host(self, function: Callable[[], Any], saved: Callable[[], Callable[[], None]]) -> Any:
        """Call a function that changes numbers of the host, as each call of the program does.

        ``saved`` gives what puts the numbers back, should something fail later. Returns the result.
        """

        def change() -> Any:
            self.undo.append(saved())
            return function()

        self.before.append(change)
        token = tracing.set(None)
        try:
            return change()
        finally:
            tracing.reset(token)

    def note(self, module: Any) -> None:
        """Note that a layer is called, and in which mode."""
        self.modules[id(module)] = (module, module.training)

    def _entered(self, array: Any, find: Find) -> Recorded:
        recorded = self.tape.enter(array)
        self.finds[recorded.value] = find
        return recorded

    # The end.

    def restore(self) -> None:
        """Undo all that the function has changed."""
        for put_back in reversed(self.undo):
            put_back()
        self.tape.restore()
        for met in self.met:
            met.put_back()

    def finished(self, result: Any) -> RecordedCall:
        """The recording; the tensors hold arrays again, changed as the function has changed them.

        CompileError, where the program could not do what the function has done.
        """
        leaves, structure = tree.flatten(result)
        outputs: list[Value] = []
        results = [self._result(leaf, outputs) for leaf in leaves]
        writes = self._writes(outputs)
        constants = self._find_captured()
        graph = self._graph(constants, outputs) if self.roots else None
        used = {value for step in self.tape.steps for value in step.values()}.union(outputs)
        inputs = [value for value in self.tape.inputs if value in used and value not in constants]
        tensors = [
            (find, met.array, met.node is None, None if met.is_cleared else met.grad is not None)
            for met in self.met
            if met.owner is None and (find := met.find()) is not None
        ]
        self._unwrap(leaves)
        return RecordedCall(
            Program(inputs, constants, self.tape.steps, outputs),
            [self.finds[value] for value in inputs],
            writes, results, structure, self.before, self.after, self.undo,
            list(self.modules.values()), tensors, list(self.tape.namespaces), graph, self.drawn,
        )  # fmt: skip

    def _graph(self, constants: dict[Value, Any], outputs: list[Value]) -> Graph:
        """The backward pass from the results that have a graph."""
        targets = [(met.node, find) for met in self.met if met.node and (find := met.find())]
        finds = {value: find for value, find in self.finds.items() if value not in self.drawn}
        return recorded_backward(self.tape, self.roots, targets, finds, constants, outputs)

    def _result(self, leaf: Any, outputs: list[Value]) -> Any:
        """What gives a leaf of the result at each call."""
        array = leaf._array if isinstance(leaf, Tensor) else leaf
        for met in self.met:
            if leaf is met.tensor() and array is met.recorded and (find := met.find()):
                return lambda leaves, arrays: find(leaves)
        if not isinstance(array, Recorded):
            return lambda leaves, arrays: leaf
        number = len(outputs)
        outputs.append(array.value)
        if not isinstance(leaf, Tensor):
            return lambda leaves, arrays: arrays[number]
        node = leaf._node
        if isinstance(node, Leaf):
            raise CompileError(
                "compile: a result is a new tensor that requires a gradient, for which nothing "
                "comes. Return .detach()"
            )
        if node is not None and node.values is not None:
            self.roots.append((leaf, number))
            return lambda leaves, arrays: arrays[number]
        return lambda leaves, arrays: Tensor(arrays[number])

    def _writes(self, outputs: list[Value]) -> list[Write]:
        """What the function has changed, in tensors that are still there and in their memory."""

        def output(value: Value) -> int:
            outputs.append(value)
            return len(outputs) - 1

        writes = []
        for met in self.met:
            tensor, find = met.tensor(), met.find()
            if tensor is None or find is None:
                continue
            if tensor._array is not met.recorded:
                writes.append(Write(find, "_array", output(tensor._array.value)))
            grad = getattr(tensor, "_grad", None)
            if grad is None and (met.grad is not None or met.is_cleared):
                writes.append(Write(find, "_grad", None))
            elif grad is not met.grad:
                writes.append(Write(find, "_grad", output(_recorded(grad).value)))
        for recorded in self.tape.captured.values():
            if recorded.value is recorded.first:
                continue
            find = self._memory(recorded)
            if find is not None:
                writes.append(Write(find, None, output(recorded.value), recorded.first))
        return writes

    def _memory(self, recorded: Recorded) -> Find | None:
        """What finds a captured array; None if it was a tensor's that is gone."""
        gone = False
        for met in self.met:
            if met.recorded is recorded:
                if (find := met.find()) is not None:
                    return lambda leaves: find(leaves).data
                gone = True
        return None if gone else self.places.get(id(recorded.array), lambda leaves: recorded.array)

    def _find_captured(self) -> dict[Value, Any]:
        """Enter what finds the captured arrays; those of tensors that are gone are constants."""
        constants = {}
        for key, recorded in self.tape.captured.items():
            find = self._memory(recorded)
            if find is None:
                constants[recorded.first] = self.tape.before.get(key, recorded.array)
            else:
                self.finds[recorded.first] = find
        return constants

    def _unwrap(self, leaves: Iterable[Any]) -> None:
        """Let tensors hold arrays in place of what records them."""
        for met in self.met:
            tensor = met.tensor()
            if tensor is not None:
                grad = getattr(tensor, "_grad", None)
                for one in (tensor, *([grad] if grad is not None else [])):
                    if isinstance(one._array, Recorded):
                        one._array = one._array.array
        for leaf in leaves:
            if isinstance(leaf, Tensor) and isinstance(leaf._array, Recorded):
                leaf._array, leaf._node = leaf._array.array, None


def _item(cell: list[Any], index: int, leaves: Any) -> Any:
    return cell[index]


def _recorded(tensor: Any) -> Recorded:
    if isinstance(tensor._array, Recorded) and tensor._node is None:
        return tensor._array
    raise CompileError(
        "compile: the function leaves a gradient that has a graph, or that it has not computed. "
        "Use gg.gradients(..., create_graph=True) and return what you need"
    )


# The number of recordings that run now, in all threads: as long as there are any, ops ask.
_running = 0
_lock = threading.Lock()


def _begin(count: int) -> None:
    global _running
    with _lock:
        _running += count
        detours.use(_meet_operands, _running > 0, everywhere=True)


def _meet_operands(op: Any, operands: Sequence[Any], parameters: Any) -> None:
    """The detour of all ops, which computes nothing: their operands begin to record."""
    session = tracing.get()
    if session is not None:
        for operand in operands:
            if isinstance(operand, Tensor):
                session.meet(operand)


def record(function: Callable[..., Any], leaves: Sequence[Any], structure: Any) -> Any:
    """Call a function on arguments, and record it; returns its result and the `RecordedCall`.

    After an error all is as it was before.
    """
    session = Session()
    _begin(1)
    token = tracing.set(session)
    try:
        given = [session.argument(index, leaf) for index, leaf in enumerate(leaves)]
        args, kwargs = tree.unflatten(structure, given)
        result = function(*args, **kwargs)
        recording = session.finished(result)
        if recording.graph is not None:  # the program gives the results, with a graph of its own
            session.restore()
            return None, recording
        whole([call for calls in session.after for call in calls()])
    except BaseException:
        session.restore()
        raise
    finally:
        session.tape.is_open = False
        tracing.reset(token)
        _begin(-1)
    return _plain(result), recording


def _plain(result: Any) -> Any:
    """A result with arrays and numbers in place of what records them."""
    leaves, structure = tree.flatten(result)
    if not any(isinstance(leaf, Recorded) for leaf in leaves):
        return result
    return tree.unflatten(
        structure, [leaf.array if isinstance(leaf, Recorded) else leaf for leaf in leaves]
    )
