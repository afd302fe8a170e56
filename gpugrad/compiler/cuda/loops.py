"""The CUDA text of loops and assemblies. Imports items, layout, elementwise and codegen.

A loop becomes one unit, or several: functions for blocks of 256 threads. A unit computes the
elements that are stored, or reductions over the same axes, and from its operands all that they
need: no unit reads an element that another one computes, only sums of rows. Without a reduction a
thread computes one element. With one, the threads of a block that have the same kept element go
over the reduced ones; where there are too few kept elements for a GPU, several blocks do, whose
results another unit reduces. So sums have one order, and there are no atomics.
"""

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from gpugrad.codegen.operations import c_type, literal
from gpugrad.compiler.programs.program import Step, Value
from gpugrad.compiler.schedule.elementwise import HostWriter, row_step
from gpugrad.compiler.schedule.items import Array, Loop, Ref
from gpugrad.compiler.schedule.layout import Layout, contiguous, strides_in

__all__ = ["PRELUDE", "THREADS", "Unit", "part_of", "units_of"]

THREADS = 256
SHORT = 256  # elements of a row for one warp
EACH = 32  # elements for a thread, before a reduction is divided among blocks
ENOUGH = 1024  # blocks

PRELUDE = """
template <typename V> __device__ inline V of_sum(V a, V b) { return a + b; }
template <typename V> __device__ inline V of_max(V a, V b)  // NaN is the largest of all
{
    return a > b || a != a ? a : b;
}
template <typename V> __device__ inline V of_min(V a, V b) { return a < b || a != a ? a : b; }

// Reduces over the threads of a warp; each of them gets the result.
template <typename V, V (*combine)(V, V)> __device__ inline V over_warp(V x)
{
    for (int step = 16; step; step /= 2)
        x = combine(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}
// Over a block.
template <typename V, V (*combine)(V, V)> __device__ inline V over_block(V x)
{
    __shared__ V parts[8];
    x = over_warp<V, combine>(x);
    __syncthreads();  // all have read the result of the call before
    if (threadIdx.x % 32 == 0)
        parts[threadIdx.x / 32] = x;
    __syncthreads();
    x = parts[0];
    for (int i = 1; i < 8; ++i)
        x = combine(x, parts[i]);
    return x;
}
// Over the eight threads that are 32 apart.
template <typename V, V (*combine)(V, V)> __device__ inline V over_column(V x)
{
    __shared__ V rows[256];
    __syncthreads();
    rows[threadIdx.x] = x;
    __syncthreads();
    x = rows[threadIdx.x % 32];
    for (int i = 1; i < 8; ++i)
        x = combine(x, rows[threadIdx.x % 32 + 32 * i]);
    return x;
}
"""


class Unit(NamedTuple):
    """A function for some blocks: its text, with its name and arguments to be put in.

    ``reads`` and ``writes`` are arrays in memory. ``same_place`` has the numbers of those arrays
    of which each thread reads elements only where it writes, so that they may be written over.
    """

    text: str
    blocks: int
    reads: tuple[Array, ...]
    writes: tuple[Array, ...]
    same_place: frozenset[int]

    @property
    def arrays(self) -> dict[int, Array]:
        """The arrays in memory by their numbers."""
        return {array.number: array for array in (*self.reads, *self.writes)}


def units_of(loop: Loop, index: int, new: Callable[[Value], Array]) -> list[Unit]:
    """The units of item ``index``, a loop, in order; ``new`` makes an array."""
    rows = None
    if loop.rows is not None:
        rows = tuple(range(loop.rows, len(loop.shape)))
    groups: dict[tuple[int, ...], list[Array]] = {} if rows is None else {rows: []}
    for array in loop.arrays:
        if array.axes is not None:
            groups.setdefault(array.axes, []).append(array)
    elements = [a for a in loop.arrays if a.axes is None and not a.row and a.stored]
    of_rows = [a for a in loop.arrays if a.row]
    writers: list[_Writer] = []
    for axes, reductions in groups.items() or [((), [])]:
        own = reductions if writers else [*elements, *reductions, *of_rows]
        writers.append(_Writer(loop, index, own, axes, axes == rows))
    # Each has said by now which results of rows it reads from memory.
    return [unit for writer in writers for unit in writer.units(new)]


# The type in which a reduction is computed: shuffles take no smaller ones.
_WIDE = dict.fromkeys(("bool", "int8", "int16", "uint8", "uint16"), "int")


class _Writer:
    """Writes the unit that computes arrays of a loop, ``targets``, by reductions over ``axes``."""

    def __init__(
        self, loop: Loop, index: int, targets: Sequence[Array], axes: tuple[int, ...], rows: bool
    ) -> None:
        self.loop = loop
        self.index = index
        self.in_rows = rows
        self.targets = {array.number for array in targets}
        self.members = self._needed(targets)
        self.used: dict[str, tuple[Array, bool]] = {}  # by name: the array, whether it is written
        self._arrange(axes)
        kept = [n for n, is_kept in zip(self.sizes, self.kept) if is_kept]
        self.count = prod(kept)
        self.length = prod(self.sizes) // self.count
        self.by_rows = bool(axes) and not self.kept[-1]
        if not axes:
            self.across, self.along = THREADS, 1
        elif self.by_rows:
            self.along = 32 if self.length <= SHORT else THREADS
            self.across = THREADS // self.along
        else:
            self.across, self.along = 32, 8
        self.tiles = -(-self.count // self.across)
        self.splits = 1
        if axes and not rows and self.length > EACH * self.along and self.tiles < ENOUGH:
            self.splits = min(-(-self.length // (EACH * self.along)), -(-ENOUGH // self.tiles))

    # What is computed, and where it lies.

    def _needed(self, targets: Sequence[Array]) -> list[Array]:
        """The arrays of the loop that are computed here, in order."""
        needed = set(self.targets)
        for array in reversed(self.loop.arrays):
            if array.number in needed:
                needed.update(ref.array.number for ref in self._own_refs(array))
        return [array for array in self.loop.arrays if array.number in needed]

    def _own_refs(self, array: Array) -> Iterator[Ref]:
        """The operands that are computed where they are read."""
        for ref in array.operands:
            if isinstance(ref, Ref) and ref.array.made == self.index:
                if self._is_memory(ref.array):
                    ref.array.stored = True
                else:
                    yield ref

    def _is_memory(self, source: Array) -> bool:
        """Whether an operand is read from memory."""
        if source.made != self.index:
            return True
        of_rows = source.row or source.axes is not None
        return of_rows and source.number not in self.targets

    def _arrange(self, axes: tuple[int, ...]) -> None:
        """Make one axis of those, kept or reduced, that all arrays run through alike."""
        shape = self.loop.shape
        self.accesses: dict[tuple[int, int], tuple[int, ...]] = {}
        for array in self.members:
            for position, ref in enumerate(array.operands):
                if isinstance(ref, Ref) and self._is_memory(ref.array):
                    self.accesses[array.number, position] = self._strides(ref, array)
            if array.number in self.targets:
                self.accesses[array.number, -1] = self.loop.strides_stored(array)
        groups: list[list[int]] = []
        for axis, size in enumerate(shape):
            last = groups[-1][-1] if groups else None
            if (
                last is not None
                and (last in axes) == (axis in axes)
                and all(v[last] == v[axis] * size for v in self.accesses.values())
            ):
                groups[-1].append(axis)
            else:
                groups.append([axis])
        groups = groups or [[]]
        self.sizes = [prod(shape[axis] for axis in group) for group in groups]
        self.kept = [not group or group[0] not in axes for group in groups]
        self.accesses = {
            key: tuple(v[group[-1]] if group else 0 for group in groups)
            for key, v in self.accesses.items()
        }

    def _strides(self, ref: Ref, array: Array) -> tuple[int, ...]:
        """The strides with which a step reads an array in memory."""
        if ref.array.made == self.index:
            return self.loop.strides_stored(ref.array)
        return self.loop.strides_read(ref, array)

    # The functions.

    def units(self, new: Callable[[Value], Array]) -> list[Unit]:
        """The unit; where several blocks reduce to one element, a second one for their results."""
        self.parts: dict[int, Array] = {}
        seconds = []
        if self.splits > 1:
            for array in self.members:
                if array.axes is not None:
                    shape, dtype = (self.splits, self.count), array.dtype
                    part = self.parts[array.number] = new(Value(shape, dtype))
                    seconds.append(_second(part, array, self.index))
        return [self._unit(), *seconds]

    def _unit(self) -> Unit:
        body = "\n".join(f"    {line}" for line in self._lines())
        arrays = [self.used[name] for name in sorted(self.used)]
        writes = tuple(array for array, written in arrays if written)
        return Unit(
            body,
            self.tiles * self.splits,
            tuple(array for array, written in arrays if not written),
            writes,
            self._same_place(),
        )

    def _same_place(self) -> frozenset[int]:
        """The inputs of which a thread reads the elements alone that it writes of a result."""
        if len(self.kept) != 1 or not self.kept[0]:
            return frozenset()
        reads: dict[int, bool] = {}
        for array in self.members:
            for position, ref in enumerate(array.operands):
                if isinstance(ref, Ref) and (key := (array.number, position)) in self.accesses:
                    same = self.accesses[key] == (1,) or self.count == 1
                    number = ref.array.number
                    reads[number] = reads.get(number, True) and same and not ref.layout.offset
        return frozenset(number for number, same in reads.items() if same)

    def _lines(self) -> list[str]:
        index_type = "int" if self._farthest() < 2**31 else "long long"
        lines = [f"typedef {index_type} index_t;"]
        if self.by_rows:
            lines.append(f"const int across = threadIdx.x / {self.along};")
            lines.append(f"const int along = threadIdx.x % {self.along};")
        else:
            lines.append(f"const int across = threadIdx.x % {self.across};")
            lines.append(f"const int along = threadIdx.x / {self.across};")
        tile = "block" if self.splits == 1 else f"block % {self.tiles}"
        lines.append(f"const index_t k = (index_t)({tile}) * {self.across} + across;")
        if self.length == 1 and not self._reductions():
            lines.append(f"if (k >= {self.count}) return;")
            lines += self._coordinates("k", True)
            return [*lines, *self._elements(0)]
        lines.append(f"const bool is_there = k < {self.count};")
        lines.append(f"const index_t own = is_there ? k : {self.count - 1};")
        lines += self._coordinates("own", True)
        if self.splits == 1:
            lines.append(f"const index_t start = 0, end = is_there ? {self.length} : 0;")
        else:
            chunk = -(-self.length // self.splits)
            lines.append(f"const index_t start = (index_t)(block / {self.tiles}) * {chunk};")
            last = f"(start + {chunk} < {self.length} ? start + {chunk} : {self.length})"
            lines.append(f"const index_t end = is_there ? {last} : 0;")
        for part in range(max(array.part for array in self.members) + 1):
            lines += self._part(part)
        return lines

    def _farthest(self) -> int:
        """The largest index of an element, or of the loop."""
        far = [prod(self.sizes) + THREADS]
        for (number, position), strides in self.accesses.items():
            array = next(one for one in self.members if one.number == number)
            offset = array.operands[position].layout.offset if position >= 0 else 0
            far.append(offset + sum(abs(s) * n for s, n in zip(strides, self.sizes)))
        return max(far)

    def _coordinates(self, name: str, kept: bool) -> list[str]:
        """The indices of the axes that are kept, or reduced, from one index over all of them."""
        axes = [i for i, is_kept in enumerate(self.kept) if is_kept is kept]
        lines, step = [], 1
        for axis in reversed(axes):
            code = name if step == 1 else f"{name} / {step}"
            code = code if axis == axes[0] else f"{code} % {self.sizes[axis]}"
            lines.append(f"const index_t i{axis} = {code};")
            step *= self.sizes[axis]
        return lines

    def _reductions(self, part: int | None = None) -> list[Array]:
        return [
            array
            for array in self.members
            if array.axes is not None and (part is None or array.part == part)
        ]

    def _part(self, part: int) -> list[str]:
        """One pass over the reduced elements, and the reductions and steps of rows after it."""
        reductions = self._reductions(part)
        lines = []
        for array in reductions:
            first = literal(_FIRST[array.step.name](array.dtype), array.dtype)
            lines.append(f"{_wide(array)} w{array.number} = {first};")
        body = self._elements(part)
        if body:
            lines.append(f"for (index_t r = start + along; r < end; r += {self.along}) {{")
            lines += [f"    {line}" for line in (*self._coordinates("r", False), *body)]
            lines.append("}")
        over = "over_column"
        if self.by_rows:
            over = "over_warp" if self.along == 32 else "over_block"
        for array in reductions:
            number, wide = array.number, _wide(array)
            combine = f"{over}<{wide}, of_{array.step.name}<{wide}>>"
            lines.append(
                f"const {c_type(array.dtype)} r{number} = "
                f"({c_type(array.dtype)}){combine}(w{number});"
            )
            lines += self._stores(array)
        for array in self.members:
            if array.row and array.part == part:
                lines += self._row_step(array)
        return lines

    def _stores(self, array: Array) -> list[str]:
        """The statement that stores what a row has one of."""
        number = array.number
        if number in self.parts:
            place = (
                f"{self._name(self.parts[number], True)}[block / {self.tiles} * {self.count} + k]"
            )
        elif array.stored:
            place = self._element(self._name(array, True), self.accesses[number, -1])
        else:
            return []
        return [f"if (is_there && along == 0) {place} = r{number};"]

    def _row_step(self, array: Array) -> list[str]:
        lines = row_step(array, lambda writer, i: self._operand(writer, {}, array, i))
        return [*lines, *self._stores(array)]

    def _elements(self, part: int) -> list[str]:
        """The statements of a pass for one element."""
        ends = [
            array
            for array in self.members
            if array.part == part and not array.row and array.number in self.targets
        ]
        needed = {array.number for array in ends}
        for array in reversed(self.members):
            if array.number in needed:
                needed.update(
                    ref.array.number
                    for ref in self._own_refs(array)
                    if ref.array.axes is None and not ref.array.row
                )
        writer = HostWriter()
        known: dict[int, Any] = {}
        lines = []
        for array in self.members:
            if array.number not in needed:
                continue
            given = [self._operand(writer, known, array, i) for i in range(len(array.operands))]
            if array.axes is not None:
                wide, name = _wide(array), f"w{array.number}"
                lines.append(f"{name} = of_{array.step.name}({name}, ({wide}){given[0].code});")
                continue
            value = writer.step(array.step.name, given, array.step.parameters)
            known[array.number] = value
            if array in ends:
                code = writer.converted(value, array.dtype, array.weak)
                place = self._element(self._name(array, True), self.accesses[array.number, -1])
                lines.append(f"{place} = {code};")
        return [*writer.lines, *lines]

    def _operand(self, writer: HostWriter, known: dict[int, Any], array: Array, i: int) -> Any:
        """An operand of a step: a number, or the value of an element."""
        ref = array.operands[i]
        if not isinstance(ref, Ref):
            return ref
        source = ref.array
        if source.number in known:
            return known[source.number]
        if self._is_memory(source):
            offset = 0 if source.made == self.index else ref.layout.offset
            code = self._element(self._name(source), self.accesses[array.number, i], offset)
        else:
            code = f"r{source.number}"
        return writer.load(code, source.dtype, source.weak)

    def _name(self, array: Array, written: bool = False) -> str:
        name = f"a{array.number}"
        self.used[name] = array, written
        return name

    def _element(self, name: str, strides: Sequence[int], offset: int = 0) -> str:
        terms = [
            f"i{axis}" if stride == 1 else f"i{axis} * (index_t){stride}"
            for axis, stride in enumerate(strides)
            if stride
        ]
        terms += [str(offset)] if offset or not terms else []
        return f"{name}[{' + '.join(terms)}]"


_FIRST: dict[str, Callable[[Any], Any]] = {
    "sum": lambda dtype: 0,
    "max": lambda dtype: -np.inf if dtype.kind == "f" else np.iinfo(dtype).min,
    "min": lambda dtype: np.inf if dtype.kind == "f" else np.iinfo(dtype).max,
}


def _wide(array: Array) -> str:
    return _WIDE.get(array.dtype.name, c_type(array.dtype))


def part_of(array: Array, layout: Layout, source: Any) -> Unit:
    """The unit that copies a number or what a `Ref` refers to, to a layout of an array."""
    sizes = [size for size in layout.shape if size != 1]
    count = prod(sizes)
    places = [(f"a{array.number}", strides_in(layout, layout.shape), layout.offset)]
    value = "" if isinstance(source, Ref) else literal(source, array.dtype)
    if not value:
        strides = strides_in(source.layout, layout.shape)
        places.append((f"a{source.array.number}", strides, source.layout.offset))
    lines = [
        f"const long long k = (long long)block * {THREADS} + threadIdx.x;",
        f"if (k >= {count}) return;",
        "long long rest = k;",
    ]
    for axis in reversed(range(len(sizes))):
        lines.append(f"const long long i{axis} = rest % {sizes[axis]};")
        lines.append(f"rest /= {sizes[axis]};")
    codes = [
        f"{name}[{' + '.join([*(f'i{i} * {s}' for i, s in enumerate(strides) if s), str(offset)])}]"
        for name, strides, offset in places
    ]
    lines.append(f"{codes[0]} = {value or codes[1]};")
    body = "\n".join(f"    {line}" for line in lines)
    reads = () if value else (source.array,)
    return Unit(body, -(-count // THREADS), reads, (array,), frozenset())


def _second(part: Array, array: Array, index: int) -> Unit:
    """The unit that reduces the results of several blocks, rows of ``part``."""
    loop = Loop(part.shape)
    if part.shape[1] == 1:
        loop = Loop(part.shape[:1])
    ref = Ref(part, contiguous(part.shape))
    result = Value(array.shape, array.dtype)
    last = Array(result, array.number, index)
    last.step = Step(array.step.name, (), {}, (result,))
    last.operands, last.axes, last.stored = (ref,), (0,), True
    loop.arrays.append(last)
    writer = _Writer(loop, index, [last], (0,), False)
    writer.splits, writer.parts = 1, {}
    return writer._unit()
