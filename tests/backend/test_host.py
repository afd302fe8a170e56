"""NumPy's namespace: what it computes in another way than NumPy has NumPy's results."""

import numpy as np
import pytest

from gpugrad.backend.namespace import namespace_of


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "longdouble", "int64", "complex64"]
)
@pytest.mark.parametrize("shape", [(), (3,), (700,), (30, 40)])
def test_a_choice_between_numbers_and_zero_is_that_of_numpy(shape, dtype):
    """Of many numbers it is made by their bits."""
    rng = np.random.default_rng(5)
    x = np.asarray(rng.normal(size=shape) * 9).astype(dtype)
    if x.size > 3 and x.dtype.kind == "f":
        x.flat[:4] = np.nan, np.inf, -0.0, -np.inf
    truth = np.asarray(rng.random(shape) > 0.4)
    where = namespace_of(x).where
    for condition in (truth, truth.T.copy().T, True, truth.astype(int)):
        for a, b in (
            (x, 0),
            (0, x),
            (x, 0.0),
            (x, 1),
            (1, x),
            (x, x.T.copy().T),
            (-x[::1] if shape else x, 0),
        ):
            y, wanted = where(condition, a, b), np.where(condition, a, b)
            assert y.dtype == wanted.dtype
            np.testing.assert_array_equal(y, wanted)
            np.testing.assert_array_equal(np.signbit(np.real(y)), np.signbit(np.real(wanted)))


def test_a_choice_from_a_view_that_is_not_contiguous():
    x = np.arange(4000.0).reshape(40, 100)[::2, ::-3]
    truth = np.arange(4000).reshape(40, 100)[1::2, ::-3] % 7 > 3
    np.testing.assert_array_equal(namespace_of(x).where(truth, x, 0), np.where(truth, x, 0))
    np.testing.assert_array_equal(namespace_of(x).where(truth, 0, x), np.where(truth, 0, x))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("shape", [(0, 3), (5, 1), (3, 4000), (512, 9), (1500, 7)])
def test_the_sum_of_rows_keeps_its_digits(shape, dtype):
    x = (np.random.default_rng(5).normal(size=shape) + 3).astype(dtype)
    xp = namespace_of(x)
    for rows in (x, x[::2], x.T.copy().T):
        y, wanted = xp.sum_of_rows(rows), rows.astype("D").sum(0)
        assert y.dtype == x.dtype
        np.testing.assert_allclose(y, wanted, rtol=16 * np.finfo(x.dtype).eps)
