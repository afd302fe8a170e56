"""A walk from a sum: the gradient of (a * b).sum() by a is b, which nothing computes.

It equals that of a walk that begins with ones as any other gradient, in every order, and shares no
memory with b. Sums of such sums are passed as well.
"""

import contextlib
import itertools

import numpy as np
import pytest
from arrays import leaf
from devices import in_turn

import gpugrad as gg
from gpugrad.engine import follow


@pytest.fixture(autouse=True)
def nothing_moved(monkeypatch):
    """As in a process that has moved no recorded tensor: gradients are not followed."""
    monkeypatch.setattr(follow, "_moved", False)


def counted(y):
    """How many operations a tensor was computed by."""
    nodes = {y.grad_fn}
    waiting = [y.grad_fn]
    while waiting:
        new = {parent for parent in waiting.pop().parents if parent is not None} - nodes
        waiting += [node for node in new if node.op is not None]
        nodes |= new
    return sum(node.op is not None for node in nodes)


def orders(function, operands, seed):
    """The derivatives of a sum, plain, recorded and second, with respect to every operand."""
    tensors = [gg.tensor(operand, requires_grad=True) for operand in operands]
    plain = gg.gradients(function(*tensors), tensors, seed, allow_unused=True)
    first = gg.gradients(function(*tensors), tensors, seed, create_graph=True, allow_unused=True)
    total = sum(((d * d).sum() for d in first if d is not None), gg.tensor(0.0))
    second = gg.gradients(total, tensors, allow_unused=True) if total.requires_grad else []
    return [d for d in (*plain, *first, *second) if d is not None]


def sum_twice(s):
    return (s + s) + (s + s * s)


def of_sum(t, factor):
    return (t * (t + t.sum())).sum() + t.sum() + (t * factor).sum()


FUNCTIONS = {
    "product": lambda a, b: (a * b).sum(),
    "product of results": lambda a, b: (gg.tanh(a) * gg.exp(b)).sum(),
    "axis": lambda a, b: (gg.exp(a) * b).sum(axis=-1).sum(),
    "kept axes": lambda a, b: (gg.exp(a) * b).sum(keepdims=True),
    "square": lambda a, b: (a * a).sum() + 0 * b.sum(),
    "same factor twice": lambda a, b: ((a * b) * (a * b)).sum(),
    "constant": lambda a, b: (gg.exp(a * b) * gg.tensor([1.0, 2.0, 3.0])).sum(),
    "number": lambda a, b: (a * b * 3.0).sum(),
    "number on the left": lambda a, b: (2.0 * gg.exp(a * b)).sum(),
    "no product": lambda a, b: (a + b).sum(),
    "no sum": lambda a, b: (a * b).sum() * (a - b).sum(),
    "number times a sum": lambda a, b: 2.0 * (a * b).sum() * 3.0,
    "sums": lambda a, b: 0 + (a * b).sum() + (gg.exp(a) * b).sum() + a.sum() + gg.sum(b),
    "sums that meet": lambda a, b: sum_twice(a.sum()) + sum_twice((gg.exp(a) * b).sum()),
    "a sum and a product of it": lambda a, b: of_sum(gg.exp(a), b) + of_sum(a * b, a),
    "broadcast sums": lambda a, b: ((gg.exp(a) + b.sum()) + (a * a)).sum() + b.sum(),
    "choice": lambda a, b: (gg.where(a > b, a, b) * gg.relu(a)).sum(),
    "view": lambda a, b: (a.reshape(-1) * gg.exp(a.reshape(-1))).sum() + b.sum(),
    "several outputs": lambda a, b: (gg.split(gg.concatenate([a, a], -1), 2, -1)[1] * a).sum(),
}  # fmt: skip
SHAPES = [((2, 3), (2, 3)), ((2, 3), (3,)), ((1, 3), (2, 1)), ((3,), ())]
DTYPES = [("f4", "f4"), ("f4", "f8"), ("f2", "f4")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_equals_a_walk_from_a_gradient_of_ones(name, device):
    rng = np.random.default_rng(0)
    pairs = list(itertools.product(SHAPES, DTYPES))
    for (one, other), dtypes in in_turn(pairs, device, name):
        if name in ("several outputs", "view") and one != other:
            continue
        operands = [
            rng.uniform(-1, 1, shape).astype(dtype) for shape, dtype in zip((one, other), dtypes)
        ]
        function = FUNCTIONS[name]
        y = function(*map(gg.tensor, operands))
        results = orders(function, operands, None)
        expected = orders(function, operands, gg.ones(y.shape, dtype=y.dtype))
        assert len(results) == len(expected)
        for d, exact in zip(results, expected):
            assert (d.shape, d.dtype, d.device) == (exact.shape, exact.dtype, device)
            rtol = 1e-2 if "f2" in dtypes else 1e-5
            np.testing.assert_allclose(
                d.detach().cpu().numpy(), exact.detach().cpu().numpy(), rtol=rtol, atol=1e-5
            )


def test_nothing_is_computed(device):
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    x, y = gg.exp(a), gg.sin(b)
    by_x, _ = gg.gradients((x * y).sum(), [x, y], create_graph=True)
    assert counted(by_x) == 2  # the sine and a copy of it

    d = gg.gradients((x * y).sum(), a, create_graph=True)
    assert counted(d) == 3  # the exponential, the sine and their product


def test_it_shares_no_memory_with_a_value(device):
    x, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    for wrap in (lambda x: x, lambda x: x + 1.0, lambda x: x.reshape(2, 1).reshape(-1)):
        for c in (b.detach(), b * 1.0):
            d = gg.gradients((wrap(x) * c).sum(), x, create_graph=True)
            x.grad = None
            (wrap(x) * c).sum().backward(create_graph=True)
            with gg.no_grad():
                d *= 2.0
                x.grad *= 2.0
            assert c.tolist() == [3.0, 4.0]


def test_a_hook_may_change_it(device):
    x, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    c = b * 1.0
    seen = []

    def ten_times(g):
        g *= 10.0

    y = x + 1.0
    y.register_hook(ten_times)
    y.grad_fn.register_hook(lambda ds, g: seen.append((ds[0], g)))
    x.register_hook(ten_times)
    d = gg.gradients((y * c).sum(), x, create_graph=True)
    assert d.tolist() == [300.0, 400.0]
    assert c.tolist() == b.tolist() == [3.0, 4.0]
    assert gg.gradients(d.sum(), b).tolist() == [100.0, 100.0]
    assert [t.tolist() for t in seen[0]] == [[30.0, 40.0]] * 2


def test_a_rule_of_a_custom_op_may_change_it(device):
    def vjp(xp, g, y, x):
        g *= 2.0
        return g

    double = gg.custom_op(lambda xp, x: 2.0 * x, vjp)
    x, c = leaf(1.0, 2.0), gg.tensor([3.0, 4.0])
    d = gg.gradients(((double(x) + 1.0) * c).sum(), x, create_graph=True)
    assert d.tolist() == [6.0, 8.0]
    assert c.tolist() == [3.0, 4.0]


def test_it_is_recorded_where_nothing_else_is(device):
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    for y, second in (((a * a).sum(), 2.0), ((gg.exp(b) * a * a).sum(), 2 * np.exp([3.0, 4.0]))):
        with gg.no_grad():
            d = gg.gradients(y, a, create_graph=True)
        np.testing.assert_allclose(gg.gradients(d.sum(), a).tolist(), second, rtol=1e-6)


def test_the_sum_or_the_product_may_be_an_input(device):
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    product = a * b
    total = product.sum()
    ds = gg.gradients(total, [total, product, a], create_graph=True)
    assert [d.tolist() for d in ds] == [1.0, [1.0, 1.0], [3.0, 4.0]]
    ds = gg.gradients(product.sum(), [product, b], create_graph=True)
    assert [d.tolist() for d in ds] == [[1.0, 1.0], [1.0, 2.0]]


def test_a_freed_graph_and_a_changed_value_raise(device):
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    for make in (lambda: (a * b).sum(), lambda: (a * b * 2.0).sum(), lambda: a.sum()):
        y = make()
        y.backward()
        with pytest.raises(gg.GradientError, match="freed"):
            y.backward(create_graph=True)
    y = (a * b).sum()
    with gg.no_grad():
        b += 1.0
    with pytest.raises(gg.GradientError, match="changed in place"):
        gg.gradients(y, a, create_graph=True)


def test_a_plain_walk_passes_sums_and_frees_what_it_passed(device):
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    c = gg.exp(b)
    for retain in (True, False):
        y = a.sum() + (c * 1.0 * a).sum() + gg.tanh(b).sum()
        y.backward(retain_graph=retain)
        again = contextlib.nullcontext() if retain else pytest.raises(gg.GradientError, match="fre")
        with again:
            y.backward()
        c = gg.exp(b)
    np.testing.assert_allclose(a.grad.cpu().numpy(), 3 * (1 + np.exp([3.0, 4.0])), rtol=1e-6)
    d = gg.tensor([5.0, 6.0])

    def vjp(xp, g, y, x):
        g *= 2.0  # a rule may write to its gradient, and leave the saved value as it was
        return g

    double = gg.custom_op(lambda xp, x: 2.0 * x, vjp)
    gg.gradients((double(a) * d).sum() + b.sum(), [a, b])
    assert d.tolist() == [5.0, 6.0]


def test_an_observer_sees_every_operation(device):
    a, b = leaf(1.0, np.nan), leaf(3.0, 4.0)
    y = (a * b).sum()
    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError, match="multiply"):
        gg.gradients(y, b, create_graph=True)
