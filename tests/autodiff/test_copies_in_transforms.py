"""What takes a tensor over in a function that is differentiated keeps its gradient, or refuses."""

import copy
import pickle

import numpy as np
import pytest

import gpugrad as gg


def linear():
    return gg.nn.Linear(3, 1, bias=False).to(dtype=gg.float64)


def through(change):
    """What the only weight of a layer is, once a function has changed it."""

    def f(x):
        layer = linear().to(device=x.device)
        change(layer, x.reshape(1, 3))
        return layer.weight.reshape(-1)

    return f


def with_buffer(change):
    def f(x):
        layer = linear().to(device=x.device)
        layer.running = gg.zeros(3, dtype="float64", device=x.device)
        change(layer, x)
        return layer.running.astype(gg.float64)

    return f


def computed(layer, x):
    layer.running = x * 1.0
    layer.to(dtype=gg.float32)


def replaced(layer, x):
    del layer.weight
    layer.weight = x


def stepped(x):
    optimizer = gg.optim.SGD([x], lr=0.1)
    optimizer.step()
    return x


def as_data(make):
    def f(x):
        leaf = make(gg.zeros(3, dtype="float64", device=x.device))
        leaf.data = x * 1.0
        return leaf

    return f


def batches(x):
    return gg.concatenate(list(gg.data.DataLoader(x, batch_size=2)))


# Those that have the gradient of what they take over, and those that refuse, with what they say.
KEEP = {
    "tensor": gg.tensor,
    "asarray": gg.asarray,
    "asarray of a list": lambda x: gg.asarray([x[0], x[1], x[2]]),
    "full": lambda x: gg.full((3,), x[0]) - x[0] + x,
    "copy": copy.copy,
    "requires_grad_": lambda x: (x * 1.0).requires_grad_(),
    "in the place of a Parameter": through(replaced),
    "TensorDataset": lambda x: gg.data.TensorDataset(x)[:][0],
    "DataLoader": batches,
    "a gradient": lambda x: _as_gradient(x),
    "parameters_to_vector": lambda x: gg.nn.utils.parameters_to_vector([x[:1], x[1:]]),
}
REFUSE = {
    "Parameter": (gg.nn.Parameter, r"write Parameter\(t.detach\(\)\)"),
    "Parameter of a result": (
        lambda x: gg.nn.Parameter(2.0 * x),
        "Parameter: this tensor is part of",
    ),
    "ParameterList": (lambda x: gg.nn.ParameterList([x])[0], "Parameter: this tensor is part of"),
    "Embedding": (
        lambda x: gg.nn.Embedding.from_pretrained(x.reshape(3, 1)).weight,
        "Parameter: this tensor is part of",
    ),
    "tensor": (lambda x: gg.tensor(x, requires_grad=True), "a new leaf of a tensor in a graph"),
    "Tensor": (lambda x: gg.Tensor(x) * 1.0, r"multiply: gg.Tensor\(t\) takes a raw array"),
    "data": (as_data(lambda t: t), "data: this tensor is part of"),
    "data of a leaf": (as_data(lambda t: t.requires_grad_()), r"data: .* Write t.detach\(\)"),
    "data of a Parameter": (as_data(gg.nn.Parameter), "data: this tensor is part of"),
    "asarray of NumPy": (lambda x: gg.tensor(np.asarray(x)), "which a NumPy array cannot carry"),
    "numpy": (lambda x: gg.tensor(x.numpy()), "which a NumPy array cannot carry"),
    "from_dlpack": (gg.from_dlpack, "dlpack: this tensor requires a gradient"),
    "numbers": (lambda x: gg.tensor([float(x[0]), 0.0, 0.0]), "float: a Python number cannot"),
    "load_state_dict": (
        through(lambda layer, x: layer.load_state_dict({"weight": x})),
        "load_state_dict: weight: this tensor is part of a function that is being differentiated",
    ),
    "load_state_dict of a buffer": (
        with_buffer(lambda layer, x: layer.load_state_dict({"running": x}, strict=False)),
        "load_state_dict: running: this tensor",
    ),
    "to": (with_buffer(computed), "to: running: this tensor .* Move or cast what"),
    "vector_to_parameters": (
        through(lambda layer, x: gg.nn.utils.vector_to_parameters(x.reshape(-1), [layer.weight])),
        "vector_to_parameters: this tensor is part",
    ),
    "an optimizer": (stepped, r"is an argument of a function .* p = p - lr \* g"),
    "deepcopy": (copy.deepcopy, "deepcopy: a tensor"),
    "pickle": (lambda x: pickle.loads(pickle.dumps(x)), "pickle: a tensor"),
}


def _as_gradient(x):
    leaf = gg.zeros(3, dtype="float64", device=x.device, requires_grad=True)
    leaf.grad = x
    return leaf.grad


def argument(device):
    return gg.tensor(np.array([1.0, -2.0, 3.0]), device=device)


@pytest.mark.parametrize("take", KEEP.values(), ids=list(KEEP))
def test_it_keeps_the_gradient(take, device):
    x = argument(device)
    g = gg.grad(lambda x: (take(x) * x).sum())(x)
    assert g.tolist() == (2 * x).tolist()
    _, tangent = gg.jvp(lambda x: take(x), (x,), (x,))
    assert tangent.tolist() == x.tolist()


@pytest.mark.parametrize(("take", "message"), REFUSE.values(), ids=list(REFUSE))
def test_it_refuses_to_lose_the_gradient(take, message, device):
    x = argument(device)
    f = lambda x: (take(x) * x.reshape(-1)).sum()  # noqa: E731
    for transform in (gg.grad(f), gg.value_and_grad(f), lambda x: gg.jvp(f, (x,), (x,))):
        with pytest.raises(gg.GradientError, match=message):
            transform(x)


def test_a_tensor_of_a_tensor_is_refused_as_a_result(device):
    with pytest.raises(gg.GradientError, match=r"grad: the result: gg.Tensor\(t\) takes"):
        gg.grad(lambda x: gg.Tensor((x * x).sum()))(argument(device))


@pytest.mark.parametrize(
    "take",
    [
        lambda x: x.detach(),
        lambda x: gg.tensor(x.data),
        lambda x: gg.Tensor(x.data),
        lambda x: gg.tensor(x.tolist(), dtype=x.dtype, device=x.device),
        lambda x: gg.tensor([one.item() for one in x], dtype=x.dtype, device=x.device),
    ],
    ids=["detach", "data", "Tensor of data", "tolist", "item"],
)
def test_what_takes_a_value_out_on_purpose_makes_a_constant(take, device):
    x = argument(device)
    assert gg.grad(lambda x: (take(x) * x).sum())(x).tolist() == x.tolist()


def test_data_takes_the_array_of_a_tensor(device):
    w = gg.ones(3, dtype="float64", requires_grad=True, device=device)
    w.data = 2 * w
    assert w.is_leaf
    assert type(w.data) is type(gg.zeros(3, device=device).data)
    (w * w).sum().backward()
    assert w.grad.tolist() == [4.0] * 3


def test_values_that_no_transform_asks_for_are_copied(device):
    """Outside, to take a value is what is asked for."""
    w = gg.ones(3, dtype="float64", requires_grad=True, device=device)
    layer = linear().to(device=device)
    layer.load_state_dict({"weight": (2 * w).reshape(1, 3)})
    assert layer.weight.tolist() == [[2.0] * 3]
    gg.nn.utils.vector_to_parameters(3 * w, [layer.weight])
    assert layer.weight.tolist() == [[3.0] * 3]
    assert gg.nn.Parameter(2 * w).tolist() == [2.0] * 3

    def f(x):
        inner = linear().to(device=x.device)
        inner.load_state_dict(layer.state_dict())
        return (inner(x.reshape(1, 3)) ** 2).sum()

    assert np.isfinite(gg.grad(f)(argument(device)).cpu().numpy()).all()
