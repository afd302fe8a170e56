"""Recordings that leave out large results, until their values matter: programs are the same."""

import numpy as np
import pytest
from twins import seen

import gpugrad as gg
from gpugrad.autodiff import tree
from gpugrad.compiler.programs import expansion
from gpugrad.compiler.recording import unseen
from gpugrad.compiler.recording.tape import Tape
from gpugrad.nn import functional as F


@pytest.fixture(autouse=True)
def all_is_large(monkeypatch):
    monkeypatch.setattr(unseen, "LARGE", 1)
    monkeypatch.setattr(expansion, "LARGE", 1)


@pytest.fixture
def seeing(monkeypatch):
    """The recordings in which values mattered."""
    seen_by, usual = [], Tape.see

    def see(self):
        if self.left_out:
            seen_by.append(self)
        usual(self)

    monkeypatch.setattr(Tape, "see", see)
    return seen_by


def tensors(result):
    return tree.flatten(result)[0]


def factored(x):
    return gg.linalg.cholesky(x @ x.T + 3 * gg.eye(4))


def picked(x):
    index = (gg.abs(x[0]) * 100 + 3).astype("int64") % 4
    return x[index] * gg.exp(x)


def changed_and_factored(x):
    y = gg.exp(x * 2.0)
    y += 1.0
    top = y[:2]
    top *= 2.0
    return gg.linalg.inv(y @ y.T + gg.eye(4)), top


def sorted_twice(x):
    y = gg.sort(gg.tanh(x), axis=1)
    return gg.cumsum(y * x, axis=0), gg.linalg.det(y @ x.T + 5.0 * gg.eye(4))


def looped(x):
    return gg.scan(lambda c, _: (gg.tanh(c * 2.0), c.sum()), gg.exp(x), length=3)


MATTERING = [factored, picked, changed_and_factored, sorted_twice, looped]


@pytest.mark.parametrize("function", MATTERING, ids=lambda one: one.__name__)
def test_values_that_matter_are_computed(function, seeing):
    calls = []

    def counted(x):
        calls.append(x)
        return function(x)

    x = gg.tensor(np.random.default_rng(0).normal(size=(4, 4)))
    compiled, before = gg.compile(counted), x.numpy().copy()
    for _ in range(2):
        for one, other in zip(tensors(compiled(x)), tensors(function(x))):
            np.testing.assert_allclose(one.numpy(), other.numpy(), 1e-12, 1e-14)
    assert (len(calls), bool(seeing)) == (1, True)
    np.testing.assert_array_equal(x.numpy(), before)


@pytest.mark.parametrize("matters", [False, True])
def test_changes_in_place_happen_once(matters, seeing):
    """Of arrays from elsewhere and of views of them, whether values matter after them or not."""

    def change(t):
        t *= t + 1.0
        t[1:] += t[:2]
        return gg.linalg.det(gg.eye(3) * t) if matters else t.sum()

    own, other = gg.tensor([1.0, 2.0, 4.0]), gg.tensor([1.0, 2.0, 4.0])
    step = gg.compile(lambda: change(own))
    for _ in range(2):
        np.testing.assert_allclose(step().numpy(), change(other).numpy(), rtol=1e-6)
        assert seen(own) == seen(other)
    assert bool(seeing) or not matters


def test_a_training_step_leaves_out_all(seeing):
    rng = np.random.default_rng(0)
    x, y = gg.tensor(rng.normal(size=(5, 3))), gg.tensor(rng.normal(size=(5, 2)))
    steps, models = [], []
    for compiled in (False, True):
        gg.manual_seed(0)
        model = gg.nn.Sequential(gg.nn.Linear(3, 4), gg.nn.Tanh(), gg.nn.Linear(4, 2)).to("float64")
        optimizer = gg.optim.Adam(model.parameters(), lr=0.1)

        def step(model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.item()

        steps.append(gg.compile(step) if compiled else step)
        models.append(model)
    for _ in range(3):
        np.testing.assert_allclose(*[step() for step in steps], rtol=1e-12)
    for pair in zip(*[model.parameters() for model in models]):
        np.testing.assert_allclose(*[one.detach().numpy() for one in pair], rtol=1e-12)
    assert not seeing


def test_python_is_told_true_values():
    def halved(x):
        y = gg.exp(x) @ x
        return y / 2.0 if (y.sum() > 1.0) else y

    function = gg.compile(halved, strict=False)
    for sign in (1.0, -1.0, 1.0):
        x = gg.tensor(sign * np.eye(3))
        assert seen(function(x)) == seen(halved(x))
