"""A recorded program of a compiled function, and what has to hold for it to be right.

Imports the modules beside it.
"""

import functools
import threading
import weakref
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gpugrad.autodiff import tree
from gpugrad.backend.host import NUMPY
from gpugrad.compiler.backends import in_c, in_cuda
from gpugrad.compiler.c.compiler import find_compiler
from gpugrad.compiler.calls.numpy_call import check, function_of_calls
from gpugrad.compiler.calls.places import Given, Living, StaleError, is_given
from gpugrad.compiler.programs.passes import simplified
from gpugrad.compiler.programs.program import Program, Step, Value
from gpugrad.compiler.recording.graph import attached
from gpugrad.compiler.recording.recorded_call import RecordedCall, share
from gpugrad.compiler.replay import replay
from gpugrad.compiler.schedule.items import Call
from gpugrad.engine import versions
from gpugrad.engine.windows import check_writable
from gpugrad.tensor import Tensor

__all__ = ["Entry"]


class Entry:
    """A program, and what has to hold for it to be right."""

    def __init__(
        self, structure: tree.Tree, recorded: RecordedCall, leaves: Sequence[Any] = ()
    ) -> None:
        self.structure = structure
        # Arguments that the function may have had from elsewhere, too: see `Entry.learn`.
        self.alone = {
            place: weakref.ref(leaf)
            for place, leaf in enumerate(leaves)
            if isinstance(leaf, Tensor) and leaf._node is not None
        }
        self.is_built_in = False  # whether a built-in function for it was made, or tried
        self.built_in: Any = None
        self.lock = threading.RLock()  # of what each call keeps in the recording
        self.recorded = recorded
        if recorded.pieces is None:
            program = simplified(recorded.program)
        else:
            program = recorded.pieces.whole = recorded.program
        self.program = program
        places: dict[Any, int] = {value: place for place, value in enumerate(program.inputs)}
        # By output, the input over which it is written.
        reuse = {
            write.output: places[write.value]
            for write in recorded.writes
            if write.output is not None and write.value in places
        }
        self.reuse = reuse
        self.places = places
        self.arguments = [i for i, find in enumerate(recorded.finds) if is_given(find)]
        self.changes = [write for write in recorded.writes if write.name is None]
        self.native = None
        is_kept = recorded.told is None  # else there is one call, which NumPy computes sooner
        if is_kept and all(namespace is NUMPY for namespace in recorded.namespaces):
            self.native = in_c(program, reuse)
        self.device = _on_device(program, reuse, recorded) if is_kept else None
        steady = [i for i, find in enumerate(recorded.finds) if not is_given(find)]
        # Arrays that are mostly the same at each call, and those which lay apart.
        self._steady = [i for i in steady if not program.inputs[i].weak]
        self._seen: list[Any] = []
        backend: Any = (
            recorded.pieces or self.native or self.device or replay.build(program, steady)
        )
        self.backend = backend
        self.run: Any = backend.run
        # Where all is computed before anything changes: the calls that then change it.
        self.prepare: Any = backend.prepare
        numbers = [number for number, value in enumerate(program.outputs) if value.weak]
        if (numbers and self.device is None) or recorded.guards:
            self.prepare = None
        # Those that a GPU has computed, and the host waits for.
        self.numbers = [] if self.device is None else numbers
        prepared = [write for write in recorded.writes if write.output in reuse]
        self.in_place = prepared if self.prepare is not None else []
        self.writes = [write for write in recorded.writes if write not in self.in_place]
        self._call: tuple[Any, Any] = None, None  # a graph, and the function that launches it
        self._runs = 0
        self._in_numpy: Any = None  # the function of calls that NumPy computes
        self._check: Any = None  # and what says whether it is right
        self.attach: Any = None
        if recorded.graph is not None:
            backward = simplified(recorded.graph.program)
            compiled: Any = None
            if self.native is not None:
                compiled = in_c(backward, {})
            elif self.device is not None:
                compiled = in_cuda(backward, recorded.namespaces[0], {})
            run = (compiled or replay.build(backward)).run
            self.attach = attached("compiled function", recorded.graph, run)

    def report(self, number: int, source: bool, times: bool) -> str:
        """A paragraph about the program."""
        given = ", ".join(repr(value) for value in self.recorded.program.inputs)
        lines = [
            f"program {number}: {len(self.recorded.program.steps)} steps recorded, "
            f"{len(self.program.steps)} after simplification",
            f"  inputs: {given or 'none'}",
            f"  {_bytes(self.program.inputs):,} bytes given, "
            f"{_bytes(self.program.outputs):,} made for results and changes",
        ]
        text, left = str(self.program), []
        if self.native is not None:
            counts = ", ".join(f"{count:,} {what}" for what, count in self.native.counts.items())
            lines.append(f"  runs in C: {counts}")
            left = [item.step for item in self.native.schedule.items if isinstance(item, Call)]
            text = self.native.source
        elif self.device is not None:
            lines.append(f"  runs in CUDA: {self.device.report()}")
            text = self.device.program.source
        else:
            lines.append("  runs by calls of the array library")
            if find_compiler() is not None and self.recorded.told is None:
                left = self.program.steps
        if left:
            lines.append(f"  left to the library: {', '.join(dict.fromkeys(map(_called, left)))}")
        if times:
            from gpugrad.compiler.times import times_of

            lines += times_of(self.program, self.backend, self.recorded.namespaces)
        if source:
            lines.append(text)
        return "\n".join(lines)

    def holds(self, leaves: Sequence[Any]) -> bool:
        """Whether layers are in the modes, and tensors have the arrays, of the recording."""
        for place, reference in [*self.alone.items()]:
            if (tensor := reference()) is None:  # nobody else has it
                del self.alone[place]
                self.is_built_in = False
            elif leaves[place] is not tensor:
                return False
        if self._check is None:
            self._check = check(self.recorded)
        try:
            return bool(self._check(leaves))
        except StaleError:
            return False

    def learn(self, leaves: Sequence[Any], other: RecordedCall) -> dict[Value, Any] | None:
        """Learn from the recording for other arguments, and whether this program is right for them.

        An argument that needs a gradient is one tensor wherever the function has it from. So a
        program is right for that tensor alone, unless a recording for another one in its place has
        not met it. Returns the random numbers of that recording, None if the program is not right.
        """
        own = self.recorded
        answers = [[answer for _, answer in one.guards] for one in (own, other)]
        if answers[0] != answers[1] or len(own.program.steps) != len(other.program.steps):
            return None
        met = [find.reference() for find, *_ in other.tensors if type(find) is Living]
        for place, reference in [*self.alone.items()]:
            tensor = reference()
            if leaves[place] is not tensor and not any(one is tensor for one in met):
                del self.alone[place]
                self.is_built_in = False
        if len(own.drawn) != len(other.drawn) or not self.holds(leaves):
            return None
        return dict(zip(own.drawn, other.drawn.values()))

    def __call__(self, leaves: Sequence[Any], drawn: dict[Value, Any] | None = None) -> Any:
        """The result for some arguments; ``drawn`` has random numbers that are drawn already."""
        with self.lock:
            try:
                return self._run(leaves, drawn or {})
            except BaseException:
                self.undo()
                raise

    def undo(self) -> None:
        """Put back what the call has counted."""
        for put_back in reversed(self.recorded.undo):
            put_back()

    def _check_memory(self, leaves: Sequence[Any], given: Sequence[Any]) -> None:
        """StaleError where an array that is changed in place shares memory with another one.

        Those that are not arguments are compared with each other only if one is not that of the
        last call. ArgumentError where an array cannot be changed.
        """
        if not self.changes:
            return
        now = [given[i] for i in self._steady if not isinstance(given[i], np.generic)]
        have_moved = len(now) != len(self._seen) or not all(
            reference() is array for reference, array in zip(self._seen, now)
        )
        for write in self.changes:
            target = write.find(leaves)
            check_writable("compile", target)
            own = self.places.get(write.value)
            every = write.is_argument or have_moved or own is None
            for place in range(len(given)) if every else self.arguments:
                if place != own and share(target, given[place]):
                    raise StaleError
        if have_moved:
            self._seen = [weakref.ref(array) for array in now]

    def _run(self, leaves: Sequence[Any], drawn: dict[Value, Any]) -> Any:
        recorded = self.recorded
        if self.device is not None and self.device.graph is not None and not drawn:
            graph = self.device.graph
            if self._call[0] is not graph:
                from gpugrad.compiler.cuda.call import written

                self._call = graph, written(self, graph)
            if self._call[1] is not None:
                return self._call[1](leaves)
        self._runs += 1
        if self._runs == 2 and self.native is None and self.device is None:  # the first one rests
            self._in_numpy = function_of_calls(self)
        if self._in_numpy is not None and not drawn:
            return self._in_numpy(leaves)
        for function in recorded.before:
            function()
        inputs = [
            drawn[value] if value in drawn else find(leaves)
            for value, find in zip(recorded.program.inputs, recorded.finds)
        ]
        return self.rest(leaves, inputs)

    def rest(self, leaves: Sequence[Any], inputs: list[Any]) -> Any:
        """The result for inputs that are found."""
        recorded = self.recorded
        self._check_memory(leaves, inputs)
        given = self.given(leaves)
        changed = [write.find(leaves) for write in self.in_place]
        calls: list[Any] = []
        ready = self.native is None or (
            all(map(_is_plain, (*inputs, *changed))) and all(x.flags.writeable for x in changed)
        )
        if self.prepare is not None and ready:
            targets = {write.output: array for write, array in zip(self.in_place, changed)}
            outs = [targets.get(number) for number in range(len(recorded.program.outputs))]
            if self.device is None:
                arrays, calls = self.prepare(inputs, outs)
            else:
                arrays, calls = self.device.prepare(inputs, outs, leaves)
            writes = self.writes
        else:
            arrays, changed, writes = self.run(inputs), [], recorded.writes
        for number, answer in recorded.guards:
            if type(answer)(arrays[number]) != answer:
                raise StaleError
        for find, name, output, *_ in writes:
            target, value = find(leaves), None if output is None else arrays[output]
            if name is None:
                calls += versions.writing(target, value)
                changed.append(target)
            else:
                if name == "_grad" and value is not None:
                    value = Tensor(value)
                calls.append(functools.partial(setattr, target, name, value))
        calls += [call for counter in recorded.after for call in counter.calls]
        with np.errstate(all="ignore"):
            versions.change(calls, changed)
        return self.finish(leaves, arrays, given)

    def given(self, leaves: Sequence[Any]) -> list[Any]:
        """Results that are there before the call changes anything."""
        return [one.place(leaves) for one in self.recorded.results if isinstance(one, Given)]

    def finish(self, leaves: Sequence[Any], arrays: list[Any], given: Sequence[Any]) -> Any:
        """The result for the outputs of the program, and what was found before."""
        for number in self.numbers:
            arrays[number] = arrays[number].item()
        if self.attach is not None:
            for number, tensor in self.attach(leaves, arrays).items():
                arrays[number] = tensor
        found, results = iter(given), self.recorded.results
        own = [next(found) if isinstance(one, Given) else one(arrays) for one in results]
        return tree.unflatten(self.recorded.structure, own)


def _on_device(program: Program, reuse: dict[int, int], recorded: RecordedCall) -> Any:
    """The program in CUDA; None where its arrays are no GPU's, or it is left to CuPy."""
    xp, *others = recorded.namespaces or [NUMPY]
    made = in_cuda(program, xp, reuse) if all(other is xp for other in others) else None
    if made is None:
        return None
    from gpugrad.compiler.cuda.graph import Graphed

    finds = dict(zip(recorded.program.inputs, recorded.finds))
    replaced = {program.inputs[place] for place in reuse.values()}
    given = [value not in replaced and is_given(finds[value]) for value in program.inputs]
    gradients = {
        write.output: write.find
        for write in recorded.writes
        if write.name == "_grad" and write.output is not None
    }
    graphed = Graphed(made, given, gradients)
    if recorded.guards:
        graphed.reason = "values are looked at before anything is changed"
    return graphed


def _is_plain(array: Any) -> bool:
    """Whether a function of C can look at an array, or a number."""
    return type(array) is float or type(array) is np.ndarray


def _called(step: Step) -> str:
    """The name of a step, and of what."""
    dtype = next((value.dtype for value in (*step.values(), *step.results) if value), None)
    return step.name if dtype is None else f"{step.name} of {dtype}"


def _bytes(values: Sequence[Value]) -> int:
    """The bytes of arrays, each counted once."""
    return sum(prod(v.shape) * np.dtype(v.dtype).itemsize for v in dict.fromkeys(values))
