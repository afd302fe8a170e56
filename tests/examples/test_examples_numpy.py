"""The examples that are NumPy programs, differentiated by changing nothing but their input."""

import ast
import importlib
import re
from itertools import pairwise

import numpy as np
import pytest
from repository import ROOT

import gpugrad as gg

EXAMPLES = ROOT / "examples"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    device, dtype = gg.default_device(), gg.get_default_dtype()
    yield importlib.import_module
    gg.set_default_device(device)
    gg.set_default_dtype(dtype)


@pytest.fixture
def heat(load):
    return load("heat")


@pytest.fixture
def process(load):
    return load("gaussian_process")


@pytest.fixture
def deconvolution(load):
    return load("deconvolution")


def differences(f, x, step=1e-6):
    """Central differences of the float f(x) in every element of a NumPy array."""
    slope = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        slope[place] = (f(up) - f(down)) / (2 * step)
    return slope


@pytest.mark.parametrize(
    ("module", "functions"),
    [
        ("heat", ("temperatures", "error")),
        ("gaussian_process", ("covariance", "log_marginal_likelihood")),
        ("deconvolution", ("kernel", "blurred", "restored", "error", "misfit")),
    ],
)
def test_the_numerical_functions_know_nothing_of_gpugrad(module, functions):
    tree = ast.parse((EXAMPLES / f"{module}.py").read_text(encoding="utf-8"))
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in functions]
    assert len(found) == len(functions)
    names = {n.id for f in found for n in ast.walk(f) if isinstance(n, ast.Name)}
    assert "np" in names
    assert not names & {"gg", "gpugrad", "common"}


# ---------------------------------------------------------------- the heat equation

TIME, STEPS = 0.05, 60


def sine(points):
    return np.sin(np.pi * np.linspace(0, 1, points))


def factor(points, diffusivity):
    """What a step multiplies a sine wave with that has its zeros at the ends; its derivative."""
    rate = TIME / STEPS * (points - 1) ** 2
    mode = 4 * np.sin(np.pi / (points - 1) / 2) ** 2
    return 1 - rate * diffusivity * mode, -rate * mode


def test_a_sine_wave_decays_as_it_must(heat, device):
    u, slope = factor(17, 1.0)
    initial = gg.tensor(sine(17), device=device)
    end, rise = gg.jvp(
        lambda k: heat.temperatures(initial, k, TIME, STEPS),
        (gg.tensor(1.0, dtype="float64"),),
        (gg.tensor(1.0, dtype="float64"),),
    )
    assert end.device == device
    np.testing.assert_allclose(end.cpu().numpy(), u**STEPS * sine(17), atol=1e-12)
    wanted = STEPS * u ** (STEPS - 1) * slope * sine(17)
    np.testing.assert_allclose(rise.cpu().numpy(), wanted, atol=1e-11)


def test_numpy_runs_the_same_program(heat):
    initial = sine(17)
    plain = heat.temperatures(initial, 1.0, TIME, STEPS)
    assert type(plain) is np.ndarray
    np.testing.assert_array_equal(initial, sine(17))  # its input is as it was
    recorded = heat.temperatures(gg.tensor(initial, requires_grad=True), 1.0, TIME, STEPS)
    np.testing.assert_array_equal(recorded.detach().numpy(), plain)


def test_the_gradients_of_the_error_are_its_differences(heat, device, rng):
    initial, measured = rng.uniform(size=9), rng.uniform(size=9)
    k = np.array(0.7)
    by_initial, by_k = gg.grad(heat.error, argnums=(0, 1))(
        *(device.send(array) for array in (initial, k, measured)), TIME, STEPS
    )
    np.testing.assert_allclose(
        device.fetch(by_initial),
        differences(lambda u: heat.error(u, k, measured, TIME, STEPS), initial),
        atol=1e-8,
    )
    np.testing.assert_allclose(
        device.fetch(by_k),
        differences(lambda k: heat.error(initial, k, measured, TIME, STEPS), k),
        atol=1e-8,
    )


def test_newtons_method_finds_the_diffusivity(heat, device):
    initial = gg.tensor(sine(17), device=device)
    measured = heat.temperatures(initial, 1.0, TIME, STEPS)
    way = heat.find_diffusivity(
        lambda k: heat.error(initial, k, measured, TIME, STEPS),
        gg.tensor(0.6, dtype="float64"),
        rounds=6,
    )
    off = np.abs(np.array(way) - 1)
    assert len(way) == 7
    assert off[-1] < 1e-9
    # It doubles the digits with each round: with a wrong second derivative it would not.
    assert all(after < 3 * before**2 for before, after in pairwise(off[1:5]))


def test_the_heat_program_prints_the_way(heat, capsys):
    heat.main(["--points", "17", "--steps", "60", "--device", "sim"])
    out = capsys.readouterr().out
    assert "17 points, 60 steps, float64, on sim:0" in out
    assert "  0  0.60000000\n" in out
    assert "  6  1.00000000\ntrue 1.00000000\n" in out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--points", "2"], "a rod has two ends and a point between them"),
        (["--points", "65"], "65 points need 410 steps or more to be stable"),
    ],
)
def test_the_heat_program_refuses_what_is_not_stable(heat, capsys, flags, said):
    with pytest.raises(SystemExit):
        heat.main(flags)
    assert said in capsys.readouterr().err


# ---------------------------------------------------------------- the Gaussian process

THETA = np.log([1.3, 0.6, 0.3])


@pytest.fixture
def measured():
    x = np.linspace(0, 3, 12)
    return x, np.sin(2 * x) + 0.1 * np.cos(17 * x)


def test_error_bars_are_left_out_where_there_is_no_maximum_yet(process, capsys):
    process.main(["--steps", "1"])
    out = capsys.readouterr().out
    assert "unknown: not at a maximum yet" in out
    assert "nan" not in out


def test_the_likelihood_and_its_gradient_are_those_of_scikit_learn(process, measured, device):
    gaussian = pytest.importorskip("sklearn.gaussian_process")
    kernels = gaussian.kernels
    x, y = measured
    kernel = kernels.ConstantKernel() * kernels.RBF() + kernels.WhiteKernel()
    model = gaussian.GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None)
    model.fit(x[:, None], y)
    # Its parameters are the logarithms of variances, where ours are those of deviations.
    scale = np.array([2.0, 1.0, 2.0])
    value, slope = model.log_marginal_likelihood(THETA * scale, eval_gradient=True)
    own, gradient = gg.value_and_grad(process.log_marginal_likelihood)(
        *(device.send(array) for array in (THETA, x, y))
    )
    assert own.item() == pytest.approx(value, rel=1e-10)
    np.testing.assert_allclose(device.fetch(gradient), slope * scale, rtol=1e-8)


def test_the_gradient_by_the_values_and_places_too(process, measured):
    f = process.log_marginal_likelihood
    x, y = measured
    by_y = gg.grad(f, argnums=2)(THETA, x, y)
    np.testing.assert_allclose(by_y, differences(lambda y: f(THETA, x, y), y), rtol=1e-6)
    by_x = gg.grad(f, argnums=1)(THETA, x, y)
    np.testing.assert_allclose(by_x, differences(lambda x: f(THETA, x, y), x), rtol=1e-5)


def test_the_hessian_is_the_difference_of_gradients(process, measured):
    x, y = measured
    f = lambda theta: process.log_marginal_likelihood(theta, x, y)  # noqa: E731
    hessian = gg.hessian(f)(THETA)
    for row in range(3):
        slope = differences(lambda theta, row=row: gg.grad(f)(theta)[row], THETA)
        np.testing.assert_allclose(hessian[row], slope, rtol=1e-5, atol=1e-6)


def test_the_fit_ends_at_a_top_of_the_likelihood(process, device):
    gg.manual_seed(0)
    x, y = process.draw(40)
    assert x.device == y.device == device
    start = gg.zeros(3, dtype="float64")
    found = process.fit(start, x, y, 200)
    np.testing.assert_array_equal(start.cpu().numpy(), 0)  # the start is left as it was
    slope = gg.grad(process.log_marginal_likelihood)(found, x, y)
    np.testing.assert_allclose(slope.cpu().numpy(), 0, atol=0.05)
    curvature = gg.hessian(process.log_marginal_likelihood)(found, x, y)
    assert np.linalg.eigvalsh(curvature.cpu().numpy()).max() < 0


def test_the_process_program_prints_what_it_found(process, capsys):
    process.main(["--size", "30", "--steps", "60"])
    out = capsys.readouterr().out
    assert "30 values, float64, on cpu" in out
    before, after = map(float, re.search(r"likelihood: (\S+), after 60 steps (\S+)", out).groups())
    assert after > before + 5
    for name, true in zip(process.NAMES, process.TRUE, strict=True):
        row = re.search(rf"^{name} +(\S+) +(\S+) +(\S+) and (\S+)$", out, re.MULTILINE)
        wanted, found, low, high = map(float, row.groups())
        assert wanted == true
        assert low < found < high


# ---------------------------------------------------------------- the deconvolution


@pytest.fixture
def scene():
    """A picture, how far its pixels are from the first, and the picture blurred."""
    rng = np.random.default_rng(3)
    along = np.fft.fftfreq(8, 1 / 8)
    return rng.uniform(size=(8, 8)), np.hypot(along[:, None], along[None, :])


def test_numpy_blurs_and_restores(deconvolution, scene):
    picture, distance = scene
    seen = deconvolution.blurred(picture, 0.8, distance)
    assert type(seen) is np.ndarray
    np.testing.assert_allclose(seen.mean(), picture.mean())  # nothing is lost or made
    assert seen.std() < 0.8 * picture.std()
    np.testing.assert_allclose(deconvolution.restored(seen, 0.8, 0.0, distance), picture)
    recorded = deconvolution.restored(gg.tensor(seen, requires_grad=True), 0.8, 1e-3, distance)
    plain = deconvolution.restored(seen, 0.8, 1e-3, distance)
    np.testing.assert_allclose(recorded.detach().numpy(), plain, atol=1e-14)


def test_the_gradients_of_the_deconvolution_are_differences(deconvolution, scene, device):
    picture, distance = scene
    seen = deconvolution.blurred(picture, 0.8, distance) + 0.05 * picture[::-1]
    logs = np.log([0.7, 0.01])
    f = lambda logs, seen: deconvolution.error(logs, seen, *sent)  # noqa: E731
    sent = [device.send(array) for array in scene]
    by_logs, by_seen = gg.grad(f, argnums=(0, 1))(device.send(logs), device.send(seen))
    sent = scene
    np.testing.assert_allclose(
        device.fetch(by_logs), differences(lambda x: f(x, seen), logs), rtol=1e-6
    )
    np.testing.assert_allclose(
        device.fetch(by_seen), differences(lambda x: f(logs, x), seen), atol=1e-8
    )
    misfit = lambda x: deconvolution.misfit(x, seen, 0.8, distance, 1e-2)  # noqa: E731
    np.testing.assert_allclose(gg.grad(misfit)(picture), differences(misfit, picture), atol=1e-8)
    hessian = gg.hessian(lambda logs: f(logs, seen))(logs)
    slope = differences(lambda x: gg.grad(f)(x, seen)[1], logs)
    np.testing.assert_allclose(hessian[1], slope, rtol=1e-5)


@pytest.mark.parametrize("device", ["cpu", "sim"])
def test_the_deconvolution_program_prints_what_it_restored(deconvolution, capsys, device):
    deconvolution.main(["--size", "24", "--steps", "60", "--device", device])
    out = capsys.readouterr().out
    assert re.search(rf"^24 x 24 pixels, float64, on {device}", out)
    assert float(re.search(r"picture: width (\S+)", out).group(1)) == pytest.approx(1.5, abs=0.3)
    rows = re.findall(r"^  (?:as seen|restored|improved) +(\S+)$", out, re.MULTILINE)
    seen, restored, improved = map(float, rows)
    assert improved < restored < seen


def test_the_deconvolution_program_refuses_what_cannot_be_blurred(deconvolution, capsys):
    with pytest.raises(SystemExit):
        deconvolution.main(["--size", "4"])
    assert "8 pixels a side or more" in capsys.readouterr().err
