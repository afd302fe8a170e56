"""No two leaves share a gradient's memory, and no gradient shares that of a saved value."""

from importlib import import_module

import numpy as np
import pytest
from arrays import host

import gpugrad as gg
from gpugrad.backend import sim
from gpugrad.functions import FUNCTIONS


def leaf(device, *shape):
    return gg.tensor(np.ones(shape), device=device, requires_grad=True)


def share_memory(one, other):
    """Whether two tensors of a device have an element in common."""
    one, other = one.data, other.data
    if isinstance(one, sim.ndarray):
        one, other = one._data, other._data
    module = np if isinstance(one, np.ndarray) else import_module("cupy")
    return module.shares_memory(one, other)


# What passes a gradient on to its arguments as it is, or as a view of it.
PASSED_ON = {
    "x + y": lambda x, y: x + y,
    "x - y": lambda x, y: x - y,
    "y + x twice": lambda x, y: (y + x) + (x + y),
    "x + x + y": lambda x, y: x + x + y,
    "reshape": lambda x, y: x.reshape(3, 2).reshape(2, 3) + y.reshape(6).reshape(2, 3),
    "transpose": lambda x, y: x.T.T + y.transpose(1, 0).T,
    "broadcast": lambda x, y: gg.broadcast_to(x, (2, 3)) + gg.broadcast_to(y, (2, 3)),
    "concat": lambda x, y: gg.concat([x, y])[:2] + gg.concat([x, y])[2:],
    "stack": lambda x, y: gg.stack([x, y]).sum(axis=0),
    "split": lambda x, y: gg.concat(gg.split(x, 3, axis=1), axis=1) + y,
    "getitem": lambda x, y: x[:] + y[...],
    "flip": lambda x, y: gg.flip(x) + gg.flip(y),
    "positive": lambda x, y: +x + (+y),
    "astype": lambda x, y: x.astype("float64") + y.copy(),
    "where": lambda x, y: gg.where(host_mask(x), x, y) + x + y,
    "maximum": lambda x, y: gg.maximum(x, y) + x + y,
    "squeeze": lambda x, y: gg.squeeze(x[None]) + gg.expand_dims(y, 0)[0],
    "moved": lambda x, y: x.to("sim:1").to(x.device) + y,
    "einsum": lambda x, y: gg.einsum("ij->ij", x) + gg.einsum("ij->ji", y).T,
    "pad": lambda x, y: gg.pad(x, 1)[1:-1, 1:-1] + y,
    "clip": lambda x, y: gg.clip(x, 0.0, 3.0) + y,
    "linear": lambda x, y: FUNCTIONS["mse_loss"](x, y + 1.0, "none") + x + y,
    "products": lambda x, y: x * y + x / y,
}


def host_mask(x):
    return x > 0


@pytest.mark.parametrize("how", ["backward", "create_graph", "twice", "gradients"])
@pytest.mark.parametrize("case", PASSED_ON)
def test_gradients_share_no_memory(case, how, device):
    x, y = leaf(device, 2, 3), leaf(device, 2, 3)
    seed = gg.tensor(np.full((2, 3), 2.0), device=device)
    z = PASSED_ON[case](x, y)
    assert z.shape == (2, 3)
    if how == "gradients":
        found = gg.gradients(z, [x, y, x], seed)
    else:
        z.backward(seed, create_graph=how == "create_graph", retain_graph=True)
        if how == "twice":
            z.backward(seed)
        found = [x.grad, y.grad]
    everything = [*found, x, y, z.detach(), seed]
    for index, one in enumerate(found):
        for other in everything[index + 1 :]:
            assert one is not other
            assert not share_memory(one, other)
    before = [host(t).copy() for t in everything]
    with gg.no_grad():
        found[0][...] = 99.0
    for own, kept in zip(everything[1:], before[1:], strict=True):
        np.testing.assert_array_equal(host(own), kept)


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_leaf_that_is_the_result_gets_a_copy_of_the_seed(create_graph, device):
    x = leaf(device, 3)
    seed = gg.tensor(np.full(3, 2.0), device=device)
    x.backward(seed, create_graph=create_graph)
    with gg.no_grad():
        x.grad += 1
    assert seed.tolist() == [2.0, 2.0, 2.0]
    for raw in (device.send(np.full(3, 2.0)),):
        x.zero_grad()
        x.backward(raw)
        x.grad += 1
        assert host(gg.tensor(raw)).tolist() == [2.0, 2.0, 2.0]


def test_changing_a_gradient_changes_no_saved_value(device):
    """The next pass through the same graph gives what the first gave."""
    x, y = leaf(device, 3), leaf(device, 3)
    z = gg.exp(x + y) * (x + y) + gg.tanh(x) * y
    z.backward(gg.ones(3, dtype="float64", device=device), retain_graph=True)
    first = [host(x.grad).copy(), host(y.grad).copy()]
    with gg.no_grad():
        x.grad *= 100
        y.grad[...] = -7.0
    x.zero_grad()
    y.zero_grad()
    z.backward(gg.ones(3, dtype="float64", device=device))
    np.testing.assert_array_equal(host(x.grad), first[0])
    np.testing.assert_array_equal(host(y.grad), first[1])


def test_a_gradient_kept_from_before_does_not_grow(device):
    x, y = leaf(device, 3), leaf(device, 3)
    (x + y).sum().backward()
    kept = host(y.grad).copy()
    for _ in range(3):
        (x * 2).sum().backward()
    np.testing.assert_array_equal(host(y.grad), kept)
    assert x.grad.tolist() == [7.0, 7.0, 7.0]


def test_a_gradient_of_a_second_order_graph_may_be_changed(device):
    x, y = leaf(device, 3), leaf(device, 3)
    ((x + x * y) ** 2).sum().backward(create_graph=True)
    slope = y.grad.sum()
    with gg.no_grad():
        x.grad += 1  # no value of the graph that the second pass needs
    x.zero_grad()
    slope.backward()
    assert x.grad.tolist() == [8.0, 8.0, 8.0]  # d/dx of 2x²(1 + y) at 1, 1


def test_a_gradient_that_was_assigned_shares_no_memory(device):
    x, y = leaf(device, 2), leaf(device, 2)
    zeros = np.zeros(2) if device == "cpu" else gg.zeros(2, dtype="float64", device=device).data
    x.grad = y.grad = zeros
    (2 * x + 3 * y).sum().backward()
    y.grad, x.grad = x.grad, y.grad
    (2 * x + 3 * y).sum().backward()
    assert host(x.grad).tolist() == [5, 5]
    assert host(y.grad).tolist() == [5, 5]
    y.grad = x.grad
    y.sum().backward()
    assert host(x.grad).tolist() == [5, 5]
    assert host(y.grad).tolist() == [6, 6]
    assert host(gg.tensor(zeros)).tolist() == [0, 0]
