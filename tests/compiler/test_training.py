"""Training steps, compiled and as usual: the same to the last bit, in every call and afterwards."""

import copy
from functools import partial

import numpy as np
import pytest
from optimizers import CLOSURES, MATRICES, OPTIMIZERS, OTHER_SCHEDULES, SCHEDULES, step
from twins import seen, state_of

import gpugrad as gg
from gpugrad.nn import functional as F

pytestmark = pytest.mark.usefixtures("by_numpy")
pytestmark = pytest.mark.usefixtures("by_numpy")

MORE = {
    "plain": lambda ps: gg.optim.SGD(ps, lr=0.1),
    "nesterov": lambda ps: gg.optim.SGD(ps, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "dampened": lambda ps: gg.optim.SGD(ps, 0.1, momentum=0.9, dampening=0.1, maximize=True),
    "master": lambda ps: gg.optim.Adam(ps, lr=0.01, master_weights=True),
    "groups": lambda ps: gg.optim.AdamW(
        [{"params": ps[:1], "lr": 0.2, "weight_decay": 0.5}, {"params": ps[1:]}], lr=0.1
    ),
}


class Twin:
    """Two parameters, an optimizer and a step that trains them."""

    def __init__(self, make, dtype="float32", device="cpu"):
        rng = np.random.default_rng(0)
        shapes = ((3, 4), (4, 2))
        arrays = [rng.normal(size=shape).astype(dtype) for shape in shapes]
        self.params = [gg.tensor(x, device=device, requires_grad=True) for x in arrays]
        self.optimizer = make(self.params)
        self.extra = []  # what else a step changes
        self.steps = 0

    def loss(self, x, y):
        first, second = self.params[:2]
        error = gg.tanh(x @ first) @ second - y
        return gg.real(error * gg.conj(error)).mean()

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def state(self):
        return state_of(*self.params, self.optimizer, *self.extra)


def batch(number, device="cpu", dtype="float32"):
    rng = np.random.default_rng(number + 1)
    arrays = [rng.normal(size=shape).astype(dtype) for shape in ((5, 3), (5, 2))]
    return [gg.tensor(array, device=device) for array in arrays]


def check(build, pattern="cccccc", between=None, recordings=None, device="cpu", dtype="float32"):
    """Train twins, one as usual and one as ``pattern`` says: "c" compiled, "e" as usual.

    ``between(twin, number)`` is called before each step.
    """
    usual, other = build(), build()
    compiled = gg.compile(other.step)
    for number, letter in enumerate(pattern):
        if between is not None:
            for twin in (usual, other):
                between(twin, number)
        x, y = batch(number, device, dtype)
        expected = usual.step(x, y)
        got = (compiled if letter == "c" else other.step)(x, y)
        assert seen(got) == seen(expected), f"the result of step {number}"
        assert other.state() == usual.state(), f"the state after step {number}"
    if recordings is not None:
        assert sum(map(len, compiled._entries.values())) == recordings


def close(build, device="cpu"):
    """As `check`, up to some units in the last place."""
    usual, other = build(), build()
    compiled = gg.compile(other.step)
    for number in range(3):
        x, y = batch(number, device)
        results = usual.step(x, y), compiled(x, y)
        pairs = [results] if results[0] is not None else []
        pairs += zip(usual.params, other.params, strict=True)
        for a, b in pairs:
            assert a.device == b.device
            a, b = a.detach().cpu().numpy(), b.detach().cpu().numpy()
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


every = pytest.mark.parametrize("name", OPTIMIZERS | MATRICES | MORE)
patterns = pytest.mark.parametrize("pattern", ["cccccc", "ecceec"])


@every
@patterns
def test_optimizers(name, pattern):
    make = (OPTIMIZERS | MATRICES | MORE)[name]
    two = name in ("asgd", "dampened")  # do something else at the first step
    for dtype in ("float16", "float32", "float64"):
        check(partial(Twin, make, dtype), pattern, recordings=None if two else 1, dtype=dtype)


@pytest.mark.parametrize("name", ["sgd", "adam", "muon", "groups"])
def test_optimizers_on_each_device(name, device):
    make = (OPTIMIZERS | MATRICES | MORE)[name]
    close(lambda: Twin(make, device=device), device)


@pytest.mark.parametrize("name", ["sgd", "adam", "rprop", "nadam", "lion"])
def test_complex_parameters(name):
    make = OPTIMIZERS[name]
    check(lambda: Twin(make, "complex64"), "cceccc", dtype="complex64", recordings=1)


@pytest.mark.parametrize("make", CLOSURES.values(), ids=list(CLOSURES))
def test_lbfgs_is_refused_and_leaves_all_as_it_was(make):
    twin = Twin(make)

    def closure():
        twin.optimizer.zero_grad()
        loss = twin.loss(*batch(0))
        loss.backward()
        return loss

    before = twin.state()
    with pytest.raises(gg.CompileError, match=r"LBFGS.step is called at .*optimizer.step.*outside"):
        gg.compile(lambda: twin.optimizer.step(closure))()
    assert twin.state() == before
    twin.optimizer.step(closure)


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
@pytest.mark.parametrize("name", [n for n in SCHEDULES | OTHER_SCHEDULES if n != "plateau"])
def test_schedules(name, inside):
    """The rate is a number that each call gives: nothing is recorded anew."""
    make = (SCHEDULES | OTHER_SCHEDULES)[name]

    class Scheduled(Twin):
        def __init__(self):
            super().__init__(OPTIMIZERS["sgd"])
            self.schedule = make(self.optimizer)
            self.extra = [self.schedule]

        def step(self, x, y):
            loss = super().step(x, y)
            if inside:
                step(self.schedule)
            return loss

    def after(twin, number):
        if number and not inside:
            step(twin.schedule)

    check(Scheduled, "cceccc", after, recordings=1)


def test_an_error_takes_a_schedule_back():
    twin = Twin(OPTIMIZERS["sgd"])
    schedule = gg.optim.StepLR(twin.optimizer, 1)

    @gg.compile
    def run(x, y):
        twin.step(x, y)
        schedule.step()
        return gg.linalg.cholesky(x.T @ x - 3 * gg.eye(3) * (x.sum() > 0))

    x, y = gg.eye(5, 3), batch(0)[1]
    for _ in range(2):
        before = twin.state(), schedule.state_dict()
        with pytest.raises(np.linalg.LinAlgError):
            run(x, y)
        assert (twin.state(), schedule.state_dict()) == before
        run(-x, y)


class Clipped(Twin):
    how = staticmethod(lambda ps: gg.optim.clip_grad_norm_(ps, 0.1))

    def step(self, x, y):
        self.optimizer.zero_grad()
        self.loss(x, y).backward()
        norm = self.how(self.params)
        self.optimizer.step()
        return norm


CLIPS = {
    "norm": lambda ps: gg.nn.utils.clip_grad_norm_(ps, 0.1),
    "norm 1": lambda ps: gg.nn.utils.clip_grad_norm_(ps, 0.1, norm_type=1),
    "norm 3": lambda ps: gg.nn.utils.clip_grad_norm_(ps, 0.1, norm_type=3.0),
    "norm inf": lambda ps: gg.nn.utils.clip_grad_norm_(ps, 0.1, norm_type=float("inf")),
    "value": lambda ps: gg.nn.utils.clip_grad_value_(ps, 0.05),
    "total": lambda ps: gg.nn.utils.get_total_norm([p.grad for p in ps]),
}


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_clipping(name, dtype):
    class Own(Clipped):
        how = staticmethod(CLIPS[name])

    if dtype == "float32":  # its norms are computed in float64, as on a GPU
        close(lambda: Own(OPTIMIZERS["sgd"], dtype))
    else:
        check(lambda: Own(OPTIMIZERS["adam"], dtype), "cceccc", dtype=dtype)


class ZerosInstead(Twin):
    def step(self, x, y):
        self.optimizer.zero_grad(set_to_none=False)
        loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class Accumulating(Twin):
    """Two calls add up before a step, as Python code outside says."""

    def step(self, x, y):
        self.loss(x, y).backward()
        return None


class Averaging(Twin):
    """With an average of its own, moved in place."""

    def __init__(self, make):
        super().__init__(make)
        self.extra = [p.detach().copy() for p in self.params]

    def step(self, x, y):
        loss = super().step(x, y)
        with gg.no_grad():
            for average, p in zip(self.extra[:2], self.params):
                average *= 0.9
                average += p / 10
        return loss


class TwoSteps(Twin):
    def step(self, x, y):
        super().step(x, y)
        return super().step(x, y)


class OneFrozen(Twin):
    def __init__(self, make):
        super().__init__(make)
        self.params[0].requires_grad_(False)


def step_every_second(twin, number):
    if number % 2 == 0 and number:
        twin.optimizer.step()
        twin.optimizer.zero_grad()


@pytest.mark.parametrize("cls", [ZerosInstead, Averaging, TwoSteps, OneFrozen])
@pytest.mark.parametrize("name", ["sgd", "adam"])
@patterns
def test_steps(cls, name, pattern):
    check(lambda: cls(OPTIMIZERS[name]), pattern)


def test_gradients_of_two_calls_add_up():
    check(lambda: Accumulating(OPTIMIZERS["adam"]), "ccceccc", step_every_second)


def saved_and_loaded(twin, number):
    if number == 1:
        twin.saved = copy.deepcopy(twin.optimizer.state_dict())
        twin.values = [p.detach().copy() for p in twin.params]
    if number == 3:
        twin.optimizer.load_state_dict(twin.saved)
        with gg.no_grad():
            for p, value in zip(twin.params, twin.values):
                p[...] = value
    if number == 4:
        fresh = gg.optim.SGD(twin.params, lr=0.1, momentum=0.9).state_dict()
        if set(fresh["param_groups"][0]) == set(twin.optimizer.param_groups[0]):
            twin.optimizer.load_state_dict(fresh)


def frozen(twin, number):
    if number in (2, 4):
        twin.params[0].requires_grad_(number == 4)


def frozen_without_gradient(twin, number):
    if number in (2, 4):
        twin.params[0].requires_grad_(number == 4)
        twin.params[0].grad = None


def one_group_more(twin, number):
    if number == 2:
        twin.extra.append(gg.ones(3, requires_grad=True))
        twin.optimizer.add_param_group({"params": twin.extra[-1:], "lr": 0.5})
    if number > 2:
        twin.extra[-1].grad = gg.full(3, float(number))


def settings_by_hand(twin, number):
    group = twin.optimizer.param_groups[0]
    group["lr"] = 0.1 / (number + 1)
    if number == 3:
        group["weight_decay"] = 0.5
    if number == 5 and "momentum" in group:
        group["momentum"] = 0.0


def other_memory(twin, number):
    p = twin.params[0]
    if number == 2:
        p.data = np.ones_like(p.data)
    if number == 3:
        p.data = np.asfortranarray(p.data)
    if number == 4:
        p.data = np.ones((6, 8), p.dtype)[::2, ::2]


def states_by_hand(twin, number):
    if number == 3:
        entry = twin.optimizer.state[twin.params[0]]
        for key, value in entry.items():
            entry[key] = np.ones_like(value) if isinstance(value, np.ndarray) else 7


def gradients_by_hand(twin, number):
    if number % 2:
        twin.params[1].grad = gg.ones((4, 2))


def read(twin, number):
    twin.optimizer.state_dict()
    repr(twin.optimizer)


BETWEEN = [
    saved_and_loaded, frozen, frozen_without_gradient, one_group_more, settings_by_hand,
    other_memory, states_by_hand, gradients_by_hand, read,
]  # fmt: skip


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize(
    ("cls", "name"), [(Twin, "sgd"), (Twin, "nadam"), (ZerosInstead, "adam"), (Averaging, "sgd")]
)
@patterns
def test_what_happens_between_two_calls(between, cls, name, pattern):
    check(lambda: cls(OPTIMIZERS[name]), pattern + "cc", between)


def test_weights_that_are_averaged():
    swa = gg.optim.swa_utils
    for options in (
        {}, {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.9)}, {"avg_fn": swa.get_ema_avg_fn(0.9)},
        {"avg_fn": swa.get_swa_avg_fn(), "use_buffers": True},
    ):  # fmt: skip

        class Averaged:
            def __init__(self, options):
                gg.manual_seed(0)
                self.model = gg.nn.Sequential(gg.nn.Linear(3, 2), gg.nn.BatchNorm1d(2))
                self.average = swa.AveragedModel(self.model, **options)
                self.optimizer = gg.optim.SGD(self.model.parameters(), lr=0.1)

            def step(self, x, y):
                self.optimizer.zero_grad()
                loss = F.mse_loss(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                self.average.update_parameters(self.model)
                return loss.detach()

            def state(self):
                return state_of(self.model, self.average, self.optimizer)

        check(lambda options=options: Averaged(options), "cceccc")


class Large(Twin):
    """Parameters that are stepped in blocks."""

    def __init__(self, make):
        super().__init__(make)
        self.params.append(gg.linspace(-1, 1, 70_000).requires_grad_())
        self.optimizer = make(self.params)

    def loss(self, x, y):
        return super().loss(x, y) + (self.params[2] ** 2).mean()


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
def test_large_parameters(name):
    check(lambda: Large(OPTIMIZERS[name]), "cec")
