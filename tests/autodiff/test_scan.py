"""gg.scan in eager code: as a loop of Python, with derivatives, checkpoints and sentences."""

import numpy as np
import pytest
from scans import CASES, by_hand, inputs

import gpugrad as gg
from gpugrad.backend.device import to_numpy


def derivatives(f, x, w, scan, **kwargs):
    """The value, the gradients, a Hessian's product and a tangent."""

    def loss(pair):
        return f(scan, *pair, **kwargs)

    value, gradients = gg.value_and_grad(loss)((x, w))
    direction = gg.ones_like(x), w
    curvatures = gg.hvp(loss, (x, w), direction)
    _, tangent = gg.jvp(loss, ((x, w),), (direction,))
    return [to_numpy(one.data) for one in (value, *gradients, *curvatures, tangent)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kwargs", [{}, {"reverse": True}, {"checkpoint": 2}], ids=str)
def test_a_scan_is_a_loop(device, name, kwargs):
    x, w = inputs(device)
    expected = derivatives(CASES[name], x, w, by_hand, **kwargs)
    for got, one in zip(derivatives(CASES[name], x, w, gg.scan, **kwargs), expected, strict=True):
        np.testing.assert_allclose(got, one, rtol=1e-12, atol=1e-12)


def test_raw_arrays_and_numbers_stay_what_they_are(device):
    xs = device.send(np.arange(4, dtype=np.float32))
    carry, ys = gg.scan(lambda c, x: (c + x, {"twice": c * 2, "none": None}), 1.0, xs)
    assert not isinstance(ys["twice"], gg.Tensor)
    assert ys["none"] is None
    assert (float(carry), carry.dtype) == (7, np.float32)
    np.testing.assert_array_equal(to_numpy(ys["twice"][1:]), [2, 4, 8])
    assert gg.scan(lambda c, x: (c + 1, c), 0, length=3)[1].tolist() == [0, 1, 2]


def test_a_checkpoint_keeps_no_graph_between_carries():
    """What a step saves is there for one segment at a time."""
    x = gg.ones(64, requires_grad=True)
    seen = []

    def step(carry, one):
        seen.append(carry)
        return gg.sin(carry * one), None

    carry, _ = gg.scan(step, gg.ones(()), x, checkpoint=8)
    assert len(seen) == 64
    carry.backward()
    assert len(seen) == 2 * 64


X = np.ones((3, 2), np.float32)
REFUSED = {
    "no function": (lambda: gg.scan(3, 0.0, X), "expected a function"),
    "no pair": (lambda: gg.scan(lambda c, x: c, 0.0, X), r"return a pair \(carry, y\)"),
    "shape": (lambda: gg.scan(lambda c, x: (x, x), 0.0, X), r"float32 of shape \(2,\)"),
    "dtype": (lambda: gg.scan(lambda c, x: (c * 1.5, 0), np.arange(3), X), "carry was int64"),
    "later dtype": (
        lambda: gg.scan(lambda c, x: (x[0] if c == 0 else x[0] > 0, 0), 0.0, X),
        "returns bool",
    ),
    "structure": (lambda: gg.scan(lambda c, x: ((c, c), 0), 0.0, X), "structure"),
    "ys": (lambda: gg.scan(lambda c, x: (c + 1, [c] * int(c)), 1.0, X), "ys of one structure"),
    "lengths": (lambda: gg.scan(lambda c, x: (c, 0), 0.0, (X, X[:2])), "equal length"),
    "length": (lambda: gg.scan(lambda c, x: (c, 0), 0.0, X, 4), "length=4"),
    "no length": (lambda: gg.scan(lambda c, x: (c, 0), 0.0), "neither xs nor length"),
    "empty": (lambda: gg.scan(lambda c, x: (c, 0), 0.0, X[:0]), "a length of 0"),
    "negative": (lambda: gg.scan(lambda c, x: (c, 0), 0.0, None, -1), "whole number"),
    "numbers": (lambda: gg.scan(lambda c, x: (c, 0), 0.0, [1.0, 2.0]), "got a number"),
    "text": (lambda: gg.scan(lambda c, x: (c, 0), 0.0, "abc"), "got str"),
    "checkpoint": (lambda: gg.scan(lambda c, x: (c, 0), 0.0, X, checkpoint=0), "checkpoint"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_scan_is_refused_with_a_sentence(name):
    call, words = REFUSED[name]
    with pytest.raises(gg.GpugradError, match=f"^scan: .*{words}"):
        call()


@pytest.mark.parametrize("name", ["while_loop", "fori_loop"])
def test_loops_of_jax_are_told(name):
    with pytest.raises(AttributeError, match=r"gg\.scan"):
        getattr(gg, name)
