"""Tensors of values, and values of tensors."""

import numpy as np

import gpugrad as gg
from gpugrad.backend import to_numpy

__all__ = ["close", "host", "leaf", "made", "raw"]


TOLERANCES = {"rtol": 1e-6, "atol": 1e-8}


def host(tensor):
    """The values of a tensor as a NumPy array."""
    return tensor.detach().cpu().numpy()


def leaf(*values, **named):
    """A vector that requires a gradient."""
    return gg.tensor(list(values), requires_grad=True, **named)


def made(values, device, requires_grad=True, dtype=np.float64):
    """A tensor of float64 on a device."""
    array = np.array(values, dtype=dtype)
    return gg.tensor(array, device=device, requires_grad=requires_grad)


def raw(device, values):
    """Values of float64 as a raw array on a device."""
    return device.send(np.asarray(values, dtype=np.float64))


def close(value, expected, **tolerances):
    """A tensor or array has these values, to 1e-6."""
    value = value.detach().data if isinstance(value, gg.Tensor) else value
    np.testing.assert_allclose(to_numpy(value), expected, **TOLERANCES | tolerances)
