"""`gg.fft` against NumPy's transforms, and its derivatives against differences."""

import numpy as np
import pytest
from complex_numbers import differences, product, weights_for
from optable import reference

import gpugrad as gg
from gpugrad.errors import ArgumentError, AxisError, DTypeError, ShapeError

ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
MANY = ("fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2")
NORMS = (None, "backward", "ortho", "forward")
REAL = ("rfft", "ihfft", "rfftn", "rfft2")  # which take real numbers alone

CASES = [
    *((name, (2, 5), {"norm": norm}) for name in ONE for norm in NORMS),
    *((name, (4, 3), {"n": 6, "axis": 0}) for name in ONE),
    *((name, (4, 3), {"n": 3, "axis": -2, "norm": "ortho"}) for name in ONE),
    *((name, (3,), {"n": 1}) for name in ONE),
    *((name, (2, 4), {"norm": norm}) for name in MANY for norm in NORMS),
    *((name, (3, 2, 4), {"axes": (2, 0)}) for name in MANY),
    *((name, (3, 4), {"s": (2, 5), "axes": (1, 0), "norm": "forward"}) for name in MANY),
    *((name, (3, 4), {"s": (4, 3), "axes": (-2, -1)}) for name in MANY),
    *((name, (2, 3), {"s": (-1, 5), "axes": (0, 1)}) for name in ("fftn", "rfftn", "ifft2")),
    ("fftn", (2, 3), {"axes": ()}),
    ("fftn", (2, 3), {"axes": (0, 0)}),
    ("fftshift", (3, 4), {}),
    ("fftshift", (5, 2), {"axes": 0}),
    ("ifftshift", (3, 4), {}),
    ("ifftshift", (5, 2), {"axes": (-1, 0)}),
]


def words_of(case):
    name, shape, words = case
    return f"{name}-{shape}-{words}"


def array_for(name, shape, dtype=np.complex128):
    rng = np.random.default_rng(3)
    array = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    real = name in REAL or np.dtype(dtype).kind != "c"
    return (array.real if real else array).astype(np.dtype(dtype).char.lower() if real else dtype)


@pytest.mark.parametrize("case", CASES, ids=words_of)
@pytest.mark.parametrize("dtype", ["complex128", "float64", "complex64", "float32", "int64"])
def test_values_and_dtypes_are_numpy_s(case, dtype, device):
    name, shape, words = case
    array = array_for(name, shape, dtype)
    wanted = getattr(np.fft, name)(array, **words)
    got = getattr(gg.fft, name)(gg.tensor(array, device=device), **words)
    assert got.device == device
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    single = dtype in ("complex64", "float32")
    np.testing.assert_allclose(got.cpu().numpy(), wanted, atol=1e-5 if single else 1e-12)


@pytest.mark.parametrize("case", CASES, ids=words_of)
@pytest.mark.parametrize("dtype", ["complex128", "float64"])
def test_derivatives(case, dtype, device):
    name, shape, words = case
    array = array_for(name, shape, dtype)
    function = getattr(gg.fft, name)
    (weight,) = weights_for([function(gg.tensor(array), **words)])

    def loss(x):
        y = function(x, **words)
        return product(y * y, gg.tensor(weight, device=y.device))

    def value(x):
        with gg.no_grad():
            return loss(gg.tensor(x)).item()

    x = gg.tensor(array, device=device, requires_grad=True)
    loss(x).backward()
    (slope,) = reference(lambda: differences(value, [array]), "first", words_of(case), dtype)
    np.testing.assert_allclose(x.grad.cpu().numpy(), slope, rtol=1e-6, atol=1e-6)

    def along(x, device="cpu"):
        g = gg.grad(loss)(gg.tensor(x, device=device) if isinstance(x, np.ndarray) else x)
        return product(g, gg.tensor(direction, device=device))

    (direction,) = weights_for([x], seed=5)
    got = gg.grad(lambda x: along(x, device))(gg.tensor(array, device=device))
    (slope,) = reference(
        lambda: differences(lambda x: along(x).item(), [array]), "second", words_of(case), dtype
    )
    np.testing.assert_allclose(got.cpu().numpy(), slope, rtol=1e-6, atol=1e-6)
    _, tangent = gg.jvp(lambda x: function(x, **words), (array,), (direction,))
    np.testing.assert_allclose(tangent, getattr(np.fft, name)(direction, **words), atol=1e-12)


@pytest.mark.parametrize("name", [*ONE, *MANY, "fftshift", "ifftshift"])
def test_numpy_s_own_functions_take_tensors(name):
    array = array_for(name, (3, 4))
    x = gg.tensor(array, requires_grad=True)
    for got in (getattr(np.fft, name)(x), getattr(np.fft, name)(a=x) if "shift" not in name else x):
        assert isinstance(got, gg.Tensor)
        assert got.requires_grad
    words = {} if "shift" in name else {"norm": "ortho"}
    got = getattr(np.fft, name)(x, **words)
    np.testing.assert_allclose(got.detach().numpy(), getattr(np.fft, name)(array, **words))


@pytest.mark.parametrize("n", [1, 2, 5, 6])
@pytest.mark.parametrize("name", ["fftfreq", "rfftfreq"])
def test_frequencies(name, n, device):
    got = getattr(gg.fft, name)(n, 0.3, device=device)
    assert (got.device, got.dtype) == (device, np.float32)
    np.testing.assert_allclose(got.cpu().numpy(), getattr(np.fft, name)(n, 0.3), rtol=1e-6)
    assert getattr(gg.fft, name)(n, dtype="float64").dtype == np.float64
    d = gg.tensor(0.5, requires_grad=True)
    getattr(gg.fft, name)(n, d).sum().backward()
    np.testing.assert_allclose(
        d.grad.numpy(), -getattr(np.fft, name)(n).sum() / 0.25, rtol=1e-6, atol=1e-6
    )


def test_what_is_not_read_has_no_gradient(device):
    x = gg.tensor(np.array([1 + 5j, 2 + 1j, 3 + 7j]), device=device, requires_grad=True)
    y = gg.fft.irfft(x)
    np.testing.assert_allclose(y.detach().cpu().numpy(), np.fft.irfft([1, 2 + 1j, 3]))
    (y * gg.tensor(np.arange(4.0), device=device)).sum().backward()
    np.testing.assert_array_equal(x.grad.cpu().numpy().imag[[0, 2]], 0)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: gg.fft.fft(gg.ones(3), norm="no"), ArgumentError, "fft: expected norm 'backward'"),
        (lambda: gg.fft.hfft(gg.ones(3), norm="no"), ArgumentError, "hfft: expected norm"),
        (lambda: gg.fft.fft(gg.ones(3), axis=1), AxisError, "fft: axis 1 is out of range"),
        (lambda: gg.fft.fft(gg.ones(3), n=0), ShapeError, "fft: expected one element or more"),
        (lambda: gg.fft.irfft(gg.ones(1)), ShapeError, "irfft: expected one element or more"),
        (lambda: gg.fft.fftn(gg.ones((2, 3)), s=(2,), axes=(0, 1)), ShapeError, "a size for each"),
        (lambda: gg.fft.rfftn(gg.ones(3), axes=()), ShapeError, "rfftn: expected one axis or more"),
        (lambda: gg.fft.rfft(gg.ones(3) * 1j), DTypeError, "rfft: expected real numbers, got com"),
        (lambda: gg.fft.fftfreq(0), ArgumentError, "fftfreq: expected a whole number of 1 or mor"),
        (lambda: gg.fft.fftshift(gg.ones(3), 1), AxisError, "fftshift: axis 1 is out of range"),
    ],
)
def test_errors_say_what_to_do(call, error, said):
    with pytest.raises(error, match=said):
        call()
