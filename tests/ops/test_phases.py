"""Losses that depend on the phase of eigenvectors or singular vectors are refused; no others are.

On the host that is an error; on a device, where a look at the numbers would wait, a NaN.
"""

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import linalg

DEPENDENT = "the loss depends on the phase"


def hermitian(m):
    return (m + m.mT.conj()) * 0.5


def weights(m, *shape):
    values = np.resize([0.7, -1.3, 2.1, 0.4, 1.6], shape or m.shape[-1:])
    return gg.tensor(values.astype(m.real.dtype), device=m.device)


def vectors(m):
    return linalg.eigh(hermitian(m)).eigenvectors


def rebuilt(m, f):
    u, s, vh = linalg.svd(m, full_matrices=False)
    return (u * f(s)[..., None, :]) @ vh


def fixed(m):
    """Vectors whose first number is real: the usual way to choose a phase."""
    v = vectors(m)
    return v * gg.sign(v[..., :1, :]).conj()


def normalized(v):
    return v / linalg.vector_norm(v, axis=-2, keepdims=True)


# Real functions of a matrix that depend on no phase, though they use complex vectors.
FREE = {
    "sizes": lambda m: (gg.abs(vectors(m)) * weights(m)).sum(),
    "squares": lambda m: ((vectors(m) * vectors(m).conj()).real * weights(m)).sum(),
    "logarithms": lambda m: (gg.log(gg.abs(vectors(m))) * weights(m)).sum(),
    "projector": lambda m: (lambda v: gg.abs(v @ v.mT.conj() - 1).sum())(vectors(m)[..., :2]),
    "fixed": lambda m: (fixed(m).real * weights(m)).sum(),
    "angles": lambda m: (lambda a: gg.cos(a - a[..., :1, :]).sum())(gg.angle(vectors(m))),
    "divided": lambda m: (lambda v: gg.abs(v / v[..., :1, :] * weights(m)).sum())(vectors(m)),
    "determinant": lambda m: linalg.slogdet(vectors(m))[1] + gg.abs(fixed(m)).sum(),
    "function": lambda m: (lambda w, v: gg.abs((v * gg.exp(w)[..., None, :]) @ v.mT.conj()).sum())(
        *linalg.eigh(hermitian(m))
    ),
    "constant": lambda m: (gg.abs(vectors(m)) ** 2).sum(),
    "normalized": lambda m: (gg.abs(normalized(vectors(m))) ** 2 * weights(m)[:, None]).sum(),
    "nothing left": lambda m: (gg.abs(rebuilt(m, lambda s: s) - m.detach()) ** 2).sum(),
    "polar": lambda m: (rebuilt(m, gg.ones_like).real * weights(m)).sum(),
    "tall": lambda m: (gg.abs(rebuilt(m[..., :-1], gg.square)) * weights(m, 1)).sum(),
    "wide": lambda m: gg.abs(rebuilt(m[..., 1:, :], lambda s: 1 / s)).sum(),
    "left alone": lambda m: (gg.abs(linalg.svd(m)[0]) * weights(m)).sum(),
    "eig sizes": lambda m: (gg.abs(linalg.eig(m)[1]) * weights(m)[:, None]).sum(),
    "eig function": lambda m: (
        lambda w, v: gg.abs((v * gg.exp(w)[..., None, :]) @ linalg.inv(v)).sum()
    )(*linalg.eig(m)),
    "eig of real": lambda m: (gg.abs(linalg.eig(m.real)[1]) ** 3 * weights(m)[:, None]).sum(),
    "values": lambda m: (
        linalg.eig(m)[0].real.sum() + linalg.eigh(hermitian(m))[0][0] + linalg.svd(m)[1][..., 0]
    ).sum(),
}

# And such as do, with the op that says so.
BOUND = {
    "eigh": lambda m: vectors(m).real.sum(),
    "eigh, one vector": lambda m: gg.abs(vectors(m)[0, 0] + 1j),
    "svd": lambda m: linalg.svd(m)[0].real.sum(),
    "svd, right": lambda m: linalg.svd(m, full_matrices=False)[2].imag.sum(),
    "svd, mixed": lambda m: (lambda u, s, vh: gg.abs(u + vh).sum())(*linalg.svd(m)),
    "eig": lambda m: linalg.eig(m)[1].real.sum(),
    "eig of real": lambda m: (linalg.eig(m.real)[1].real * weights(m)[:, None]).sum(),
}


def matrices(rng, dtype="complex128", size=4, kind="any"):
    m = rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size))
    if kind == "scaled":  # rows from 1e-3 to 1e3
        m = m * np.logspace(-3, 3, size)[:, None] / 100
    if kind == "almost diagonal":
        m = np.diag(np.arange(1, size + 1)) + 1e-3 * m
    if kind == "close together":
        m = np.eye(size) + 1e-4 * m
    return m.astype(dtype)


@pytest.mark.parametrize("kind", ["any", "scaled", "almost diagonal", "close together"])
@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
@pytest.mark.parametrize("name", FREE)
def test_a_loss_without_a_phase_has_its_gradient(name, dtype, kind, device, rng):
    for size, scale in ((2, 1e-12), (3, 1.0), (7, 1e12)):
        x = gg.tensor(matrices(rng, dtype, size, kind), device=device, requires_grad=True)
        (FREE[name](x) * scale).backward()
        assert np.isfinite(x.grad.cpu().numpy()).all()


@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
def test_rounding_errors_alone_are_no_phase(dtype, device, rng):
    """The parts of a gradient cancel, and nothing of it is left but what rounding left."""
    x = gg.tensor(matrices(rng, dtype), device=device, requires_grad=True)
    (gg.abs(normalized(vectors(x))) ** 2).sum().backward()
    assert (np.abs(x.grad.cpu().numpy()) < 1e-5).all()


@pytest.mark.parametrize("name", FREE)
def test_and_a_second_one(name, device, rng):
    x = gg.tensor(matrices(rng), device=device, requires_grad=True)
    direction = gg.tensor(matrices(rng), device=device)
    slope = gg.gradients(FREE[name](x), x, create_graph=True)
    (slope * direction.conj()).real.sum().backward()
    assert np.isfinite(x.grad.cpu().numpy()).all()


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e12])
@pytest.mark.parametrize("name", BOUND)
def test_a_loss_with_a_phase_is_refused(name, scale, dtype, create_graph, device, rng):
    x = gg.tensor(matrices(rng, dtype), device=device, requires_grad=True)
    loss = BOUND[name](x) * scale
    if gg.Device(device).kind == "cpu":
        with pytest.raises(gg.GradientError, match=f"{name.split(',')[0].split()[0]}: {DEPENDENT}"):
            loss.backward(create_graph=create_graph)
        assert x.grad is None
        return
    with gg.sync_guard():
        loss.backward(create_graph=create_graph)
    assert np.isnan(x.grad.detach().cpu().numpy().real).all()


def test_the_message_says_what_to_use():
    x = gg.tensor(matrices(np.random.default_rng(0)), requires_grad=True)
    with pytest.raises(gg.GradientError) as caught:
        BOUND["eigh"](x).backward()
    assert str(caught.value) == (
        "eigh: the loss depends on the phase of complex vectors, which is not unique (v and v * "
        "exp(1j) are both right), so it has no gradient. Use what has no phase: abs(v), or the "
        "projector v * v.conj(), of a column as v[:, None] * v.conj()"
    )


def test_of_a_stack_only_the_matrix_that_is_wrong_has_nan(rng):
    stack = np.stack([matrices(rng), matrices(rng)])
    x = gg.tensor(stack, device="sim", requires_grad=True)
    v = vectors(x)
    (gg.abs(v[0]) ** 3).sum().backward(retain_graph=True)
    assert np.isfinite(x.grad.cpu().numpy()).all()
    x.grad = None
    ((gg.abs(v[0]) ** 3).sum() + v[1].real.sum()).backward()
    found = x.grad.cpu().numpy()
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1].real).all()


def test_anomaly_detection_finds_the_nan(rng):
    x = gg.tensor(matrices(rng), device="sim", requires_grad=True)
    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError, match="eigh"):
        BOUND["eigh"](x).backward()


def test_a_second_derivative_by_a_phase_is_refused_too(rng):
    """The first one is right where it is asked for; its own loss is not."""
    x = gg.tensor(matrices(rng), requires_grad=True)
    w, v = linalg.eigh(hermitian(x))
    slope = gg.gradients(w[0], x, create_graph=True)
    with pytest.raises(gg.GradientError, match=DEPENDENT):
        (slope.real.sum() + v.real.sum()).backward()


@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
def test_projectors_onto_a_space_of_equal_eigenvalues(dtype, device, rng):
    q, _ = np.linalg.qr(matrices(rng))
    m = (q * [1.0, 1.0, 1.0, 3.0]) @ q.conj().T
    x = gg.tensor(m.astype(dtype), device=device, requires_grad=True)
    v = vectors(x)[:, :3]
    (gg.abs(v @ v.mT.conj()) * weights(x)).sum().backward()
    assert np.isfinite(x.grad.cpu().numpy()).all()


def test_real_vectors_have_no_phase(device, rng):
    """Also those of eig of a symmetric matrix, which are complex numbers: a sign alone is free."""
    m = rng.normal(size=(3, 3))
    x = gg.tensor(m + m.T, device=device, requires_grad=True)
    linalg.eig(x)[1].real.sum().backward()
    linalg.svd(x)[0].sum().backward()
    linalg.eigh(x)[1].sum().backward()
    assert np.isfinite(x.grad.cpu().numpy()).all()


def test_no_numbers_and_nan(device):
    x = gg.zeros((0, 2, 2), dtype="complex128", device=device, requires_grad=True)
    (gg.abs(vectors(x)).sum() + gg.abs(linalg.svd(x)[0]).sum()).backward()
    assert x.grad.shape == (0, 2, 2)
    y = gg.tensor(np.diag([1 + 0j, 2]), device=device, requires_grad=True)
    (gg.abs(vectors(y)) * float("nan")).sum().backward()  # NaN stays NaN, and is no phase
    assert np.isnan(y.grad.cpu().numpy()).any()
