"""Layers compiled and as usual: training steps and evaluation, with all that they keep."""

import numpy as np
import pytest
from devices import DEVICES
from twins import seen, state_of

import gpugrad as gg
from gpugrad import nn

pytestmark = pytest.mark.usefixtures("by_numpy")

# Products whose operands lie in other memory, which may change their last digits.
NEAR = ("conv 1d", "conv 2d", "transposed")

# With the shape of their input, or a function that makes inputs from a seed.
LAYERS = {
    "linear": (lambda: nn.Linear(3, 4), (5, 3)),
    "mlp": (lambda: nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)), (5, 3)),
    "batch norm": (lambda: nn.BatchNorm1d(3), (5, 3)),
    "batch norm 2d": (lambda: nn.BatchNorm2d(3), (2, 3, 4, 4)),
    "batch norm, averaged": (lambda: nn.BatchNorm1d(3, momentum=None), (5, 3)),
    "batch norm, no statistics": (lambda: nn.BatchNorm1d(3, track_running_stats=False), (5, 3)),
    "layer norm": (lambda: nn.LayerNorm(3), (5, 3)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (2, 4, 3)),
    "instance norm": (
        lambda: nn.InstanceNorm1d(4, affine=True, track_running_stats=True), (2, 4, 3)
    ),
    "rms norm": (lambda: nn.RMSNorm(3), (5, 3)),
    "dropout": (lambda: nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5)), (5, 3)),
    "alpha dropout": (lambda: nn.Sequential(nn.Linear(3, 8), nn.AlphaDropout(0.5)), (5, 3)),
    "dropout 2d": (lambda: nn.Sequential(nn.Conv2d(2, 8, 1), nn.Dropout2d(0.5)), (2, 2, 3, 3)),
    "rrelu": (lambda: nn.Sequential(nn.Linear(3, 8), nn.RReLU()), (5, 3)),
    "conv 1d": (lambda: nn.Conv1d(2, 3, 2), (2, 2, 5)),
    "conv 2d": (lambda: nn.Conv2d(2, 3, 2, padding=1, stride=2), (2, 2, 5, 5)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 3, 2), (2, 2, 3, 3)),
    "pools": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.MaxPool2d(2), nn.AvgPool2d(2)), (2, 2, 8, 8)
    ),
    "adaptive": (lambda: nn.Sequential(nn.Conv1d(2, 3, 1), nn.AdaptiveAvgPool1d(2)), (2, 2, 5)),
    "rnn": (lambda: nn.RNN(3, 4), (5, 2, 3)),
    "lstm": (lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True), (5, 2, 3)),
    "lstm, dropout": (lambda: nn.LSTM(3, 4, num_layers=2, dropout=0.5), (5, 2, 3)),
    "gru": (lambda: nn.GRU(3, 4, batch_first=True), (2, 5, 3)),
    "lstm cell": (lambda: nn.LSTMCell(3, 4), (5, 3)),
    "encoder": (lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0), (3, 2, 4)),
    "positions": (lambda: nn.Sequential(nn.Linear(3, 4), nn.PositionalEncoding(4)), (5, 2, 3)),
    "prelu": (lambda: nn.Sequential(nn.Linear(3, 4), nn.PReLU()), (5, 3)),
    "bilinear": (lambda: _Twice(nn.Bilinear(3, 3, 2)), (5, 3)),
    "embedding": (lambda: nn.Embedding(7, 3), lambda seed: _classes(7, (5,), seed)),
    "embedding, padded": (
        lambda: nn.Embedding(7, 3, padding_idx=1), lambda seed: _classes(7, (4, 2), seed)
    ),
    "upsample": (lambda: nn.Sequential(nn.PReLU(), nn.Upsample(scale_factor=2)), (1, 2, 3, 3)),
}  # fmt: skip


class _Twice(nn.Module):
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x):
        return self.layer(x, x)


def _classes(count, shape, seed):
    return gg.random.Generator(seed).integers(0, count, shape)


def _inputs(shape, seed):
    return shape(seed) if callable(shape) else gg.random.Generator(seed).normal(size=shape)


class Twin:
    def __init__(self, make, dtype="float32"):
        gg.manual_seed(3)
        self.model = make().to(dtype)
        self.optimizer = gg.optim.SGD(self.model.parameters(), lr=0.1)

    def step(self, x):
        self.optimizer.zero_grad()
        y = self.model(x)
        while isinstance(y, tuple):
            y = y[0]
        loss = (y * y * y).mean()
        if self.model.training:
            loss.backward()
            self.optimizer.step()
        return loss.detach(), y.detach()

    def state(self):
        return state_of(self.model)


@pytest.mark.parametrize("name", NEAR)
def test_convolutions(name):
    make, shape = LAYERS[name]
    usual, other = Twin(make), Twin(make)
    compiled = gg.compile(other.step)
    for number, mode in enumerate([True, True, True, False, False, True]):
        usual.model.train(mode)
        other.model.train(mode)
        x = _inputs(shape, number)
        pairs = [*zip(usual.step(x), compiled(x))]
        pairs += zip(usual.model.parameters(), other.model.parameters(), strict=True)
        for a, b in pairs:
            a, b = a.detach().numpy(), b.detach().numpy()
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in NEAR])
def test_layers_train_and_evaluate(name):
    make, shape = LAYERS[name]
    usual, other = Twin(make), Twin(make)
    compiled = gg.compile(other.step)
    results = []
    for twin, step in ((usual, usual.step), (other, compiled)):
        gg.manual_seed(7)
        calls = []
        for number, mode in enumerate([True, True, True, False, False, True]):
            twin.model.train(mode)
            calls.append((seen(step(_inputs(shape, number))), twin.state()))
        results.append(calls)
    for number, (expected, got) in enumerate(zip(*results, strict=True)):
        assert got == expected, f"call {number}"
    assert sum(map(len, compiled._entries.values())) <= 3


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("length", [5, 260])  # one block of scores, and several
def test_attention_drops_the_same_elements(length, device):
    x = gg.random.Generator(1).normal(size=(2, length, 3)).to(device)
    attention = nn.functional.scaled_dot_product_attention

    def loss(x):
        return (attention(x, x, x, dropout_p=0.5, is_causal=True) ** 2).sum()

    usual, compiled = gg.grad(loss), gg.compile(gg.grad(loss))
    for _ in range(3):
        state = gg.random.default_generator().get_state()
        expected = usual(x)
        after = gg.random.default_generator().get_state()
        gg.random.default_generator().set_state(state)
        got = compiled(x)
        assert gg.random.default_generator().get_state() == after
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
