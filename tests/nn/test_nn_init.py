"""gg.nn.init: ranges, spreads, fans, and the same numbers on every device."""

import math

import numpy as np
import pytest
from arrays import host

import gpugrad as gg
from gpugrad.nn import init

DEVICES = ["cpu", "sim", *(["cuda"] if gg.cuda.is_available() else [])]


def filled(name, shape=(200, 300), device="cpu", seed=3, **words):
    tensor = gg.empty(shape, dtype="float64", device=device)
    generator = gg.random.Generator(seed)
    made = getattr(init, name)(tensor, generator=generator, **words)
    assert made is tensor
    return host(tensor)


# (200, 300): fan_in 300, fan_out 200. Bounds and deviations as the papers state them.
UNIFORM = [
    ("uniform_", {"a": -2.0, "b": 3.0}, -2.0, 3.0),
    ("xavier_uniform_", {}, -math.sqrt(6 / 500), math.sqrt(6 / 500)),
    ("xavier_uniform_", {"gain": 2.0}, -2 * math.sqrt(6 / 500), 2 * math.sqrt(6 / 500)),
    ("kaiming_uniform_", {}, -math.sqrt(6 / 300), math.sqrt(6 / 300)),
    ("kaiming_uniform_", {"mode": "fan_out"}, -math.sqrt(6 / 200), math.sqrt(6 / 200)),
    ("kaiming_uniform_", {"a": math.sqrt(5)}, -1 / math.sqrt(300), 1 / math.sqrt(300)),
    ("kaiming_uniform_", {"nonlinearity": "linear"}, -math.sqrt(3 / 300), math.sqrt(3 / 300)),
]


@pytest.mark.parametrize(("name", "words", "low", "high"), UNIFORM)
def test_uniform(name, words, low, high):
    values = filled(name, **words)
    width = high - low
    assert values.min() >= low
    assert values.max() <= high
    assert values.min() < low + 0.001 * width  # the whole range is used
    assert values.max() > high - 0.001 * width
    assert abs(values.mean() - (low + high) / 2) < 0.01 * width


NORMAL = [
    ("normal_", {"mean": 2.0, "std": 3.0}, 2.0, 3.0),
    ("xavier_normal_", {}, 0.0, math.sqrt(2 / 500)),
    ("xavier_normal_", {"gain": 5 / 3}, 0.0, 5 / 3 * math.sqrt(2 / 500)),
    ("kaiming_normal_", {}, 0.0, math.sqrt(2 / 300)),
    ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}, 0.0, math.sqrt(2 / 200)),
    ("kaiming_normal_", {"a": 1.0}, 0.0, math.sqrt(1 / 300)),
]


@pytest.mark.parametrize(("name", "words", "mean", "std"), NORMAL)
def test_normal(name, words, mean, std):
    values = filled(name, **words)
    assert abs(values.mean() - mean) < 0.02 * std
    assert values.std() == pytest.approx(std, rel=0.01)
    assert abs(values - mean).max() > 3 * std  # not a uniform of that deviation


def test_fans_of_a_convolution():
    # (8 outputs, 4 inputs, 3 × 5): 60 numbers make one output, one input goes into 120.
    values = filled("kaiming_uniform_", shape=(8, 4, 3, 5))
    assert np.abs(values).max() == pytest.approx(math.sqrt(6 / 60), rel=0.02)
    values = filled("kaiming_uniform_", shape=(8, 4, 3, 5), mode="fan_out")
    assert np.abs(values).max() == pytest.approx(math.sqrt(6 / 120), rel=0.02)


@pytest.mark.parametrize("name", [name for name, _, _, _ in UNIFORM[:2] + UNIFORM[3:4]])
def test_the_same_on_every_device(name):
    first, *others = [filled(name, (13, 7), device) for device in DEVICES]
    for other in others:
        assert (other == first).all()


@pytest.mark.parametrize("name", ["normal_", "xavier_normal_", "kaiming_normal_"])
def test_normal_is_the_same_on_every_device_but_for_rounding(name):
    first, *others = [filled(name, (13, 7), device) for device in DEVICES]
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-12, atol=1e-12)


def test_without_a_generator_the_default_one_is_drawn_from():
    gg.manual_seed(3)
    made = host(init.xavier_uniform_(gg.empty((4, 5), dtype="float64")))
    assert (made == filled("xavier_uniform_", (4, 5))).all()


def test_constants(device):
    tensor = gg.empty((2, 2))
    assert init.constant_(tensor, 0.5) is tensor
    assert tensor.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert init.ones_(tensor).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert init.zeros_(tensor).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_a_parameter_is_filled_in_place_while_operations_are_recorded(device):
    parameter = gg.nn.Parameter(gg.empty((3, 2)))
    memory = parameter.data
    init.kaiming_normal_(parameter)
    init.ones_(parameter)
    assert parameter.data is memory
    assert parameter.is_leaf
    assert parameter.requires_grad
    assert parameter.tolist() == [[1.0, 1.0]] * 3


def test_a_graph_that_needs_the_old_values_notices(device):
    parameter = gg.nn.Parameter(gg.ones(3))
    loss = (parameter * parameter).sum()
    init.zeros_(parameter)
    with pytest.raises(gg.GradientError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize(
    "name", ["xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"]
)
def test_what_has_no_fan(name):
    with pytest.raises(gg.ShapeError, match=rf"{name}: expected a weight .* got shape \(3,\)"):
        getattr(init, name)(gg.empty(3))
    with pytest.raises(gg.ShapeError, match=r"shape \(0, 3\) has no elements"):
        getattr(init, name)(gg.empty((0, 3)))


def test_what_cannot_be_filled():
    with pytest.raises(gg.DTypeError, match="uniform_: expected a Tensor to fill, got ndarray"):
        init.uniform_(np.ones(3))
    x = gg.ones(3, requires_grad=True)
    with pytest.raises(gg.GradientError, match="zeros_: .* only a leaf can be filled"):
        init.zeros_(x * 2)


def test_wrong_words():
    with pytest.raises(ValueError, match="mode must be 'fan_in' or 'fan_out', got 'fan'"):
        init.kaiming_uniform_(gg.empty((2, 2)), mode="fan")
    with pytest.raises(ValueError, match="nonlinearity must be one of .*, got 'swish'"):
        init.kaiming_normal_(gg.empty((2, 2)), nonlinearity="swish")
    with pytest.raises(gg.DTypeError, match="generator must be a gg.random.Generator, got int"):
        init.normal_(gg.empty(2), generator=3)


@pytest.mark.parametrize(
    ("nonlinearity", "param", "gain"),
    [
        ("linear", None, 1.0),
        ("sigmoid", None, 1.0),
        ("tanh", None, 5 / 3),
        ("relu", None, math.sqrt(2)),
        ("leaky_relu", None, math.sqrt(2 / 1.0001)),
        ("leaky_relu", 1.0, 1.0),
        ("selu", None, 0.75),
    ],
)
def test_gains(nonlinearity, param, gain):
    assert init.calculate_gain(nonlinearity, param) == pytest.approx(gain, rel=1e-12)
