"""Activations against PyTorch's figures, at their kinks too, and those made of others."""

from pathlib import Path

import numpy as np
import pytest
from arrays import host

import gpugrad as gg

F = gg.nn.functional
FIGURES = dict(np.load(Path(__file__).parents[1] / "data" / "pytorch" / "activations.npz"))
ELEMENTWISE = [name for name, figures in FIGURES.items() if figures.shape == (2, len(FIGURES["x"]))]


@pytest.mark.parametrize("case", ELEMENTWISE)
def test_values_and_slopes_are_those_of_pytorch(case, device):
    name, *words = case.split()
    settings = {key: float(value) for key, value in (word.split("=") for word in words)}
    x = gg.tensor(FIGURES["x"], device=device, requires_grad=True)
    y = getattr(F, name)(x, **settings)
    y.sum().backward()
    rtol = 1e-7 if case == "hardsigmoid" else 1e-12  # PyTorch has its slope in float32
    np.testing.assert_allclose([host(y.detach()), host(x.grad)], FIGURES[case], rtol, 1e-13)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("softmin", gg.nn.Softmin(dim=1)), ("glu", gg.nn.GLU(dim=1)), ("prelu", gg.nn.PReLU(4))],
)
def test_layers_are_those_of_pytorch(name, layer, device):
    x = gg.tensor(FIGURES["images"], device=device, requires_grad=True)
    weight = gg.tensor(FIGURES["weight"], device=device, requires_grad=True)
    if name == "prelu":
        layer.weight = gg.nn.Parameter(weight)
    y = layer(x)
    (y * y).sum().backward()
    np.testing.assert_allclose(host(y.detach()), FIGURES[name], 1e-12, 1e-13)
    np.testing.assert_allclose(host(x.grad), FIGURES[f"{name} by x"], 1e-12, 1e-13)
    if name == "prelu":
        right = FIGURES["prelu by weight"]
        np.testing.assert_allclose(host(layer.weight.grad), right, 1e-12)
        assert [n for n, _ in layer.named_parameters()] == ["weight"]
        assert repr(layer).startswith("PReLU(num_parameters=4)")


@pytest.mark.parametrize("f", [F.glu, F.softmin, lambda x: F.prelu(x, [0.25, 0.5])])
def test_those_made_of_others_are_differentiated_twice(f, device, rng):
    x = gg.tensor(rng.standard_normal((3, 2)), device=device, requires_grad=True)
    assert gg.gradcheck(f, x)
    assert gg.gradgradcheck(f, x)


def test_random_slopes(device):
    x = gg.full((200, 5), -1.0, device=device, requires_grad=True)
    layer = gg.nn.RReLU(0.2, 0.4)
    y = host(layer(x))
    assert -0.4 < y.min() < y.max() < -0.2
    assert y.std() > 0.04
    layer(x).sum().backward()
    assert 0.2 < host(x.grad).min() < host(x.grad).max() < 0.4
    np.testing.assert_allclose(host(layer.eval()(x)), -0.3, rtol=1e-6)
    with pytest.raises(ValueError, match="rrelu: lower must not exceed upper, got 0.5 and 0.1"):
        F.rrelu(x, 0.5, 0.1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_random_class_has_the_probability_of_its_logit(dtype, device):
    gg.manual_seed(3)
    logits = gg.tensor(np.log(np.array([[0.1], [0.2], [0.7]], dtype)), device=device)
    logits = (logits + gg.zeros((3, 4000), dtype=dtype, device=device)).requires_grad_()
    y = F.gumbel_softmax(logits, tau=0.5, hard=True, dim=0)
    assert y.dtype == dtype
    found = host(y.detach()).astype(np.float64)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-3)
    np.testing.assert_allclose(found.mean(axis=1), [0.1, 0.2, 0.7], atol=0.03)
    y[0].sum().backward()
    assert 0 < abs(host(logits.grad)).max() < np.inf
    soft = host(F.gumbel_softmax(logits, axis=0))
    assert np.isfinite(soft).all()


def test_softmax_over_channels(device, rng):
    x = rng.standard_normal((2, 3, 4, 5))
    for images in (x, x[0]):
        y = gg.nn.Softmax2d()(gg.tensor(images, device=device))
        np.testing.assert_allclose(host(y).sum(axis=-3), 1)
    with pytest.raises(gg.ShapeError, match=r"Softmax2d: expected images, .* got shape \(2, 3\)"):
        gg.nn.Softmax2d()(gg.ones((2, 3)))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: F.glu(gg.ones((2, 3))), gg.ShapeError, r"glu: axis -1 .* even size.* \(2, 3\)"),
        (lambda: F.glu(gg.ones((2, 4)), 2), gg.ShapeError, "glu: axis 2 must exist"),
        (lambda: F.glu(gg.ones((2, 4)), 1, dim=1), ValueError, "glu: axis and dim are the same"),
        (lambda: F.prelu(gg.ones((2, 3)), gg.ones(2)), gg.ShapeError, r"prelu: .* 3, one for each"),
        (lambda: gg.nn.PReLU(0), gg.ShapeError, "PReLU: num_parameters must be 1 or"),
        (lambda: F.gumbel_softmax(gg.ones(2), 0.0), ValueError, "tau must be positive, got 0.0"),
        (lambda: F.celu(gg.ones(2), alpha=0), ValueError, "alpha must not be 0, got 0"),
        (lambda: F.softplus(gg.ones(2), beta=0.0), ValueError, "beta must not be 0, got 0.0"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
