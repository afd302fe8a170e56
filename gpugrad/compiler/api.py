"""``gg.compile``: a function that is recorded once and then runs as a program.

Imports session, passes and replay.
"""

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.autodiff import tree
from gpugrad.backend.host import NUMPY
from gpugrad.backend.lines import warn
from gpugrad.codegen.operations import NotFusibleError
from gpugrad.compiler import native, replay
from gpugrad.compiler import recording as _types  # noqa: F401  the types that record
from gpugrad.compiler.calls import RecordedCall, share
from gpugrad.compiler.graph import attached
from gpugrad.compiler.modes import aliases, modes
from gpugrad.compiler.passes import simplified
from gpugrad.compiler.places import StaleError
from gpugrad.compiler.program import Program, Value
from gpugrad.compiler.session import record
from gpugrad.engine import versions
from gpugrad.engine.modes import tracing
from gpugrad.errors import CompileError, DTypeError
from gpugrad.tensor import Tensor

__all__ = ["Compiled", "compile"]

LIMIT = 32  # programs of one function


class _Entry:
    """A program, and what has to hold for it to be right."""

    def __init__(self, structure: tree.Tree, recorded: RecordedCall) -> None:
        self.structure = structure
        self.lock = threading.RLock()  # of what each call keeps in the recording
        self.recorded = recorded
        self.program = program = simplified(recorded.program)
        places = {value: place for place, value in enumerate(program.inputs)}
        # By output, the input over which it is written.
        reuse = {
            write.output: places[write.value]
            for write in recorded.writes
            if write.output is not None and write.value in places
        }
        self.native = None
        if all(namespace is NUMPY for namespace in recorded.namespaces):
            self.native = _native(program, reuse)
        backend: Any = replay.build(program) if self.native is None else self.native
        self.run: Any = backend.run
        # Where all is computed before anything changes: the calls that then change it.
        self.prepare: Any = backend.prepare
        if any(value.weak for value in program.outputs):
            self.prepare = None
        prepared = [write for write in recorded.writes if write.output in reuse]
        self.in_place = prepared if self.prepare is not None else []
        self.writes = [write for write in recorded.writes if write not in self.in_place]
        self.attach: Any = None
        if recorded.graph is not None:
            backward = simplified(recorded.graph.program)
            run = replay.build(backward).run
            if self.native is not None and (compiled := _native(backward, {})) is not None:
                run = compiled.run
            self.attach = attached("compiled function", recorded.graph, run)

    def report(self, number: int, source: bool) -> str:
        """A paragraph about the program."""
        given = ", ".join(repr(value) for value in self.recorded.program.inputs)
        lines = [
            f"program {number}: {len(self.recorded.program.steps)} steps recorded, "
            f"{len(self.program.steps)} after simplification",
            f"  inputs: {given or 'none'}",
        ]
        if self.native is None:
            lines.append("  runs by calls of the array library")
        else:
            counts = ", ".join(f"{count:,} {what}" for what, count in self.native.counts.items())
            lines.append(f"  runs in C: {counts}")
        if source:
            lines.append(str(self.program) if self.native is None else self.native.source)
        return "\n".join(lines)

    def holds(self, leaves: Sequence[Any]) -> bool:
        """Whether layers are in the modes, and tensors have the arrays, of the recording."""
        recorded = self.recorded
        for module, training in recorded.modules:
            if getattr(module(), "training", None) is not training:
                return False
        for find, array, is_constant, has_grad in recorded.tensors:
            try:
                tensor = find(leaves)
            except StaleError:
                return False
            now = tensor._array
            if now is not array and (
                type(now) is not type(array) or now.shape != array.shape or now.dtype != array.dtype
            ):
                return False
            if (tensor._node is None) is not is_constant:
                return False
            if has_grad is not None and (getattr(tensor, "_grad", None) is None) is has_grad:
                return False
        return True

    def __call__(self, leaves: Sequence[Any], drawn: dict[Value, Any] | None = None) -> Any:
        """The result for some arguments; ``drawn`` has random numbers that are drawn already."""
        with self.lock:
            try:
                return self._run(leaves, drawn or {})
            except BaseException:
                for put_back in reversed(self.recorded.undo):
                    put_back()
                raise

    def _check_memory(self, leaves: Sequence[Any], given: Sequence[Any]) -> None:
        """Raise StaleError where an argument that is changed in place shares another's memory."""
        for write in self.recorded.writes:
            if write.is_argument:
                target = write.find(leaves)
                if any(one is not target and share(target, one) for one in given):
                    raise StaleError

    def _run(self, leaves: Sequence[Any], drawn: dict[Value, Any]) -> Any:
        recorded = self.recorded
        for function in recorded.before:
            function()
        inputs = [
            drawn[value] if value in drawn else find(leaves)
            for value, find in zip(recorded.program.inputs, recorded.finds)
        ]
        self._check_memory(leaves, inputs)
        changed = [write.find(leaves) for write in self.in_place]
        calls: list[Any] = []
        ready = self.native is None or (
            all(map(_is_plain, (*inputs, *changed))) and all(x.flags.writeable for x in changed)
        )
        if self.prepare is not None and ready:
            targets = {write.output: array for write, array in zip(self.in_place, changed)}
            outs = [targets.get(number) for number in range(len(recorded.program.outputs))]
            arrays, calls = self.prepare(inputs, outs)
            writes = self.writes
        else:
            arrays, changed, writes = self.run(inputs), [], recorded.writes
        for find, name, output, *_ in writes:
            target, value = find(leaves), None if output is None else arrays[output]
            if name is None:
                calls += versions.writing(target, value)
                changed.append(target)
            else:
                if name == "_grad" and value is not None:
                    value = Tensor(value)
                calls.append(functools.partial(setattr, target, name, value))
        calls += [call for after in recorded.after for call in after()]
        versions.change(calls, changed)
        if self.attach is not None:
            for number, tensor in self.attach(leaves, arrays).items():
                arrays[number] = tensor
        return tree.unflatten(
            recorded.structure, [result(leaves, arrays) for result in recorded.results]
        )


# The results of these lie in memory in another order, which NumPy keeps and C would undo.
IN_OTHER_ORDERS = ("convolution", "max_pool", "avg_pool", "at_chosen_elements")


def _native(program: Program, reuse: dict[int, int]) -> Any:
    """The program in C; None where it is left to NumPy."""
    if any(step.name.startswith(IN_OTHER_ORDERS) for step in program.steps):
        return None
    try:
        return native.build(program, reuse)
    except NotFusibleError:
        return None
    except CompileError as error:
        warn(f"{error}. The program runs by NumPy", RuntimeWarning)
        return None


def _is_plain(array: Any) -> bool:
    """Whether a function of C takes an array, or a number, as it is."""
    if type(array) is float:
        return True
    return type(array) is np.ndarray and array.flags.c_contiguous and array.flags.aligned


class Compiled:
    """A function that `compile` has made; it is called as the original is."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._entries: dict[Any, list[_Entry]] = {}
        self._count = 0
        self._is_over = False

    def _say_so(self) -> None:
        """Warn, once, that calls of another kind are not recorded any more."""
        if not self._is_over:
            self._is_over = True
            warn(
                f"{self!r} has {LIMIT} programs, for other shapes, dtypes, numbers or modes; "
                "what is new runs as without compile. Pad arrays to a few shapes, and pass "
                "changing numbers as floats",
                RuntimeWarning,
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        state = modes()
        if tracing.get() is not None or state is None:  # inside a recording, or observed
            return self._function(*args, **kwargs)
        if kwargs or not _PLAIN.issuperset(map(type, args)):
            leaves, structure = tree.flatten((args, kwargs))
        else:  # as mostly
            leaves, structure = list(args), _structure(len(args))
        key = (state, aliases(leaves), *map(_kind, leaves))
        entries = self._entries.setdefault(key, [])
        for entry in entries:
            if (entry.structure is structure or entry.structure == structure) and entry.holds(
                leaves
            ):
                try:
                    return entry(leaves)
                except StaleError:
                    continue
        if self._count >= LIMIT:
            self._say_so()
            return self._function(*args, **kwargs)
        result, recorded = record(self._function, leaves, structure)
        entry = _Entry(structure, recorded)
        entries.append(entry)
        self._count += 1
        return result if recorded.graph is None else entry(leaves, recorded.drawn)

    def report(self, source: bool = False) -> str:
        """What has been recorded, a paragraph for each program; with ``source`` its code as well.

        >>> import gpugrad as gg
        >>> f = gg.compile(lambda x: gg.exp(x * 1) + gg.exp(x))
        >>> f.report()
        'nothing recorded yet: call the function'
        >>> y = f(gg.ones(3))
        >>> f.report().splitlines()[0]
        'program 1: 4 steps recorded, 2 after simplification'
        """
        entries = [entry for several in self._entries.values() for entry in several]
        if not entries:
            return "nothing recorded yet: call the function"
        return "\n".join(entry.report(i, source) for i, entry in enumerate(entries, 1))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<compiled {self._function!r}>"


_PLAIN = {Tensor, np.ndarray, float}


@functools.cache
def _structure(count: int) -> tree.Tree:
    """The structure of so many leaves as arguments."""
    return tree.flatten(((0.0,) * count, {}))[1]


def _kind(leaf: Any) -> Any:
    """What a program depends on, of an argument."""
    cls = type(leaf)
    if isinstance(leaf, Tensor):
        array = leaf._array
        return cls, type(array), array.shape, array.dtype, type(leaf._node)
    if cls is float:
        return cls
    if isinstance(leaf, np.generic):
        return cls
    array = getattr(leaf, "shape", None)
    return (cls, leaf) if array is None else (cls, array, leaf.dtype)


def compile(function: Callable[..., Any]) -> Compiled:
    """A function that runs as one program, from its second call on.

    >>> import gpugrad as gg
    >>> slope = gg.compile(gg.grad(lambda x: x**3))
    >>> slope(2.0), slope(3.0)
    (12.0, 27.0)
    """
    if not callable(function):
        raise DTypeError(f"compile: expected a function, got {type(function).__name__}")
    return Compiled(function)
