"""RNN, LSTM, GRU and their cells: PyTorch's figures, padded batches, states, errors."""

import numpy as np
import pytest
from figures import cases

import gpugrad as gg
from gpugrad.backend.host import NUMPY
from gpugrad.backend.namespace import FORMULAS

FIGURES = cases("recurrent")
SETTINGS = {
    "plain": {},
    "without a bias": {"bias": False, "batch_first": True},
    "lengths": {"num_layers": 2, "bidirectional": True},
    "relu": {"nonlinearity": "relu"},
}
LAYERS = [gg.nn.RNN, gg.nn.LSTM, gg.nn.GRU]


def close(tensor, array):
    np.testing.assert_allclose(tensor.detach().cpu().numpy(), array, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", FIGURES)
def test_layers_are_pytorchs(name, device):
    case = FIGURES[name]
    kind, settings = name.split(" ", 1)
    layer = getattr(gg.nn, kind)(2, 3, dtype="float64", device=device, **SETTINGS[settings])
    layer.load_state_dict(case["state"])
    tensors = {
        key: gg.tensor(array, device=device, requires_grad=array.dtype.kind == "f")
        for key, array in case["in"].items()
    }
    states = [tensors[key] for key in ("h", "c") if key in tensors]
    x = tensors["x"].transpose((1, 0, 2)) if layer.batch_first else tensors["x"]
    lengths = case["in"].get("lengths")
    y, last = layer(x, states if len(states) > 1 else states[0], lengths)
    ends = last if isinstance(last, tuple) else (last,)
    loss = 0.0
    for key, tensor in zip(("y", "end_h", "end_c"), (y, *ends), strict=False):
        close(tensor, case["out"][key])
        loss = loss + (tensor * gg.tensor(case["weights"][key], device=device)).sum()
    loss.backward()
    parameters = dict(layer.named_parameters())
    assert list(parameters) == list(case["state"])
    for key, expected in case["grad"].items():
        close({**tensors, **parameters}[key].grad, expected)


@pytest.mark.parametrize("layer", LAYERS)
def test_cells_in_a_loop_are_the_layer(layer, device):
    whole = layer(2, 3, device=device)
    cell = getattr(gg.nn, f"{layer.__name__}Cell")(2, 3, device=device)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in whole.state_dict().items()})
    x = gg.random.Generator(1).normal(size=(4, 5, 2), device=device)
    y, _ = whole(x)
    state = None
    for step, expected in zip(x, y, strict=True):
        state = cell(step, state)
        h = state[0] if isinstance(state, tuple) else state
        np.testing.assert_allclose(
            h.detach().cpu().numpy(), expected.detach().cpu().numpy(), rtol=1e-5, atol=1e-6
        )
    one = cell(x[0, 0])
    assert (one[0] if isinstance(one, tuple) else one).shape == (3,)


@pytest.mark.parametrize("layer", LAYERS)
def test_padding_changes_nothing(layer, device):
    """A padded batch gives each sequence what it gets alone, whatever is behind its end."""
    model = layer(2, 3, 2, bidirectional=True, batch_first=True, device=device).eval()
    x = gg.random.Generator(1).normal(size=(3, 4, 2), device=device)
    lengths = [4, 1, 3]
    y, last = model(x, lengths=lengths)
    for row, length in enumerate(lengths):
        alone, end = model(x[row, :length])
        pairs = [(y[row, :length], alone)]
        pairs += [
            (one[:, row], other)
            for one, other in zip(last, end, strict=True)
            if isinstance(last, tuple)
        ] or [(last[:, row], end)]
        for found, expected in pairs:
            np.testing.assert_allclose(
                found.detach().cpu().numpy(), expected.detach().cpu().numpy(), rtol=1e-5, atol=1e-6
            )
        assert not y[row, length:].detach().cpu().numpy().any()
    poisoned = gg.where(gg.arange(4, device=device)[None, :, None] < 1, x, float("nan"))
    rest, _ = model(poisoned[1:2], lengths=gg.tensor([1], device=device, dtype="int64"))
    assert bool(gg.isfinite(rest).all())
    rest.sum().backward()
    for name, parameter in model.named_parameters():
        assert bool(gg.isfinite(parameter.grad).all()), name


def test_dropout_between_layers_is_for_training(device):
    layer = gg.nn.GRU(2, 3, 2, dropout=1.0, bias=False, device=device)
    x = gg.ones((4, 1, 2), device=device)
    assert not layer(x)[0].detach().cpu().numpy().any()
    assert layer.eval()(x)[0].detach().cpu().numpy().all()


@pytest.mark.parametrize("layer", LAYERS)
def test_dtypes_that_differ_are_promoted(layer, device):
    y, _ = layer(2, 3, device=device)(gg.ones((2, 4, 2), dtype="float64", device=device))
    assert y.dtype == "float64"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_a_layer_on_the_host_is_the_formula(biased, padded, dtype, rng):
    length, batch, inputs, hidden, tolerance = 7, 3, 5, 4, 1e-12 if dtype == "float64" else 2e-5
    x = rng.normal(size=(length, batch, inputs))
    mask = (np.arange(length)[:, None] < [length, 1, 4])[..., None] if padded else None
    x[0, 0] *= 200  # sigmoids end in 0 and 1
    h, c = rng.normal(size=(2, batch, hidden))
    g = rng.normal(size=(2, length, batch, hidden))
    weights = [rng.normal(size=(4 * hidden, n)) for n in (inputs, hidden)]
    bias = rng.normal(size=4 * hidden)
    x, h, c, *weights, bias = (array.astype(dtype) for array in (x, h, c, *weights, bias))
    g = g.astype(dtype)
    operands = (x, h, c, *weights, bias if biased else None, mask)
    after, kept = NUMPY.lstm_layer(*operands)
    right, right_kept = FORMULAS["lstm_layer"](NUMPY, *operands)
    for one, other in ((kept, right_kept), (after, right)):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance / 10)
    needs = (True, True, True, True, True, biased, False)
    for gs in ((g[0], None), (None, g[1]), g):
        rest = (gs, None, needs, *operands, right, right_kept)
        expected = FORMULAS["lstm_layer_vjp"](NUMPY, *rest)
        for one, other in zip(NUMPY.lstm_layer_vjp(*rest), expected, strict=True):
            assert (one is None) == (other is None)
            if other is not None:
                assert one.dtype == dtype
                np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gg.nn.LSTM(0, 3), "input_size"),
        (lambda: gg.nn.RNN(2, 3, nonlinearity="gelu"), "'tanh' or 'relu'"),
        (lambda: gg.nn.LSTM(2, 3)(gg.ones((4, 2, 3))), r"\(length, batch, 2\)"),
        (lambda: gg.nn.LSTM(2, 3, batch_first=True)(gg.ones(2)), r"\(batch, length, 2\)"),
        (lambda: gg.nn.GRU(2, 3)(gg.ones((0, 2))), "one step or more"),
        (lambda: gg.nn.GRU(2, 3)(gg.ones((4, 2)), gg.ones((2, 3))), r"shape \(1, 3\)"),
        (lambda: gg.nn.LSTM(2, 3)(gg.ones((4, 2)), gg.ones((1, 3))), r"\(h, c\)"),
        (lambda: gg.nn.GRU(2, 3)(gg.ones((4, 5, 2)), None, [4]), "5 whole numbers"),
        (lambda: gg.nn.GRU(2, 3)(gg.ones((4, 1, 2)), None, [5]), "from 0 to 4"),
        (lambda: gg.nn.GRUCell(2, 3)(gg.ones((4, 1, 2))), r"\(batch, 2\)"),
    ],
)
def test_bad_input_gets_a_sentence(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()
