"""While ops may have a detour, as from the first bfloat16 tensor on, they compute as without."""

import operator

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.engine import detours
from gpugrad.engine.modes import in_rules

NUMBERS = [True, 2, 0.5, 1.5j]
SCALARS = [np.int64(2), np.float32(0.5), np.float64(0.5), np.complex64(1j)]
OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]


@pytest.fixture
def idle_detour():
    """Block in which every op has a detour, which is never taken."""

    def idle(op, operands, parameters):
        return None

    detours.use(idle, True, rank=1)
    yield
    detours.use(idle, False)


@pytest.fixture(params=[False, True], ids=["outside of rules", "in rules"])
def inside(request):
    token = in_rules.set(request.param)
    yield
    in_rules.reset(token)


def _results(function, number, scalar):
    found, values = [], []
    for array in (np.asarray(scalar), np.asarray([scalar])):
        leaf = gg.tensor(array, requires_grad=array.dtype.kind in "fc")
        # Results of 0-d operations hold NumPy scalars, as rules compute with them.
        for tensor in (leaf, leaf * leaf, gg.Tensor(scalar)):
            for operands in ((number, tensor), (tensor, number)):
                y = function(*operands)
                found.append((type(y.data), y.dtype, y.shape, y.requires_grad))
                values.append(y.detach().numpy().item())
    return found, values


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda x: x.dtype.name)
@pytest.mark.parametrize("number", NUMBERS, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("function", OPERATORS, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore")
def test_numbers_beside_scalars(function, number, scalar, inside, request):
    found, values = _results(function, number, scalar)
    request.getfixturevalue("idle_detour")
    passed_by, same_values = _results(function, number, scalar)
    assert passed_by == found
    np.testing.assert_allclose(same_values, values, rtol=0, atol=1e-6)
