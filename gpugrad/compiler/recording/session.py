"""The recording of one call of a function. Imports recorded, program and the layers below.

While the function runs, each Tensor that it meets holds a recorded array in place of its own. The
function does all that it does otherwise. What it has changed when it ends, in tensors, in their
gradients and in arrays, the program changes as well, at each call.
"""

import weakref
from collections.abc import Callable, Iterable, Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from gpugrad.autodiff import tree
from gpugrad.backend.namespace import NAMESPACES
from gpugrad.compiler.calls.places import (
    Argument,
    ArrayOf,
    Called,
    Fixed,
    Given,
    GradientOf,
    Item,
    Living,
    NewTensor,
    Output,
    Place,
    StaleError,
    StateOf,
    number_at,
)  # fmt: skip
from gpugrad.compiler.pieces import Pieces, Programs
from gpugrad.compiler.programs.program import Program, Value
from gpugrad.compiler.recording.containers import check_result
from gpugrad.compiler.recording.graph import Backward, is_freed, recorded_backward
from gpugrad.compiler.recording.recorded import Recorded, records
from gpugrad.compiler.recording.recorded_call import RecordedCall, Write, hooks_of, share
from gpugrad.compiler.recording.scan import scan
from gpugrad.compiler.recording.tape import Tape
from gpugrad.engine.modes import tracing
from gpugrad.engine.node import Leaf
from gpugrad.errors import CompileError
from gpugrad.nn.settings import Settings, read_settings
from gpugrad.tensor import Tensor

__all__ = ["Session"]


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
        recorded.kept += 1
        self.node, self.hooks = tensor._node, hooks_of(tensor._node)
        self.grad = getattr(tensor, "_grad", None)
        self.argument = argument
        self.owner = owner
        self.is_cleared = False  # so that it does not matter whether there was a gradient
        self.is_own = False  # made by the function, so that each call makes another
        self.is_looked_at = False  # whether somebody has asked before for the gradient

    def find(self) -> Place | None:
        """What finds the tensor, given the leaves of a call; None for one that is gone."""
        if self.argument is not None:
            return Argument(self.argument)
        if self.owner is None:
            is_gone = self.is_own or self.tensor() is None
            return None if is_gone else Living(self.tensor)
        owner = self.owner.find()
        return None if owner is None else GradientOf(owner)

    def put_back(self) -> None:
        """Give the tensor what it held before, unless the function has made it."""
        tensor = self.tensor()
        if tensor is not None and not self.is_own:
            tensor._array, tensor._node = self.array, self.node
            if self.grad is not None or getattr(tensor, "_grad", None) is not None:
                tensor._grad = self.grad


class Session:
    """The recording of one call, while the function runs.

    Whoever has state of another kind than tensors tells it: generators of random numbers,
    optimizers, layers.
    """

    def __init__(self, is_lenient: bool = False, programs: Programs | None = None) -> None:
        self.tape = Tape()
        if is_lenient:
            self.tape.made = []
        if programs is not None:
            self.tape.pieces = Pieces(programs, self.tape)
            self.tape.told = CompileError("compile: values are asked for")
        # Values of which Python has asked something, and the answers; None where it may not.
        self.guards: list[tuple[Value, Any]] | None = [] if is_lenient else None
        self.met: list[_Met] = []
        self.by_tensor: dict[int, _Met] = {}
        self.roots: list[tuple[Tensor, int]] = []  # results that have a graph
        self.returned: dict[int, Any] = {}  # the arrays of results, by identity
        self.drawn: dict[Value, Any] = {}
        self.finds: dict[Value, Place] = {}
        self.places: dict[Recorded, Place] = {}  # of arrays that are no tensors', what finds them
        self.arguments: dict[int, Any] = {}  # by identity, what the function gets for arguments
        self.before: list[Callable[[], None]] = []
        self.after: list[Any] = []  # what counts: see `numbers`
        self.modules: dict[int, tuple[Any, Settings]] = {}
        self.steps: dict[int, Any] = {}  # by parameter, the last step of an optimizer
        self.undo: list[Callable[[], None]] = []  # what puts back numbers that this call changes
        self.before.append(self.undo.clear)
        self.ends: list[Callable[[], None]] = []  # what checks, when the function has ended

    # What the function meets.

    def argument(self, index: int, leaf: Any, leaves: Sequence[Any]) -> Any:
        """What the function gets in place of an argument."""
        if id(leaf) in self.arguments:
            return self.arguments[id(leaf)]
        entered = leaf
        if type(leaf) is Tensor and leaf._node is None and getattr(leaf, "_grad", None) is None:
            # The function may have the tensor from elsewhere, too: that is another input.
            array = np.asarray(a) if isinstance(a := leaf._array, np.generic) else a
            recorded = self._entered(array, ArrayOf(Argument(index)))
            self.tape.arguments.append(recorded)
            entered = Tensor(recorded)
            self._add(entered, recorded, index)
        elif isinstance(leaf, Tensor):
            self.meet(leaf, index)
        elif isinstance(leaf, np.generic | float):
            return self._entered(*number_at(index, leaves))
        elif NAMESPACES.get(type(leaf)) is None:
            return leaf  # a constant of the program, and part of its key
        else:
            entered = self._entered(leaf, Argument(index))
            self.tape.arguments.append(entered)
        self.arguments[id(leaf)] = entered
        return entered

    def meet(self, tensor: Tensor, argument: int | None = None, owner: _Met | None = None) -> None:
        """Let a tensor hold a recorded array, from its first use on."""
        array = tensor._array
        if records(array):
            return
        if isinstance(array, np.generic):
            array = np.asarray(array)
        recorded = self.tape.capture(array)
        met = self._add(tensor, recorded, argument, owner)
        tensor._array = recorded
        if met.grad is not None:
            self.meet(met.grad, owner=met)

    def _add(
        self, tensor: Tensor, recorded: Recorded, argument: int | None, owner: _Met | None = None
    ) -> _Met:
        met = self.by_tensor[id(tensor)] = _Met(tensor, recorded, argument, owner)
        self.met.append(met)
        return met

    def own(self, tensor: Tensor) -> None:
        """Note that the function has made a tensor of constants: each call makes another."""
        if not records(tensor._array):
            array = np.asarray(a) if isinstance(a := tensor._array, np.generic) else a
            met = self._add(tensor, self.tape.own(array), None)
            met.is_own, tensor._array = True, met.recorded

    scan = scan  # a loop of the program

    def draw(self, function: Callable[[], Any]) -> Recorded:
        """The result of a function that gives another array at each call."""
        recorded = self._entered(function(), Called(function))
        self.drawn[recorded.value] = recorded.array
        return recorded

    def state(self, entries: list[dict[str, Any]], index: int, name: str) -> Recorded:
        """An array that is state: each call finds it in a dict of a list."""
        recorded = self.tape.capture(entries[index][name])
        self.places[recorded] = StateOf(entries, index, name)
        return recorded

    def numbers(self, function: Any) -> list[Recorded | int | None]:
        """The results of a function that gives other numbers, or None, at each call.

        It gives None in their place where the program is not right any more. What its list
        ``calls`` has is called at the end of each call: that gives each of the dicts in ``entries``
        the items of ``next``. Whole numbers are constants.
        """
        cell: list[Any] = []

        def refresh() -> None:
            values = function()
            if values is None:
                raise StaleError
            cell[:] = values

        refresh()
        self.before.append(refresh)
        self.after.append(function)
        return [
            number
            if number is None or isinstance(number, int)
            else self._entered(float(number), Item(cell, i))
            for i, number in enumerate(cell)
        ]

    def clear(self, tensors: Iterable[Tensor]) -> None:
        """Note that the gradients of tensors are cleared or replaced, before they are."""
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

    def host(
        self, owner: Any, function: Callable[[Any], Any], saved: Callable[[Any], Callable[[], None]]
    ) -> Any:
        """Call a function that changes numbers of an object, as each call of the program does.

        ``saved`` gives what puts the numbers back, should something fail later. Returns the result.
        """
        self.tape.check_outermost()
        find = Living(weakref.ref(owner))  # another may take its place

        def change() -> Any:
            found = find(())
            self.undo.append(saved(found))
            return function(found)

        self.before.append(change)
        try:
            tracing.set(None)
            return change()
        finally:
            tracing.set(self)

    def note(self, module: Any) -> None:
        """Note that a model or a layer is called, with which settings."""
        noted = self.modules.get(id(module))
        if noted is None or noted[0]() is not module:
            for one in [*module.modules()]:
                self.modules[id(one)] = (weakref.ref(one), read_settings(one))

    def _noted(self) -> list[tuple[Any, Any, frozenset[str]]]:
        """The layers that are still there, with their settings, and the names that do not matter.

        Those are what the function sets itself, but for the mode, which it has used before.
        """
        found = []
        for reference, before in self.modules.values():
            if (module := reference()) is not None:
                now = read_settings(module)
                changed = now.differences(before)
                wanted = before if "training" in changed else now
                found.append((reference, wanted, changed - {"training"}))
        return found

    def _entered(self, array: Any, find: Place) -> Recorded:
        self.tape.check_outermost()
        recorded = self.tape.enter(array)
        self.finds[recorded.value] = self.places[recorded] = find
        return recorded

    # The end.

    def restore(self) -> None:
        """Undo all that the function has changed."""
        for put_back in reversed(self.undo):
            put_back()
        self.tape.restore()
        for met in self.met:
            met.put_back()

    def forget(self) -> bool:
        """Let go of all that records, after the end; whether somebody else has kept some of it.

        That is known of a lenient recording alone.
        """
        tape = self.tape
        for some in (
            self.met, self.by_tensor, self.places, self.arguments, self.returned, self.roots,
            self.steps, self.ends, tape.given, tape.captured, tape.arguments, tape.before,
            tape.foreign,
        ):  # fmt: skip
            some.clear()
        tape.pieces = None
        return any(reference() is not None for reference in tape.made or ())

    def finished(self, holder: list[Any], given: Sequence[Any]) -> RecordedCall:
        """The recording of a call whose result is in ``holder``, and whose arguments are ``given``.

        The tensors hold arrays again, changed as the function has changed them. CompileError, where
        the program could not do what the function has done.
        """
        leaves, structure = tree.flatten(holder[0])
        check_result(structure)
        for check in self.ends:
            check()
        outputs: list[Value] = []
        self._find_own(leaves)
        for leaf in leaves:
            recorded = leaf._array if isinstance(leaf, Tensor) else leaf
            if isinstance(recorded, Recorded):
                self.returned[id(recorded.array)] = recorded.array
        results = [self._result(leaf, outputs) for leaf in leaves]
        self._check_memory()
        writes = self._writes(outputs)
        guards = [(len(outputs) + i, answer) for i, (_, answer) in enumerate(self.guards or ())]
        items = {
            step.results[0]: step.operands[0] for step in self.tape.steps if step.name == "item"
        }
        outputs += [items.get(value, value) for value, _ in self.guards or ()]
        backward = self._backward() if self.roots else None
        constants = self._find_captured()
        graph = None
        if backward is not None:
            finds = {value: find for value, find in self.finds.items() if value not in self.drawn}
            graph = backward.graph(finds, constants, outputs)
        used = {value for step in self.tape.steps for value in step.values()}.union(outputs)
        inputs = [value for value in self.tape.inputs if value in used and value not in constants]
        tensors = [
            (find, met.array, met.hooks, None if met.is_cleared else met.grad is not None)
            for met in self.met
            if met.owner is None and (find := met.find()) is not None
        ]
        self._unwrap(leaves, given)
        return RecordedCall(
            Program(inputs, constants, self.tape.steps, outputs),
            [self.finds[value] for value in inputs],
            writes, results, structure, self.before, self.after, self.undo,
            self._noted(), tensors, list(self.tape.namespaces), graph, self.drawn,
            guards, self.tape.told, self.tape.pieces, False,
        )  # fmt: skip

    def _backward(self) -> Backward:
        """The backward pass from the results that have a graph."""
        targets = [(met.node, find) for met in self.met if met.node and (find := met.find())]
        return recorded_backward(self.tape, self.roots, targets)

    def _result(self, leaf: Any, outputs: list[Value]) -> Any:
        """What gives a leaf of the result at each call."""
        array = leaf._array if isinstance(leaf, Tensor) else leaf
        for met in self.met:
            if leaf is met.tensor() and array is met.recorded and (find := met.find()):
                return Given(find)
        if not isinstance(array, Recorded):
            return Given(Fixed(leaf))
        number = len(outputs)
        root = array if array.base is None else array.base
        is_given = root.value is root.first and root.first in self.tape.inputs and not root.is_weak
        outputs.append((array.copy() if is_given else array).value)
        if not isinstance(leaf, Tensor):
            return Output(number)
        node = leaf._node
        if isinstance(node, Leaf):
            raise CompileError(
                "compile: a result is a new tensor that requires a gradient, for which nothing "
                "comes. Return .detach()"
            )
        if node is not None and not is_freed(node):
            self.roots.append((leaf, number))
            return Output(number)
        return NewTensor(number)

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
        for recorded in (*self.tape.captured.values(), *self.tape.arguments):
            if recorded.value is recorded.first:
                continue
            find = self._memory(recorded)
            if find is not None:
                is_argument = any(one is recorded for one in self.tape.arguments)
                writes.append(
                    Write(find, None, output(recorded.value), recorded.first, is_argument)
                )
        return writes

    def _memory(self, recorded: Recorded) -> Place | None:
        """What finds an array from elsewhere; None for one that the function has made."""
        if recorded in self.places:
            return self.places[recorded]
        holders = [met for met in self.met if met.recorded is recorded]
        for met in holders:
            if (find := met.find()) is not None:
                return ArrayOf(find)
        # Referred to by what records it, by those who have met it, by the call, and by results
        # that are views of it.
        views = sum(getattr(a, "base", None) is recorded.array for a in self.returned.values())
        expected = len(holders) + 2 + views
        if any(met.is_own for met in holders) or getrefcount(recorded.array) <= expected:
            return None
        if getattr(recorded.array, "base", None) is not None:
            return Fixed(recorded.array)
        return Living(weakref.ref(recorded.array))

    def _find_own(self, leaves: list[Any]) -> None:
        """Note which tensors of the result nobody else refers to: the function has made them."""
        probe = [object()]
        others = _references(probe, 0) - 1
        for index in range(len(leaves)):
            met = self.by_tensor.get(id(leaves[index]))
            if met is not None and met.argument is None and met.tensor() is leaves[index]:
                times = sum(one is leaves[index] for one in leaves)
                met.is_own |= _references(leaves, index) <= others + 2 * times

    def _check_memory(self) -> None:
        """Raise for an array that is changed in place and shares memory with another one."""
        every = [*self.tape.captured.values(), *self.tape.arguments]
        for one in every:
            if one.value is one.first:
                continue
            for other in every:
                if other is not one and share(one.array, other.array):
                    raise CompileError(
                        f"compile: an array of shape {one.shape} is changed in place, and one of "
                        f"shape {other.shape} that shares its memory is used too, which would not "
                        "be seen. Pass copies, or change new arrays"
                    )

    def _find_captured(self) -> dict[Value, Any]:
        """Enter what finds the captured arrays; those of tensors that are gone are constants."""
        constants = {}
        for recorded in self.tape.captured.values():
            find = self._memory(recorded)
            if find is None:
                constants[recorded.first] = self.tape.before.get(recorded, recorded.array)
            else:
                self.finds[recorded.first] = find
        return constants

    def _unwrap(self, leaves: Iterable[Any], given: Sequence[Any]) -> None:
        """Let tensors hold arrays in place of what records them."""
        returned = {id(leaf) for leaf in leaves}
        for met in self.met:
            tensor = met.tensor()
            if tensor is not None and (not met.is_own or id(tensor) in returned):
                if type(tensor._node) is not type(met.node) and not met.is_own:
                    raise CompileError(
                        "compile: requires_grad of a tensor from elsewhere is changed. Write "
                        "x = x.detach().requires_grad_() in the compiled function, or change it "
                        "outside"
                    )
                grad = getattr(tensor, "_grad", None)
                for one in (tensor, *([grad] if grad is not None else [])):
                    if isinstance(one._array, Recorded):
                        one._array = one._array.array
                if met.argument is not None and (leaf := given[met.argument]) is not tensor:
                    leaf._array = tensor._array
                    if grad is not None:
                        leaf._grad = grad
        for leaf in leaves:
            if isinstance(leaf, Tensor) and isinstance(leaf._array, Recorded):
                leaf._array, leaf._node = leaf._array.array, None


def _references(leaves: list[Any], index: int) -> int:
    return getrefcount(leaves[index])


def _recorded(tensor: Any) -> Recorded:
    if isinstance(tensor._array, Recorded) and tensor._node is None:
        return tensor._array
    raise CompileError(
        "compile: the function leaves a gradient that has a graph, or that it has not computed. "
        "Use gg.gradients(..., create_graph=True) and return what you need"
    )
