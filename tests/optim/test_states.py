"""States of optimizers and schedules: refused whole where damaged, and resumed where they were."""

import copy

import numpy as np
import pytest
from optimizers import CLOSURES, MATRICES, OPTIMIZERS, OTHER_SCHEDULES, SCHEDULES, step

import gpugrad as gg

ODD = [None, True, -1, 1.5, "x", [], {}, [1, 2], {"a": 1}, np.ones(9), np.array(["x"]), 2**70,
       float("nan"), print, (0, 0), {0: 1}, {"params": [0]}, [[]], b"x", 10**400]  # fmt: skip


def damaged(state):
    """Copies of a nested state, in each of which one thing is replaced, left out or added."""

    def places(part, path=()):
        if isinstance(part, dict | list | tuple):
            items = part.items() if isinstance(part, dict) else enumerate(part)
            for key, value in items:
                yield (*path, key)
                yield from places(value, (*path, key))

    def with_lists(part):
        if isinstance(part, dict):
            return {key: with_lists(value) for key, value in part.items()}
        return [with_lists(x) for x in part] if isinstance(part, list | tuple) else copy.copy(part)

    for value in ODD:
        yield value
    for path in places(state):
        for value in [*ODD, "left out", "added"]:
            whole = with_lists(state)
            inner = whole
            for key in path[:-1]:
                inner = inner[key]
            if isinstance(value, str) and value == "left out":
                del inner[path[-1]]
            elif isinstance(value, str) and value == "added":
                if isinstance(inner, dict):
                    inner["odd"] = 3
                else:
                    inner.append(0)
            else:
                inner[path[-1]] = value
            yield whole


def shown(state):
    return repr(state)


def trained(make, make_schedule=SCHEDULES["step"]):
    params = [gg.ones((1, n), requires_grad=True) for n in (2, 3)]
    optimizer = make(params)
    schedule = make_schedule(optimizer)
    for t in range(3):
        for p in params:
            p.grad = gg.ones(p.shape) / (1 + t)
        optimizer.step(lambda: 1.0)
        step(schedule)
    return optimizer, schedule


def loader():
    data = gg.data.DataLoader(
        np.arange(6.0), batch_size=2, shuffle=True, generator=gg.random.Generator(1)
    )
    next(iter(data))
    return data


THINGS = {
    **{
        name: lambda make=make: trained(make)[0]
        for name, make in (OPTIMIZERS | MATRICES | CLOSURES).items()
    },
    "groups": lambda: trained(
        lambda ps: gg.optim.AdamW([{"params": ps[:1]}, {"params": ps[1:], "lr": 0.5}])
    )[0],
    **{
        name: lambda make=make: trained(OPTIMIZERS["sgd"], make)[1]
        for name, make in (SCHEDULES | OTHER_SCHEDULES).items()
    },
    "Generator": lambda: gg.random.Generator(3),
    "DataLoader": loader,
}


@pytest.mark.parametrize("make", THINGS.values(), ids=list(THINGS))
def test_a_damaged_state_is_refused_in_a_sentence_and_changes_nothing(make):
    """Or it is loaded, where the damage makes another valid state: then it can be used."""
    thing = make()
    good = thing.state_dict()
    before = shown(good)
    refused = 0
    for state in damaged(good):
        message = None
        try:
            thing.load_state_dict(state)
        except (gg.GpugradError, ValueError) as error:
            message = str(error)
        after = thing.state_dict()
        if message is not None:
            assert ":" in message, (message, state)
            assert shown(after) == before, state
            refused += 1
        else:
            if isinstance(thing, gg.optim.Optimizer):
                for group in thing.param_groups:
                    for p in group["params"]:
                        p.grad = gg.ones(p.shape)
                with np.errstate(all="ignore"):  # an enormous rate is valid
                    thing.step(lambda: 1.0)
            elif isinstance(thing, gg.data.DataLoader):
                list(thing)
            elif hasattr(thing, "get_last_lr"):
                step(thing)
            assert type(after) is dict
            thing = make()
            assert shown(thing.state_dict()) == before
    assert refused > 20


# ---------------------------------------------------------------- schedules


def optimizer_of(lr=1.0):
    return gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=lr)


schedules = pytest.mark.parametrize("make", SCHEDULES.values(), ids=list(SCHEDULES))


@schedules
def test_a_group_that_is_added_later_goes_on_from_its_own_rate(make):
    """As in PyTorch, where each rate is a multiple of the one before."""
    optimizer = optimizer_of()
    schedule = make(optimizer)
    for _ in range(3):
        schedule.step()
    here = optimizer.param_groups[0]["lr"]
    optimizer.add_param_group({"params": [gg.zeros(1, requires_grad=True)], "lr": 2 * here})
    optimizer.add_param_group({"params": [gg.zeros(1, requires_grad=True)], "lr": here})
    state = schedule.state_dict()
    assert state["base_lrs"][0] == 1.0
    assert schedule.get_last_lr() == [here, 2 * here, here]
    low = getattr(schedule, "eta_min", 0.0)
    for _ in range(4):
        schedule.step()
        one, two, three = schedule.get_last_lr()
        assert three == pytest.approx(one)
        assert (two - low) / (2 * here - low) == pytest.approx((one - low) / (here - low))
    other = optimizer_of()
    for group in optimizer.param_groups[1:]:
        other.add_param_group({"params": [gg.zeros(1, requires_grad=True)], "lr": group["lr"]})
    resumed = make(other)
    resumed.load_state_dict(schedule.state_dict())
    assert resumed.get_last_lr() == schedule.get_last_lr()


def test_a_group_that_is_added_when_the_rate_has_come_to_nothing():
    optimizer = optimizer_of()
    schedule = gg.optim.LinearLR(optimizer, 1.0, 0.0, total_iters=1)
    schedule.step()
    optimizer.add_param_group({"params": [gg.zeros(1, requires_grad=True)], "lr": 0.5})
    assert schedule.state_dict()["base_lrs"] == [1.0, 0.5]
    schedule.step()
    assert schedule.get_last_lr() == [0.0, 0.5]  # as PyTorch's, which multiplies no more


@schedules
def test_a_schedule_made_on_a_loaded_optimizer_goes_on_from_the_loaded_rate(make):
    optimizer = optimizer_of()
    first = gg.optim.StepLR(optimizer, 1, gamma=0.25)
    first.step()
    loaded = optimizer_of(7.0)
    loaded.load_state_dict(optimizer.state_dict())
    plain = optimizer_of(0.25)
    schedule, expected = make(loaded), make(plain)
    for _ in range(5):
        assert schedule.get_last_lr() == expected.get_last_lr()
        schedule.step()
        expected.step()
    # One that was there before keeps its own initial rate, in whatever order both are loaded.
    for order in ("optimizer first", "schedule first"):
        loaded = optimizer_of()
        again = gg.optim.StepLR(loaded, 1, gamma=0.25)
        parts = [(loaded, optimizer), (again, first)]
        for mine, other in parts if order == "optimizer first" else parts[::-1]:
            mine.load_state_dict(other.state_dict())
        again.step()
        assert again.get_last_lr() == [0.0625]


def test_a_rate_that_fails_changes_nothing():
    optimizer = optimizer_of()
    optimizer.add_param_group({"params": [gg.zeros(1, requires_grad=True)]})
    schedule = gg.optim.LambdaLR(optimizer, [lambda t: 1.0, lambda t: 1 / (3 - t)])
    for _ in range(2):
        schedule.step()
    before = schedule.state_dict(), schedule.get_last_lr()
    with pytest.raises(ZeroDivisionError):
        schedule.step()
    assert (schedule.state_dict(), schedule.get_last_lr()) == before
