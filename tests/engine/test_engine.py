"""The graph and the walk, apart from the ops: order, accumulation, lifetime, threads."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.backward import reachable, unbroadcast
from gpugrad.engine.op import Op
from gpugrad.engine.record import bind

# Order.


@pytest.fixture
def counted(monkeypatch):
    """``double(x)`` is x + x, and the list of calls of its two rules."""
    calls = []

    def rule(xp, g, y, a, b):
        calls.append(1)
        return g

    return bind(Op("add", "a, b, /", vjp=[rule, rule], kind="elementwise")), calls


def test_a_deep_diamond_visits_each_node_once(counted):
    add, calls = counted
    x = gg.tensor(np.float64(1.0), requires_grad=True)
    y = x
    for _ in range(2000):
        y = add(y, y) * 0.5
    y.backward()
    assert x.grad.item() == 1.0
    assert len(calls) == 2 * 2000


def test_inputs_used_at_several_depths(device):
    x = gg.tensor(np.array([2.0, 3.0]), device=device, requires_grad=True)
    a = x * x
    b = a * x + a
    (b * a + x).sum().backward()  # x**5 + x**4 + x
    v = np.array([2.0, 3.0])
    np.testing.assert_allclose(x.grad.cpu().numpy(), 5 * v**4 + 4 * v**3 + 1)


def test_a_leaf_is_its_own_result(device):
    x = gg.tensor([3.0], device=device, requires_grad=True)
    x.backward()
    assert x.grad.tolist() == [1.0]


def test_serial_numbers_are_a_topological_order():
    x = gg.ones(3, requires_grad=True)
    w = gg.ones(3, requires_grad=True)
    y = ((x * w).sum() + x.exp().sum()) * w.sum()
    nodes = reachable([y._node])
    serials = [node.serial for node in nodes]
    assert serials == sorted(set(serials))
    assert len(nodes) == 9
    for node in nodes:
        assert all(parent.serial < node.serial for parent in node.parents if parent is not None)


def test_the_same_program_gives_the_same_bits():
    def gradients():
        rng = np.random.default_rng(0)
        x = gg.tensor(rng.normal(size=(50, 7)).astype(np.float32), requires_grad=True)
        w = gg.tensor(rng.normal(size=(7, 7)).astype(np.float32), requires_grad=True)
        y = x
        for _ in range(5):
            y = gg.tanh(y @ w + x) + y * 0.1
        ((y * x).mean() + (w * w).sum()).backward()
        return x.grad.numpy().tobytes() + w.grad.numpy().tobytes()

    assert len({gradients() for _ in range(5)}) == 1


def test_the_same_program_gives_the_same_bits_in_another_process():
    program = (
        "import numpy as np, gpugrad as gg\n"
        "x = gg.tensor(np.linspace(-1, 1, 999, dtype='float32'), requires_grad=True)\n"
        "a, b, c = x * 0.1, x.sin(), x.exp()\n"
        "(a * b + b * c + c * a + a * b * c).sum().backward()\n"
        "print(x.grad.numpy().tobytes().hex())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


# Depth.

DEEP = """
import sys, time
import numpy as np
import gpugrad as gg

assert sys.getrecursionlimit() <= 1000
x = gg.tensor(np.float64(2.0), requires_grad=True)
y = x
for _ in range(1_000_000):
    y = y + 1.0
assert y.item() == 1_000_002
y.backward()
assert x.grad.item() == 1.0
del y
z = x
for _ in range(100_000):
    z = z + x
del z  # never differentiated: live nodes go all at once
print("freed")
"""


def test_a_chain_of_a_million_additions_differentiates_and_is_freed():
    done = subprocess.run(
        [sys.executable, "-c", DEEP],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "freed\n"


# Freed, kept, recorded again, accumulated.


def test_a_freed_graph_says_so(device):
    x = gg.ones(2, device=device, requires_grad=True)
    y = x.exp()
    z = y.sum()
    z.backward()
    with pytest.raises(gg.GradientError, match=r"freed .*\(at sum\).*retain_graph=True"):
        z.backward()
    with pytest.raises(gg.GradientError, match=r"freed .*\(at exp\)"):
        (y * 2).sum().backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), np.e, rtol=1e-6)


def test_retain_graph_and_gradients_that_add_up(device):
    x = gg.tensor(np.array([1.0, 2.0]), device=device, requires_grad=True)
    y = (x**3).sum()
    for count in (1, 2, 3):
        y.backward(retain_graph=count < 3)
        np.testing.assert_allclose(x.grad.cpu().numpy(), count * 3 * np.array([1.0, 4.0]))
    (x * 2).sum().backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), 9 * np.array([1.0, 4.0]) + 2)


def test_derivatives_to_the_third_order(device):
    x = gg.tensor(np.array([0.5, 2.0]), device=device, requires_grad=True)
    v = np.array([0.5, 2.0])
    y = (x**4).sum()
    for expected in (4 * v**3, 12 * v**2, 24 * v):
        x.zero_grad()
        y.backward(create_graph=True)
        np.testing.assert_allclose(x.grad.detach().cpu().numpy(), expected)
        assert x.grad.requires_grad
        y = x.grad.sum()
    x.zero_grad()
    y.backward()
    assert not x.grad.requires_grad
    np.testing.assert_allclose(x.grad.cpu().numpy(), [24.0, 24.0])


def test_create_graph_leaves_the_graph_in_place():
    x = gg.tensor(np.array(3.0), requires_grad=True)
    y = x * x
    y.backward(create_graph=True)
    y.backward()
    assert x.grad.item() == 12.0


def test_nodes_that_no_target_needs_are_not_differentiated(make_op):
    calls = []
    seen = make_op(lambda xp, x, /: x * 1, [lambda xp, g, y, x: calls.append(1) or g])
    x, z = gg.ones(2, requires_grad=True), gg.ones(2, requires_grad=True)
    y = (seen(x) * z).sum()
    assert gg.gradients(y, z).tolist() == [1.0, 1.0]
    assert calls == []


# Exceptions.


def test_after_an_exception_in_the_middle_of_a_walk_all_is_as_before(make_op, device):
    def refuse(xp, g, y, x):
        raise ArithmeticError("no derivative today")

    broken = make_op(lambda xp, x, /: x * 1, [refuse])
    x = gg.ones(3, device=device, requires_grad=True)
    for words in ({}, {"create_graph": True}):
        z = (broken(x.exp()) * x).sum()
        with gg.no_grad(), pytest.raises(ArithmeticError, match="today"):
            z.backward(**words)
        assert gg.is_grad_enabled()
        x.zero_grad()
        (x * x).sum().backward()
        assert x.grad.tolist() == [2.0, 2.0, 2.0]
    with np.errstate(divide="raise"):
        with pytest.raises(ArithmeticError, match="today"):
            broken(x).sum().backward()
        assert np.geterr()["divide"] == "raise"


def test_after_an_exception_in_a_forward_pass_the_operands_are_usable():
    x = gg.ones(3, requires_grad=True)
    with pytest.raises(gg.ShapeError, match="add"):
        x + gg.ones(4)
    x.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


# Threads.


def test_two_threads_build_and_walk_graphs_of_their_own():
    barrier = threading.Barrier(3, timeout=20)
    found = {}

    def work(index, recorded):
        x = gg.tensor(np.full(3, float(index)), requires_grad=True)
        for step in range(30):
            barrier.wait()
            if recorded:
                x.zero_grad()
                y = (x**2 * (step + 1)).sum()
                y.backward()
                assert x.grad.tolist() == [2.0 * index * (step + 1)] * 3
            else:
                with gg.no_grad():
                    barrier_free = x * x
                    assert not barrier_free.requires_grad
                assert (x * x).requires_grad
        found[index] = True

    threads = [
        threading.Thread(target=work, args=(i, recorded))
        for i, recorded in ((1, True), (2, False), (3, True))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {1: True, 2: True, 3: True}


# Edges.


@pytest.mark.parametrize(
    ("shape", "target"),
    [
        ((2, 3), (3,)), ((2, 3), (2, 1)), ((2, 3), ()), ((4, 2, 3), (1, 3)), ((3,), (1,)),
        ((0, 3), (3,)), ((2, 0), (1, 0)), ((), ()), ((1,), (2, 3)), ((2, 1), (2, 3)),
    ],
)  # fmt: skip
def test_a_gradient_is_brought_to_its_data_s_shape_and_dtype(shape, target, device):
    array = device.send(np.arange(np.prod(shape), dtype=np.float64).reshape(shape))
    fitted = unbroadcast(namespace_of(array), array, target, np.dtype(np.float32))
    assert fitted.shape == target
    assert fitted.dtype == np.float32
    if len(target) <= len(shape) and np.prod(target) <= max(np.prod(shape), 1):
        # The sum over the axes that broadcasting `target` to `shape` would have repeated.
        assert float(fitted.sum()) == float(array.sum())


def test_a_gradient_may_be_the_first_array_of_its_type():
    # Types are entered in a table when they are first seen, which is once in a process.
    program = "import numpy as np, gpugrad as gg; print(gg.grad(abs)(np.array(3.0 + 4.0j)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "(0.6+0.8j)\n", done.stderr
