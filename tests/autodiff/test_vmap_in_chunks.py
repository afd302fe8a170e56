"""vmap with chunk_size: the results, derivatives and random numbers of all elements at once."""

import tracemalloc

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.errors import ArgumentError

RNG = np.random.default_rng(6)
X = RNG.normal(size=(3, 7))  # seven elements along axis 1
W = RNG.normal(size=(3, 2))


def f(tree, scale, *, shift):
    y = gg.tanh(tree["x"] @ tree["w"])
    return {"y": y * scale, "of all": tree["w"].sum(), "rest": (y[0] + shift, y[None])}


AXES = {"in_axes": ({"x": -1, "w": None}, None), "out_axes": {"y": -1, "of all": None, "rest": 0}}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_the_results_are_those_of_one_pass(size, device):
    tree = {"x": gg.tensor(X, device=device), "w": gg.tensor(W, device=device)}
    shift = gg.tensor(X[0], device=device)
    whole = gg.vmap(f, **AXES)(tree, 2.0, shift=shift)
    parts = gg.vmap(f, **AXES, chunk_size=size)(tree, 2.0, shift=shift)
    for one, other in zip(
        (*whole.pop("rest"), *whole.values()), (*parts.pop("rest"), *parts.values())
    ):
        assert one.shape == other.shape
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-13)


def test_the_type_of_results_and_no_elements():
    square = gg.vmap(lambda x: x**2, 1, 1, chunk_size=2)
    assert type(square(X)) is np.ndarray
    assert square(X[:, :0]).shape == (3, 0)


def test_derivatives_inside_and_outside():
    def loss(w, x):
        return (gg.tanh(x @ w) ** 2).sum()

    def total(w, **options):
        return (gg.vmap(gg.grad(loss), (None, 1), **options)(w, X) ** 2).sum()

    np.testing.assert_allclose(total(W, chunk_size=2), total(W))
    outside = gg.grad(lambda w: total(w, chunk_size=2))(W)
    np.testing.assert_allclose(outside, gg.grad(total)(W))
    w = gg.tensor(W, requires_grad=True)
    gg.vmap(lambda x: loss(w, x), 1, chunk_size=3)(X).sum().backward()
    np.testing.assert_allclose(
        w.grad.numpy(), gg.grad(lambda w: gg.vmap(loss, (None, 1))(w, X).sum())(W)
    )
    two = gg.vmap(gg.vmap(lambda x, y: x * y, (None, 0), chunk_size=2), (0, None), chunk_size=3)
    np.testing.assert_allclose(two(X[0], X[1]), X[0][:, None] * X[1])
    compiled = gg.compile(gg.vmap(gg.grad(loss), (None, 1), chunk_size=3))
    np.testing.assert_allclose(compiled(W, X), gg.vmap(gg.grad(loss), (None, 1))(W, X))


def noisy(x):
    return x * 0 + gg.random.uniform(size=3, dtype="float64")


def test_random_numbers():
    gg.random.manual_seed(3)
    whole = gg.vmap(noisy, 1, randomness="same")(X)
    after = gg.random.uniform(size=2).numpy()
    gg.random.manual_seed(3)
    parts = gg.vmap(noisy, 1, randomness="same", chunk_size=2)(X)
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(gg.random.uniform(size=2).numpy(), after)
    gg.random.manual_seed(3)
    different = gg.vmap(noisy, 1, randomness="different", chunk_size=2)
    numbers = different(X)
    assert len(np.unique(numbers)) == 21
    gg.random.manual_seed(3)
    np.testing.assert_array_equal(different(X[:, :4]), numbers[:4])


def test_memory():
    rows = np.ones((512, 4000))
    peaks = []
    for options in ({}, {"chunk_size": 16}):
        tracemalloc.start()
        try:
            gg.vmap(lambda x: gg.tanh(gg.tanh(x) * 2).sum(), **options)(rows)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] / 8


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_size_that_is_none(size):
    with pytest.raises(ArgumentError, match=f"vmap: expected chunk_size .* None, got {size}"):
        gg.vmap(f, chunk_size=size)
