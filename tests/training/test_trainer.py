"""The training loop: what it computes, saves, shows, and how it ends and goes on."""

import contextlib
import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from repository import ROOT
from tell import Tell

import gpugrad as gg
from gpugrad.training import BestModel, Callback, Checkpoints, EarlyStopping


def data(device, rows=24, batch_size=5, **settings):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3)).astype("float32")
    y = (x.sum(axis=1) > 0).astype("int64")
    generator = gg.random.Generator(1)
    return gg.data.DataLoader(
        (x, y), batch_size, shuffle=True, generator=generator, device=device, **settings
    )


def make(device, **settings):
    gg.manual_seed(0)
    model = gg.nn.Sequential(
        gg.nn.Linear(3, 8), gg.nn.Tanh(), gg.nn.Dropout(0.3), gg.nn.Linear(8, 2)
    ).to(device)
    optimizer = gg.optim.AdamW(model.parameters(), lr=0.05)
    settings.setdefault("progress", None)
    return gg.Trainer(model, optimizer, gg.nn.CrossEntropyLoss(), **settings)


def values(trainer):
    return [p.detach().cpu().numpy() for p in trainer.model.parameters()]


def same(one, other):
    return all(a.tobytes() == b.tobytes() for a, b in zip(values(one), values(other), strict=True))


def test_the_loop_is_the_one_that_people_write(device):
    trainer = make(device, metrics=["accuracy"], clip_norm=0.5)
    history = trainer.fit(data(device), data(device), epochs=2)
    other = make(device)
    loader, metric = data(device), gg.metrics.Accuracy()
    for _ in range(2):
        total, metric = 0.0, gg.metrics.Accuracy()
        for x, y in loader:
            other.optimizer.zero_grad()
            prediction = other.model(gg.asarray(x))
            loss = other.loss(prediction, gg.asarray(y))
            loss.backward()
            gg.optim.clip_grad_norm_(other.model.parameters(), 0.5)
            other.optimizer.step()
            total += loss.item() * len(x)
            metric.update(prediction, y)
    assert same(trainer, other)
    assert history[1]["loss"] == pytest.approx(total / 24)
    assert history[1]["accuracy"] == metric.compute()
    assert {"val_loss", "val_accuracy", "lr", "seconds"} <= set(history[1])
    assert (history[1]["epoch"], history[1]["step"]) == (2, 10)
    assert trainer.model.training


def test_accumulated_batches_are_one_large_batch(device):
    whole, parts = make(device), make(device, accumulate=2)
    for trainer in (whole, parts):
        trainer.model.eval()
        trainer.model.train = lambda mode=True: None  # no dropout, which draws for each batch
    whole.fit(data(device, batch_size=12), epochs=1)
    parts.fit(data(device, batch_size=6), epochs=1)
    for one, other in zip(values(whole), values(parts), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    last = make(device, accumulate=4)
    last.fit(data(device, batch_size=6), epochs=1)
    assert last.step == 1
    last.fit(data(device, batch_size=4), epochs=2)
    assert last.step == 1 + 2  # four batches, and the two that are left


def test_schedules_step_by_epoch_or_step(device):
    for every, expected in (("epoch", 2), ("step", 10)):
        trainer = make(device, scheduler_every=every)
        trainer.scheduler = gg.optim.lr_scheduler.ExponentialLR(trainer.optimizer, 0.5)
        trainer.fit(data(device), epochs=2)
        assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.05 * 0.5**expected)
    trainer = make(device)
    trainer.scheduler = gg.optim.lr_scheduler.ReduceLROnPlateau(trainer.optimizer, patience=0)
    trainer.fit(data(device), data(device), epochs=2)


class Watch(Callback):
    def __init__(self, stop_at=None):
        self.calls, self.stop_at = [], stop_at

    def on_fit_begin(self, trainer):
        self.calls.append("begin")

    def on_step_end(self, trainer, loss):
        self.calls.append(trainer.step)
        if trainer.step == self.stop_at:
            trainer.stop = "enough"

    def on_epoch_end(self, trainer, record):
        self.calls.append(f"epoch {record['epoch']}")

    def on_fit_end(self, trainer):
        self.calls.append("end")


def test_callbacks_are_called_in_order(device):
    watch = Watch()
    make(device, callbacks=[watch]).fit(data(device, batch_size=12), epochs=2)
    assert watch.calls == ["begin", 1, 2, "epoch 1", 3, 4, "epoch 2", "end"]
    watch = Watch(stop_at=3)
    trainer = make(device, callbacks=[watch])
    trainer.fit(data(device, batch_size=12), epochs=5)
    assert trainer.stop == "enough"
    assert watch.calls[-1] == "end"
    assert trainer.step == 3


def test_early_stopping_and_the_best_model(device):
    best = BestModel("val_loss")
    stopping = EarlyStopping("val_loss", patience=2, min_delta=10.0)  # never that much better
    trainer = make(device, callbacks=[stopping, best])
    history = trainer.fit(data(device), data(device), epochs=50)
    assert len(history) == 3
    assert "has not improved" in trainer.stop
    losses = [record["val_loss"] for record in history]
    assert best.epoch == 1 + int(np.argmin(losses))
    assert trainer.evaluate(data(device))["loss"] == pytest.approx(min(losses))
    watcher = EarlyStopping("accuracy")
    scored = make(device, metrics=["accuracy"], callbacks=[watcher])
    assert scored.higher_is_better("val_accuracy")
    assert not scored.higher_is_better("val_loss")


@pytest.mark.parametrize("stop_at", [3, 5, 7])  # within an epoch, at its end, in the next
def test_a_resumed_training_has_the_bits_of_an_uninterrupted_one(stop_at, device, tmp_path):
    def trained(folder, stop, resume=False):
        trainer = make(
            device, metrics=["accuracy", "auc"], checkpoints=folder, save_steps=1,
            callbacks=[Watch(stop), BestModel(), EarlyStopping(patience=9)],
        )  # fmt: skip
        trainer.scheduler = gg.optim.lr_scheduler.CosineAnnealingLR(trainer.optimizer, 10)
        loader = data(device)
        np.random.seed(5)
        random.seed(5)
        if stop is None:
            trainer.fit(loader, data(device), epochs=3, resume=resume)
        else:
            trainer.callbacks[0].on_step_end = lambda t, loss: t.step == stop and interrupt()
            with pytest.raises(KeyboardInterrupt):
                trainer.fit(loader, data(device), epochs=3)
        return trainer, np.random.rand(), random.random()

    def interrupt():
        raise KeyboardInterrupt

    whole = trained(tmp_path / "whole", None)
    trained(tmp_path / "parts", stop_at)
    np.random.seed(99)
    resumed = trained(tmp_path / "parts", None, resume=True)
    assert resumed[1:] == whole[1:]
    assert same(whole[0], resumed[0])
    clocks = ("seconds", "samples_per_second")
    without = [
        [{k: v for k, v in record.items() if k not in clocks} for record in t.history]
        for t in (whole[0], resumed[0])
    ]
    assert without[0] == without[1]


def test_checkpoints_keep_the_last_ones_and_pass_over_damaged_ones(tmp_path):
    trainer = make("cpu", checkpoints=tmp_path, save_steps=2, keep=2)
    trainer.fit(data("cpu"), epochs=2)
    checkpoints = Checkpoints(tmp_path)
    assert [path.name[5:14] for path in checkpoints.paths()] == ["000000008", "000000010"]
    odd = make("cpu", checkpoints=tmp_path / "odd", save_steps=3)
    odd.fit(data("cpu"), epochs=1)
    assert odd.checkpoints.newest()["counts"][1] == 5  # the end is saved too
    checkpoints.paths()[-1].write_bytes(b"broken")
    with pytest.warns(UserWarning, match="is damaged"):
        assert checkpoints.newest()["counts"][1] == 8
    assert Checkpoints(tmp_path / "none").newest() is None
    other = make("cpu", checkpoints=tmp_path / "none")
    assert len(other.fit(data("cpu"), epochs=1, resume=True)) == 1  # from the beginning
    assert len(Checkpoints(tmp_path / "none").paths()) == 1


@contextlib.contextmanager
def full_disk(size):
    """Where writing a file past a size fails, as on a disk that is full."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    trainer = make("cpu", checkpoints=tmp_path / "run", save_steps=1, keep=1)
    trainer.fit(data("cpu"), epochs=1)
    (good,) = Checkpoints(tmp_path / "run").paths()
    before = good.read_bytes()
    with full_disk(len(before) // 2), pytest.raises(OSError, match="too large"):
        trainer.fit(data("cpu"), epochs=2)
    assert list((tmp_path / "run").iterdir()) == [good]
    assert good.read_bytes() == before
    one = make("cpu", checkpoints=tmp_path / "run")
    one.fit(data("cpu"), epochs=2, resume=True)
    whole = make("cpu")
    whole.fit(data("cpu"), epochs=2)
    assert same(one, whole)


def test_checkpoints_every_so_many_minutes(tmp_path, monkeypatch):
    minutes = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: 60 * minutes)

    class Clock(Callback):
        def on_step_end(self, trainer, loss):
            nonlocal minutes
            minutes += 1.0

    clock = Clock()
    trainer = make("cpu", checkpoints=tmp_path, save_minutes=3, keep=2, callbacks=clock)
    trainer.fit(data("cpu"), epochs=2)
    # After the steps 3, 6 and 9, and at the end.
    assert [path.stem[-2:] for path in Checkpoints(tmp_path).paths()] == ["09", "10"]


SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
from test_trainer import data, make, values
import gpugrad as gg
trainer = make("cpu", checkpoints=sys.argv[1], save_steps=1)
trainer.callbacks.append(type("Slow", (gg.training.Callback,), dict(
    on_fit_begin=lambda s, t: print("on", flush=True), on_step_end=lambda *a: time.sleep(0.01)))())
try:
    trainer.fit(data("cpu"), epochs=8, resume=True)
except KeyboardInterrupt as error:
    sys.exit(str(error))
gg.save([p.detach() for p in trainer.model.parameters()], sys.argv[1] + "/final")
"""


def finished(process):
    """The exit status and the errors of a process, whose pipes are closed."""
    _, errors = process.communicate()
    return process.returncode, errors


def run(folder, script=SCRIPT, **options):
    code = script.format(tests=os.path.dirname(__file__))
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        env={**os.environ, "PYTHONPATH": path}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def train(folder, epochs, pipe=None):
    """The state after a training that goes on from the folder."""
    settings = {"checkpoints": folder, "save_steps": 1, "metrics": ["accuracy"]}
    trainer = make("cpu", **settings, callbacks=Tell(pipe))
    trainer.scheduler = gg.optim.ExponentialLR(trainer.optimizer, 0.99)
    trainer.fit(data("cpu"), data("cpu"), epochs, resume=True)
    return trainer


def killed_trainings(folder, count):
    """Start an endless training ``count`` times, each in a process of its own that is killed.

    Each is killed at a random moment after 1 to 8 steps: some while they save, in any part of it.
    """
    moments = random.Random(3)
    make("cpu", metrics=["accuracy"]), gg.optim.ExponentialLR  # what is imported when it is used
    for _ in range(count):
        told, tells = os.pipe()
        if not (process := os.fork()):
            train(folder, 10**9, tells)
            os._exit(1)
        os.close(tells)
        for _ in range(moments.randint(1, 8)):
            assert os.read(told, 1), "the training ended"
        time.sleep(moments.uniform(0.0, 0.02))
        os.kill(process, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(process, 0)[1])
        os.close(told)


KILLS = """
import sys
sys.path.insert(0, {tests!r})
from test_trainer import killed_trainings
killed_trainings(sys.argv[1], 20)
"""


def test_twenty_kills_at_random_moments_end_in_the_same_bits(tmp_path):
    # In a process without threads, which is copied for each training: so none has to import.
    status, errors = finished(run(tmp_path / "parts", KILLS))
    assert status == 0, errors
    epochs, steps, *_ = Checkpoints(tmp_path / "parts").newest()["counts"]
    assert steps >= 60  # all of them together: of 20 runs, each 1 to 8 steps
    resumed, whole = train(tmp_path / "parts", epochs + 1), train(tmp_path / "whole", epochs + 1)
    assert same(resumed, whole)
    for name in ("optimizer", "random", "scheduler", "loader"):
        one, other = (Checkpoints(tmp_path / f).newest()[name] for f in ("parts", "whole"))
        assert repr(one) == repr(other)


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    usual = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    process = run(tmp_path, **usual)
    process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    status, errors = finished(process)
    assert status == 1
    assert "stopped after step" in errors
    assert "resume=True" in errors
    (path,) = [path for path in Checkpoints(tmp_path).paths() if path.name in errors]
    assert path == Checkpoints(tmp_path).paths()[-1]


ANOMALIES = {
    "log made": lambda p: gg.log(p - p - 1.0).mean(),  # in the loss
    "derivative of sqrt": lambda p: gg.sqrt((p - p) ** 2).mean(),  # in a gradient alone
}


@pytest.mark.parametrize("words", ANOMALIES)
def test_what_is_not_finite_names_its_operation(words, device):
    trainer = make(device, look_steps=1)
    usual = trainer.loss
    trainer.loss = lambda p, y: usual(p, y) if trainer.step < 3 else ANOMALIES[words](p)
    with np.errstate(all="ignore"), pytest.raises(gg.AnomalyError, match=words):
        trainer.fit(data(device), epochs=1)
    assert trainer.step == 3
    assert all(np.isfinite(value).all() for value in values(trainer))
    assert all(p.grad is None or not p.grad.any() for p in trainer.model.parameters())


def test_what_is_finite_when_it_is_computed_again_says_so(device):
    trainer = make(device, look_steps=1)
    usual, calls = trainer.loss, []
    trainer.loss = lambda p, y: (
        usual(p, y) * (math.inf if calls.append(0) or len(calls) == 1 else 1)
    )
    with np.errstate(all="ignore"), pytest.raises(gg.AnomalyError, match="is when it is computed"):
        trainer.fit(data(device), epochs=1)


@pytest.mark.parametrize("save_steps", [None, 2])
def test_parameters_that_are_not_finite_are_never_saved(save_steps, device, tmp_path):
    if device == "cpu":
        looks = "derivative of sqrt"  # each step is looked at
    else:
        looks = "after step [45].* not finite in 0.weight.*look_steps=1"
    trainer = make(device, checkpoints=tmp_path, save_steps=save_steps)
    usual = trainer.loss
    anomaly = ANOMALIES["derivative of sqrt"]
    trainer.loss = lambda p, y: usual(p, y) if trainer.step < 3 else anomaly(p)
    with np.errstate(all="ignore"), pytest.raises(gg.AnomalyError, match=looks):
        trainer.fit(data(device), epochs=1)
    saved = [path.stem[-1] for path in trainer.checkpoints.paths()]
    assert saved == ([] if save_steps is None else ["2"])


def test_what_is_shown_and_written(tmp_path, capsys):
    class Scalars:
        def __init__(self):
            self.seen = []

        def add_scalar(self, name, value, step):
            self.seen.append((name, step))

    log = tmp_path / "log.jsonl"
    make("cpu", progress="lines", log=log, metrics=["f1"]).fit(data("cpu"), epochs=2)
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].startswith("epoch 2/2  loss 0.")
    assert "f1" in shown[1]
    assert [json.loads(text)["epoch"] for text in log.read_text().splitlines()] == [1, 2]
    scalars = Scalars()
    make("cpu", log=scalars).fit(data("cpu"), epochs=1)
    assert ("loss", 5) in scalars.seen
    assert capsys.readouterr().out == ""
    table, log = gg.metrics.ConfusionMatrix(), tmp_path / "table.jsonl"
    make("cpu", progress="lines", log=log, metrics=table).fit(data("cpu"), epochs=1)
    assert "confusion" not in capsys.readouterr().out
    assert np.shape(json.loads(log.read_text())["confusion_matrix"]) == (2, 2)
    make("cpu", log=scalars, metrics=[table]).fit(data("cpu"), epochs=1)
    one_class = [(np.ones((2, 3), "float32"), np.ones(2, "int64"))]
    make("cpu", log=tmp_path / "nan.jsonl", metrics="auc").fit(one_class, epochs=1)
    assert '"auc": null' in (tmp_path / "nan.jsonl").read_text()
    make("cpu", progress="bar").fit(data("cpu"), epochs=1)
    assert "epoch 1/1" in capsys.readouterr().err


def test_predictions(device):
    trainer = make(device)
    x = np.concatenate([gg.asarray(x).cpu().numpy() for x, _ in data(device)])
    trainer.model.eval()
    expected = trainer.model(gg.tensor(x, device=device)).detach().cpu().numpy()
    trainer.model.train()
    np.testing.assert_array_equal(trainer.predict(x).cpu().numpy(), expected)
    plain = gg.data.DataLoader(x, 7, device=device)
    np.testing.assert_allclose(trainer.predict(plain).cpu().numpy(), expected, rtol=1e-5)
    assert all(module.training for module in trainer.model.modules())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: gg.save({"a": 1}, t.checkpoints.paths()[-1]), "is no Trainer's"),
        (lambda t: setattr(t, "scheduler", gg.optim.StepLR(t.optimizer, 3)), "no scheduler"),
        (lambda t: t.metrics.append(gg.metrics.R2()), "has 0 metrics"),
        (lambda t: t.callbacks.append(BestModel()), "has 0 callbacks"),
        (lambda t: setattr(t.model, "noise", gg.random.Generator(0)), "has 1 generators"),
    ],
)
def test_another_trainings_checkpoint_changes_nothing(change, words, tmp_path):
    make("cpu", checkpoints=tmp_path).fit(data("cpu"))
    trainer = make("cpu", checkpoints=tmp_path)
    change(trainer)
    before = values(trainer)
    with pytest.raises(ValueError, match=words):
        trainer.fit(data("cpu"), epochs=2, resume=True)
    assert all((a == b).all() for a, b in zip(before, values(trainer), strict=True))


def with_loss(loss):
    model = gg.nn.Linear(3, 2)
    return gg.Trainer(model, gg.optim.SGD(model.parameters(), 0.1), loss, progress=None)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gg.Trainer(3, None, None), "must be a Module"),
        (lambda: gg.Trainer(gg.nn.Linear(3, 2), gg.optim.SGD, None), "optimizer must be"),
        (lambda: gg.Trainer(gg.nn.Linear(3, 2), make("cpu").optimizer, None), "no parameter of"),
        (lambda: gg.Trainer(gg.nn.Linear(3, 2), None, abs).fit(data("cpu")), "pass an optimizer"),
        (lambda: with_loss(gg.nn.CrossEntropyLoss), "loss must be"),
        (lambda: with_loss(gg.nn.CrossEntropyLoss(reduction="none")).fit(data("cpu")), "its mean"),
        (lambda: with_loss(lambda p, y: 0.0).fit(data("cpu")), "must be a Tensor"),
        (lambda: make("cpu", scheduler=3), "scheduler must be"),
        (lambda: make("cpu", callbacks=[3]), "a callback is"),
        (lambda: make("cpu", checkpoints="x", save_minutes="1"), "save_minutes"),
        (lambda: make("cpu", accumulate=2.5), "accumulate must be a whole number"),
        (lambda: make("cpu").fit(data("cpu"), epochs="3"), "epochs must be a whole number"),
        (lambda: make("cpu").fit(data("cpu"), (np.ones(3), np.ones(3))), "expected batches"),
        (lambda: make("cpu").fit((b for b in data("cpu")), epochs=2), "no batches in epoch 2"),
        (lambda: make("cpu").fit(data("cpu"), iter(data("cpu")), epochs=2), "no batches"),
        (lambda: make("cpu").predict([[1.0]]), "with float"),
        (lambda: make("cpu", metrics=["precision"]), "no metric is named"),
        (lambda: make("cpu", metrics=[3]), "a name or a gg.metrics"),
        (lambda: make("cpu", save_steps=3), "need checkpoints"),
        (lambda: make("cpu", accumulate=0), "1 or more"),
        (lambda: make("cpu", scheduler_every="batch"), "'epoch' or 'step'"),
        (lambda: make("cpu", progress="loud").fit(data("cpu")), "progress must be"),
        (lambda: make("cpu", log=3), "JSON lines"),
        (lambda: make("cpu").fit(np.ones(3)), "expected batches"),
        (lambda: make("cpu").fit([np.ones((3, 3))]), "a pair"),
        (lambda: make("cpu").fit(data("cpu"), resume=True), "needs checkpoints"),
        (lambda: make("cpu").save(), "checkpoints=FOLDER"),
        (lambda: make("cpu").predict([]), "no batches"),
        (lambda: make("cpu", callbacks=[EarlyStopping()]).fit(data("cpu")), "no 'val_loss'"),
        (lambda: EarlyStopping(patience=0), "patience"),
        (lambda: BestModel(mode="up"), "'min', 'max'"),
        (lambda: Checkpoints("x", keep=0), "keep"),
    ],
)
def test_bad_input_gets_a_sentence(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()
