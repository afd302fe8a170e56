"""Convolutions against PyTorch's figures; their memory, their blocks, layers and errors."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from arrays import host

import gpugrad as gg
from gpugrad.backend import convolution as on_host
from gpugrad.backend import depthwise
from gpugrad.backend.namespace import FORMULAS, NAMESPACES
from gpugrad.ops import convolution as formulas
from gpugrad.tensor import OPS

F = gg.nn.functional
nn = gg.nn
FIGURES = dict(np.load(Path(__file__).parents[1] / "data" / "pytorch" / "convolution.npz"))
CASES = list(enumerate(json.loads(str(FIGURES["cases"]))))


def figures(index, key):
    """The arrays of a case, by their numbers."""
    count = sum(name.startswith(f"{index}.{key}.") for name in FIGURES)
    return [FIGURES[f"{index}.{key}.{number}"] for number in range(count)]


# ---------------------------------------------------------------- PyTorch's figures


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1][0]}")
def test_values_and_derivatives_are_pytorch_s(case, device):
    index, (name, kwargs) = case
    operands = [gg.tensor(x, device=device, requires_grad=True) for x in figures(index, "x")]
    g = gg.tensor(FIGURES[f"{index}.g"], device=device)
    y = getattr(F, name)(*operands, **kwargs)
    np.testing.assert_allclose(host(y), FIGURES[f"{index}.y"], rtol=1e-12, atol=1e-12)
    first = gg.gradients((y * g).sum(), operands, retain_graph=True)
    (d,) = gg.gradients((y * y * g).sum(), operands[:1], create_graph=True)
    second = gg.gradients((d * d).sum(), operands)
    for key, ours in (("first", first), ("second", second)):
        for one, other in zip(ours, figures(index, key), strict=True):
            np.testing.assert_allclose(host(one), other, rtol=1e-10, atol=1e-10)


def spread(x, weight, stride, padding, output_padding, dilation):
    """A transposed convolution of one axis by its definition."""
    (samples, _, n), (_, outputs, kernel) = x.shape, weight.shape
    size = (n - 1) * stride + dilation * (kernel - 1) + 1
    y = np.zeros((samples, outputs, size + output_padding))
    for i in range(n):
        for j in range(kernel):
            y[:, :, i * stride + j * dilation] += x[:, :, i] @ weight[:, :, j]
    return y[:, :, padding : y.shape[2] - padding]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 3, 4])
def test_an_output_padding_reaches_as_far_as_the_elements(stride, dilation, device):
    rng = np.random.default_rng(dilation)
    for kernel, padding, n in ((1, 1, 1), (1, 2, 2), (2, 0, 3), (3, 1, 2), (3, 2, 4)):
        for more in range(max(stride, dilation)):
            x, weight = rng.standard_normal((2, 2, n)), rng.standard_normal((2, 3, kernel))
            expected = spread(x, weight, stride, padding, more, dilation)
            if expected.shape[2]:
                y = F.conv_transpose1d(
                    gg.tensor(x, device=device), gg.tensor(weight, device=device), stride=stride,
                    padding=padding, output_padding=more, dilation=dilation,
                )  # fmt: skip
                np.testing.assert_allclose(host(y), expected, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------- shapes drawn at random


def drawn(rng):
    """An input, a weight, a cotangent's shape and the parameters of the ops."""
    while True:
        axes, groups = rng.integers(1, 4), int(rng.integers(1, 4))
        samples, inputs, outputs = rng.integers(1, 4, 3)
        if rng.random() < 0.4:  # each channel alone
            groups, inputs, outputs = int(rng.integers(2, 5)), 1, 1
        kernel, stride, sizes = rng.integers(1, 4, (3, axes)) + np.array([[0], [0], [2]])
        dilation, padding = rng.integers(1, 3, axes), rng.integers(0, 4, (axes, 2))
        counts = (sizes + padding.sum(1) - dilation * (kernel - 1) - 1) // stride + 1
        if counts.min() > 0:
            break
    parameters = {
        "stride": tuple(stride.tolist()), "padding": tuple(map(tuple, padding.tolist())),
        "dilation": tuple(dilation.tolist()), "groups": groups,
    }  # fmt: skip
    x = rng.standard_normal((samples, inputs * groups, *sizes))
    weight = rng.standard_normal((outputs * groups, inputs, *kernel))
    if rng.random() < 0.5:  # as the result of another convolution, its channels last in memory
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    return x, weight, (samples, outputs * groups, *counts.tolist()), parameters


@pytest.mark.parametrize("turn", range(60))
def test_on_the_host_they_are_the_formulas_in_blocks_of_any_size(turn, monkeypatch):
    rng = np.random.default_rng(turn)
    x, weight, shape, parameters = drawn(rng)
    for module, name, sizes in (
        (on_host, "CACHE", (1 << 17, 200, 16)), (on_host, "MANY_ROWS", (1, 16, 1000)),
        (on_host, "FEW_SUMS", (1, 1 << 17)), (formulas, "LEAST", (1 << 22, 60, 1)),
        (depthwise, "ENOUGH", (1, 10, 1 << 10)),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, int(rng.choice(sizes)))
    g, bias = rng.standard_normal(shape), rng.standard_normal(shape[1])
    back = rng.standard_normal(x.shape[1])
    arguments = {
        "convolution": ((x, weight, bias), parameters),
        "convolution_transpose": ((g, weight, back), {"size": x.shape[2:], **parameters}),
        "convolution_weight": ((x, g), {"kernel": weight.shape[2:], **parameters}),
    }
    numpy = NAMESPACES[np.ndarray]
    for name, (operands, words) in arguments.items():
        ours = getattr(numpy, name)(*operands, **words)
        formula = FORMULAS[name](numpy, *operands, **words)
        np.testing.assert_allclose(ours, formula, rtol=1e-12, atol=1e-12, err_msg=name)
    y = numpy.convolution(x, weight, **parameters)
    dot = np.vdot(g, y)
    d_x = numpy.convolution_transpose(g, weight, size=x.shape[2:], **parameters)
    d_weight = numpy.convolution_weight(x, g, kernel=weight.shape[2:], **parameters)
    np.testing.assert_allclose([np.vdot(d_x, x), np.vdot(d_weight, weight)], dot, rtol=1e-9)


# ---------------------------------------------------------------- memory


def most_memory(function):
    """The most bytes of arrays that a call holds beside its result."""
    function()  # what is made once
    tracemalloc.start()
    try:
        result = function()
        return tracemalloc.get_traced_memory()[1] - result.data.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("samples", "size"), [(1, 512), (16, 128)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("name", ["convolution", "convolution_transpose", "convolution_weight"])
def test_memory_stays_within_twice_the_input_s(name, groups, samples, size, stride):
    x = gg.ones((samples, 8, size, size))
    weight = gg.ones((8, 8 // groups, 3, 3))
    parameters = {
        "stride": (stride,) * 2, "padding": ((1, 1),) * 2, "dilation": (1, 1), "groups": groups,
    }  # fmt: skip
    g = OPS["convolution"](x, weight, **parameters)
    operands, more = {
        "convolution": ((x, weight), {}),
        "convolution_transpose": ((g, weight), {"size": (size, size)}),
        "convolution_weight": ((x, g), {"kernel": (3, 3)}),
    }[name]
    extra = most_memory(lambda: OPS[name](*operands, **more, **parameters))
    assert extra < 2 * x.data.nbytes


# ---------------------------------------------------------------- dtypes


def test_half_precision_is_added_up_in_float32(device):
    x = gg.full((1, 600, 3), 30.0, dtype="float16", device=device).requires_grad_()
    weight = gg.full((2, 600, 3), 0.1, dtype="float16", device=device).requires_grad_()
    y = F.conv1d(x, weight, gg.zeros(2, dtype="float16", device=device))
    assert y.dtype == np.float16
    exact = 30 * 1800 * float(np.float16(0.1))
    np.testing.assert_allclose(host(y).astype(float), exact, rtol=1e-3)
    y.sum().backward()
    assert x.grad.dtype == weight.grad.dtype == np.float16
    ones = gg.ones((1, 1, 4096), dtype="float16", device=device)
    weight = gg.ones((1, 1, 1), dtype="float16", device=device).requires_grad_()
    F.conv1d(ones, weight).sum().backward()
    assert weight.grad.item() == 4096


def test_complex_numbers_have_conjugate_gradients(device, rng):
    x = rng.standard_normal((1, 2, 5)) + 1j * rng.standard_normal((1, 2, 5))
    weight = rng.standard_normal((2, 2, 3)) - 1j * rng.standard_normal((2, 2, 3))
    inputs = [gg.tensor(a, device=device, requires_grad=True) for a in (x, weight)]
    assert gg.gradcheck(lambda x, w: F.conv1d(x, w, padding=1), inputs)


def test_no_samples_give_no_samples(device):
    layer = nn.Conv2d(2, 3, 3, padding=1, device=device)
    y = layer(gg.zeros((0, 2, 5, 5), device=device))
    assert y.shape == (0, 3, 5, 5)
    y.sum().backward()
    assert not host(layer.weight.grad).any()


# ---------------------------------------------------------------- modules


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [1, (2, 1), "same"])
def test_padding_modes_pad_and_then_convolve(mode, padding, device, rng):
    x = gg.tensor(rng.standard_normal((2, 2, 5, 6)), device=device)
    layer = nn.Conv2d(
        2, 3, (3, 2), padding=padding, padding_mode=mode, dtype="float64", device=device
    )
    low, left = {1: (1, 1), (2, 1): (2, 1), "same": (1, 0)}[padding]
    high, right = {"same": (1, 1)}.get(padding, (low, left))
    numpy_mode = {
        "zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap",
    }[mode]  # fmt: skip
    widths = ((0, 0), (0, 0), (low, high), (left, right))
    padded = gg.tensor(np.pad(host(x), widths, mode=numpy_mode), device=device)
    np.testing.assert_allclose(
        host(layer(x)), host(F.conv2d(padded, layer.weight, layer.bias)), rtol=1e-12
    )
    assert (layer(x[0]) - layer(x)[0]).abs().max().item() < 1e-12


@pytest.mark.parametrize(
    ("layer", "shape", "count"),
    [
        (lambda: nn.Conv1d(4, 6, 3, groups=2), (6, 2, 3), 6),
        (lambda: nn.Conv2d(4, 6, (3, 2)), (6, 4, 3, 2), 24),
        (lambda: nn.Conv3d(1, 2, 2), (2, 1, 2, 2, 2), 8),
        (lambda: nn.ConvTranspose1d(4, 6, 3), (4, 6, 3), 18),
        (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 3, 3, 3), 27),
        (lambda: nn.ConvTranspose3d(2, 1, 2), (2, 1, 2, 2, 2), 8),
    ],
)
def test_state_and_first_values_are_pytorch_s(layer, shape, count):
    """Uniform on ±1/√n, with n the fan-in that PyTorch's kaiming_uniform_ reads off the weight."""
    gg.manual_seed(0)
    layers = [layer() for _ in range(20)]
    assert list(layers[0].state_dict()) == ["weight", "bias"]
    assert layers[0].weight.shape == shape
    for name in ("weight", "bias"):
        values = np.concatenate([getattr(one, name).detach().numpy().ravel() for one in layers])
        bound = count**-0.5
        assert 0.8 * bound < np.abs(values).max() <= bound
        assert abs(values.mean()) < 0.3 * bound


def test_arguments_stand_in_pytorch_s_order():
    layer = nn.Conv2d(4, 6, 3, 2, 1, 2, 2, False, "reflect")
    assert repr(layer).startswith(
        "Conv2d(4, 6, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(2, 2), "
        "groups=2, bias=False, padding_mode='reflect')"
    )
    layer = nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, False, 2)
    assert repr(layer).startswith(
        "ConvTranspose2d(4, 6, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), "
        "dilation=(2, 2), output_padding=(1, 1), groups=2, bias=False)"
    )
    assert layer(gg.ones((4, 5, 5))).shape == (6, 12, 12)


def test_output_size_chooses_the_padding(device):
    layer = nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1, device=device)
    x = gg.ones((4, 2, 5), device=device)
    for size in (9, 10):
        assert layer(x, output_size=(size,)).shape == (4, 3, size)
        assert layer(x[0], output_size=[3, size]).shape == (3, size)
    with pytest.raises(
        ValueError, match=r"output_size must be between \(9,\) and \(10,\) for .*11"
    ):
        layer(x, output_size=(11,))


# ---------------------------------------------------------------- errors

X, W = gg.ones((2, 4, 5, 5)), gg.ones((6, 4, 3, 3))
ERRORS = {
    "axes": (lambda: F.conv2d(gg.ones((2, 5)), W),
             r"conv2d: expected an input \(samples, channels, height, width\).*got shape \(2, 5\)"),
    "weight": (lambda: F.conv2d(X, W[0]), r"conv2d: expected a weight .*got shape \(4, 3, 3\)"),
    "channels": (lambda: F.conv2d(X[:, :3], W), r"conv2d: the weight \(6, 4, 3, 3\) takes 4 "
                 r"channels, the input has 3: its shape is \(2, 3, 5, 5\)"),
    "channels of groups": (lambda: F.conv2d(X, W, groups=2), "4 channels for each of 2 groups"),
    "groups": (lambda: F.conv2d(X, W, groups=4), "groups must divide the 6 outputs .*got 4"),
    "group": (lambda: F.conv2d(X, W, groups=0), "groups must be a whole number of 1 or more"),
    "bias": (lambda: F.conv2d(X, W, gg.ones(4)), r"bias must have shape \(6,\).*got \(4,\)"),
    "kernel": (lambda: F.conv2d(X, gg.ones((1, 4, 9, 2)), padding=1, dilation=2),
               "the kernel, 9 × 2, 17 × 3 with its dilation, is larger than the input, 7 × 7 "
               "with its padding"),
    "stride": (lambda: F.conv2d(X, W, stride=0), "stride must be a whole number of 1 or more, or "
               "2 of them for height, width, got 0"),
    "numbers": (lambda: F.conv2d(X, W, dilation=(1, 1, 1)), r"dilation .*got \(1, 1, 1\)"),
    "same": (lambda: F.conv2d(X, W, padding="same", stride=2), "'same' keeps the size only with"),
    "padding": (lambda: F.conv2d(X, W, padding="full"), "padding must be 'same', 'valid' or"),
    "negative": (lambda: nn.Conv1d(1, 1, 1, padding=-1), "Conv1d: padding must be .* 0 or more"),
    "mode": (lambda: nn.Conv1d(1, 1, 1, padding_mode="wrap"), "padding_mode must be 'zeros' or "
             "'reflect' or .*got 'wrap'"),
    "sizes": (lambda: nn.Conv1d(0, 1, 1), "in_channels must be a whole number of 1 or more, got 0"),
    "layer": (lambda: nn.Conv1d(3, 4, 1, groups=2), "groups must divide in_channels, got 2 groups"),
    "transposed": (lambda: F.conv_transpose2d(X, W), "takes 6 channels, the input has 4"),
    "inputs": (lambda: F.conv_transpose2d(X, W, groups=4), "groups must divide the 6 inputs"),
    "extra": (lambda: F.conv_transpose2d(X, W.swapaxes(0, 1), stride=2, output_padding=2),
              r"output_padding must be less than the stride or the dilation, got \(2, 2\)"),
    "nothing": (lambda: F.conv_transpose2d(X, gg.ones((4, 1, 1, 1)), padding=3),
                "nothing is left of the input"),
    "padding of transposed": (lambda: nn.ConvTranspose1d(1, 1, 1, padding="same"),
                              "ConvTranspose1d: padding must be in whole numbers, got 'same'"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_came(name):
    function, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        function()
