"""Steps of a GradScaler in compiled functions: skipped and made as without compile."""

import numpy as np
import pytest
from optimizers import OPTIMIZERS
from test_training import Twin, batch
from twins import seen

import gpugrad as gg
from gpugrad.optim.optimizer import Optimizer

SETTINGS = {"init_scale": 8.0, "growth_interval": 2}
OVERFLOWS = (2, 3, 7)


class Scaled(Twin):
    """A step with a scaler, whose gradients overflow in some calls."""

    def __init__(self, make, device="cpu", clips=False):
        super().__init__(make, device=device)
        self.scaler = gg.GradScaler(**SETTINGS)
        self.extra = [self.scaler]
        self.clips = clips

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        self.scaler.scale(loss).backward()
        if self.clips:
            self.scaler.unscale_(self.optimizer)
            gg.optim.clip_grad_norm_(self.params, 0.5)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach(), self.scaler.get_scale()


def fed(number, device="cpu"):
    x, y = batch(number, device)
    return (x, y * float("inf")) if number in OVERFLOWS else (x, y)


def scales(name):
    return type(OPTIMIZERS[name]([gg.ones(2, requires_grad=True)])).step is Optimizer.step


@pytest.mark.parametrize("looks", [False, True], ids=["at the end", "at each call"])
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if scales(name)])
def test_steps_are_skipped_and_made(name, looks, by_numpy):
    twins = [Scaled(OPTIMIZERS[name]) for _ in range(2)]
    steps = [gg.compile(twins[0].step), twins[1].step]
    for number in range(10):
        got, expected = (seen(step(*fed(number))) for step in steps)
        assert got == expected
        if looks:
            assert twins[0].state() == twins[1].state()
    assert twins[0].state() == twins[1].state()
    assert steps[0].report().count("program ") == 1 + (name == "asgd")


def test_with_steps_outside_in_between(device, by_numpy):
    twins = [Scaled(OPTIMIZERS["adam"], device) for _ in range(2)]
    steps = [gg.compile(twins[0].step), twins[1].step]
    for number in range(12):
        chosen = steps if number % 3 else [twin.step for twin in twins]
        got, expected = (seen(step(*fed(number, device))) for step in chosen)
        assert got == expected
        assert twins[0].state() == twins[1].state()


def test_settings_and_states_are_those_of_each_call(by_numpy):
    twins = [Scaled(OPTIMIZERS["adam"]) for _ in range(2)]
    steps = [gg.compile(twins[0].step), twins[1].step]
    for number in range(10):
        for twin in twins:
            if number == 3:
                twin.scaler.set_growth_interval(1)
                twin.scaler.set_growth_factor(3.0)
                twin.scaler.set_backoff_factor(0.25)
            if number == 5:
                twin.scaler.load_state_dict(gg.GradScaler(64.0).state_dict())
                twin.optimizer.load_state_dict(twin.optimizer.state_dict())
            if number == 8:
                twin.scaler.update(4.0)
        got, expected = (seen(step(*fed(number))) for step in steps)
        assert (got, twins[0].state()) == (expected, twins[1].state())


def test_clipped_in_c():
    twins = [Scaled(OPTIMIZERS["adam"], clips=True) for _ in range(2)]
    steps = [gg.compile(twins[0].step), twins[1].step]
    for number in range(10):
        got, expected = (step(*fed(number)) for step in steps)
        np.testing.assert_allclose(got[0].item(), expected[0].item(), rtol=1e-4)
        assert got[1] == expected[1]
    for one, other in zip(twins[0].params, twins[1].params, strict=True):
        np.testing.assert_allclose(one.tolist(), other.tolist(), rtol=1e-3, atol=1e-5)
    assert "runs in C" in steps[0].report()


def test_in_half_precision(by_numpy):
    twins = [Scaled(OPTIMIZERS["adam"]) for _ in range(2)]

    def step(twin, x, y):
        with gg.autocast("float16"):
            return twin.step(x, y)

    compiled = gg.compile(lambda x, y: step(twins[0], x, y))
    for number in range(8):
        assert seen(compiled(*fed(number))) == seen(step(twins[1], *fed(number)))
    assert twins[0].state() == twins[1].state()


def test_what_is_not_updated_is_refused(by_numpy):
    twin = Scaled(OPTIMIZERS["adam"])
    twin.step(*fed(0))

    def run(x, y):
        twin.optimizer.zero_grad()
        twin.scaler.scale(twin.loss(x, y)).backward()
        twin.scaler.step(twin.optimizer)

    before = twin.state()
    with pytest.raises(gg.CompileError, match=r"and not update\(\) after it. Call all three"):
        gg.compile(run)(*fed(1))
    assert twin.state() == before
    twin.step(*fed(1))


def test_gradients_that_were_unscaled_outside_are_refused(by_numpy):
    twin = Scaled(OPTIMIZERS["adam"])

    @gg.compile
    def rest():
        twin.scaler.step(twin.optimizer)
        twin.scaler.update()

    twin.scaler.scale(twin.loss(*fed(0))).backward()
    twin.scaler.unscale_(twin.optimizer)
    with pytest.raises(gg.CompileError, match="unscale_ was called outside"):
        rest()
    twin.scaler.step(twin.optimizer)
    twin.scaler.update()


def test_two_steps_of_one_optimizer_are_refused(by_numpy):
    twin = Scaled(OPTIMIZERS["adam"])

    @gg.compile
    def twice(x, y):
        twin.step(x, y)
        return twin.step(x, y)

    with pytest.raises(gg.CompileError, match="makes two steps in one call"):
        twice(*fed(0))


def test_an_optimizer_with_a_step_of_its_own_is_refused(by_numpy):
    twin = Scaled(lambda ps: gg.optim.LBFGS(ps))
    with pytest.raises(gg.CompileError, match="LBFGS.*outside"):
        gg.compile(twin.step)(*fed(0))


@pytest.mark.usefixtures("by_numpy")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_begins_at_the_first_step_that_is_not_skipped(name):
    """The rate falls meanwhile, with which some states begin."""

    def steps(compile):
        w = gg.tensor([1.0, -2.0], requires_grad=True)
        optimizer = OPTIMIZERS[name]([w])
        scaler = gg.GradScaler(init_scale=2.0)

        def step(x):
            optimizer.zero_grad()
            scaler.scale((w * w * x).sum()).backward()
            scaler.step(optimizer)
            scaler.update()

        f, found = compile(step), []
        for turn in range(6):
            f(gg.tensor([np.inf if turn < 2 else 1.0, 1.0]))
            for group in optimizer.param_groups:
                group["lr"] *= 0.5
            found.append(w.tolist())
        return found, len(optimizer.state)

    with np.errstate(all="ignore"):
        expected, one = steps(lambda f: f)
        found, other = steps(gg.compile)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert one == other == 1
