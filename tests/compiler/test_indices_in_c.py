"""Steps whose index has arrays: gathered, assigned and added up in C."""

import numpy as np
import pytest
from programs import Writer, evaluated

import gpugrad as gg
from gpugrad import nn
from gpugrad.compiler.c import native
from gpugrad.compiler.c.compiler import find_compiler
from gpugrad.errors import IndexingError
from gpugrad.nn import functional as F
from gpugrad.ops.index import ARRAY

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler")

A = np.array([2, 0, -1, 2])
B = np.array([[1], [-4]])
C = np.array(3)
# Of an array (3, 4, 5); an array stands for an operand.
INDICES = [
    (A,), (slice(None), B), (Ellipsis, A), (A, slice(None), A), (A, A), (slice(1, None), A, A),
    (A, None, slice(None, None, -2)), (None, A, Ellipsis, B), (1, A), (A, 1), (1, slice(None), A),
    (A, B, 2), (slice(None, None, 2), C), (A, slice(3, 0, -1), None, -2), (C % 3, C, C),
    (A.astype(np.uint8) % 3, B.astype(np.int16)),
]  # fmt: skip


def lifted(writer, index):
    return tuple(writer.input(p) if isinstance(p, np.ndarray) else p for p in index)


@pytest.mark.parametrize("constant", [False, True])
def test_every_index(constant):
    writer, made = Writer(), []
    rng = np.random.default_rng(0)
    array = rng.integers(-9, 9, (5, 4, 3)).astype("f").T
    x = writer.input(array)
    for index in INDICES:
        if constant:
            index = tuple(writer.constant(p) if isinstance(p, np.ndarray) else p for p in index)
        else:
            index = lifted(writer, index)
        y = writer("get_item", x, index)
        arrays = [part for part in index if hasattr(part, "weak")]
        pattern = tuple(ARRAY if hasattr(part, "weak") else part for part in index)
        made += [
            writer("add", y, 1),
            writer("set_item", writer("transpose", writer("transpose", x)), index, 0.5),
            writer("set_item", x, index, writer("multiply", y, 3)),
            writer("scatter", y, *arrays, index=pattern, shape=(3, 4, 5)),
        ]
    program = writer.program(made)
    compiled = native.build(program)
    assert compiled.counts["NumPy steps"] == 0
    results = compiled.run(writer.given())
    for one, expected in zip(results, evaluated(program, writer.given()), strict=True):
        np.testing.assert_array_equal(one, expected)


def test_numbers_out_of_range_are_an_error_that_changes_nothing():
    gg.manual_seed(0)
    table = nn.Embedding(6, 3)
    optimizer = gg.optim.SGD(table.parameters(), lr=0.1)

    @gg.compile
    def step(numbers, labels):
        loss = F.cross_entropy(table.weight[numbers], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    labels = gg.asarray(np.array([0, 2, 1]))
    numbers = gg.asarray(np.array([5, 0, -6]))
    first = step(numbers, labels).item()
    assert step(numbers, labels).item() < first
    before = table.weight.data.copy()
    for wrong in (6, -7):
        with pytest.raises(IndexingError, match="out of range"):
            step(gg.asarray(np.array([5, 0, wrong])), labels)
        np.testing.assert_array_equal(table.weight.data, before)
    assert step(numbers, labels).item() < first


def test_an_index_that_the_program_computes_is_numpys():
    """Nobody has looked at its numbers before something is changed."""
    writer = Writer()
    x, i = writer.input(np.arange(6.0)), writer.input(np.array([1, 2]))
    y = writer("get_item", x, writer("multiply", i, i))
    compiled = native.build(writer.program([writer("multiply", y, 2)]))
    assert compiled.counts["NumPy steps"] == 1
    np.testing.assert_array_equal(compiled.run(writer.given())[0], [2, 8])
    with pytest.raises(IndexError):
        compiled.run([np.arange(6.0), np.array([1, 3])])


VIEWS_OF_GATHERED = {
    "column": lambda y: y[..., 0],
    "row": lambda y: y[0],
    "flat": lambda y: y.reshape(-1),
    "turned": lambda y: y.T,
    "axis": lambda y: y[:, None],
    "part": lambda y: y[1:],
}


@pytest.mark.parametrize("view", VIEWS_OF_GATHERED)
def test_a_view_of_what_was_gathered_is_a_result(view):
    """It is written as it lies, whatever shape the view has."""
    rng = np.random.default_rng(0)
    x = gg.tensor(rng.normal(size=(4, 3, 3)))
    for index in INDICES[:6]:
        index = tuple(p % 3 if isinstance(p, np.ndarray) else p for p in index)
        for shape in ((3,), (3, 1), (1, 3)):
            arrays = [gg.asarray(np.resize(p, shape)) for p in index if isinstance(p, np.ndarray)]

            def f(x, *arrays):
                rest = iter(arrays)
                whole = [next(rest) if isinstance(p, np.ndarray) else p for p in index]  # noqa: B023
                return VIEWS_OF_GATHERED[view](x[tuple(whole)])

            compiled = gg.compile(f)
            for _ in range(2):
                found = compiled(x, *arrays)
                np.testing.assert_array_equal(found.numpy(), f(x, *arrays).numpy())


def test_the_number_of_each_row():
    """What a cross-entropy by hand picks."""
    x, y = gg.tensor(np.arange(12.0).reshape(4, 3)), gg.asarray([2, 0, 1, 2])

    def f(x, y):
        return gg.take_along_axis(x, y[:, None], axis=1)[:, 0]

    compiled = gg.compile(gg.vmap(lambda row, k: gg.take_along_axis(row, k[None], axis=0)[0]))
    for one in (gg.compile(f), compiled):
        one(x, y)
        np.testing.assert_array_equal(one(x, y).numpy(), [2, 3, 7, 11])
