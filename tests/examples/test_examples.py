"""The figures of mlp, regression, diabetes, digits, convolution, and what all examples do alike.

In-process and shortened, on every device of the matrix; one run each as a program.
"""

import argparse
import io
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from devices import DEVICES
from repository import ROOT

import gpugrad as gg

EXAMPLES = ROOT / "examples"


def figure(pattern, text):
    """The one number that a pattern finds."""
    (found,) = re.findall(pattern + r"\s*(-?[\d.]+)", text)
    return float(found)


def losses(text):
    """Epoch -> loss, of the lines of a log."""
    return {
        int(n): float(x) for n, x in re.findall(r"^epoch +(\d+)[ /].*?loss ([\d.e+-]+)", text, re.M)
    }


# ---------------------------------------------------------------- mlp


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", [0, 7])
def test_mlp_learns_its_four_samples(run, seed, dtype):
    text = run("mlp", "--seed", seed, "--dtype", dtype)
    assert "41 parameters" in text
    assert figure("final loss:", text) < 0.01
    found = re.findall(r"target +(-?1\.0)  prediction +(-?[\d.]+)", text)
    assert len(found) == 4
    for target, prediction in found:
        assert float(prediction) == pytest.approx(float(target), abs=0.06)


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "adamw"])
def test_mlp_learns_with_every_optimizer(run, optimizer):
    assert figure("final loss:", run("mlp", "--optimizer", optimizer)) < 0.01


def test_mlp_learns_with_all_the_others_too(run, example):
    for optimizer in example("common").RATES:
        text = run("mlp", "--optimizer", optimizer, "--lr", 0.03, "--epochs", 40)
        first = losses(text)[1]
        assert figure("final loss:", text) < (0.99 if optimizer == "adadelta" else 0.2) * first


def test_mlp_is_plain_descent_at_a_tenth(run, tmp_path):
    """One step by hand, from the first values that the same seed draws."""
    run("mlp", "--epochs", 1, "--dtype", "float64", "--checkpoints", tmp_path)
    stepped = gg.training.Checkpoints(tmp_path).newest()["model"]
    gg.manual_seed(0)
    model = gg.nn.MLP(3, [4, 4, 1], output_activation="tanh", dtype="float64")
    x = gg.tensor([[2, 3, -1], [3, -1, 0.5], [0.5, 1, 1], [1, 1, -1]], dtype="float64")
    y = gg.tensor([[1.0], [-1.0], [-1.0], [1.0]], dtype="float64")
    ((model(x) - y) ** 2).sum().backward()
    assert list(stepped) == [name for name, _ in model.named_parameters()]
    for name, p in model.named_parameters():
        expected = p.detach().numpy() - 0.1 * p.grad.numpy()
        np.testing.assert_allclose(stepped[name].numpy(), expected, rtol=1e-12)


# ---------------------------------------------------------------- regression


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_regression_finds_the_map(run, tmp_path, dtype):
    text = run("regression", "--dtype", dtype, "--save", tmp_path / "map")
    assert sorted(losses(text)) == list(range(0, 101, 10))
    found = gg.load(tmp_path / "map")
    assert found["w"].dtype == dtype
    np.testing.assert_allclose(found["w"].numpy(), np.diag([-1.0, 3.0, -2.0]), atol=0.03)
    np.testing.assert_allclose(found["b"].numpy(), [-3.0] * 3, atol=0.03)


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "adamw"])
def test_regression_finds_the_map_with_every_optimizer(run, tmp_path, optimizer):
    run("regression", "--optimizer", optimizer, "--epochs", 300, "--save", tmp_path / "map")
    found = gg.load(tmp_path / "map")
    np.testing.assert_allclose(found["w"].numpy(), np.diag([-1.0, 3.0, -2.0]), atol=0.03)
    np.testing.assert_allclose(found["b"].numpy(), [-3.0] * 3, atol=0.03)


def test_the_updates_by_hand_are_those_of_sgd(run, example, tmp_path):
    """The same data and first values through gg.optim.SGD."""
    common = example("common")
    run("regression", "--epochs", 5, "--dtype", "float64", "--save", tmp_path / "five")
    found = gg.load(tmp_path / "five")
    common.setup(argparse.Namespace(device=None, dtype="float64", seed=0))
    x = gg.random.normal(size=(100, 3))
    w = gg.random.normal(size=(3, 3)).requires_grad_()
    b = gg.random.normal(size=3).requires_grad_()
    optimizer = gg.optim.SGD([w, b], lr=3e-4)
    for _ in range(5):
        optimizer.zero_grad()
        ((x @ w + b - (x * gg.tensor([-1.0, 3.0, -2.0]) - 3)) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(found["w"].numpy(), w.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(found["b"].numpy(), b.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("seed", [0, 4])
def test_diabetes_comes_near_ridge_regression(run, seed):
    text = run("diabetes", "--seed", seed)
    mlp, ridge = figure("MLP", text), figure("ridge regression", text)
    assert mlp > 0.33
    assert mlp > ridge - 0.03


def test_ridge_is_that_of_scikit_learn(example):
    from sklearn.linear_model import Ridge

    diabetes = example("diabetes")
    train, valid, test = diabetes.load(3)
    fits = [Ridge(10.0**power).fit(train.x, train.y) for power in range(-2, 5)]
    best = max(fits, key=lambda fit: fit.score(valid.x, valid.y))
    assert diabetes.ridge(train, valid, test) == pytest.approx(best.score(test.x, test.y))


def test_diabetes_is_standardised_by_what_is_learnt_from(example):
    train, valid, test = example("diabetes").load(0)
    assert [len(part.x) for part in (train, valid, test)] == [248, 83, 111]
    np.testing.assert_allclose(train.x.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(train.y.std(), 1)
    assert abs(valid.x.mean(0)).max() > 0.01
    assert abs(test.x.mean(0)).max() > 0.01


# ---------------------------------------------------------------- digits


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_digits_reaches_97_percent(run, seed):
    text = run("digits", "--seed", seed)
    accuracy = re.fullmatch(r"test accuracy: ([\d.]+)%", text.splitlines()[-1])
    assert float(accuracy[1]) >= 97
    assert "50826 parameters, float32 on " in text
    assert re.search(r"trained 30 epochs in [\d.]+ s", text)


def test_digits_prints_what_it_confused(run):
    lines = run("digits", "--epochs", 1).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("held-out pictures")) + 2
    counts = np.array(
        [[int(n.replace("·", "0")) for n in line.split()[1:]] for line in lines[start : start + 10]]
    )
    assert counts.shape == (10, 10)
    # A quarter, stratified: as many of each digit as there are.
    np.testing.assert_array_equal(counts.sum(1), [45, 46, 44, 46, 45, 46, 45, 45, 43, 45])
    assert figure("test accuracy:", "\n".join(lines)) == pytest.approx(
        100 * np.trace(counts) / 450, abs=0.05
    )


def test_digits_waits_for_the_device_once_an_epoch(run, monkeypatch):
    """Counts on sim, where all that waits goes through one function."""
    waits = 0
    array = type(gg.zeros(1, device="sim").data)
    for name in ("__float__", "__int__", "__bool__", "item", "tolist", "get"):
        before = getattr(array, name)

        def counted(self, *args, _before=before, **kwargs):
            nonlocal waits
            waits += 1
            return _before(self, *args, **kwargs)

        monkeypatch.setattr(array, name, counted)
    run("digits", "--device", "sim", "--epochs", 1)
    one, waits = waits, 0
    run("digits", "--device", "sim", "--epochs", 3)
    assert one > 0
    # The loss and the accuracy on both parts, and a look at the loss every 50 steps; an epoch has
    # 22 batches.
    assert waits - one <= 2 * 4 + 1


# ---------------------------------------------------------------- convolution


def test_convolution_reaches_99_percent(run, tmp_path):
    text = run("convolution", "--plot", tmp_path / "maps.png")
    accuracy = re.fullmatch(r"test accuracy: ([\d.]+)%", text.splitlines()[-1])
    assert float(accuracy[1]) >= 99
    assert "10026 parameters, float32 on " in text
    assert (tmp_path / "maps.png").stat().st_size > 10_000


def test_convolution_is_on_sim_what_it_is_on_the_cpu(run):
    flags = ("convolution", "--epochs", 2, "--dtype", "float64")
    on_sim = losses(run(*flags, "--device", "sim"))
    assert on_sim == pytest.approx(losses(run(*flags)), rel=1e-3)


# ---------------------------------------------------------------- private digits


def test_private_digits_are_learned(run):
    text = run("private_digits", "--epochs", 8)
    accuracy = re.fullmatch(r"test accuracy: ([\d.]+)%", text.splitlines()[-1])
    assert float(accuracy[1]) >= 88


@pytest.mark.parametrize("device", [device for device in DEVICES if device != "cpu"])
def test_private_digits_are_the_same_on_every_device(run, device):
    flags = ("private_digits", "--epochs", 2, "--dtype", "float64")
    assert losses(run(*flags, "--device", device)) == pytest.approx(losses(run(*flags)), rel=1e-3)


def test_one_picture_moves_private_digits_by_the_clip_at_most(example):
    private = example("private_digits")
    slopes = {"w": gg.tensor([[3.0, 4.0], [0.3, 0.4]]), "b": gg.tensor([0.0, 0.0])}
    total = private.private_sum(slopes, 1.0, 0.0)
    assert total["w"].tolist() == pytest.approx([0.6 + 0.3, 0.8 + 0.4])


# ---------------------------------------------------------------- all of them

LOOPS = {"regression": ("regression", "--epochs", "3")}
TRAINERS = {
    "mlp": ("mlp", "--epochs", "3"),
    "diabetes": ("diabetes", "--epochs", "3"),
    "digits": ("digits", "--epochs", "2"),
}
SHORT = {**LOOPS, **TRAINERS}
short = pytest.mark.parametrize("command", SHORT.values(), ids=SHORT)


@short
@pytest.mark.parametrize("device", [device for device in DEVICES if device != "cpu"])
def test_the_same_on_every_device_for_one_seed(run, command, device):
    other = losses(run(*command, "--seed", 3, "--device", device, "--dtype", "float64"))
    host = losses(run(*command, "--seed", 3, "--device", "cpu", "--dtype", "float64"))
    assert len(host) >= 2
    assert other == pytest.approx(host, rel=1e-3)


COMPILED = [
    ("mlp", "--epochs", "3"),
    ("regression", "--epochs", "3"),
    ("chain_rule", "--epochs", "2", "--optimizer", "momentum"),
    ("gaussian_process", "--size", "10", "--steps", "3"),
    ("diabetes", "--epochs", "2"),
    ("logistic_regression", "--evaluations", "4"),
]


@pytest.mark.parametrize("command", COMPILED, ids=[name for name, *_ in COMPILED])
def test_a_compiled_example_prints_the_same(run, command):
    usual, compiled = (
        [float(x) for x in re.findall(r"-?\d+\.\d+(?:e-?\d+)?(?![\d.]| s\b)", text)]
        for text in (run(*command), run(*command, "--compile"))
    )
    assert len(usual) > 5
    assert compiled == pytest.approx(usual, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("device", [device for device in DEVICES if device != "cpu"])
def test_a_compiled_example_is_the_same_on_every_device(run, device):
    flags = ("mlp", "--epochs", "3", "--dtype", "float64")
    assert losses(run(*flags, "--compile", "--device", device)) == pytest.approx(
        losses(run(*flags))
    )


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_a_resumed_loop_is_as_if_never_stopped(run, tmp_path, name, optimizer):
    first, rest, whole = (tmp_path / name for name in ("first", "rest", "whole"))
    flags = (name, "--optimizer", optimizer)
    run(*flags, "--epochs", 2, "--save", first)
    run(*flags, "--epochs", 1, "--resume", first, "--save", rest)
    run(*flags, "--epochs", 3, "--save", whole)
    same(gg.load(rest), gg.load(whole))


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [("mlp", "adam"), ("convolution", "adamw"), ("digits", "momentum"), ("digits", "adamw"),
     ("diabetes", "sgd"), ("diabetes", "adam")],
)  # fmt: skip
def test_a_resumed_trainer_is_as_if_never_stopped(run, tmp_path, name, optimizer):
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    flags = (name, "--optimizer", optimizer, "--checkpoints")
    run(*flags, parts, "--epochs", 1)
    assert list(losses(run(*flags, parts, "--epochs", 2))) == [2]  # it went on
    run(*flags, whole, "--epochs", 2)
    one, other = (gg.training.Checkpoints(folder).newest() for folder in (parts, whole))
    for part in ("model", "optimizer", "random", "loader"):
        same(one[part], other[part])


def same(a, b):
    """Two loaded files hold the same bits."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for left, right in zip(a, b):
            same(left, right)
    elif isinstance(a, gg.Tensor) or hasattr(a, "shape"):
        np.testing.assert_array_equal(gg.asarray(a).numpy(), gg.asarray(b).numpy())
    else:
        assert a == b


def test_resume_takes_another_rate_only_if_asked(run, tmp_path):
    first, kept, changed = (tmp_path / name for name in ("first", "kept", "changed"))
    flags = ("regression", "--optimizer", "momentum", "--epochs", 1)
    run(*flags, "--lr", 0.03, "--save", first)
    run(*flags, "--resume", first, "--save", kept)
    run(*flags, "--resume", first, "--lr", 0.01, "--save", changed)
    rates = [gg.load(path)["optimizer"]["param_groups"][0]["lr"] for path in (kept, changed)]
    assert rates == [0.03, 0.01]


@short
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_makes_a_picture(run, tmp_path, command, suffix):
    path = tmp_path / f"loss.{suffix}"
    assert str(path) in run(*command, "--plot", path)
    start = path.read_bytes()[:400]
    assert start.startswith(b"\x89PNG") if suffix == "png" else b"<svg" in start or b"SVG" in start


# ---------------------------------------------------------------- what goes wrong

PROGRAMS = pytest.mark.parametrize("name", ["mlp", "regression", "digits"])


@PROGRAMS
@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--epochs", "0"], "--epochs: expected a whole number from 1, got '0'"),
        (["--epochs", "ten"], "--epochs: expected a whole number from 1, got 'ten'"),
        (["--lr", "-1"], "--lr: expected a number above 0, got '-1'"),
        (["--lr", "nan"], "--lr: expected a number above 0, got 'nan'"),
        (["--seed", "-1"], "--seed: expected a whole number from 0 to 2**64-1, got '-1'"),
        (["--dtype", "int8"], "--dtype: invalid choice: 'int8'"),
        (["--optimizer", "newton"], "--optimizer: invalid choice: 'newton'"),
        (["--device", "gpu"], '--device: \'gpu\' is not a device: expected "cpu", "cuda"'),
        (["--plot", "nosuchdir/x.png"], "--plot: there is no folder 'nosuchdir'; make it first"),
        (["--plot", "x.doc"], "--plot: 'x.doc' does not end in a picture format: png, svg"),
        (["--speed", "9"], "unrecognized arguments: --speed 9"),
    ],
    ids=lambda value: "=".join(value) if isinstance(value, list) else "",
)
def test_bad_flags_get_a_sentence(fails, name, flags, says):
    assert says in fails(name, *flags)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--save", "nosuchdir/x"], "--save: there is no folder 'nosuchdir'; make it first"),
        (["--save", "."], "--save: '.' is a folder; expected a file's name"),
        (["--resume", "missing"], "--resume: there is no file 'missing'"),
    ],
    ids=lambda value: "=".join(value) if isinstance(value, list) else "",
)
def test_bad_files_get_a_sentence(fails, flags, says):
    assert says in fails("regression", *flags)


@pytest.mark.skipif(gg.cuda.is_available(), reason="CUDA works here")
def test_cuda_that_does_not_work_says_why(fails):
    said = fails("digits", "--device", "cuda")
    assert gg.cuda.why_unavailable().split(":")[0] in said


def test_a_bad_variable_is_named(fails, monkeypatch):
    from gpugrad.backend import device

    monkeypatch.setenv("GPUGRAD_DEVICE", "gpu")
    monkeypatch.setattr(device, "_process_default", None)
    assert "GPUGRAD_DEVICE" in fails("mlp")


def test_files_of_others_are_refused(fails, run, tmp_path):
    path = tmp_path / "saved"
    run("regression", "--epochs", 1, "--save", path)
    assert fails("chain_rule", "--resume", path) == (
        f"error: {path} was not saved by --save of examples/chain_rule.py"
    )
    assert fails("regression", "--seed", 1, "--resume", path) == (
        f"error: {path} was saved with --seed 0, but now it is --seed 1; resume with --seed 0"
    )
    foreign = tmp_path / "foreign"
    foreign.write_text("no tensors here")
    assert fails("regression", "--resume", foreign).startswith("error: load: ")
    gg.save({**gg.load(path), "generator": {"seed": 0}}, path)
    assert fails("regression", "--resume", path).startswith(
        f"error: {path} does not fit examples/regression.py: load_state_dict: "
    )


def test_checkpoints_of_others_are_refused(fails, run, tmp_path):
    run("digits", "--epochs", 1, "--checkpoints", tmp_path)
    assert fails("digits", "--epochs", 2, "--checkpoints", tmp_path, "--seed", 1) == (
        f"error: {tmp_path} was saved with --seed 0, but now it is --seed 1; resume with --seed 0"
    )
    assert fails("diabetes", "--checkpoints", tmp_path).startswith("error: Trainer.fit: ")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_training_that_diverges_says_so(fails):
    said = fails("regression", "--lr", 1)
    assert re.fullmatch(
        r"error: the loss is (inf|nan) in epoch 10: the training diverged; take a lower --lr", said
    )


def test_a_missing_package_gets_its_command(fails, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    said = fails("digits")
    assert said.startswith("error: this needs scikit-learn, which cannot be imported")
    assert said.endswith("pip install scikit-learn")
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    assert fails("mlp", "--plot", "x.png").endswith("pip install matplotlib")


def test_an_interrupted_loop_ends_cleanly_and_saves_nothing(example, monkeypatch, capsys, tmp_path):
    module, path = example("regression"), tmp_path / "saved"

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.common.Progress, "report", interrupted)
    with pytest.raises(SystemExit) as exit_:
        example("common").run(module.main, ["--save", str(path)])
    assert exit_.value.code == 130
    assert capsys.readouterr().err.strip() == "interrupted"
    assert not path.exists()


def test_an_interrupted_trainer_saves_and_goes_on(example, run, monkeypatch, capsys, tmp_path):
    module = example("digits")
    epochs = 0

    def interrupted(*args):
        nonlocal epochs
        epochs += 1
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(example("common").SameFlags, "on_epoch_end", interrupted)
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)
    with pytest.raises(SystemExit) as exit_:
        example("common").run(module.main, ["--checkpoints", str(tmp_path)])
    assert (exit_.value.code, epochs) == (130, 1)
    assert "stopped after step 22, saved in" in capsys.readouterr().err
    monkeypatch.undo()
    assert list(losses(run("digits", "--epochs", 2, "--checkpoints", tmp_path))) == [2]


def test_a_bug_keeps_its_traceback(example):
    def bug(argv):
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        example("common").run(bug)


def test_an_error_of_the_system_names_the_file(example, capsys, tmp_path):
    def opens(argv):
        (tmp_path / "none").read_text()

    with pytest.raises(SystemExit):
        example("common").run(opens)
    assert capsys.readouterr().err == f"error: {tmp_path / 'none'}: No such file or directory\n"


# ---------------------------------------------------------------- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_a_bar_on_a_terminal(example, monkeypatch, capsys):
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    example("mlp").main(["--epochs", "20"])
    assert "20/20" in stderr.getvalue()
    assert "loss=" in stderr.getvalue()
    assert not losses(capsys.readouterr().out)


def test_progress_is_lines_without_tqdm(example, monkeypatch, capsys):
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    example("mlp").main(["--epochs", "20"])
    assert stderr.getvalue() == ""
    assert list(losses(capsys.readouterr().out)) == [1, 10, 20]


# ---------------------------------------------------------------- as programs


@pytest.mark.parametrize("name", ["mlp", "regression", "digits"])
def test_as_a_program(name, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    environment.pop("GPUGRAD_DEVICE", None)
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), "--epochs", "1"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert " on cpu" in done.stdout
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- logistic regression


def test_logistic_regression_finds_the_minimum_that_scikit_learn_finds(run, example, tmp_path):
    linear_model = pytest.importorskip("sklearn.linear_model")
    text = run("logistic_regression", "--evaluations", 60, "--plot", tmp_path / "fits.png")
    rows = dict(re.findall(r"^(L-BFGS|gradient descent|Adam) +(\d+.*)", text, re.M))
    assert (tmp_path / "fits.png").stat().st_size > 20_000
    left = {name: float(row.split()[2]) for name, row in rows.items()}
    assert left["L-BFGS"] < left["Adam"] / 2 < left["gradient descent"] / 4
    module = example("logistic_regression")
    data = module.load(0, "float64", gg.Device("cpu"))
    model, norms = module.newton(data, 1e-2, 300)
    assert norms[-1] < 1e-6
    x, y = data.x.numpy(), data.y.numpy()
    theirs = linear_model.LogisticRegression(C=1 / (1e-2 * len(x)), tol=1e-8, max_iter=1000)
    theirs.fit(x, y)
    np.testing.assert_allclose(model.weight.detach().numpy(), theirs.coef_, atol=1e-4)
