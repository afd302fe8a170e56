"""Values and derivatives far out, at infinities and at NaN: PyTorch's figures, or mathematics'."""

import math

import numpy as np
import pytest
from arrays import host, made

import gpugrad as gg

F = gg.nn.functional
INF, NAN = math.inf, math.nan


def value_and_slopes(f, *numbers, device, dtype=np.float64):
    """f at vectors, and the gradient of its sum by each of them."""
    xs = [made(numbers_of_one, device, dtype=dtype) for numbers_of_one in numbers]
    y = f(*xs)
    slopes = gg.gradients(y.sum(), xs)
    return host(y), *map(host, slopes if isinstance(slopes, tuple | list) else [slopes])


def slope(f, numbers, device, dtype=np.float64):
    return value_and_slopes(f, numbers, device=device, dtype=dtype)[1]


@pytest.mark.parametrize(
    ("dtype", "far"), [("float64", [-700.0, -40.0]), ("float32", [-80.0, -20.0])]
)
@pytest.mark.parametrize(
    "f", [F.elu, gg.expm1, lambda x: F.elu(x, 1.0)], ids=["elu", "expm1", "alpha"]
)
def test_exponential_tails_keep_their_digits(f, dtype, far, device):
    right = np.exp(np.array(far, dtype))
    error = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(slope(f, far, device, dtype), right, rtol=error)


def test_the_layer_with_elu_keeps_them_too(device):
    layer = gg.nn.Sequential(gg.nn.Linear(1, 1, bias=False, device=device), gg.nn.ELU())
    layer[0].weight.detach().data[...] = 1.0
    x = made([[-20.0]], device, dtype=np.float32)
    np.testing.assert_allclose(host(gg.gradients(layer(x).sum(), x)), [[np.exp(-20.0)]], rtol=1e-5)


def test_inverse_hyperbolic_functions_of_large_numbers(device):
    far = np.array([1e200, 1e160, 3.0])
    right = 1 / np.sqrt(np.array([0, 0, 1]) + np.array([INF, INF, 9]))
    right[:2] = 1 / far[:2]
    np.testing.assert_allclose(slope(gg.arcsinh, far, device), right, rtol=1e-12)
    np.testing.assert_allclose(slope(gg.arcsinh, -far, device), right, rtol=1e-12)
    right[2] = 1 / math.sqrt(8)
    np.testing.assert_allclose(slope(gg.arccosh, far, device), right, rtol=1e-12)
    half = made([30000.0], device, dtype=np.float16)
    for f in (gg.arcsinh, gg.arccosh):
        np.testing.assert_allclose(host(gg.gradients(f(half).sum(), half)), 1 / 30000, rtol=5e-3)


def test_the_second_derivative_of_arcsinh_far_out(device):
    x = made([1e150, -3.0, 0.0], device)
    (first,) = gg.gradients(gg.arcsinh(x).sum(), [x], create_graph=True)
    right = [-0.0, 3 / 10**1.5, 0]
    np.testing.assert_allclose(host(gg.gradients(first.sum(), x)), right, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(
    ("f", "poles"), [(gg.special.xlogy, [-1, 0]), (gg.special.xlog1py, [-2, -1])]
)
def test_zero_times_a_logarithm_that_does_not_exist(f, poles, device):
    value, by_a, by_b = value_and_slopes(f, [0.0, 0.0], poles, device=device)
    assert value.tolist() == by_a.tolist() == by_b.tolist() == [0, 0]
    with np.errstate(all="ignore"):
        value, by_a, _ = value_and_slopes(f, [0.0, 2.0], [NAN, poles[0]], device=device)
    assert np.isnan(value).all()
    assert np.isnan(by_a).all()


BCE = F.binary_cross_entropy_with_logits


def test_a_certain_and_right_prediction_costs_nothing(device):
    for logit, target, loss in ((INF, 1, 0), (-INF, 0, 0), (INF, 0, INF), (-INF, 1, INF)):
        x, t = made([logit], device), made([target], device, requires_grad=False)
        for words in ({}, {"pos_weight": 3.0}):
            y = BCE(x, t, **words)
            assert y.item() == loss
            if not loss:
                assert gg.gradients(y, x).item() == 0
    assert math.isnan(BCE(made([NAN], device), made([1.0], device)).item())


def test_a_target_that_is_learned_keeps_its_gradient(device):
    x, t = made([2.0, -1.0], device), made([1.0, 0.0], device)
    loss = BCE(x, t, reduction="sum")
    np.testing.assert_allclose(host(gg.gradients(loss, t)), [-2, 1], rtol=1e-12)
    logits, target = made([[2.0, -INF]], device), made([[1.0, 0.0]], device)
    loss = F.cross_entropy(logits, target)
    assert loss.item() == 0
    np.testing.assert_allclose(host(gg.gradients(loss, target)), [[0, INF]])


@pytest.mark.parametrize("smoothing", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("target", ["class", "probabilities"])
def test_label_smoothing_as_a_tensor_has_a_gradient(smoothing, target, device):
    logits, epsilon = made([[1.0, 3.0]], device), made(smoothing, device)
    goal = [0] if target == "class" else made([[1.0, 0.0]], device, requires_grad=False)
    loss = F.cross_entropy(logits, goal, label_smoothing=epsilon)
    # (1 - ε) (L - 1) + ε (L - 2), with L = log(e + e³): -1 by ε.
    assert gg.gradients(loss, epsilon).item() == pytest.approx(-1, rel=1e-6)
    assert loss.item() == pytest.approx(
        F.cross_entropy(logits, goal, label_smoothing=smoothing).item()
    )


def test_label_smoothing_out_of_range_is_an_error_where_the_host_can_look():
    for epsilon in (-0.1, 1.5, gg.tensor(1.5)):
        with pytest.raises(ValueError, match="label_smoothing must be from 0 to 1"):
            F.cross_entropy(gg.zeros((1, 2)), [0], label_smoothing=epsilon)


def test_a_variance_without_freedom_is_infinite_as_in_numpy(device):
    x = made([1.0, 2.0, 4.0], device)
    for correction in (3, 4):
        for f in (gg.var, gg.std):
            assert f(x, correction=correction).item() == INF
    assert host(gg.gradients(gg.var(x, correction=3), x)).tolist() == [-INF, -INF, INF]
    assert math.isnan(gg.var(made([1.0, 1.0], device), correction=2).item())
    assert math.isnan(gg.var(made([], device)).item())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("size", [4, 4000])  # few and many elements take two ways on the host
def test_relu_at_nan(dtype, size, device):
    x = np.resize([NAN, -1.0, 0.0, 2.0], size)
    value, by_x = value_and_slopes(F.relu, x, device=device, dtype=dtype)
    np.testing.assert_array_equal(value, np.resize([NAN, 0, 0, 2], size))
    np.testing.assert_array_equal(by_x, np.resize([1, 0, 0, 1], size))
    _, tangent = gg.jvp(
        F.relu, (gg.tensor(x, device=device),), (gg.ones(size, device=device, dtype="float64"),)
    )
    np.testing.assert_array_equal(host(tangent), by_x)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("f", [gg.maximum, gg.minimum], ids=["maximum", "minimum"])
def test_maximum_and_minimum_at_nan(f, dtype, device):
    a, b = [NAN, 1.0, NAN, 2.0], [1.0, NAN, NAN, 2.0]
    value, by_a, by_b = value_and_slopes(f, a, b, device=device, dtype=dtype)
    np.testing.assert_array_equal(value, [NAN, NAN, NAN, 2])
    assert by_a.tolist() == by_b.tolist() == [1, 1, 1, 0.5]
    _, by_a = value_and_slopes(lambda x: f(x, 1.0), [NAN, 1.0], device=device, dtype=dtype)
    assert by_a.tolist() == [1, 0.5]


@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 0), -1), ((0, 3), 0), ((0, 3), -1), ((2, 0, 3), (1, 2))]
)
def test_softmax_and_its_relatives_along_an_empty_axis(shape, axis, device):
    x = gg.zeros(shape, device=device, requires_grad=True)
    for f in (gg.softmax, gg.log_softmax):
        y = f(x, axis=axis)
        assert y.shape == shape
        assert gg.gradients(y.sum(), x).shape == shape
    y = gg.logsumexp(x, axis=axis)
    right = np.log(np.zeros(shape).sum(axis) + 1e-300) * INF
    np.testing.assert_array_equal(host(y), right)
    assert gg.gradients(y.sum(), x).shape == shape
