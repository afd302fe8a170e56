"""Write complex_reference.json: losses of complex arrays and their gradients, by PyTorch.

Run it with a Python that has PyTorch (it is no dependency of gpugrad)::

    .venv-bench/bin/python tests/data/complex_reference.py

Every complex number is a pair of its parts. V and W are vectors, M a square matrix, B
right-hand sides for it, T a tall matrix and C the weights of the losses. The same functions stand
in tests/ops/test_complex_reference.py.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import fft as F
from torch import linalg as L

torch.set_default_dtype(torch.float64)
rng = np.random.default_rng(42)


def draw(*shape):
    return np.round(rng.normal(size=shape) + 1j * rng.normal(size=shape), 2)


ARRAYS = {"V": draw(4), "W": draw(4), "M": draw(3, 3), "B": draw(3, 2), "T": draw(4, 2)}
ARRAYS["C"] = draw(4, 4)
V, W, M, B, T, C = ARRAYS.values()


def loss(y):
    weights = torch.tensor(np.resize(C.reshape(-1), y.shape))
    if not y.is_complex():
        return (y * y * weights.real + y * weights.imag).sum()
    return ((y.real**2 + y.imag**2) * weights.real + (y * weights).real).sum()


def hermitian(m):
    return (m + m.mH) / 2 + torch.diag(torch.tensor([1.0, 2.0, 3.0]))


def positive(m):
    return m @ m.mH + torch.eye(3)


def turned(m):
    u, s, vh = L.svd(m, full_matrices=False)
    return (u * torch.tensor([1.0, -0.5, 2.0])[: s.shape[0]]) @ vh


def projected(m):
    _, v = L.eigh(hermitian(m))
    return (v * torch.tensor([1.0, 3.0, -2.0])) @ v.mH


def spectral(m):
    w, v = L.eig(m)
    order = torch.argsort(w.real)
    w, v = w[order], v[:, order]
    return torch.cat([w, v[:, 0] * v[0, 0].conj(), v[:, 2].abs()])


def sorted_eigenvalues(m):
    w = L.eigvals(m)
    return w[torch.argsort(w.real)]


# Functions, and the names of their operands.
CASES = {
    "exp": (torch.exp, "V"),
    "log": (torch.log, "V"),
    "sin": (torch.sin, "V"),
    "tan": (torch.tan, "V"),
    "tanh": (torch.tanh, "V"),
    "sqrt": (torch.sqrt, "V"),
    "arcsin": (torch.arcsin, "V"),
    "arccos": (torch.arccos, "V"),
    "arctan": (torch.arctan, "V"),
    "arcsinh": (torch.arcsinh, "V"),
    "arccosh": (torch.arccosh, "V"),
    "arctanh": (torch.arctanh, "V"),
    "reciprocal": (torch.reciprocal, "V"),
    "log1p": (torch.log1p, "V"),
    "power": (lambda z: z**2.5, "V"),
    "complex power": (lambda z: z ** (1 + 2j), "V"),
    "power of a number": (lambda z: 1.5**z, "V"),
    "divide": (lambda z: (z + 1) / (z * z - 2), "V"),
    "abs": (torch.abs, "V"),
    "angle": (torch.angle, "V"),
    "sign": (torch.sgn, "V"),
    "real and imag": (lambda z: z.real * z.imag**2, "V"),
    "conj": (lambda z: z.conj() * z * z, "V"),
    "norm": (L.vector_norm, "V"),
    "prod": (torch.prod, "V"),
    "cumprod": (lambda z: torch.cumprod(z, 0), "V"),
    "cumsum": (lambda z: torch.cumsum(z * z, 0), "V"),
    "mean": (torch.mean, "V"),
    "var": (lambda z: torch.var(z, correction=1), "V"),
    "std": (lambda z: torch.std(z, correction=0), "V"),
    "logsumexp": (lambda z: torch.logsumexp(z, 0), "V"),
    "vdot": (lambda z: torch.vdot(z, torch.tensor(W) * z), "V"),
    "where": (lambda z: torch.where(z.real > 0, z * z, z.conj()), "V"),
    "index": (lambda z: z[[0, 2, 0]] * z[1:], "V"),
    "matmul": (lambda m: m @ m.mT, "M"),
    "einsum": (lambda m: torch.einsum("ij,jk,ik->i", m, m, m), "M"),
    "tensordot": (lambda m: torch.tensordot(m, m, dims=2), "M"),
    "fft": (lambda z: F.fft(z, 6), "V"),
    "ifft": (lambda z: F.ifft(z, norm="ortho"), "V"),
    "rfft": (lambda z: F.rfft(z.real * z.imag, 5), "V"),
    "irfft": (lambda z: F.irfft(z, 7, norm="forward"), "V"),
    "hfft": (lambda z: F.hfft(z), "V"),
    "ihfft": (lambda z: F.ihfft(z.abs()), "V"),
    "fft2": (lambda m: F.fft2(m * m, norm="forward"), "M"),
    "rfftn": (lambda m: F.rfftn(m.real * m.imag), "M"),
    "irfftn": (lambda m: F.irfftn(m, s=(2, 4)), "M"),
    "fftshift": (lambda m: F.fftshift(F.ifftn(m)), "M"),
    "det": (L.det, "M"),
    "sign of slogdet": (lambda m: L.slogdet(m)[0], "M"),
    "logarithm of slogdet": (lambda m: L.slogdet(m)[1], "M"),
    "inv": (L.inv, "M"),
    "solve": (lambda m: L.solve(m, torch.tensor(B) * m[0, 0]), "M"),
    "solve_triangular": (lambda m: L.solve_triangular(m, torch.tensor(B), upper=True), "M"),
    "cholesky": (lambda m: L.cholesky(positive(m)), "M"),
    "qr": (lambda m: L.qr(m)[1], "M"),
    "q of qr": (lambda t: L.qr(t)[0], "T"),
    "svd": (turned, "M"),
    "svd of a tall matrix": (turned, "T"),
    "svdvals": (L.svdvals, "M"),
    "eigvalsh": (lambda m: L.eigvalsh(hermitian(m)), "M"),
    "eigh": (projected, "M"),
    "eigvals": (sorted_eigenvalues, "M"),
    "eig": (spectral, "M"),
    "eig of a real matrix": (lambda m: spectral(m.real), "M"),
    "pinv": (L.pinv, "T"),
    "lstsq": (lambda t: L.lstsq(t, torch.tensor(V)[:, None] * t[0, 0]).solution, "T"),
    "matrix_power": (lambda m: L.matrix_power(m, 3), "M"),
    "expm": (L.matrix_exp, "M"),
    "nuclear norm": (lambda m: L.matrix_norm(m, "nuc"), "M"),
    "norm of rows": (lambda m: L.matrix_norm(m, float("inf")), "M"),
    "matrix_norm": (lambda m: L.matrix_norm(m), "M"),
}


def parts(values):
    return np.stack([np.real(values), np.imag(values)], axis=-1).tolist()


def main():
    figures = {}
    for name, (function, operand) in CASES.items():
        z = torch.tensor(ARRAYS[operand], requires_grad=True)
        value = loss(function(z))
        value.backward()
        figures[name] = [operand, value.item(), parts(z.grad.resolve_conj().numpy())]
    lines = [f'"version": {json.dumps(torch.__version__)}']
    lines += [f'"{name}": {json.dumps(parts(array))}' for name, array in ARRAYS.items()]
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in figures.items())
    lines.append(f'"figures": {{\n{rows}\n}}')
    path = Path(__file__).with_suffix(".json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(figures)} figures written to {path}")


if __name__ == "__main__":
    main()
