"""What a schedule is made of: arrays, and the items that compute them. Imports layout, program.

Each step of a program becomes part of an item: a loop over all elements of a shape, a product, an
array that is put together of parts, or a call of NumPy.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from gpugrad.compiler.programs.program import Step, Value
from gpugrad.compiler.schedule.layout import Layout, contiguous, layout_of, strides_in

__all__ = [
    "Array",
    "Assembly",
    "Call",
    "Convolution",
    "Indexed",
    "Item",
    "Loop",
    "Numbers",
    "Product",
    "Ref",
    "Running",
    "Turns",
    "has_rows",
    "made_by",
    "read_by",
    "refs_in",
    "rows_of",
]  # fmt: skip

ROW = 16384  # elements up to which a row is read again by the loop that has computed its sum


class Array:
    """An array that the program computes or is given.

    ``made`` is the index of the item that computes it, -1 for what is given. In a loop, ``part``
    says in which of its passes over a row it is computed, ``row`` that it has one element for each
    row, and ``axes`` over which axes of the loop it is a sum or an extreme. ``stored`` says that it
    is in memory, where it has the elements of ``shape`` in C's order; ``seen`` is the layout in
    which the caller has it.
    """

    __slots__ = (
        "axes", "dtype", "made", "number", "operands", "part", "read", "row", "seen", "shape",
        "step", "stored", "weak",
    )  # fmt: skip

    def __init__(self, value: Value, number: int, made: int = -1) -> None:
        self.seen = layout_of(value)
        self.shape = value.shape
        self.dtype = np.dtype(value.dtype)
        self.weak = value.weak
        self.number = number
        self.made = made
        self.step: Any = None  # of a loop or a product
        self.operands: tuple[Any, ...] = ()
        self.part = 0
        self.row = False
        self.axes: tuple[int, ...] | None = None
        self.stored = made < 0
        self.read = made  # the last item that reads it

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return self.size * self.dtype.itemsize


class Ref(NamedTuple):
    """An array as a step reads it: in a layout."""

    array: Array
    layout: Layout


class Loop:
    """Elementwise steps over one shape, without axes of length 1, and the reductions of them.

    ``rows`` is the number of leading axes of a row where some steps read a sum of their row.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.rows: int | None = None
        self.arrays: list[Array] = []
        self.reads: set[int] = set()
        self.weight = 0

    def strides_read(self, ref: Ref, array: Array) -> tuple[int, ...]:
        """The strides with which a step of the loop, array's, reads an array from elsewhere."""
        shape = array.shape if array.axes is None else ref.layout.shape
        strides = strides_in(ref.layout, shape)
        return strides + (0,) * (len(self.shape) - len(strides))

    def strides_stored(self, array: Array) -> tuple[int, ...]:
        """The strides with which the result of a step is stored."""
        if array.row:
            rows = self.rows or 0
            return contiguous(self.shape[:rows]).strides + (0,) * (len(self.shape) - rows)
        axes = array.axes or ()
        kept = [size for axis, size in enumerate(self.shape) if axis not in axes]
        strides = iter(contiguous(kept).strides)
        return tuple(0 if axis in axes else next(strides) for axis in range(len(self.shape)))


class Product(NamedTuple):
    """A product of two arrays, of which each is a matrix or a stack of matrices."""

    array: Array
    a: Ref
    b: Ref


class Convolution(NamedTuple):
    """A product of what is under the windows over ``x``: (first, samples, ..., channels).

    It is multiplied with a weight, (groups, elements of a window, outputs), and gives (first,
    samples, ..., outputs of all groups); or, ``of_weight``, transposed with such an array, added up
    over all windows.
    """

    array: Array
    x: Ref
    other: Ref
    windows: Any
    groups: int
    of_weight: bool


class Assembly(NamedTuple):
    """An array made of parts, later ones on top: layouts of it, and what is copied there."""

    array: Array
    parts: tuple[tuple[Layout, Any], ...]


class Running(NamedTuple):
    """The running sums along an axis, or with "*" the running products."""

    array: Array
    x: Ref
    axis: int
    sign: str


class Numbers(NamedTuple):
    """Whole numbers that are part of an index: of an axis of a length, with a stride."""

    ref: Ref
    size: int
    stride: int


class Indexed(NamedTuple):
    """The elements of an array at an index, or an array with elements at an index.

    ``places`` and ``numbers`` say where the elements are: in the ``source``, if they are
    ``gathered`` into the array, in this layout, else in the array. There the source is assigned,
    over a copy of ``base``, or added to zeros where that is None.
    """

    array: Array
    source: Any
    places: Layout
    numbers: tuple[Numbers, ...]
    gathered: Layout | None
    base: Ref | None = None

    def reads(self) -> list[Ref]:
        """All that it reads."""
        others = [self.base, self.source]
        return [*refs_in(others), *(one.ref for one in self.numbers)]


class Turns(NamedTuple):
    """All turns of a loop, whose body is a schedule of its own.

    The operands lie as the body has them: the first carries, what has the slices, and the rest.
    """

    loop: Any
    body: Any
    operands: tuple[Ref, ...]
    arrays: tuple[Array, ...]


class Call(NamedTuple):
    """A step that NumPy computes."""

    step: Step
    operands: tuple[Any, ...]
    arrays: tuple[Array | None, ...]


Item = Loop | Product | Convolution | Assembly | Running | Indexed | Turns | Call


def refs_in(operand: Any) -> Iterator[Ref]:
    """The references in an operand."""
    if isinstance(operand, Ref):
        yield operand
    elif isinstance(operand, tuple | list):
        for part in operand:
            yield from refs_in(part)


def made_by(item: Item) -> Sequence[Array]:
    """What C makes of an item."""
    if isinstance(item, Call):
        return ()  # NumPy makes them
    return item.arrays if isinstance(item, Loop | Turns) else (item.array,)


def read_by(item: Item) -> Iterator[Ref]:
    """What an item reads."""
    if isinstance(item, Product):
        yield from (item.a, item.b)
    elif isinstance(item, Convolution):
        yield from (item.x, item.other)
    elif isinstance(item, Running):
        yield item.x
    elif isinstance(item, Indexed):
        yield from item.reads()
    elif isinstance(item, Turns):
        yield from item.operands
    elif isinstance(item, Assembly):
        yield from (source for _, source in item.parts if isinstance(source, Ref))
    elif isinstance(item, Loop):
        for array in item.arrays:
            yield from (ref for ref in array.operands if isinstance(ref, Ref))


def rows_of(array: Array, loop: Loop) -> int | None:
    """The number of leading axes of a loop of which an array of it has elements; None for all."""
    if array.row:
        return loop.rows
    if array.axes is None:
        return None
    count = len(loop.shape) - len(array.axes)
    return count if array.axes == tuple(range(count, len(loop.shape))) else 0


def has_rows(loop: Loop, count: int) -> bool:
    """Whether a loop can go over rows, each of them several times."""
    return count > 0 and prod(loop.shape[count:]) <= ROW
