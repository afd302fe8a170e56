"""Models as functions of their parameters: one, per sample, and ensembles."""

import numpy as np
import pytest
from devices import DEVICES

import gpugrad as gg
from gpugrad.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(2)


def model_of(device="cpu"):
    layers = gg.nn.Linear(3, 4), gg.nn.Tanh(), gg.nn.LayerNorm(4), gg.nn.Linear(4, 2)
    return gg.nn.Sequential(*layers).to(device)


def close(a, b):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_per_sample_gradients_of_a_model(device):
    model = model_of(device)
    x = gg.tensor(RNG.normal(size=(5, 3)), dtype="float32", device=device)
    y = gg.tensor(np.array([0, 1, 1, 0, 1]), device=device)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters, x, y):
        return gg.nn.functional.cross_entropy(gg.functional_call(model, parameters, x), y)

    slopes = gg.vmap(gg.grad(loss), in_axes=(None, 0, 0))(parameters, x, y)
    for index in range(5):
        model.zero_grad()
        gg.nn.functional.cross_entropy(model(x[index]), y[index]).backward()
        for name, p in model.named_parameters():
            close(slopes[name][index], p.grad)


@pytest.mark.parametrize("device", DEVICES)
def test_an_ensemble(device):
    models = [model_of(device) for _ in range(3)]
    stacked = gg.stack_parameters(models)
    x = gg.tensor(RNG.normal(size=(5, 3)), dtype="float32", device=device)
    run = lambda parameters, x: gg.functional_call(models[0], parameters, x)  # noqa: E731
    y = gg.vmap(run, in_axes=(0, None))(stacked, x)
    (y**2).sum().backward()
    for index, model in enumerate(models):
        own = model(x)
        close(y[index], own)
        (own**2).sum().backward()
        for name, p in model.named_parameters():
            close(stacked[name].grad[index], p.grad)


def test_shared_parameters_and_the_models_own():
    model = gg.nn.Sequential(gg.nn.Linear(2, 2, bias=False), gg.nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    before = model[0].weight
    with pytest.raises(TypeError):
        gg.functional_call(model, {"0.weight": np.eye(2, dtype="float32")}, ())
    y = gg.functional_call(model, {"0.weight": 3 * np.eye(2, dtype="float32")}, gg.ones(2))
    assert y.tolist() == [9.0, 9.0]
    assert model[0].weight is before is model[1].weight


def test_errors_are_sentences():
    model = gg.nn.Linear(2, 1)
    with pytest.raises(
        ArgumentError, match="Linear has no parameter 'wieght'. It has weight, bias"
    ):
        gg.functional_call(model, {"wieght": 1.0}, gg.ones(2))
    with pytest.raises(ShapeError, match=r"weight has the shape \(1, 2\), got \(2,\)"):
        gg.functional_call(model, {"weight": [1.0, 2.0]}, gg.ones(2))
    with pytest.raises(ShapeError, match="model 1 has others than model 0"):
        gg.stack_parameters([model, gg.nn.Linear(3, 1)])
    with pytest.raises(ArgumentError, match="got none"):
        gg.stack_parameters([])
