"""Lists and dicts of parts, PyTorch's names for setting and finding them, and kinds of dropout."""

import copy
import pickle

import numpy as np
import pytest
from arrays import host

import gpugrad as gg

nn, F = gg.nn, gg.nn.functional


def names(module):
    return [name for name, _ in module.named_parameters()]


def test_a_list_of_modules(device):
    class Tower(nn.Module):
        def __init__(self):
            self.blocks = nn.ModuleList([nn.Linear(2, 2, device=device) for _ in range(2)])

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    tower = Tower()
    tower.blocks.append(nn.Tanh()).extend([nn.Linear(2, 1, device=device)])
    assert names(tower) == [
        f"blocks.{i}.{name}" for i in (0, 1, 3) for name in ("weight", "bias")
    ]  # fmt: skip
    assert tower(gg.ones((3, 2), device=device)).shape == (3, 1)
    blocks = tower.blocks
    assert len(blocks) == 4
    assert blocks[-1] is blocks[3]
    assert names(blocks[2:]) == ["1.weight", "1.bias"]
    assert isinstance(blocks[2:], nn.ModuleList)
    blocks.insert(0, nn.ReLU())
    assert isinstance(blocks.pop(0), nn.ReLU)
    blocks[2] = nn.Identity()
    del blocks[2]
    more = blocks + nn.ModuleList([nn.ReLU()])
    assert len(more) == 4
    blocks += [nn.ReLU()]
    assert isinstance(blocks[3], nn.ReLU)
    assert "(0): Linear" in repr(blocks)
    for other in (copy.deepcopy(tower), pickle.loads(pickle.dumps(tower.blocks))):
        assert len(names(other)) == 6
    assert not nn.ModuleList()


def test_a_dict_of_modules():
    heads = nn.ModuleDict({"mean": nn.Linear(2, 1)})
    heads.update([("spread", nn.Linear(2, 1, bias=False))])
    heads["norm"] = nn.LayerNorm(2)
    assert names(heads) == ["mean.weight", "mean.bias", "spread.weight", "norm.weight", "norm.bias"]
    assert list(heads) == list(heads.keys()) == ["mean", "spread", "norm"]
    assert "norm" in heads
    assert heads.get("other") is None
    assert heads.pop("norm").normalized_shape == (2,)
    del heads["spread"]
    assert [key for key, _ in heads.items()] == ["mean"]
    assert list(heads.values()) == [heads["mean"]]
    assert len(nn.ModuleDict(heads)) == 1
    heads.clear()
    assert len(heads) == 0


def test_lists_and_dicts_of_parameters(device):
    weights = nn.ParameterList([nn.Parameter(gg.ones(2, device=device)), np.zeros(3)])
    assert names(weights) == ["0", "1"]
    assert all(isinstance(weight, nn.Parameter) for weight in weights)
    tables = nn.ParameterDict({"slope": gg.ones(2, device=device)})
    tables["offset"] = [0.0]
    assert names(tables) == ["slope", "offset"]
    state = tables.state_dict()
    assert nn.ParameterDict(tables).load_state_dict(state) == ([], [])


def test_layers_with_names():
    model = nn.Sequential({"first": nn.Linear(2, 3), "act": nn.Tanh(), "last": nn.Linear(3, 1)})
    assert names(model) == ["first.weight", "first.bias", "last.weight", "last.bias"]
    assert model.first is model[0]
    assert model(gg.ones((4, 2))).shape == (4, 1)
    assert names(model[1:]) == ["last.weight", "last.bias"]
    assert "(last): Linear" in repr(model)
    model.append(nn.ReLU())
    assert [name for name, _ in model.named_children()] == ["first", "act", "last", "3"]
    assert names(pickle.loads(pickle.dumps(model))) == names(model)
    with pytest.raises(AttributeError, match="middle"):
        _ = model.middle
    plain = nn.Sequential(nn.Linear(2, 2)).extend([nn.ReLU(), nn.Tanh()]).insert(1, nn.Identity())
    assert len(plain) == 4
    assert isinstance(plain.pop(), nn.Tanh)
    plain[1] = nn.SiLU()
    del plain[0]
    assert [type(layer).__name__ for layer in plain] == ["SiLU", "ReLU"]


def test_parts_are_set_and_found_by_name(device):
    model = nn.Sequential(nn.Linear(2, 3, device=device), nn.ModuleDict({"a": nn.BatchNorm1d(3)}))
    assert model.get_submodule("") is model
    assert model.get_submodule("1.a") is model[1]["a"]
    assert model.get_parameter("0.weight") is model[0].weight
    assert model.get_buffer("1.a.running_mean") is model[1]["a"].running_mean
    assert nn.MLP(2, [3, 1]).get_submodule("layers.1").in_features == 3
    module = nn.Module()
    module.register_parameter("slope", nn.Parameter(gg.ones(2, device=device)))
    module.register_parameter("none", None)
    module.register_buffer("scale", gg.ones(1, device=device))
    module.register_buffer("table", gg.zeros(3, device=device), persistent=False)
    module.add_module("inner", nn.Linear(2, 2))
    module.register_module("outer", None)
    assert list(module.state_dict()) == ["slope", "scale", "inner.weight", "inner.bias"]
    assert [name for name, _ in module.named_buffers()] == ["scale", "table"]
    whole = nn.Sequential(copy.deepcopy(module))
    assert "0.table" not in whole.state_dict()
    assert whole.load_state_dict(whole.state_dict()) == ([], [])
    assert whole.double()[0].table.dtype == np.float64
    assert whole.half()[0].slope.dtype == np.float16
    assert whole.float()[0].slope.dtype == np.float32
    module.register_buffer("table", gg.zeros(3, device=device))
    assert "table" in module.state_dict()


def test_parts_of_a_module_alone():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model.scale, model.table = nn.Parameter(gg.ones(2)), gg.ones(3)
    assert [name for name, _ in model.named_parameters("net", recurse=False)] == ["net.scale"]
    assert [name for name, _ in model.named_buffers(recurse=False)] == ["table"]
    assert next(model.named_parameters(prefix="net"))[0] == "net.0.weight"
    assert len(list(model.parameters(recurse=False))) == len(list(model.buffers(False))) == 1
    assert len(list(model[1].parameters(recurse=False))) == 2


def test_gradients_are_set_to_zero():
    layer = nn.Linear(2, 1)
    layer(gg.ones((1, 2))).sum().backward()
    grad = layer.weight.grad
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad is grad
    assert not host(grad).any()
    layer.zero_grad()
    assert layer.weight.grad is None


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nn.ModuleList(nn.Linear(2, 1)), gg.DTypeError, r"got one Linear. Write ModuleLis"),
        (lambda: nn.ModuleList([nn.Linear]), gg.DTypeError, r"got type. Did you mean Linear\("),
        (lambda: nn.ModuleList([])(1), NotImplementedError, "ModuleList is not called"),
        (lambda: nn.ModuleDict({"a.b": nn.ReLU()}), ValueError, "text without dots"),
        (lambda: nn.ModuleDict({"a": 3}), gg.DTypeError, "expected a Module, got int"),
        (lambda: nn.Sequential({"a.b": nn.ReLU()}), ValueError, "text without dots"),
        (lambda: nn.Sequential({"append": nn.ReLU()}), ValueError, "no method of Sequential"),
        (lambda: nn.Sequential({"a": nn.ReLU()}).pop(), ValueError, "pop would move the names"),
        (lambda: nn.Module().register_buffer("a.b", gg.ones(1)), ValueError, "text without dots"),
        (lambda: nn.Module().register_buffer("eval", gg.ones(1)), ValueError, "'eval' is a method"),
        (lambda: nn.Module().register_buffer("a", [1.0]), gg.DTypeError, "a must be a Tensor"),
        (lambda: nn.Module().register_buffer("a", nn.Parameter([1.0])), gg.DTypeError, "gradient"),
        (lambda: nn.Module().register_parameter("a", gg.ones(1)), gg.DTypeError, "a Parameter, as"),
        (lambda: nn.Module().add_module("a", gg.tanh), gg.DTypeError, "a must be a Module"),
        (lambda: nn.ReLU().get_submodule("a.b"), AttributeError, "ReLU has no module 'a.b'"),
        (lambda: nn.Linear(1, 1).get_parameter("w"), AttributeError, "no parameter 'w'"),
        (lambda: nn.Linear(1, 1).get_buffer("weight"), AttributeError, "take get_parameter"),
        (lambda: nn.Unflatten(1, 3), gg.ShapeError, "must be the sizes that the axis becomes"),
        (lambda: nn.Unflatten(2, (3, 1))(gg.ones(3)), gg.ShapeError, "there is no axis 2"),
        (lambda: F.dropout2d(gg.ones(3)), gg.ShapeError, r"dropout2d: expected .* got shape \(3,"),
        (lambda: F.feature_alpha_dropout(gg.ones(3)), gg.ShapeError, "expected .batch, channels"),
        (lambda: nn.Dropout1d(2), ValueError, "Dropout1d: p is a probability"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_an_axis_is_cut():
    x = gg.arange(24).reshape((2, 12))
    assert nn.Unflatten(1, (3, -1))(x).shape == (2, 3, 4)
    assert nn.Unflatten(-1, [12, 1])(x).shape == (2, 12, 1)
    assert repr(nn.Unflatten(1, (3, 4))) == "Unflatten(dim=1, unflattened_size=(3, 4))"


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Dropout1d, (40, 30, 4)), (nn.Dropout2d, (40, 30, 2, 2)), (nn.Dropout3d, (40, 30, 2, 1, 2)),
     (nn.FeatureAlphaDropout, (40, 30, 4))],
)  # fmt: skip
def test_channels_are_dropped_as_a_whole(layer, shape, device):
    gg.manual_seed(2)
    x = gg.ones(shape, device=device, requires_grad=True)
    y = layer(0.25)(x)
    flat = host(y).reshape(1200, -1)
    assert (flat == flat[:, :1]).all()
    low = flat.min()
    assert 0.2 < (flat[:, 0] == low).mean() < 0.3
    if layer is not nn.FeatureAlphaDropout:
        assert sorted(set(flat[:, 0].round(5).tolist())) == pytest.approx([0, 4 / 3], abs=1e-5)
        one = layer(0.25)(x[0])
        assert one.shape == shape[1:]
    y.sum().backward()
    assert set(host(x.grad)[host(y) == low].tolist()) == {0.0}
    assert layer(0.25).eval()(x) is x


def test_alpha_dropout_preserves_mean_and_variance(device):
    gg.manual_seed(2)
    x = gg.random.normal(0, 1, (200, 200), device=device)
    for p in (0.1, 0.5, 0.9):
        y = host(nn.AlphaDropout(p)(x))
        assert abs(y.mean()) < 0.05
        assert abs(y.std() - 1) < 0.05
    assert not host(nn.AlphaDropout(1.0)(x)).any()
    assert F.alpha_dropout(x) is x  # not in training, as in PyTorch
    whole = gg.asarray(np.arange(100), device=device)
    y = host(F.alpha_dropout(whole, 0.1, training=True))
    assert (y % 1).any()
