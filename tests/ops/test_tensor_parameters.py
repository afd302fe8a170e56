"""Tensors as parameters of ops: by each parameter of the table a gradient, or an error.

A parameter that is not in ``smooth`` of its entry has no derivative: a tensor of floating-point
numbers there is refused, of whole numbers it may be an axis or a count.
"""

import numpy as np
import optable
import pytest
from arrays import host

import gpugrad as gg
from gpugrad.engine.op import TABLE

F = gg.nn.functional
CASES = [
    (op, name)
    for op in TABLE.values()
    if op.public and op.samples is not None
    for name, parameter in op.parameters.items()
    if parameter.default is not parameter.empty
]
SMOOTH = [(op, name) for op in TABLE.values() for name in op.smooth]


def sample_with(op, name):
    return next(
        (one for one in optable.samples(op) if name in one.parameters), optable.samples(op)[0]
    )


def call(op, sample, tensors, name, value):
    function = optable.bound(op)
    return optable.outputs_of(function(*tensors, **sample.parameters | {name: value}))


@pytest.mark.parametrize(("op", "name"), CASES, ids=optable.case_id)
def test_a_parameter_has_a_gradient_or_is_refused(op, name, device):
    sample = sample_with(op, name)
    tensors = optable.tensors_for(op, sample, device=device)
    value = gg.tensor(1.0, device=device, requires_grad=True)
    if name in op.smooth:
        (y,) = call(op, sample, tensors, name, value)
        assert gg.gradients(y.sum(), value).shape == ()
        return
    for one in (value, value.detach()):
        with pytest.raises(gg.DTypeError, match=f"{name} must not be a tensor of float32"):
            call(op, sample, tensors, name, one)


@pytest.mark.parametrize(("op", "name"), SMOOTH, ids=optable.case_id)
def test_the_gradient_by_a_parameter_is_that_of_differences(op, name, device):
    sample = sample_with(op, name)
    number = float(sample.parameters.get(name, op.parameters[name].default))
    tensors = optable.tensors_for(op, sample, device=device)
    value = gg.tensor(np.array(number), device=device, requires_grad=True)
    (y,) = call(op, sample, tensors, name, value)
    (plain,) = call(op, sample, tensors, name, number)
    np.testing.assert_allclose(host(y), host(plain), rtol=1e-12)
    step = 1e-6
    up, down = (call(op, sample, tensors, name, number + d)[0].sum() for d in (step, -step))
    right = (up.item() - down.item()) / (2 * step)
    by_value, *by_arrays = gg.gradients(y.sum(), [value, *tensors])
    assert by_value.item() == pytest.approx(right, rel=1e-5, abs=1e-7)
    for ours, own in zip(by_arrays, gg.gradients(plain.sum(), tensors), strict=True):
        np.testing.assert_allclose(host(ours), host(own), rtol=1e-9, atol=1e-12)


def test_a_slope_is_learned(device):
    slope = gg.nn.Parameter(gg.tensor(0.25, device=device))
    x = gg.tensor([-2.0, 4.0], device=device)
    for y in (F.leaky_relu(x, slope), x.leaky_relu(slope), F.leaky_relu(x, negative_slope=slope)):
        assert host(y).tolist() == [-0.5, 4]
        assert gg.gradients(y.sum(), slope).item() == -2
    layer = gg.nn.Sequential(gg.nn.Linear(1, 1, bias=False, device=device), gg.nn.LeakyReLU(slope))
    layer(gg.full((1, 1), -3.0, device=device)).sum().backward()
    assert layer[0].weight.grad is not None
    assert slope.grad is not None
    curvature = gg.grad(gg.grad(lambda s: (F.leaky_relu(x, s) ** 2).sum()))(slope.detach())
    assert curvature.item() == 8


def test_a_list_beside_a_slope(device):
    slope = gg.tensor(0.5, device=device)
    assert host(F.leaky_relu([-2.0, 4.0], slope)).tolist() == [-1, 4]


def test_whole_numbers_in_tensors_are_axes_and_counts():
    x, one = gg.tensor([[1.0, 2.0], [3.0, 5.0]]), gg.asarray(1)
    assert x.sum(axis=one).tolist() == [3, 8]
    assert x.softmax(axis=one).shape == (2, 2)
    assert x.var(correction=one).item() == x.var(correction=1).item()


def test_freedom_as_an_operand_without_freedom():
    x = gg.tensor([1.0, 2.0, 4.0])
    assert gg.var(x, correction=gg.tensor(3.0)).item() == np.inf
    assert np.isnan(gg.var(x * 0, correction=gg.tensor(3.0)).item())
