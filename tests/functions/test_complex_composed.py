"""Functions that are made of others, over complex numbers: NumPy's values, and derivatives.

The tests are generated from `composed.py`.
"""

import composed
import numpy as np
import pytest
from complex_numbers import differences, total, weights_for

import gpugrad as gg
from gpugrad.errors import GpugradError


def arrays_for(case):
    rng = np.random.default_rng(7)
    return [np.asarray(a + 1j * rng.uniform(-0.7, 0.7, a.shape)) for a in case.arrays()]


def floats(results):
    return [y for y in results if y.dtype.kind in "fc"]


@pytest.mark.filterwarnings("error::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("case", composed.CASES, ids=repr)
def test_values_and_gradients(case):
    arrays = arrays_for(case)
    tensors = [gg.tensor(a) for a in arrays]
    try:
        with np.errstate(all="ignore"):
            wanted = case.expected(arrays)
    except Exception:  # noqa: BLE001  whatever NumPy says
        if case.complex != "more":
            with pytest.raises(GpugradError):
                case.apply(tensors)
        return
    if case.complex == "refused":  # NumPy sorts by the real parts first, or casts with a warning
        with pytest.raises(GpugradError, match="expected real numbers, got complex128"):
            case.apply(tensors)
        return
    with np.errstate(all="ignore"):
        for one, other in zip(case.apply(tensors), wanted, strict=True):
            if isinstance(other, bool):
                assert one is other
                continue
            other = np.asarray(other)
            assert one.shape == other.shape
            assert one.dtype == other.dtype or not other.size  # roots of a constant
            np.testing.assert_allclose(one.numpy(), other, rtol=1e-12, atol=1e-12)
        if not case.gradient:
            return
        leaves = [gg.tensor(a, requires_grad=True) for a in arrays]
        if case.complex == "valued":  # the choice of the largest
            with pytest.raises(GpugradError, match="has no derivative for complex numbers"):
                case.apply(leaves)
            return
        results = floats(case.apply(leaves))
        weights = weights_for(results)
        total(results, weights).backward()

        def value(*moved):
            with gg.no_grad():
                return total(floats(case.apply([gg.tensor(a) for a in moved])), weights).item()

        for leaf, slope in zip(leaves, differences(value, arrays), strict=True):
            own = np.zeros_like(slope) if leaf.grad is None else leaf.grad.numpy()
            np.testing.assert_allclose(own, slope, rtol=3e-6, atol=3e-7)
