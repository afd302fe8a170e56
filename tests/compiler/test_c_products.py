"""Products in C: of all sizes, stacks and orders of memory, and with any number of threads."""

import numpy as np
import pytest
from programs import Writer

from gpugrad.compiler.c import functions as c_functions
from gpugrad.compiler.c import native, products, threads
from gpugrad.compiler.c.compiler import find_compiler
from gpugrad.compiler.c.product_calls import SMALL

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler")

# (rows, depth, columns) around the sizes of tiles, panels and their parts; of stacks with more.
SIZES = [
    (16, 16, 17), (17, 33, 40), (31, 9, 50), (12, 300, 16), (6, 1000, 33), (100, 64, 31),
    (1, 600, 64), (64, 80, 1), (101, 103, 109), (37, 300, 128), (1200, 61, 20), (3, 40, 9, 41),
    (2, 3, 20, 30, 25), (64, 4, 3, 5), (16, 60, 70), (48, 600, 200), (3, 16, 200, 90),
]  # fmt: skip


def steps_of_products(dtype):
    """Products of every size, of which each operand is as it is or transposed."""
    rng, steps = np.random.default_rng(0), Writer()

    def given(stack, rows, columns, turned):
        shape = (columns, rows) if turned else (rows, columns)
        x = steps.input(rng.integers(-4, 5, (*stack, *shape)).astype(dtype))
        axes = [*range(len(stack)), len(stack) + 1, len(stack)]
        return steps("transpose", x, axes) if turned else x

    made = []
    for *stack, rows, depth, columns in SIZES:
        for turned in ((False, False), (False, True), (True, False), (True, True)):
            a = given(stack, rows, depth, turned[0])
            made.append(steps("matmul", a, given(stack, depth, columns, turned[1])))
    return steps, made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_are_exact_of_whole_numbers(dtype, monkeypatch):
    """By each way of computing them, on one thread and on three."""
    monkeypatch.setenv("GPUGRAD_NUM_THREADS", "3")
    monkeypatch.setattr(c_functions, "WORTH", 1 << 10)
    monkeypatch.setattr(products, "SMALL", SMALL)
    steps, made = steps_of_products(dtype)
    compiled = native.build(steps.program(made))
    has_library = products._library(np.dtype(dtype).itemsize) is not None
    assert compiled.counts["NumPy steps"] == 0
    assert (f"{dtype[0].replace('f', 's')}_product_t" in compiled.source) == has_library
    try:
        for count in (1, 3):
            threads.set_threads(count)
            for value, result in zip(made, compiled.run(steps.given())):
                np.testing.assert_array_equal(result, steps.arrays[value])
    finally:
        monkeypatch.undo()
        threads.set_threads(threads.thread_count())
