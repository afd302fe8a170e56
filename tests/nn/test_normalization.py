"""Layer normalization: the function, the module, and its kernels."""

import numpy as np
import pytest
from gpu import kernel, launches, needs_gpu, over_numpy

import gpugrad as gg
from gpugrad.kernels import layer_norm as layer_norm_kernels
from gpugrad.kernels.source import FLOATS

layer_norm = gg.nn.functional.layer_norm
DTYPES = pytest.mark.parametrize("dtype", FLOATS, ids=str)


def expected(x, axes, weight=1.0, bias=0.0, eps=1e-5):
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


# ---------------------------------------------------------------- the function and the module


def test_it_is_the_formula_of_the_paper(device, rng):
    x = rng.standard_normal((4, 3, 5)) * 3 + 1
    weight, bias = rng.standard_normal((2, 3, 5))
    given = gg.tensor(x, device=device)
    weight, bias = gg.tensor(weight, device=device), gg.tensor(bias, device=device)
    np.testing.assert_allclose(layer_norm(given, 5).numpy(), expected(x, -1), rtol=1e-12)
    y = layer_norm(given, (3, 5), weight, bias, eps=0.1)
    np.testing.assert_allclose(
        y.numpy(), expected(x, (1, 2), weight.numpy(), bias.numpy(), 0.1), rtol=1e-12, atol=1e-14
    )
    y = layer_norm(given, [5], None, bias[0])
    np.testing.assert_allclose(
        y.numpy(), expected(x, -1, 1, bias[0].numpy()), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("parts", ["x", "xw", "xb", "xwb", "w", "b"])
def test_derivatives_of_what_is_there(parts, device, rng):
    arrays = [rng.standard_normal(shape) for shape in ((4, 5), (5,), (5,))]

    def f(*inputs):
        given = dict(zip(parts, inputs, strict=True))
        x = given.get("x", gg.tensor(arrays[0], device=device))
        return layer_norm(x, 5, given.get("w"), given.get("b")) ** 2

    chosen = [arrays["xwb".index(part)] for part in parts]
    inputs = [gg.tensor(array, device=device, requires_grad=True) for array in chosen]
    assert gg.gradcheck(f, inputs)


def test_half_precision_is_normalized_in_float32(device):
    x = np.array([[1000.0, -1000.0, 0.0, 0.0]], np.float16)
    x = gg.tensor(x, device=device, requires_grad=True)
    y = layer_norm(x, 4)
    np.testing.assert_allclose(y.detach().numpy(), [[1.414, -1.414, 0, 0]], rtol=1e-3)
    y[0, 0].backward()
    assert y.dtype == x.grad.dtype == np.float16
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_small_numbers_in_half_precision_have_a_root_mean_square_of_one(dtype, device):
    """The default eps is that of float32, in which it is computed, as in PyTorch."""
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    x = gg.full((2, 4), 0.01, device=device).astype(dtype)
    y = gg.nn.functional.rms_norm(x, 4).astype("float32").cpu().numpy()
    np.testing.assert_allclose(y, 1.0, atol=2e-3)


def test_gradients_of_many_rows_keep_their_digits(device):
    x = gg.tensor(np.tile(np.array([1.0, -1.0], "f"), (200_000, 1)))
    layer = gg.nn.LayerNorm(2, eps=0.0)
    layer(x).backward(gg.full(x.shape, 0.1))
    exact = 200_000 * float(np.float32(0.1))
    for parameter, expected in ((layer.weight, [exact, -exact]), (layer.bias, [exact, exact])):
        np.testing.assert_allclose(parameter.grad.cpu().numpy(), expected, rtol=2e-5)


def test_equal_elements_give_zeros(device):
    x = gg.full((2, 3), 7.0).requires_grad_()
    y = layer_norm(x, 3)
    y.sum().backward()
    assert y.tolist() == [[0.0] * 3] * 2
    np.testing.assert_allclose(x.grad.numpy(), np.zeros((2, 3)), atol=1e-4)


def test_the_module(device):
    layer = gg.nn.LayerNorm((2, 3), dtype=gg.float64)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert layer.weight.shape == layer.bias.shape == (2, 3)
    assert layer.weight.device == device
    x = np.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_allclose(
        layer(gg.tensor(x, device=device)).detach().numpy(), expected(x, (1, 2))
    )
    assert repr(gg.nn.LayerNorm(4, bias=False)).startswith("LayerNorm((4,), eps=1e-05, bias=False)")
    plain = gg.nn.LayerNorm(4, elementwise_affine=False)
    assert list(plain.parameters()) == []
    assert repr(plain) == "LayerNorm((4,), eps=1e-05, elementwise_affine=False)"


@pytest.mark.parametrize("shape", [0, (3, -1), (), 2.5, True, "3"])
def test_a_shape_that_is_none_is_refused(shape):
    for who, make in (
        ("LayerNorm", lambda: gg.nn.LayerNorm(shape)),
        ("layer_norm", lambda: layer_norm(gg.ones((2, 3)), shape)),
    ):
        with pytest.raises(gg.ShapeError, match=f"{who}: normalized_shape must be the sizes of"):
            make()


def test_what_does_not_fit_is_refused():
    x = gg.ones((2, 3))
    with pytest.raises(gg.ShapeError, match=r"the last axes of x must have .* \(4,\), got \(2, 3"):
        layer_norm(x, 4)
    with pytest.raises(gg.ShapeError, match=r"weight must have .* \(3,\), got \(2,\)"):
        layer_norm(x, 3, gg.ones(2))
    with pytest.raises(gg.ShapeError, match=r"bias must have .* \(2, 3\), got \(3,\)"):
        layer_norm(x, (2, 3), None, gg.ones(3))


# ---------------------------------------------------------------- the kernels


def inputs(rng, rows, length, dtype):
    x = rng.standard_normal((rows, length)) * 3 + 2
    if rows > 6:
        x[1], x[2], x[3] = 0, 1e4, rng.standard_normal(length) * 1e-3
        x[4, 0], x[5, 0], x[6, -1] = np.inf, np.nan, -np.inf
    weight, bias = rng.standard_normal((2, length))
    g = rng.standard_normal((rows, length))
    return [array.astype(dtype) for array in (x, weight, bias, g)]


@needs_gpu
@DTYPES
@pytest.mark.parametrize("shape", [(1, 1), (9, 2), (8, 33), (300, 7), (7, 300), (2, 5000)])
def test_kernels_give_what_the_formulas_give(shape, dtype, rng):
    x, weight, bias, g = inputs(rng, *shape, dtype)
    rtol = {2: 4e-3, 4: 2e-5, 8: 1e-12}[dtype.itemsize]
    near = {2: 4e-3, 4: 2e-5, 8: 1e-13}[dtype.itemsize]
    for w, b in ((weight, bias), (None, bias), (weight, None), (None, None)):
        y, count = launches(kernel, "layer_norm", x, w, b, 1e-3)
        assert count == 1
        (again, *kept), count = launches(kernel, "layer_norm_and_residuals", x, w, b, 1e-3)
        assert count == 1
        np.testing.assert_array_equal(again.get(), y.get())
        right, *residuals = over_numpy("layer_norm_and_residuals", x, w, b, 1e-3)
        with np.errstate(over="ignore"):
            right = right.astype(dtype)
        np.testing.assert_allclose(y.get(), right, rtol=rtol, atol=near)
        for one, other in zip(kept, residuals, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one.get(), other, rtol=rtol, atol=near)
    for w in (weight, None):
        for needs in ((True, True, True), (True, False, False), (False, True, False)):
            operands = (g, needs, x, w, *residuals)
            found, count = launches(kernel, "layer_norm_vjp", *operands)
            assert count == (2 if needs == (True, True, True) else 1)
            expected = over_numpy("layer_norm_vjp", *operands)
            for one, other, need in zip(found, expected, needs, strict=True):
                assert (one is None) == (not need)
                if need:
                    assert one.base is None  # or a leaf would copy it
                    with np.errstate(over="ignore"):
                        other = other.astype(dtype)
                    scale = max(1.0, float(np.nanmax(np.abs(other), initial=0)))
                    scale = scale if np.isfinite(scale) else 1.0
                    np.testing.assert_allclose(one.get(), other, rtol=rtol, atol=near * scale)


@needs_gpu
def test_what_no_kernel_takes_goes_to_the_formula(rng):
    x, weight, bias, g = inputs(rng, 4, 3, np.dtype(np.float32))
    wide = weight.astype(np.float64)
    for operands in ((x, wide, bias), (x.astype(int), None, None), (np.ones((0, 3)), None, None)):
        y, count = launches(kernel, "layer_norm", *operands)
        assert count == 0
        np.testing.assert_allclose(y.get(), over_numpy("layer_norm", *operands), rtol=1e-5)
    needs = (True, True, True)
    residuals = over_numpy("layer_norm_and_residuals", x, wide, bias, 1e-5)[1:]
    found, count = launches(kernel, "layer_norm_vjp", g, needs, x, wide, *residuals)
    assert count == 0
    expected = over_numpy("layer_norm_vjp", g, needs, x, wide, *residuals)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.get(), other, rtol=1e-5, atol=1e-6)


@needs_gpu
def test_a_model_trains_as_on_the_cpu(monkeypatch, rng):
    monkeypatch.setattr(layer_norm_kernels, "STRIPE", 4)
    x, target = rng.standard_normal((10, 6)), rng.standard_normal((10, 6))
    found = {}
    for where in ("cpu", "cuda"):
        gg.manual_seed(1)
        with gg.device(where):
            model = gg.nn.Sequential(
                gg.nn.Linear(6, 6, dtype=gg.float64), gg.nn.LayerNorm(6, dtype=gg.float64)
            )
            optimizer = gg.optim.SGD(model.parameters(), lr=0.1)
            data = [gg.tensor(array, device=where) for array in (x, target)]

            def step(model=model, optimizer=optimizer, data=data):
                optimizer.zero_grad()
                gg.nn.functional.mse_loss(model(data[0]), data[1]).backward()
                optimizer.step()

            count = sum(launches(step)[1] for _ in range(5))
            found[where] = [p.detach().numpy() for p in model.parameters()]
    assert count == 5 * (2 + 3 + 3 + 1)  # layer, norm, loss with its cotangent, optimizer
    for one, other in zip(*found.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)
