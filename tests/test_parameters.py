"""Parameters of ops: another value gives another result, whichever kernels there are already."""

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.nn import functional as F

SLOPES = [5, 7, 0, -3, 1000, 0.25, 1.5, -0.0, True, np.float32(3), np.float32(9), np.float64(4),
          np.float16(0.5), np.int64(6), np.int8(-6), np.uint8(7), np.bool_(False)]  # fmt: skip


@pytest.mark.parametrize("name", ["leaky_relu", "elu"])
def test_a_number_of_any_type_is_the_one_that_was_given(name, device):
    function = getattr(F, name)

    def results(device, value):
        x = gg.tensor([-1.5, 2.0], device=device, requires_grad=True)
        y = function(x, value)
        y.sum().backward()
        return y.dtype, y.tolist(), x.grad.tolist()

    for value in (*SLOPES, *SLOPES[::-1]):
        kind, *numbers = results(device, value)
        wanted_kind, *wanted = results("cpu", value)
        assert kind == wanted_kind
        np.testing.assert_allclose(numbers, wanted, rtol=1e-6)
