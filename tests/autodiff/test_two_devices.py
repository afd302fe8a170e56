"""Derivatives of functions that move arrays between two devices, by every way in."""

import numpy as np
import pytest
from gpu import needs_two_gpus

import gpugrad as gg

PAIRS = [("sim:0", "sim:1"), pytest.param(("cuda:0", "cuda:1"), marks=needs_two_gpus)]
X, V = np.array([0.5, 1.0, 2.0]), np.array([1.0, 0.0, -1.0])


def function(first, second):
    """A function of an array on ``first`` that computes on both."""

    def f(x):
        y = (gg.tanh(x) * x).to(second)
        with gg.device(second):
            z = (gg.where(y > 0.5, gg.sqrt(y), 0.0) * y).to(first)
        return (z * x[1:].sum()).sum()

    return f


def transforms(f, x, v):
    leaf = gg.tensor(x, requires_grad=True)
    f(leaf).backward()
    yield "backward", leaf.grad
    yield "gradients", gg.gradients(f(leaf), leaf)
    yield "grad", gg.grad(f)(x)
    yield "value_and_grad", gg.value_and_grad(f)(x)[1]
    yield "vjp", gg.vjp(f, x)[1](f(x) * 0 + 1)[0]
    yield "jvp", gg.jvp(f, (x,), (v,))[1]
    yield "hvp", gg.hvp(f, x, v)
    yield "second gradient", gg.grad(lambda x: (gg.grad(f)(x) * v).sum())(x)
    yield "checkpoint", gg.grad(gg.checkpoint(f))(x)
    for mode in ("reverse", "forward"):
        yield f"jacobian, {mode}", gg.jacobian(lambda x: f(x) * x, mode=mode)(x)
        yield f"hessian, {mode}", gg.hessian(f, mode=mode)(x)


@pytest.mark.parametrize("pair", PAIRS)
def test_every_transform_follows_a_graph_over_two_devices(pair):
    expected = dict(transforms(function("cpu", "cpu"), gg.tensor(X), gg.tensor(V)))
    x, v = (gg.tensor(data, device=pair[0]) for data in (X, V))
    for name, found in transforms(function(*pair), x, v):
        assert str(found.device) == pair[0], name
        np.testing.assert_allclose(
            found.cpu().numpy(), expected[name].numpy(), rtol=1e-6, err_msg=name
        )


@pytest.mark.parametrize("pair", PAIRS)
def test_a_hook_runs_where_its_gradient_is(pair):
    x = gg.tensor(X, device=pair[0], requires_grad=True)
    y = x.to(pair[1])
    seen = []
    y.register_hook(lambda g: seen.append(str(g.device)) or g * 2)
    with gg.device(pair[1]):
        z = (y * y).to(pair[0])
    z.sum().backward()
    assert seen == [pair[1]]
    np.testing.assert_allclose(x.grad.cpu().numpy(), 4 * X, rtol=1e-6)
