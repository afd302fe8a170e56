"""Training in half precision: as good as in float32, skips overflows, resumes to the same bits."""

from importlib.util import find_spec

import numpy as np
import pytest

import gpugrad as gg

HALVES = ["float16", *["bfloat16"] * (find_spec("ml_dtypes") is not None)]


def data(device, shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, *shape)).astype("float32")
    y = (x.reshape(32, -1)[:, :8].sum(axis=1) > 0).astype("int64")
    return gg.data.DataLoader((x, y), 8, shuffle=True, generator=gg.random.Generator(1))


def trainer(device, kind="mlp", **settings):
    gg.manual_seed(0)
    nn = gg.nn
    model = {
        "mlp": lambda: nn.Sequential(
            nn.Linear(8, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 2)
        ),
        "convolution": lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(16, 2),
        ),
        "lstm": lambda: Last(nn.LSTM(2, 8, batch_first=True), nn.Linear(8, 2)),
    }[kind]().to(device)  # fmt: skip
    optimizer = gg.optim.Adam(model.parameters(), lr=0.02)
    return gg.Trainer(model, optimizer, nn.CrossEntropyLoss(), progress=None, **settings)


class Last(gg.nn.Module):
    """A recurrent layer's last output, through another layer."""

    def __init__(self, layer, head):
        super().__init__()
        self.layer, self.head = layer, head

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


SHAPES = {"mlp": (8,), "convolution": (1, 4, 4), "lstm": (4, 2)}


def parameters(trainer):
    return [p.detach().cpu().numpy() for p in trainer.model.parameters()]


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("kind", SHAPES)
def test_a_training_in_half_precision_learns_what_float32_learns(kind, half, device):
    losses = []
    for dtype in (None, half):
        one = trainer(device, kind, autocast=dtype, clip_norm=1.0)
        history = one.fit(data(device, SHAPES[kind]), epochs=4)
        losses.append([record["loss"] for record in history])
        assert {p.dtype.name for p in one.model.parameters()} == {"float32"}
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.05)
    assert losses[1][-1] < losses[1][0]
    assert one.predict(np.ones((2, *SHAPES[kind]), "float32")).dtype.name == half


def test_an_overflow_skips_the_step(device):
    one = trainer(device, autocast="float16", scaler=gg.GradScaler(init_scale=2.0**40))
    batches = list(data(device, (8,)))[:1]
    before = parameters(one)
    with np.errstate(all="ignore"):
        one.fit(batches, epochs=1)
    assert one.precision.scaler.get_scale() == 2.0**39
    for old, new in zip(before, parameters(one), strict=True):
        np.testing.assert_array_equal(old, new)
    assert all(entry["step"] == 0 for entry in one.optimizer.state.values())


def test_a_resumed_training_has_the_bits_of_an_uninterrupted_one(device, tmp_path):
    def fit(folder, *epochs):
        for index, until in enumerate(epochs):
            scaler = gg.GradScaler(init_scale=2.0**20, growth_interval=3)
            one = trainer(device, autocast="float16", scaler=scaler, checkpoints=folder)
            with np.errstate(all="ignore"):
                one.fit(data(device, (8,)), epochs=until, resume=index > 0)
        return one

    whole, parts = fit(tmp_path / "whole", 3), fit(tmp_path / "parts", 1, 3)
    assert whole.precision.scaler.state_dict() == parts.precision.scaler.state_dict()
    for a, b in zip(parameters(whole), parameters(parts), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_settings_get_a_sentence():
    with pytest.raises(gg.errors.DTypeError, match="autocast: expected 'float16' or 'bfloat16'"):
        trainer("cpu", autocast="float32")
    with pytest.raises(gg.errors.ArgumentError, match="a scaler needs autocast='float16'"):
        trainer("cpu", scaler=gg.GradScaler())
    with pytest.raises(gg.errors.DTypeError, match=r"scaler must be a gg\.GradScaler"):
        trainer("cpu", autocast="float16", scaler=2.0)
    assert trainer("cpu", autocast="float16", scaler=gg.GradScaler(enabled=False)).precision
