"""Gradients of real losses by complex numbers against those of PyTorch."""

import json

import numpy as np
import pytest
from repository import ROOT

import gpugrad as gg

REFERENCE = json.loads(
    (ROOT / "tests" / "data" / "complex_reference.json").read_text(encoding="utf-8")
)
FIGURES = REFERENCE["figures"]
V, W, M, B, T, C = (np.array(REFERENCE[name]) @ [1, 1j] for name in "VWMBTC")
ARRAYS = {"V": V, "M": M, "T": T}

L, F = gg.linalg, gg.fft


def loss(y):
    weights = gg.tensor(np.resize(np.reshape(C, -1), y.shape), device=y.device)
    if y.dtype.kind != "c":
        return (y * y * weights.real + y * weights.imag).sum()
    return ((y.real**2 + y.imag**2) * weights.real + (y * weights).real).sum()


def constant(values, like):
    return gg.tensor(np.array(values), device=like.device)


def hermitian(m):
    return (m + m.mT.conj()) / 2 + constant(np.diag([1.0, 2.0, 3.0]), m)


def positive(m):
    return m @ m.mT.conj() + constant(np.eye(3), m)


def turned(m):
    """A function of singular vectors that does not depend on their phases."""
    u, s, vh = L.svd(m, full_matrices=False)
    return (u * constant([1.0, -0.5, 2.0][: s.size], m)) @ vh


def projected(m):
    v = L.eigh(hermitian(m)).eigenvectors
    return (v * constant([1.0, 3.0, -2.0], m)) @ v.mT.conj()


def spectral(m):
    w, v = L.eig(m)
    order = gg.argsort(w.detach().real)
    w, v = w[order], v[:, order]
    return gg.concat([w, v[:, 0] * v[0, 0].conj(), gg.abs(v[:, 2]) + 0j])


def sorted_eigenvalues(m):
    w = L.eigvals(m)
    return w[gg.argsort(w.detach().real)]


FUNCTIONS = {
    "power": lambda z: z**2.5,
    "complex power": lambda z: z ** (1 + 2j),
    "power of a number": lambda z: 1.5**z,
    "divide": lambda z: (z + 1) / (z * z - 2),
    "real and imag": lambda z: z.real * z.imag**2,
    "conj": lambda z: z.conj() * z * z,
    "norm": L.norm,
    "cumsum": lambda z: gg.cumsum(z * z),
    "var": lambda z: gg.var(z, correction=1),
    "vdot": lambda z: gg.vdot(z, constant(W, z) * z),
    "where": lambda z: gg.where(z.real > 0, z * z, z.conj()),
    "index": lambda z: z[[0, 2, 0]] * z[1:],
    "matmul": lambda m: m @ m.mT,
    "einsum": lambda m: gg.einsum("ij,jk,ik->i", m, m, m),
    "tensordot": lambda m: gg.tensordot(m, m),
    "fft": lambda z: F.fft(z, 6),
    "ifft": lambda z: F.ifft(z, norm="ortho"),
    "rfft": lambda z: F.rfft(z.real * z.imag, 5),
    "irfft": lambda z: F.irfft(z, 7, norm="forward"),
    "hfft": F.hfft,
    "ihfft": lambda z: F.ihfft(gg.abs(z)),
    "fft2": lambda m: F.fft2(m * m, norm="forward"),
    "rfftn": lambda m: F.rfftn(m.real * m.imag),
    "irfftn": lambda m: F.irfftn(m, s=(2, 4), axes=(0, 1)),
    "fftshift": lambda m: F.fftshift(F.ifftn(m)),
    "sign of slogdet": lambda m: L.slogdet(m)[0],
    "logarithm of slogdet": lambda m: L.slogdet(m)[1],
    "solve": lambda m: L.solve(m, constant(B, m) * m[0, 0]),
    "solve_triangular": lambda m: L.solve_triangular(m, constant(B, m)),
    "cholesky": lambda m: L.cholesky(positive(m)),
    "qr": lambda m: L.qr(m)[1],
    "q of qr": lambda t: L.qr(t)[0],
    "svd": turned,
    "svd of a tall matrix": turned,
    "eigvalsh": lambda m: L.eigvalsh(hermitian(m)),
    "eigh": projected,
    "eigvals": sorted_eigenvalues,
    "eig": spectral,
    "eig of a real matrix": lambda m: spectral(m.real),
    "lstsq": lambda t: L.lstsq(t, constant(V, t)[:, None] * t[0, 0])[0],
    "matrix_power": lambda m: L.matrix_power(m, 3),
    "nuclear norm": lambda m: L.matrix_norm(m, ord="nuc"),
    "norm of rows": lambda m: L.matrix_norm(m, ord=np.inf),
}


@pytest.mark.parametrize("name", FIGURES)
def test_gradients_are_pytorch_s(name, device):
    operand, value, gradient = FIGURES[name]
    function = FUNCTIONS.get(name) or getattr(gg, name, None) or getattr(L, name)
    z = gg.tensor(ARRAYS[operand], device=device, requires_grad=True)
    found = loss(function(z))
    found.backward()
    np.testing.assert_allclose(found.item(), value, rtol=1e-10)
    np.testing.assert_allclose(z.grad.cpu().numpy(), np.array(gradient) @ [1, 1j], atol=1e-9)
