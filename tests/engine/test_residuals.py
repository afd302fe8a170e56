"""What a forward hands on to its rules: computed once, kept where needed, right in every order."""

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.engine.op import Op
from gpugrad.engine.outputs import ShapeDtype
from gpugrad.functions import FUNCTIONS

CALLS = []
SQUARE_PLUS_1 = Op(
    "test_square_plus_1", lambda xp, x, /: x * x + 1, vjp=[lambda xp, g, y, x: 2 * g * x], saves="x"
)


def _log1p_square(xp, x, weight, /, scale=1.0):
    CALLS.append(x)
    u = x * x + 1
    return scale * weight * xp.log(u), u


@pytest.fixture
def f(make_op):
    """scale * weight * log(x**2 + 1), whose rules take u = x**2 + 1 from the forward."""
    CALLS.clear()
    return make_op(
        _log1p_square,
        [
            lambda xp, g, y, x, weight, u, scale: g * scale * weight * 2 * x / u,
            lambda xp, g, y, x, weight, u, scale: g * scale * xp.log(u),
        ],
        saves=("x weight u", "u"),
        residuals={"u": SQUARE_PLUS_1},
    )


def leaf(*numbers):
    return gg.tensor(np.array(numbers), requires_grad=True)


def test_the_forward_runs_once_and_not_over_tensors(f):
    x, weight = leaf(0.5, -2.0), leaf(1.0, 3.0)
    f(x, weight, 2.0).sum().backward()
    assert len(CALLS) == 1
    np.testing.assert_allclose(x.grad.numpy(), [2 * 2 * 0.5 / 1.25, 2 * 3 * 2 * -2.0 / 5.0])
    np.testing.assert_allclose(weight.grad.numpy(), 2 * np.log([1.25, 5.0]))
    (d,) = gg.gradients([f(x, weight).sum()], [x], create_graph=True)
    d.sum().backward()
    assert len(CALLS) == 2


def test_nobody_needs_them_outside_of_a_graph(f):
    x = leaf(0.5)
    assert f(x.detach(), 2.0).tolist() == [2 * np.log(1.25)]
    with gg.no_grad():
        assert f(x, 2.0).tolist() == [2 * np.log(1.25)]


def test_only_what_a_derivative_needs_is_kept(f):
    x, weight = leaf(0.5), leaf(1.0)
    values = f(x, weight).grad_fn.values
    assert [type(value) for value in values] == [np.ndarray] * 3
    values = f(x.detach(), weight).grad_fn.values
    assert [type(value) is np.ndarray for value in values] == [True, False, True]
    layer_norm = gg.nn.functional.layer_norm
    x = gg.ones((2, 3))
    for given, kept in ((1, True), (2, False)):  # the weight's derivative needs them
        parameters = [gg.ones(3), gg.ones(3)]
        parameters[given - 1].requires_grad_()
        node = layer_norm(x, 3, *parameters).grad_fn
        assert [isinstance(value, np.ndarray) for value in node.values[3:]] == [kept, kept]
        assert all(kept or type(value) is ShapeDtype for value in node.values[3:])


def orders(function, x, count):
    """A function's value and derivatives at a number x, up to an order."""
    found = [function]
    for _ in range(count):
        found.append(gg.grad(found[-1]))
    return [float(one(np.float64(x))) for one in found]


def test_derivatives_to_fourth_order(f):
    x = 0.7
    u = x * x + 1
    expected = [
        np.log(u),
        2 * x / u,
        2 * (1 - x * x) / u**2,
        4 * x * (x * x - 3) / u**3,
        -12 * (x**4 - 6 * x * x + 1) / u**4,
    ]
    np.testing.assert_allclose(orders(lambda t: f(t, 1.0), x, 4), expected, rtol=1e-12)


def test_forward_mode_over_reverse_mode(f):
    x = gg.tensor(np.array([0.7]))
    _, push = gg.jvp(gg.grad(lambda t: f(t, 1.0).sum()), (x,), (gg.ones_like(x),))
    np.testing.assert_allclose(push.numpy(), [2 * (1 - 0.49) / 1.49**2])


def test_a_change_in_place_is_found(f):
    x, weight = leaf(0.5), leaf(1.0)
    y = f(x, weight)
    gg.asarray(y.grad_fn.values[2])[0] = 3.0
    with pytest.raises(gg.GradientError, match="test_op_.* needs its saved value 'u', a float64"):
        y.sum().backward()


def along(function, x, direction, order):
    """d^order/dt^order of function(x + t direction) at t = 0, by the derivatives of the table."""
    start = gg.tensor(x)
    step = gg.tensor(direction)
    line = lambda t: function(start + t * step)  # noqa: E731
    for _ in range(order):
        line = gg.grad(line)
    return float(line(gg.tensor(np.array(0.0))))


def by_differences(function, x, direction, order, step=1e-5):
    """The same, by a central difference of the derivative below it."""
    up, down = (along(function, x + s * direction, direction, order - 1) for s in (step, -step))
    return (up - down) / (2 * step)


LAYERS = {
    "layer_norm": lambda x: (gg.nn.functional.layer_norm(x, 4, x[0], x[1], 0.1) ** 3).sum(),
    "cross_entropy": lambda x: gg.nn.functional.cross_entropy(x, gg.asarray([1, 3, 0])) ** 2,
    "gelu": lambda x: (FUNCTIONS["linear_gelu"](x, x, x[:, 0]) ** 2).sum(),
    "tanh": lambda x: (FUNCTIONS["linear_tanh"](x, x, x[:, 0]) ** 2).sum(),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_layers_to_third_order(name, order, rng, device):
    x, direction = rng.standard_normal((2, 3, 4))
    found = along(LAYERS[name], x, direction, order)
    np.testing.assert_allclose(found, by_differences(LAYERS[name], x, direction, order), rtol=1e-6)
