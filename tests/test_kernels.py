"""The kernels that stand in for formulas on CUDA: compiled, and run on the host."""

import numpy as np
import pytest
from host_cuda import HostKernel, host_kernel

from gpugrad.backend import kernels, sim
from gpugrad.backend.cuda import register_arrays
from gpugrad.backend.kernels import source
from gpugrad.backend.kernels.layer_norm import LayerNorm
from gpugrad.backend.kernels.rows import Rows, rows_source
from gpugrad.backend.kernels.squares import Squares
from gpugrad.backend.namespace import FORMULAS, NAMESPACES, Namespace


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
    monkeypatch.setattr(Namespace, "fusing", Namespace.fusing)
    monkeypatch.setitem(NAMESPACES, cupy.ndarray, None)
    fusion(value)
    register_arrays()
    found = NAMESPACES[cupy.ndarray]
    there = value == "1"
    for family in (Rows, LayerNorm, Squares):
        for name in family(cupy).functions():
            assert name in FORMULAS
            assert (name in vars(found)) == there
    assert (found.multi_tensor is not None) == (found.epilogue is not None) == there


def test_cupy_takes_the_sources_and_options():
    """Without a driver it makes the kernel and compiles at the first launch."""
    pytest.importorskip("cupy")
    made = source.cupy_kernel(rows_source(np.dtype(np.float32)), "softmax", "--fmad=false")
    assert made.options == ("--std=c++17", "--fmad=false")
    assert made.name == "softmax"


# ---------------------------------------------------------------- how they are run on the host

SEVERAL = """
extern "C" __global__ void halves(const T* x, T* y, W* wide, long long length)
{
    for (long long i = threadIdx.x; i < length; i += blockDim.x) {
        y[i] = narrow(widen(x[i]));
        wide[i] = widen(narrow(wide[i]));
    }
}

extern "C" __global__ void turned(const T* x, T* y, long long careful)
{
    __shared__ W kept[64];
    kept[threadIdx.x] = widen(x[threadIdx.x]);
    if (careful)
        __syncthreads();
    y[threadIdx.x] = narrow(kept[blockDim.x - 1 - threadIdx.x]);
}

extern "C" __global__ void gathered(const T* x, T* sums, T* largest)
{
    sums[threadIdx.x] = narrow(sum_of_all(widen(x[threadIdx.x])));
    largest[threadIdx.x] = narrow(largest_of_all(widen(x[threadIdx.x])));
}
"""


def kernel(dtype, name):
    return host_kernel(source.prelude(np.dtype(dtype)) + SEVERAL, name)


def test_half_precision_is_converted_as_numpy_does(rng):
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    wide = np.concatenate(
        [
            rng.standard_normal(40000) * 10.0 ** rng.integers(-9, 6, 40000),
            [0.0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.99, 65520, 1e-45, 2.0**-25, 3e-8],
        ]
    ).astype(np.float32)
    wide = np.resize(wide, every.size)
    x, y, w = sim.asarray(every), sim.empty(every.shape, np.float16), sim.asarray(wide)
    kernel(np.float16, "halves")((1,), (32,), (x, y, w, every.size))
    np.testing.assert_array_equal(y.get(), every)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(w.get(), wide.astype(np.float16).astype(np.float32))


def test_a_barrier_that_is_missing_shows(monkeypatch, rng):
    right = {}
    for careful in (0, 1):
        for reverse in (False, True):
            monkeypatch.setattr(HostKernel, "reverse", reverse)
            x, y = rng.standard_normal(64), sim.zeros(64)
            kernel(np.float64, "turned")((1,), (64,), (sim.asarray(x), y, careful))
            right[careful, reverse] = np.array_equal(y.get(), x[::-1])
    assert right == {(0, False): False, (0, True): False, (1, False): True, (1, True): True}


@pytest.mark.parametrize("threads", [32, 64, 256, 1024])
def test_all_threads_of_a_row_get_its_sum_and_its_largest(threads, rng):
    x = rng.standard_normal(threads)
    sums, largest = sim.zeros(threads), sim.zeros(threads)
    kernel(np.float64, "gathered")((1,), (threads,), (sim.asarray(x), sums, largest))
    assert len(set(sums.get())) == 1
    np.testing.assert_allclose(sums.get(), x.sum(), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(largest.get(), x.max())


def test_arguments_that_the_kernel_does_not_have_are_refused():
    x = sim.zeros(32)
    launch = kernel(np.float64, "gathered")
    with pytest.raises(AssertionError):
        launch((1,), (32,), (x, x))
    with pytest.raises(AssertionError):
        launch((1,), (32,), (x, x, np.float32(1)))
    with pytest.raises(AssertionError, match="a block of"):
        launch((1,), (2048,), (x, x, x))
    with pytest.raises(TypeError, match="only NumPy arrays of size one"):
        launch((1,), (32,), (np.zeros(32), x, x))
