"""NumPy's keywords and defaults on tensors: its values, and gradients against differences."""

import numpy as np
import pytest

import gpugrad as gg

A, B = np.arange(1.0, 4.0), np.arange(6.0).reshape(2, 3) / 7

JOINED = {
    "r_ of a vector, a number and a slice": lambda r, c, a, b: r[a, 0, 3:5],
    "r_ of one": lambda r, c, a, b: r[a],
    "r_ of matrices": lambda r, c, a, b: r[b, b],
    "r_ along an axis": lambda r, c, a, b: r["-1", b, b],
    "r_ with more axes": lambda r, c, a, b: r["0,2", a, a],
    "r_ of columns": lambda r, c, a, b: r["1,2,0", a, a],
    "r_ of a list": lambda r, c, a, b: r[[1, 2], a],
    "r_ of a grid": lambda r, c, a, b: r[0:1:5j, a],
    "c_ of vectors": lambda r, c, a, b: c[a, a],
    "c_ of matrices": lambda r, c, a, b: c[b, b],
}


def check(f, arrays, expected, device):
    """The values are NumPy's, and the gradients those of differences."""
    tensors = [gg.tensor(a, device=device) for a in arrays]
    y = f(*tensors)
    assert y.device == gg.Device(device)
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y.cpu().numpy(), expected, rtol=1e-12)
    if expected.dtype.kind == "f":
        weights = np.cos(np.arange(expected.size)).reshape(expected.shape)
        weights = gg.tensor(weights, device=device).data
        assert gg.gradcheck(lambda *args: (f(*args) ** 2 * weights).sum(), tensors)


@pytest.mark.parametrize("name", JOINED)
def test_what_stands_in_brackets_is_joined(name, device):
    write = JOINED[name]
    expected = write(np.r_, np.c_, A, B)
    check(
        lambda a, b: write(gg.r_, gg.c_, a, b) + 0 * (b.sum() + a.sum()), (A, B), expected, device
    )
