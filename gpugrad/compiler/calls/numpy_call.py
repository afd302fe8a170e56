"""A call of a program that NumPy runs, as one function without loops. Imports source, replay.

What `Entry` does at each call is written here once, line by line. Arrays that are mostly the same
at each call, such as parameters, are compared with those of the call before, about which all is
known; arguments are looked at. Where something is different, `Entry.rest` goes on.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from sys import getrefcount
from typing import Any

import numpy as np

from gpugrad.backend.host import NUMPY
from gpugrad.compiler.calls.places import (
    Argument,
    ArrayOf,
    Given,
    Living,
    NewTensor,
    Place,
    is_given,
)
from gpugrad.compiler.calls.source import CallWriter
from gpugrad.compiler.programs.liveness import bytes_of, roots
from gpugrad.compiler.programs.program import Value
from gpugrad.compiler.recording.recorded_call import hooks_of
from gpugrad.compiler.replay.replay import Replay
from gpugrad.engine import versions
from gpugrad.engine.node import Leaf
from gpugrad.nn.settings import are_those_of
from gpugrad.tensor import Tensor

__all__ = ["check", "function_of_calls"]

Call = Callable[[Sequence[Any]], Any]


def function_of_calls(entry: Any) -> Call | None:
    """The function of an entry, from the leaves of a call's arguments to its result.

    None for a program that does not run by NumPy, or that changes arrays of arguments.
    """
    writer = _CallWriter(entry)
    return writer.function() if writer.knows() else None


def check(recorded: Any) -> Call:
    """The function that says whether layers and tensors are as they were recorded, `Entry.holds`.

    It raises StaleError, too, where they are not.
    """
    writer = _CheckWriter()
    writer.names |= {"array": np.ndarray, "generic": np.generic, "Leaf": Leaf, "hooks_of": hooks_of}
    writer.names["are_those_of"] = are_those_of
    for module, *settings in recorded.modules:
        asked = ", ".join([f"{writer.known(module)}()", *map(writer.known, settings)])
        writer.lines.append(f"if not are_those_of({asked}): return False")
    # An argument that needs a gradient is one tensor wherever the function has it from.
    writer.arguments = [
        find.index for find, _, hooks, _ in recorded.tensors
        if type(find) is Argument and hooks is not None
    ]  # fmt: skip
    for one in recorded.tensors:
        writer.tensor(*one)
    writer.lines.append("return True")
    return writer.compiled("<a check of a compiled function>")


class _CheckWriter(CallWriter):
    def __init__(self) -> None:
        super().__init__()
        self.arguments: Sequence[int] = ()
        self.first: dict[int, Place] = {}  # by array, the first tensor that has it

    def tensor(self, find: Place, array: Any, hooks: Any, has_grad: bool | None) -> None:
        """Compare a tensor's array, hooks and gradient."""
        cls = "array" if type(array) is np.ndarray else self.known(type(array))
        shape, dtype = self.constant(array.shape), self.constant(array.dtype)
        self.lines += [
            f"tensor = {self.place(find)}",
            "now = tensor._array",
            f"if now is not {self.constant(array)} and (",
            f"    type(now) is not {cls} and not ({cls} is array and isinstance(now, generic))",
            f"    or now.shape != {shape} or now.dtype != {dtype}",
            "): return False",
        ]
        if (first := self.first.setdefault(id(array), find)) is not find:
            self.lines.append(f"if now is not {self.place(first)}._array: return False")
        if type(find) is Living:
            tests = [f"tensor is leaves[{index}]" for index in self.arguments]
            self.lines += [f"if {' or '.join(tests)}: return False"] if tests else []
        if hooks is None:
            self.lines.append("if tensor._node is not None: return False")
        else:
            plain = "type(tensor._node) is not Leaf and " if hooks == () else ""
            expected = self.constant(hooks)
            self.lines.append(f"if {plain}hooks_of(tensor._node) != {expected}: return False")
        if has_grad is not None:
            test = "is not" if not has_grad else "is"
            self.lines.append(f"if getattr(tensor, '_grad', None) {test} None: return False")


class _CallWriter(CallWriter):
    def __init__(self, entry: Any) -> None:
        super().__init__()
        self.entry = entry
        self.recorded = entry.recorded
        self.targets = [entry.places[write.value] for write in entry.in_place]
        finds = self.recorded.finds
        # By output, the place of the tensor whose gradient it becomes.
        self.gradients = _gradients(entry)
        self.weak = [value.weak for value in self.recorded.program.inputs]
        self.given = [i for i, find in enumerate(finds) if is_given(find) and not self.weak[i]]
        self.steady = [i for i, find in enumerate(finds) if not is_given(find) and not self.weak[i]]

    def knows(self) -> bool:
        """Whether the function can be written."""
        entry = self.entry
        return (
            type(entry.backend) is Replay
            and entry.prepare is not None
            and all(namespace is NUMPY for namespace in self.recorded.namespaces)
            and all(write.name is not None for write in entry.writes)
            and not any(write.is_argument for write in self.recorded.writes)
            and set(self.targets) <= set(self.steady)
        )

    def function(self) -> Call:
        """Write it. It knows no arrays before its first call."""
        notes = _Notes(self)
        self.names |= {
            "apart": _apart, "array": np.ndarray, "change": versions.change,
            "errstate": np.errstate, "getrefcount": getrefcount, "partial": partial,
            "Tensor": Tensor, "usual": notes.usual,
        }  # fmt: skip
        self.find()
        self.guard()
        self.run()
        self.finish()
        function = self.compiled("<a call of a compiled function>")
        notes.names = self.names
        notes.forget()
        return function

    def place(self, place: Place) -> str:
        if isinstance(place, ArrayOf) and is_given(place):
            return f"{self.place(place.tensor)}.data"  # a number of NumPy becomes an array there
        return super().place(place)

    def find(self) -> None:
        """The inputs, x0, x1 and so on."""
        recorded = self.recorded
        self.lines += [f"{self.constant(function)}()" for function in recorded.before]
        for number, (place, value) in enumerate(zip(recorded.finds, recorded.program.inputs)):
            is_number = isinstance(place, ArrayOf) and not value.ndim
            text = f"{self.place(place.tensor)}.data" if is_number else self.place(place)
            self.lines.append(f"x{number} = {text}")
        self.inputs = "".join(f"x{number}, " for number in range(len(recorded.finds)))

    def guard(self) -> None:
        """Whether arrays are those of the call before, and arguments lie apart from them."""
        tests = ["known", *(f"x{i} is same{i}()" for i in self.steady)]
        tests += [f"x{i}.flags.writeable" for i in self.targets]
        tests += [f"type(x{i}) is array" for i in self.given]
        targets = "".join(f"x{i}, " for i in self.targets)
        if targets:
            tests += [
                f"(x{i}.base is None and own or apart(x{i}, ({targets})))" for i in self.given
            ]
            tests += [f"x{i} is not x{j}" for i in self.given for j in self.targets]
        self.lines.append(f"if not ({' and '.join(tests)}):")
        self.lines.append(f"    return usual(leaves, [{self.inputs}])")

    def run(self) -> None:
        """Run the program, and change what it changes."""
        entry, recorded = self.entry, self.recorded
        for number, one in enumerate(recorded.results):
            if isinstance(one, Given):
                self.lines.append(f"given{number} = {self.place(one.place)}")
        outs = ["None"] * len(recorded.program.outputs)
        for write, target in zip(entry.in_place, self.targets):
            outs[write.output] = f"x{target}"
        for output in self.gradients:
            self.gradient(output)
            outs[output] = f"mine{output}"
        self.lines += [
            "run = idle.pop() if idle else made()",  # one thread at a time
            "with errstate(all='ignore'):",
            f"    arrays, calls = run(({self.inputs}), ({''.join(f'{out}, ' for out in outs)}))",
        ]
        if not entry.recorded.writes and not recorded.after:
            self.lines.append("idle.append(run)")
            return
        self.lines.append("calls.append(partial(idle.append, run))")
        for output, find in self.gradients.items():
            self.lines.append(f"if before{output} is not new{output}:")
            store = f"partial(setattr, {self.place(find)}, '_grad', new{output})"
            self.lines.append(f"    calls.append({store})")
        for find, name, output, *_ in entry.writes:
            if output in self.gradients:
                continue
            value = "None" if output is None else f"arrays[{output}]"
            if name == "_grad" and output is not None:
                value = f"Tensor({value})"
            arguments = f"{self.place(find)}, {name!r}, {value}"
            self.lines.append(f"calls.append(partial(setattr, {arguments}))")
        self.lines += [f"calls += {self.constant(counter)}.calls" for counter in recorded.after]
        targets = ", ".join(f"x{i}" for i in self.targets)
        self.lines.append("with errstate(all='ignore'):")
        self.lines.append(f"    change(calls, [{targets}])")

    def gradient(self, output: int) -> None:
        """The tensor of a gradient, its array, and another one over the same memory.

        The program writes to that, which nobody else sees. They are those of the call before, if
        nobody but the gradient's owner refers to them: a view of the array refers to it, as its
        memory is no array's. The other references are the names here, the tensor's to the array,
        and the argument of getrefcount.
        """
        value = self.entry.program.outputs[output]
        made = f"{self.constant(_gradient)}({self.constant(value)})"
        new, own, mine, before = (f"{name}{output}" for name in ("new", "own", "mine", "before"))
        self.names |= {new: None, own: None}
        self.lines += [
            f"global {new}, {own}, {mine}",
            f"{before} = getattr({self.place(self.gradients[output])}, '_grad', None)",
            f"if not (getrefcount({own}) == 3",
            f"        and getrefcount({new}) == (4 if {before} is {new} else 2)",
            f"        and {new}._array is {own} and {own}.flags.writeable",
            f"        and {new}._node is None and getattr({new}, '_name', None) is None):",
            f"    {new}, {own}, {mine} = {made}",
        ]

    def finish(self) -> None:
        """Return the result."""
        entry, recorded = self.entry, self.recorded
        if entry.attach is not None or not recorded.structure.is_leaf:
            given = [
                f"given{i}" for i, one in enumerate(recorded.results) if isinstance(one, Given)
            ]
            finish = self.constant(entry.finish)
            self.lines.append(f"return {finish}(leaves, arrays, [{', '.join(given)}])")
            return
        (result,) = recorded.results
        if isinstance(result, Given):
            self.lines.append("return given0")
            return
        array = f"arrays[{result.number}]"
        new = isinstance(result, NewTensor)
        self.lines.append(f"return Tensor({array})" if new else f"return {array}")


class _Notes:
    """What a function knows of the arrays of the call before: weak references to them."""

    def __init__(self, writer: _CallWriter) -> None:
        self.entry = writer.entry
        self.steady, self.targets = writer.steady, writer.targets
        self.gradients = writer.gradients
        self.names: dict[str, Any] = {}

    def forget(self) -> None:
        """Know nothing."""
        self.names |= {f"same{i}": _nobody for i in self.steady}
        self.names["known"] = False

    def usual(self, leaves: Sequence[Any], inputs: list[Any]) -> Any:
        """The result for arrays that are not those of the call before, and are from now on."""
        self.forget()
        result = self.entry.rest(leaves, inputs)
        arrays = [inputs[i] for i in self.steady]
        identities = [*map(id, inputs)]
        if any(type(one) is not np.ndarray for one in arrays) or any(
            identities.count(id(inputs[i])) > 1 for i in self.targets
        ):
            return result
        outs: list[Any] = [None] * len(self.entry.program.outputs)
        for write, i in zip(self.entry.in_place, self.targets):
            outs[write.output] = inputs[i]
        for output in self.gradients:
            value = self.entry.program.outputs[output]
            outs[output] = np.empty(value.shape, value.dtype)
        way = self.entry.backend.way(inputs, outs)
        self.entry.backend.release(way)
        self.names |= {"known": True, "idle": way.idle, "made": way.made}
        self.names |= {f"same{i}": weakref.ref(one) for i, one in zip(self.steady, arrays)}
        self.names["own"] = all(inputs[i].base is None for i in self.targets)
        return result


def _gradients(entry: Any) -> dict[int, Place]:
    """By output, the place of the tensor whose gradient it becomes and nothing else.

    Of dense arrays: they are written to memory that is there.
    """
    outputs = entry.program.outputs
    root = roots(entry.program)
    owners = Counter(root[value] for value in outputs)
    return {
        write.output: write.find
        for write in entry.recorded.writes
        if write.name == "_grad" and write.output is not None
        and owners[root[value := outputs[write.output]]] == 1
        and root[value] is value and value.dtype.kind == "f"
        and value.ndim and 0 not in value.shape and not value.strides
    }  # fmt: skip


def _gradient(value: Value) -> tuple[Any, np.ndarray, np.ndarray]:
    """A new tensor, its array, and another array over its memory."""
    memory = bytearray(bytes_of(value))
    own, mine = (np.ndarray(value.shape, value.dtype, memory) for _ in range(2))
    return Tensor(own), own, mine


def _nobody() -> None:
    return None


def _apart(array: Any, targets: Sequence[Any]) -> bool:
    return not any(np.may_share_memory(array, one) for one in targets)
