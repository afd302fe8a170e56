"""gg.nn: parameters, modules, layers, what they hold and how they move."""

import copy
import gc
import pickle

import numpy as np
import pytest
from arrays import host

import gpugrad as gg
from gpugrad import nn
from gpugrad.nn import functional as F


def names(model):
    return [name for name, _ in model.named_parameters()]


class Net(nn.Module):
    """Parts in every place where they may stand."""

    def __init__(self):
        self.first = nn.Linear(2, 3)
        self.scale = nn.Parameter(2.0)
        self.blocks = [nn.Linear(3, 3), (nn.Linear(3, 1, bias=False), nn.Tanh())]
        self.heads = {"a": nn.Parameter([1.0]), "b": {"c": nn.Linear(1, 1)}}
        self.mean = gg.zeros(3)
        self.learned = gg.ones(2, requires_grad=True)
        self.note = "text"
        self.table = np.ones(4)

    def forward(self, x):
        return self.blocks[1][0](F.tanh(self.first(x))) * self.scale


NET = [
    "first.weight", "first.bias", "scale", "blocks.0.weight", "blocks.0.bias",
    "blocks.1.0.weight", "heads.a", "heads.b.c.weight", "heads.b.c.bias", "learned",
]  # fmt: skip


# ---------------------------------------------------------------- Parameter


def test_parameter(device):
    p = nn.Parameter([1.0, 2.0], name="w")
    assert isinstance(p, gg.Tensor)
    assert (p.requires_grad, p.is_leaf, p.name, p.device) == (True, True, "w", device)
    assert type(p * 2) is gg.Tensor
    assert type(p.detach()) is gg.Tensor
    (p * p).sum().backward()
    assert p.grad.tolist() == [2.0, 4.0]


def test_parameter_shares_memory_and_leaves_the_graph_behind():
    array = np.ones(3, "float32")
    assert nn.Parameter(array).data is array
    x = gg.ones(3, requires_grad=True)
    p = nn.Parameter(x * 2)
    assert p.is_leaf
    assert p.tolist() == [2.0, 2.0, 2.0]


def test_parameter_holds_floats():
    for wrong in (np.arange(3), np.ones(2, bool), np.ones(2, "complex64")):
        with pytest.raises(gg.DTypeError, match=f"Parameter: .* got dtype {wrong.dtype}"):
            nn.Parameter(wrong)


def test_parameter_as_text():
    assert repr(nn.Parameter([1.0, 2.0])) == "Parameter([1., 2.])"
    frozen = nn.Parameter([1.0], requires_grad=False, name="w")
    assert repr(frozen) == "Parameter([1.], name='w', requires_grad=False)"


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_parameter_survives_copies(device, how, requires_grad):
    p = nn.Parameter([1.0, 2.0], requires_grad, name="w")
    made = how(p)
    assert type(made) is nn.Parameter
    assert made is not p
    assert (made.tolist(), made.name) == ([1.0, 2.0], "w")
    assert (made.requires_grad, made.device) == (requires_grad, device)
    assert (made.data is p.data) == (how is copy.copy)


# ---------------------------------------------------------------- what a module holds


def test_parameters_in_the_order_of_the_attributes():
    net = Net()
    assert names(net) == NET
    assert [p.shape for p in net.parameters()][:3] == [(3, 2), (3,), ()]
    assert [name for name, _ in net.named_buffers()] == ["mean"]
    assert next(net.buffers()) is net.mean


def test_modules_and_children():
    net = Net()
    found = [(name, type(module).__name__) for name, module in net.named_modules()]
    assert found == [
        ("", "Net"),
        ("first", "Linear"),
        ("blocks.0", "Linear"),
        ("blocks.1.0", "Linear"),
        ("blocks.1.1", "Tanh"),
        ("heads.b.c", "Linear"),
    ]
    outer = nn.Sequential(net, nn.Tanh())
    assert [name for name, _ in outer.named_children()] == ["0", "1"]
    assert list(outer.children()) == [net, outer[1]]
    assert len(list(outer.modules())) == 8


def test_what_is_shared_counts_once():
    class Tied(nn.Module):
        def __init__(self):
            self.encoder = nn.Linear(3, 3)
            self.decoder = nn.Linear(3, 3)
            self.decoder.weight = self.encoder.weight
            self.again = self.encoder

    tied = Tied()
    assert names(tied) == ["encoder.weight", "encoder.bias", "decoder.bias"]
    assert list(tied.state_dict()) == names(tied)
    assert len(list(tied.modules())) == 3
    twin = copy.deepcopy(tied)
    assert twin.decoder.weight is twin.encoder.weight
    assert twin.encoder.weight is not tied.encoder.weight
    assert twin.again is twin.encoder


def test_a_cycle_of_modules_ends():
    a, b = nn.Linear(1, 1), nn.Sequential()
    b.append(a)
    a.parent = b
    a.friends = [b]
    a.friends.append(a.friends)
    assert names(b) == ["0.weight", "0.bias"]
    assert list(b.modules()) == [b, a]
    assert names(a) == ["weight", "bias"]
    assert "(parent): Sequential(...)  # the same as the whole" in repr(b)
    visited = []
    b.apply(visited.append)
    assert visited == [a, b]
    b.to(gg.float64)
    assert a.weight.dtype == np.float64


def test_a_deep_nest_of_modules_is_walked():
    model = nn.Linear(1, 1)
    for _ in range(3000):
        model = nn.Sequential(model)
    assert len(list(model.parameters())) == 2
    while isinstance(model, nn.Sequential):  # freed step by step
        model = model[0]


def test_a_computed_tensor_is_neither_parameter_nor_buffer():
    class Remembers(nn.Module):
        def __init__(self):
            self.w = nn.Parameter(1.0)

        def forward(self, x):
            self.last = self.w * x
            return self.last

    model = Remembers()
    model(gg.ones(2))
    assert list(model.state_dict()) == ["w"]
    assert list(model.buffers()) == []


def test_a_buffer_that_is_computed_is_saved_by_its_value(device, tmp_path):
    """A running mean that was made without no_grad, say: it stays in the state."""

    class Inner(nn.Module):
        def __init__(self):
            self.w = nn.Parameter(gg.ones(2))
            self.mean = gg.zeros(2)

        def forward(self, x):
            self.mean = 0.5 * self.mean + 0.5 * self.w * x
            return self.mean.sum()

    with gg.device(device):
        model, other = nn.Sequential(Inner()), nn.Sequential(Inner())
        for _ in range(2):
            loss = model(gg.full(2, 4.0))
        assert [name for name, _ in model.named_buffers()] == ["0.mean"]
        assert model.state_dict()["0.mean"].tolist() == [3.0, 3.0]
        assert not model.state_dict()["0.mean"].requires_grad
        gg.save(model, tmp_path / "model")
        other.load_state_dict(gg.load(tmp_path / "model"))
        assert other[0].mean.tolist() == [3.0, 3.0]
        # Loading into a computed one takes its value, and leaves the graph that it was part of.
        model.load_state_dict({"0.w": gg.ones(2), "0.mean": gg.full(2, 7.0)})
        assert model[0].mean.tolist() == [7.0, 7.0]
        assert not model[0].mean.requires_grad
        loss.backward()
        assert model[0].w.grad.tolist() == [3.0, 3.0]
        other(gg.full(2, 4.0))
        assert other.to(gg.float64)[0].mean.dtype == np.float64
        assert list(other.state_dict()) == ["0.w", "0.mean"]


def test_a_frozen_parameter_stays_a_parameter():
    layer = nn.Linear(2, 1).requires_grad_(False)
    assert names(layer) == ["weight", "bias"]
    assert not layer(gg.ones((1, 2))).requires_grad
    assert layer.requires_grad_().weight.requires_grad


def test_zero_grad(device):
    net = Net()
    net(gg.ones((4, 2))).sum().backward()
    assert net.first.weight.grad is not None
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_train_and_eval():
    net = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
    assert net.training
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    x = gg.ones(50)
    assert net(x) is x
    net.train()
    assert all(module.training for module in net.modules())
    assert 0.0 in net(x).tolist()
    assert nn.Module.training  # of instances, not of the class


def test_forward_must_be_defined():
    class Nothing(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Nothing has no forward"):
        Nothing()(1)


def test_calling_passes_all_arguments_on():
    class Adds(nn.Module):
        def forward(self, a, b, *, c):
            return a + b + c

    assert Adds()(1, 2, c=3) == 6


def test_no_cycle_of_references():
    gc.collect()
    gc.disable()
    try:
        model = nn.MLP(3, [4, 4, 1])
        for _ in range(3):
            F.mse_loss(model(gg.ones((4, 3))), gg.zeros((4, 1))).backward()
        repr(model), model.state_dict(), model.to(gg.float64)
        del model
        assert gc.collect() == 0
    finally:
        gc.enable()


# ---------------------------------------------------------------- state


def test_state_dict(device):
    net = Net()
    state = net.state_dict()
    expected = [*NET]
    expected.insert(expected.index("learned"), "mean")
    assert list(state) == expected
    assert state["first.weight"].data is net.first.weight.data
    assert not any(value.requires_grad for value in state.values())


@pytest.mark.parametrize("form", ["tensors", "arrays"])
def test_load_state_dict(device, form):
    net, other = Net(), Net()
    weight, memory = net.first.weight, net.first.weight.data
    state = other.state_dict()
    if form == "arrays":  # as from a file: on the host, in another dtype
        state = {name: host(value).astype("float64") for name, value in state.items()}
    assert net.load_state_dict(state) == ([], [])
    assert net.first.weight is weight
    assert weight.data is memory
    assert weight.dtype == np.float32
    for one, two in zip(net.parameters(), other.parameters()):
        assert one.tolist() == two.tolist()


def test_load_state_dict_names_all_that_is_wrong():
    model = nn.MLP(2, [3, 1])
    before = {name: host(value).copy() for name, value in model.state_dict().items()}
    state = {name: host(value) + 1 for name, value in model.state_dict().items()}
    state["layers.0.weight"] = np.zeros((2, 3))
    state["layers.2.weight"] = state.pop("layers.1.weight")
    del state["layers.1.bias"]
    with pytest.raises(gg.ShapeError) as caught:
        model.load_state_dict(state)
    text = str(caught.value)
    assert "does not fit this MLP, and nothing was loaded" in text
    assert "wrong shapes: layers.0.weight has shape (3, 2), got (2, 3)" in text
    assert "missing: layers.1.weight, layers.1.bias" in text
    assert "unexpected: layers.2.weight" in text
    for name, value in model.state_dict().items():
        assert (host(value) == before[name]).all()


def test_load_state_dict_without_strict():
    model = nn.Linear(2, 1)
    bias = model.bias.tolist()
    found = model.load_state_dict({"weight": np.ones((1, 2)), "other": np.ones(1)}, strict=False)
    assert found.missing_keys == ["bias"]
    assert found.unexpected_keys == ["other"]
    assert model.weight.tolist() == [[1.0, 1.0]]
    assert model.bias.tolist() == bias
    with pytest.raises(ValueError, match="missing: bias; unexpected: other. Pass strict=False"):
        model.load_state_dict({"weight": np.ones((1, 2)), "other": np.ones(1)})
    with pytest.raises(gg.ShapeError, match="wrong shapes: weight"):
        model.load_state_dict({"weight": np.ones((2, 1))}, strict=False)


def test_load_state_dict_refuses_what_cannot_be_cast():
    class Counts(nn.Module):
        def __init__(self):
            self.steps = gg.tensor(3, dtype="int64")

    model = Counts()
    with pytest.raises(gg.DTypeError, match="wrong dtypes: steps has dtype int64, got float64"):
        model.load_state_dict({"steps": np.array(1.5)})
    with pytest.raises(gg.DTypeError, match="load_state_dict: steps is no array: .*str"):
        model.load_state_dict({"steps": "many"})
    with pytest.raises(gg.DTypeError, match="expected names and values, .* got Counts"):
        model.load_state_dict(model)
    model.load_state_dict({"steps": np.array(5, "int32")})
    assert model.steps.item() == 5
    assert model.steps.dtype == np.int64


def test_a_graph_that_needs_the_old_values_notices_a_load():
    layer = nn.Linear(2, 1)
    x = gg.ones((3, 2), requires_grad=True)
    loss = layer(x).sum()
    layer.load_state_dict(nn.Linear(2, 1).state_dict())
    with pytest.raises(gg.GradientError, match="changed in place"):
        loss.backward()


def test_two_tensors_of_one_name():
    class Clash(nn.Module):
        def __init__(self):
            self.parts = {1: nn.Parameter(1.0), "1": nn.Parameter(2.0)}

    with pytest.raises(ValueError, match=r"Clash holds two tensors under the name 'parts\.1'"):
        Clash().state_dict()


def test_modules_survive_pickle_and_deepcopy(device):
    net = nn.Sequential(nn.MLP(2, [3, 1], "relu"), nn.Dropout(0.5), gg.tanh)
    net.eval()
    x = gg.ones((4, 2))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin(x).tolist() == net(x).tolist()
        assert twin[0].layers[0].weight is not net[0].layers[0].weight
        assert names(twin) == names(net)


# ---------------------------------------------------------------- to


def test_to_a_dtype_keeps_the_parameters(device):
    net = Net()
    net.steps = gg.tensor(3, dtype="int64")
    parameters = list(net.parameters())
    net(gg.ones((4, 2))).sum().backward()
    assert net.to(gg.float64) is net
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    assert all(p.dtype == np.float64 for p in parameters)
    assert net.first.weight.grad.dtype == np.float64
    assert net.mean.dtype == np.float64
    assert net.steps.dtype == np.int64
    net.zero_grad()
    net(gg.ones((4, 2), dtype="float64")).sum().backward()
    assert net.first.weight.grad.dtype == np.float64
    assert net.to("float32").first.weight.dtype == np.float32
    assert net.to(dtype="float16").scale.dtype == np.float16


def test_to_a_device_moves_gradients_too():
    net = Net()
    parameters = list(net.parameters())
    net(gg.ones((4, 2))).sum().backward()
    before = host(net.first.weight.grad)
    net.to("sim:1")
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    assert all(p.device == "sim:1" for p in parameters)
    assert net.mean.device == "sim:1"
    assert net.first.weight.grad.device == "sim:1"
    assert (host(net.first.weight.grad) == before).all()
    with gg.device("sim:1"):
        y = net(gg.ones((4, 2)))
        y.sum().backward()  # adds to the gradient that moved
    assert y.device == "sim:1"
    np.testing.assert_allclose(host(net.first.weight.grad), 2 * before, rtol=1e-6)
    assert net.cpu().first.weight.device == "cpu"
    net.to(device="sim", dtype="float64")
    assert (net.scale.device, net.scale.dtype) == ("sim", np.float64)
    net.to(gg.Device("cpu"))
    assert net.scale.device == "cpu"


def test_an_optimizer_goes_on_after_a_move():
    layer = nn.Linear(2, 1)
    optimizer = gg.optim.SGD(layer.parameters(), lr=0.1)
    layer.to("sim").to(gg.float64)
    start = host(layer.weight).copy()
    F.mse_loss(layer(gg.ones((3, 2), device="sim", dtype="float64")),
               gg.zeros((3, 1), device="sim", dtype="float64")).backward()  # fmt: skip
    step = host(layer.weight.grad)
    optimizer.step()
    np.testing.assert_allclose(host(layer.weight), start - 0.1 * step, rtol=1e-12)


def test_to_moves_nothing_that_is_there(device):
    layer = nn.Linear(2, 1)
    memory = layer.weight.data
    layer.to(device, dtype="float32")
    assert layer.weight.data is memory


def test_to_refuses():
    layer = nn.Linear(2, 1)
    with pytest.raises(gg.DTypeError, match="a module needs a floating-point dtype, got int32"):
        layer.to("int32")
    with pytest.raises(gg.DeviceError, match="sim"):
        layer.to("sim:99")
    with pytest.raises(ValueError, match="to: device was given twice"):
        layer.to("cpu", device="sim")
    with pytest.raises(ValueError, match="to: dtype was given twice"):
        layer.to(gg.float64, dtype="float32")
    assert (layer.weight.device, layer.weight.dtype) == ("cpu", np.float32)


@pytest.mark.skipif(gg.cuda.is_available(), reason="says what to do where CUDA does not work")
def test_cuda_where_there_is_none():
    layer = nn.Linear(2, 1)
    for move in (layer.cuda, lambda: layer.cuda(0), lambda: layer.to("cuda")):
        with pytest.raises(gg.DeviceError, match="CUDA|cuda"):
            move()
    assert layer.weight.device == "cpu"


@pytest.mark.skipif(not gg.cuda.is_available(), reason="needs a CUDA device")
def test_cuda():
    layer = nn.Linear(2, 1)
    expected = host(layer(gg.ones((3, 2))))
    assert layer.cuda().weight.device.kind == "cuda"
    np.testing.assert_allclose(host(layer(gg.ones((3, 2), device="cuda"))), expected, rtol=1e-6)
    assert layer.cuda(0).cpu().weight.device == "cpu"


# ---------------------------------------------------------------- as text


def test_repr():
    model = nn.Sequential(nn.Linear(2, 3), gg.tanh, nn.Sequential(nn.Dropout(0.1)), nn.Tanh())
    assert repr(model) == (
        "Sequential(  # 9 parameters\n"
        "  (0): Linear(in_features=2, out_features=3, bias=True)  # 9 parameters\n"
        "  (1): tanh\n"
        "  (2): Sequential(\n"
        "    (0): Dropout(p=0.1)\n"
        "  )\n"
        "  (3): Tanh()\n"
        ")"
    )


def test_repr_of_a_module_of_ones_own():
    class Own(nn.Module):
        def __init__(self):
            self.w = nn.Parameter(np.ones((40, 50), "float32"))
            self.b = nn.Parameter(1.0, requires_grad=False)
            self.mean = gg.zeros(2)
            self.one = nn.Linear(1, 1)
            self.two = self.one

    assert repr(Own()) == (
        "Own(  # 2,003 parameters, 1 frozen\n"
        "  (w): Parameter((40, 50), float32)\n"
        "  (b): Parameter((), float32)\n"
        "  (mean): buffer((2,), float32)\n"
        "  (one): Linear(in_features=1, out_features=1, bias=True)  # 2 parameters\n"
        ")"
    )
    assert repr(nn.Linear(1, 1, bias=False)).endswith("# 1 parameter")
    assert repr(nn.Linear(2, 1).requires_grad_(False)).endswith("# 3 parameters, all frozen")


def test_repr_of_what_is_used_twice():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    assert "(2): Linear(...)  # the same as '0'" in repr(model)
    assert repr(model).startswith("Sequential(  # 6 parameters")


# ---------------------------------------------------------------- layers


def test_linear_starts_as_pytorchs_does(device):
    layer = nn.Linear(16, 5000, generator=gg.random.Generator(3))
    for values in (host(layer.weight), host(layer.bias)):
        assert abs(values).max() <= 0.25
        assert abs(values).max() > 0.249
        assert abs(values.mean()) < 0.01
    twin = nn.Linear(16, 5000, generator=gg.random.Generator(3), device="cpu")
    assert (host(layer.weight) == host(twin.weight)).all()
    assert (host(layer.bias) == host(twin.bias)).all()
    assert layer.weight.device == device


def test_linear_options():
    layer = nn.Linear(3, 2, bias=False, dtype="float64", device="sim")
    assert layer.bias is None
    assert (layer.weight.dtype, layer.weight.device) == (np.float64, "sim")
    assert names(layer) == ["weight"]
    x = gg.ones((4, 3), dtype="float64", device="sim")
    np.testing.assert_allclose(host(layer(x)), np.ones((4, 3)) @ host(layer.weight).T)
    gg.manual_seed(1)
    one = nn.Linear(3, 2)
    gg.manual_seed(1)
    assert nn.Linear(3, 2).weight.tolist() == one.weight.tolist()


@pytest.mark.parametrize("wrong", [0, -1, 2.0, True, "3", None])
def test_linear_refuses_sizes(wrong):
    with pytest.raises(gg.ShapeError, match="Linear: in_features must be a whole number of 1"):
        nn.Linear(wrong, 2)
    with pytest.raises(gg.ShapeError, match="Linear: out_features must be a whole number of 1"):
        nn.Linear(2, wrong)


def test_linear_says_what_does_not_fit():
    with pytest.raises(gg.ShapeError, match="linear: the last axis of x must have size 3"):
        nn.Linear(3, 2)(gg.ones((4, 2, 5)))


def test_sequential():
    layers = [nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)]
    model = nn.Sequential(*layers)
    assert len(model) == 3
    assert list(model) == layers
    assert model[0] is layers[0]
    assert model[-1] is layers[2]
    assert isinstance(model[:2], nn.Sequential)
    assert list(model[:2]) == layers[:2]
    assert names(model[1:]) == ["1.weight", "1.bias"]
    assert model.append(gg.relu) is model
    x = gg.ones((4, 2))
    expected = gg.relu(layers[2](gg.tanh(layers[0](x))))
    assert model(x).tolist() == expected.tolist()
    assert nn.Sequential()(x) is x
    assert nn.Sequential()
    with pytest.raises(IndexError):
        model[4]


def test_sequential_refuses_what_it_cannot_call():
    with pytest.raises(gg.DTypeError, match=r"Did you mean Tanh\(\.\.\.\)"):
        nn.Sequential(nn.Linear(1, 1), nn.Tanh)
    with pytest.raises(gg.DTypeError, match="expected a Module or a function .* got 3"):
        nn.Sequential(3)


def test_a_subclass_of_sequential_with_parts_of_its_own():
    class Scaled(nn.Sequential):
        def __init__(self):
            self.scale = nn.Parameter(2.0)
            super().__init__(nn.Linear(1, 1))

        def forward(self, x):
            return super().forward(x) * self.scale

    model = Scaled()
    assert names(model) == ["scale", "0.weight", "0.bias"]
    assert model(gg.ones((1, 1))).item() == 2 * model[0](gg.ones((1, 1))).item()


def test_mlp():
    model = nn.MLP(3, [4, 4, 1])
    assert sum(p.size for p in model.parameters()) == 41
    assert names(model) == [
        f"layers.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")
    ]  # fmt: skip
    x = gg.tensor(np.random.default_rng(0).normal(size=(5, 3)).astype("float32"))
    one, two, three = model.layers
    expected = three(gg.tanh(two(gg.tanh(one(x)))))
    assert model(x).tolist() == expected.tolist()
    assert sum(p.size for p in nn.MLP(3, [4, 4, 1], bias=False).parameters()) == 32


@pytest.mark.parametrize(
    "activation", ["relu", gg.relu, nn.ReLU, nn.ReLU(), lambda x: gg.maximum(x, 0)]
)
def test_mlp_activations(activation):
    x = gg.tensor(np.random.default_rng(0).normal(size=(5, 3)).astype("float32"))
    model = nn.MLP(3, [4, 2], activation, output_activation=activation)
    one, two = model.layers
    expected = gg.relu(two(gg.relu(one(x))))
    assert model(x).tolist() == expected.tolist()
    assert "output_activation=" in repr(model)


def test_each_layer_has_an_activation_module_of_its_own():
    class Slope(nn.Module):
        def __init__(self):
            self.slope = nn.Parameter(0.5)

        def forward(self, x):
            return gg.where(x > 0, x, self.slope * x)

    model = nn.MLP(2, [3, 3, 1], Slope)
    assert [name for name in names(model) if "slope" in name] == [
        "activations.0.slope",
        "activations.1.slope",
    ]


def test_mlp_with_the_same_seed_is_the_same_on_every_device(device):
    made = nn.MLP(3, [4, 2], generator=gg.random.Generator(9), dtype="float64")
    twin = nn.MLP(3, [4, 2], generator=gg.random.Generator(9), dtype="float64", device="cpu")
    for one, two in zip(made.parameters(), twin.parameters()):
        assert (host(one) == host(two)).all()
        assert (one.device, one.dtype) == (device, np.float64)


def test_mlp_refuses():
    with pytest.raises(gg.ShapeError, match=r"nouts must list the outputs .* got 4"):
        nn.MLP(3, 4)
    with pytest.raises(gg.ShapeError, match="nouts must list the outputs"):
        nn.MLP(3, [])
    with pytest.raises(gg.ShapeError, match="each of nouts must be a whole number of 1 or more"):
        nn.MLP(3, [4, 0])
    with pytest.raises(gg.ShapeError, match="nin must be"):
        nn.MLP(0, [4])
    with pytest.raises(ValueError, match="no activation is named 'tahn'; there are .*tanh"):
        nn.MLP(3, [1], "tahn")
    with pytest.raises(gg.DTypeError, match="a name, a callable or a Module class, got 3"):
        nn.MLP(3, [4, 1], output_activation=3)


def test_dropout(device):
    layer = nn.Dropout(0.5, generator=gg.random.Generator(1))
    x = gg.ones((40, 50))
    first, second = layer(x), layer(x)
    assert set(np.unique(host(first))) == {0.0, 2.0}
    assert first.tolist() != second.tolist()
    assert layer.eval()(x) is x
    again = nn.Dropout(0.5, generator=gg.random.Generator(1))(gg.ones((40, 50), device="cpu"))
    assert again.tolist() == first.tolist()
    for p in (-0.1, 1.5):
        with pytest.raises(ValueError, match="Dropout: p is a probability"):
            nn.Dropout(p)


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (nn.Identity(), lambda x: x),
        (nn.Softmax(), lambda x: gg.softmax(x, axis=-1)),
        (nn.Softmax(0), lambda x: gg.softmax(x, axis=0)),
        (nn.Softmax(dim=1), lambda x: gg.softmax(x, axis=1)),
        (nn.LogSoftmax(0), lambda x: gg.log_softmax(x, axis=0)),
        (nn.Flatten(), lambda x: x.reshape(2, 12)),
        (nn.Flatten(0, 1), lambda x: x.reshape(6, 4)),
    ],
    ids=lambda value: repr(value) if isinstance(value, nn.Module) else "",
)
def test_modules_of_functions(device, rng, module, function):
    x = gg.tensor(rng.normal(size=(2, 3, 4)), device=device)
    np.testing.assert_array_equal(host(module(x)), host(function(x)))


def test_softmax_refuses_an_axis_given_twice():
    with pytest.raises(ValueError, match="axis and dim are the same parameter"):
        nn.Softmax(0, dim=1)


def test_gelu_refuses_another_approximation():
    with pytest.raises(ValueError, match="approximate must be 'none' or 'tanh', got 'erf'"):
        nn.GELU("erf")


@pytest.mark.parametrize(
    ("module", "function", "classes"),
    [
        (nn.MSELoss("sum"), lambda p, t: F.mse_loss(p, t, "sum"), False),
        (nn.L1Loss("sum"), lambda p, t: F.l1_loss(p, t, "sum"), False),
        (nn.HuberLoss("sum", 0.3), lambda p, t: F.huber_loss(p, t, "sum", 0.3), False),
        (
            nn.BCEWithLogitsLoss(pos_weight=2.0, reduction="sum"),
            lambda p, t: F.binary_cross_entropy_with_logits(p, t, pos_weight=2.0, reduction="sum"),
            False,
        ),
        (
            nn.CrossEntropyLoss(ignore_index=2, reduction="sum", label_smoothing=0.1),
            lambda p, t: F.cross_entropy(
                p, t, ignore_index=2, reduction="sum", label_smoothing=0.1
            ),
            True,
        ),
        (
            nn.NLLLoss(ignore_index=2, reduction="sum"),
            lambda p, t: F.nll_loss(p, t, ignore_index=2, reduction="sum"),
            True,
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, nn.Module) else "",
)
def test_loss_modules(rng, module, function, classes):
    p = gg.tensor(rng.normal(size=(4, 3)))
    t = gg.tensor(np.array([0, 2, 1, 0])) if classes else gg.tensor(rng.uniform(size=(4, 3)))
    assert module(p, t).item() == function(p, t).item()
    assert "reduction='sum'" in repr(module)


def test_a_pos_weight_moves_with_its_loss():
    loss = nn.BCEWithLogitsLoss(pos_weight=gg.ones(3))
    assert list(loss.state_dict()) == ["pos_weight"]
    assert loss.to("sim").pos_weight.device == "sim"


# ---------------------------------------------------------------- training


def test_training_learns_xor(device):
    model = nn.MLP(2, [8, 1], generator=gg.random.Generator(4))
    x = gg.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    y = gg.tensor([[0], [1], [1], [0]])
    loss = gg.tensor(1.0)
    for _ in range(400):
        loss = F.mse_loss(model(x), y)
        model.zero_grad()
        loss.backward()
        with gg.no_grad():
            for p in model.parameters():
                p -= 0.3 * p.grad
    assert loss.item() < 1e-3
    assert (host(model(x)) > 0.5).ravel().tolist() == [False, True, True, False]
