"""The C source of a program: one function for each run of items that C computes.

A function gets a tuple of the arrays that it reads, those that it writes, and memory to work in. It
reads their addresses out of the objects, whose layout Python and NumPy keep for all extension
modules. An object that is not what was expected, an array of one dtype, shape and order of its axes
in memory, makes it return `CONVERT`, with nothing changed.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.blas import Blas
from gpugrad.codegen import host_math
from gpugrad.compiler.c.assemblies import (
    assembly_function,
    indexed_function,
    range_check,
    running_function,
)
from gpugrad.compiler.c.convolutions import convolution_function
from gpugrad.compiler.c.functions import SHARE, Function, Scratch
from gpugrad.compiler.c.head import HEAD, OBJECTS, without_headers
from gpugrad.compiler.c.loops import loop_function
from gpugrad.compiler.c.passes import passes_text
from gpugrad.compiler.c.product_calls import blas_types, product_function, product_types
from gpugrad.compiler.c.reductions import EXTREMES
from gpugrad.compiler.c.sharing import shared
from gpugrad.compiler.c.turns import flushes_small, mode, modes_around, turns_begin, turns_of
from gpugrad.compiler.programs.arena import packed
from gpugrad.compiler.schedule.elementwise import memory_type, with_own_math
from gpugrad.compiler.schedule.items import (
    Array,
    Call,
    Convolution,
    Indexed,
    Item,
    Loop,
    Product,
    Ref,
    Running,
    Turns,
    made_by,
    read_by,
)
from gpugrad.compiler.schedule.layout import contiguous, strides_in
from gpugrad.compiler.schedule.schedule import Schedule

__all__ = ["CONVERT", "OUT_OF_RANGE", "OVERLAP", "Piece", "Source", "write"]

CONVERT, OVERLAP, OUT_OF_RANGE = 1, 2, 3  # what a function returns where it has done nothing
BASES = ("work", "a", "table")  # by the number of it in a place_t
FIRST_DTYPE = 2  # in the table of addresses, after the types of arrays and of Python numbers

CONTIGUOUS, ALIGNED, WRITEABLE = 0x1, 0x100, 0x400  # flags of NumPy


class Piece(NamedTuple):
    """A function of the source.

    ``reads`` and ``writes`` are the arrays of its tuple, which ends with the memory to work in.
    """

    name: str
    items: range
    reads: list[Array]
    writes: list[Array]


class Source(NamedTuple):
    """The text, its functions, and what it needs.

    ``table`` has what the functions find by position: dtypes, names of functions of libraries,
    and constant arrays. ``in_place`` has by the number of an output the input whose place it takes.
    """

    text: str
    pieces: list[Piece]
    table: list[Any]
    workspace: int
    in_place: dict[int, Array]


def write(
    schedule: Schedule, reuse: dict[int, int], blas: Blas | None, moves: tuple[int, int] | None
) -> Source:
    """The source of a schedule; ``reuse`` has the input that each of some outputs replaces.

    For the body of a loop ``moves`` has the numbers of its carries and slices, by which its inputs
    begin.
    """
    return _Writer(schedule, reuse, blas, moves).source()


class _Writer:
    def __init__(
        self, schedule: Schedule, reuse: dict[int, int], blas: Blas | None,
        moves: tuple[int, int] | None, outer: "_Writer | None" = None, prefix: str = "item_",
    ) -> None:  # fmt: skip
        self.prefix = prefix
        self.moves = moves
        self.schedule = schedule
        self.items = schedule.items
        self.blas = blas
        # Names of functions by their text.
        self.passes: dict[str, str] = {} if outer is None else outer.passes
        self.table: list[Any] = [np.ndarray, float] if outer is None else outer.table
        self.constants = {a.number for a in schedule.constants}
        self.outputs = {array.number for array in schedule.outputs}
        self.replaced = {schedule.outputs[i].number: schedule.inputs[j] for i, j in reuse.items()}
        self.in_place: dict[int, Array] = {}
        for array in schedule.outputs:
            given = self.replaced.get(array.number)
            if given is not None and self._goes_in_place(array, given):
                self.in_place[array.number] = self.replaced.pop(array.number)
            elif given is not None:
                array.read = len(self.items)  # copied to its place at the end
        self.pieces = [self._piece(i, span) for i, span in enumerate(_spans(self.items))]

    def _functions(self) -> tuple[dict[int, Function], dict[Any, int], int]:
        """The functions of items, where arrays lie in the memory to work in, and its size."""
        functions = {
            index: self._function(index, item)
            for index, item in enumerate(self.items)
            if not isinstance(item, Call)
        }
        functions = shared(functions)
        local = {a.number for piece in self.pieces for a in self._local(piece)}
        lives: list[tuple[Any, int, int, int]] = [
            (array.number, array.nbytes, array.made, array.read)
            for array in self.schedule.arrays
            if array.number in local
        ]
        for index, function in functions.items():
            lives += [((index, s.name), s.bytes, index, index) for s in function.scratch]
        offsets, size = packed([life[1:] for life in lives])
        return functions, {life[0]: at for life, at in zip(lives, offsets)}, size

    def source(self) -> Source:
        functions, offsets, workspace = self._functions()
        text, used = with_own_math(
            "\n".join([passes_text(self.passes), *(f.text for f in functions.values())])
        )
        mathematics = host_math.source(sorted(used)) if used else ""
        objects = OBJECTS.format(head=object.__basicsize__, type=object.__basicsize__ - 8)
        parts = [objects, EXTREMES, mathematics.replace("static inline ", "INLINE "), text]
        if "_product_t" in text:
            parts.insert(0, product_types())
        if "share_t" in text:
            parts.insert(0, SHARE)
        if self.blas is not None:
            parts.insert(0, blas_types(self.blas))
        parts += [self._entry(piece, functions, offsets) for piece in self.pieces]
        text = "\n".join([HEAD, without_headers("\n".join(parts))])
        return Source(text, self.pieces, self.table, workspace, self.in_place)

    # Pieces.

    def _piece(self, number: int, span: range) -> Piece:
        reads = {
            ref.array.number: ref.array
            for index in span
            for ref in read_by(self.items[index])
            if ref.array.made not in span and ref.array.number not in self.constants
        }
        writes = [
            array
            for index in span
            for array in made_by(self.items[index])
            if array.stored and (array.number in self.outputs or array.read >= span.stop)
        ]
        if len(self.items) == len(span):  # the only piece takes the inputs and outputs in order
            reads = {array.number: array for array in self.schedule.inputs}
            writes = self.schedule.outputs
        return Piece(f"gpugrad_{number}", span, list(reads.values()), writes)

    def _local(self, piece: Piece) -> Iterator[Array]:
        """The arrays of a piece that it has in the memory to work in."""
        written = {array.number for array in piece.writes}
        for index in piece.items:
            for array in made_by(self.items[index]):
                if array.stored and (array.number not in written or array.number in self.replaced):
                    yield array

    def _function(self, index: int, item: Any) -> Function:
        name = f"{self.prefix}{index}"
        if isinstance(item, Turns):
            return self._turns(name, item)
        if isinstance(item, Loop):
            return loop_function(name, item, self._name, index, self.passes)
        if isinstance(item, Product):
            return product_function(name, item, self._name, self.blas is not None)
        if isinstance(item, Convolution):
            return convolution_function(name, item, self.blas is not None)
        if isinstance(item, Indexed):
            return indexed_function(name, item, self._name)
        if isinstance(item, Running):
            return running_function(name, item, self._name)
        return assembly_function(name, item, self._name)

    def _turns(self, name: str, item: Turns) -> Function:
        """The function of all turns of a loop, with those of its body."""
        moves = item.loop.carries, item.loop.slices
        body = _Writer(item.body, {}, self.blas, moves, self, f"{name}_")
        functions, offsets, workspace = body._functions()
        (piece,) = body.pieces
        arrays = [*piece.reads, *piece.writes]
        positions = {array.number: i for i, array in enumerate(arrays)}
        calls = [body._call(i, functions[i], positions, offsets) for i in piece.items]
        flushes, calls = modes_around(calls, [flushes_small(one) for one in body.items])
        begin, size = turns_begin(piece.reads, piece.writes, item.loop, workspace)
        lines = [*begin, mode(flushes), *turns_of(calls, piece.reads, piece.writes, moves, None)]
        text = "\n".join([
            *(one.text for one in functions.values()),
            f"static NOINLINE void {name}(void *const *arrays, char *work, void **table)",
            "{",
            *lines,
            "    SET_MODE(mode);",
            "}",
            "",
        ])  # fmt: skip
        given = (*(ref.array for ref in item.operands), *item.arrays)
        begins = (*(ref.layout.offset for ref in item.operands), *[0] * len(item.arrays))
        scratch = (Scratch("work", "char", size),)
        return Function(name, text, given, scratch, ("table",), begins, packed=True)

    def _name(self, array: Array) -> str:
        return f"a{self.in_place.get(array.number, array).number}"

    def _goes_in_place(self, array: Array, given: Array) -> bool:
        """Whether a loop can write an output over an input, of which it reads the same elements.

        Nobody may read the input later: neither another item, nor a later pass of the loop.
        """
        loop = self.items[array.made]
        same = array.dtype == given.dtype and array.size == given.size
        if not isinstance(loop, Loop) or given.read > array.made or not same:
            return False
        if array.row or array.axes is not None or given in self.in_place.values():
            return False
        whole, before = contiguous(loop.shape).strides, True
        for one in loop.arrays:
            for ref in one.operands:
                if not isinstance(ref, Ref) or ref.array is not given:
                    continue
                shape = one.shape if one.axes is None else ref.layout.shape
                exact = not ref.layout.offset and strides_in(ref.layout, shape) == whole
                if not (before and exact and one.part <= array.part and not one.row):
                    return False
            before = before and one is not array
        return True

    # The function of a piece.

    def _entry(self, piece: Piece, functions: dict[int, Function], offsets: dict[Any, int]) -> str:
        name, arrays = piece.name, [*piece.reads, *piece.writes]
        positions = {array.number: i for i, array in enumerate(arrays)}
        calls = [self._call(i, functions[i], positions, offsets) for i in piece.items]
        modes = [flushes_small(self.items[i]) for i in piece.items]
        flushes, calls = modes_around(calls, modes)
        parameters = "char *tuple, void **table"
        turns = None
        if self.moves is not None and len(self.items) == len(piece.items):
            turns = f"turns_{name}"
            calls = turns_of(calls, piece.reads, piece.writes, self.moves, f"range_{name}(a)")
        ends = [
            f"    memcpy(a[{positions[n]}], work + {offsets[n]}, {array.nbytes});"
            for array in piece.writes
            if (n := array.number) in self.replaced
        ]
        numbers = sum(array.weak for array in piece.reads) + 1
        begin = [
            "{",
            f"    char *const *const items = (char **)(tuple + {tuple.__basicsize__});",
            f"    char *a[{len(arrays) + 1}];",
            f"    number_t x[{numbers}];",
        ]
        lines = [
            *self._expected(piece),
            f"static int range_{name}(char *const *a)",
            "{",
            *self._ranges(piece, positions),
            "    return 0;",
            "}",
            "",
            f"static int ready_{name}(char *const *items, void **table, char **a, number_t *x)",
            "{",
            f"    if (!take(items, {name}_expected, {len(arrays)}, {name}_sizes, table, a, x))",
            f"        return {CONVERT};",
            *self._overlaps(piece, positions),
            f"    return range_{name}(a);",
            "}",
            "",
            f"int check_{name}(char *tuple, void **table)",
            *begin,
            f"    return ready_{name}(items, table, a, x);",
            "}",
            "",
            f"int {turns or name}({parameters}{', index_t length, index_t step' if turns else ''})",
            *begin,
            f"    const int code = ready_{name}(items, table, a, x);",
            "    if (code) return code;",
            f"    char *const work = (char *)(((uintptr_t)((array_t *)items[{len(arrays)}])->data"
            " + 63) & ~(uintptr_t)63);",
            "    const unsigned mode = MODE;",
            *([mode(True)] if flushes else []),
            *calls,
            "    SET_MODE(mode);",
            *ends,
            "    return 0;",
            "}",
            "",
        ]
        if turns:
            once = f"    return {turns}(tuple, table, 1, 0);"
            lines += [f"int {name}({parameters})", "{", once, "}", ""]
        return "\n".join(lines)

    def _call(
        self, index: int, function: Function, positions: dict[int, int], offsets: dict[Any, int]
    ) -> str:
        """The call of an item's function."""
        begins = function.offsets or (0,) * len(function.arrays)
        places = [
            (memory_type(array.dtype), *self._place(array, begin, positions, offsets))
            for array, begin in zip(function.arrays, begins)
        ]
        places += [(s.type, "work", 0, offsets[index, s.name]) for s in function.scratch]
        more = [
            one if one == "table" else f"({one}_t)table[{self._in_table(one)}]"
            for one in function.libraries
        ]
        if not function.packed:
            return f"    {function.name}({', '.join([*map(_pointer, places), *more])});"
        if function.scratch and function.scratch[-1].name == "work":
            more.insert(0, _pointer(places.pop()))
        table = ", ".join(f"{{{BASES.index(base)}, {at}, {to}}}" for _, base, at, to in places)
        count = len(places)
        return "\n".join([
            "    {",
            f"        static const place_t places[] = {{{table}}};",
            f"        void *arrays[{count}];",
            f"        find(places, {count}, work, a, table, arrays);",
            f"        {function.name}({', '.join(['arrays', *more])});",
            "    }",
        ])  # fmt: skip

    def _place(
        self, array: Array, begin: int, positions: dict[int, int], offsets: dict[Any, int]
    ) -> tuple[str, int, int]:
        """Where an array is: in which table of pointers, at which position, from which byte on."""
        start = begin * array.dtype.itemsize
        if array.number in self.constants:
            return "table", self._in_table(array), start
        if array.number in offsets:
            return "work", 0, offsets[array.number] + start
        return "a", positions[array.number], start

    def _in_table(self, entry: Any) -> int:
        """The position of an entry of the table, which is added where it is not there yet."""
        for position, known in enumerate(self.table):
            if type(known) is type(entry) and known == entry:
                return position
        self.table.append(entry)
        return len(self.table) - 1

    def _expected(self, piece: Piece) -> list[str]:
        """Tables of what the objects of the tuple are."""
        rows: list[str] = []
        sizes: list[int] = []
        for position, array in enumerate([*piece.reads, *piece.writes]):
            if array.weak and position < len(piece.reads):
                kind = "REAL" if array.dtype.kind == "f" else "WHOLE"
                rows.append(f"{{{kind}, 0, 0, 0, -1, {array.nbytes}}}")
                continue
            seen, shape, strides = array.seen, len(sizes), -1
            sizes += seen.shape
            flags = ALIGNED | (WRITEABLE if position >= len(piece.reads) else 0)
            if seen.is_contiguous:
                flags |= CONTIGUOUS
            else:
                strides = len(sizes)
                sizes += [n * array.dtype.itemsize for n in seen.strides]
            place = self._in_table(array.dtype)
            facts = place, len(seen.shape), flags, shape, strides, array.nbytes
            rows.append(f"{{{', '.join(map(str, facts))}}}")
        return [
            f"static const index_t {piece.name}_sizes[] = {{{', '.join(map(str, sizes)) or '0'}}};",
            f"static const expected_t {piece.name}_expected[] = {{{', '.join(rows) or '{0}'}}};",
        ]

    def _ranges(self, piece: Piece, positions: dict[int, int]) -> list[str]:
        """Statements that check the numbers of indices."""
        lines: dict[str, None] = {}
        for index in piece.items:
            item = self.items[index]
            for (array, layout), size, _ in item.numbers if isinstance(item, Indexed) else ():
                if array.number not in self.constants:
                    given = f"(const {memory_type(array.dtype)} *)a[{positions[array.number]}]"
                    lines["\n".join(range_check(given, layout, size, OUT_OF_RANGE))] = None
        return [*lines]

    def _overlaps(self, piece: Piece, positions: dict[int, int]) -> list[str]:
        """Statements that check the memory of outputs that take the place of an input."""
        pairs = [
            (positions[given.number], positions[number])
            for number, given in self.in_place.items()
            if number in positions
        ]
        if not pairs:
            return []
        count = len(piece.reads) + len(piece.writes)
        places = ", ".join(f"{{{x}, {y}}}" for x, y in pairs)
        return [
            f"    static const int pairs[][2] = {{{places}}};",
            f"    for (int i = 0; i < {len(pairs)}; i++)",
            f"        if (clashes(a, {piece.name}_expected, {count}, pairs[i])) return {OVERLAP};",
        ]


def _pointer(place: tuple[str, str, int, int]) -> str:
    kind, base, position, offset = place
    start = base if base == "work" else f"(char *){base}[{position}]"
    return f"({kind} *)({start} + {offset})"


def _spans(items: Sequence[Item]) -> list[range]:
    """The runs of items that C computes."""
    spans, start = [], None
    for index, item in enumerate((*items, None)):
        in_c = item is not None and not isinstance(item, Call)
        if in_c and start is None:
            start = index
        elif not in_c and start is not None:
            spans.append(range(start, index))
            start = None
    return spans
