"""Products of matrices of middle sizes, by libraries of fixed source, for float and for double.

On x86 with AVX2 or AVX-512 they take 0.55 to 0.95 of OpenBLAS's time where they are chosen. That is
slow where the second matrix is transposed, and between what its kernels for small matrices take and
what no longer fits into a processor's second cache. Unlike BLAS, stacks of matrices share threads.
Imports c_compiler, c_steps, layout.
"""

import ctypes
from collections.abc import Iterable
from functools import cache
from math import prod
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from gpugrad.backend.precision import DOUBLE, SINGLE
from gpugrad.compiler.c.compiler import find_compiler, load
from gpugrad.compiler.programs.program import Step
from gpugrad.compiler.schedule.layout import Layout
from gpugrad.compiler.schedule.steps import PRODUCTS
from gpugrad.errors import CompileError

__all__ = ["NAMES", "Order", "address", "are_faster", "begin_for", "order_of"]

NAMES = {"s_product": "float", "d_product": "double"}
PANEL = 1 << 15  # bytes that a product works in, as in products.c
DEEP = 2048  # rows of a panel that stays in a processor's second cache
VECTOR = 64  # bytes of the longest vectors; a panel has two of them side by side
SMALL, WORTH, LARGE = 1 << 20, 1 << 21, 1 << 25  # multiplications; WORTH is that of products.c
NARROW = 16  # columns below which vectors are half empty
FLAT = 8  # rows below which a copy of the second matrix takes too long
# A transposed first matrix takes too long to read with so many bytes between elements of a row, or
# with fewer columns of the second one, for which it is read again.
FAR, FEW = 2048, 96
# A multiplication and its addition are one. -O3 gains nothing here, nor do these passes of gcc's
# -O2, which take about a third of its time: loops are made of vectors already.
OPTIONS = "-ffp-contract=fast", "-O2"
OF_GCC = [
    f"-fno-{name}" for name in (
        "tree-vectorize", "tree-slp-vectorize", "tree-vrp", "tree-bit-ccp",
        "tree-dominator-opts", "tree-tail-merge", "gcse", "code-hoisting", "crossjumping", "ipa-cp",
        "rerun-cse-after-loop", "cse-follow-jumps", "thread-jumps", "ivopts",
    )
]  # fmt: skip


def are_faster(a: Layout, b: Layout, itemsize: int) -> bool:
    """Whether products of two matrices, or of stacks of them, are better these than BLAS's."""
    rows, columns = a.shape[-2], b.shape[-1]
    count = rows * a.shape[-1] * columns
    stack = prod(a.shape[:-2])
    is_slow = count > SMALL or (b.strides[-1] != 1 and columns >= NARROW)
    if rows < FLAT or count > LARGE or not (is_slow or (stack > 1 and stack * count >= WORTH)):
        return False
    step = a.strides[-1]
    is_far = step > 1 and (step * itemsize >= FAR or columns < FEW)
    if is_far and not _is_turned(a, b, itemsize):
        return False
    return _library(itemsize) is not None


class Order(NamedTuple):
    """What a function of products.c needs: the fields of its ``product_t`` and bytes to work in.

    If it is ``turned``, the second operand comes first: each is transposed, and so is the result.
    """

    fields: list[int]
    work: int
    turned: bool


def order_of(a: Layout, b: Layout, y: Layout, itemsize: int) -> Order:
    """How a product of two matrices, or of stacks of them, is computed."""
    turned = _is_turned(a, b, itemsize)
    (rows, depth), columns = a.shape[-2:], b.shape[-1]
    of_a, of_b = a.strides[-2:], b.strides[-2:]
    strides, other = (a.strides, b.strides) if not turned else (b.strides, a.strides)
    if turned:
        rows, columns, of_a, of_b = columns, rows, of_b[::-1], of_a[::-1]
    fields = [rows, depth, columns, *of_a, *of_b, columns, int(turned), len(y.shape) - 2]
    for axis in zip(y.shape[:-2], strides, other, y.strides):
        fields += axis
    return Order(fields, 2 * VECTOR * depth if turned else PANEL, turned)


def _is_turned(a: Layout, b: Layout, itemsize: int) -> bool:
    """Whether to transpose the first matrix and the result takes less than the second one.

    Rows of the result are then vectors, so they have to fill some.
    """
    (rows, depth), columns = a.shape[-2:], b.shape[-1]
    if b.strides[-1] == 1 or b.strides[-2] != 1 or depth > DEEP or rows * itemsize % VECTOR:
        return False
    return rows * (depth + columns) < columns * depth


def address(name: str) -> int:
    """The address of a function of `NAMES`, after `are_faster` has said yes."""
    library = _library(4 if NAMES[name] == "float" else 8)
    found = None if library is None else ctypes.cast(library[name], ctypes.c_void_p).value
    if found is None:  # which a program would jump to
        raise CompileError(f"compile: the library of products has no function {name}")
    return found


def begin_for(steps: Iterable[Step]) -> None:
    """Begin to load the libraries that products among some steps may need."""
    for step in steps:
        value = step.results[0] if step.name in PRODUCTS else None
        if value is not None and value.shape[-1:] >= (NARROW,) and value.dtype in (SINGLE, DOUBLE):
            _begin(value.dtype.itemsize)


class _Loading(Thread):
    """Compiles a library, for the first program of a machine, while that is written."""

    def __init__(self, itemsize: int) -> None:
        super().__init__(daemon=True)
        self.itemsize = itemsize
        self.library: ctypes.CDLL | None = None

    def run(self) -> None:
        source = Path(__file__).with_name("products.c").read_text(encoding="ascii")
        options = [*OPTIONS, "-DSINGLE"] if self.itemsize == 4 else [*OPTIONS]
        compiler = find_compiler()
        if compiler is not None and compiler.is_gcc:
            options += OF_GCC
        try:
            self.library = load(source, *options)
        except CompileError:
            pass  # a processor without such vectors: products are BLAS's


@cache
def _begin(itemsize: int) -> "_Loading":
    """Begin to load a library, beside what this thread does."""
    loading = _Loading(itemsize)
    loading.start()
    return loading


@cache
def _library(itemsize: int) -> ctypes.CDLL | None:
    loading = _begin(itemsize)
    loading.join()
    return loading.library
