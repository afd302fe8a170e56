"""Numbers (arrays with no axes) with an axis: where NumPy takes 0 or -1, gpugrad does."""

import inspect
import warnings

import numpy as np
import pytest
from arrays import host

import gpugrad as gg

# What makes arrays of numbers, calls a function, or contracts axes of two arrays.
OTHERS = {"apply_over_axes", "geomspace", "linspace", "logspace", "tensordot", "trim_zeros"}


def takes_an_axis(name):
    own = getattr(np, name, None)
    if own is None or inspect.isclass(getattr(gg, name)) or name in OTHERS:
        return False
    try:
        return "axis" in inspect.signature(getattr(gg, name)).parameters
    except (TypeError, ValueError):
        return False


NAMES = sorted(name for name in gg.__all__ if takes_an_axis(name))


def of_numpy(name, *args, axis):
    """NumPy's result; None where it raises."""
    with warnings.catch_warnings(action="ignore"):
        try:
            return getattr(np, name)(np.array(2.0), *args, axis=axis)
        except (TypeError, ValueError, IndexError):  # an AxisError is one
            return None


def parts(result):
    return list(result) if isinstance(result, tuple | list) else [result]


@pytest.mark.parametrize("name", NAMES)
def test_an_axis_of_a_number(name, device):
    for axis in (0, -1):
        for args in ((), (0,), (1,)):
            wanted = of_numpy(name, *args, axis=axis)
            if wanted is None:
                continue
            x = gg.tensor(np.array(2.0), device=device, requires_grad=True)
            got = getattr(gg, name)(x, *args, axis=axis)
            for ours, own in zip(parts(got), parts(wanted), strict=True):
                np.testing.assert_array_equal(host(ours), own)
                if ours.requires_grad:
                    assert gg.gradients(ours.sum(), x).shape == ()


def test_the_reductions_are_among_them():
    assert {"sum", "cumprod", "nanmean", "squeeze", "take", "repeat", "argsort"} <= {*NAMES}


def test_softmax_and_logsumexp_of_a_number(device):
    x = gg.tensor(np.array(2.0), device=device)
    for axis in (0, -1):
        assert gg.softmax(x, axis=axis).item() == 1
        assert gg.log_softmax(x, axis=axis).item() == 0
        for keepdims in (False, True):
            y = gg.logsumexp(x, axis=axis, keepdims=keepdims)
            assert (y.shape, y.item()) == ((), 2)


def test_argsort_of_a_number(device):
    """NumPy takes it for a row of one element."""
    number = gg.tensor(4.0, device=device)
    assert [gg.argsort(number, axis=axis).tolist() for axis in (0, -1, None)] == [[0]] * 3
    for axis in (1, -2):
        with pytest.raises(gg.AxisError):
            gg.argsort(number, axis=axis)
