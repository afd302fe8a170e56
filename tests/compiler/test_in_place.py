"""Changes in place of what a graph has recorded, inside of compiled functions."""

import numpy as np
import pytest

import gpugrad as gg

pytestmark = pytest.mark.usefixtures("by_numpy")


def changed(x):
    y = x * 2
    y += 1
    return (y * y).sum()


def through_a_view(x):
    h = x * 1.0
    v = h[0]
    v += 10.0
    return (h * h).sum()


def through_items(x):
    h = x * 1.0
    for i in range(3):
        h[i] *= 2
    return (h**3).sum()


def seen_by_a_view_of_a_view(x):
    h = gg.reshape(x * 1.0, (3, 1))
    t = h.T
    h += 1
    return (t * t).sum()


def assigned(x):
    out = gg.zeros_like(x)
    for i in range(3):
        out[i] = x[i] * x[(i + 1) % 3]
    return (out**2).sum()


def solved(x):
    states = gg.stack([gg.zeros_like(x)] * 4)
    states[0] = x
    for i in range(3):
        y = states[i]
        states[i + 1] = gg.tanh(y) * 1.1
    return (states**2).sum()


FUNCTIONS = [changed, through_a_view, through_items, seen_by_a_view_of_a_view, assigned, solved]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_graph_follows_changes_in_place(function, device):
    gradient = gg.grad(function)
    compiled = gg.compile(gradient)
    for seed in range(3):
        x = gg.tensor(np.random.default_rng(seed).normal(size=3), device=device)
        np.testing.assert_allclose(
            compiled(x).cpu().numpy(), gradient(x).cpu().numpy(), rtol=1e-12, atol=1e-14
        )
