"""A schedule goes on from the rate that a group has, as PyTorch's do: against its figures."""

import json
from pathlib import Path

import pytest

import gpugrad as gg

DATA = Path(__file__).parents[1] / "data" / "pytorch" / "rates_set_by_hand.json"
CASES = json.loads(DATA.read_text())
cases = pytest.mark.parametrize("case", CASES, ids=[str(index) for index in range(len(CASES))])


def optimizer_of(lr):
    return gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=lr)


def schedule_of(optimizer, name, settings):
    kind = getattr(gg.optim, name)
    if name != "SequentialLR":
        return kind(optimizer, **settings)
    members, milestones = settings
    return kind(optimizer, [schedule_of(optimizer, *member) for member in members], milestones)


def made(case, lr):
    optimizer = optimizer_of(lr)
    return optimizer, [schedule_of(optimizer, *schedule) for schedule in case["schedules"]]


def run(case, resumed):
    """The rates; with ``resumed`` each step is made by new objects that loaded the states."""
    optimizer, schedules = made(case, 1.0)
    rates = [optimizer.param_groups[0]["lr"]]
    for step in range(len(case["rates"]) - 1):
        group = optimizer.param_groups[0]
        group["lr"] = case["by_hand"].get(str(step), group["lr"])
        if resumed:
            states = [one.state_dict() for one in (optimizer, *schedules)]
            optimizer, schedules = made(case, 1.0)
            for one, state in zip((optimizer, *schedules), states):
                one.load_state_dict(state)
        for schedule in schedules:
            schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@cases
def test_rates_are_those_of_pytorch(case):
    assert run(case, resumed=False) == pytest.approx(case["rates"], rel=1e-12, abs=1e-15)


@cases
def test_a_resumed_run_has_the_same_rates(case):
    assert run(case, resumed=True) == run(case, resumed=False)


def test_a_lambda_overwrites_the_rate():
    optimizer = optimizer_of(2.0)
    schedule = gg.optim.LambdaLR(optimizer, lambda t: 1 / (1 + t))
    optimizer.param_groups[0]["lr"] = 9.0
    schedule.step()
    assert schedule.get_last_lr() == [1.0]


def test_a_rate_that_is_no_number_is_refused_and_changes_nothing():
    optimizer = optimizer_of(2.0)
    schedule = gg.optim.StepLR(optimizer, 1)
    optimizer.param_groups[0]["lr"] = "fast"
    with pytest.raises(gg.DTypeError, match="StepLR: lr must be a number, got 'fast'"):
        schedule.step()
    assert schedule.last_epoch == 0
    assert schedule.get_last_lr() == ["fast"]


def test_a_state_without_present_rates_gives_those_of_the_schedule():
    schedule = gg.optim.StepLR(optimizer_of(1.0), 1, gamma=0.5)
    state = {"schedule": "StepLR", "last_epoch": 3, "base_lrs": [8.0]}
    schedule.load_state_dict(state)
    assert schedule.get_last_lr() == [1.0]
    with pytest.raises(ValueError, match="expected the keys"):
        schedule.load_state_dict({"schedule": "StepLR", "last_epoch": 3, "lrs": [8.0]})
