"""Compiled functions on a GPU: fused kernels, and one CUDA graph from the second run on."""

import numpy as np
import pytest
from gpu import STAND_IN, needs_gpu, needs_two_gpus, needs_usual_stand_in

import gpugrad as gg
from gpugrad import nn, optim
from gpugrad.nn import functional as F

pytestmark = needs_gpu

if STAND_IN:
    import fakecuda
if gg.cuda.is_available():
    import cupy


class Training:
    """A small model, an optimizer and a step, on a GPU."""

    def __init__(self, make=lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9), seed=0):
        gg.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(),
                                   nn.LayerNorm(4), nn.Linear(4, 3)).to("cuda")  # fmt: skip
        self.optimizer = make(self.model.parameters())
        self.compiled = gg.compile(self.step)

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def arrays(self):
        return [p.detach().cpu().numpy() for p in self.model.parameters()]


def batch(number):
    rng = np.random.default_rng(number)
    x, y = rng.normal(size=(8, 6)).astype("f"), rng.integers(0, 3, 8)
    return gg.tensor(x, device="cuda"), gg.asarray(y).to("cuda")


def graph_of(compiled):
    """The graph of a program; None where there is none."""
    entries = [entry for entries in compiled._entries.values() for entry in entries]
    return next((entry.device.graph for entry in entries if entry.device.graph), None)


def near(a, b):
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


OPTIMIZERS = {
    "sgd": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adamw": lambda ps: optim.AdamW(ps, lr=0.05),
    "rmsprop": lambda ps: optim.RMSprop(ps, lr=0.02),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_follows_batches_rates_and_loaded_states(name):
    usual, other = Training(OPTIMIZERS[name]), Training(OPTIMIZERS[name])
    first = other.model.state_dict()
    first = {key: value.copy() for key, value in first.items()}
    expected, got = [], []
    for number in range(7):
        for one in (usual, other):
            one.optimizer.param_groups[0]["lr"] *= 0.8
            if number == 2:
                state = one.optimizer.state_dict()
                one.optimizer.load_state_dict(state)  # into other arrays
            if number == 5:
                one.model.load_state_dict(first)
        x, y = batch(number)
        expected.append(usual.step(x, y))
        got.append(other.compiled(x, y))
        for a, b in zip(usual.arrays(), other.arrays(), strict=True):
            near(b, a)
        for p, q in zip(usual.model.parameters(), other.model.parameters(), strict=True):
            near(q.grad.cpu().numpy(), p.grad.cpu().numpy())
    # No call has changed the result of another one.
    near([one.item() for one in got], [one.item() for one in expected])
    assert graph_of(other.compiled) is not None


def test_gradients_that_are_kept_stay_as_they_are():
    usual, other = Training(), Training()
    kept = []
    for number in range(7):
        x, y = batch(number)
        usual.step(x, y)
        other.compiled(x, y)
        pairs = zip(usual.model.parameters(), other.model.parameters(), strict=True)
        grads = [(p.grad.cpu().numpy(), q) for p, q in pairs]
        if number == 2:
            kept += [(a, q.grad) for a, q in grads]  # tensors
        elif number == 3:
            kept += [(a, q.grad.data) for a, q in grads]  # arrays
        elif number == 4:
            kept += [(a[:1], q.grad[:1]) for a, q in grads]  # views
    for a, held in kept:
        near(gg.asarray(held).cpu().numpy(), a)


def test_two_models_and_two_streams():
    trainings = [Training(seed=1), Training(seed=2)]
    usual = [Training(seed=1), Training(seed=2)]
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    for number in range(6):
        x, y = batch(number)
        cupy.cuda.Device().synchronize()
        for own, other in zip(usual, trainings, strict=True):
            expected = own.step(x, y).item()
            cupy.cuda.Device().synchronize()
            with streams[number % 2]:
                near(other.compiled(x, y).item(), expected)


def test_a_function_of_arrays_in_any_order_and_place():
    @gg.compile
    def function(x, scale):
        return (gg.exp(x) * scale).sum(axis=0), x.T @ x

    rng = np.random.default_rng(0)
    results = []
    for number in range(6):
        x = cupy.asarray(rng.normal(size=(4, 4)))
        x = x.T if number % 2 else x[::-1] if number == 4 else x
        results.append((function(x, float(number)), x.get(), number))
    for (total, product), x, number in results:
        near(total.cpu().numpy(), (np.exp(x) * number).sum(axis=0))
        near(product.get(), x.T @ x)
    assert graph_of(function) is not None


def test_arrays_that_move_at_every_call_are_copied():
    weight = gg.tensor(np.ones((3, 3), "f"), device="cuda")
    function = gg.compile(lambda x: x @ weight + 1)
    x = gg.ones((2, 3), device="cuda")
    for number in range(6):
        keep = weight.data  # so that its memory is not used again
        weight.data = cupy.full((3, 3), number, "f")
        near(function(x).cpu().numpy(), np.full((2, 3), 3 * number + 1))
        del keep
    assert graph_of(function) is not None


def test_sums_of_every_kind():
    """Over rows, columns, all, and both ends; by a warp, a block and several blocks."""
    rng = np.random.default_rng(0)
    for shape in ((3,), (40, 7), (3, 700), (3000, 2), (40000,), (3, 40, 5)):
        x = rng.normal(size=shape)
        axes = [None, 0, -1, *([(0, 2)] if x.ndim == 3 else [])]

        def sums(x, axes=axes):
            parts = [(x * 2).sum(axis=axis) for axis in axes]
            parts += [x.max(axis=axis) for axis in axes] + [(x > 0).sum(axis=-1)]
            shifted = gg.exp(x - x.max(axis=-1, keepdims=True))
            return [*parts, shifted / shifted.sum(axis=-1, keepdims=True)]

        compiled = gg.compile(sums)
        given = gg.tensor(x, device="cuda")
        for _ in range(4):
            for a, b in zip(compiled(given), sums(given), strict=True):
                np.testing.assert_allclose(a.cpu().numpy(), b.cpu().numpy(), rtol=1e-12, atol=1e-12)
        assert graph_of(compiled) is not None


def test_nan_is_the_largest_and_the_smallest():
    x = np.array([[1.0, np.nan, 3.0], [np.inf, -np.inf, 2.0]])
    compiled = gg.compile(lambda x: [(x + 0 * x[0, 0]).max(axis=1), x.min(axis=1), x.max()])
    for _ in range(3):
        high, low, top = (y.cpu().numpy() for y in compiled(gg.tensor(x, device="cuda")))
        np.testing.assert_array_equal(high, [np.nan, np.inf])
        np.testing.assert_array_equal(low, [np.nan, -np.inf])
        assert np.isnan(top)


def test_what_cannot_be_captured_is_launched_one_by_one():
    compiled = gg.compile(lambda x: gg.linalg.inv(x + 1) * 2)
    x = gg.tensor(np.eye(3), device="cuda")
    for _ in range(4):
        near(compiled(x).cpu().numpy(), np.linalg.inv(np.eye(3) + 1) * 2)
    assert "launched one by one: " in compiled.report()
    assert graph_of(compiled) is None


def test_a_report_says_what_runs():
    training = Training()
    reports = []
    for number in range(3):
        training.compiled(*batch(number))
        reports.append(training.compiled.report())
    assert "the second run captures them" in reports[0]
    assert "kernels, 8 products, 0 calls of the array library; one CUDA graph, with " in reports[2]
    assert "__global__" in training.compiled.report(source=True)


def counted(function, *arguments):
    with fakecuda.count() as counts:
        function(*arguments)
    return counts


@needs_usual_stand_in
def test_a_step_is_one_launch_and_the_copies_of_its_inputs():
    training = Training()
    for number in range(4):
        training.compiled(*batch(number))
    x, y = batch(5)
    usual = counted(training.step, x, y)
    training.compiled(x, y)
    counts = counted(training.compiled, x, y)
    assert counts.launches.pop("graph") == 1
    # x, y and the loss; the learning rate is what it was.
    assert counts.copies == {"DtoD": (3, x.data.nbytes + y.data.nbytes + 4)}
    assert (counts.waits, counts.allocations) == ({}, (0, 0))
    assert counts.total_launches < usual.total_launches
    assert counts.total_library == usual.total_library
    training.optimizer.param_groups[0]["lr"] = 0.01  # beside the momentum, in one copy
    assert counted(training.compiled, x, y).copies["HtoD"] == (1, 16)


def test_arrays_that_are_put_together_and_clipped():
    usual, other = Training(), Training()

    def step(one):
        def run(x, y):
            one.optimizer.zero_grad()
            hidden = gg.concatenate([x[:, 3:], x[:, :3] * 2], axis=1)
            loss = F.cross_entropy(one.model(hidden), y) + gg.stack([x[0, 0], x[1, 1]]).sum()
            loss.backward()
            optim.clip_grad_norm_(one.model.parameters(), 0.1)
            one.optimizer.step()
            return loss, hidden[1:3]

        return run

    plain, compiled = step(usual), gg.compile(step(other))
    for number in range(4):
        x, y = batch(number)
        for a, b in zip(compiled(x, y), plain(x, y), strict=True):
            near(a.detach().cpu().numpy(), b.detach().cpu().numpy())
    for a, b in zip(usual.arrays(), other.arrays(), strict=True):
        near(b, a)
    assert "0 calls of the array library; one CUDA graph" in compiled.report()


def test_an_argument_that_shares_memory_with_a_parameter():
    weight = gg.tensor(np.ones((4, 4), "f"), device="cuda")

    def step(x):
        weight.data[...] = weight.data * 2
        return x + 1

    compiled = gg.compile(step)
    for number in range(5):
        compiled(gg.full((4,), float(number), device="cuda"))
    assert graph_of(compiled) is not None
    with pytest.raises(gg.CompileError, match="shares its memory"):
        compiled(weight[1])
    near(weight.cpu().numpy(), np.full((4, 4), 2**5))


@needs_two_gpus
def test_a_step_on_the_second_gpu():
    with gg.device("cuda:1"):
        weight = gg.ones((3, 3), requires_grad=True)

        @gg.compile
        def step(x):
            weight.grad = None
            loss = (x @ weight).sum()
            loss.backward()
            weight.data[...] -= weight.grad.data
            return loss.detach()

        x = gg.ones((1, 3))
        losses = [step(x).item() for _ in range(5)]
    assert losses == [9.0, 0.0, -9.0, -18.0, -27.0]
    assert graph_of(step) is not None
    with pytest.raises(gg.DeviceError, match="current device"):
        step(x)
    with gg.device("cuda:1"), pytest.raises(gg.DeviceError):
        step(x.to("cuda:0"))
    with pytest.raises(gg.DeviceError, match="current device"):  # while it is recorded
        gg.compile(lambda x: x @ weight)(x)


def test_attention_is_part_of_a_graph():
    """Its products are stacks of matrices, which lie unevenly."""
    layers = []
    for _ in range(2):
        gg.manual_seed(0)
        layers.append(nn.TransformerEncoderLayer(6, 2, dim_feedforward=8, dropout=0.0).to("cuda"))
    usual, other = layers

    def run(layer):
        def function(x):
            layer.zero_grad()
            loss = (layer(x) ** 2).sum()
            loss.backward()
            return loss

        return function

    plain, compiled = run(usual), gg.compile(run(other))
    rng = np.random.default_rng(0)
    for _ in range(4):
        x = gg.tensor(rng.normal(size=(4, 3, 6)).astype("f"), device="cuda")
        near(compiled(x).item(), plain(x).item())
    for p, q in zip(usual.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(q.grad.cpu().numpy(), p.grad.cpu().numpy(), atol=2e-5)
    assert graph_of(compiled) is not None


def test_a_step_that_returns_a_number():
    usual, other = Training(), Training()
    compiled = gg.compile(lambda x, y: (other.step(x, y).item(), x.shape[0]))
    for number in range(5):
        x, y = batch(number)
        loss, length = compiled(x, y)
        near(loss, usual.step(x, y).item())
        assert (type(loss), type(length)) == (float, int)
    assert graph_of(compiled) is not None
