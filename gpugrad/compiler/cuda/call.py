"""A call of a program that is a CUDA graph, as one function without loops.

What `Entry` does at each call in loops over places and writes is written here once for a program,
line by line: find the arrays, compare them with those of the graph, copy what is given anew, launch
the graph, and give back the results. Where something is not as the graph has it, `Entry.rest` goes
on with the arrays that are found. Imports call_source, device_graph.
"""

from collections.abc import Callable, Sequence
from functools import partial
from sys import getrefcount
from typing import Any

from gpugrad.compiler.calls.source import CallWriter
from gpugrad.compiler.cuda.graph import ALONE, ALONE_AS_GRADIENT, ON_DEVICE, Graph
from gpugrad.engine import versions
from gpugrad.tensor import Tensor

__all__ = ["written"]


def written(entry: Any, graph: Graph) -> Callable[[Sequence[Any]], Any] | None:
    """The function of an entry for its graph, from the leaves of a call's arguments to its result.

    None for a program that changes more than parameters, their gradients and attributes.
    """
    writer = _Writer(entry, graph)
    return writer.function() if writer.knows() else None


class _Writer(CallWriter):
    def __init__(self, entry: Any, graph: Graph) -> None:
        super().__init__()
        self.entry = entry
        self.graph = graph
        self.names |= {"getrefcount": getrefcount, "partial": partial, "copy": graph.copy}
        self.lent = {number: array for number, array, _ in graph.lent}

    def knows(self) -> bool:
        """Whether the function can be written."""
        entry, graph = self.entry, self.graph
        in_place = dict(graph.in_place)
        finds = entry.recorded.finds
        return (
            entry.attach is None
            and not any(write.is_argument for write in entry.recorded.writes)
            and all(write.name is not None for write in entry.writes)
            and not graph.written
            and len(entry.in_place) == len(in_place)
            and all(
                write.output in in_place
                and self.place(write.find) == self.place(finds[in_place[write.output]])
                for write in entry.in_place
            )
        )

    def function(self) -> Callable[[Sequence[Any]], Any]:
        self.tensors.clear()
        self.find()
        self.guard()
        self.copy()
        self.launch()
        self.graph.holders = 1
        return self.compiled("<a call of a CUDA graph>")

    # The parts of the function.

    def find(self) -> None:
        """The inputs, x0, x1 and so on."""
        recorded = self.entry.recorded
        self.lines += [f"{self.constant(function)}()" for function in recorded.before]
        for number, place in enumerate(recorded.finds):
            self.lines.append(f"x{number} = {self.place(place)}")

    def guard(self) -> None:
        """Whether all is where the graph has it."""
        graph = self.graph
        tests = [f"{self.constant(graph.current_device)}() == {graph.device}"]
        for number, reference, _ in graph.fixed:
            tests.append(f"x{number} is {self.constant(reference)}()")
        for number, _, _, size in graph.buffers:
            tests.append(f"x{number}.data.device_id == {graph.device}")
            tests.append(f"x{number}.flags.c_contiguous")
            if graph.in_place:  # whose memory an argument may share
                tests.append(f"{self.known(graph.is_apart)}(x{number}.data.ptr, {size})")
        for number, _, place in graph.lent:
            gradient = f"{self.place(place)}._grad"
            tests.append(f"getrefcount({gradient}) == {ALONE_AS_GRADIENT}")
            tests.append(f"{gradient}._array is {self.lent_name(number)}")
            # The graph, this function and the tensor have it.
            tests.append(f"getrefcount({self.lent_name(number)}) == {ALONE + 2}")
        inputs = ", ".join(f"x{number}" for number in range(len(self.entry.recorded.finds)))
        self.lines.append(f"if not ({' and '.join(tests)}):")
        self.lines.append(f"    return {self.constant(self.entry.rest)}(leaves, [{inputs}])")

    def lent_name(self, number: int) -> str:
        name = f"a{number}"
        self.names[name] = self.lent[number]
        return name

    def copy(self) -> None:
        """Copy what is given anew."""
        graph = self.graph
        own = self.constant(graph)
        self.lines.append(f"current = {self.constant(graph.current)}()")
        self.lines.append("stream = current.ptr")
        self.lines.append(f"if stream != {own}.pointer: {own}.follow(current)")
        for number, _, pointer, size in graph.buffers:
            arguments = f"{pointer}, x{number}.data.ptr, {size}, {ON_DEVICE}, stream"
            self.lines.append(f"copy({arguments})")
        if graph.numbers:
            pack = self.constant(graph.pack)
            values = ", ".join(f"x{number}" for number in graph.numbers)
            self.lines.append(f"packed = {pack}({values})")
            self.lines.append(f"if packed != {own}.packed: {own}.copy_numbers(packed, stream)")

    def launch(self) -> None:
        """Launch the graph, change attributes, and return the result."""
        self.lines.append(f"given = {self.constant(self.entry.given)}(leaves)")
        entry, graph = self.entry, self.graph
        arrays = [f"a{number}" for number in range(len(entry.recorded.program.outputs))]
        for number, place in graph.in_place:
            arrays[number] = f"x{place}"
        self.lines.append(f"calls = [{self.constant(graph.launch)}]")
        if graph.results:
            cupy = graph.cupy
            self.lines.append(f"memory = {self.constant(cupy.cuda.alloc)}({graph.size})")
            arguments = f"memory.ptr, {graph.block.ptr}, {graph.size}, {ON_DEVICE}, stream"
            self.lines.append(f"calls.append(partial(copy, {arguments}))")
            make = self.constant(cupy.ndarray)
            for number, array, offset in graph.results:
                kind = f"{self.constant(array.seen.shape)}, {self.constant(array.dtype)}"
                self.lines.append(f"a{number} = {make}({kind}, memory + {offset})")
        for find, name, output, *_ in entry.writes:
            if output in self.lent:
                continue  # the tensor is there already
            value = "None" if output is None else arrays[output]
            if name == "_grad" and output is not None:
                value = f"{self.constant(Tensor)}({value})"
            self.lines.append(
                f"calls.append(partial(setattr, {self.place(find)}, {name!r}, {value}))"
            )
        self.lines += [f"calls += {self.constant(after)}.calls" for after in entry.recorded.after]
        changed = ", ".join(arrays[number] for number, _ in graph.in_place)
        self.lines.append(f"{self.constant(versions.change)}(calls, [{changed}])")
        self.lines.append(
            f"return {self.constant(entry.finish)}(leaves, [{', '.join(arrays)}], given)"
        )
