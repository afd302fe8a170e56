"""Ops at the ends of their domains: overflow, infinities, ties, the branch not taken.

What holds there for all ops of the table is in test_zeros.py.
"""

import math

import numpy as np
import pytest
from arrays import host

import gpugrad as gg

INF = math.inf


def made(values, device, dtype=np.float64):
    return gg.tensor(np.array(values, dtype=dtype), device=device, requires_grad=True)


def slopes(f, values, device, dtype=np.float64):
    """The gradient of sum(f(x)); NumPy's warnings about forward values are off."""
    x = made(values, device, dtype)
    with np.errstate(all="ignore"):
        y = f(x).sum()
    y.backward()
    return host(x.grad)


# The ends.


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "ends", "slope"),
    [
        ("sigmoid", [0, 1], [0, 0]),
        ("tanh", [-1, 1], [0, 0]),
        ("softplus", [0, 1000], [0, 1]),
        ("relu", [0, 1000], [0, 1]),
        ("silu", [0, 1000], [0, 1]),
        ("elu", [-1, 1000], [0, 1]),
        ("gelu", [0, 1000], [0, 1]),
        ("erf", [-1, 1], [0, 0]),
    ],
)
def test_saturating_functions_at_a_thousand(name, ends, slope, dtype, device):
    x = made([-1000, 1000], device, dtype)
    with np.errstate(over="ignore"):  # x * x of float16
        y = getattr(gg, name)(x)
    y.sum().backward()
    np.testing.assert_array_equal(host(y), np.array(ends, dtype))
    np.testing.assert_array_equal(host(x.grad), np.array(slope, dtype))


def test_the_tanh_form_of_gelu_has_a_gradient_where_its_cube_overflows(device):
    for dtype, size in ((np.float16, 300), (np.float64, 1e200)):
        found = slopes(lambda x: gg.gelu(x, approximate="tanh"), [-size, size], device, dtype)
        np.testing.assert_array_equal(found, [0, 1])


def test_erf_is_that_of_the_standard_library(device):
    xs = np.concatenate(
        [np.linspace(-7, 7, 1501), [0.46875, 4.0, 5.9, 1e-300, 1e300, 0.0, INF, -INF]]
    )
    exact = [math.erf(x) for x in xs]
    found = host(gg.erf(gg.tensor(xs, device=device)))
    np.testing.assert_allclose(found, exact, rtol=1e-15, atol=1e-15)
    assert np.isnan(host(gg.erf(gg.tensor(np.array([np.nan]), device=device))))[0]


# Sums of exponentials.


def test_logsumexp_of_large_numbers(device):
    x = made([[1000.0, 1000.0], [-1000.0, -1001.0]], device)
    y = gg.logsumexp(x, axis=1)
    expected = [1000 + math.log(2), -1000 + math.log1p(math.exp(-1))]
    np.testing.assert_allclose(host(y), expected, rtol=1e-15)
    y.sum().backward()
    p = 1 / (1 + math.exp(-1))
    np.testing.assert_allclose(host(x.grad), [[0.5, 0.5], [p, 1 - p]], rtol=1e-12)


def test_logsumexp_of_nothing_but_minus_infinity(device):
    """No warning, -inf, and gradients that are 0: to first and second order."""
    x = made([[-INF, -INF], [-INF, 2.0]], device)
    y = gg.logsumexp(x, axis=-1)
    np.testing.assert_array_equal(host(y), [-INF, 2.0])
    y.sum().backward(retain_graph=True)
    np.testing.assert_array_equal(host(x.grad), [[0, 0], [0, 1]])
    slope = gg.gradients(y.sum(), x, create_graph=True)
    np.testing.assert_array_equal(host(gg.gradients((slope * slope).sum(), x)), np.zeros((2, 2)))


def test_logsumexp_of_infinity_has_no_definite_gradient(device):
    x = made([INF, 0.0], device)
    y = gg.logsumexp(x)
    assert y.item() == INF
    y.backward()
    found = host(x.grad)
    assert np.isnan(found[0])  # as in PyTorch
    assert found[1] == 0


def test_softmax_of_large_numbers_and_of_minus_infinity(device):
    x = made([[1e300, 0.0], [-INF, 3.0]], device)
    y = gg.softmax(x)
    np.testing.assert_array_equal(host(y), [[1, 0], [0, 1]])
    (y * gg.tensor(np.array([1.0, 2.0]), device=device)).sum().backward()
    np.testing.assert_array_equal(host(x.grad), np.zeros((2, 2)))


def test_log_softmax_of_ties_and_of_minus_infinity(device):
    x = made([[5e8, 5e8, 5e8], [-INF, 0.0, 0.0]], device)
    y = gg.log_softmax(x)
    third, half = -math.log(3), -math.log(2)
    np.testing.assert_allclose(host(y), [[third] * 3, [-INF, half, half]], rtol=1e-15)
    y[:, 2].sum().backward()
    np.testing.assert_allclose(host(x.grad), [[-1 / 3, -1 / 3, 2 / 3], [0, -0.5, 0.5]], rtol=1e-14)


# Ties.


@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_that_tie_share_the_gradient(name, device):
    x = made([[2.0, 2.0, 2.0], [-1.0, -1.0, 5.0]], device)
    sign = 1 if name == "max" else -1
    (getattr(gg, name)(x * sign, axis=1) * sign).sum().backward()
    third = 1 / 3
    wanted = [[third] * 3, [0, 0, 1]]
    np.testing.assert_allclose(host(x.grad), wanted)
    x = made([[2.0, 7.0], [7.0, 7.0]], device)
    (getattr(gg, name)(x * sign) * sign).backward()
    np.testing.assert_allclose(host(x.grad), [[0, third], [third, third]])


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_of_two_operands_that_tie_each_gets_half(name, device):
    a, b = made([1.0, 2.0], device), made([1.0, 2.0], device)
    getattr(gg, name)(a, b).sum().backward()
    np.testing.assert_array_equal(host(a.grad), [0.5, 0.5])
    np.testing.assert_array_equal(host(b.grad), [0.5, 0.5])
    np.testing.assert_array_equal(slopes(lambda x: getattr(gg, name)(x, x), [3.0], device), [1.0])


def test_values_at_a_bound_of_clip_keep_their_gradient(device):
    found = slopes(lambda x: gg.clip(x, -1.0, 2.0), [-2.0, -1.0, 0.0, 2.0, 3.0], device)
    np.testing.assert_array_equal(found, [0, 1, 1, 1, 0])


def test_steps_have_no_slope_and_abs_none_at_zero(device):
    for name in ("sign", "floor", "ceil", "trunc", "round"):
        found = slopes(getattr(gg, name), [-1.5, 0.0, 0.5, 2.0], device)
        np.testing.assert_array_equal(found, np.zeros(4))
    np.testing.assert_array_equal(slopes(gg.abs, [-2.0, 0.0, 2.0], device), [-1, 0, 1])
    np.testing.assert_array_equal(slopes(gg.relu, [-2.0, 0.0, 2.0], device), [0, 0, 1])


# float16.


@pytest.mark.parametrize("axis", [None, 0])
def test_float16_is_summed_in_a_wider_type(axis, device):
    ones = gg.ones((5000, 1), dtype=gg.float16, device=device)
    total = gg.sum(ones, axis=axis)
    assert total.dtype == np.float16
    assert total.item() == 5000  # in float16 the sum would stop at 2048


def test_mean_and_variance_of_float16_do_not_overflow(device):
    x = gg.tensor((np.arange(10000) % 2 * 200).astype(np.float16), device=device)
    x.requires_grad_()
    mean, var, std = x.mean(), x.var(), x.std()
    assert mean.dtype == var.dtype == std.dtype == np.float16
    assert (mean.item(), var.item(), std.item()) == (100.0, 10000.0, 100.0)
    (mean + std).backward()
    assert x.grad.dtype == np.float16
    assert np.isfinite(host(x.grad)).all()


# A branch that is not taken turns no gradient into NaN.

UNUSED = {
    "sqrt": (lambda x: gg.where(x > 0, gg.sqrt(x), 0), [-1.0, 0.0, 4.0], [0, 0, 0.25]),
    "log": (lambda x: gg.where(x > 0, gg.log(x), 0), [-1.0, 0.0, 4.0], [0, 0, 0.25]),
    "log1p": (lambda x: gg.where(x > -1, gg.log1p(x), 0), [-2.0, -1.0, 3.0], [0, 0, 0.25]),
    "log2": (lambda x: gg.where(x > 0, gg.log2(x) * math.log(2), 0), [0.0, 4.0], [0, 0.25]),
    "log10": (lambda x: gg.where(x > 0, gg.log10(x) * math.log(10), 0), [0.0, 4.0], [0, 0.25]),
    "power": (lambda x: gg.where(x > 0, x**0.5, 0), [-1.0, 0.0, 4.0], [0, 0, 0.25]),
    "negative power": (lambda x: gg.where(x > 0, x**-1.0, 0), [0.0, 2.0], [0, -0.25]),
    "tensor power": (
        lambda x: gg.where(x > 0, x ** gg.full_like(x, 0.5), 0),
        [-1.0, 0.0, 4.0],
        [0, 0, 0.25],
    ),
    "number over x": (lambda x: gg.where(x != 0, 1 / x, 0), [0.0, 2.0], [0, -0.25]),
    "x over x": (lambda x: gg.where(x != 0, x / x, 0), [0.0, 2.0], [0, 0]),
    "reciprocal": (lambda x: gg.where(x != 0, gg.reciprocal(x), 0), [0.0, 2.0], [0, -0.25]),
    "arccos": (lambda x: gg.where(abs(x) < 1, gg.arccos(x), 0), [1.0, 0, -1.0, 2.0], [0, -1, 0, 0]),
    "arcsin": (lambda x: gg.where(abs(x) < 1, gg.arcsin(x), 0), [1.0, 0, -1.0, 2.0], [0, 1, 0, 0]),
    "arccosh": (lambda x: gg.where(x > 1, gg.arccosh(x), 0), [1.0, 0.0], [0, 0]),
    "arctanh": (lambda x: gg.where(abs(x) < 1, gg.arctanh(x), 0), [1.0, 0.0, -1.0], [0, 1, 0]),
    "exp": (lambda x: gg.where(x < 9, gg.exp(x), 0), [1e4, 0.0], [0, 1]),
    "norm": (
        lambda x: gg.where((x * x).sum() > 0, gg.sqrt((x * x).sum()), 0),
        [0.0, 0.0],
        [0, 0],
    ),
    "x over its norm": (
        lambda x: gg.where((x * x).sum() > 0, x / gg.sqrt((x * x).sum()), 0),
        [0.0, 0.0],
        [0, 0],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNUSED)
def test_the_branch_not_taken_makes_no_nan(case, device):
    f, values, wanted = UNUSED[case]
    np.testing.assert_allclose(slopes(f, values, device), wanted, rtol=1e-14)


@pytest.mark.parametrize("case", UNUSED)
def test_nor_where_the_gradient_is_recorded(case, device):
    f, values, wanted = UNUSED[case]
    x = made(values, device)
    with np.errstate(all="ignore"):
        y = f(x).sum()
    slope = gg.gradients(y, x, create_graph=True)
    np.testing.assert_allclose(host(slope), wanted, rtol=1e-14)


def test_an_exponent_has_a_finite_gradient_where_the_base_is_zero_or_not_used(device):
    a = gg.tensor(np.array([-1.0, 0.0, 2.0]), device=device)
    with np.errstate(invalid="ignore"):
        found = slopes(lambda t: gg.where(a > 0, a**t, 0), [0.5, 0.5, 0.5], device)
    np.testing.assert_allclose(found, [0, 0, math.sqrt(2) * math.log(2)])
    np.testing.assert_array_equal(slopes(lambda t: a[1:2] ** t, [2.0], device), [0])
    np.testing.assert_array_equal(slopes(lambda t: 0.0**t, [2.0], device), [0])
    found = slopes(lambda t: gg.where(t > 9, (-2.0) ** t, 0), [0.5], device)
    np.testing.assert_array_equal(found, [0])


def test_powers_at_base_zero(device):
    for exponent, slope in ((0, 0), (1, 1), (2, 0), (3, 0), (1.5, 0)):
        np.testing.assert_array_equal(slopes(lambda x, e=exponent: x**e, [0.0], device), [slope])
        np.testing.assert_array_equal(
            slopes(lambda x, e=exponent: x ** gg.full_like(x, float(e)), [0.0], device), [slope]
        )


def test_std_of_equal_numbers_has_gradient_zero(device):
    np.testing.assert_array_equal(slopes(gg.std, [3.0, 3.0, 3.0], device), [0, 0, 0])


# At a singular point a derivative is what mathematics makes of it, in both orders: never a 0 that
# looks like a number.
SINGULAR = {
    "sqrt at 0": (gg.sqrt, [0.0], INF),
    "sum of squares under a root at 0": (lambda x: gg.sqrt((x * x).sum()), [0.0, 0.0], math.nan),
    "x over its norm at 0": (lambda x: x / gg.linalg.norm(x), [0.0, 0.0], math.nan),
    "square of a root at 0": (lambda x: gg.sqrt(x) ** 2, [0.0], math.nan),
    "x ** 0.5 at 0": (lambda x: x**0.5, [0.0], INF),
    "x ** tensor at 0": (lambda x: x ** gg.full_like(x, 0.5), [0.0], INF),
    "arccos at 1": (gg.arccos, [1.0, -1.0], -INF),
    "arcsin at 1": (gg.arcsin, [1.0, -1.0], INF),
    "arccosh at 1": (gg.arccosh, [1.0], INF),
    "log at 0": (gg.log, [0.0], INF),
    "1 / x at 0": (lambda x: 1 / x, [0.0], -INF),
    "x / x at 0": (lambda x: x / x, [0.0], math.nan),
    "angle of a point at 0": (lambda x: gg.arctan2(x, x), [0.0], math.nan),
    "cube root at 0": (gg.cbrt, [0.0], INF),
}


@pytest.mark.parametrize("case", SINGULAR)
def test_a_singular_point_is_infinite_or_nan_in_both_orders(case, device):
    f, values, wanted = SINGULAR[case]
    np.testing.assert_array_equal(slopes(f, values, device), np.full(len(values), wanted))
    x = made(values, device)
    with np.errstate(all="ignore"):
        y = f(x).sum()
    slope = gg.gradients(y, x, create_graph=True)
    assert not np.isfinite(host(gg.gradients(slope.sum(), x))).any()


# Kinks: the documented slope at first order. A second derivative is 0 for what consists of straight
# pieces, and NaN where the slope is that of no formula.
KINKS = {
    "abs": (gg.abs, [0.0], 0, 0),
    "relu": (gg.relu, [0.0], 0, 0),
    "leaky_relu": (gg.leaky_relu, [0.0], 0.01, 0),
    "maximum": (lambda x: gg.maximum(x, 0.0), [0.0], 0.5, 0),
    "max": (gg.max, [2.0, 2.0], 0.5, 0),
    "clip": (lambda x: gg.clip(x, 0.0, 1.0), [0.0, 1.0], 1, 0),
    "l1_loss": (lambda x: gg.nn.functional.l1_loss(x, gg.zeros_like(x), "sum"), [0.0], 0, 0),
    "hinge": (lambda x: gg.maximum(0.0, 1 - x), [1.0], -0.5, 0),
    "largest of abs": (lambda x: gg.linalg.norm(x, ord=INF), [0.0, 0.0], 0, 0),
    "sum of abs": (lambda x: gg.linalg.norm(x, ord=1), [0.0, 0.0], 0, 0),
    "norm": (gg.linalg.norm, [0.0, 0.0], 0, math.nan),
    "norm of order 3": (lambda x: gg.linalg.norm(x, ord=3), [0.0, 0.0], 0, math.nan),
    "norm of a matrix": (
        lambda x: gg.linalg.norm(x.reshape((1, 2)), "fro"), [0.0, 0.0], 0, math.nan
    ),
    "square of a norm": (lambda x: gg.linalg.norm(x) ** 2, [0.0, 0.0], 0, math.nan),
    "hypot": (lambda x: gg.hypot(x, x), [0.0], 0, math.nan),
    "std": (gg.std, [3.0, 3.0, 3.0], 0, math.nan),
    "nanstd": (gg.nanstd, [3.0, 3.0, 3.0], 0, math.nan),
}  # fmt: skip


@pytest.mark.parametrize("case", KINKS)
def test_a_kink_has_the_slope_that_is_documented(case, device):
    f, values, wanted, bend = KINKS[case]
    np.testing.assert_array_equal(slopes(f, values, device), np.full(len(values), wanted))
    x = made(values, device)
    slope = gg.gradients(f(x).sum(), x, create_graph=True)
    found = gg.gradients(slope[0], x, allow_unused=True) if slope.requires_grad else None
    np.testing.assert_array_equal(0 if found is None else host(found), np.full(len(values), bend))


# Where a formula might multiply 0 by infinity, or divide by what goes to 0, and mathematics does
# not: a function of one number, the point, and its derivatives from the first on.
EXACT = {
    "x ** 3": (lambda x: x**3, 0.0, [0, 0, 6]),
    "x ** 4": (lambda x: x**4.0, 0.0, [0, 0, 0, 24]),
    "x to an array": (lambda x: x ** gg.full_like(x, 3.0), 0.0, [0, 0, 6, 0]),
    "x * x at infinity": (lambda x: x * x, INF, [INF, 2]),
    "square at infinity": (gg.square, -INF, [-INF, 2]),
    "product with zeros": (lambda x: gg.prod(gg.concat([x, x, x * 0 + 5]), keepdims=True), 0.0,
                           [0, 10, 0]),
    "running product": (lambda x: gg.cumprod(gg.concat([x, x, x]))[2:], 0.0, [0, 0, 6]),
    "sinc": (gg.sinc, 0.0, [0, -(math.pi**2) / 3, 0, math.pi**4 / 5]),
    "arcsin at 1": (gg.arcsin, 1.0, [INF, INF]),
    "arccos at -1": (gg.arccos, -1.0, [-INF, INF]),
    "arccosh at 1": (gg.arccosh, 1.0, [INF, -INF]),
    "arctanh at -1": (gg.arctanh, -1.0, [INF, -INF]),
    "log of 0": (gg.log, 0.0, [INF, -INF, INF]),
    "tanh far out": (gg.tanh, 1e300, [0, 0, 0]),
    "sigmoid far out": (gg.sigmoid, -1e300, [0, 0, 0]),
    "erf far out": (gg.erf, 1e300, [0, 0, 0]),
    "gelu far out": (gg.gelu, 1e300, [1, 0, 0]),
    "tanh form of gelu far out": (lambda x: gg.gelu(x, approximate="tanh"), 1e300, [1, 0, 0]),
    "norm beside a zero": (lambda x: gg.linalg.norm(gg.concat([x, x * 0 + 2]), keepdims=True), 0.0,
                           [0, 0.5, 0]),
    "norm of order 4 beside a zero": (
        lambda x: gg.linalg.norm(gg.concat([x, x * 0 + 1]), ord=4, keepdims=True), 0.0, [0, 0, 0, 6]
    ),
    "largest of -inf": (lambda x: gg.logsumexp(gg.concat([x, x * 0 - INF]), keepdims=True), 2.0,
                        [1, 0]),
    "logaddexp of -inf": (lambda x: gg.logaddexp(x, -INF), 2.0, [1, 0, 0]),
}  # fmt: skip


@pytest.mark.parametrize("case", EXACT)
def test_derivatives_of_every_order_are_those_of_mathematics(case, device):
    f, point, wanted = EXACT[case]
    x = made([point], device)
    with np.errstate(all="ignore"):
        y = f(x)
        for slope in wanted:
            y = gg.gradients(y.sum(), x, create_graph=True, allow_unused=True)
            assert y is not None or slope == 0
            if y is None:
                break
            np.testing.assert_allclose(host(y), [slope], rtol=1e-12, atol=1e-14)
            if not y.requires_grad:
                break


def test_the_hessian_of_a_variance_of_equal_numbers_is_exact(device):
    x = made([3.0, 3.0, 3.0], device)
    slope = gg.gradients(gg.var(x), x, create_graph=True)
    rows = [host(gg.gradients(slope[i], x, retain_graph=True)) for i in range(3)]
    np.testing.assert_allclose(rows, (np.eye(3) - 1 / 3) * 2 / 3, rtol=1e-15)
