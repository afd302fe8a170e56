"""The examples that train by gg.Trainer, in a short form: forecast and characters."""

import re

import numpy as np
import pytest

import gpugrad as gg


@pytest.fixture
def run(example, capsys):
    def call(name, *argv):
        module = example(name)
        module.main([str(arg) for arg in argv])
        return capsys.readouterr().out

    return call


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
