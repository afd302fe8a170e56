"""The first call of a compiled function beside later ones: the same bits, and one program."""

import gc

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.nn import functional as F


def programs(function):
    return function.report().count("program ")


def training(device):
    """A compiled training step, and its parameters."""
    gg.manual_seed(0)
    model = gg.nn.Linear(3, 2, device=device)
    optimizer = gg.optim.Adam(model.parameters(), lr=0.1)

    @gg.compile
    def step(x):
        optimizer.zero_grad()
        loss = (model(x).tanh() ** 3).mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, model.parameters


def bits(tensors):
    return [tensor.detach().cpu().numpy().tobytes() for tensor in tensors]


def test_the_first_call_gives_the_bits_of_later_ones(device):
    x = gg.tensor(np.random.default_rng(0).normal(size=(50, 3)), dtype="float32", device=device)
    function = gg.compile(lambda x: (gg.exp(x).sum(axis=0), gg.tanh(x @ x.T)))
    assert bits(function(x)) == bits(function(x))
    (step, parameters), (other, others) = training(device), training(device)
    step(x)
    other(x)
    other = gg.compile(other._function)  # as in a process that goes on from a checkpoint
    assert bits([step(x), *parameters()]) == bits([other(x), *others()])


@pytest.mark.parametrize("name", ["jacobian", "hessian"])
def test_memory_that_a_transform_makes_is_no_input(name):
    function = gg.compile(getattr(gg, name)(lambda x: x**3 if name == "jacobian" else (x**3).sum()))
    for seed in range(4):
        function(np.arange(3.0) + seed)
    assert programs(function) == 1


def test_numbers_of_numpy_in_a_tensor_are_arrays(device):
    function = gg.compile(lambda total, x: total + x.sum())
    x = gg.ones(3, device=device)
    total = x.sum()  # NumPy makes a number of it
    for _ in range(4):
        total = function(total, x)
    assert (total.item(), programs(function)) == (15.0, 1)


def test_a_weight_that_autocast_casts_is_read_at_each_call(device):
    model, x = gg.nn.Linear(3, 2, device=device), gg.ones((4, 3), device=device)

    @gg.compile
    def loss_of(x):
        with gg.autocast("float16"):
            loss = F.mse_loss(model(x), x[:, :2])
        loss.backward()
        return loss.detach()

    for _ in range(3):
        model.zero_grad()
        loss = loss_of(x)
        slopes = [p.grad.cpu().numpy() for p in model.parameters()]
        model.zero_grad()
        expected = loss_of._function(x)
        np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-3)
        for slope, p in zip(slopes, model.parameters(), strict=True):
            np.testing.assert_allclose(slope, p.grad.cpu().numpy(), rtol=1e-2)
        with gg.no_grad():
            model.weight *= 2


def test_equal_dtypes_are_one():
    little = np.dtype("float64").newbyteorder("<")  # another object than NumPy's own
    arrays = np.ones(3, little), np.ones(3), np.ones(3, little)
    assert arrays[0].dtype is not arrays[1].dtype
    function = gg.compile(lambda x, y: (x * y).sum())
    for x in arrays:
        for y in arrays:
            assert function(x, y.copy()) == 3
    assert programs(function) == 1


def test_a_function_is_compiled_where_no_gradients_are_wanted(device):
    function, x = gg.compile(lambda x: x * 2), gg.ones(3, device=device)
    for _ in range(3):
        with gg.no_grad():
            function(x)
    assert programs(function) == 1


def test_an_error_puts_changed_arrays_back(device):
    total = gg.zeros(3, device=device)

    @gg.compile
    def added(x):
        total[...] += x
        raise KeyError("later")

    with pytest.raises(KeyError, match="later"):
        added(gg.ones(3, device=device))
    assert total.tolist() == [0.0] * 3
    assert (total + 1).tolist() == [1.0] * 3


@pytest.mark.parametrize("enabled", [True, False])
def test_the_search_for_garbage_is_as_it_was_after_a_first_call(enabled):
    seen = []

    @gg.compile
    def function(x):
        seen.append(gc.isenabled())
        return x * 2 if x.ndim else bool(x > 0)

    (gc.enable if enabled else gc.disable)()
    try:
        function(gg.ones(3))
        with pytest.raises(gg.GpugradError):
            function(gg.tensor(1.0))
        assert (seen, gc.isenabled()) == ([False, False], enabled)
    finally:
        gc.enable()
