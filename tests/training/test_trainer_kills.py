"""Trainings that are killed at random moments, of each kind, and what they come to: the same bits.

As a program, for more kills: python tests/training/test_trainer_kills.py FOLDER KIND COUNT.
"""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from repository import ROOT
from tell import Tell

import gpugrad as gg
from gpugrad.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from gpugrad.training import Callback, Checkpoints


class Noisy(gg.data.Dataset):
    """Samples with noise, which a worker draws, or this process with a generator of its own."""

    def __init__(self, generator=None):
        self.generator = generator

    def __len__(self):
        return 24

    def __getitem__(self, i):
        x = np.random.default_rng(i).normal(size=3) + 0.1 * np.random.normal(size=3)
        if self.generator is not None:
            x += self.generator.normal(size=3, device="cpu").numpy()
        return x.astype("float32"), np.int64(x.sum() > 0)


class Average(Callback):
    """A moving average of the model, which is saved with the checkpoints."""

    def __init__(self, model):
        self.model = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))

    def on_step_end(self, trainer, loss):
        self.model.update_parameters(trainer.model)

    def state_dict(self):
        return self.model.state_dict()

    def load_state_dict(self, state_dict):
        self.model.load_state_dict(state_dict)


KINDS = {
    "workers": {"num_workers": 2},
    "half": {"autocast": "float16", "accumulate": 2, "clip_norm": 1.0},
    "compiled": {"compile": True},
}


def train(folder, kind, epochs, pipe=None):
    """A training with dropout, a schedule and an average, which goes on from the folder."""
    settings = dict(KINDS[kind])
    workers = settings.pop("num_workers", 0)
    gg.manual_seed(0)
    model = gg.nn.Sequential(
        gg.nn.Linear(3, 8), gg.nn.BatchNorm1d(8), gg.nn.ReLU(), gg.nn.Dropout(0.3),
        gg.nn.Linear(8, 2),
    )  # fmt: skip
    optimizer = gg.optim.AdamW(model.parameters(), lr=0.05)
    trainer = gg.Trainer(
        model, optimizer, gg.nn.CrossEntropyLoss(), metrics=["accuracy", "auc"], progress=None,
        scheduler=gg.optim.ExponentialLR(optimizer, 0.99), scheduler_every="step",
        checkpoints=folder, save_steps=1, callbacks=[Average(model), Tell(pipe)], **settings,
    )  # fmt: skip
    np.random.seed(0)
    samples = Noisy() if workers else Noisy(gg.random.Generator(7))
    loader = gg.data.DataLoader(samples, 5, shuffle=True, num_workers=workers)
    trainer.fit(loader, epochs=epochs, resume=True)
    return trainer


def kill_trainings(folder, kind, count):
    """Start an endless training ``count`` times, and kill each after 1 to 4 steps."""
    moments = random.Random(3)
    train(f"{folder}/imports", kind, 1)  # what is imported when it is used
    for _ in range(count):
        told, tells = os.pipe()
        if not (process := os.fork()):
            train(f"{folder}/parts", kind, 10**9, tells)
            os._exit(1)
        os.close(tells)
        for _ in range(moments.randint(1, 4)):
            assert os.read(told, 1), "the training ended"
        time.sleep(moments.uniform(0.0, 0.02))
        os.kill(process, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(process, 0)[1])
        os.close(told)


def check(folder, kind):
    """All that a checkpoint has is as if the training had never stopped."""
    parts, whole = f"{folder}/parts", f"{folder}/whole"
    epochs = Checkpoints(parts).newest()["counts"][0] + 1
    train(parts, kind, epochs), train(whole, kind, epochs)
    one, other = (Checkpoints(each).newest() for each in (parts, whole))
    for state in (one, other):
        for record in state["history"]:
            del record["seconds"], record["samples_per_second"]
    assert list(one) == list(other)
    for part in one:
        same(one[part], other[part], part)
    return one["counts"][1]


def same(one, other, where):
    """Two states hold the same bits."""
    if isinstance(one, dict | list | tuple):
        assert len(one) == len(other), where
        for key in one if isinstance(one, dict) else range(len(one)):
            same(one[key], other[key], f"{where}.{key}")
    elif hasattr(one, "shape"):
        assert gg.asarray(one).numpy().tobytes() == gg.asarray(other).numpy().tobytes(), where
    else:
        assert one == other, where


@pytest.mark.parametrize("kind", KINDS)
def test_kills_at_random_moments_end_in_the_same_bits(kind, tmp_path):
    path = [str(ROOT), str(ROOT / "tests" / "helpers"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path), kind, "4"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 4


if __name__ == "__main__":
    kill_trainings(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    print(check(sys.argv[1], sys.argv[2]))  # how many steps it took
