"""jacobian and hessian of complex numbers, against differences in both directions."""

import numpy as np
import pytest
from arrays import close

import gpugrad as gg
from gpugrad.backend.device import to_numpy
from gpugrad.errors import DTypeError, GradientError

MODES = pytest.mark.parametrize("mode", ["auto", "reverse", "forward"])
Z = np.array([1 + 2j, 0.5 - 1j, -0.3 + 0.4j])
X = np.array([0.7, -1.2, 0.4])


def analytic(z):
    return gg.stack([gg.sin(z) * z[0], gg.exp(z) / (z[1] + 3), z * (z @ z)])[:, :2]


def spectrum(x):
    return gg.fft.rfft(x**3) * gg.exp(1j * x[:2])


def sizes(z):
    return gg.stack([abs(z), (z * z[0].conj()).imag, z.real * z.imag**2])


def differences(f, x, units, step=1e-6):
    """How the outputs change with each number of x, along the units of its parts, added up."""
    columns = []
    for place in np.ndindex(x.shape):
        column = 0
        for unit in units:
            up, down = x.copy(), x.copy()
            up[place] += step * unit
            down[place] -= step * unit
            column = column + unit * (f(gg.tensor(up)) - f(gg.tensor(down))).numpy() / (2 * step)
        columns.append(column)
    return np.stack(columns, axis=-1).reshape(column.shape + x.shape)


@MODES
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_complex_results_of_real_arguments(mode, chunk_size, device):
    found = gg.jacobian(spectrum, mode=mode, chunk_size=chunk_size)(device_array(device, X))
    assert found.dtype == np.complex128
    close(found, differences(spectrum, X, (1,)))


@MODES
def test_real_results_of_complex_arguments_have_gradients(mode, device):
    """dy/da + i dy/db, as grad and PyTorch have it."""
    z = device_array(device, Z)
    found = gg.jacobian(sizes, mode=mode)(z)
    close(found, differences(sizes, Z, (1, 1j)))
    close(gg.jacobian(lambda z: sizes(z).sum(), mode=mode)(z), gg.grad(lambda t: sizes(t).sum())(Z))


@MODES
def test_analytic_functions(mode, device):
    found = gg.jacobian(analytic, mode=mode, holomorphic=True)(device_array(device, Z))
    close(found, differences(analytic, Z, (1,)))


def device_array(device, values):
    return gg.Device(device).send(values)


@MODES
def test_structures_and_kinds(mode):
    def f(p, x):
        return {"a": p["w"] * 2j, "b": [abs(p["w"]).sum() * x]}

    with pytest.raises(DTypeError, match="jacobian: the derivatives of complex numbers by complex"):
        gg.jacobian(f, (0, 1), mode=mode)({"w": Z}, 2.0)
    by_p, by_x = gg.jacobian(lambda p, x: f(p, x)["b"][0], (0, 1), mode=mode)({"w": Z}, 2.0)
    close(by_p["w"], 2 * Z / abs(Z))
    np.testing.assert_allclose(by_x, abs(Z).sum())
    assert type(by_x) is float
    found = gg.jacobian(f, mode=mode)({"w": X}, 2.0)
    close(found["a"]["w"], 2j * np.eye(3))
    assert found["b"][0]["w"].dtype == np.float64
    assert gg.jacobian(lambda x: x * 1j, mode=mode)(2.0) == 1j
    assert gg.jacobian(lambda z: z * z, mode=mode, holomorphic=True)(1 + 2j) == 2 + 4j


@MODES
def test_single_precision_stays_single(mode, device):
    x, z = X.astype("float32"), Z.astype("complex64")
    for f, given, words in (
        (spectrum, x, {}),
        (sizes, z, {}),
        (analytic, z, {"holomorphic": True}),
        (lambda x: x[:1] * 0 + 1j, x, {}),  # zeros
        (lambda x: gg.tensor(np.ones(2) * 1j, device=x.device), x, {}),  # and no graph at all
    ):
        found = gg.jacobian(f, mode=mode, **words)(device_array(device, given))
        assert found.dtype == np.complex64


def test_progress_counts_numbers_and_not_passes():
    counted = []
    for f, given in ((lambda x: x * 1j, X), (abs, Z), (lambda x: x * 2, X)):
        gg.jacobian(f, progress=lambda done, of: counted.append((done, of)))(given)
    assert counted == [(1, 3), (2, 3), (3, 3)] * 3


def test_the_choice_of_mode_counts_parts_twice(monkeypatch):
    from gpugrad.autodiff.run import Run

    pushes, pulls = [], []
    push, pull = Run.push, Run.pull
    monkeypatch.setattr(Run, "push", lambda self, *a, **k: pushes.append(1) or push(self, *a, **k))
    monkeypatch.setattr(Run, "pull", lambda self, *a, **k: pulls.append(1) or pull(self, *a, **k))
    gg.jacobian(lambda x: x[:2] * 1j)(X)  # four rows, three columns
    assert (len(pushes), len(pulls)) == (1, 0)
    gg.jacobian(lambda z: gg.concat([abs(z), abs(z[:2])]))(Z)  # five rows, six columns
    assert (len(pushes), len(pulls)) == (1, 1)


@MODES
def test_a_complex_jacobian_can_be_differentiated(mode, device):
    x = device_array(device, X)
    f = lambda x: x**3 * (1 + 2j)  # noqa: E731
    total = lambda x: abs(gg.jacobian(f, mode=mode)(x)).sum()  # noqa: E731
    close(gg.grad(total)(x), 6 * X * np.sqrt(5))
    z = device_array(device, Z)
    total = lambda z: abs(gg.jacobian(gg.sin, mode=mode, holomorphic=True)(z)).sum()  # noqa: E731
    close(gg.grad(total)(z), differences(lambda z: abs(gg.cos(z)).sum(), Z, (1, 1j)))
    total = lambda z: gg.jacobian(lambda z: abs(z) ** 4, mode=mode)(z).real.sum()  # noqa: E731
    close(gg.grad(total)(z), differences(lambda z: (4 * abs(z) ** 2 * z).real.sum(), Z, (1, 1j)))


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_hessian_of_an_analytic_function(mode, device):
    f = lambda z: (gg.exp(z) * z[0]).sum() / (z @ z)  # noqa: E731
    found = gg.hessian(f, mode=mode, holomorphic=True)(device_array(device, Z))
    slope = gg.jacobian(f, holomorphic=True)
    close(found, differences(slope, Z, (1,)))
    close(found, to_numpy(found).T)
    assert gg.hessian(lambda z: z[None] ** 3, holomorphic=True)(2j) == 12j  # of shape (1,)


# What is not analytic.


@MODES
@pytest.mark.parametrize(
    "f",
    [
        gg.conj,
        lambda z: 1j * gg.conj(z) * z,
        lambda z: abs(z) + 0j,
        lambda z: z.real + 0j,
        lambda z: gg.concat([z, z[:1].conj() * 1e-3]),
    ],
    ids=["conj", "product", "abs", "real", "one of many"],
)
@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
def test_what_is_not_analytic_is_found(f, mode, dtype, device):
    z = device_array(device, Z.astype(dtype))
    if gg.Device(device).kind == "cpu":
        with pytest.raises(GradientError, match="jacobian: the function is not analytic, though"):
            gg.jacobian(f, mode=mode, holomorphic=True)(z)
        return
    with gg.sync_guard():
        found = gg.jacobian(f, mode=mode, holomorphic=True)(z)
    assert np.isnan(to_numpy(found)).all()


@MODES
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
def test_what_is_analytic_raises_no_alarm(mode, scale, dtype, device):
    rng = np.random.default_rng(2)
    m = gg.tensor(
        (rng.normal(size=(6, 6)) + 1j * rng.normal(size=(6, 6))).astype(dtype), device=device
    )
    functions = (
        lambda z: gg.linalg.solve(m + z[:, None], z),
        lambda z: gg.conj(gg.conj(z) * 2),
        lambda z: gg.fft.fft(gg.exp(z) ** 2 + z),
        lambda z: gg.where(z.real.detach() > 0, z * z, gg.sin(z)),
        lambda z: z.sum() - z.sum() + 1,
        lambda z: gg.log(z) - 40 + 40,
        lambda z: z[:0],
    )
    z = device_array(device, (rng.normal(size=6) + 1j * rng.normal(size=6)).astype(dtype))
    for f in functions:
        found = gg.jacobian(lambda z, f=f: f(z) * scale, mode=mode, holomorphic=True)(z)
        assert np.isfinite(to_numpy(found)).all()


def test_errors():
    for f, given, words, said in (
        (
            lambda z: z,
            X,
            {"holomorphic": True},
            "returns? complex ones, got an argument of dtype float64",
        ),
        (abs, Z, {"holomorphic": True}, "got a result of dtype float64. Cast it with .astype"),
        (lambda z: z, Z, {}, "Pass holomorphic=True if it is; if not, let it take and give real"),
    ):
        with pytest.raises(DTypeError, match=said):
            gg.jacobian(f, **words)(given)
    with pytest.raises(DTypeError, match="hessian: the derivatives of complex numbers by complex"):
        gg.hessian(lambda z: (abs(z) ** 2).sum())(Z)
    with pytest.raises(GradientError, match="hessian: expected a function that returns one number"):
        gg.hessian(lambda z: z * z, holomorphic=True)(Z)
    with pytest.raises(GradientError, match="hessian: the function is not analytic"):
        gg.hessian(lambda z: (z * z.conj()).sum(), holomorphic=True)(Z)
