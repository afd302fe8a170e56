"""Under vmap: histograms, updates at repeated indices, functions of NumPy, outer products."""

import itertools

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.errors import BatchError, ShapeError

RNG = np.random.default_rng(8)
X = RNG.normal(size=(4, 3))
V = RNG.normal(size=(4, 9))
NUMBERS = RNG.integers(0, 3, size=(4, 9))


def compare(f, *batches, device="cpu"):
    """A function under vmap is a loop."""
    given = [gg.asarray(batch, device=device) for batch in batches]
    with gg.device(device):
        looped = [f(*elements) for elements in zip(*given)]
        found = gg.vmap(f)(*given)
    assert found.dtype == looped[0].dtype
    np.testing.assert_allclose(found.numpy(), np.stack([one.numpy() for one in looped]), rtol=1e-12)


COUNTS = {
    "a range": lambda x, v: gg.histogram(v, 5, (-1, 1))[0],
    "edges": lambda x, v: gg.histogram(v, gg.linspace(-1.0, 1.0, 4))[0],
    "edges that differ": lambda x, v: gg.histogram(v, gg.sort(x))[0],
    "between the extremes": lambda x, v: gg.histogram(v, 5)[0],
    "their edges": lambda x, v: gg.histogram_bin_edges(v, 5),
    "one value": lambda x, v: gg.histogram(v * 0, 3)[1],
    "whole numbers": lambda x, v: gg.histogram((v * 5).astype("int64"), 3)[1],
    "a density": lambda x, v: gg.histogram(v, 4, density=True)[0],
    "weights": lambda x, v: gg.histogram(v, 4, weights=v * v)[0],
    "two axes": lambda x, v: gg.histogram2d(v, v * v, 3)[0],
    "three axes": lambda x, v: gg.histogramdd(gg.stack([v, v * v, -v], axis=1), 2)[0],
}


@pytest.mark.parametrize("name", COUNTS)
def test_histograms(name, device):
    compare(COUNTS[name], X, V, device=device)


def test_the_gradient_of_a_histogram_by_weights(device):
    def slope(v):
        return gg.grad(lambda w: (gg.histogram(v, 4, weights=w)[0] ** 2).sum())(v * v)

    compare(slope, V, device=device)


def test_bincount(device):
    compare(lambda i: gg.bincount(i, minlength=4), NUMBERS, device=device)
    compare(lambda i, v: gg.bincount(i, v, minlength=3), NUMBERS, V, device=device)
    slope = gg.grad(lambda v, i: (gg.bincount(i, v, minlength=3) ** 2).sum())
    compare(lambda i, v: slope(v, i), NUMBERS, V, device=device)


@pytest.mark.parametrize("numbers", [NUMBERS + 1, NUMBERS - 1], ids=["too large", "negative"])
def test_numbers_that_a_result_has_no_place_for(numbers):
    with pytest.raises(ShapeError, match=r"bincount: inside of vmap all results have minlength="):
        gg.vmap(lambda i: gg.bincount(i))(numbers)
    with pytest.raises(ShapeError, match=r"numbers, got 3, and a number that is not counted"):
        gg.vmap(lambda i: gg.bincount(i, minlength=3))(numbers)
    there = gg.vmap(lambda i: gg.bincount(i, minlength=3))(gg.asarray(numbers, device="sim"))
    assert (there.numpy() == [np.bincount(i[i >= 0], minlength=4)[:3] for i in numbers]).all()


UPDATES = {
    "of one axis": lambda x, i, v, how: getattr(x.at[i], how)(v),
    "of two axes": lambda x, i, v, how: getattr((x[:, None] + x).at[i, i % 2], how)(v),
    "at the same for all": lambda x, i, v, how: getattr(x.at[[0, 0, 2, 0, 0, 1]], how)(v[:6]),
    "of equal values": lambda x, i, v, how: getattr(x.at[i], how)(v * 0 + 0.5),
}


@pytest.mark.parametrize("how", ["multiply", "min", "max"])
@pytest.mark.parametrize("name", UPDATES)
def test_updates_of_elements_that_are_selected_again(name, how, device):
    def f(x, i, v):
        return UPDATES[name](x, i, v, how)

    compare(f, X, NUMBERS, V, device=device)
    slope = gg.grad(lambda x, v, i: (f(x, i, v) ** 2).sum(), (0, 1))
    for argument in (0, 1):
        compare(lambda x, i, v, k=argument: slope(x, v, i)[k], X, NUMBERS, V, device=device)


def test_an_update_of_what_is_the_same_for_all(device):
    compare(lambda i, v: gg.ones(3, dtype="float64").at[i].max(v), NUMBERS, V, device=device)


# Functions of NumPy's arrays.


def scaled(xp, x, s):
    assert type(x) is np.ndarray
    return np.sin(x) * s


SCALED = gg.custom_op(
    scaled, lambda xp, g, y, x, s: (g * np.cos(x) * s, (g * np.sin(x)).sum()), host=True
)
PAIR = gg.custom_op(
    lambda xp, x: gg.saved((np.sin(x), np.cos(x)), c=np.cos(x)),
    lambda xp, gs, ys, x, c: gs[0] * c - gs[1] * np.sin(x),
    host=True,
)
PUSHED = gg.custom_op(
    lambda xp, x: np.sin(x), jvp=lambda xp, ts, y, x: ts[0] * np.cos(x), host=True,
    kind="elementwise",
)  # fmt: skip
SUMS = gg.custom_op(
    lambda xp, x: np.cumsum(x), lambda xp, g, y, x: np.cumsum(g[::-1])[::-1], host=True,
    kind="linear",
)  # fmt: skip
S = np.array([1.0, 2.0, -1.0, 0.5])
ON_THE_HOST = {
    "values": (lambda f: gg.vmap(f)(X, S), SCALED, lambda x, s: gg.sin(x) * s),
    "one for all": (lambda f: gg.vmap(f, (0, None))(X, 2.0), SCALED, lambda x, s: gg.sin(x) * s),
    "gradients": (
        lambda f: gg.vmap(gg.grad(lambda s, x: (f(x, s) ** 2).sum()))(S, X),
        SCALED,
        lambda x, s: gg.sin(x) * s,
    ),
    "outside": (
        lambda f: gg.grad(lambda x: (gg.vmap(f)(x, S) ** 2).sum())(X),
        SCALED,
        lambda x, s: gg.sin(x) * s,
    ),
    "two levels": (
        lambda f: gg.vmap(lambda x: gg.vmap(gg.grad(lambda s: f(x, s).sum()))(S))(X),
        SCALED,
        lambda x, s: gg.sin(x) * s,
    ),
    "two outputs": (
        lambda f: gg.vmap(gg.grad(lambda x: (f(x)[0] * f(x)[1]).sum()))(X),
        PAIR,
        lambda x: (gg.sin(x), gg.cos(x)),
    ),
    "a jacobian": (lambda f: gg.jacobian(f)(X[0]), PUSHED, gg.sin),
    "a jvp": (lambda f: gg.vmap(lambda x: gg.jvp(f, (x,), (x,))[1])(X), PUSHED, gg.sin),
    "a hessian": (lambda f: gg.vmap(gg.hessian(lambda x: (f(x) ** 3).sum()))(X), SUMS, gg.cumsum),
    "no elements": (lambda f: gg.vmap(gg.grad(lambda x: f(x).sum()))(X[:0]), PUSHED, gg.sin),
}


@pytest.mark.parametrize("name", ON_THE_HOST)
def test_a_custom_op_of_the_host(name):
    transform, own, written = ON_THE_HOST[name]
    np.testing.assert_allclose(transform(own), transform(written), rtol=1e-12, atol=1e-14)


def test_a_custom_op_of_the_host_on_a_device(device):
    with gg.device(device):
        slope = gg.vmap(gg.grad(lambda x: (PAIR(x)[0] ** 2).sum()))(gg.tensor(X))
    assert slope.device == gg.Device(device)
    np.testing.assert_allclose(slope.numpy(), np.sin(2 * X), rtol=1e-12)


def test_what_a_custom_op_keeps_outside_is_the_last_elements():
    box = {}

    def forward(xp, x):
        box["slope"] = np.cos(x)
        return np.sin(x)

    f = gg.custom_op(forward, lambda xp, g, y, x: g * box["slope"], host=True)
    np.testing.assert_allclose(gg.vmap(f)(X), np.sin(X))
    with pytest.raises(BatchError, match=r"the last element's\. Return it .* by gg\.saved"):
        gg.vmap(gg.grad(lambda x: f(x).sum()))(X)


def test_numpy_alone_says_how_to_wrap_it():
    with pytest.raises(BatchError, match=r"gg\.custom_op\(\.\.\., host=True\)"):
        gg.vmap(lambda x: gg.tensor(np.asarray(x)))(X)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_outer_products_of_each_element(dtype):
    x, w = X.astype(dtype), RNG.normal(size=(3, 5)).astype(dtype)
    rows = RNG.normal(size=(4, 5)).astype(dtype)
    ways = {
        "products": lambda a, b: a[:, None] * b[None, :],
        "matrices": lambda a, b: a[:, None] @ b[None, :],
        "turned": lambda a, b: (b[:, None] @ a[None, :]).T,
    }
    for way in ways.values():
        np.testing.assert_array_equal(gg.vmap(way)(x, rows), x[:, :, None] * rows[:, None, :])
        one = gg.vmap(way, (0, None))(x, rows[0])
        np.testing.assert_array_equal(one, x[:, :, None] * rows[0])

    table = gg.vmap(lambda a: gg.vmap(lambda b: a[:, None] * b[None, :])(rows))(x)
    np.testing.assert_array_equal(table, np.stack([x[:, :, None] * row for row in rows], axis=1))
    table = gg.vmap(lambda a: gg.vmap(lambda b: (a * b[0])[:, None] * (b * a[0])[None, :])(rows))(x)
    assert table.shape == (4, 4, 3, 5)

    def loss(w, x):
        y = abs(x @ w) ** 2
        return y.sum()

    found = gg.vmap(gg.grad(loss), (None, 0))(w, x)
    tolerance = 200 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(
        found, np.stack([gg.grad(loss)(w, one) for one in x]), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("name", ["set", "add", "multiply", "row", "column", "gather", "take"])
def test_indices_of_two_levels(name):
    """Each operand with the outer level, the inner one, both or none."""
    f = {
        "set": lambda x, y, i: x.at[i, 1].set(y),
        "add": lambda x, y, i: x.at[i, 1].add(y),
        "multiply": lambda x, y, i: x.at[i, 1].multiply(y),
        "row": lambda x, y, i: x.at[i].set(y),
        "column": lambda x, y, i: x.at[1, i].set(y),
        "gather": lambda x, y, i: x[i, 1] * y,
        "take": lambda x, y, i: gg.take(x, i, axis=1) * y,
    }[name]
    rng = np.random.default_rng(0)
    choices = [one for one in itertools.product((0, None), repeat=3) if any(a == 0 for a in one)]
    for outer, inner in itertools.product(choices, choices):
        given = []
        for a, b, shape in zip(outer, inner, ((3, 3), (3,), (3,))):
            size = (*[2] * (a == 0), *[3] * (b == 0), *shape)
            given.append(gg.asarray(rng.normal(size=size)))
        given[2] = gg.argsort(given[2], axis=-1)

        def picked(row, column):
            for a, b, one in zip(outer, inner, given):  # noqa: B023
                one = one[row] if a == 0 else one
                yield one[column] if b == 0 else one

        got = gg.vmap(gg.vmap(f, in_axes=inner), in_axes=outer)(*given).numpy()
        expected = [[f(*picked(r, c)).numpy() for c in range(3)] for r in range(2)]
        np.testing.assert_allclose(got, expected)
