"""How CuPy's kernels are called: what they take, refuse and make of it.

`test_sim_as_cupy.py` runs this over the stand-in, so that what passes there is known to be CuPy's
own convention from the first run on a GPU.
"""

import numpy as np
import pytest

import gpugrad as gg

pytestmark = pytest.mark.skipif(not gg.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def cupy():
    import cupy

    return cupy


@pytest.fixture(scope="module")
def add(cupy):
    return cupy.ElementwiseKernel("T x, T y", "T z", "z = x + y", "sum_of_two")


@pytest.fixture(scope="module")
def scaled(cupy):
    return cupy.ElementwiseKernel("float32 x, int8 n", "float64 z", "z = x * n", "scaled")


# ---------------------------------------------------------------- elementwise kernels


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8", "bool"])
def test_arrays_broadcast_whatever_their_strides(dtype, add, cupy):
    x, y = np.arange(6).reshape(2, 3).T.astype(dtype), np.arange(3).astype(dtype)[::-1, None]
    got = add(cupy.asarray(np.arange(6).reshape(2, 3).astype(dtype)).T, cupy.asarray(y))
    assert got.dtype == dtype
    np.testing.assert_array_equal(got.get(), x + y)


def test_arrays_without_axes_and_without_elements(add, cupy):
    one = cupy.asarray(2.0)
    assert add(one, one).shape == ()
    assert add(one, one).item() == 4
    assert add(cupy.ones((0, 3)), one).shape == (0, 3)


def test_numbers_become_what_the_parameter_is(scaled, add, cupy):
    x = cupy.asarray([1.5, 2.0], dtype="float32")
    for number in (3, np.int64(3), np.float64(3), 3.0):
        assert scaled(x, number).tolist() == [4.5, 6.0]
    assert add(x, 0.1).dtype == np.float32
    assert add(x, np.float64(0.1)).dtype == np.float32


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (300, OverflowError),
        (float("nan"), ValueError),
        (2**70, OverflowError),
        (None, TypeError),
        ("3", TypeError),
        (np.array(3), TypeError),
        ([3], TypeError),
    ],
)
def test_what_is_no_number_of_the_parameter_is_refused(number, error, scaled, cupy):
    with pytest.raises(error):
        scaled(cupy.ones(2, "float32"), number)


def test_dtypes_are_not_cast(scaled, add, cupy):
    with pytest.raises(TypeError, match=r"Type is mismatched\. x float64 float32"):
        scaled(cupy.ones(2, "float64"), 3)
    with pytest.raises(TypeError, match=r"Type is mismatched\. y float32 float64"):
        add(cupy.ones(2, "float64"), cupy.ones(2, "float32"))


def test_how_many_arguments(add, cupy):
    x = cupy.ones(2)
    with pytest.raises(TypeError, match=r"must be either 2 or 3 \(with outputs\), but given 1"):
        add(x)
    with pytest.raises(TypeError):
        add(x, x, dtype="float32")
    with pytest.raises(ValueError, match="Loop size is undecided"):
        add(1.0, 2.0)
    with pytest.raises(ValueError, match="'size' can be used only"):
        add(x, x, size=2)


def test_outputs(add, cupy):
    x, out = cupy.ones(2), cupy.zeros((3, 2))
    assert add(x, 1.0, out) is out
    assert out.tolist() == [[2.0, 2.0]] * 3
    add(x, 2.0, out[1])
    assert out.tolist() == [[2.0, 2.0], [3.0, 3.0], [2.0, 2.0]]
    add(x, x, x)
    assert x.tolist() == [2.0, 2.0]
    with pytest.raises(ValueError, match="Out shape is mismatched"):
        add(out, x, x)
    with pytest.raises(TypeError, match=r"Type is mismatched\."):
        add(x, x, cupy.zeros(2, "float32"))
    with pytest.raises(TypeError, match="Output arguments type must be"):
        add(x, x, 1.0)
    both = cupy.ElementwiseKernel("T x", "T y, int32 z", "y = -x; z = 2 * x", "two_results")
    y, z = both(x)
    assert (y.tolist(), z.tolist(), z.dtype) == ([-2.0, -2.0], [4, 4], np.int32)


def test_raw_arrays_are_indexed_in_c_order(cupy):
    turned = cupy.asarray(np.arange(6.0).reshape(2, 3)).T
    pick = cupy.ElementwiseKernel("raw T x, int64 step", "T y", "y = x[i * step]", "every_other")
    out = cupy.empty(3)
    assert pick(turned, 2, out) is out
    assert out.tolist() == turned.ravel()[::2].tolist()
    with pytest.raises(ValueError, match="Loop size is undecided"):
        pick(turned, 2)
    fill = cupy.ElementwiseKernel("", "raw T y", "y[i] = y.size() - i", "count_down")
    fill(out, size=2)
    assert out.tolist()[:2] == [3.0, 2.0]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("T i", "T y", "y = i"), ValueError),
        (("T x", "T y", "y = x", "two words"), ValueError),
        (("T", "T y", "y = 0"), Exception),
        (("cooked T x", "T y", "y = x"), Exception),
    ],
)
def test_signatures_that_are_none(words, error, cupy):
    with pytest.raises(error):
        cupy.ElementwiseKernel(*words)


# ---------------------------------------------------------------- raw kernels

SOURCE = r"""
struct Pair { double a; long long b; };
extern "C" __global__ void write(double* y, const float* x, Pair pair, long long n, double w, bool b)
{
    for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] = (x ? x[i] : 0) + pair.a * pair.b + (b ? w : 0);
}
template <typename T> __global__ void negate(T* y, int n)
{
    if (threadIdx.x < n) y[threadIdx.x] = -y[threadIdx.x];
}
"""  # noqa: E501
PAIR = np.array((0.5, 4), [("a", "f8"), ("b", "i8")])


def test_a_raw_kernel_takes_addresses_numbers_and_structures(cupy):
    write = cupy.RawKernel(SOURCE, "write", ("--std=c++17",))
    x, y = cupy.arange(10, dtype="float32"), cupy.zeros(5)
    write((2,), (2,), (y, x, PAIR, 5, 0.25, True))
    assert y.tolist() == [2.25, 3.25, 4.25, 5.25, 6.25]
    write((1, 1), (1, 1, 1), [y, None, PAIR[()], np.int64(5), np.float64(1), np.bool_(False)])
    assert y.tolist() == [2.0] * 5
    write((1,), (4,), (y, x[::2], PAIR, 5, 0.0, False), shared_mem=0)  # strides are not looked at
    assert y.tolist() == [2.0, 3.0, 4.0, 5.0, 6.0]


def test_what_a_raw_kernel_refuses(cupy):
    write, y = cupy.RawKernel(SOURCE, "write"), cupy.zeros(5)
    for bad in (np.zeros(2), [1.0], "y"):
        with pytest.raises(TypeError):
            write((1,), (1,), (bad, None, PAIR, 5, 0.0, False))
    with pytest.raises(OverflowError):
        write((1,), (1,), (y, None, PAIR, 2**70, 0.0, False))
    for grid, block in (([1], (1,)), ((1,), 1), ((1.5,), (1,))):
        with pytest.raises(TypeError):
            write(grid, block, (y, None, PAIR, 5, 0.0, False))
    for words in ({"options": ["--std=c++17"]}, {"name": b"write"}):
        with pytest.raises(TypeError):
            cupy.RawKernel(**{"code": SOURCE, "name": "write"} | words)


def test_templates_have_names(cupy):
    wanted = ["negate<float>", "negate<double>"]
    module = cupy.RawModule(code=SOURCE, options=("--std=c++17",), name_expressions=wanted)
    for name, dtype in zip(wanted, ("float32", "float64"), strict=True):
        y = cupy.arange(4, dtype=dtype)
        module.get_function(name)((1,), (4,), (y, np.int32(3)))
        assert y.tolist() == [0, -1, -2, 3]
