"""The kernels of batch and root-mean-square normalization give what the formulas give."""

import numpy as np
import pytest
from gpu import kernel, launches, needs_gpu, over_numpy

import gpugrad as gg
from gpugrad.kernels.source import FLOATS, WIDE

pytestmark = needs_gpu
DTYPES = pytest.mark.parametrize("dtype", FLOATS, ids=str)
TOLERANCES = {2: 4e-3, 4: 2e-5, 8: 1e-12}


def close(found, right, dtype):
    with np.errstate(over="ignore"):
        right = np.asarray(right).astype(found.dtype)
    scale = max(1.0, float(np.max(np.abs(right), initial=0, where=np.isfinite(right))))
    tolerance = TOLERANCES[dtype.itemsize]
    np.testing.assert_allclose(found.get(), right, rtol=tolerance, atol=tolerance * scale)


@DTYPES
@pytest.mark.parametrize(
    "shape", [(2, 1), (9, 3), (300, 5), (2, 9, 3), (3, 2, 7, 5), (2, 3, 600), (5, 40, 1, 1, 2)]
)
def test_batch_normalization(shape, dtype, rng):
    x, g = (rng.standard_normal((2, *shape)) * 3 + 2).astype(dtype)
    weight, bias = rng.standard_normal((2, shape[1])).astype(dtype)
    for w, b in ((weight, bias), (None, bias), (weight, None), (None, None)):
        results, count = launches(kernel, "batch_norm", x, w, b, 1e-3)
        assert count == 1
        right = over_numpy("batch_norm", x, w, b, 1e-3)
        assert [one.dtype.char for one in results] == [dtype.char, *WIDE[dtype.char] * 2]
        for one, other in zip(results, right, strict=True):
            close(one, other, dtype)
        for needs in ((True, True, True), (True, False, False), (False, True, True)):
            needs = (needs[0], needs[1] and w is not None, needs[2] and b is not None)
            if not any(needs[:2]):
                continue
            gs, ys = (g, None, None), (None, *right[1:])
            cupy = pytest.importorskip("cupy")
            sent = (None, *map(cupy.asarray, right[1:]))
            operands = (needs, x, w, b, 1e-3)
            found, count = launches(
                kernel_of, "batch_norm_vjp", (cupy.asarray(g), None, None), sent, *operands
            )
            assert count == 1
            expected = over_numpy("batch_norm_vjp", gs, ys, *operands)
            for one, other, need in zip(found, expected, needs, strict=True):
                assert (one is None) == (not need)
                if need:
                    close(one, other, dtype)


def kernel_of(name, gs, ys, *operands):
    """What the namespace of CuPy's arrays has, for tuples of arrays before the others."""
    from gpu import send

    from gpugrad.backend.namespace import namespace_of

    return getattr(namespace_of(gs[0]), name)(gs, ys, *send(*operands))


@DTYPES
@pytest.mark.parametrize("shape", [(1, 1), (9, 2), (8, 33), (300, 7), (7, 300), (2, 5000), (5,)])
def test_normalization_by_the_root_mean_square(shape, dtype, rng):
    x, g = (rng.standard_normal((2, *shape)) * 3 + 2).astype(dtype)
    weight = rng.standard_normal(shape[-1]).astype(dtype)
    for w, eps in ((weight, 1e-3), (None, None)):
        y, count = launches(kernel, "rms_norm", x, w, eps)
        assert count == 1
        (again, rate), count = launches(kernel, "rms_norm_and_residuals", x, w, eps)
        assert count == 1
        np.testing.assert_array_equal(again.get(), y.get())
        right, residual = over_numpy("rms_norm_and_residuals", x, w, eps)
        close(y, right, dtype)
        close(rate, residual, dtype)
        for needs in ((True, True), (True, False), (False, True)):
            needs = (needs[0], needs[1] and w is not None)
            operands = (g, needs, x, w, residual)
            found, count = launches(kernel, "rms_norm_vjp", *operands)
            assert count == sum(needs)
            expected = over_numpy("rms_norm_vjp", *operands)
            for one, other, need in zip(found, expected, needs, strict=True):
                assert (one is None) == (not need)
                if need:
                    close(one, other, dtype)


def test_what_no_kernel_takes_goes_to_the_formula(rng):
    x = rng.standard_normal((4, 3))
    for name, operands in (
        ("batch_norm", (x, np.ones(3, np.float32), None)), ("rms_norm", (x.astype(int), None)),
        ("rms_norm", (x.astype(np.float32), np.ones(3))),
    ):  # fmt: skip
        y, count = launches(kernel, name, *operands)
        assert count == 0
        right = over_numpy(name, *operands)
        y, right = (y[0], right[0]) if isinstance(y, tuple) else (y, right)
        np.testing.assert_allclose(y.get(), right, rtol=1e-5)


def test_training_takes_few_launches_and_is_that_of_the_cpu(rng):
    images, target = rng.standard_normal((6, 3, 4, 4)), rng.standard_normal((6, 3, 4, 4))
    found = {}
    for where in ("cpu", "cuda"):
        with gg.device(where):
            layer = gg.nn.BatchNorm2d(3, dtype="float64")
            optimizer = gg.optim.SGD(layer.parameters(), lr=0.1)
            data = [gg.tensor(array, device=where) for array in (images, target)]

            def step(layer=layer, optimizer=optimizer, data=data):
                optimizer.zero_grad()
                gg.nn.functional.mse_loss(layer(data[0]), data[1]).backward()
                optimizer.step()

            count = sum(launches(step)[1] for _ in range(3))
            found[where] = [tensor.numpy() for tensor in layer.state_dict().values()]
    # Forward the layer and the loss, backward these and the first cotangent, and the optimizer.
    assert count == 3 * (2 + 3 + 1)
    for one, other in zip(*found.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)
