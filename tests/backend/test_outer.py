"""Products of columns and rows: the numbers of ``columns * rows``, in less time."""

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.autodiff import tree
from gpugrad.backend import outer, reuse, sums
from gpugrad.backend.host import NUMPY
from gpugrad.backend.namespace import Namespace
from gpugrad.backend.outer import FEW, outer_products
from gpugrad.batching.namespace import batched_type

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-30, -1e30, 1.0]
SHAPES = (
    ((5, 1), (1, 3)),
    ((5, 1), (3,)),
    ((100, 1), (70,)),
    ((1, 1), (1, FEW + 1)),
    ((FEW + 1, 1), (1, 1)),
    ((4, 70, 1), (4, 1, 50)),
    ((4, 70, 1), (1, 50)),
    ((90, 1), (4, 1, 50)),
    ((3, 1, 70, 1), (4, 1, 50)),
    ((0, 70, 1), (0, 1, 50)),
    ((4, 0, 1), (4, 1, 50)),
)


def numbers(rng, shape, dtype):
    x = rng.normal(size=shape) * 3
    x.reshape(-1)[: len(SPECIAL)] = SPECIAL[: x.size]
    with np.errstate(all="ignore"):
        return x.astype(dtype)


def checked(columns, rows):
    with np.errstate(all="ignore"):
        y, expected = outer_products(columns, rows), columns * rows
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)
    return y


@pytest.mark.parametrize("dtype", "efdFDi?")
def test_numbers_are_those_of_the_product(dtype, rng):
    for of_columns, of_rows in SHAPES:
        columns, rows = numbers(rng, of_columns, dtype), numbers(rng, of_rows, dtype)
        checked(columns, rows)
        checked(columns.swapaxes(-1, -2).copy().swapaxes(-1, -2)[::-1], rows[..., ::-1])
        checked(columns, rows.astype("D" if dtype in "FD" else "d"))


@pytest.mark.parametrize("dtype", "fd")
def test_large_results_lie_in_memory_that_is_used_again(dtype, rng):
    count = reuse.LARGE // np.dtype(dtype).itemsize // 2000 // 8 + 1
    y = checked(numbers(rng, (8, 2000, 1), dtype), numbers(rng, (8, 1, count), dtype))
    assert y.nbytes > reuse.LARGE
    assert NUMPY.owns_buffer(y)
    assert y.ctypes.data % 64 == 0
    del y
    gg.empty_cache()


@pytest.mark.parametrize("dtype", "fdFi")
def test_products_of_stacks_with_one_inner_index(dtype, rng):
    a, b = rng.normal(size=(6, 90, 1)) * 3, rng.normal(size=(6, 1, 20)) * 3
    a, b = a.astype(dtype), b.astype(dtype)
    np.testing.assert_array_equal(gg.matmul(a, b), a * b)
    np.testing.assert_array_equal(gg.matmul(a, b[0]), a * b[0])
    with pytest.raises(gg.errors.ShapeError):
        gg.matmul(a, b[:4])


@pytest.mark.parametrize("size", [3, 70])
def test_zeros_of_products_under_vmap_keep_their_sign(size, rng):
    """Also where a column times a row could be had as a product of matrices."""
    a, b = (rng.choice([-2.0, -0.0, 0.0, 3.0], size=(4, size)) for _ in range(2))
    ways = (
        lambda a, b: a[:, None] * b[None, :],
        lambda a, b: a[:, None] * b,
        lambda a, b: (a[None, :] * b[:, None]).T,
        gg.outer,
    )
    for f in ways:
        found, expected = gg.vmap(f)(a, b), np.stack([f(*pair) for pair in zip(a, b)])
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "int32"])
def test_gradients_of_vectors_and_matrices_under_vmap(dtype, rng):
    w, x, v = (rng.integers(-3, 4, size=s).astype(dtype) for s in ((70, 60), (3, 70), (3, 60)))
    if dtype == "int32":
        w = w.astype("float32")
    left, right = (lambda w, x: (x @ w * 2).real.sum()), (lambda w, v: (w @ v * 2).real.sum())
    for f, rows in ((left, x), (right, v)):
        found = gg.vmap(gg.grad(f), (None, 0))(w, rows)
        np.testing.assert_array_equal(found, np.stack([gg.grad(f)(w, one) for one in rows]))
        several = gg.vmap(gg.vmap(gg.grad(f), (None, 0)), (None, 0))(w, np.stack([rows, rows + 1]))
        np.testing.assert_array_equal(several[0], found)
    assert batched_type(NUMPY).xp.outer_products is not Namespace.outer_products


LARGE = [  # for which products of columns and rows are had by BLAS, of each rank
    ((5000,), (5000,)), ((70, 80), (80,)), ((80,), (80, 90)), ((70, 80), (80, 90)),
    ((2, 70, 80), (80,)), ((80,), (2, 80, 90)), ((2, 70, 80), (80, 90)), ((70, 80), (2, 80, 90)),
]  # fmt: skip


@pytest.mark.parametrize("shapes", LARGE, ids=str)
def test_gradients_of_large_products_of_each_rank(shapes, rng, monkeypatch):
    a, b = (rng.normal(size=shape) for shape in shapes)

    def f(a, b):
        return gg.sin(a @ b).sum()

    def derivatives():
        curvature = gg.hvp(lambda a: f(a, b), a, a * 0.5)
        return [gg.grad(f, 0)(a, b), gg.grad(f, 1)(a, b), curvature]

    found = derivatives()
    monkeypatch.setattr(outer, "FEW", 10**9)
    monkeypatch.setattr(sums, "FEW", 10**9)
    for one, other in zip(tree.flatten(found)[0], tree.flatten(derivatives())[0]):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)
