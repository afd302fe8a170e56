"""The gradient that a backward pass starts with."""

import numpy as np
import pytest
from compilers import to_ptx
from host_cuda import PLACES

from gpugrad.backend.kernels.ones import Ones, ones_source
from gpugrad.backend.kernels.source import FLOATS

DTYPES = pytest.mark.parametrize("dtype", FLOATS, ids=str)


@DTYPES
@pytest.mark.parametrize("arch", ["compute_70", "compute_80", "compute_90"])
def test_the_source_compiles(dtype, arch):
    assert "one" in to_ptx(ones_source(dtype), arch)


@DTYPES
@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_one_number_is_a_kernel_s_and_all_else_the_module_s(place, dtype):
    module, get = place()
    launched = []

    def watched(source, name):
        launched.append(name)
        return get(source, name)

    ones_like = Ones(module, watched).functions()["ones_like"]
    y = ones_like(module.zeros((), dtype))
    assert (y.shape, y.dtype, float(y.get())) == ((), dtype, 1.0)
    assert launched == ["one"]
    for x, words in (
        (module.zeros((2, 3), dtype), {}),
        (module.zeros((), "int64"), {}),
        (module.zeros((), dtype), {"dtype": "float64"}),
    ):
        np.testing.assert_array_equal(ones_like(x, **words).get(), np.ones(x.shape))
    assert launched == ["one"]
