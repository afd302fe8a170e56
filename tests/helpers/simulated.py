"""Arrays of sim beside NumPy's."""

import numpy

import gpugrad.backend.sim as xp


def same(got, expected):
    """Whether a sim array has the dtype, shape and values of a NumPy array."""
    assert type(got) is xp.ndarray
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    numpy.testing.assert_array_equal(got.get(), expected)
