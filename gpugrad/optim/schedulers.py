"""Learning rates that follow a schedule, with PyTorch's names. Imports engine and `optimizer`.

A schedule is a function of the initial rate of a group and of the number of steps. As in PyTorch, a
step goes on from the rate that a group has: one that was set by hand, or by another schedule, is
multiplied as the schedule's own would be. Use `SequentialLR` for one schedule after the other.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpugrad.engine.interrupts import uninterrupted
from gpugrad.errors import DTypeError
from gpugrad.optim.optimizer import Optimizer
from gpugrad.optim.settings import number

__all__ = ["CosineAnnealingLR", "LRScheduler", "LambdaLR", "LinearLR", "SequentialLR", "StepLR"]


class LRScheduler:
    """The base class: sets the learning rates when it is created and at each ``step()``.

    A subclass has ``rate(base, t, group)``: the learning rate after ``t`` steps of the group
    with number ``group``, whose initial rate is ``base``, as a linear function of it. That is the
    rate of the group when its first scheduler was created, or when its optimizer was loaded before,
    stored in it as "initial_lr".
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise DTypeError(
                f"{type(self).__name__}: expected an optimizer, got {type(optimizer).__name__}"
            )
        self.optimizer = optimizer
        self.last_epoch = 0
        groups = optimizer.param_groups
        bases = [group["initial_lr" if "initial_lr" in group else "lr"] for group in groups]
        self._set(bases, self._next_rates(bases, 0), 0)

    def rate(self, base: float, t: int, group: int) -> float:
        """The learning rate of a group after ``t`` steps, from its initial rate."""
        raise NotImplementedError

    def next_rate(self, lr: float, base: float, t: int, group: int) -> float:
        """The learning rate of a group after ``t`` steps, from its rate ``lr`` one step before.

        That is ``rate(base, t, group)``, unless ``lr`` was set by hand or by another schedule: it
        is then multiplied as the schedule's own. A schedule that overwrites it has its own method.
        """
        if t == 0:
            return self.rate(lr, 0, group)
        expected = self.rate(base, t - 1, group)
        if lr == expected:
            return self.rate(base, t, group)
        least, slope = self._line(t - 1, group)
        if not slope:  # every initial rate has come to the same: there is nothing to multiply
            return lr + self.rate(base, t, group) - expected
        return self.rate((lr - least) / slope, t, group)

    def _next_rates(self, bases: Sequence[float], t: int) -> list[float]:
        who = f"{type(self).__name__}: lr"
        return [
            self.next_rate(number(who, group["lr"], 0.0), base, t, index)
            for index, (group, base) in enumerate(zip(self.optimizer.param_groups, bases))
        ]

    def _line(self, t: int, group: int) -> tuple[float, float]:
        """The rate after ``t`` steps from the initial rate 0, and its slope by that."""
        least = self.rate(0.0, t, group)
        return least, self.rate(1.0, t, group) - least

    def _set(self, bases: Sequence[float], rates: Sequence[float], t: int) -> None:
        """Set the initial rates of the groups, their rates and the number of steps."""
        with uninterrupted():
            self.last_epoch = t
            for group, base, rate in zip(self.optimizer.param_groups, bases, rates):
                group["initial_lr"], group["lr"] = base, rate

    def _bases(self) -> list[float]:
        """The initial rate of each group; of one added since, that which gives its present rate."""
        t, bases = self.last_epoch, []
        for index, group in enumerate(self.optimizer.param_groups):
            if "initial_lr" in group:
                bases.append(group["initial_lr"])
                continue
            # Where a schedule has come to 0, no initial rate gives another.
            least, slope = self._line(t, index)
            bases.append((group["lr"] - least) / slope if slope else group["lr"])
        return bases

    def step(self) -> None:
        """Set the next learning rates; call it after ``optimizer.step()``, per epoch or step.

        A group whose rate was set by hand since the last step, or that was added since, goes on
        from that rate.
        """
        bases, t = self._bases(), self.last_epoch + 1
        self._set(bases, self._next_rates(bases, t), t)

    def get_last_lr(self) -> list[float]:
        """The current learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The number of steps, the initial rates and the present ones, without the settings."""
        return {
            "schedule": type(self).__name__,
            "last_epoch": self.last_epoch,
            "base_lrs": self._bases(),
            "lrs": self.get_last_lr(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a ``state_dict``, and set its learning rates.

        ValueError for the state of another schedule or number of groups, and for anything else
        that is no state of a schedule; after an error nothing has been changed.
        """
        who = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, Mapping):
            raise DTypeError(f"{who}: expected a state_dict(), got {type(state_dict).__name__}")
        # A state of an earlier version has no present rates: there they follow from the initial.
        if set(state_dict) | {"lrs"} != {"schedule", "last_epoch", "base_lrs", "lrs"}:
            raise ValueError(
                f"{who}: expected the keys schedule, last_epoch, base_lrs and lrs, got "
                f"{sorted(map(str, state_dict))}"
            )
        schedule = state_dict["schedule"]
        if not isinstance(schedule, str) or schedule != type(self).__name__:
            raise ValueError(f"{who}: this is the state of a {schedule}")
        t = state_dict["last_epoch"]
        if isinstance(t, bool) or not isinstance(t, int) or not 0 <= t < 2**63:
            raise ValueError(f"{who}: last_epoch must be a number of steps, got {t!r}")
        bases = self._loaded(who, "base_lrs", state_dict["base_lrs"])
        if "lrs" in state_dict:
            rates = self._loaded(who, "lrs", state_dict["lrs"])
        else:
            rates = [self.rate(base, t, index) for index, base in enumerate(bases)]
        self._set(bases, rates, t)

    def _loaded(self, who: str, key: str, rates: Any) -> list[float]:
        """A rate for each group, out of a state."""
        if not isinstance(rates, list | tuple):
            raise ValueError(f"{who}: {key} must be a list of numbers, got {rates!r}")
        count = len(self.optimizer.param_groups)
        if len(rates) != count:
            raise ValueError(
                f"{who}: the optimizer has {count} groups, the state is of {len(rates)}"
            )
        return [number(f"{who}: a rate in {key}", rate, 0.0) for rate in rates]

    def __repr__(self) -> str:
        rates = ", ".join(f"{rate:g}" for rate in self.get_last_lr())
        return f"{type(self).__name__}(step {self.last_epoch}, lr {rates})"


def _count(who: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise DTypeError(f"{who} must be a whole number, got {value!r}")
    if value < 1:
        raise ValueError(f"{who} must be at least 1, got {value}")
    return value


class StepLR(LRScheduler):
    """The learning rate times ``gamma`` after every ``step_size`` steps.

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = gg.optim.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(5):
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size = _count("StepLR: step_size", step_size)
        self.gamma = number("StepLR: gamma", gamma, 0.0)
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """base gamma**(t // step_size)."""
        return base * self.gamma ** (t // self.step_size)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine wave from the initial learning rate to ``eta_min`` in ``T_max`` steps.

    Then it rises again along the other half, as in PyTorch (Loshchilov and Hutter 2017, SGDR,
    without restarts).

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = gg.optim.CosineAnnealingLR(optimizer, T_max=2)
    >>> schedule.step()
    >>> [round(rate, 6) for rate in schedule.get_last_lr()]
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max = _count("CosineAnnealingLR: T_max", T_max)
        self.eta_min = number("CosineAnnealingLR: eta_min", eta_min, 0.0)
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2."""
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class LinearLR(LRScheduler):
    """Warm-up: a factor that goes from ``start_factor`` to ``end_factor`` in ``total_iters`` steps.

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = gg.optim.LinearLR(optimizer, start_factor=0.25, total_iters=3)
    >>> optimizer.param_groups[0]["lr"]
    0.25
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        self.start_factor = number("LinearLR: start_factor", start_factor, 0.0)
        self.end_factor = number("LinearLR: end_factor", end_factor, 0.0)
        self.total_iters = _count("LinearLR: total_iters", total_iters)
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """base times the factor, which ends at ``end_factor``."""
        done = min(t, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * done)


class LambdaLR(LRScheduler):
    """The initial learning rate times a function of the number of steps, or one for each group.

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = gg.optim.LambdaLR(optimizer, lambda t: 1 / (1 + t))
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
    ) -> None:
        self.lr_lambda = lr_lambda
        if not callable(lr_lambda) and len(lr_lambda) != len(optimizer.param_groups):
            raise ValueError(
                f"LambdaLR: {len(lr_lambda)} functions for {len(optimizer.param_groups)} groups"
            )
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """base lambda(t)."""
        f = self.lr_lambda if callable(self.lr_lambda) else self.lr_lambda[group]
        return base * float(f(t))

    def next_rate(self, lr: float, base: float, t: int, group: int) -> float:
        """base lambda(t), whatever the rate was before: as in PyTorch, it is overwritten."""
        return self.rate(base, t, group)


class SequentialLR(LRScheduler):
    """One schedule after the other: ``schedulers[i + 1]`` begins at step ``milestones[i]``.

    Warm up, then decay, in the usual way:

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> warm_up = gg.optim.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> decay = gg.optim.CosineAnnealingLR(optimizer, T_max=10)
    >>> schedule = gg.optim.SequentialLR(optimizer, [warm_up, decay], milestones=[2])
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> [round(rate, 4) for rate in rates]
    [0.5, 0.75, 1.0, 0.9755]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]
    ) -> None:
        self.schedulers = list(schedulers)
        self.milestones = [_count("SequentialLR: a milestone", m) for m in milestones]
        if len(self.milestones) != len(self.schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(self.schedulers)} schedulers need "
                f"{len(self.schedulers) - 1} milestones, got {len(self.milestones)}"
            )
        if sorted(set(self.milestones)) != self.milestones:
            raise ValueError(f"SequentialLR: milestones must rise, got {self.milestones}")
        if any(scheduler.optimizer is not optimizer for scheduler in self.schedulers):
            raise ValueError("SequentialLR: the schedulers must be of this optimizer")
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """The rate of the active schedule, counted from its milestone."""
        schedule, begun = self._active(t)
        return schedule.rate(base, t - begun, group)

    def next_rate(self, lr: float, base: float, t: int, group: int) -> float:
        """The next rate of the active schedule, which begins with the initial rate."""
        schedule, begun = self._active(t)
        if t == begun:
            return schedule.rate(base, 0, group)
        return schedule.next_rate(lr, base, t - begun, group)

    def _active(self, t: int) -> tuple[LRScheduler, int]:
        """The schedule that gives the rate after ``t`` steps, and its milestone."""
        turn = bisect_right(self.milestones, t)
        return self.schedulers[turn], self.milestones[turn - 1] if turn else 0
