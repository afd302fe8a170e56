"""Normalizing layers against PyTorch's figures, and the running statistics of some of them."""

import ast
from pathlib import Path

import numpy as np
import pytest
from arrays import host
from gpu import needs_gpu, waits

import gpugrad as gg
from gpugrad.backend import batch_norm as on_host
from gpugrad.backend.namespace import FORMULAS, namespace_of

F = gg.nn.functional
FIGURES = dict(np.load(Path(__file__).parents[1] / "data" / "pytorch" / "normalization.npz"))


class Row:
    """The numbers of a case, taken one array after the other."""

    def __init__(self, numbers):
        self.numbers, self.used = numbers, 0

    def take(self, shape):
        size = int(np.prod(shape))
        self.used += size
        return self.numbers[self.used - size : self.used].reshape(shape)


@pytest.mark.parametrize("case", FIGURES)
def test_three_steps_are_those_of_pytorch(case, device):
    call, _, shape = case.rpartition("|")
    shape, row = ast.literal_eval(shape), Row(FIGURES[case])
    with gg.device(device):
        layer = eval(f"gg.nn.{call}", {"gg": gg}).to(gg.float64)
    state = {name: row.take(tensor.shape) for name, tensor in layer.state_dict().items()}
    state = {n: a.astype(int) if n == "num_batches_tracked" else a for n, a in state.items()}
    layer.load_state_dict(state)
    for _ in range(3):
        x = gg.tensor(row.take(shape), device=device, requires_grad=True)
        y = layer(x)
        (y * y).sum().backward()
        np.testing.assert_allclose(host(y), row.take(shape), 1e-10, 1e-10)
        np.testing.assert_allclose(host(x.grad), row.take(shape), 1e-8, 1e-8)
    for parameter in layer.parameters():
        np.testing.assert_allclose(host(parameter.grad), row.take(parameter.shape), 1e-9, 1e-9)
    for tensor in layer.state_dict().values():
        np.testing.assert_allclose(host(tensor), row.take(tensor.shape), 1e-6, 1e-10)
    np.testing.assert_allclose(host(layer.eval()(x)), row.take(shape), 1e-6, 1e-9)
    assert row.used == row.numbers.size


NORMS = {
    "batch_norm": lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
    "batch_norm by running": lambda x, w, b: F.batch_norm(x, gg.ones(4), gg.ones(4) * 2, w, b),
    "instance_norm": lambda x, w, b: F.instance_norm(x, weight=w, bias=b),
    "group_norm": lambda x, w, b: F.group_norm(x, 2, w, b),
    "rms_norm": lambda x, w, b: F.rms_norm(x, 3, w[:3]) + b[:3],
}


@pytest.mark.parametrize("name", NORMS)
def test_they_are_differentiated_twice(name, rng):
    inputs = [
        gg.tensor(rng.standard_normal(shape), requires_grad=True)
        for shape in ((2, 4, 3), (4,), (4,))
    ]
    assert gg.gradcheck(lambda *a: NORMS[name](*a) ** 2, inputs)
    assert gg.gradgradcheck(lambda *a: NORMS[name](*a) ** 2, inputs)


@pytest.mark.parametrize("name", NORMS)
def test_half_precision_is_added_up_in_float32(name, device):
    with gg.device(device):
        x = gg.tensor(np.linspace(-6e4, 6e4, 4 * 60).reshape(2, 4, 30).astype(np.float16))
        w, b = gg.ones(4, dtype="float16"), gg.zeros(4, dtype="float16")
        y = NORMS[name](x[:, :, :3] if name == "rms_norm" else x, w, b)
    assert y.dtype == np.float16
    assert np.isfinite(host(y)).all()
    if "running" not in name:
        assert 0.5 < abs(host(y)).max() < 3


@pytest.mark.parametrize("name", NORMS)
def test_whole_numbers_are_normalized_in_floating_point(name, device):
    with gg.device(device):
        x = np.arange(24).reshape(2, 4, 3) ** 2 % 7
        w, b = gg.full(4, 2.0, dtype="float64"), gg.ones(4, dtype="float64")
        y, right = (NORMS[name](gg.asarray(a, device=device), w, b) for a in (x, x.astype(float)))
    assert y.dtype.kind == "f"
    np.testing.assert_allclose(host(y), host(right), rtol=1e-6, atol=1e-6)


# ---------------------------------------------------------------- the running statistics


def batches(device, count=3):
    rng = np.random.default_rng(5)
    return [gg.tensor(rng.standard_normal((6, 2)), device=device) for _ in range(count)]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1), (3, 2, 0, 1), (1, 0, 2, 3), (0, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_on_the_host_is_the_formula_s_in_any_layout(dtype, order, rng, monkeypatch):
    monkeypatch.setattr(on_host, "FEW", 1)
    xp, shape = namespace_of(np.ones(1)), (6, 3, 4, 5)[: len(order)]

    def laid(array):  # with its axes in this order in memory
        return np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))

    drawn = rng.normal(size=(2, *shape)).astype(dtype) + 3
    laid_out = [laid(array) for array in drawn]
    weight, bias = rng.normal(size=(2, 3)).astype(dtype)
    for x, g, w, size in (
        (*laid_out, weight, 1), (laid_out[0], drawn[1], None, 40),
        (drawn[0], laid_out[1], weight, 1 << 16),
    ):  # fmt: skip
        monkeypatch.setattr(on_host, "CACHE", size)
        ys = xp.batch_norm(x, w, bias, 1e-3)
        for needs in ((True,) * 3, (True, False, False), (False, True, True)):
            rest = ((g, None, None), ys, needs, x, w, bias, 1e-3)
            expected = FORMULAS["batch_norm_vjp"](xp, *rest)
            for one, other in zip(xp.batch_norm_vjp(*rest), expected, strict=True):
                assert (one is None) == (other is None)
                if one is not None:
                    assert one.dtype == x.dtype
                    tolerance = 1e-5 if dtype == "float32" else 1e-12
                    np.testing.assert_allclose(one, other, rtol=tolerance, atol=20 * tolerance)


def test_they_are_no_part_of_a_graph(device):
    layer = gg.nn.BatchNorm1d(2, dtype="float64", device=device)
    x = batches(device)[0].requires_grad_()
    y = layer(x)
    for buffer in (layer.running_mean, layer.running_var, layer.num_batches_tracked):
        assert buffer.grad_fn is None
        assert not buffer.requires_grad
        assert buffer.device == device
    assert [n for n, _ in layer.named_buffers()] == [
        "running_mean", "running_var", "num_batches_tracked"
    ]  # fmt: skip
    same = layer.running_mean  # the object stays the same
    y.sum().backward()
    layer(x)
    assert layer.running_mean is same
    assert layer.num_batches_tracked.item() == 2
    with gg.no_grad():
        layer(x)
    assert layer.num_batches_tracked.item() == 3
    before = host(same).copy()
    layer.eval()(x)
    np.testing.assert_array_equal(host(same), before)
    layer.reset_running_stats()
    assert [b.tolist() for b in layer.buffers()] == [[0.0, 0.0], [1.0, 1.0], 0]


@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_checkpoint_changes_them_once(momentum, device):
    found = []
    for wrap in (lambda f: f, gg.checkpoint):
        layer = gg.nn.BatchNorm1d(2, momentum=momentum, dtype="float64", device=device)
        x = batches(device)[0].requires_grad_()
        wrap(layer)(x).sum().backward(create_graph=True)
        (x.grad * x).sum().backward()
        found.append([host(tensor) for tensor in (*layer.buffers(), x.grad)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    assert found[1][2] == 1


def test_transforms_change_them_too(device):
    layer = gg.nn.BatchNorm1d(2, dtype="float64", device=device)
    x = batches(device)[0]
    gg.grad(lambda x: (layer(x) ** 3).sum())(x)
    gg.jvp(layer, (x,), (x,))
    assert layer.num_batches_tracked.item() == 2
    assert layer.running_mean.grad_fn is None


def test_nothing_waits(device):
    layer = gg.nn.BatchNorm1d(2, momentum=None, dtype="float64", device=device)
    x = batches(device)[0].requires_grad_()
    with gg.sync_guard():
        layer(x).sum().backward()
        layer.eval()(x).sum().backward()


@needs_gpu
def test_the_host_waits_for_nothing():
    layer = gg.nn.BatchNorm2d(3, momentum=None, device="cuda")
    x = gg.ones((2, 3, 4, 4), device="cuda", requires_grad=True)
    layer(x).sum().backward()
    assert not waits(lambda: layer(x).sum().backward())


def test_a_graph_that_used_them_sees_the_change(device):
    layer = gg.nn.BatchNorm1d(2, dtype="float64", device=device)
    x = batches(device)[0].requires_grad_()
    y = layer.eval()(x).sum()
    layer.train()(x)
    y.backward()  # it has read what it needs: the scale is a tensor of its own
    assert x.grad is not None


def test_they_move_with_the_module(device):
    layer = gg.nn.BatchNorm1d(2).to(device).to(gg.float64)
    assert {t.dtype.char for t in layer.state_dict().values()} == {"d", "l"}
    layer(batches(device)[0])
    assert layer.num_batches_tracked.item() == 1


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gg.nn.BatchNorm1d(3)(gg.ones((2, 4))), gg.ShapeError,
         r"BatchNorm1d: expected \(batch, channels\) or .* with 3 channels, got shape \(2, 4\)"),
        (lambda: gg.nn.BatchNorm2d(3)(gg.ones((2, 3))), gg.ShapeError,
         r"BatchNorm2d: expected \(batch, channels, height, width\) with 3"),
        (lambda: gg.nn.InstanceNorm1d(3)(gg.ones((2, 4, 5))), gg.ShapeError, "InstanceNorm1d: exp"),
        (lambda: gg.nn.BatchNorm1d(3)(gg.ones((1, 3))), ValueError, "than 1 value per channel"),
        (lambda: gg.nn.InstanceNorm1d(3)(gg.ones((2, 3, 1))), ValueError, "more than 1 position"),
        (lambda: gg.nn.BatchNorm1d(0), gg.ShapeError, "BatchNorm1d: num_features must be a whole"),
        (lambda: gg.nn.GroupNorm(2, 3), gg.ShapeError, "GroupNorm: num_channels, 3, must be a mul"),
        (lambda: gg.nn.GroupNorm(2, 4)(gg.ones((2, 3))), gg.ShapeError, r"expected \(batch, 4, .*"),
        (lambda: F.group_norm(gg.ones((2, 3)), 2), gg.ShapeError, "3 channels cannot be cut in"),
        (lambda: F.group_norm(gg.ones(2), 2), gg.ShapeError, r"group_norm: expected \(batch, ch"),
        (lambda: F.group_norm(gg.ones((2, 4)), 2, gg.ones(3)), gg.ShapeError,
         r"group_norm: weight must have shape \(4,\), one number for each channel"),
        (lambda: F.batch_norm(gg.ones(2), None, None, training=True), gg.ShapeError,
         r"batch_norm: expected \(batch, channels, ...\), got shape \(2,\)"),
        (lambda: F.batch_norm(gg.ones((2, 3)), None, None), ValueError, "needs running_mean and"),
        (lambda: F.batch_norm(gg.ones((2, 3)), gg.ones(3), None), ValueError, "go together"),
        (lambda: F.batch_norm(gg.ones((2, 1)), [0.0], [1.0]), gg.DTypeError,
         "running_mean is changed in place, so it must be a Tensor or an array, got list"),
        (lambda: F.instance_norm(gg.ones((2, 3))), gg.ShapeError, "instance_norm: expected"),
        (lambda: F.rms_norm(gg.ones((2, 3)), 4), gg.ShapeError, "rms_norm: the last axes of x"),
        (lambda: F.rms_norm(gg.ones((2, 3), dtype="complex64"), 3), gg.DTypeError, "rms_norm: it"),
        (lambda: F.batch_norm(gg.ones((2, 3), dtype="complex64"), None, None, training=True),
         gg.DTypeError, "batch_norm: it takes no complex"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
