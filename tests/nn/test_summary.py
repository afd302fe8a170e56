"""The table of a model's layers: numbers counted by hand, and a model that is unchanged."""

import numpy as np
import pytest

import gpugrad as gg

nn = gg.nn


def only(layer, *shapes, **words):
    return nn.summary(layer, list(shapes), **words)


COUNTS = {
    "Linear(3, 5)": ([(4, 2, 3)], 4 * 2 * 3 * 5),
    "MLP(3, [4, 2])": ([(7, 3)], 7 * (3 * 4 + 4 * 2)),
    "Conv2d(2, 4, 3, padding=1, groups=2)": ([(2, 2, 5, 5)], 2 * 4 * 25 * 9),
    "ConvTranspose2d(2, 3, 2)": ([(1, 2, 3, 3)], 2 * 9 * 3 * 4),
    "Bilinear(2, 3, 4)": ([(5, 2), (5, 3)], None),
    "LSTM(3, 2)": ([(6, 8, 3)], 6 * 8 * (3 * 8 + 2 * 8)),
    "GRU(3, 2)": ([(6, 5, 3)], 6 * 5 * (3 * 6 + 2 * 6)),
    "RNN(3, 2)": ([(6, 5, 3)], 6 * 5 * (3 * 2 + 2 * 2)),
    "MultiheadAttention(4, 2, batch_first=True)": (
        [(2, 3, 4)] * 3, 2 * (4 * 3 * 16 + 2 * 3 * 3 * 4)
    ),
    "TransformerEncoderLayer(4, 2, 8, batch_first=True)": (
        [(2, 3, 4)], 2 * (4 * 3 * 16 + 2 * 3 * 3 * 4 + 2 * 3 * 32)
    ),
    "ReLU()": ([(3, 3)], 0),
}  # fmt: skip


@pytest.mark.parametrize("call", COUNTS)
def test_multiply_adds_are_those_of_the_products(call, device):
    shapes, count = COUNTS[call]
    with gg.device(device):
        layer = eval(f"nn.{call}", {"nn": nn})
        found = only(layer, *shapes)
    assert found.parameters == sum(p.size for p in layer.parameters())
    if count is None:
        assert found.multiply_adds > 0
    else:
        assert found.multiply_adds == count
    assert found.rows[0].name == ""
    assert found.rows[0].multiply_adds == found.multiply_adds
    assert sum(row.parameters for row in found.rows) == found.parameters


class Frozen(nn.Module):
    """Products of the input alone, and of layers outside of the graph, which nothing records."""

    def __init__(self):
        self.backbone = nn.Linear(3, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        gram = gg.einsum("bi,bj->ij", x, x) @ gg.ones((3, 3), device=x.device)
        with gg.no_grad():
            features = self.backbone(x @ gram)
        return self.head(features)


def test_what_is_not_recorded_is_counted_as_well(device):
    with gg.device(device):
        found = nn.summary(Frozen(), (4, 3))
    counts = {row.name: row.multiply_adds for row in found.rows}
    assert counts["backbone"] == 4 * 3 * 5
    assert counts["head"] == 4 * 5 * 2
    assert counts[""] == found.multiply_adds == 4 * 9 + 27 + 4 * 9 + 60 + 40
    assert found.activation_bytes == 4 * 5 * 4  # the features, for the head's weight


class Twice(nn.Module):
    """A model of one's own: a layer that is called twice, and a product that is no layer."""

    def __init__(self):
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.weight = nn.Parameter(gg.ones((3, 2)))
        self.unused = nn.Linear(7, 7)

    def forward(self, x):
        y = self.inner(self.inner(x)) @ self.weight
        return {"scores": y, "mean": y.mean()}


def test_a_model_of_one_s_own():
    model = Twice()
    found = nn.summary(model, (4, 3))
    assert [(row.name, row.layer, row.calls) for row in found.rows] == [
        ("", "Twice", 1), ("inner", "Sequential", 2), ("inner.0", "Linear", 2),
        ("inner.1", "BatchNorm1d", 2), ("inner.2", "Dropout", 2),
    ]  # fmt: skip
    assert found.rows[0].output_shape == [(4, 2), ()]
    assert found.rows[0].parameters == 6
    assert found.multiply_adds == 2 * 4 * 9 + 4 * 6
    assert found.parameters == 12 + 6 + 6 + 56
    text = str(found)
    assert "\n    0: Linear (called 2 times)" in text
    assert f"multiply-adds: {found.multiply_adds:,}" in text


def test_the_model_is_the_same_afterwards():
    model = Twice()
    model.inner[0].requires_grad_(False)
    model.inner[2].eval()
    state = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    gg.manual_seed(1)
    drawn = gg.random.uniform().item()
    gg.manual_seed(1)
    found = nn.summary(model, (4, 3))
    assert gg.random.uniform().item() == drawn
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), state[name])
    assert [module.training for module in model.inner] == [True, True, False]
    assert not any("forward" in vars(module) for module in model.modules())
    assert found.trainable == found.parameters - 12
    assert not model.inner[0].weight.requires_grad
    assert "12 of them frozen" in repr(found)
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(gg.ShapeError):
        nn.summary(model, (4, 2))
    assert not any("forward" in vars(module) for module in model.modules())
    assert model.training


def test_memory_is_what_the_graph_keeps(device):
    with gg.device(device):
        model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2))
        found = nn.summary(model, (16, 3))
    assert found.input_bytes == 16 * 3 * 4
    assert found.parameter_bytes == 4 * (3 * 8 + 8 + 8 * 2 + 2)
    assert found.activation_bytes == 16 * 8 * 4  # the output of tanh, which the next layer keeps
    with gg.no_grad():
        assert nn.summary(model, (16, 3)) == found


def test_inputs(device):
    layer = nn.Embedding(5, 3, device=device)
    numbers = gg.asarray([[0, 1]], device=device)
    assert nn.summary(layer, numbers).rows[0].output_shape == (1, 2, 3)
    assert nn.summary(layer, (1, 2), dtype="int64").rows[0].output_shape == (1, 2, 3)
    with pytest.raises(gg.DTypeError, match="embedding: expected whole numbers"):
        nn.summary(layer, (1, 2))
    for wrong in ((), 3, "3", None):
        with pytest.raises(gg.ShapeError, match="input_shape must be a shape such as"):
            nn.summary(layer, wrong)
    with pytest.raises(gg.ShapeError, match="must not be negative"):
        nn.summary(layer, (1, -2))
    with pytest.raises(gg.DTypeError, match="summary: expected a Module first, got tuple"):
        nn.summary((1, 2), layer)
