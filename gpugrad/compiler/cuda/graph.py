"""A program of CUDA as one CUDA graph. Imports program, captures and, when needed, CuPy.

The first run launches kernel by kernel, and the second one captures the same: on a stream of its
own, with memory of its own pool. From then on a run copies what is given anew into fixed buffers,
arguments and numbers, and launches the graph, on the stream of the caller. Other arrays, such as
parameters and the state of an optimizer, are read and written where they are; if one is elsewhere
at a later run, the graph is captured again. Results are copied out, so that no run changes
another's. Gradients are not, as long as nobody but their tensors refers to them when the next ones
come.

A program that can't be captured, since a step waits for the device or needs a library that CuPy
does not call meanwhile, stays with its kernels; `Graphed.reason` says why.
"""

import struct
import weakref
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from sys import getrefcount
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpugrad.backend.captures import capturing
from gpugrad.compiler.calls.places import Place
from gpugrad.compiler.cuda.program import DeviceProgram
from gpugrad.compiler.schedule.items import Array
from gpugrad.engine import versions

__all__ = ["ALONE", "ALONE_AS_GRADIENT", "ON_DEVICE", "Graph", "Graphed"]

CAPTURES = 8  # of one program; then its arrays are never where they were
MOST = 64 << 20  # bytes that a run copies; kernels launched one by one read and write them in place
ALIGNED = 256  # bytes: as CUDA allocates
ON_DEVICE, TO_DEVICE = 3, 1  # kinds of copies


class Graphed:
    """Runs a program, as one graph from the second run on.

    ``given`` says which inputs are given anew at each run, and are copied. ``gradients`` has, by
    output, the place of the tensor whose gradient it becomes.
    """

    def __init__(
        self, program: DeviceProgram, given: Sequence[bool], gradients: dict[int, Place]
    ) -> None:
        self.program = program
        self.gradients = gradients
        self.reason = ""  # why there will be no graph
        self.graph: Graph | None = None
        self.run = program.run
        self._has_run = False
        self._captures = 0
        self._copied = {place for place, is_given in enumerate(given) if is_given}
        self._moved: set[int] = set()  # inputs that were elsewhere once

    def report(self) -> str:
        """What the program is, for people."""
        counts = ", ".join(f"{count:,} {what}" for what, count in self.program.counts.items())
        if self.graph is not None:
            way = f"one CUDA graph, with {self.graph.nbytes:,} bytes of its own"
        elif self.reason:
            way = f"launched one by one: {self.reason}"
        else:
            way = "launched one by one as yet: the second run captures them as a CUDA graph"
        return f"{counts}; {way}"

    def prepare(
        self, inputs: Sequence[Any], outs: Sequence[Any], leaves: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """The outputs for inputs, and the calls that compute them, and write to ``outs``.

        ``leaves`` are those of the arguments, from which places find something.
        """
        self.program.check(inputs)
        graph = self.graph
        if graph is None or not graph.takes(inputs, outs, leaves):
            if not self._has_run or self.reason:
                self._has_run = True
                return self.program.prepare(inputs, outs)
            graph = self.graph = self._captured(inputs, outs)
            if graph is None:
                return self.program.prepare(inputs, outs)
        return graph.prepare(inputs, outs)

    def _captured(self, inputs: Sequence[Any], outs: Sequence[Any]) -> "Graph | None":
        if self.graph is not None:
            self._copied |= self._moved & self.graph.moved
            self._moved |= self.graph.moved
            if self.graph.are_kept:
                self.gradients = {}
        if self._captures == CAPTURES:
            self.reason = "its arrays are in other memory at each call"
            return None
        self._captures += 1
        try:
            graph = Graph(self.program, inputs, outs, self._copied, self.gradients)
        except (RuntimeError, MemoryError) as error:
            self.reason = f"{type(error).__name__}: {error}"
            return None
        if graph.copied > MOST:
            self.reason = f"a graph would have {graph.copied:,} bytes copied at each call"
            return None
        return graph


class Graph:
    """A program, captured for the places of its inputs."""

    def __init__(
        self, program: DeviceProgram, inputs: Sequence[Any], outs: Sequence[Any],
        copied: set[int], gradients: dict[int, Place],
    ) -> None:  # fmt: skip
        self._program = program
        self.cupy = cupy = program.cupy
        self.copy = cupy.cuda.runtime.memcpyAsync
        self.current = cupy.cuda.get_current_stream
        self.current_device = cupy.cuda.device.get_device_id
        self.device = self.current_device()
        self._stream: Any = None  # that of the last run
        self.pointer = -1
        self.moved: set[int] = set()  # the inputs that are elsewhere than at the last run
        self.are_kept = False  # whether somebody has the gradients of the last run
        self.holders = 0  # of the gradients, beside `lent`: the function of `device_call`
        self._gradients = gradients
        self._capture(inputs, outs, copied)

    # The capture.

    def _capture(self, inputs: Sequence[Any], outs: Sequence[Any], copied: set[int]) -> None:
        cupy = self.cupy
        # Not the stream of the caller, which may be the legacy one, and may be in use by others.
        stream = cupy.cuda.Stream(non_blocking=True)
        self._pool = cupy.cuda.MemoryPool()
        with cupy.cuda.using_allocator(self._pool.malloc), stream:
            values = self._places(inputs, copied)
            self._targets(values, inputs, outs)
            with capturing(cupy, stream) as self._workspace:
                stream.begin_capture()
                try:
                    self._program.compute(values)
                    for array, buffer in self._extra:  # not computed where it is wanted
                        buffer[...] = values[array.number]
                    self._graph = stream.end_capture()
                except BaseException:
                    with suppress(Exception):  # an invalid capture ends with an error
                        stream.end_capture()
                    raise
        self.launch = self._graph.launch
        self.nbytes = self._pool.total_bytes()
        self.copied = self.size + sum(size for *_, size in self.buffers)

    def _places(self, inputs: Sequence[Any], copied: set[int]) -> dict[int, Any]:
        """Where the inputs are that the graph reads, by number of their arrays."""
        cupy, values = self.cupy, {}
        self.fixed: list[tuple[int, Any, int]] = []
        self.buffers: list[tuple[int, Any, int, int]] = []
        self.numbers: list[int] = []
        memory = cupy.ndarray((max(len(self._program.numbers), 1), 1), np.float64)
        for place, (x, array) in enumerate(zip(inputs, self._program.schedule.inputs)):
            if array.weak:
                values[array.number] = memory[len(self.numbers)]
                self.numbers.append(place)
            elif place in copied or not x.flags.c_contiguous:
                buffer = values[array.number] = cupy.ndarray(array.shape, array.dtype)
                self.buffers.append((place, buffer, buffer.data.ptr, buffer.nbytes))
            else:
                values[array.number] = x
                self.fixed.append((place, weakref.ref(x), x.data.ptr))
        self._memory = memory
        self.pack = struct.Struct(f"{len(self.numbers)}d").pack
        self.packed = b""  # what the memory of the numbers has
        return values

    def _targets(self, values: dict[int, Any], inputs: Sequence[Any], outs: Sequence[Any]) -> None:
        """Say where the outputs are computed: in place, in memory for an out, or to copy."""
        fixed = {place: pointer for place, _, pointer in self.fixed}
        places = {array.number: place for place, array in enumerate(self._program.schedule.inputs)}
        self.in_place: list[tuple[int, int]] = []
        self.written: list[tuple[int, Any]] = []
        self.results: list[tuple[int, Array, int]] = []
        self._extra: list[tuple[Array, Any]] = []
        self.lent: list[tuple[int, Any, Place]] = []
        size = 0
        for number, (array, out) in enumerate(zip(self._program.schedule.outputs, outs)):
            if number in self._gradients:
                buffer = values[array.number] = self.cupy.ndarray(array.seen.shape, array.dtype)
                self.lent.append((number, buffer, self._gradients[number]))
                continue
            if out is None:
                start = -(-size // ALIGNED) * ALIGNED
                self.results.append((number, array, start))
                size = start + array.nbytes
                continue
            place = next((p for p in fixed if inputs[p] is out), None)
            given = self._program.plan.in_place.get(array.number)
            if place is None:
                buffer = values[array.number] = self.cupy.ndarray(array.seen.shape, array.dtype)
                self.written.append((number, buffer))
                continue
            self.in_place.append((number, place))
            if given is not None and places[given.number] == place:
                values[array.number] = out
            else:
                self._extra.append((array, out))
        self.size = size
        changed = sorted((fixed[place], inputs[place].nbytes) for _, place in self.in_place)
        self._starts = [start for start, _ in changed]
        self._ends = [start + length for start, length in changed]
        self.block = self.cupy.cuda.alloc(max(size, 1))
        for _, array, offset in self.results:
            values[array.number] = self.cupy.ndarray(
                array.seen.shape, array.dtype, self.block + offset
            )

    # Runs.

    def takes(self, inputs: Sequence[Any], outs: Sequence[Any], leaves: Sequence[Any]) -> bool:
        """Whether the arrays are where they were; ``moved`` says afterwards which are not.

        And whether the gradients of the last run may be written over, else ``are_kept``.
        """
        if self.current_device() != self.device:
            return False
        moved = set()
        for index, (place, reference, pointer) in enumerate(self.fixed):
            x = inputs[place]
            if reference() is not x:
                if x.data.ptr == pointer and x.flags.c_contiguous:
                    self.fixed[index] = place, weakref.ref(x), pointer
                else:
                    moved.add(place)
        self.moved = moved
        lent, own = self.lent, ALONE + self.holders
        self.are_kept = not all(
            _is_free(lent, i, lent[i][2](leaves), own) for i in range(len(lent))
        )
        return (
            not moved
            and not self.are_kept
            and all(outs[o] is inputs[place] for o, place in self.in_place)
        )

    def is_apart(self, pointer: int, size: int) -> bool:
        """Whether memory is none of what the graph changes in place."""
        index = bisect_right(self._ends, pointer)
        return index == len(self._ends) or self._starts[index] >= pointer + size

    def prepare(self, inputs: Sequence[Any], outs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Copy the inputs; the results, and the calls that compute them."""
        current = self.current()
        stream = current.ptr
        if stream != self.pointer:
            self.follow(current)
        copy = self.copy
        for place, buffer, pointer, size in self.buffers:
            x = inputs[place]
            if x.flags.c_contiguous:
                copy(pointer, x.data.ptr, size, ON_DEVICE, stream)
            else:
                buffer[...] = x
        if self.numbers:
            packed = self.pack(*[inputs[place] for place in self.numbers])
            if packed != self.packed:
                self.copy_numbers(packed, stream)
        calls: list[Any] = [self.launch]
        results = [*outs]
        for number, array, _ in self.lent:
            results[number] = array
        if self.results:
            memory = self.cupy.cuda.alloc(self.size)
            calls.append(partial(copy, memory.ptr, self.block.ptr, self.size, ON_DEVICE, stream))
            for number, array, offset in self.results:
                results[number] = self.cupy.ndarray(array.seen.shape, array.dtype, memory + offset)
        for number, buffer in self.written:
            calls += versions.writing(outs[number], buffer)
        return results, calls

    def copy_numbers(self, packed: bytes, stream: int) -> None:
        """Copy the numbers, as bytes."""
        self.packed = packed
        # CUDA reads pageable memory before this returns.
        address = np.frombuffer(packed, np.uint8).ctypes.data
        self.copy(self._memory.data.ptr, address, len(packed), TO_DEVICE, stream)

    def follow(self, stream: Any) -> None:
        """Let the stream of this run wait for that of the last one, which has the same buffers."""
        if self._stream is not None:
            stream.wait_event(self._stream.record())
        self._stream, self.pointer = stream, stream.ptr


def _references(lent: Sequence[Any], index: int) -> int:
    return getrefcount(lent[index][1])


def _references_to_gradient(tensor: Any) -> int:
    return getrefcount(tensor._grad)


# What these count of an object that has no other holder; Python's versions differ.
ALONE = _references([(0, object())], 0)
ALONE_AS_GRADIENT = _references_to_gradient(SimpleNamespace(_grad=object()))


def _is_free(lent: Sequence[Any], index: int, tensor: Any, own: int) -> bool:
    """Whether nobody but a graph, and a tensor as its gradient, refers to a lent array."""
    others = _references(lent, index) - own
    if others == 1 and getattr(tensor._grad, "_array", None) is lent[index][1]:
        return _references_to_gradient(tensor) == ALONE_AS_GRADIENT
    return others == 0
