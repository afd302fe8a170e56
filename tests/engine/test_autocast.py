"""The autocast block: what it casts and when, threads, transforms and checkpoints."""

import threading

import numpy as np
import pytest
from gpu import STAND_IN, needs_stand_in

import gpugrad as gg
from gpugrad.engine import detours
from gpugrad.engine.modes import observed

if STAND_IN:
    import fakecuda


class Casts:
    """How often each shape is cast while operations are observed."""

    def __init__(self):
        self.shapes = []

    def __call__(self, node, raws, y):
        if node.op.name == "astype":
            self.shapes.append(node.shape)

    def visit(self, node, g):
        pass

    def gradient(self, node, parent, d):
        pass


@pytest.fixture
def weight(rng):
    return gg.tensor(rng.normal(size=(3, 2)).astype("float32"), requires_grad=True)


@pytest.fixture
def x(rng):
    return gg.tensor(rng.normal(size=(4, 3)).astype("float32"))


def test_gradients_reach_the_float32_weight_through_one_cast(device, rng):
    w = gg.tensor(rng.normal(size=(3, 3)).astype("float32"), requires_grad=True)
    x = gg.tensor(rng.normal(size=(4, 3)).astype("float32"))
    with gg.autocast("float16"):
        y = x @ w
        z = y @ w
        loss = (z * z).sum()
    assert y.grad_fn.parents[1] is z.grad_fn.parents[1]
    loss.backward()
    assert (w.dtype, w.grad.dtype, loss.dtype) == ("float32", "float32", "float32")
    w2 = w.detach().requires_grad_()
    ((x @ w2 @ w2) ** 2).sum().backward()
    np.testing.assert_allclose(w.grad.cpu(), w2.grad.cpu(), rtol=0.02, atol=0.05)


def test_a_weight_is_cast_once_until_it_changes(device):
    """Once in each of two steps that accumulate gradients; then a product without a graph."""
    w = gg.ones((3, 2), requires_grad=True)
    optimizer = gg.optim.SGD([w], lr=0.5)
    x = gg.ones((5, 3), dtype="float16", requires_grad=True)

    def value():
        with gg.no_grad():
            return (x @ w)[0, 0].item()

    with gg.autocast("float16"):
        for _ in range(2):
            optimizer.zero_grad()
            seen = []
            for _ in range(2):
                y = x @ w
                seen.append(y.grad_fn.values[1])
                y.sum().backward()
            assert seen[0] is seen[1]  # also after the walk has freed the first graph
            before = value()
            optimizer.step()
            assert value() != before
    assert float(w.grad[0, 0]) == 10


def test_observers_see_a_kept_cast(x, weight):
    with observed(Casts()) as block, gg.autocast("float16"):
        x @ weight
        x @ weight
    assert block.watch.shapes == [(3, 2), (3, 2)]


def test_blocks_nest_and_end(x, weight):
    assert not gg.is_autocast_enabled()
    with gg.autocast("float16"):
        with gg.autocast(enabled=False):
            assert not gg.is_autocast_enabled()
            assert (x @ weight).dtype == "float32"
        assert gg.is_autocast_enabled()
        assert (x @ weight).dtype == "float16"
        seen = []
        thread = threading.Thread(target=lambda: seen.append((x @ weight).dtype))
        thread.start()
        thread.join()
        assert seen == ["float32"]  # a mode of this thread
    assert (x @ weight).dtype == "float32"
    assert not any(not every for every in detours.active.values())  # ops look for no mode any more


def test_a_function_and_a_generator_are_decorated(x, weight):
    @gg.autocast("float16")
    def product():
        return x @ weight

    @gg.autocast("float16")
    def steps():
        yield x @ weight
        yield x @ weight

    assert product().dtype == "float16"
    dtypes = []
    for y in steps():
        dtypes += [y.dtype, (x @ weight).dtype]
    assert dtypes == ["float16", "float32"] * 2


def test_float64_and_whole_numbers_stay_as_they_are(x):
    with gg.autocast("float16"):
        assert (x.astype("float64") @ gg.ones((3, 2))).dtype == "float64"
        assert (gg.asarray([[1, 2]]) @ gg.asarray([[1], [2]])).dtype == "int64"
        assert (x.astype("float16") + x).dtype == "float32"
        assert (2 * x.astype("float16")).dtype == "float16"
        assert gg.exp(np.float16([1.0])).dtype == "float32"
        assert (np.ones((2, 3), "float32") @ x.T).dtype == "float16"
        assert gg.nn.functional.linear(x, gg.ones((2, 3)), [1.0, 2.0]).dtype == "float16"


def test_transforms_and_orders(device):
    """A derivative inside the block, of second order and by forward mode too."""
    x = gg.tensor([[0.5, -0.25]])

    def f(w):
        return gg.tanh(x @ w).sum()

    w = gg.tensor([[0.5], [1.0]])
    with gg.autocast("float16"):
        first, second = gg.grad(f)(w), gg.hessian(f)(w)
        pushed = gg.jvp(f, (w,), (gg.ones((2, 1)),))[1]
    assert (first.dtype, second.dtype) == ("float32", "float32")
    np.testing.assert_allclose(first.cpu(), gg.grad(f)(w).cpu(), rtol=2e-3)
    np.testing.assert_allclose(second.cpu(), gg.hessian(f)(w).cpu(), atol=2e-3)
    np.testing.assert_allclose(pushed.cpu(), 0.25, atol=2e-3)


def test_a_checkpoint_runs_again_as_it_ran(weight, x, device):
    with gg.device("cpu"):
        results = []
        for wrap in (lambda f: f, gg.checkpoint):
            weight.grad = None
            with gg.autocast("float16"):
                (x @ weight).sum()  # a cast that the checkpoint is not to take
                y = wrap(lambda x: gg.tanh(x @ weight) @ weight.T)(x)
                loss = (y * y).sum()
            loss.backward()
            results.append(weight.grad.numpy())
        np.testing.assert_array_equal(*results)


def test_a_recorded_walk_through_a_checkpoint(weight, x):
    with gg.autocast("float16"):
        loss = gg.checkpoint(lambda x: gg.tanh(x @ weight))(x).sum()
    first = gg.gradients(loss, weight, create_graph=True)
    assert np.isfinite(gg.gradients((first * first).sum(), weight).numpy()).all()


@pytest.mark.parametrize("dtype", ["float32", "cuda", 3, "no dtype"])
def test_another_dtype_raises(dtype):
    with pytest.raises(gg.errors.DTypeError, match="autocast: expected 'float16' or 'bfloat16'"):
        gg.autocast(dtype)


@needs_stand_in
def test_the_counters_show_one_cast_of_a_weight_a_step():
    """A product launches itself and a cast of its input; the weight's cast is there already."""
    with gg.device("cuda"):
        w = gg.ones((3, 3), requires_grad=True)
        x = gg.ones((4, 3))
        launched = []
        with gg.autocast("float16"):
            for _ in range(3):
                with fakecuda.count() as counts:
                    y = x @ w
                launched.append(counts.total_launches)
            y.sum().backward()
            gg.optim.SGD([w], lr=0.1).step()
            with fakecuda.count() as counts:
                x @ w
            launched.append(counts.total_launches)
        assert launched == [2, 1, 1, 2]
