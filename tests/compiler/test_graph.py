"""Results of compiled functions that are differentiated outside of them."""

import warnings

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn
from gpugrad.nn import functional as F

pytestmark = pytest.mark.usefixtures("by_numpy")


def model():
    gg.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def trained(compiled, device):
    net = model().to(device)
    f = gg.compile(net) if compiled else net
    optimizer = gg.optim.Adam(net.parameters())
    rng = np.random.default_rng(0)
    x = gg.tensor(rng.normal(size=(16, 4)), dtype="float32", device=device, requires_grad=True)
    y = gg.tensor(rng.integers(0, 3, 16), dtype="int64", device=device)
    seen = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = F.cross_entropy(f(x), y)
        loss.backward()
        optimizer.step()
        seen.append(loss.detach().cpu().numpy())
    return [*seen, x.grad.cpu().numpy()]


def test_a_compiled_model_is_trained_as_usual(device):
    for own, other in zip(trained(True, device), trained(False, device), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-6, atol=1e-7)


def test_graphs_meet_at_a_compiled_function(device):
    f = gg.compile(lambda x, y: {"product": gg.tanh(x) * y, "sum": (x + y).sum()})
    for start in (1.0, 2.0, 3.0):
        x = gg.tensor([start, 2.0], dtype="float64", device=device, requires_grad=True)
        y = gg.tensor([0.5, start], dtype="float64", device=device, requires_grad=True)
        out = f(x * 2, y)
        loss = (out["product"] ** 2).sum() + out["sum"]
        a, b = gg.tanh(x * 2) * y, (x * 2 + y).sum()
        for own, other in zip(
            gg.gradients(loss, (x, y)), gg.gradients((a**2).sum() + b, (x, y)), strict=True
        ):
            np.testing.assert_allclose(own.cpu().numpy(), other.cpu().numpy(), rtol=1e-12)


def test_nothing_is_recorded_where_no_gradient_is_asked_for():
    f = gg.compile(model())
    x = gg.zeros((2, 4))
    assert f(x).requires_grad
    with gg.no_grad():
        assert not f(x).requires_grad


def test_a_changed_argument_is_noticed():
    f = gg.compile(lambda x: x * x)
    for _ in range(2):
        x = gg.tensor([1.0, 2.0], requires_grad=True)
        h = x * 1.0
        y = f(h)
        with gg.no_grad():
            h += 1
        with pytest.raises(gg.errors.GradientError, match="changed in place"):
            y.sum().backward()


def test_derivatives_of_a_second_order_belong_inside():
    f = gg.compile(lambda x: gg.tanh(x))
    x = gg.tensor([1.0], requires_grad=True)
    with pytest.raises(gg.errors.GradientError, match="Compile the derivative"):
        gg.gradients(f(x).sum(), x, create_graph=True)
    assert gg.compile(gg.grad(gg.grad(lambda x: x**3)))(2.0) == 12.0


def test_there_is_a_limit_to_programs():
    f = gg.compile(lambda x: x + 1)
    for count in range(32):
        f(gg.ones(count))
    with pytest.warns(RuntimeWarning, match="has 32 programs"):
        assert f(gg.ones(32)).shape == (32,)
    with warnings.catch_warnings(action="error"):
        assert f(gg.ones(33)).shape == (33,)
    assert f.report().count("program ") == 32
