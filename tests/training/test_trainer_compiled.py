"""`gg.Trainer` with its steps compiled, and with L-BFGS, beside the plain loop."""

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.training import Checkpoints


def data(device, batch_size=6):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 3)).astype("float32")
    y = (x.sum(axis=1) > 0).astype("int64")
    generator = gg.random.Generator(1)
    return gg.data.DataLoader((x, y), batch_size, shuffle=True, generator=generator, device=device)


def make(device, schedule=False, **settings):
    gg.manual_seed(0)
    model = gg.nn.Sequential(
        gg.nn.Linear(3, 8, bias=False), gg.nn.BatchNorm1d(8), gg.nn.Tanh(), gg.nn.Dropout(0.3),
        gg.nn.Linear(8, 2),
    ).to(device)  # fmt: skip
    optimizer = gg.optim.AdamW(model.parameters(), lr=0.05)
    if schedule:
        scheduler = gg.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        settings |= {"scheduler": scheduler, "scheduler_every": "step"}
    return gg.Trainer(model, optimizer, gg.nn.CrossEntropyLoss(), progress=None, **settings)


SETTINGS = {
    "plain": {},
    "metrics": {"metrics": ["accuracy", "auc"], "clip_norm": 0.5, "schedule": True},
    "accumulated": {"accumulate": 2},
    "half": {"autocast": "float16", "clip_norm": 1.0},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_compiled_training_is_the_plain_one(settings, device):
    trainers, histories = [], []
    for way in (False, True):
        trainers.append(make(device, compile=way, **settings))
        histories.append(trainers[-1].fit(data(device), data(device), epochs=2))
    expected, found = histories
    loose = 0.1 if "autocast" in settings else 1e-3
    for one, other in zip(expected, found, strict=True):
        assert list(one) == list(other)
        for name in set(one) - {"seconds", "samples_per_second"}:
            assert other[name] == pytest.approx(one[name], rel=loose, abs=loose / 10), name
    steps = trainers[1].steps
    reports = [function.report() for function in (steps._gradients, steps._loss)]
    assert [report.count("program ") for report in reports] == [
        3 if settings.get("accumulate") else 2,  # of 6 samples and 4, the first and more
        2,
    ]


def test_a_compiled_training_goes_on_to_the_same_bits(device, tmp_path):
    def trained(folder, epochs):
        trainer = make(device, compile=True, checkpoints=tmp_path / folder)
        trainer.fit(data(device), epochs=epochs, resume=True)
        model = Checkpoints(tmp_path / folder).newest()["model"]
        return [tensor.cpu().numpy().tobytes() for tensor in map(gg.asarray, model.values())]

    trained("parts", 1)
    assert trained("parts", 2) == trained("whole", 2)


def test_a_compiled_training_stops_where_a_loss_is_not_finite():
    model = gg.nn.Linear(1, 1)

    def loss(prediction, target):
        return gg.log(prediction * 0 - target).mean()

    trainer = gg.Trainer(
        model, gg.optim.SGD(model.parameters(), 0.1), loss, compile=True, progress=None
    )
    with pytest.warns(RuntimeWarning), pytest.raises(gg.errors.AnomalyError, match="log"):
        trainer.fit([(np.ones((2, 1), "float32"), np.ones((2, 1), "float32"))])


class Choosing(gg.nn.Module):
    def __init__(self):
        self.layer = gg.nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x if x.sum() > 0 else -x)


def test_what_cannot_be_compiled_says_so():
    model = Choosing()
    optimizer = gg.optim.SGD(model.parameters(), 0.1)
    trainer = gg.Trainer(model, optimizer, gg.nn.CrossEntropyLoss(), compile=True, progress=None)
    with pytest.raises(gg.CompileError, match=r"Trainer: .*truth.*test_trainer_comp.*leave out"):
        trainer.fit(data("cpu"))
    with pytest.raises(gg.errors.ArgumentError, match="compile must be True or False, got 'C'"):
        gg.Trainer(model, optimizer, gg.nn.CrossEntropyLoss(), compile="C")


# ---------------------------------------------------------------- L-BFGS


def least_squares(**settings):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3))
    y = x @ np.array([[1.0], [2.0], [-1.0]]) + 0.1 * rng.normal(size=(20, 1))
    model = gg.nn.Linear(3, 1, dtype="float64")
    gg.nn.init.zeros_(model.weight)
    gg.nn.init.zeros_(model.bias)
    optimizer = gg.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")
    trainer = gg.Trainer(model, optimizer, gg.nn.MSELoss(), progress=None, **settings)
    return trainer, [(x, y)]


@pytest.mark.parametrize("way", [False, True], ids=["usual", "compiled"])
def test_lbfgs_trains_as_by_hand(way):
    trainer, batches = least_squares(compile=way, metrics=["r2"])
    history = trainer.fit(batches, batches, epochs=3)
    other, ((x, y),) = least_squares()
    x, y = gg.asarray(x), gg.asarray(y)

    def closure():
        other.optimizer.zero_grad()
        loss = other.loss(other.model(x), y)
        loss.backward()
        return loss

    losses = [other.optimizer.step(closure).item() for _ in range(3)]
    assert [record["loss"] for record in history] == pytest.approx(losses)
    assert history[-1]["val_r2"] > 0.99
    assert trainer.step == 3
    assert all(p.grad is None for p in trainer.model.parameters())
    exact = np.linalg.lstsq(np.c_[x.numpy(), np.ones(20)], y.numpy())[0]
    np.testing.assert_allclose(trainer.model.weight.detach().numpy()[0], exact[:3, 0], rtol=1e-5)


@pytest.mark.parametrize(
    "settings", [{"accumulate": 2}, {"clip_norm": 1.0}, {"autocast": "float16"}]
)
def test_lbfgs_says_what_it_cannot_be_used_with(settings):
    (name,) = settings
    with pytest.raises(gg.errors.ArgumentError, match=f"LBFGS computes .* so {name}.* Adam"):
        least_squares(**settings)
