"""One kernel over many arrays: optimizer steps, norms of gradients, clipping, unscaling, zeros.

The addresses and sizes of the arrays are an argument of the kernel, a structure of at most 4 KB:
nothing is copied to the device, and nothing on it can be out of date. The structure has room for
some 90 parameters of a step of Adam; more take further launches. A block works on one piece of one
array. Imports codegen and `source`.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any

import numpy as np

from gpugrad.backend.interrupts import Repeatable
from gpugrad.codegen.expression import EXPRESSIONS, NotFusibleError, Value, Writer
from gpugrad.kernels.source import FLOATS, Get, cupy_kernel, prelude

__all__ = [
    "RESCALE_SOURCE", "STEP_OPTIONS", "MultiTensor", "Table", "clear_source", "clip_source",
    "tables", "unscale_source", "update_source",
]  # fmt: skip

THREADS = 256
PIECE = 2048  # elements that a block updates or scales
BYTES = 16384  # that a block sets to zero
PARTS = 1024  # about the number of partial sums of the norm: every block that scales adds them
STEP_OPTIONS = ("--fmad=false",)  # for the compiler: products and sums round as NumPy's do
ROOM = 3840  # bytes of a table: the arguments of a kernel have at most 4096


class Table:
    """Arrays, or tuples of arrays of one size, as an argument of a kernel.

    ``record`` is the structure; its "arrays" has a row of addresses for each position in the tuple.
    ``span`` says which part of the whole list these are, ``blocks`` is their number of pieces.
    ``argument`` has the same bytes without fields, which CuPy would describe at each launch.
    """

    __slots__ = ("_rows", "argument", "blocks", "record", "span")

    def __init__(self, record: Any, span: slice, blocks: int) -> None:
        self.record = record
        self.argument = record.view(np.dtype((np.void, record.nbytes)))
        self._rows = list(record["arrays"][:, : span.stop - span.start])
        self.span = span
        self.blocks = blocks

    def copy(self) -> "Table":
        """A copy, whose addresses may be set."""
        return Table(self.record.copy(), self.span, self.blocks)

    def point(self, position: int, addresses: Sequence[int]) -> None:
        """Set the addresses at one position of the tuples, from those of the whole list."""
        self._rows[position][:] = addresses[self.span]


def _room(width: int) -> int:
    """How many tuples of ``width`` arrays a table holds."""
    return (ROOM - 8) // (8 * width + 12) & ~1


@lru_cache(64)
def tables(sizes: tuple[int, ...], width: int, piece: int) -> tuple[Table, ...]:
    """Tables for tuples of ``width`` arrays of these sizes; copy them to set the addresses."""
    room = _room(width)
    fields = [
        ("arrays", "u8", (width, room)),
        ("sizes", "i8", room),
        ("starts", "i4", room),
        ("count", "i4"),
    ]
    result = []
    for first in range(0, len(sizes), room):
        here = sizes[first : first + room]
        starts = [0, *accumulate(-(-size // piece) for size in here)]
        record = np.zeros((), np.dtype(fields, align=True))
        record["sizes"][: len(here)] = here
        record["starts"][: len(here)] = starts[:-1]
        record["count"] = len(here)
        result.append(Table(record, slice(first, first + len(here)), starts[-1]))
    return tuple(result)


def _tables_of(
    arrays: Sequence[Any], piece: int, width: int = 1, size: str = "size"
) -> list[Table]:
    """Tables for tuples of ``width`` times the same array; ``size`` is the attribute to divide."""
    sizes = tuple(getattr(array, size) for array in arrays)
    addresses = [array.data.ptr for array in arrays]
    result = [table.copy() for table in tables(sizes, width, piece)]
    for table in result:
        for position in range(width):
            table.point(position, addresses)
    return result


def _by_dtype(arrays: Sequence[Any]) -> dict[Any, list[int]]:
    """The places of the arrays of each dtype."""
    groups: dict[Any, list[int]] = {}
    for place, array in enumerate(arrays):
        groups.setdefault(array.dtype, []).append(place)
    return groups


def _table_source(width: int) -> str:
    room = _room(width)
    return (
        f"""
struct Table {{
    void* arrays[{width}][{room}];
    long long sizes[{room}];
    int starts[{room}];  // the first block of each
    int count;
}};
"""
        + """
// The array of this block, `k`, and its piece of it, from `first` to `last`.
#define PIECE_OF(table, length) \\
    int k = 0; \\
    for (int end = table.count; end - k > 1;) { \\
        const int middle = (k + end) / 2; \\
        if (table.starts[middle] <= (int)blockIdx.x) k = middle; else end = middle; \\
    } \\
    const long long first = (long long)(blockIdx.x - table.starts[k]) * (length); \\
    const long long last = first + (length) < table.sizes[k] ? first + (length) : table.sizes[k];
#define EACH(i) for (long long i = first + threadIdx.x; i < last; i += blockDim.x)
"""
    )


# ---------------------------------------------------------------- updates


class _Cell:
    """An array that a rule reads and writes: in a kernel, a variable with one element of it."""

    __slots__ = ("value",)

    def __init__(self, value: Value | None = None) -> None:
        self.value = value


class _InPlace:
    """The array module with which a rule writes its kernel: ``xp.multiply(a, b, out)``."""

    def __init__(self, writer: Writer, dtype: Any) -> None:
        self._writer = writer
        self._dtype = dtype

    def __getattr__(self, name: str) -> Callable[..., None]:
        function = getattr(np, name, None)
        if not isinstance(function, np.ufunc) or function.nout != 1:
            raise NotFusibleError(f"{name} is no ufunc")
        written = getattr(EXPRESSIONS, name)

        def call(*operands: Any, out: Any = None) -> None:
            if len(operands) == function.nin + 1:
                *operands, out = operands  # type: ignore[assignment]
            values = [_value(operand) for operand in operands]
            if not isinstance(out, _Cell):
                raise NotFusibleError(f"{name} without an output array")
            out.value = self._writer.cast(written(*values), self._dtype)

        return call


def _value(operand: Any) -> Any:
    if not isinstance(operand, _Cell):
        return operand
    if operand.value is None:
        raise NotFusibleError("an array is read before it is written")
    return operand.value


@cache
def update_source(
    rule: Callable[..., None], dtype: Any, states: int, scratch: int, present: tuple[bool, ...],
    master: bool = False, skips: bool = False,
) -> str:  # fmt: skip
    """The kernel ``update`` of the rule of an optimizer, written by running the rule.

    ``present`` says which of its numbers are not None. The kernel loads an element of the
    parameter, the gradient and each state, runs the operations of the rule, and stores what has
    changed. The states of a float16 parameter are float32. With ``master`` so is a further array
    behind them: the parameter before it was rounded. With ``skips`` the kernel gets the address of
    a float, behind the table, and does nothing where that is not 0.
    NotFusibleError where the rule does anything but call ufuncs with an output array.
    """
    writer = Writer()
    width = 2 + states
    types = ["T", "T"] + ["W" if FLOATS[dtype][1] != FLOATS[dtype][0] else "T"] * (states + master)
    codes = [f"widen(x{i}[i])" if types[i] == "T" else f"x{i}[i]" for i in range(width)]
    if master:  # where it is not the parameter any more, somebody has changed that
        codes[0] = f"(narrow(x{width}[i]) == x0[i] ? x{width}[i] : widen(x0[i]))"
    loaded = [writer.operand(code, dtype, i) for i, code in enumerate(codes)]
    cells = [_Cell(value) for value in loaded]
    spare = tuple(_Cell() for _ in range(scratch))
    numbers = [
        writer.number(f"n{i}", float, width + i) if there else None
        for i, there in enumerate(present)
    ]
    try:
        rule(_InPlace(writer, dtype), cells[0], cells[1], tuple(cells[2:]), spare, *numbers)
    except (AttributeError, TypeError) as error:  # an operation that a rule may not use
        raise NotFusibleError(f"the rule {rule.__name__}: {error}") from error
    changed = [
        (i, _value(cell).code)
        for i, cell in enumerate(cells)
        if cell.value is not loaded[i] and i != 1
    ]
    if master:
        changed.append((width, _value(cells[0]).code))
    arguments = "".join(f", double n{i}" for i, there in enumerate(present) if there)
    pointers = "\n".join(
        f"    {t}* x{i} = ({t}*)table.arrays[{i}][k];" for i, t in enumerate(types)
    )
    body = "\n".join(f"        {line}" for line in writer.lines)
    stores = "\n".join(
        f"        x{i}[i] = {f'narrow({code})' if types[i] == 'T' else code};"
        for i, code in changed
    )
    found = ", const float* found" if skips else ""
    skip = "\n    if (*found != 0) return;" if skips else ""
    return f"""{prelude(dtype)}{_table_source(len(types))}
extern "C" __global__ void update(const __grid_constant__ Table table{found}{arguments})
{{{skip}
    PIECE_OF(table, {PIECE})
{pointers}
    EACH(i) {{
{body}
{stores}
    }}
}}
"""


# ---------------------------------------------------------------- the norm, and zeros

NORMS = {
    2.0: ("x * x", "sum_of_all", "sqrt(all)"),
    math.inf: ("fabs(x)", "largest_of_all", "all"),
    0.0: ("pow(fabs(x), exponent)", "sum_of_all", "pow(all, 1 / exponent)"),
}


@cache
def clip_source(dtype: Any, order: float) -> str:
    """The kernels ``norms`` and ``clip``; ``order`` is 2, inf or, for all other orders, 0.

    ``norms`` computes the part of each block, in double: a float's square may overflow. ``clip``
    combines the parts, in every block in the same order, and scales.
    """
    term, combine, finish = NORMS[order]
    add = "larger(sum, term)" if order == math.inf else "sum + term"
    return f"""{prelude(dtype)}{_table_source(1)}
extern "C" __global__ void norms(
    const __grid_constant__ Table table, double* parts, long long at, long long piece,
    double exponent)
{{
    PIECE_OF(table, piece)
    const T* array = (const T*)table.arrays[0][k];
    double sum = 0;
    EACH(i) {{
        const double x = widen(array[i]), term = {term};
        sum = {add};
    }}
    sum = {combine}(sum);
    if (threadIdx.x == 0)
        parts[at + blockIdx.x] = sum;
}}

extern "C" __global__ void clip(
    const __grid_constant__ Table table, const double* parts, long long count, void* norm,
    long long wide, double exponent, double most)
{{
    double sum = 0;
    for (long long i = threadIdx.x; i < count; i += blockDim.x) {{
        const double term = parts[i];
        sum = {add};
    }}
    const double all = {combine}(sum), total = {finish}, factor = most / (total + 1e-6);
    if (blockIdx.x == 0 && threadIdx.x == 0) {{
        if (wide) *(double*)norm = total; else *(float*)norm = (float)total;
    }}
    if (factor >= 1)
        return;
    PIECE_OF(table, {PIECE})
    T* array = (T*)table.arrays[0][k];
    // CuPy compiles with -ftz=true: a float below the least normal number counts as zero.
    const W small = factor < 1e-30 ? (W)0x1p-64 : (W)1, scale = (W)(factor / small);
    EACH(i) array[i] = narrow(widen(array[i]) * scale * small);
}}
"""


# ---------------------------------------------------------------- scaled gradients


@cache
def unscale_source(dtype: Any) -> str:
    """The kernel ``unscale``: divides by a scale, and sets ``found`` to 1 at what is not finite.

    The quotient is a product with the rounded inverse, as in PyTorch.
    """
    return f"""{prelude(dtype)}{_table_source(1)}
extern "C" __global__ void unscale(
    const __grid_constant__ Table table, const float* scale, float* found)
{{
    PIECE_OF(table, {PIECE})
    T* array = (T*)table.arrays[0][k];
    const W inverse = (W)(float)(1.0 / (double)*scale);
    EACH(i) {{
        const W x = widen(array[i]);
        if (x - x != 0)
            *found = 1;
        array[i] = narrow(x * inverse);
    }}
}}
"""


# The scale of the next step, and for how many steps it has been right.
RESCALE_SOURCE = """
extern "C" __global__ void rescale(
    const float* scale, const int* tracker, const float* found, float* next, int* count,
    double growth, double backoff, long long interval)
{
    const bool full = *tracker + 1 >= interval;
    const float larger = (float)(*scale * growth);
    const float grown = full && larger - larger == 0 ? larger : *scale;
    *next = *found != 0 ? (float)(*scale * backoff) : grown;
    *count = *found != 0 || full ? 0 : *tracker + 1;
}
"""


@cache
def clear_source() -> str:
    """The kernel ``clear``: sets all bytes of arrays to zero that own their memory."""
    return f"""{_table_source(1)}
struct alignas(16) Sixteen {{ unsigned long long low, high; }};
extern "C" __global__ void clear(const __grid_constant__ Table table)
{{
    PIECE_OF(table, {BYTES})
    char* array = (char*)table.arrays[0][k];
    const long long whole = first + (last - first) / 16 * 16;
    for (long long i = first + 16 * threadIdx.x; i < whole; i += 16 * blockDim.x)
        *(Sixteen*)(array + i) = Sixteen{{0, 0}};
    for (long long i = whole + threadIdx.x; i < last; i += blockDim.x)
        array[i] = 0;
}}
"""


class MultiTensor:
    """Launches the kernels on arrays of ``module`` (cupy); ``get`` compiles them."""

    dtypes = frozenset(FLOATS)

    def __init__(self, module: Any, get: Get = cupy_kernel) -> None:
        self.module = module
        self.get = get

    def dense(self, array: Any) -> bool:
        """Whether a kernel takes the array: of this module, of one of the dtypes, in C order."""
        return (
            isinstance(array, self.module.ndarray)
            and array.dtype in FLOATS
            and bool(array.flags.c_contiguous)
        )

    def layout(self, arrays: Sequence[Any], width: int) -> list[Table]:
        """Tables for tuples of ``width`` arrays of the sizes of these."""
        return [table.copy() for table in tables(tuple(a.size for a in arrays), width, PIECE)]

    def updater(
        self, rule: Callable[..., None], dtype: Any, states: int, scratch: int,
        present: tuple[bool, ...], master: bool = False, skips: bool = False,
    ) -> Any:  # fmt: skip
        """The kernel of a rule, see `update_source`; None where there is none.

        Products and sums are not contracted, so the results are NumPy's to the last bit; float16
        is rounded once and not at every operation.
        """
        try:
            source = update_source(rule, dtype, states, scratch, present, master, skips)
        except NotFusibleError:
            return None
        return self.get(source, "update", *STEP_OPTIONS)

    def launches(
        self, kernel: Any, layout: list[Table], numbers: Sequence[float | None], skip: Any = None
    ) -> list[Callable[[], None]]:
        """One step of an optimizer over all arrays of a layout whose addresses are set.

        The launches are calls for `gpugrad.backend.interrupts`. ``skip`` is the float of a kernel
        that ``skips``.
        """
        values: list[Any] = [] if skip is None else [skip]
        values += [float(number) for number in numbers if number is not None]
        return [
            Repeatable(kernel, (table.blocks,), (THREADS,), (table.argument, *values))
            for table in layout
            if table.blocks
        ]

    def changes(
        self, rule: Callable[..., None], arrays: Sequence[Any], numbers: Sequence[float],
        others: Sequence[Any] | None = None, scratch: int = 0,
    ) -> list[Callable[[], None]]:  # fmt: skip
        """The launches of a rule over dense arrays that own their memory.

        Each is parameter and gradient, or the gradients are ``others``, of the same shapes and
        dtypes.
        """
        launches = []
        for dtype, places in _by_dtype(arrays).items():
            layout = _tables_of([arrays[i] for i in places], PIECE, width=2)
            if others is not None:
                addresses = [others[i].data.ptr for i in places]
                for table in layout:
                    table.point(1, addresses)
            kernel = self.updater(rule, dtype, 0, scratch, (True,) * len(numbers))
            launches += self.launches(kernel, layout, numbers)
        return launches

    def clip_norm(
        self, arrays: Sequence[Any], most: float, exponent: float
    ) -> tuple[Any, list[Callable[[], None]]]:
        """The launches that scale dense arrays to a common norm of at most ``most``.

        The arrays own their memory. In front of the launches stands a 0-d array, into which they
        write the norm before: of float64 if an array is float64, else float32.
        """
        empty = self.module.ndarray
        order = exponent if exponent in NORMS else 0.0
        size = sum(array.size for array in arrays)
        piece = max(PIECE, -(-size // PARTS))
        launches: list[tuple[Any, Table, Table]] = []
        for dtype, places in _by_dtype(arrays).items():
            members = [arrays[i] for i in places]
            pairs = zip(_tables_of(members, piece), _tables_of(members, PIECE), strict=True)
            launches += [(clip_source(dtype, order), *pair) for pair in pairs]
        count = sum(measured.blocks for _, measured, _ in launches)
        wide = any(array.dtype == np.float64 for array in arrays)
        parts = empty((count,), np.float64)
        norm = empty((), np.float64 if wide else np.float32)
        at = 0
        for source, measured, _ in launches:
            if measured.blocks:
                kernel = self.get(source, "norms")
                arguments: tuple[Any, ...] = (measured.argument, parts, at, piece, exponent)
                kernel((measured.blocks,), (THREADS,), arguments)
                at += measured.blocks
        shared = (parts, count, norm, int(wide), exponent, most)
        return norm, [
            Repeatable(
                self.get(source, "clip"), (scaled.blocks,), (THREADS,), (scaled.argument, *shared)
            )
            for source, _, scaled in launches
            if scaled.blocks
        ]

    def unscale(self, arrays: Sequence[Any], scale: Any, found: Any) -> list[Callable[[], None]]:
        """The launches that divide dense arrays by ``scale``, a 0-d array of float32.

        The arrays own their memory. ``found``, another 0-d array, becomes 1 where one of them has
        an infinity or NaN.
        """
        return [
            Repeatable(
                self.get(unscale_source(dtype), "unscale"),
                (table.blocks,),
                (THREADS,),
                (table.argument, scale, found),
            )
            for dtype, places in _by_dtype(arrays).items()
            for table in _tables_of([arrays[i] for i in places], PIECE)
            if table.blocks
        ]

    def rescale(
        self, scale: Any, tracker: Any, found: Any, growth: float, backoff: float, interval: int
    ) -> tuple[Any, Any]:
        """The next scale and count of steps since it grew, new 0-d arrays."""
        results = self.module.empty_like(scale), self.module.empty_like(tracker)
        arguments = (scale, tracker, found, *results, growth, backoff, interval)
        self.get(RESCALE_SOURCE, "rescale")((1,), (1,), arguments)
        return results

    def zeros_like(self, arrays: Sequence[Any]) -> list[Any]:
        """New arrays of zeros like these, which are on the current device."""
        zeros = [self.module.empty_like(array) for array in arrays]
        for table in _tables_of(zeros, BYTES, size="nbytes"):
            if table.blocks:
                self.get(clear_source(), "clear")((table.blocks,), (THREADS,), (table.argument,))
        return zeros
