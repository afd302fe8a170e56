"""Every layer and loss: derivatives of both orders on every device, half precision, empty batches.

The tests are generated from the tables of ``tests/helpers/layers.py``, so a new layer is tested
without a line here.
"""

import copy
import inspect
import math

import numpy as np
import pytest
from arrays import host
from layers import CASES, arrays_for, start

import gpugrad as gg
from gpugrad import nn

STEP = 1e-6
EVERY = pytest.mark.parametrize("name", CASES)
HALVES = {"float16": 2e-2, "bfloat16": 0.15}  # with how much they may be off


def takes_dtype(name):
    """Whether the class has parameters, and so a dtype to begin in."""
    parameters = inspect.signature(getattr(nn, name).__init__).parameters
    return "dtype" in parameters or name in ("RNN", "RNNCell")


def leaves_of(layer, inputs):
    """All that has a derivative: the real inputs and the parameters."""
    parameters = layer.parameters() if isinstance(layer, nn.Module) else []
    return [*(x for x in inputs if x.dtype.kind == "f"), *parameters]


def results(layer, inputs):
    """The real tensors among what a layer gives, with the same random choices in each call."""
    gg.manual_seed(5)
    waiting, found = [layer(*inputs)], []
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, tuple | list):
            waiting += one
        elif one is not None and one.dtype.kind not in "biu":
            found.append(one)
    return found


def total(layer, inputs):
    """A number that depends on all elements of all results."""
    whole = 0.0
    for y in results(layer, inputs):
        weights = 0.5 + (np.arange(math.prod(y.shape)) * 0.618 % 1).reshape(y.shape)
        whole = whole + (y * gg.tensor(weights, dtype=y.dtype, device=y.device)).sum()
    return whole


def derivatives(name, device):
    """The value, its two derivatives along one direction, and these by differences."""
    layer = start(name, device)
    inputs = [gg.tensor(array, device=device) for array in arrays_for(name)]
    leaves = [leaf.requires_grad_() for leaf in leaves_of(layer, inputs)]
    rng = np.random.default_rng(11)
    directions = [gg.tensor(rng.normal(0.0, 1.0, p.shape), device=device) for p in leaves]

    def along():
        """The slope by the gradients that are there, which are taken away."""
        slope = gg.zeros((), dtype="float64", device=device)
        for leaf, direction in zip(leaves, directions, strict=True):
            if leaf.grad is not None:
                slope = slope + (leaf.grad * direction).sum()
            leaf.grad = None
        return slope

    def at(step):
        for leaf, direction in zip(leaves, directions, strict=True):
            leaf._write(Ellipsis, leaf.detach() + step * direction)
        loss = total(layer, inputs)
        loss.backward()
        for leaf, direction in zip(leaves, directions, strict=True):
            leaf._write(Ellipsis, leaf.detach() - step * direction)
        return np.array([loss.item(), along().item()])

    loss = total(layer, inputs)
    loss.backward(create_graph=True)
    slope = along()
    if slope.requires_grad:
        slope.backward()
    exact = [slope.item(), along().item()]
    return loss.item(), exact, (at(STEP) - at(-STEP)) / (2 * STEP)


@EVERY
def test_both_derivatives(name, device):
    value, exact, differences = derivatives(name, device)
    np.testing.assert_allclose(exact, differences, rtol=1e-5, atol=1e-5)
    if device != "cpu":
        wanted, of_cpu, _ = derivatives(name, "cpu")
        np.testing.assert_allclose([value, *exact], [wanted, *of_cpu], rtol=1e-9, atol=1e-9)


@EVERY
@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision(name, dtype, device):
    """It has the dtype, and float64's values as near as it can; a copy has the same."""
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    half = start(name, device, dtype)
    wide = copy.deepcopy(half)
    if isinstance(half, nn.Module):
        half, wide = half.eval(), wide.to("float64").eval()
    inputs = [gg.tensor(array, device=device) for array in arrays_for(name)]
    inputs = [x.astype(dtype) if x.dtype.kind == "f" else x for x in inputs]
    exact = [x if x.dtype.kind in "iu" else x.astype("float64") for x in inputs]
    ys, again, right = (
        results(layer, given)
        for layer, given in ((half, inputs), (copy.deepcopy(half), inputs), (wide, exact))
    )
    for y, same, one in zip(ys, again, right, strict=True):
        assert str(y.dtype) == dtype
        y, same = (host(t.astype("float64")) for t in (y, same))
        np.testing.assert_array_equal(y, same)
        np.testing.assert_allclose(y, host(one), rtol=HALVES[dtype], atol=HALVES[dtype])


@pytest.mark.parametrize("name", [name for name in CASES if takes_dtype(name)])
@pytest.mark.parametrize("dtype", [*HALVES, "float64"])
def test_a_layer_begins_in_a_dtype(name, dtype, monkeypatch):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    cls = getattr(nn, name)
    begin = cls.__init__
    monkeypatch.setattr(
        cls, "__init__", lambda self, *args, **kwargs: begin(self, *args, dtype=dtype, **kwargs)
    )
    layer = CASES[name][0]()
    assert {str(p.dtype) for p in layer.parameters()} <= {dtype}
    again = copy.deepcopy(layer)
    assert again.load_state_dict(layer.state_dict()) == ([], [])


@EVERY
def test_an_empty_batch(name, device):
    """It gives no gradient that is not a number, and leaves the statistics as they were."""
    layer = start(name, device)
    inputs = [gg.tensor(array, device=device) for array in arrays_for(name, batch=0)]
    leaves = [leaf.requires_grad_() for leaf in leaves_of(layer, inputs)]
    state = layer.state_dict() if isinstance(layer, nn.Module) else {}
    before = {key: host(value).copy() for key, value in state.items()}
    total(layer, inputs).backward()
    for leaf in leaves:
        assert leaf.grad is None or np.isfinite(host(leaf.grad)).all()
    for key, value in before.items():
        if key != "num_batches_tracked":
            np.testing.assert_array_equal(host(layer.state_dict()[key]), value)


@pytest.mark.parametrize("name", [name for name in CASES if name != "Identity"])
def test_what_is_no_array_is_refused_in_a_sentence(name):
    layer = start(name, "cpu", "float32")
    inputs = [gg.tensor(array) for array in arrays_for(name)]
    for place in range(1 if name == "GaussianNLLLoss" else len(inputs)):  # its maker takes a square
        for wrong in (None, "abc", object(), {}, [[1.0], [2.0, 3.0]]):
            given = [wrong if i == place else x for i, x in enumerate(inputs)]
            with pytest.raises((gg.DTypeError, gg.ShapeError), match=r": |\. "):
                layer(*given)


# Settings that are numbers, and one that is a layer.
SETTINGS = {
    "ConstantPad1d": "value", "CosineEmbeddingLoss": "margin", "ELU": "alpha", "GLU": "axis",
    "HingeEmbeddingLoss": "margin", "HuberLoss": "delta", "LayerNorm": "eps",
    "LeakyReLU": "negative_slope", "MarginRankingLoss": "margin", "MultiMarginLoss": "margin",
    "PReLU": "num_parameters init", "PoissonNLLLoss": "eps", "RReLU": "lower upper",
    "RotaryEmbedding": "base", "SmoothL1Loss": "beta", "Softplus": "beta threshold",
    "Threshold": "threshold value", "TransformerEncoder": "norm",
    "TripletMarginLoss": "margin p eps", "Unflatten": "dim",
}  # fmt: skip
BESIDE = {
    "ConstantPad1d": {"padding": 1}, "LayerNorm": {"normalized_shape": 4},
    "PoissonNLLLoss": {"log_input": False}, "RotaryEmbedding": {"dim": 4},
    "Threshold": {"threshold": 2.0, "value": 0.0},
    "Unflatten": {"dim": 1, "unflattened_size": (2, 1)},
    "TransformerEncoder": {"encoder_layer": nn.Identity(), "num_layers": 1},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "setting"), [(name, one) for name, some in SETTINGS.items() for one in some.split()]
)
def test_what_is_no_number_is_refused_in_a_sentence(name, setting):
    inputs = [gg.tensor(array) for array in arrays_for(name)]
    for wrong in ("foo", (1.0, 2.0, 3.0), object()):
        with pytest.raises(
            (gg.DTypeError, gg.ShapeError, gg.ArgumentError, ValueError), match=": "
        ):
            getattr(nn, name)(**BESIDE.get(name, {}) | {setting: wrong}).train()(*inputs)
