"""Every function that is made of others, on every device: against NumPy, and its derivatives.

The tests are generated from `composed.py`.
"""

import composed
import numpy as np
import optable
import pytest

import gpugrad as gg
from gpugrad.engine import forward
from gpugrad.tensor import GRAPH_MODE, Tensor

ALL = pytest.mark.parametrize("case", composed.CASES, ids=repr)
DIFFERENTIABLE = pytest.mark.parametrize(
    "case", [case for case in composed.CASES if case.gradient], ids=repr
)


def floats(results):
    return tuple(r for r in results if r.dtype.kind == "f")


def values(case, arrays):
    with gg.no_grad(), gg.device("cpu"):
        return floats(case.apply([gg.tensor(a) for a in arrays]))


@ALL
def test_forward_is_numpy_s(case, device):
    arrays = case.arrays()
    tensors = [gg.tensor(a, device=device) for a in arrays]
    with np.errstate(all="ignore"):
        wanted = case.expected(arrays)
        got = case.apply(tensors)
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        if isinstance(other, bool):
            assert one is other
            continue
        other = np.asarray(other)
        assert isinstance(one, Tensor)
        assert one.device == device
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one.cpu().numpy(), other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "case",
    [case for case in composed.CASES if hasattr(np, case.name) and case.numpy],
    ids=repr,
)
def test_numpy_s_own_function_takes_tensors(case):
    own = getattr(np, case.name)
    tensors = [gg.tensor(a) for a in case.arrays()]
    with np.errstate(all="ignore"):
        got = composed.outputs_of(case.call(own, *tensors))
        wanted = case.apply(tensors)
    for one, other in zip(got, wanted, strict=True):
        assert type(one) is type(other)
        if isinstance(one, Tensor):
            np.testing.assert_array_equal(one.numpy(), other.numpy())


@DIFFERENTIABLE
def test_first_derivative(case, device):
    arrays = case.arrays()
    tensors = [gg.tensor(a, device=device, requires_grad=True) for a in arrays]
    result = floats(case.apply(tensors))
    weights = optable.weights_for(result)
    host = [w.cpu() for w in weights]
    optable.scalar(result, weights).backward()

    def value(*moved):
        return optable.scalar(values(case, moved), host).item()

    slopes = optable.reference(lambda: optable.numeric_gradients(value, arrays), "first", id(case))
    for tensor, slope in zip(tensors, slopes, strict=True):
        own = np.zeros_like(slope) if tensor.grad is None else tensor.grad.cpu().numpy()
        assert own.shape == tensor.shape
        np.testing.assert_allclose(own, slope, rtol=2e-6, atol=1e-7)


@DIFFERENTIABLE
def test_second_derivative(case, device):
    """The gradient of <gradient, v>, against differences of the first gradient."""
    arrays = case.arrays()
    rng = np.random.default_rng(5)
    directions = [rng.uniform(-1, 1, a.shape) for a in arrays]

    def slope_along(device, moved, create_graph):
        tensors = [gg.tensor(a, device=device, requires_grad=True) for a in moved]
        with gg.device(device):
            squares = tuple(r * r for r in floats(case.apply(tensors)))
        total = optable.scalar(squares, optable.weights_for(squares))
        found = gg.gradients(total, tensors, create_graph=create_graph, allow_unused=True)
        terms = [
            (g * gg.tensor(np.asarray(d), device=device)).sum()
            for g, d in zip(found, directions, strict=True)
            if g is not None
        ]
        return tensors, sum(terms[1:], terms[0])

    tensors, along = slope_along(device, arrays, create_graph=True)
    got = gg.gradients(along, tensors, allow_unused=True)

    def value(*moved):
        return slope_along("cpu", moved, create_graph=False)[1].item()

    slopes = optable.reference(lambda: optable.numeric_gradients(value, arrays), "second", id(case))
    for g, wanted in zip(got, slopes, strict=True):
        own = np.zeros_like(wanted) if g is None else g.cpu().numpy()
        np.testing.assert_allclose(own, wanted, rtol=1e-5, atol=1e-6)


@DIFFERENTIABLE
def test_forward_mode(case, device):
    arrays = case.arrays()
    tensors = [gg.tensor(a, device=device, requires_grad=True) for a in arrays]
    rng = np.random.default_rng(5)
    directions = [rng.uniform(-1, 1, a.shape) for a in arrays]
    result = floats(case.apply(tensors))
    known = {
        t._node: gg.tensor(np.asarray(d), device=device)
        for t, d in zip(tensors, directions, strict=True)
    }
    tangents = forward.push(known, [r._node for r in result], GRAPH_MODE)
    moved = [
        values(case, [a + step * d for a, d in zip(arrays, directions, strict=True)])
        for step in (1e-6, -1e-6)
    ]
    for tangent, up, down in zip(tangents, *moved, strict=True):
        slope = (up.numpy() - down.numpy()) / 2e-6
        own = np.zeros_like(slope) if tangent is None else tangent.detach().cpu().numpy()
        assert own.shape == slope.shape
        np.testing.assert_allclose(own, slope, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@DIFFERENTIABLE
def test_results_and_gradients_have_their_data_s_dtype(case, dtype, device):
    tensors = [gg.tensor(a, device=device, requires_grad=True) for a in case.arrays(dtype)]
    result = floats(case.apply(tensors))
    if "rising" not in case.call.__code__.co_names:  # float64 coordinates beside the data
        wanted = case.dtype or dtype
        assert all(r.dtype == wanted for r in result)
    sum(r.sum() for r in result).backward()
    for tensor in tensors:
        assert tensor.grad is None or tensor.grad.dtype == dtype
