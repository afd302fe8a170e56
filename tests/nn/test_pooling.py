"""Pools, interpolation, folding and padding against PyTorch's figures; ties, dtypes and errors."""

import json
from pathlib import Path

import numpy as np
import pytest
from arrays import host

import gpugrad as gg

F = gg.nn.functional
nn = gg.nn
FIGURES = dict(np.load(Path(__file__).parents[1] / "data" / "pytorch" / "pooling.npz"))
CASES = list(enumerate(json.loads(str(FIGURES["cases"]))))
CLASSES = {
    "max_pool1d": "MaxPool1d", "max_pool2d": "MaxPool2d", "max_pool3d": "MaxPool3d",
    "avg_pool1d": "AvgPool1d", "avg_pool2d": "AvgPool2d", "avg_pool3d": "AvgPool3d",
    "adaptive_avg_pool1d": "AdaptiveAvgPool1d", "adaptive_avg_pool2d": "AdaptiveAvgPool2d",
    "adaptive_avg_pool3d": "AdaptiveAvgPool3d", "adaptive_max_pool1d": "AdaptiveMaxPool1d",
    "adaptive_max_pool2d": "AdaptiveMaxPool2d", "adaptive_max_pool3d": "AdaptiveMaxPool3d",
    "interpolate": "Upsample", "unfold": "Unfold", "fold": "Fold",
    "pixel_shuffle": "PixelShuffle", "pixel_unshuffle": "PixelUnshuffle",
}  # fmt: skip


# ---------------------------------------------------------------- PyTorch's figures


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1][0]}")
def test_values_and_derivatives_are_pytorch_s(case, device):
    index, (name, words) = case
    wanted = {key: FIGURES[f"{index}.{key}"] for key in ("x", "y", "g", "first", "second")}
    x = gg.tensor(wanted["x"], device=device, requires_grad=True)
    g = gg.tensor(wanted["g"], device=device)
    y = getattr(F, name)(x, **words)
    if words.get("return_indices"):
        y, places = y
        assert places.dtype == np.int64
        np.testing.assert_array_equal(host(places), FIGURES[f"{index}.places"])
    (first,) = gg.gradients((y * g).sum(), [x], retain_graph=True)
    (d,) = gg.gradients((y * y * g).sum(), [x], create_graph=True)
    (second,) = gg.gradients((d * d).sum(), [x])
    for key, ours in (("y", y), ("first", first), ("second", second)):
        np.testing.assert_allclose(host(ours), wanted[key], rtol=1e-9, atol=1e-9, err_msg=key)
    if name in CLASSES:
        layer = getattr(nn, CLASSES[name])(**words)
        result = layer(x)
        result = result[0] if words.get("return_indices") else result
        np.testing.assert_array_equal(host(result), host(y))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("Zero", "constant"), ("Constant", "constant"), ("Reflection", "reflect"),
     ("Replication", "replicate"), ("Circular", "circular")],
)  # fmt: skip
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_padding_layers_are_pad(kind, mode, axes, rng):
    x = gg.tensor(rng.standard_normal((2, 3, *(4,) * axes)))
    value = {"value": 0.5} if kind == "Constant" else {}
    for padding in (2, [1, 2, 0, 1, 2, 1][: 2 * axes]):
        layer = getattr(nn, f"{kind}Pad{axes}d")(padding, **value)
        ends = [2] * (2 * axes) if padding == 2 else padding
        np.testing.assert_array_equal(host(layer(x)), host(F.pad(x, ends, mode, **value)))
        assert not layer.state_dict()
    with pytest.raises(ValueError, match=rf"padding must be a whole number, or {2 * axes} of them"):
        getattr(nn, f"{kind}Pad{axes}d")((1,), **value)


# ---------------------------------------------------------------- the largest element


def test_of_elements_that_tie_the_first_has_the_gradient(device):
    x = gg.tensor([[[2.0, 2.0, 1.0], [2.0, 0.0, 1.0]]], device=device, requires_grad=True)
    F.max_pool2d(x, 2, stride=1).sum().backward()
    assert x.grad.tolist() == [[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]
    x = gg.tensor([[3.0, 3.0, 1.0, 1.0, 1.0]], device=device, requires_grad=True)
    F.adaptive_max_pool1d(x, 2).sum().backward()
    assert x.grad.tolist() == [[1.0, 0.0, 1.0, 0.0, 0.0]]


def test_nan_is_the_largest_of_all(device):
    x = gg.tensor([[1.0, np.nan, 3.0, 2.0, -np.inf, -np.inf]], device=device, requires_grad=True)
    y = F.max_pool1d(x, 2)
    np.testing.assert_array_equal(host(y), [[np.nan, 3.0, -np.inf]])
    y.sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0, 1.0, 0.0, 1.0, 0.0]]


def test_what_was_not_chosen_has_no_gradient_whatever_it_is(device):
    """The slope of sqrt is infinite at 0: zero by choice, not zero times infinity."""
    x = gg.tensor([[0.0, 4.0, 0.0, 9.0]], device=device, requires_grad=True)
    for pool in (F.max_pool1d, lambda t, size: F.max_pool1d(t, size, 1)):
        (d,) = gg.gradients(pool(gg.sqrt(x), 2).sum(), [x], create_graph=True)
        assert host(d)[0, 0] == host(d)[0, 2] == 0
        (second,) = gg.gradients(d.sum(), [x])
        assert np.isfinite(host(second)).all()


def test_whole_numbers_have_a_largest_one(device):
    x = gg.asarray([[[-5, -7], [-6, -8]]], device=device)
    assert F.max_pool2d(x, 2).tolist() == [[[-5]]]
    assert F.interpolate(x[None], size=1).dtype == x.dtype


def test_channels_that_are_last_in_memory_stay_there():
    """So the layers of a network exchange no layouts."""
    x = gg.ones((2, 8, 6, 6), requires_grad=True)
    y = nn.Conv2d(8, 16, 3, padding=1)(x)
    assert y.data.strides[1] == y.data.itemsize
    pooled = F.max_pool2d(y.relu(), 2)
    assert pooled.data.strides[1] == y.data.itemsize


# ---------------------------------------------------------------- dtypes


def test_half_precision_is_averaged_in_float32(device):
    x = gg.full((1, 1, 300, 300), 30.0, dtype="float16", device=device).requires_grad_()
    y = F.avg_pool2d(x, 300)
    assert y.dtype == np.float16
    assert y.item() == 30.0
    y = F.interpolate(x, size=5, mode="area")
    assert y.dtype == np.float16
    y.sum().backward()
    np.testing.assert_allclose(host(x.grad).astype(float), 25 / 90_000, rtol=2e-3)


def test_infinities_stay_near_when_they_are_interpolated(device):
    x = gg.tensor([[[1.0, 2.0, np.inf, 4.0, 5.0]]], device=device)
    with np.errstate(invalid="ignore"):
        y = host(F.interpolate(x, size=9, mode="linear", align_corners=True))
    np.testing.assert_array_equal(y[0, 0, [0, 1, 7, 8]], [1.0, 1.5, 4.5, 5.0])


# ---------------------------------------------------------------- errors

X = gg.ones((2, 4, 5, 6))
ERRORS = {
    "axes": (lambda: F.max_pool2d(X[0, 0], 2), r"expected an input \(samples, channels, height"),
    "kernel": (lambda: F.max_pool2d(X, 7), "a window of 7 × 7 is larger than the input, 5 × 6 "
               r"with its padding. The shape of the input is \(2, 4, 5, 6\)"),
    "padding": (lambda: F.avg_pool2d(X, 2, padding=2), "padding must be at most half of the "
                r"kernel, 2 × 2, got \(2, 2\)"),
    "numbers": (lambda: nn.MaxPool2d((2, 2, 2)), r"MaxPool2d: kernel_size must be .*\(2, 2, 2\)"),
    "divisor": (lambda: F.avg_pool2d(X, 2, divisor_override=0), "divisor_override must be a"),
    "output_size": (lambda: nn.AdaptiveAvgPool2d(0), "output_size must be a whole number of 1"),
    "empty": (lambda: F.adaptive_max_pool2d(X[:, :, :0], 1), "is empty: there is nothing to pool"),
    "mode": (lambda: F.interpolate(X, 3, mode="cubic"), "mode must be one of .*got 'cubic'"),
    "mode's axes": (lambda: F.interpolate(X, 3, mode="linear"), "mode 'linear' is for 3 axes"),
    "corners": (lambda: F.interpolate(X, 3, align_corners=True), "align_corners is for the modes"),
    "antialias": (lambda: F.interpolate(X, 3, antialias=True), "there is no antialias"),
    "both": (lambda: F.interpolate(X, 3, 2.0), "expected size or scale_factor, one of them"),
    "neither": (lambda: F.interpolate(X), "expected size or scale_factor, one of them"),
    "factor": (lambda: F.interpolate(X, scale_factor=(1, 2, 3)), "scale_factor must be a positive"),
    "nothing": (lambda: F.interpolate(X, scale_factor=0.1), "nothing is left of shape"),
    "unfold": (lambda: F.unfold(X, 7), "unfold: a window of 7 × 7 is larger than the image, 5 × 6"),
    "fold": (lambda: F.fold(gg.ones((2, 8, 5)), (3, 3), 2), r"fold: expected columns \(samples, "
             r"channels · 4, 4\) for 2 × 2 windows of 2 × 2, .*got shape \(2, 8, 5\)"),
    "shuffle": (lambda: F.pixel_shuffle(X, 3), r"channels · 9, height, width\), got"),
    "unshuffle": (lambda: F.pixel_unshuffle(X, 2), r"height · 2, width · 2\), got"),
    "pad": (lambda: F.pad(X, (1, 2, 3)), r"pad must list two whole numbers.*got \(1, 2, 3\)"),
    "pad's mode": (lambda: F.pad(X, (1, 1), "edge"), "mode must be one of .*got 'edge'"),
    "pad's value": (lambda: F.pad(X, (1, 1), "reflect", 0.0), "mode 'reflect' takes no value"),
    "reflection": (lambda: F.pad(X, (6, 0), "reflect"), "mode 'reflect' adds 0 to 5 elements at "
                   r"each end of axis 3 of shape \(2, 4, 5, 6\), got \(6, 0\)"),
    "cut": (lambda: F.pad(X, (-4, -4)), "an axis of 6 elements cannot be cut by -4 and -4"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_came(name):
    function, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        function()


def test_means_of_whole_numbers_are_refused():
    for function in (F.avg_pool1d, F.adaptive_avg_pool1d):
        with pytest.raises(TypeError, match="expected floating-point numbers, got int64"):
            function(gg.asarray([[1, 2, 3, 4]]), 2)
