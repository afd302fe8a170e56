"""Programs compiled to C, for NumPy's arrays. Imports schedule, source, compiler and blas.

What C does not compute is a call of NumPy between two functions of C, so that every program runs.
"""

import copy
import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gpugrad.backend.blas import blas
from gpugrad.backend.reuse import LARGE, empty
from gpugrad.compiler.c import products
from gpugrad.compiler.c.compiler import find_compiler, load
from gpugrad.compiler.c.formulas import FORMULAS_OF_STEPS
from gpugrad.compiler.c.recurrent import FORMULAS_OF_LAYERS
from gpugrad.compiler.c.source import OUT_OF_RANGE, Piece, Source, write
from gpugrad.compiler.c.threads import share_address
from gpugrad.compiler.c.windows import FORMULAS_OF_WINDOWS
from gpugrad.compiler.programs.expansion import expanded
from gpugrad.compiler.programs.passes import simplified
from gpugrad.compiler.programs.program import Program, flat, function_of
from gpugrad.compiler.schedule.elementwise import has_c_type
from gpugrad.compiler.schedule.items import Array, Call, Convolution, Indexed, Product, Ref, Turns
from gpugrad.compiler.schedule.layout import Layout, order_of
from gpugrad.compiler.schedule.schedule import Schedule
from gpugrad.compiler.schedule.steps import computes
from gpugrad.errors import CompileError, DTypeError, IndexingError, ShapeError

__all__ = ["Native", "build"]

OWN_FORMULAS = FORMULAS_OF_WINDOWS | FORMULAS_OF_LAYERS | FORMULAS_OF_STEPS

_empty: Any = np.empty
_ALIGNMENT = 64


def build(
    program: Program,
    reuse: dict[int, int] | None = None,
    moves: tuple[int, int] | None = None,
) -> "Native | None":
    """A program as functions of C, or None where there is no compiler or nothing for C to do.

    ``reuse`` has, by output, the input whose memory the caller will have the output written to: see
    `Native.run`. ``moves`` has, for the body of a loop, the numbers of its carries and slices; its
    outputs are C-contiguous, if it is one function.
    CompileError if the compiler fails.
    """
    if find_compiler() is None or not _keeps_layout():
        return None
    products.begin_for(program.steps)
    in_pieces = expanded(program, computes, OWN_FORMULAS)
    schedule = Schedule(in_pieces, reuse, moves is None, body_of)
    if moves is not None and any(isinstance(item, Call) for item in schedule.items):
        schedule = Schedule(in_pieces, reuse, True, body_of)
    if all(isinstance(item, Call) for item in schedule.items):
        return None
    return Native(program, schedule, reuse or {}, moves)


def body_of(loop: Any) -> Schedule | None:
    """The schedule of a loop's body; None where it needs more than C, or numbers are checked."""
    in_pieces = expanded(simplified(loop.body), computes, OWN_FORMULAS)
    body = Schedule(in_pieces, body_of=body_of)
    arrays = [*body.inputs, *body.outputs]
    simple = not any(
        isinstance(item, Call) or (isinstance(item, Indexed) and item.numbers)
        for item in body.items
    )
    arrays += body.constants
    plain = all(one.size and not one.weak and has_c_type(one.dtype) for one in arrays)
    return body if simple and plain else None


def _keeps_layout() -> bool:
    """Whether arrays, numbers and tuples of this Python lie in memory as the C source says."""
    head = object.__basicsize__
    array, number = np.arange(6, dtype=np.int32).reshape(2, 3), 1.5

    def pointer(address: int) -> int:
        return ctypes.c_void_p.from_address(address).value or 0

    start, size = id(array) + head, ctypes.sizeof(ctypes.c_void_p)
    items = (array, number)
    return (
        head == 2 * size
        and pointer(start - size) == id(np.ndarray)
        and pointer(id(number) + size) == id(float)
        and ctypes.c_double.from_address(id(number) + head).value == number
        and pointer(start) == array.ctypes.data
        and ctypes.c_int.from_address(start + size).value == 2
        and ctypes.c_ssize_t.from_address(pointer(start + 2 * size)).value == 2
        and ctypes.c_ssize_t.from_address(pointer(start + 3 * size)).value == 12
        and pointer(start + 5 * size) == id(array.dtype)
        and ctypes.c_int.from_address(start + 6 * size).value == array.flags.num
        and pointer(id(items) + tuple.__basicsize__ + size) == id(number)
    )


class Native:
    """A program that runs in C.

    ``source`` is its C source, and ``counts`` has the numbers of its loops, of its products, of the
    steps that NumPy computes, and of the bytes that it works in. Several threads may call it at
    once: each call has memory of its own.
    """

    def __init__(
        self, program: Program, schedule: Schedule, reuse: dict[int, int],
        moves: tuple[int, int] | None,
    ) -> None:  # fmt: skip
        items = schedule.items
        self.is_whole = not any(isinstance(item, Call) for item in items)
        self._reuse = reuse if self.is_whole else {}
        library = blas()
        self._moves = moves
        made = write(schedule, self._reuse, library, moves)
        self.counts = {
            "loops": sum(not isinstance(item, Call | Convolution | Product) for item in items),
            "products": sum(isinstance(item, Convolution | Product) for item in items),
            "NumPy steps": sum(isinstance(item, Call) for item in items),
            "workspace bytes": made.workspace,
        }
        self.makers = [_maker(array) for array in schedule.outputs]
        self.are_contiguous = [array.seen.is_contiguous for array in schedule.outputs]
        self.are_large = [array.nbytes > LARGE for array in schedule.outputs]
        self._weak = [i for i, value in enumerate(program.outputs) if value.weak]
        self.spare: list[Any] = []
        self.workspace = made.workspace + _ALIGNMENT
        constants = _constants(schedule)
        self._keep = list(constants.values())
        self._in_place = made.in_place
        self._table = _table(made, constants, library.addresses if library else {})
        self.schedule = schedule
        self._bind(made)

    def _bind(self, made: Source) -> None:
        """Compile a source, and run what it gives."""
        self._made = made
        self.source = made.text
        self.library = load(made.text)
        self._functions = _functions(made, self.library, self._moves is not None and self.is_whole)
        self.prepare: Callable[..., tuple[list[Any], list[Any]]] | None = None
        self.runner: Any = None
        if self.is_whole:
            (piece,) = made.pieces
            self.runner = self._in_one(piece)
            self.prepare = self._prepared(piece)
        else:
            self.runner = _InPieces(self, self.schedule, made.pieces)

    def with_text(self, text: str) -> "Native":
        """The same program with another text of its source."""
        twin = copy.copy(self)
        twin._bind(self._made._replace(text=text))
        return twin

    def addresses(self) -> tuple[int, int]:
        """Where the function of a program that is one, and its table, are."""
        (function, *_) = self._functions.values()
        return ctypes.cast(function, ctypes.c_void_p).value or 0, ctypes.addressof(self._table)

    def run(self, inputs: Sequence[Any], outs: Sequence[Any] | None = None) -> list[Any]:
        """The outputs for some inputs: new arrays, or those of ``outs`` that are not None.

        An array of ``outs`` may be one of the inputs: it changes after all is computed.
        """
        return self.runner(inputs, outs)

    def call(self, piece: Piece, reads: Sequence[Any], writes: Sequence[Any]) -> Sequence[Any]:
        """Run a function of C; returns the arrays that it has written, which may be others."""
        function = self._functions[piece.name]
        spare = self.spare
        work = spare.pop() if spare else _empty(self.workspace, np.uint8)
        code = function((*reads, *writes, work), self._table)
        if code == OUT_OF_RANGE:
            raise IndexingError("compile: a number of an index is out of range for its axis")
        if code:
            reads = [_converted(a, array) for a, array in zip(piece.reads, reads)]
            own = [_as_new(a, array) for a, array in zip(piece.writes, writes)]
            numbers = [array.number for array in piece.reads]
            for i, array in enumerate(piece.writes):
                if array.number in self._in_place:
                    place = numbers.index(self._in_place[array.number].number)
                    own[i] = reads[place] = reads[place].copy("K")
            code = function((*reads, *own, work), self._table)
            if code == OUT_OF_RANGE:
                raise IndexingError("compile: a number of an index is out of range for its axis")
            if code:
                raise CompileError("compile: the arrays of a program are not what it was made for")
            for array, new in zip(writes, own):
                if new is not array:
                    array[...] = new
        spare.append(work)
        return writes

    def converted(self, index: int, operand: Any) -> Any:
        """An operand as the function of a program takes it."""
        return _converted(self.schedule.inputs[index], operand)

    def turns(self, items: Sequence[Any], length: int, step: int) -> bool:
        """Run the body of a loop, if it is one function: see `gpugrad.compiler.c.loop_calls`.

        False, with nothing done, where it is not one, or does not take the arrays.
        """
        if self.prepare is None:
            return False
        turns = self._functions[f"turns_{self._made.pieces[0].name}"]
        spare = self.spare
        work = spare.pop() if spare else _empty(self.workspace, np.uint8)
        code = turns((*items, work), self._table, length, step)
        spare.append(work)
        return not code

    def _in_one(self, piece: Piece) -> Callable[..., list[Any]]:
        """The call of a program that is one function of C, which takes inputs and outputs."""
        function, table, spare = self._functions[piece.name], self._table, self.spare
        make = self.makers
        weak = self._weak
        size = self.workspace
        reuse = self._reuse

        def run(inputs: Sequence[Any], outs: Sequence[Any] | None = None) -> list[Any]:
            if outs is None:
                made = [one() for one in make]
            else:
                made = [
                    make[i]() if out is None or i not in reuse else out
                    for i, out in enumerate(outs)
                ]
            work = spare.pop() if spare else _empty(size, np.uint8)
            code = function((*inputs, *made, work), table)
            spare.append(work)
            if code:
                self.call(piece, inputs, made)
            return made if outs is None and not weak else self._finished(made, outs, weak)

        return run

    def _prepared(self, piece: Piece) -> Callable[..., tuple[list[Any], list[Any]]]:
        """What prepares a run of one function of C, to be made among other calls as a whole.

        It returns the outputs and the call of a function in C that fills them. The inputs are
        arrays of NumPy, and so are those of ``outs``, for the outputs of ``reuse``.
        """
        function, table, spare = self._functions[piece.name], self._table, self.spare
        check = self._functions[f"check_{piece.name}"]
        make = self.makers

        def prepare(inputs: Sequence[Any], outs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
            made = [make[i]() if out is None else out for i, out in enumerate(outs)]
            work = spare.pop() if spare else _empty(self.workspace, np.uint8)
            operands = (*inputs, *made, work)
            if not check(operands, table):
                return made, [partial(function, operands, table), partial(spare.append, work)]
            # An input that shares memory with another one is written over after all is computed.
            results = self.run(inputs)
            calls = [
                partial(np.copyto, *pair) for pair in zip(outs, results) if pair[0] is not None
            ]
            return [one if out is None else out for one, out in zip(results, outs)], calls

        return prepare

    def _finished(self, made: list[Any], outs: Any, weak: Sequence[int]) -> list[Any]:
        for i in weak:
            made[i] = made[i].item()
        if outs is None:
            return made
        for i, out in enumerate(outs):
            if out is not None and out is not made[i]:
                out[...] = made[i]
                made[i] = out
        return made

    def outputs(self, made: list[Any], outs: Sequence[Any] | None) -> list[Any]:
        """The outputs of a program, written to ``outs`` where that has an array."""
        weak = [i for i in self._weak if isinstance(made[i], np.ndarray | np.generic)]
        return self._finished(made, outs, weak)


def _constants(schedule: Schedule) -> dict[Array, Any]:
    """The constants of a schedule, and of its loops."""
    found = dict(schedule.constants)
    for item in schedule.items:
        if isinstance(item, Turns):
            found |= _constants(item.body)
    return found


def _table(made: Source, constants: dict[Array, Any], addresses: dict[str, int]) -> Any:
    """The addresses that the functions of a program find by position."""
    entries = []
    for entry in made.table:
        if isinstance(entry, Array):
            entries.append(constants[entry].ctypes.data)
        elif isinstance(entry, str):
            entries.append(_address(entry, addresses))
        else:
            entries.append(id(entry))
    return (ctypes.c_void_p * len(entries))(*entries)


def _address(name: str, of_blas: dict[str, int]) -> int:
    if name == "share":
        return share_address()
    return of_blas[name] if name in of_blas else products.address(name)


def _functions(made: Source, library: Any, is_body: bool) -> dict[str, Any]:
    functions = {}
    for piece in made.pieces:
        for name in (piece.name, f"check_{piece.name}"):
            function = functions[name] = library[name]
            function.argtypes = [ctypes.py_object, ctypes.c_void_p]
            function.restype = ctypes.c_int
    if is_body:
        (piece,) = made.pieces
        turns = functions[f"turns_{piece.name}"] = library[f"turns_{piece.name}"]
        sizes = [ctypes.c_ssize_t, ctypes.c_ssize_t]
        turns.argtypes = [ctypes.py_object, ctypes.c_void_p, *sizes]
        turns.restype = ctypes.c_int
    return functions


def _converted(expected: Array, given: Any) -> Any:
    """What a function of C takes in place of an operand; DTypeError or ShapeError otherwise."""
    if expected.weak:
        return float(given)
    array = np.asarray(given)
    if array.dtype != expected.dtype:
        raise DTypeError(f"compile: a program for {expected.dtype} got {array.dtype}")
    seen = expected.seen
    if array.shape != seen.shape:
        raise ShapeError(f"compile: a program for shape {seen.shape} got {array.shape}")
    # A view, since longlong equals int64 and is another type.
    turned = np.require(_in_memory(array, seen), None, ["C", "A"]).view(expected.dtype)
    return as_strided(turned.view(np.ndarray), seen.shape, _bytes(seen, expected.dtype))


def _bytes(layout: Layout, dtype: Any) -> tuple[int, ...]:
    return tuple(stride * dtype.itemsize for stride in layout.strides)


def _in_memory(array: Any, layout: Layout) -> Any:
    """An array with its axes in the order in which they lie in memory, in a layout."""
    return array.transpose(order_of(layout))


def _as_new(expected: Array, given: Any) -> Any:
    """An array to write to in place of one that lies otherwise in memory."""
    fits = type(given) is np.ndarray and given.flags.aligned
    fits = fits and _in_memory(given, expected.seen).flags.c_contiguous
    return given if fits else _maker(expected)()


def _maker(array: Array) -> Callable[[], Any]:
    """What makes an array as the caller has it: one that owns its memory."""
    shape, seen = array.seen.shape, array.seen
    if seen.is_contiguous:
        return partial(_empty if array.nbytes <= LARGE else empty, shape, array.dtype)
    return partial(
        np.empty_like, as_strided(_empty(1, array.dtype), shape, _bytes(seen, array.dtype))
    )


class _InPieces:
    """Runs a program that is cut by steps of NumPy: its items by turns in C and in NumPy.

    ``compute`` computes a step by NumPy.
    """

    def __init__(self, native: Native, schedule: Schedule, pieces: Sequence[Piece]) -> None:
        self._native = native
        self.compute = _in_numpy
        self._schedule = schedule
        self._keep = {array.number for array in schedule.outputs}
        starts = {piece.items.start: piece for piece in pieces}
        ends: dict[int, list[int]] = {}  # by item, the arrays that nothing needs after it
        for a in schedule.arrays:
            if a.number not in self._keep:
                ends.setdefault(max(a.read, a.made), []).append(a.number)
        self._turns: list[tuple[Any, list[int]]] = []
        index = 0
        while index < len(schedule.items):
            turn: Any = starts.get(index, schedule.items[index])
            after = turn.items.stop if isinstance(turn, Piece) else index + 1
            done = [number for item in range(index, after) for number in ends.get(item, ())]
            self._turns.append((turn, done))
            index = after

    def __call__(self, inputs: Sequence[Any], outs: Sequence[Any] | None = None) -> list[Any]:
        values: dict[int, Any] = {a.number: x for a, x in self._schedule.constants.items()}
        values.update((a.number, x) for a, x in zip(self._schedule.inputs, inputs, strict=True))
        for turn, done in self._turns:
            if isinstance(turn, Piece):
                self._in_c(turn, values)
            else:
                self.compute(turn, values)
            for number in done:
                values.pop(number, None)
        made = [values[array.number] for array in self._schedule.outputs]
        return self._native.outputs(self._own(made, inputs), outs)

    def _in_c(self, piece: Piece, values: dict[int, Any]) -> None:
        reads = [values[array.number] for array in piece.reads]
        writes = [_maker(array)() for array in piece.writes]
        for array, value in zip(piece.writes, self._native.call(piece, reads, writes)):
            values[array.number] = value.item() if array.weak else value

    def _own(self, made: list[Any], inputs: Sequence[Any]) -> list[Any]:
        """The outputs, of which none shares memory with an input."""
        arrays = [one for one in inputs if isinstance(one, np.ndarray)]
        return [
            one.copy()
            if isinstance(one, np.ndarray) and any(np.may_share_memory(one, x) for x in arrays)
            else one
            for one in made
        ]


def _in_numpy(call: Call, values: dict[int, Any]) -> None:
    """Compute a step by NumPy."""
    operands = _with_values(call.operands, values)
    results = function_of(_SAMPLE, call.step.name)(*operands, **call.step.parameters)
    for array, result in zip(call.arrays, flat(results), strict=True):
        if array is not None:
            is_array = isinstance(result, np.ndarray | np.generic)
            values[array.number] = result.item() if array.weak and is_array else result


_SAMPLE = _empty(0)


def _with_values(operand: Any, values: dict[int, Any]) -> Any:
    if isinstance(operand, Ref):
        return _viewed(values[operand.array.number], operand)
    if isinstance(operand, tuple | list):
        return type(operand)(_with_values(part, values) for part in operand)
    return operand


def _viewed(value: Any, ref: Ref) -> Any:
    """An array in the layout of a reference."""
    layout, seen = ref.layout, ref.array.seen
    if layout == seen or (isinstance(value, int | float) and not isinstance(value, np.generic)):
        return value
    array = np.ascontiguousarray(_in_memory(value, seen))
    offset = layout.offset * array.itemsize
    return np.ndarray(layout.shape, array.dtype, array, offset, _bytes(layout, array.dtype))
