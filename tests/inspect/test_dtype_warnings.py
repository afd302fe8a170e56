"""`gg.debug_mode` says where a dtype changed that nobody cast."""

import warnings

import numpy as np
import pytest

import gpugrad as gg


def _narrow(device):
    return gg.tensor([1.0, 2.0], device=device, requires_grad=True)


def _wide(device):
    return gg.tensor(np.array([1.0, 2.0]), device=device, requires_grad=True)


def _assigned(device):
    rows = gg.zeros(2)
    rows[0] = _wide(device)[0] ** 2


CHANGES = {
    "scalar of NumPy": (lambda d: _narrow(d) / np.sqrt(2.0),
                        "divide: argument 0 is float32, but the result is float64: argument 1, a "
                        "number, is float64"),
    "whole numbers": (lambda d: _narrow(d) * gg.asarray([1, 2]), "of shape .2,., is int64"),
    "two precisions": (lambda d: gg.stack([_narrow(d), _wide(d)]), "stack: argument 0 is float32"),
    "zeros": (_assigned, "argument 1 is float64, but the result is float32"),
    "at": (lambda d: gg.zeros(2).at[0].set(_wide(d)[0]), "but the result is float32"),
    "layer": (lambda d: gg.nn.Linear(2, 3)(_wide(d)), "argument 1 is float32, but the result is"),
    "complex": (lambda d: _narrow(d) * np.complex128(1j), "but the result is complex128"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_precision_is_told_at_its_line(name, device):
    change, text = CHANGES[name]
    with gg.debug_mode(), pytest.warns(gg.DTypeWarning, match=text) as caught:
        change(device)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        change(device)  # outside of the block nothing is said


def test_what_is_cast_or_stays_is_not_told(device):
    x, wide = _narrow(device), _wide(device)
    with gg.debug_mode():
        y = (x * 2.5 / 3 + [1.1, 2.2]).sum() + gg.fft.fft(x).real.sum() + abs(x * 1j).sum()
        y.backward(create_graph=True)
        z = (x.astype("float64") * wide).sum() + gg.sum(x, dtype="float64")
        z.backward(create_graph=True)
        gg.nn.Linear(2, 3)(x).sum().backward()
        gg.zeros_like(wide).at[[0, 1]].set(x).sum().backward()
        gg.nn.functional.cross_entropy(x[None], gg.asarray([1])).backward()
