"""Bias and activation after a product of matrices: one kernel forward, and one backward."""

import numpy as np
import pytest
from gpu import launches, needs_gpu, needs_two_gpus, send

import gpugrad as gg
from gpugrad.backend.host import NUMPY
from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.products import Products
from gpugrad.engine.op import TABLE
from gpugrad.kernels import epilogue as epilogue_kernels
from gpugrad.kernels.epilogue import Epilogue
from gpugrad.kernels.source import FLOATS
from gpugrad.nn.activations import MODULES

pytestmark = needs_gpu
NAMES = pytest.mark.parametrize(
    "name", [op.name for op in TABLE.values() if f"linear_{op.name}" in TABLE]
)
DTYPES = pytest.mark.parametrize("dtype", FLOATS, ids=str)
nn = gg.nn


def epilogue():
    cupy = pytest.importorskip("cupy")
    return Epilogue(cupy, Products(cupy).multiply)


# ---------------------------------------------------------------- the kernel

WORDS = {
    "gelu": [{"approximate": "none"}, {"approximate": "tanh"}],
    "elu": [{"alpha": 1.0}, {"alpha": 0.3}],
    "leaky_relu": [{"negative_slope": 0.01}, {"negative_slope": 2}],
    "softplus": [{"beta": 1.0, "threshold": None}, {"beta": 2.0, "threshold": 1.0}],
}


@DTYPES
@NAMES
@pytest.mark.parametrize("shape", [(1, 1), (5, 12), (3, 7, 12), (12,), (2, 300)])
def test_it_is_the_formula(name, dtype, shape, monkeypatch, rng):
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e4, -1e4, np.finfo(dtype).smallest_subnormal]
    y = (rng.standard_normal(shape) * 3).astype(dtype)
    bias = rng.standard_normal(shape[-1]).astype(dtype)
    y.reshape(-1)[: len(special)] = np.array(special, dtype)[: y.size]
    bias[::3] = 0
    wide = np.float32 if dtype == np.float16 else dtype
    rtol = {2: 1e-3, 4: 2e-6, 8: 1e-13}[dtype.itemsize]
    near = {2: 5e-7, 4: 5e-7, 8: 1e-15}[dtype.itemsize]  # gelu cancels below -5
    (needed,), _ = TABLE[name].keeps((True,))
    variants = [(words, needed) for words in WORDS.get(name, [{}])]
    if name == "silu":  # without a gradient nothing is kept
        variants.append(({}, False))
    for words, keep in variants:
        with np.errstate(all="ignore"):
            between = y.astype(wide) + bias.astype(wide)
            expected = getattr(NUMPY, name)(between, **words).astype(dtype)
            between = between.astype(dtype)
        given, twice = send(y, np.repeat(bias, 2))
        first, second = epilogue()(name, words, given, twice[::2], keep)
        assert first is given
        assert (second is given) == (not keep)
        np.testing.assert_allclose(second.get(), expected, rtol=rtol, atol=near)
        if keep:
            np.testing.assert_array_equal(first.get(), between)


@DTYPES
@NAMES
@pytest.mark.parametrize("shape", [(1, 1), (5, 12), (3, 7, 12), (12,), (70, 40), (300, 3)])
def test_the_derivative_and_its_sums(name, dtype, shape, monkeypatch, rng):
    monkeypatch.setattr(epilogue_kernels, "STRIPE", 16)  # 300 rows are 19 stripes
    x, g = (rng.standard_normal((2, *shape)) * 2).astype(dtype)
    x.reshape(-1)[:3] = np.array([0.0, -0.0, 20.0], dtype)[: x.size]
    rtol = {2: 4e-3, 4: 2e-5, 8: 1e-12}[dtype.itemsize]
    (keep,), keep_y = TABLE[name].keeps((True,))
    for words in WORDS.get(name, [{}]):
        y = getattr(NUMPY, name)(x.astype(np.float64), **words).astype(dtype)
        saved = [array.astype(np.float64) for array in (g, y, x)]
        right = TABLE[name].vjps[0](NUMPY, *saved, **words)
        arrays = send(g, y if keep_y else object(), x if keep else object())
        (d, sums), count = launches(epilogue()._pulled, name, words, *arrays)
        assert count == 1
        assert d.shape == shape
        assert d.dtype == sums.dtype == dtype
        np.testing.assert_allclose(d.get(), right, rtol=rtol, atol=rtol)
        added = d.get().astype(np.float64).reshape(-1, shape[-1]).sum(axis=0)
        np.testing.assert_allclose(sums.get(), added, rtol=rtol, atol=rtol * len(x))


def test_operands_of_the_derivative_may_lie_in_any_order(rng):
    x, g = rng.standard_normal((2, 5, 6))
    given = send(*(np.asfortranarray(array) for array in (g, x)))
    d, sums = epilogue()._pulled("silu", {}, given[0], None, given[1])
    right = TABLE["silu"].vjps[0](NUMPY, g, None, x)
    np.testing.assert_allclose(d.get(), right, rtol=1e-12)
    np.testing.assert_allclose(sums.get(), right.sum(axis=0), rtol=1e-12)


@DTYPES
@pytest.mark.parametrize("shape", [(5,), (64, 40), (128, 3), (2, 3, 33)], ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
def test_few_rows_are_added_up_by_one_block(shape, dtype, order, rng):
    g = np.asarray(rng.standard_normal(shape).astype(dtype), order=order)
    x, weight, bias = np.empty((*shape[:-1], 2)), np.empty((3, 2)), np.empty(shape[-1:], dtype)
    operands = send(g, (False, False, True), x, weight, bias)
    found, count = launches(epilogue().linear_vjp, *operands)
    assert count == 1
    assert found[:2] == (None, None)
    assert found[2].dtype == dtype
    right = g.reshape(-1, shape[-1]).sum(axis=0, dtype=np.float64)
    tolerance = {"e": 1e-2, "f": 1e-5, "d": 1e-12}[dtype.char]
    np.testing.assert_allclose(found[2].get(), right, rtol=tolerance, atol=tolerance)


def test_many_rows_are_added_up_by_the_formula():
    for rows, expected in ((128, 1), (129, 0)):
        with gg.device("cuda"):
            model = layer()
            y = model(gg.ones((rows, 3)))
            _, count = launches(y.backward, gg.ones((rows, 4)))
        assert count == expected
        assert model.bias.grad.tolist() == [float(rows)] * 4


@pytest.fixture
def plain(monkeypatch):
    """A function after which layers run as they are written."""
    space = namespace_of(send(np.ones(1))[0])

    def without_kernels():
        for name in epilogue().functions():
            monkeypatch.delitem(space.__dict__, name)

    return without_kernels


# ---------------------------------------------------------------- layers


def model_of(kind, name, dtype):
    gg.manual_seed(5)
    if kind == "mlp":
        return nn.MLP(3, [8, 8, 2], activation=name, dtype=dtype)
    module = MODULES[TABLE[name].layer]
    function = getattr(gg, name)
    first, second, last = (nn.Linear(n, m, dtype=dtype) for n, m in [(3, 8), (8, 8), (8, 2)])
    words = WORDS.get(name, [{}])[-1]
    return nn.Sequential(first, module(**words), second, function, last)


def results(kind, name, dtype, shape):
    """What a model gives, its gradients of first and second order, and its graph as text."""
    with gg.device("cuda"):
        model = model_of(kind, name, dtype)
        x = np.random.default_rng(1).standard_normal(shape).astype(dtype)
        x = gg.tensor(x, device="cuda", requires_grad=True)
        y, count = launches(model, x)
        graph = str(gg.explain(y.sum()))
        parameters = [x, *model.parameters()]
        first = gg.gradients([(y * y).sum()], parameters, create_graph=True)
        second = gg.gradients([sum((d * d).sum() for d in first)], parameters)
        arrays = [t.detach().numpy() for t in (y, *first, *second)]
        return arrays, count, graph


@NAMES
@pytest.mark.parametrize(
    ("kind", "shape"), [("mlp", (4, 3)), ("sequential", (3,)), ("sequential", (2, 5, 3))]
)
def test_models_compute_what_they_compute_layer_by_layer(kind, name, shape, plain):
    arrays, count, graph = results(kind, name, np.float64, shape)
    assert count == 3  # the last layer has no activation; its bias is added by a kernel as well
    plain()
    expected, count, other = results(kind, name, np.float64, shape)
    assert count == 0
    assert graph == other
    for one, other in zip(arrays, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


@NAMES
def test_half_precision_and_no_grad(name):
    with gg.device("cuda"):
        model = model_of("mlp", name, np.float16)
        x = gg.ones((4, 3), dtype=gg.float16)
        with gg.no_grad():
            y, count = launches(model, x)
        assert count == 3
        assert y.dtype == np.float16
        assert y.grad_fn is None
        wide = model.to(gg.float32)(x.astype(gg.float32)).detach().numpy()
        np.testing.assert_allclose(y.numpy(), wide, rtol=5e-3, atol=2e-3)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.SiLU(), nn.ELU(), nn.Softplus()])
@pytest.mark.parametrize("batch", [(4,), (2, 200), ()])
@pytest.mark.parametrize("moved", [False, True])
def test_gradients_come_by_one_kernel_for_a_pair(activation, batch, moved, rng, monkeypatch):
    monkeypatch.setattr("gpugrad.engine.follow._moved", moved)  # a graph may be on two devices
    arrays = rng.standard_normal((*batch, 3)), rng.standard_normal((*batch, 4))
    found = {}
    for where in ("cpu", "cuda"):
        gg.manual_seed(3)
        with gg.device(where):
            first, last = nn.Linear(3, 8, dtype=gg.float64), nn.Linear(8, 4, dtype=gg.float64)
            model = nn.Sequential(first, activation, last, activation)
            x, g = (gg.tensor(array, device=where) for array in arrays)
            counts = []
            for bias in (True, False):
                first.bias.requires_grad_(bias)
                y = model(x)
                counts += [launches(y.backward, g, retain_graph=k)[1] for k in (True, False)]
            y = model(x)
            counts.append(launches(y.sum().backward)[1])  # a gradient that is broadcast
            found[where] = [p.grad.numpy() for p in model.parameters()]
    assert counts == [2, 2, 2, 2, 3]  # the last with a cotangent of its own
    for one, other in zip(found["cuda"], found["cpu"], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


def test_hooks_and_watchers_see_arrays():
    with gg.device("cuda"):
        model = nn.Sequential(layer(), nn.ReLU())
        x, ones = gg.ones((2, 3)), gg.ones((2, 4))
        y, seen = model(x), []
        y.backward(ones)
        expected = [p.grad.numpy() for p in model.parameters()]

        def look(*gradients):
            seen.extend(gradients)

        for hook in (
            lambda node: node.register_prehook(look),
            lambda node: node.register_prehook(lambda g: g * 1),
            lambda node: node.register_hook(lambda ds, g: look(*ds, g)),
        ):
            model.zero_grad()
            y = model(x)
            hook(y.grad_fn)
            _, count = launches(y.backward, ones)
            assert count == 1
            for p, right in zip(model.parameters(), expected, strict=True):
                np.testing.assert_allclose(p.grad.numpy(), right, rtol=1e-6)
        assert [type(g) for g in seen if g is not None] == [gg.Tensor] * 4
        y = model(x)
        with gg.detect_anomaly():
            _, count = launches(y.backward, ones)
        assert count == 1


def layer(**words):
    return nn.Linear(3, 4, **words)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Cut(nn.ReLU):
    def forward(self, x):
        return gg.minimum(super().forward(x), 1.0)


def spied(module):
    """A module whose forward somebody has replaced."""
    module.forward = type(module).forward.__get__(module)
    return module


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(layer(bias=False), nn.ReLU()),
        lambda: nn.Sequential(layer(), nn.Softmax()),
        lambda: nn.Sequential(layer(), gg.square),
        lambda: nn.Sequential(layer(), nn.ELU(np.float32(0.5))),
        lambda: nn.Sequential(layer(), nn.Linear(4, 4)),
        lambda: nn.Sequential(Doubled(3, 4), nn.ReLU()),
        lambda: nn.Sequential(layer(), Cut()),
        lambda: nn.Sequential(spied(layer()), nn.ReLU()),
        lambda: nn.Sequential(layer(), spied(nn.ReLU())),
        lambda: nn.Sequential(nn.ReLU(), layer()),
        lambda: nn.Sequential(layer(), lambda x: gg.relu(x)),
        lambda: nn.Sequential(),
        lambda: nn.MLP(3, [4], activation="relu"),
    ],
)
def test_what_is_more_than_the_two_layers_runs_as_it_is(make, monkeypatch):
    gg.manual_seed(2)
    with gg.device("cuda"):
        model, x = make(), gg.ones((2, 3))
        y, count = launches(model, x)
        monkeypatch.setattr("gpugrad.nn.containers.joined", lambda *_: None)
        plain, without = launches(model, x)
        np.testing.assert_array_equal(y.detach().numpy(), plain.detach().numpy())
    assert count == without  # a softmax has a kernel of its own


def test_what_is_recorded_can_be_watched():
    with gg.device("cuda"):
        model = nn.Sequential(layer(), nn.ReLU())
        x = gg.tensor(np.array([[np.inf, 0.0, 0.0]]), device="cuda", dtype=gg.float32)
        with gg.detect_anomaly(), pytest.raises(gg.AnomalyError, match="linear_relu made"):
            model(x)


def test_frozen_parameters_get_no_gradient():
    with gg.device("cuda"):
        model = nn.Sequential(layer(), nn.ReLU())
        model[0].weight.requires_grad_(False)
        y, count = launches(model, gg.ones((2, 3)))
        y.sum().backward()
        assert count == 1
        assert model[0].weight.grad is None
        assert model[0].bias.grad is not None
        assert y.grad_fn.op.name == "linear_relu"


@needs_two_gpus
def test_operands_that_do_not_fit_are_refused_as_before():
    with gg.device("cuda"):
        model = nn.Sequential(layer(), nn.ReLU())
        with pytest.raises(gg.ShapeError, match=r"linear: the last axis of x must have size 3"):
            model(gg.ones((2, 4)))
        with pytest.raises(gg.DeviceError, match="linear_relu: the operands are on two devices"):
            model(gg.ones((2, 3), device="cuda:1"))
        mixed, count = launches(model, gg.ones((2, 3), dtype=gg.float64))
        assert count == 0
        assert mixed.dtype == np.float64
        assert model([[1.0, 1.0, 1.0]]).shape == (1, 4)
    with gg.device("cpu"):  # beside a GPU, models on the CPU are what they were
        y, count = launches(nn.Sequential(layer(), nn.ReLU()), gg.ones((2, 3)))
        assert count == 0
        assert y.shape == (2, 4)


def test_errors_of_the_kernel_name_the_op(monkeypatch):
    def fail(*_):
        raise MemoryError("full")

    monkeypatch.setattr(Epilogue, "__call__", fail)
    with gg.device("cuda"), pytest.raises(MemoryError) as caught:
        nn.Sequential(layer(), nn.ReLU())(gg.ones((2, 3)))
    assert "linear" in "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
