"""Gradients of eigh, svd and eig at close and equal values, over sizes, dtypes, shapes and orders.

Close values are no equal ones: single precision is compared with double at the same matrix. At
equal ones a loss has its right gradient or is refused: an error on the host, NaN on a device.
"""

import numpy as np
import pytest
from arrays import host

import gpugrad as gg
from gpugrad import linalg
from gpugrad.ops.subspaces import DEPENDENT, UNDETERMINED

DTYPES = ["float32", "float64", "complex64", "complex128"]
DEPENDS, BOTH = DEPENDENT[:40], UNDETERMINED[:40]


def drawn(rng, shape, dtype):
    values = rng.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.normal(size=shape)
    return values.astype(np.result_type(dtype, np.float64))


def unitary(rng, rows, columns, dtype):
    return np.linalg.qr(drawn(rng, (rows, columns), dtype))[0]


def hermitian(rng, w, dtype):
    """A matrix with these eigenvalues."""
    q = unitary(rng, len(w), len(w), dtype)
    m = (q * w) @ q.conj().T
    return ((m + m.conj().T) / 2).astype(dtype)


def rectangular(rng, rows, columns, s, dtype):
    """A matrix with these singular values."""
    u, v = (unitary(rng, size, len(s), dtype) for size in (rows, columns))
    return ((u * s) @ v.conj().T).astype(dtype)


def adjoint(x):
    return x.mT.conj()


def real(x):
    return x.real if x.dtype.kind == "c" else x


def gradient(f, array, device="cpu"):
    x = gg.tensor(array, device=device, requires_grad=True)
    with gg.sync_guard():
        y = f(x)
        y.backward()
    return host(x.grad)


def weighted(y, seed=5):
    """A real number that depends on every element of y."""
    rng = np.random.default_rng(seed)
    weights = drawn(rng, y.shape, "complex128" if y.dtype.kind == "c" else "float64")
    weights = gg.tensor(weights.astype(y.dtype), device=y.device)
    return real(y * weights).sum()


def refused(f, array, device, words):
    """Whether the gradient is an error on the host, and NaN on a device."""
    x = gg.tensor(array, device=device, requires_grad=True)
    y = f(x)
    if gg.Device(device).kind == "cpu":
        with pytest.raises(gg.GradientError, match=words):
            y.backward()
        assert x.grad is None
        return
    with gg.sync_guard():
        y.backward()
    assert np.isnan(host(x.grad).real).all()


# Close values.


def by_eigh(x, f):
    w, v = linalg.eigh((x + adjoint(x)) * 0.5)
    return (v * f(w)[..., None, :]) @ adjoint(v)


def by_svd(x, f):
    u, s, vh = linalg.svd(x, full_matrices=False)
    return (u * f(s)[..., None, :]) @ vh


def root(w):
    return (w + 1e-2) ** -0.5


def components(x):
    u, s, _ = linalg.svd(x, full_matrices=False)
    return gg.abs(u * s) ** 2


LOSSES = {
    "function": lambda x: weighted(by_eigh(x, root)),
    "vectors": lambda x: weighted(gg.abs(linalg.eigh((x + adjoint(x)) * 0.5)[1]) ** 2),
    "rebuilt": lambda x: weighted(by_svd(x, root)),
    "scores": lambda x: weighted(components(x)),
    "right": lambda x: weighted(gg.abs(linalg.svd(x, full_matrices=False)[2]) ** 2),
}


def spectrum(kind, size):
    """Values of which two neighbours are about so far apart, by the largest."""
    if kind == "apart":
        return np.linspace(1, 2, size), 0.5 / size
    if kind == "close":
        return np.linspace(1, 2, size) + np.where(
            np.arange(size) == 1, -1 / (size - 1) + 1e-3, 0
        ), 1e-3
    return 0.5 ** np.linspace(0, 8, size)[::-1], 2.0**-8 / size  # decaying


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("kind", ["apart", "close", "decaying"])
@pytest.mark.parametrize("shape", [(3, 3), (24, 24), (40, 8), (8, 40)], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_close_values_are_not_equal(name, shape, kind, dtype, device, rng):
    values, gap = spectrum(kind, min(shape))
    if name in ("function", "vectors"):
        array = hermitian(rng, values, dtype)
    else:
        array = rectangular(rng, *shape, values, dtype)
    single = gradient(LOSSES[name], array, device)
    double = gradient(LOSSES[name], array.astype(np.result_type(dtype, np.float64)))
    error = np.linalg.norm(single - double) / np.linalg.norm(double)
    assert error < 30 * np.finfo(np.float32).eps / gap


def test_a_tall_matrix_far_from_its_center(device, rng):
    """One singular value is a thousand times the others, and the matrix has many rows."""
    array = (50 + rng.normal(size=(3000, 8)) * np.linspace(1, 2, 8)).astype(np.float32)
    single = gradient(LOSSES["rebuilt"], array, device)
    double = gradient(LOSSES["rebuilt"], array.astype(np.float64))
    assert np.linalg.norm(single - double) < 1e-4 * np.linalg.norm(double)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("gap", [1.0, 1e-2, 1e-4])
def test_second_derivatives_at_close_values(gap, dtype, device, rng):
    """Of a function of the matrix, against that function's own."""
    w = np.array([1.0, 1.0 + gap, 2.5, 4.0])
    array, direction = hermitian(rng, w, dtype), drawn(rng, (4, 4), dtype)
    direction = direction + direction.conj().T
    for by, own in (
        (lambda x: by_eigh(x, gg.log), linalg.logm),
        (lambda x: by_svd(x, gg.sqrt), linalg.sqrtm),
    ):
        found = []
        for f, where in ((by, device), (own, "cpu")):
            x = gg.tensor(array, device=where, requires_grad=True)
            b = gg.tensor(direction, device=where)
            (slope,) = gg.gradients(weighted(f((x + adjoint(x)) * 0.5)), [x], create_graph=True)
            (curve,) = gg.gradients(real(slope * b.conj()).sum(), [x])
            found.append(host(curve))
        np.testing.assert_allclose(found[0], found[1], atol=1e-13 / gap**2 + 1e-11)


# Equal values.


def basis(v):
    """Numbers that change when columns of v turn into each other, and with no phase."""
    return v * gg.roll(v, 1, axis=-2).conj()


EQUAL = {
    "identity": lambda rng, dtype: np.eye(4, dtype=dtype),
    "diagonal": lambda rng, dtype: np.diag([1.0, 1, 3, 3, 3]).astype(dtype),
    "turned": lambda rng, dtype: hermitian(rng, [1.0, 1, 1, 3], dtype),
    "zeros": lambda rng, dtype: np.zeros((3, 3), dtype),
    "two zeros": lambda rng, dtype: hermitian(rng, [0.0, 0, 3, 5], dtype),
    "large": lambda rng, dtype: hermitian(rng, [1e6] * 20 + [3e6] * 20, dtype),
}
EVERY = [
    pytest.mark.parametrize("dtype", DTYPES),
    pytest.mark.parametrize("kind", EQUAL),
]


def every(test):
    for mark in EVERY:
        test = mark(test)
    return test


def lowest(x):
    """The projector onto all vectors of the smallest eigenvalue."""
    w, v = linalg.eigh((x + adjoint(x)) * 0.5)
    count = int((host(w) < host(w).max() / 2).sum()) or w.shape[-1]
    return v[:, :count] @ adjoint(v[:, :count])


@every
def test_the_projector_onto_equal_vectors_has_its_gradient(kind, dtype, device, rng):
    array = EQUAL[kind](rng, dtype)
    half = np.linalg.eigvalsh(array).max() / 2

    def step(x):
        whole = half == 0 or kind == "identity"
        return linalg.funm(x, lambda w: gg.where((w < half) | whole, 1.0, 0.0))

    x = gg.tensor(array, device=device, requires_grad=True)
    weighted(lowest(x)).backward()
    wide = array.astype(np.result_type(dtype, np.float64))
    wanted = gradient(lambda x: weighted(step((x + adjoint(x)) * 0.5)), wide)
    size = np.abs(wanted).max() + 1 / (np.abs(array).max() + 1)
    np.testing.assert_allclose(host(x.grad), wanted, atol=500 * np.finfo(dtype).eps * size)


@every
def test_functions_of_the_values_have_their_gradient(kind, dtype, device, rng):
    array = EQUAL[kind](rng, dtype)
    for f in (
        lambda x: (linalg.eigvalsh(x) ** 2).sum(),
        lambda x: (linalg.eigh(x)[0] ** 2).sum(),
        lambda x: (linalg.svdvals(x) ** 2).sum(),
        lambda x: (linalg.svd(x)[1] ** 2).sum(),
        lambda x: real(linalg.eigvals(x) ** 2).sum(),
    ):
        size = np.abs(array).max()
        atol = 200 * np.finfo(dtype).eps * size
        np.testing.assert_allclose(gradient(f, array, device), 2 * array, atol=atol)


@every
def test_a_loss_that_depends_on_the_basis_is_refused(kind, dtype, device, rng):
    array = EQUAL[kind](rng, dtype)
    for f in (
        lambda x: weighted(basis(linalg.eigh(x)[1])),
        lambda x: weighted(basis(linalg.svd(x)[0])) * 1e-4,
        lambda x: weighted(basis(adjoint(linalg.svd(x)[2]))) * 1e4,
    ):
        refused(f, array, device, DEPENDS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_and_so_it_is_by_eig(dtype, device):
    array = np.diag([2.0, 2, 5]).astype(dtype)
    refused(lambda x: weighted(basis(linalg.eig(x)[1])), array, device, DEPENDS)
    refused(
        lambda x: weighted(
            (lambda w, v: (v * gg.exp(w)[..., None, :]) @ linalg.inv(v))(*linalg.eig(x)).real
        ),
        array,
        device,
        BOTH,
    )


@every
def test_a_function_of_vectors_and_values_is_refused(kind, dtype, device, rng):
    """Or right, where rounding has told the values apart: never a part of its gradient."""
    array = EQUAL[kind](rng, dtype)
    wide = array.astype(np.result_type(dtype, np.float64))
    largest = np.abs(array).max() + 1

    def shrunk(w):
        return 1 / (w / largest + 1)

    refused(lambda x: weighted(by_eigh(x, shrunk)), array, device, BOTH)
    for by, own in (
        (lambda x: by_eigh(x, lambda w: w), lambda x: (x + adjoint(x)) * 0.5),
        (lambda x: by_svd(x, lambda s: s), lambda x: x),
    ):
        if (
            kind != "two zeros"
        ):  # of which rounding makes two small numbers, far apart for their size
            refused(lambda x, by=by: weighted(by(x)), array, device, BOTH)
            continue
        wanted = gradient(lambda x, own=own: weighted(own(x)), wide)
        atol = 100 * np.finfo(dtype).eps * np.abs(wanted).max()
        found = gradient(lambda x, by=by: weighted(by(x)), array, device)
        np.testing.assert_allclose(found, wanted, atol=atol)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 3), (3, 6)], ids=str)
def test_zero_singular_values_of_tall_and_wide_matrices(shape, dtype, device):
    """A vector of the value zero turns into what is orthogonal to all of them, too."""
    array = np.zeros(shape, dtype)
    array[0, 0], array[1, 1] = 2, 1

    def side(results):
        return results[0] if shape[0] > shape[1] else adjoint(results[2])

    refused(
        lambda x: weighted(basis(side(linalg.svd(x, full_matrices=False)))),
        array, device, DEPENDS,
    )  # fmt: skip
    refused(lambda x: real(by_svd(x, lambda s: s)).sum(), array, device, BOTH)

    def leading(x):
        u, s, vh = linalg.svd(x, full_matrices=False)
        return weighted((u[:, :2] * s[:2]) @ vh[:2])

    assert np.isfinite(gradient(leading, array, device)).all()


def test_of_a_stack_only_the_matrix_with_equal_values_has_nan(rng):
    stack = np.stack([np.eye(3), np.diag([1.0, 2, 4])])
    x = gg.tensor(stack, device="sim", requires_grad=True)
    weighted(basis(linalg.eigh(x)[1])).backward()
    assert np.isnan(host(x.grad)[0]).all()
    assert np.isfinite(host(x.grad)[1]).all()


def test_a_second_derivative_at_equal_values_is_refused(device):
    """The first one, of the values alone, is right; how it changes depends on the vectors too."""
    x = gg.tensor(np.eye(3), device=device, requires_grad=True)
    for f in (linalg.eigvalsh, linalg.svdvals):
        (slope,) = gg.gradients((f(x) ** 2).sum(), [x], create_graph=True)
        np.testing.assert_allclose(host(slope.detach()), 2 * np.eye(3), atol=1e-12)
        if gg.Device(device).kind == "cpu":
            with pytest.raises(gg.GradientError, match=BOTH):
                gg.gradients(slope.sum(), [x])
        else:
            assert np.isnan(host(gg.gradients(slope.sum(), [x])[0])).all()


def test_forward_mode_at_equal_values(device):
    """The values have a tangent, the vectors one in no direction that turns them: NaN."""
    x = gg.tensor(np.diag([1.0, 1, 3]), device=device)
    along = gg.tensor(np.diag([1.0, 2, 5]), device=device)
    across = gg.tensor(np.ones((3, 3)), device=device)
    for f, index in ((linalg.eigh, 1), (linalg.svd, 0), (linalg.eig, 1)):
        values = 0 if f is not linalg.svd else 1
        for direction, finite in ((along, True), (across, False)):
            _, tangent = gg.jvp(lambda x, f=f, i=index: f(x)[i], (x,), (direction,))
            assert np.isfinite(host(tangent)).all() == finite
            _, tangent = gg.jvp(lambda x, f=f, i=values: f(x)[i].sum(), (x,), (direction,))
            np.testing.assert_allclose(host(tangent), np.trace(host(direction)))


def test_the_messages_say_what_to_use():
    x = gg.tensor(np.eye(2), requires_grad=True)
    with pytest.raises(gg.GradientError) as caught:
        linalg.eigh(x)[1][0, 1].backward()
    assert str(caught.value) == (
        "eigh: the loss depends on the choice of the vectors of equal values, which is not unique, "
        "so it has no gradient. Use what does not depend on it: the values alone, or the projector "
        "onto the whole space of one value, as v @ v.mT.conj() of all its columns v"
    )
    with pytest.raises(gg.GradientError) as caught:
        by_eigh(x, gg.exp).sum().backward()
    assert str(caught.value) == (
        "eigh: some values are equal, and the loss depends on values and vectors. Its derivative "
        "does not follow from theirs. For a function of the matrix, such as V * f(w) @ V.mT, use "
        "linalg.funm, sqrtm, logm, expm or polar; else take the values from a call of their own"
    )
