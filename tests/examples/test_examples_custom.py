"""The examples custom_op and kernel: their figures, their rules, and the source of the kernels."""

import ctypes
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from repository import ROOT

import gpugrad as gg

EXAMPLES = ROOT / "examples"


@pytest.fixture
def run(example, capsys, device):
    """Run an example as its command line would, on a device, and return what it printed."""

    def call(name, *argv):
        example(name).main(["--device", str(device), *map(str, argv)])
        return capsys.readouterr().out

    return call


def figures(text, start, *words):
    """The numbers behind some words, of the line that starts so."""
    row = next(row for row in text.splitlines() if row.startswith(start))
    return [float(re.search(rf"{word} +(-?[\d.e+-]+)", row)[1]) for word in words]


# ---------------------------------------------------------------- custom_op


@pytest.fixture
def wrapped(example):
    pytest.importorskip("scipy")
    return example("custom_op")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_custom_op_finds_what_the_data_were_made_from(wrapped, run, device, dtype):
    text = run("custom_op", "--dtype", dtype, "--seed", 1)
    assert text.startswith(f"{dtype} on {device}")
    assert figures(text, "gamma", "shape", "rate") == pytest.approx([3.5, 2], rel=0.04)
    assert figures(text, "orbit", "amplitude", "phase") == pytest.approx([3, 0.1], abs=0.05)
    assert figures(text, "orbit", "eccentricity") == pytest.approx([0.4], abs=0.01)
    before, after = figures(text, "picture", "error", "blurred,")
    assert after < before / 2


def test_the_gamma_fit_is_scipys(wrapped, device):
    from scipy import stats

    x = np.random.default_rng(2).gamma(1.7, 0.3, 500)
    shape, rate = wrapped.fit_gamma(gg.tensor(x, device=device))
    expected, _, scale = stats.gamma.fit(x, floc=0)
    assert shape.item() == pytest.approx(expected, rel=1e-4)
    assert rate.item() == pytest.approx(1 / scale, rel=1e-4)


def test_the_rules_of_custom_op(wrapped, device):
    def on(*values):
        return gg.tensor(np.asarray(values, float), dtype="float64", device=device)

    assert gg.gradgradcheck(wrapped.gammaln, on(0.4, 1.5, 7.0))
    assert gg.gradgradcheck(lambda x: wrapped.polygamma(x, n=1), on(0.9, 1.5, 7.0))
    inputs = (on(0.3, 2.0, 5.0), on(0.1, 0.6, 0.8))
    assert gg.gradgradcheck(wrapped.kepler, inputs)
    m, e = (t.cpu().numpy() for t in inputs)
    y = wrapped.kepler(*inputs).cpu().numpy()
    np.testing.assert_allclose(y - e * np.sin(y), m, atol=1e-9)
    picture = gg.tensor(np.random.default_rng(0).normal(size=(5, 6)), device=device)
    assert gg.gradgradcheck(lambda x: wrapped.blur(x) ** 2, picture)
    tangent = picture * 0 + 1.0
    pushed = gg.jvp(wrapped.blur, (picture,), (tangent,))[1]
    np.testing.assert_allclose(pushed.cpu().numpy(), wrapped.blur(tangent).cpu().numpy())


# ---------------------------------------------------------------- kernel


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernel_fits_and_relaxes(run, device, dtype):
    text = run("kernel", "--dtype", dtype)
    body = "kernels" if device.kind == "cuda" else "twins"
    assert text.startswith(f"{dtype} on {device}: {body}\n")
    assert figures(text, "pseudo-Huber", "slope", "intercept") == pytest.approx([2, 1], abs=0.15)
    assert figures(text, "least squares", "slope")[0] > 3
    energy, force = figures(text, "13 atoms", "energy", "force")
    # No cluster of 13 lies lower than the icosahedron: Hoare and Pal, Adv. Phys. 20, 161 (1971).
    assert -44.327 < energy < -35
    assert force < 1e-3


def test_two_atoms_come_to_rest_where_the_potential_is_lowest(example, device):
    kernel = example("kernel")
    x = gg.tensor([[0.0, 0, 0], [1.0, 0.2, 0]], dtype="float64", device=device)
    found, energy = kernel.relax(x)
    assert energy == pytest.approx(-1)
    distance = np.linalg.norm(np.diff(found.cpu().numpy(), axis=0))
    assert distance == pytest.approx(2 ** (1 / 6), rel=1e-4)


def atoms(n=5, seed=3):
    return np.random.default_rng(seed).uniform(0, 1, (n, 3)) + 1.1 * np.arange(n)[:, None]


def test_the_rules_of_kernel(example, device):
    """On a GPU the kernels, held against differences; elsewhere their twins."""
    kernel = example("kernel")
    x = gg.tensor(atoms(), device=device)
    off = gg.tensor(np.array([-2.0, 0.0, 0.1, 5.0]), device=device)
    assert gg.gradgradcheck(kernel.energies, x)
    assert gg.gradgradcheck(lambda x: kernel.huber(x, d=0.7), off)
    _, tangent = gg.jvp(lambda x: kernel.huber(x, d=0.7), (off,), (off,))
    expected = gg.grad(lambda x: kernel.huber(x, d=0.7).sum())(off) * off
    np.testing.assert_allclose(tangent.cpu().numpy(), expected.cpu().numpy())


def test_on_every_device_the_same(example, device):
    kernel = example("kernel")
    x, g = atoms(), np.linspace(1, 2, 5)
    results = []
    for place in ("cpu", device):
        t = gg.tensor(x, device=place, requires_grad=True)
        y = kernel.energies(t)
        y.backward(gg.tensor(g, device=place))
        results.append((y.detach().cpu().numpy(), t.grad.cpu().numpy()))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-12)
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-10)


SHIM = """
#include <cmath>
static struct { int x; } blockIdx, blockDim, threadIdx;
#define __global__
%s
extern "C" void run(const double* g, const double* x, double* e, double* d, int n) {
    blockDim.x = 4;
    for (blockIdx.x = 0; blockIdx.x < 3; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < 4; ++threadIdx.x) {
            energy<double>(x, e, n);
            slope<double>(g, x, d, n);
        }
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_the_kernels_compute_what_their_twins_do(example, tmp_path):
    """The CUDA source as C++ on the host, thread by thread."""
    kernel = example("kernel")
    (tmp_path / "kernel.cpp").write_text(SHIM % kernel.PAIRS)
    subprocess.run(
        ["g++", "-O1", "-shared", "-fPIC", "-o", "kernel.so", "kernel.cpp"],
        cwd=tmp_path, check=True, timeout=60,
    )  # fmt: skip
    n = 9
    x, g = atoms(n), np.random.default_rng(0).normal(size=n)
    energy, slope = np.empty(n), np.empty((n, 3))
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (g, x, energy, slope)]
    ctypes.CDLL(str(tmp_path / "kernel.so")).run(*pointers, n)
    t = gg.tensor(x, requires_grad=True)
    y = kernel.energies(t)
    y.backward(gg.tensor(g))
    np.testing.assert_allclose(y.detach().numpy(), energy, rtol=1e-12)
    np.testing.assert_allclose(t.grad.numpy(), slope, rtol=1e-10)


def test_a_kernel_is_called_where_there_are_kernels(example, monkeypatch):
    """The path of a GPU, with kernels that a CPU can run."""
    kernel = example("kernel")
    launched = []

    class Module:
        __name__ = "with kernels"
        RawKernel = object

        def __getattr__(self, name):
            return getattr(np, name)

    from gpugrad.backend.namespace import Namespace

    xp = Namespace(Module())

    def compiled(name, dtype, device):
        def call(grid, block, arguments):
            launched.append((name, dtype, grid, block, arguments[-1]))
            assert all(a.flags.c_contiguous for a in arguments[:-1])
            arguments[-2][...] = 7

        return call

    class Array(np.ndarray):
        device = type("Device", (), {"id": 0})()

    monkeypatch.setattr(kernel, "pair_kernel", compiled)
    x = atoms(130).T.copy().T.view(Array)
    y = kernel.energies.forward(xp, x)
    d = kernel.energies.vjp(xp, y[::-1], y, x)
    assert y.shape == (130,)
    assert d.shape == (130, 3)
    assert float(d.min()) == float(y.max()) == 7
    assert launched == [
        ("energy", "float64", (2,), (128,), np.int32(130)),
        ("slope", "float64", (2,), (128,), np.int32(130)),
    ]
    monkeypatch.setattr(
        kernel, "huber_kernels", lambda: (lambda x, d: ("loss", d), lambda g, x, d: ("slope", d))
    )
    assert kernel.huber.forward(xp, x, d=2.0) == ("loss", 2.0)
    assert kernel.huber.vjp(xp, x, None, x, d=2.0) == ("slope", 2.0)
    half = x.astype("float16")
    np.testing.assert_allclose(
        kernel.huber.forward(xp, half, d=2.0), kernel.huber.forward(np, half, d=2.0)
    )


# ---------------------------------------------------------------- as programs


@pytest.mark.parametrize("name", ["custom_op", "kernel"])
def test_as_a_program(name, tmp_path):
    if name == "custom_op":
        pytest.importorskip("scipy")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    environment.pop("GPUGRAD_DEVICE", None)
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert " on cpu" in done.stdout


@pytest.mark.parametrize("name", ["custom_op", "scipy_minimize"])
def test_without_scipy_one_sentence_is_said(name, tmp_path):
    (tmp_path / "scipy.py").write_text("raise ImportError('no scipy here')")
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{EXAMPLES.parent}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: this needs SciPy, which cannot be imported (no scipy here); "
        "install it with: pip install scipy\n"
    )
