"""Examples that train by gg.Trainer, in a short form; test_examples.py has those on data sets."""

import re

import numpy as np
import pytest

import gpugrad as gg


def epochs(device):
    """Fewer where the stand-in for CUDA interprets each kernel."""
    return 1 if device == "cuda" else 3


def test_the_forecast_is_better_than_saying_that_nothing_changes(run, device, tmp_path):
    flags = ("--device", device, "--length", 500, "--checkpoints", tmp_path / "run")
    text = run("forecast", *flags, "--epochs", 2)
    assert "epoch 2/2" in text
    text = run("forecast", *flags, "--epochs", 3, "--plot", tmp_path / "picture.png")
    assert "epoch 1/" not in text  # it went on
    assert "epoch 3/3" in text
    off = float(re.findall(r"next value: off by ([\d.]+)", text)[0])
    assert 0 < off < 0.1
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_the_series_is_that_of_the_equation(example):
    series = example("forecast").mackey_glass(400, 0)
    assert 0.4 < series.min() < 0.6
    assert 1.2 < series.max() < 1.4
    assert np.abs(np.diff(series)).max() < 0.1


def test_characters_learns_and_writes(run, example, device, monkeypatch, tmp_path):
    module = example("characters")
    monkeypatch.setattr(module, "TEXT", module.TEXT[:120])
    picture = tmp_path / "picture.png"
    flags = ("--device", device, "--epochs", 2, "--characters", 5)
    text = run("characters", *flags, "--plot", picture)
    losses = [float(x) for x in re.findall(r"loss ([\d.]+)", text)]
    assert losses[-1] < losses[0] < 8
    assert "\nShall I" in text
    assert picture.stat().st_size > 10_000


def test_no_character_sees_those_after_it(example, device):
    module = example("characters")
    with gg.device(device):
        model = module.Writer(8, 2, 1).eval()
        one, other = (gg.tensor(module.encoded(t)[None], dtype="int64") for t in ("Shall", "Shade"))
        scores = [model(text).detach().cpu().numpy()[0] for text in (one, other)]
    np.testing.assert_allclose(scores[0][:3], scores[1][:3], rtol=1e-5)
    assert not np.allclose(scores[0][3:], scores[1][3:])


def test_physics_comes_near_the_exact_solution(run, device, tmp_path):
    picture = tmp_path / "picture.png"
    text = run("physics", "--device", device, "--epochs", epochs(device), "--plot", picture)
    off = float(re.findall(r"off by ([\d.]+)", text)[0])
    assert 0 < off < 0.4  # untrained it is off by 0.6
    assert picture.stat().st_size > 10_000


def test_the_residual_of_the_exact_solution_is_zero(example, device):
    module = example("physics")
    with gg.device(device):
        model = module.Rod(4)
        model.temperature = module.exact
        points = gg.random.uniform(size=(20, 2), dtype="float64")
        residual = model(points).detach().cpu().numpy()
    np.testing.assert_allclose(residual, 0, atol=1e-12)


def test_the_autoencoder_learns_where_digits_lie(run, device, tmp_path):
    picture = tmp_path / "picture.png"
    text = run("autoencoder", "--device", device, "--epochs", epochs(device), "--plot", picture)
    losses = [float(x) for x in re.findall(r"val_loss ([\d.]+)", text)]
    assert losses[-1] <= losses[0] < 110
    assert int(re.findall(r"keep (\d+)% of the variance", text)[0]) > 20
    assert picture.stat().st_size > 10_000


def test_the_bound_has_the_divergence_of_two_normal_distributions(example):
    module = example("autoencoder")
    mean, log_var = np.array([[0.3, -1.0]]), np.array([[0.5, -0.2]])
    x, var = np.linspace(-12, 12, 20001), np.exp(log_var[0])
    divergence = 0.0
    for m, v in zip(mean[0], var):
        q = np.exp(-((x - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)
        log_ratio = -((x - m) ** 2) / (2 * v) - np.log(v) / 2 + x**2 / 2
        divergence += np.trapezoid(q * log_ratio, x)
    same = gg.zeros((1, 64))
    bound = module.negative_bound((same, gg.tensor(mean), gg.tensor(log_var)), same)
    assert bound.item() == pytest.approx(divergence)


def test_cartpole_lasts_longer_and_goes_on(run, device, tmp_path):
    flags = ("--device", device, "--games", 8, "--checkpoints", tmp_path / "run")
    text = run("cartpole", *flags, "--epochs", 2)
    text += run("cartpole", *flags, "--epochs", 4, "--plot", tmp_path / "picture.png")
    lengths = [float(x) for x in re.findall(r"steps ([\d.]+)  lr", text)]
    assert len(lengths) == 4
    assert lengths[-1] > 1.3 * lengths[0]
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_the_pole_falls_as_a_pendulum_does(example):
    """Near the top, without a push, the angle grows as exp(t sqrt(g / length of the pendulum))."""
    module = example("cartpole")
    module.FORCE, module.TIME, usual = 0.0, 1e-4, (module.FORCE, module.TIME)
    try:
        state = np.array([[0.0, 0.0, 1e-6, 0.0]])
        for _ in range(5000):
            state = module.pushed(state, np.array([True]))
    finally:
        module.FORCE, module.TIME = usual
    mass = module.CART + module.POLE
    length = module.HALF * (4 / 3 - module.POLE / mass)
    expected = 1e-6 * np.cosh(0.5 * np.sqrt(module.GRAVITY / length))
    assert state[0, 2] == pytest.approx(expected, rel=1e-3)
    left, right = (module.pushed(np.zeros((1, 4)), np.array([r])) for r in (False, True))
    np.testing.assert_array_equal(left, -right)
    assert right[0, 1] > 0 > right[0, 3]  # the pole stays behind
