"""The kernel of dropout drops what the formula drops, in one launch each way."""

import numpy as np
import pytest
from gpu import launches, needs_gpu

import gpugrad as gg
from gpugrad.kernels.source import FLOATS

pytestmark = needs_gpu


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("p", [0.3, 1.0])
@pytest.mark.parametrize(
    ("name", "shape"),
    [("dropout", (3, 7)), ("dropout", (4, 1030)), ("dropout1d", (2, 3, 5)),
     ("dropout2d", (2, 3, 2, 2))],
)  # fmt: skip
def test_dropout_is_one_kernel_each_way(name, shape, p, dtype, rng):
    function = getattr(gg.nn.functional, name)
    array = rng.standard_normal(shape).astype(dtype)

    def run(device):
        x = gg.tensor(array, device=device, requires_grad=True)
        y = function(x, p, generator=gg.random.Generator(5))
        return x, y

    x, expected = run("cpu")
    (expected * array).sum().backward()
    (x_, y), launched = launches(run, "cuda")
    assert launched == 1
    rounding = 2 * np.finfo(dtype).eps
    np.testing.assert_allclose(y.detach().cpu(), expected.detach(), rtol=rounding)
    g = gg.tensor(array, device="cuda")
    _, launched = launches(y.backward, g)
    assert launched == 1
    np.testing.assert_allclose(x_.grad.cpu(), x.grad, rtol=rounding)
