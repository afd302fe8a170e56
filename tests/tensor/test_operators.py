"""Operators: with all that can stand beside a tensor, on either side, and in place."""

import math
import operator

import numpy as np
import pytest
from arrays import host, made

import gpugrad as gg
from gpugrad import Tensor

BINARY = {
    operator.add: 1, operator.sub: 1, operator.mul: 1, operator.truediv: 1, operator.pow: 1,
    operator.floordiv: 0, operator.mod: 1, operator.lt: 0, operator.le: 0, operator.gt: 0,
    operator.ge: 0, operator.eq: 0, operator.ne: 0,
}  # fmt: skip


@pytest.mark.parametrize("f", BINARY, ids=lambda f: f.__name__)
def test_operators_with_all_that_can_stand_beside_a_tensor(f, device):
    values = np.array([1.5, 2.0, 0.75])
    other = np.array([2.0, 2.0, 0.5])
    raw = device.send(other)
    operands = [
        (made(other, device), other), (gg.tensor(raw), other), (raw, other), (2, 2), (2.0, 2.0),
        (True, True), (np.float64(2), 2.0), (np.float32(2), 2.0), ([2, 2, 0.5], other),
    ]  # fmt: skip
    for operand, own in operands:
        for left in (False, True):
            x = made(values, device)
            y = f(operand, x) if left else f(x, operand)
            expected = f(own, values) if left else f(values, own)
            assert isinstance(y, Tensor), (operand, left)
            assert y.device == device
            np.testing.assert_allclose(host(y), expected, rtol=1e-15)
            if f in (operator.eq, operator.lt):
                assert y.dtype == np.bool_
            elif BINARY[f]:
                y.sum().backward()
                assert x.grad is not None
            else:
                assert not y.requires_grad or f is operator.floordiv


def test_matmul_with_all_that_can_stand_beside_a_tensor(device):
    values = np.arange(4.0).reshape(2, 2)
    other = np.array([[1.0, -1.0], [2.0, 0.5]])
    for operand in (made(other, device), device.send(other), other.tolist()):
        x = made(values, device)
        for y, expected in ((operand @ x, other @ values), (x @ operand, values @ other)):
            assert isinstance(y, Tensor)
            np.testing.assert_array_equal(host(y), expected)
            x.zero_grad()
            y.sum().backward()
            assert x.grad is not None


def test_the_gradients_of_reflected_forms(device):
    v = 1.7
    for f, slope in (
        (lambda x: 10 - x, -1),
        (lambda x: 10 / x, -10 / v**2),
        (lambda x: 2**x, 2**v * math.log(2)),
        (lambda x: x**2, 2 * v),
        (lambda x: x**x, v**v * (math.log(v) + 1)),
        (lambda x: 10 % x, -5),
        (lambda x: x % 1, 1),
        (lambda x: 10 // x, 0),
        (lambda x: -x, -1),
        (lambda x: +x, 1),
        (lambda x: abs(-x), 1),
        (lambda x: sum([x, x, x]), 3),
    ):
        x = made(v, device)
        f(x).backward()
        assert x.grad.item() == pytest.approx(slope, rel=1e-14, abs=1e-14)


def test_operators_of_integers_and_booleans(device):
    a, b = (gg.tensor(np.array(v), device=device) for v in ([6, 3], [3, 1]))
    assert [(a & b).tolist(), (a | b).tolist(), (a ^ b).tolist()] == [[2, 1], [7, 3], [5, 2]]
    assert [(a << b).tolist(), (a >> 1).tolist(), (~a).tolist()] == [[48, 6], [3, 1], [-7, -4]]
    assert [(1 | b).tolist(), (8 >> b).tolist()] == [[3, 1], [1, 4]]
    assert (a / b).dtype == np.float64
    assert (a // b).dtype == (a * 2).dtype == np.int64


def test_in_place_forms_outside_a_graph_change_memory(device):
    t = made([4.0, 9.0], device, requires_grad=False)
    raw, view = t.data, t[:1]
    t += 1
    t -= made([1.0, 2.0], device, requires_grad=False)
    t *= 3
    t /= 2
    t **= 2
    assert t.data is raw
    expected = ((np.array([4.0, 9.0]) + 1 - [1, 2]) * 3 / 2) ** 2
    np.testing.assert_allclose(host(t), expected)
    assert view.item() == t[0].item()
    t //= 5
    t %= 4
    np.testing.assert_array_equal(host(t), expected // 5 % 4)
    m = made(np.eye(2), device, requires_grad=False)
    m @= 2 * gg.eye(2, dtype="float64", device=device)
    assert m.tolist() == [[2.0, 0.0], [0.0, 2.0]]
    flags = gg.tensor(np.array([True, False]), device=device)
    flags &= flags
    flags |= True
    assert flags.tolist() == [True, True]


def test_in_place_forms_in_a_graph_change_the_tensor_under_all_its_names(device):
    x = made([1.0, 2.0], device)
    y = x * 2
    before = y
    y += x
    y *= y
    assert y is before
    assert before.tolist() == [9.0, 36.0]
    c = made([1.0, 1.0], device, requires_grad=False)
    kept = c
    c += x
    assert kept.tolist() == [2.0, 3.0]
    (y.sum() + c.sum()).backward()
    np.testing.assert_allclose(host(x.grad), 18 * np.array([1.0, 2.0]) + 1)


def test_a_list_beside_an_array_takes_its_dtype(device):
    """Rounded to the default dtype first, 0.1 would be 0.10000000149."""
    x = gg.tensor(np.zeros(2), device=device)
    for result in (gg.add(x, [0.1, 0.2]), x.__radd__([0.1, 0.2]), gg.maximum([0.1, 0.2], x)):
        assert result.tolist() == [0.1, 0.2]
    half = gg.tensor(np.zeros(2, np.float16), device=device)
    assert gg.add(half, [0.1, 0.2]).dtype == np.float16
