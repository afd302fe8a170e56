"""Calls of programs that NumPy runs: what they compare, and what they leave as it was."""

import numpy as np
import pytest
from interrupts import interrupted_everywhere

import gpugrad as gg
from gpugrad import nn, optim
from gpugrad.compiler.calls import numpy_call
from gpugrad.nn import functional as F

pytestmark = pytest.mark.usefixtures("by_numpy")


def training(optimizer=optim.SGD, **settings):
    """A model, its step and all arrays that a step changes, by a function."""
    gg.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    own = optimizer(model.parameters(), **settings)

    def step(x, y):
        own.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        own.step()
        return loss

    def state():
        grads = [p.grad.data for p in model.parameters() if p.grad is not None]
        entries = [one for p in model.parameters() for one in own.state.get(p, {}).values()]
        return [np.copy(one) for one in (*(p.data for p in model.parameters()), *grads, *entries)]

    return model, step, state


RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(6, 3)).astype("f"), RNG.normal(size=(6, 2)).astype("f")
# Slow enough that hundreds of steps later each of them still changes each array.
KINDS = [(optim.SGD, {"lr": 0.01, "momentum": 0.9}), (optim.Adam, {"lr": 0.01})]


@pytest.fixture
def usual(monkeypatch):
    """Counts the calls for which something is not as at the call before."""
    counts = []
    before = numpy_call._Notes.usual

    def counted(self, leaves, inputs):
        counts.append(len(inputs))
        return before(self, leaves, inputs)

    monkeypatch.setattr(numpy_call._Notes, "usual", counted)
    return counts


@pytest.mark.parametrize(("optimizer", "settings"), KINDS)
def test_steps_are_the_same_to_the_last_bit(optimizer, settings, usual):
    _, eager, expected = training(optimizer, **settings)
    _, step, state = training(optimizer, **settings)
    compiled = gg.compile(step)
    for turn in range(6):
        x, y = gg.tensor(X * turn), gg.tensor(Y)
        assert eager(x, y).item() == compiled(x, y).item()
        for a, b in zip(expected(), state(), strict=True):
            assert np.array_equal(a, b)
    assert len(usual) == 1


def test_parameters_may_be_other_arrays(usual):
    _, eager, expected = training(lr=0.1)
    model, step, state = training(lr=0.1)
    compiled = gg.compile(step)
    for turn in range(6):
        if turn % 2:
            for p in model.parameters():
                p.data = p.data.copy()
        assert eager(X, Y).item() == compiled(X, Y).item()
    assert all(map(np.array_equal, expected(), state()))
    assert len(usual) > 1


def test_an_argument_over_a_parameters_memory_is_refused():
    """As by a recording: the program computes with what the parameter was before."""
    model, step, state = training(lr=0.1)
    compiled = gg.compile(step)
    for _ in range(3):
        compiled(X[:4], Y[:4])
    before = state()
    for x in (model[0].weight.data, model[0].weight.data[:]):
        with pytest.raises(gg.CompileError, match="shares its memory"):
            compiled(x, Y[:4])
        assert all(map(np.array_equal, before, state()))


def test_a_parameter_that_cannot_be_changed_is_refused_before_anything_is():
    model, step, state = training(optim.Adam, lr=0.1)
    compiled = gg.compile(step)
    for _ in range(3):
        compiled(X, Y)
    before = state()
    model[2].bias.data.flags.writeable = False
    with pytest.raises(gg.ArgumentError, match="NumPy does not write"):
        compiled(X, Y)
    assert all(map(np.array_equal, before, state()))
    model[2].bias.data.flags.writeable = True
    compiled(X, Y)


def test_hooks_modes_and_gradients_are_looked_at():
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    compiled = gg.compile(lambda x: model(x).sum())
    for _ in range(3):
        compiled(X)
    model.eval()
    assert compiled(X).item() == model(X).sum().item()
    p = gg.tensor(X, requires_grad=True)

    def add():
        (p * 2).sum().backward()

    adds = gg.compile(add)
    for turn in range(1, 5):
        adds()
        assert (p.grad.data == 2 * turn).all()
    p.grad = None
    adds()
    assert (p.grad.data == 2).all()
    seen = []
    p.register_hook(lambda g: seen.append(1))
    adds()
    assert seen
    assert (p.grad.data == 4).all()


@pytest.mark.parametrize(("optimizer", "settings"), KINDS)
def test_an_interrupt_leaves_a_step_undone_or_done(optimizer, settings):
    _, step, state = training(optimizer, **settings)
    compiled = gg.compile(step)
    for _ in range(3):
        compiled(X, Y)
    now, done = [], []

    def begin():
        now[:] = state()

    def check(_):
        after = state()
        same = [np.array_equal(a, b) for a, b in zip(now, after, strict=True)]
        done.append(not all(same))
        assert all(same) or not any(same)

    interrupted_everywhere(begin, lambda _: compiled(X, Y), check)
    assert {*done} == {False, True}


def test_gradients_have_the_memory_of_the_last_ones():
    model, step, _ = training(lr=0.1)
    compiled = gg.compile(step)
    for _ in range(3):
        compiled(X, Y)
    weight = model[0].weight
    address = weight.grad.data.ctypes.data
    compiled(X, Y)
    assert weight.grad.data.ctypes.data == address
    weight.grad = None
    compiled(X, Y)
    assert weight.grad.data.ctypes.data == address


HOLDS = {
    "tensor": lambda p: p.grad,
    "array": lambda p: p.grad.data,
    "view": lambda p: p.grad.data[:1],
    "detached": lambda p: p.grad.detach(),
    "replaced": lambda p: setattr(p, "grad", gg.ones_like(p)) or p.grad,
}


@pytest.mark.parametrize("hold", HOLDS)
def test_gradients_that_somebody_has_stay_as_they_are(hold):
    (model, eager, _), (other, step, _) = training(lr=0.1), training(lr=0.1)
    compiled = gg.compile(step)
    held = []
    for turn in range(6):
        eager(X * turn, Y)
        compiled(X * turn, Y)
        held.append((HOLDS[hold](other[0].weight), np.copy(HOLDS[hold](model[0].weight))))
        assert np.array_equal(other[0].weight.grad.data, model[0].weight.grad.data)
    for a, b in held:
        assert np.array_equal(getattr(a, "data", a) if isinstance(a, gg.Tensor) else a, b)


def test_a_gradient_that_is_a_result_too_is_a_result_of_its_own():
    p = gg.tensor(X, requires_grad=True)

    @gg.compile
    def step(x):
        p.grad = None
        (p * x).sum().backward()
        return p.grad * 1, p.grad

    results = [step(X * turn) for turn in range(5)]
    for turn, pair in enumerate(results):
        for one in pair[: 1 + (turn == 4)]:
            assert np.array_equal(one.data, X * turn)


def test_clipped_and_accumulated_gradients():
    def made():
        model, _, state = training(lr=0.1)
        own = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x, y):
            own.zero_grad()
            for _ in range(2):
                F.mse_loss(model(x), y).backward()
            optim.clip_grad_norm_(model.parameters(), 0.5)
            own.step()

        return step, state

    (eager, expected), (step, state) = made(), made()
    compiled = gg.compile(step)
    for turn in range(5):
        eager(X * turn, Y)
        compiled(X * turn, Y)
        assert all(map(np.array_equal, expected(), state()))


def test_overflows_in_a_backward_pass_are_not_warned_of():
    model, step, _ = training(lr=0.1)
    compiled = gg.compile(step)
    compiled(X, Y)
    with np.errstate(all="raise"):
        for _ in range(3):
            compiled(X, np.full_like(Y, 3e38))
    assert not np.isfinite(model[0].weight.grad.data).all()


@pytest.mark.parametrize(
    "function",
    [lambda x: x, lambda x: [x], lambda x: {"a": x}, lambda x: None, lambda x: (3, x[...])],
    ids=["x", "a list", "a dict", "None", "a number beside"],
)
def test_a_function_without_operations(function, device):
    compiled = gg.compile(function)
    for value in (1.0, 2.0, 3.0):
        x = gg.full((2,), value, device=device)
        assert repr(compiled(x)) == repr(function(x))
