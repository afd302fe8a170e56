"""The squared error's kernels, compared with the formulas."""

import numpy as np
import pytest
from gpu import kernel, launches, needs_gpu, over_numpy, send

import gpugrad as gg
from gpugrad.kernels import squares as kernels
from gpugrad.kernels.source import FLOATS

pytestmark = needs_gpu

DTYPES = pytest.mark.parametrize("dtype", FLOATS, ids=str)

BOTH = (True, True)


@DTYPES
@pytest.mark.parametrize("shape", [(1,), (), (64, 10), (2049,), (30, 300)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_kernels_give_what_the_formulas_give(dtype, shape, reduction, rng):
    rtol = {2: 2e-3, 4: 1e-5, 8: 1e-13}[dtype.itemsize]
    for value in (None, np.inf, np.nan, -0.0):
        x, target = (np.asarray(a).astype(dtype) for a in (rng.standard_normal((2, *shape))))
        g = np.asarray(-1.5, dtype)
        if value is not None:
            x[(0,) * x.ndim] = value
        y, count = launches(kernel, "mse_loss", x, target, reduction)
        assert count == (1 if x.size <= 2048 else 2)
        assert y.dtype == dtype
        right = np.asarray(over_numpy("mse_loss", x, target, reduction)).astype(dtype)
        np.testing.assert_allclose(y.get(), right, rtol=rtol)
        for needs in (BOTH, (True, False), (False, True)):
            found, count = launches(kernel, "mse_loss_vjp", g, x, target, needs, reduction)
            assert count == 1
            right = over_numpy("mse_loss_vjp", g, x, target, needs, reduction)
            for one, other in zip(found, right, strict=True):
                assert (one is None) == (other is None)
                if one is not None:
                    assert one.dtype == dtype
                    least = 1e-7 if dtype == np.float16 else 0
                    np.testing.assert_allclose(
                        one.get(), np.asarray(other).astype(dtype), rtol=rtol, atol=least
                    )


def test_many_elements_are_added_up_by_few_blocks(monkeypatch, rng):
    monkeypatch.setattr(kernels, "BLOCKS", 3)
    x, target = rng.standard_normal((2, 20000))
    y, count = launches(kernel, "mse_loss", x, target)
    assert count == 2
    np.testing.assert_allclose(y.get(), np.mean((x - target) ** 2), rtol=1e-13)
    strided = send(rng.standard_normal((6, 8)))[0]
    y = kernel("mse_loss", strided[:, ::2], strided[::-1, ::2])
    np.testing.assert_allclose(
        y.get(), np.mean((strided.get()[:, ::2] - strided.get()[::-1, ::2]) ** 2)
    )


def test_what_no_kernel_takes_goes_to_the_formula(rng):
    x = rng.standard_normal((4, 3)).astype(np.float32)
    for operands in (
        (x, x[0], "mean"),
        (x, x.astype(np.float64), "sum"),
        (x, x[::-1].copy(), "none"),
        (x[:0], x[:0], "sum"),
    ):
        y, count = launches(kernel, "mse_loss", *operands)
        assert count == 0
        np.testing.assert_allclose(y.get(), over_numpy("mse_loss", *operands))
    g = np.ones((4, 3), np.float32)
    found, count = launches(kernel, "mse_loss_vjp", g, x, x, BOTH, "none")
    assert count == 0
    np.testing.assert_array_equal(found[0].get(), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="reduction must be"):
        kernel("mse_loss", x, x, "most")


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_derivatives_of_every_order_are_those_on_the_cpu(reduction, rng):
    x, target = rng.standard_normal((2, 4, 3))
    found = {}
    for where in ("cpu", "cuda"):
        a, b = (gg.tensor(v, device=where, requires_grad=True) for v in (x, target))
        y, count = launches(gg.nn.functional.mse_loss, a, b, reduction)
        first = gg.gradients([(y * y).sum()], [a, b], create_graph=True)
        second = gg.gradients([sum((d * d).sum() for d in first)], [a, b])
        _, pulls = launches((gg.nn.functional.mse_loss(a, b, reduction) * 2).sum().backward)
        found[where] = [t.detach().numpy() for t in (y, *first, *second, a.grad, b.grad)]
    assert (count, pulls) == ((0, 1) if reduction == "none" else (1, 2))  # one for the cotangent
    for one, other in zip(*found.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)
