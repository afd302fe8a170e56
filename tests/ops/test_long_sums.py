"""Sums over more rows than float32 can count: in blocks, wherever a formula adds up.

The arrays are one row or one column repeated without memory of their own, or columns of float32.
"""

import numpy as np
import pytest
from arrays import host

import gpugrad as gg
from gpugrad.backend.sums import BLOCK, ENOUGH, careful_sum

SIZES = [(600, 400), (3, 5 * BLOCK + 7, 2), (70_000,), (1, 1, 4 * ENOUGH + 1), (90, 100, 7)]


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "int8", "bool"])
def test_a_careful_sum_is_a_sum(shape, dtype, rng):
    x = (rng.normal(size=shape) * 4).astype(dtype)
    for view in (x, x.T, x[::-1], x[..., ::2]):
        for axis in (None, 0, -1, tuple(range(x.ndim)), ()):
            for keepdims in (False, True):
                words = {"axis": axis, "keepdims": keepdims}
                ours, own = careful_sum(view, **words), np.sum(view, **words)
                assert (ours.shape, ours.dtype, type(ours)) == (own.shape, own.dtype, type(own))
                wide = "complex128" if x.dtype.kind == "c" else "float64"
                right = np.sum(view.astype(wide), **words)
                error = 2e-3 if dtype == "float16" else 1e-5
                np.testing.assert_allclose(ours, right, rtol=error, atol=error * 100)


@pytest.mark.parametrize("axis", [3, (0, 0), (0, 5), 1.5])
def test_an_axis_that_is_not_there_is_an_error_as_in_numpy(axis):
    x = np.ones((2 * ENOUGH, 2), np.float32)
    with pytest.raises((np.exceptions.AxisError, ValueError, TypeError)) as own:
        np.sum(x, axis)
    with pytest.raises(type(own.value)):
        careful_sum(x, axis)


def many_rows(device):
    """2**25 rows of memory; on a GPU, whose threads are interpreted in tests, as many as needed."""
    return 20_000 if device.kind == "cuda" else 1 << 25


def repeated(row, count, device):
    x = gg.tensor(np.array([row], np.float32), device=device)
    return gg.broadcast_to(x, (count, len(row)))


def test_columns_of_ones_are_counted(device):
    count = many_rows(device)
    x = repeated([1.0, 3.0], count, device)
    np.testing.assert_allclose(host(x.sum(axis=0)), [count, 3.0 * count], rtol=1e-6)
    np.testing.assert_allclose(host(x.mean(axis=0)), [1, 3], rtol=1e-6)


def test_the_gradient_of_a_bias_is_counted(device):
    count = many_rows(device)
    bias = gg.ones(2, device=device, requires_grad=True)
    ones = repeated([1.0, 0.1], count, device)
    for y in (gg.broadcast_to(bias, (count, 2)), gg.broadcast_to(bias[None, :], (count, 2))):
        gradient = gg.gradients(y, bias, ones)
        np.testing.assert_allclose(host(gradient), [count, 0.1 * count], rtol=2e-5)


def test_an_einsum_of_many_rows(device):
    count = many_rows(device) + (1 << 16)
    x = repeated([1.0, 3.0], count, device)
    np.testing.assert_allclose(host(gg.einsum("ij->j", x)), [count, 3.0 * count], rtol=1e-6)
    y = gg.einsum("ij,k->jk", x, gg.ones(2, device=device))
    np.testing.assert_allclose(host(y), [[count] * 2, [3.0 * count] * 2], rtol=1e-6)


def test_an_index_that_repeats_an_element_often(device):
    """More often than float32 counts; on a GPU whose threads are interpreted, than float16 does."""
    count = (1 << 16) if device.kind == "cuda" else (1 << 24) + 50
    dtype = "float16" if device.kind == "cuda" else "float32"
    x = gg.ones(3, dtype=dtype, device=device, requires_grad=True)
    index = np.zeros(count, np.int32)
    index[: count - 60_000 if device.kind == "cuda" else 50] = 1
    gradient = host(gg.gradients(x[index], x, gg.ones(count, dtype=dtype, device=device)))
    assert gradient[2] == 0
    np.testing.assert_allclose(gradient, np.bincount(index, minlength=3), rtol=1e-3)
    assert dtype == "float16" or gradient[0] == 1 << 24


def test_means_and_spreads_of_many_rows(device):
    """Rows of 99 and 101: a mean that adds one by one is off by parts of the deviation, 1."""
    count = min(many_rows(device), 1 << 21)
    x = gg.tensor(np.tile(np.array([[99.0], [101.0]], np.float32), (count // 2, 1)), device=device)
    np.testing.assert_allclose(host(x.mean(axis=0)), 100, rtol=1e-6)
    np.testing.assert_allclose(host(x.var(axis=0)), 1, rtol=1e-5)
    np.testing.assert_allclose(host(x.std(axis=0)), 1, rtol=1e-5)
    norm = 100.005 * count**0.5
    np.testing.assert_allclose(host(gg.linalg.norm(x, axis=0)), norm, rtol=1e-5)
    np.testing.assert_allclose(host(gg.logsumexp(x * 0, axis=0)), np.log(count), rtol=1e-5)
    np.testing.assert_allclose(host(gg.softmax(x * 0, axis=0)[0]), 1 / count, rtol=1e-5)


def test_layers_and_losses_of_many_rows(device):
    count = min(many_rows(device), 1 << 21)
    layer = gg.nn.Linear(1, 1, device=device)
    x = gg.tensor(np.full((count, 1), 0.1, np.float32), device=device)
    gg.nn.functional.linear(x, layer.weight, layer.bias).backward(x)
    np.testing.assert_allclose(host(layer.bias.grad), 0.1 * count, rtol=1e-5)
    weight, shift = gg.ones(2, device=device), gg.zeros(2, device=device, requires_grad=True)
    rows = gg.broadcast_to(x, (count, 2))
    gg.nn.functional.layer_norm(rows, 2, weight, shift).backward(rows)
    np.testing.assert_allclose(host(shift.grad), 0.1 * count, rtol=1e-5)


@pytest.mark.parametrize("size", [1e19, 3e38 / 16, 1e-25, 1e-36])
@pytest.mark.parametrize("order", [2.0, 3.0])
def test_a_norm_of_gradients_neither_overflows_nor_vanishes(size, order, device):
    parameters = [gg.zeros(n, device=device, requires_grad=True) for n in (3, 5)]
    for p in parameters:
        p.grad = gg.full_like(p, size)
    norm = gg.optim.clip_grad_norm_(parameters, 0.5, norm_type=order)
    assert norm.dtype == np.float32
    assert norm.item() == pytest.approx(size * 8 ** (1 / order), rel=1e-5)
    clipped = min(size, 0.5 / 8 ** (1 / order))
    np.testing.assert_allclose(host(parameters[0].grad), clipped, rtol=1e-5)
