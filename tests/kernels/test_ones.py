"""The gradient that a backward pass starts with."""

import numpy as np
import pytest
from gpu import launches, needs_gpu, send

from gpugrad.backend.namespace import namespace_of
from gpugrad.kernels.source import FLOATS

pytestmark = needs_gpu


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_one_number_is_a_kernel_s_and_all_else_the_module_s(dtype):
    x, matrix, whole = send(np.zeros((), dtype), np.zeros((2, 3), dtype), np.zeros((), "int64"))
    ones_like = namespace_of(x).ones_like
    y, count = launches(ones_like, x)
    assert (y.shape, y.dtype, float(y.get())) == ((), dtype, 1.0)
    assert count == 1
    for other, words in ((matrix, {}), (whole, {}), (x, {"dtype": "float64"})):
        y, count = launches(ones_like, other, **words)
        np.testing.assert_array_equal(y.get(), np.ones(other.shape))
        assert count == 0
