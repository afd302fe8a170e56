"""sqrtm, logm, polar and funm: against SciPy, by identities, at equal eigenvalues, to any order."""

import numpy as np
import pytest
import scipy.linalg
from arrays import host

import gpugrad as gg
from gpugrad import linalg

SPECTRA = {
    "distinct": [0.5, 1.0, 2.0, 3.5],
    "close": [1.0, 1.0 + 1e-9, 1.0 + 1e-4, 2.0],
    "equal": [2.0, 2.0, 2.0, 0.7],
    "wide": [1e-6, 1e-3, 1e-3, 1e3],
}
EVERY = pytest.mark.parametrize("kind", SPECTRA)
BOTH = pytest.mark.parametrize("dtype", ["float64", "complex128"])


def drawn(rng, shape, dtype):
    values = rng.normal(size=shape)
    return values + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else values


def positive(rng, kind, dtype, batch=()):
    w = np.array(SPECTRA[kind])
    q = np.linalg.qr(drawn(rng, (*batch, len(w), len(w)), dtype))[0]
    m = (q * w) @ q.conj().swapaxes(-1, -2)
    return ((m + m.conj().swapaxes(-1, -2)) / 2).astype(dtype)


def adjoint(x):
    return x.mT.conj()


def symmetrized(x):
    return (x + adjoint(x)) * 0.5


def real(x):
    return x.real if x.dtype.kind == "c" else x


def derivatives(f, array, directions, device):
    """The values, the gradient of their sum with weights, that of its sum with others, and on."""
    x = gg.tensor(array, device=device, requires_grad=True)
    y, found = f(symmetrized(x)), []
    for direction in directions:
        found.append(host(y.detach()))
        y = real(y * gg.tensor(direction, device=device).conj()).sum()
        y = gg.gradients(y, x, create_graph=True) if y.requires_grad else gg.zeros_like(x)
    return [*found, host(y.detach())]


@BOTH
@pytest.mark.parametrize("batch", [(), (2, 1)], ids=str)
@EVERY
def test_values_are_scipys(kind, batch, dtype, device, rng):
    array = positive(rng, kind, dtype, batch)
    x = gg.tensor(array, device=device)
    for f, scipys in (
        (linalg.sqrtm, scipy.linalg.sqrtm),
        (linalg.logm, scipy.linalg.logm),
        (lambda x: linalg.funm(x * 0.01, gg.exp), lambda a: scipy.linalg.expm(a * 0.01)),
        (lambda x: linalg.funm(x, lambda w: np.cbrt(w)), lambda a: _by_eigh(a, np.cbrt)),
    ):
        got = host(f(x))
        matrices = array.reshape(-1, *array.shape[-2:])
        wanted = np.stack([scipys(one) for one in matrices]).reshape(array.shape)
        assert got.dtype == array.dtype
        np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-8 * np.abs(wanted).max())


def _by_eigh(a, f):
    w, v = np.linalg.eigh(a)
    return (v * f(w)) @ v.conj().T


@BOTH
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 5), (2, 4, 3)], ids=str)
def test_polar_is_scipys(shape, side, dtype, device, rng):
    array = drawn(rng, shape, dtype)
    u, p = linalg.polar(gg.tensor(array, device=device), side)
    for i in np.ndindex(*shape[:-2]):
        wanted = scipy.linalg.polar(array[i], side)
        np.testing.assert_allclose(host(u)[i], wanted[0], atol=1e-12)
        np.testing.assert_allclose(host(p)[i], wanted[1], atol=1e-12)
    # The derivative of the product is that of the matrix itself.
    x = gg.tensor(array, device=device, requires_grad=True)
    seed = gg.tensor(drawn(rng, shape, dtype), device=device)
    u, p = linalg.polar(x, side)
    real((u @ p if side == "right" else p @ u) * seed.conj()).sum().backward()
    np.testing.assert_allclose(host(x.grad), host(seed), atol=1e-10)


@BOTH
def test_polar_at_equal_singular_values(dtype, device, rng):
    """Of unitary matrices, where u stays as it is and p moves by the Hermitian part of a change."""
    array = np.linalg.qr(drawn(rng, (4, 4), dtype))[0]
    seed = drawn(rng, (4, 4), dtype)
    for index in (0, 1):
        x = gg.tensor(array, device=device, requires_grad=True)
        factor = linalg.polar(x)[index]
        real(factor * gg.tensor(seed, device=device).conj()).sum().backward()
        turned = array.conj().T @ seed if index == 0 else seed
        part = turned - turned.conj().T if index == 0 else turned + turned.conj().T
        np.testing.assert_allclose(host(x.grad), array @ part / 2, atol=1e-12)
    gg.gradgradcheck(lambda x: linalg.polar(x), array)
    gg.gradgradcheck(lambda x: linalg.polar(x), drawn(rng, (3, 2), dtype))


# A function by divided differences, and the same one by products or by the exponential's own rule.
PAIRS = {
    "cube": (lambda x: linalg.funm(x, lambda w: w**3), lambda x: x @ x @ x),
    "inverse": (lambda x: linalg.funm(x, lambda w: 1 / w), linalg.inv),
    "exp": (lambda x: linalg.funm(x, gg.exp), linalg.expm),
    "root": (linalg.sqrtm, lambda x: linalg.funm(x, gg.sqrt)),
    "log": (linalg.logm, lambda x: linalg.funm(x, gg.log)),
    "squared root": (lambda x: linalg.sqrtm(x) @ linalg.sqrtm(x), lambda x: x),
    "exp of log": (lambda x: linalg.expm(linalg.logm(x)), lambda x: x),
    "constant": (lambda x: linalg.funm(x, gg.ones_like), lambda x: 0 * x + _eye(x)),
    "linear": (lambda x: linalg.funm(x, lambda w: 2 * w), lambda x: 2 * x),
}


def _eye(x):
    return gg.tensor(np.eye(x.shape[-1]).astype(x.dtype), device=x.device)


@BOTH
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("kind", ["distinct", "close", "equal"])
def test_derivatives_of_every_order(kind, name, dtype, device, rng):
    one, other = PAIRS[name]
    array = positive(rng, kind, dtype)
    orders = 3 if kind == "equal" and dtype == "float64" else 2
    directions = [drawn(rng, array.shape, dtype) for _ in range(orders)]
    found = derivatives(one, array, directions, device)
    wanted = derivatives(other, array, directions, device)
    for order, (a, b) in enumerate(zip(found, wanted, strict=True)):
        atol = 1e-9 * 10**order * (1 + np.abs(b).max())
        np.testing.assert_allclose(a, b, atol=atol, err_msg=f"order {order}")


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("kind", ["distinct", "close", "equal"])
def test_single_precision(kind, dtype, device, rng):
    array = positive(rng, kind, np.result_type(dtype, np.float64)).astype(dtype)
    directions = [drawn(rng, array.shape, dtype).astype(dtype) for _ in range(2)]
    for f in (linalg.sqrtm, linalg.logm, lambda x: linalg.funm(x * 1e-2, gg.exp)):
        single = derivatives(f, array, directions, device)[1]
        wide = [one.astype(np.result_type(dtype, np.float64)) for one in (array, *directions)]
        double = derivatives(f, wide[0], wide[1:], "cpu")[1]
        assert single.dtype == dtype
        assert np.linalg.norm(single - double) <= 1e-5 * np.linalg.norm(double)


def test_jumps_and_kinks(device):
    """A projector is the function with one jump: a difference that no derivative of f shows."""
    x = gg.tensor(np.diag([1.0, 1, 2]), device=device, requires_grad=True)
    p = linalg.funm(x, lambda w: gg.where(w < 1.5, 1.0, 0.0))
    p[0, 2].backward()
    wanted = np.zeros((3, 3))
    wanted[0, 2] = wanted[2, 0] = -0.5
    np.testing.assert_allclose(host(x.grad), wanted, atol=1e-14)
    x.grad = None
    y = linalg.funm(x - 1.5 * _eye(x), gg.relu)
    y.sum().backward()
    wanted = np.array([[0, 0, 0.5], [0, 0, 0.5], [0.5, 0.5, 1]])
    np.testing.assert_allclose(host(x.grad), wanted, atol=1e-14)


def test_forward_mode_and_gradcheck(device, rng):
    array, direction = positive(rng, "equal", "float64"), rng.normal(size=(4, 4))
    direction = direction + direction.T
    x, along = (gg.tensor(one, device=device) for one in (array, direction))
    _, tangent = gg.jvp(lambda x: linalg.funm(x, lambda w: w**3), (x,), (along,))
    a, b = array, direction
    np.testing.assert_allclose(host(tangent), a @ a @ b + a @ b @ a + b @ a @ a, atol=1e-11)
    for f in (linalg.sqrtm, linalg.logm, lambda x: linalg.funm(x, gg.sin)):
        assert gg.gradcheck(lambda x, f=f: f(symmetrized(x)), x)
        assert gg.gradgradcheck(lambda x, f=f: f(symmetrized(x)), x)


def test_zeros_negatives_and_nothing(device):
    zero = gg.tensor(np.ones((2, 2)), device=device)  # eigenvalues 0 and 2
    np.testing.assert_allclose(host(linalg.sqrtm(zero)), np.ones((2, 2)) / 2**0.5, atol=1e-7)
    with np.errstate(all="ignore"):
        assert np.isnan(host(linalg.sqrtm(-zero))).all()
    for f in (linalg.sqrtm, linalg.logm, lambda x: linalg.funm(x, gg.exp)):
        for shape in ((0, 0), (0, 2, 2)):
            none = gg.zeros(shape, device=device, requires_grad=True)
            f(none).sum().backward()
            assert none.grad.shape == shape
    whole = gg.tensor(np.array([[4, 0], [0, 9]]), device=device)
    np.testing.assert_allclose(host(linalg.sqrtm(whole)), np.diag([2.0, 3]))
    half = gg.tensor(np.diag([4.0, 9]).astype("float16"), device=device, requires_grad=True)
    for f in (linalg.sqrtm, linalg.logm, linalg.polar):
        y = f(half)
        y = y[1] if isinstance(y, tuple) else y
        assert y.dtype == np.float16
        y.sum().backward()
    assert np.isfinite(host(half.grad)).all()


def test_refusals(device):
    general = gg.tensor(np.array([[1.0, 2], [0, 1]]), device=device)
    positive = gg.tensor(np.eye(2), device=device)
    for name in ("sqrtm", "logm", "funm"):
        f = getattr(linalg, name)
        operands = (gg.exp,) if name == "funm" else ()
        if gg.Device(device).kind == "cpu":
            with pytest.raises(ValueError, match=rf"{name}: expected Hermitian matrices.*mT\.conj"):
                f(general, *operands)
        else:
            with gg.sync_guard():
                y = f(general, *operands)
            assert np.isnan(host(y)).any()
        with pytest.raises(gg.ShapeError, match=rf"{name}: expected square"):
            f(gg.ones((2, 3), device=device), *operands)
    t = gg.tensor(2.0, device=device, requires_grad=True)
    with pytest.raises(gg.GradientError, match=r"funm: f uses a tensor that requires a gradient"):
        linalg.funm(positive, lambda w: gg.exp(t.astype("float64") * w))
    with pytest.raises(gg.ShapeError, match=r"funm: expected f to be elementwise.*\(\) of \(2,\)"):
        linalg.funm(positive, lambda w: w.sum())
    with pytest.raises(gg.DTypeError, match=r"funm: expected f to be real"):
        linalg.funm(positive, lambda w: gg.exp(1j * w))
    with pytest.raises(ValueError, match=r"polar: expected side 'right' or 'left', got 'up'"):
        linalg.polar(positive, "up")


def test_the_host_never_waits(rng):
    x = gg.tensor(positive(rng, "equal", "float64"), device="sim", requires_grad=True)
    with gg.sync_guard():
        y = linalg.sqrtm(x) + linalg.logm(x) + linalg.funm(x, gg.exp) + linalg.polar(x).P
        slope = gg.gradients(y.sum(), x, create_graph=True)
        slope.sum().backward()
    assert np.isfinite(host(x.grad)).all()
