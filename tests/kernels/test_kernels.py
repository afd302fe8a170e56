"""The kernels that stand in for formulas on CUDA: the switch, and what they have in common."""

import numpy as np
import pytest
from gpu import launches, needs_gpu, send

from gpugrad import kernels
from gpugrad.backend.cuda import register_arrays
from gpugrad.backend.namespace import FORMULAS, NAMESPACES
from gpugrad.kernels import source
from gpugrad.kernels.epilogue import Epilogue
from gpugrad.kernels.layer_norm import LayerNorm
from gpugrad.kernels.rows import Rows, rows_source
from gpugrad.kernels.squares import Squares


@pytest.fixture
def fusion(monkeypatch):
    """Sets GPUGRAD_FUSION, which is read once."""

    def set_to(value):
        monkeypatch.setenv("GPUGRAD_FUSION", value)
        kernels.enabled.cache_clear()
        return kernels.enabled

    yield set_to
    monkeypatch.undo()
    kernels.enabled.cache_clear()


@pytest.mark.parametrize(("value", "expected"), [("", True), ("1", True), ("0", False)])
def test_the_environment_turns_kernels_off(fusion, value, expected):
    assert fusion(value)() is expected


def test_another_value_is_refused(fusion):
    enabled = fusion("no")
    with pytest.raises(ValueError, match=r"GPUGRAD_FUSION: expected 0 .* or 1 .*, got 'no'"):
        enabled()


@pytest.mark.parametrize("value", ["0", "1"])
def test_the_switch_holds_for_every_kernel(fusion, value, monkeypatch):
    cupy = pytest.importorskip("cupy")
    monkeypatch.setitem(NAMESPACES, cupy.ndarray, None)
    fusion(value)
    register_arrays()
    found = NAMESPACES[cupy.ndarray]
    there = value == "1"
    for family in (Rows(cupy), LayerNorm(cupy), Squares(cupy), Epilogue(cupy, cupy.matmul)):
        for name in family.functions():
            assert name in FORMULAS
            assert (name in vars(found)) == there
    assert (found.multi_tensor is not None) == (found.add_product is not None) == there


def test_cupy_takes_the_sources_and_options():
    """Without a driver it makes the kernel and compiles at the first launch."""
    pytest.importorskip("cupy")
    made = source.cupy_kernel(rows_source(np.dtype(np.float32)), "softmax", "--fmad=false")
    assert made.options == ("--std=c++17", "--fmad=false")
    assert made.name == "softmax"


# ---------------------------------------------------------------- what they have in common

SEVERAL = """
extern "C" __global__ void halves(const T* x, T* y, W* wide, long long length)
{
    for (long long i = threadIdx.x; i < length; i += blockDim.x) {
        y[i] = narrow(widen(x[i]));
        wide[i] = widen(narrow(wide[i]));
    }
}

extern "C" __global__ void gathered(const T* x, T* sums, T* largest)
{
    sums[threadIdx.x] = narrow(sum_of_all(widen(x[threadIdx.x])));
    largest[threadIdx.x] = narrow(largest_of_all(widen(x[threadIdx.x])));
}
"""


def kernel(dtype, name):
    return source.cupy_kernel(source.prelude(np.dtype(dtype)) + SEVERAL, name)


@needs_gpu
def test_half_precision_is_converted_as_numpy_does(rng):
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    wide = np.concatenate(
        [
            rng.standard_normal(40000) * 10.0 ** rng.integers(-9, 6, 40000),
            [0.0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.99, 65520, 2.0**-25, 3e-8],
        ]
    ).astype(np.float32)
    wide = np.resize(wide, every.size)
    x, y, w = send(every, np.zeros_like(every), wide)
    kernel(np.float16, "halves")((1,), (1024,), (x, y, w, every.size))
    np.testing.assert_array_equal(y.get(), every)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(w.get(), wide.astype(np.float16).astype(np.float32))


@needs_gpu
@pytest.mark.parametrize("threads", [32, 64, 256, 1024])
def test_all_threads_of_a_row_get_its_sum_and_its_largest(threads, rng):
    x = rng.standard_normal(threads)
    given, sums, largest = send(x, np.zeros(threads), np.zeros(threads))
    _, count = launches(kernel(np.float64, "gathered"), (1,), (threads,), (given, sums, largest))
    assert count == 1
    assert len(set(sums.get())) == 1
    np.testing.assert_allclose(sums.get(), x.sum(), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(largest.get(), x.max())
