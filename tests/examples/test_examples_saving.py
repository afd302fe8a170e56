"""What examples leave on the disk: states while they run, and whole pictures."""

import re

import numpy as np
import pytest
from repository import ROOT

import gpugrad as gg


def test_private_digits_go_on_to_the_same_bits(run, tmp_path):
    first, rest, whole = (tmp_path / name for name in ("first", "rest", "whole"))
    flags = ("private_digits", "--batch-size", 1400)
    run(*flags, "--epochs", 2, "--save", first)
    assert "epoch 3" in run(*flags, "--epochs", 1, "--resume", first, "--save", rest)
    run(*flags, "--epochs", 3, "--save", whole)
    one, other = gg.load(rest), gg.load(whole)
    for name, value in one["parameters"].items():
        np.testing.assert_array_equal(value.numpy(), other["parameters"][name].numpy())


@pytest.mark.parametrize("name", ["regression", "chain_rule", "private_digits"])
def test_an_interrupted_loop_has_saved_what_it_showed(
    example, run, capsys, monkeypatch, tmp_path, name
):
    progress, report = example("common").Progress, example("common").Progress.report

    def interrupted(self, **figures):
        if self._now > self._epochs[0]:
            raise KeyboardInterrupt
        report(self, **figures)

    path = tmp_path / "state"
    flags = ["--batch-size", "1400"] if name == "private_digits" else []
    monkeypatch.setattr(progress, "report", interrupted)
    with pytest.raises(SystemExit) as exit_:
        example("common").run(example(name).main, [*flags, "--epochs", "30", "--save", str(path)])
    first = exit_.value.code, capsys.readouterr().err.strip()
    monkeypatch.undo()
    epoch = 0 if name == "regression" else 1
    assert first == (130, f"interrupted; epoch {epoch} is saved: go on with --resume {path}")
    text = run(name, *flags, "--epochs", 1, "--resume", path)
    assert re.search(rf"^epoch {epoch + 1}  loss", text, re.MULTILINE)


def test_fits_that_are_made_are_not_made_again(example, run, monkeypatch, tmp_path):
    path, whole = tmp_path / "state", run("logistic_regression", "--evaluations", 3)
    module = example("logistic_regression")
    with monkeypatch.context() as stopped:
        stopped.setitem(module.RIVALS, "gradient descent", lambda params: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run("logistic_regression", "--evaluations", 3, "--save", path)
    monkeypatch.setattr(module, "newton", None)
    assert run("logistic_regression", "--evaluations", 3, "--resume", path).endswith(whole)


def test_atoms_that_were_stopped_come_to_the_same_place(example, monkeypatch, tmp_path):
    kernel = example("kernel")
    gg.manual_seed(0)
    start = kernel.lattice(5)
    whole, energy = kernel.relax(start)

    class Stop(gg.training.Callback):
        def on_step_end(self, trainer, loss):
            trainer.stop = "enough" if trainer.step == 250 else None

    saves = {"checkpoints": tmp_path, "save_steps": 100}
    state = gg.training.Checkpoints(tmp_path)
    with monkeypatch.context() as killed:  # at step 250: what is left is that of step 200
        killed.setattr(gg.training.Checkpoints, "save", saved_until(200))
        with pytest.raises(KeyboardInterrupt):
            kernel.relax(start, **saves)
    assert state.newest()["counts"][1] == 200
    again, other = kernel.relax(start, **saves)
    np.testing.assert_array_equal(again.numpy(), whole.numpy())
    assert other == energy


def saved_until(step):
    """In place of `Checkpoints.save`: it ends the training after that step."""
    save = gg.training.Checkpoints.save

    def until(self, state, now):
        if now > step:
            raise KeyboardInterrupt
        return save(self, state, now)

    return until


# ---------------------------------------------------------------- pictures


def test_a_picture_that_cannot_be_drawn_leaves_the_old_one(example, monkeypatch, tmp_path):
    figures = pytest.importorskip("matplotlib.figure")
    path = tmp_path / "loss.png"
    path.write_bytes(b"old")

    def breaks(self, file, **kwargs):
        with file if hasattr(file, "write") else open(file, "wb") as half:
            half.write(b"half")
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures.Figure, "savefig", breaks)
    with pytest.raises(OSError, match="space"):
        example("mlp").main(["--epochs", "1", "--plot", str(path)])
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])


WRITES = re.compile(r"\.(write_text|write_bytes|savefig)\(|open\([^)]*\"[wax]")
# Into memory, into a temporary folder, or to nowhere.
ELSEWHERE = {
    "examples/common.py": 2, "ci/pictures.py": 1, "ci/assembler.py": 1, "ci/notebooks.py": 1,
    "ci/pytest_jobs.py": 1,
}  # fmt: skip


def test_programs_replace_their_files_whole():
    found = {}
    for folder in ("examples", "ci"):
        for path in sorted((ROOT / folder).glob("*.py")):
            if count := len(WRITES.findall(path.read_text(encoding="utf-8"))):
                found[f"{folder}/{path.name}"] = count
    assert found == ELSEWHERE


# ---------------------------------------------------------------- what cannot be written


@pytest.mark.parametrize("flag", ["--plot", "--save"])
def test_a_folder_that_takes_no_files_is_named_before_the_work(fails, flag):
    said = fails("regression", "--epochs", 10**9, flag, "/proc/file.png")
    assert f"argument {flag}: '/proc/file.png' cannot be written: " in said


def test_what_is_no_file_is_not_written(fails, tmp_path):
    (link := tmp_path / "null.png").symlink_to("/dev/null")
    assert f"--plot: '{link}' is no file" in fails("mlp", "--plot", link)


@pytest.mark.parametrize("name", ["mlp", "kernel"])
def test_checkpoints_go_into_a_folder(fails, tmp_path, name):
    (file := tmp_path / "file").write_text("no folder")
    says = f"--checkpoints: '{file}' is a file; expected a folder"
    assert says in fails(name, "--checkpoints", file)
    assert says in fails(name, "--checkpoints", file / "in" / "it")
    assert "--checkpoints: '/proc/run' cannot be written" in fails(
        name, "--checkpoints", "/proc/run"
    )


def test_noise_is_a_number(fails):
    for noise in ("-1", "nan", "much"):
        says = f"--noise: expected a number from 0, got '{noise}'"
        assert says in fails("private_digits", "--noise", noise)
