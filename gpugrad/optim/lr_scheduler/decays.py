"""Rates that fall, or rise, from the initial one: by factors, lines, powers and functions.

Names and settings are PyTorch's. Imports `base`.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gpugrad.errors import DTypeError
from gpugrad.optim.lr_scheduler.base import LRScheduler, check_optimizer
from gpugrad.optim.optimizer import Optimizer
from gpugrad.optim.settings import count, number

__all__ = [
    "ConstantLR", "ExponentialLR", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR",
    "PolynomialLR", "StepLR",
]  # fmt: skip


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
        self.step_size = count("StepLR: step_size", step_size)
        self.gamma = number("StepLR: gamma", gamma, 0.0)
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """base gamma**(t // step_size)."""
        return base * self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """The learning rate times ``gamma`` at each of the ``milestones``, which are numbers of steps.

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = gg.optim.MultiStepLR(optimizer, milestones=[2, 3], gamma=0.5)
    >>> for _ in range(3):
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        if not isinstance(milestones, Iterable):
            raise DTypeError(f"MultiStepLR: milestones must be a list, got {milestones!r}")
        self.milestones = sorted(count("MultiStepLR: a milestone", m) for m in milestones)
        self.gamma = number("MultiStepLR: gamma", gamma, 0.0)
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """base gamma**(the number of milestones up to t)."""
        return base * self.gamma ** bisect_right(self.milestones, t)


class ConstantLR(LRScheduler):
    """The learning rate times ``factor`` for ``total_iters`` steps, and then as it was.

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = gg.optim.ConstantLR(optimizer, factor=0.5, total_iters=2)
    >>> rates = []
    >>> for _ in range(3):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [0.5, 0.5, 1.0]
    """

    def __init__(self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5) -> None:
        self.factor = number("ConstantLR: factor", factor, 0.0)
        self.total_iters = count("ConstantLR: total_iters", total_iters)
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """base factor, and from step total_iters on base."""
        return base * self.factor if t < self.total_iters else base


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
        self.total_iters = count("LinearLR: total_iters", total_iters)
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """base times the factor, which ends at ``end_factor``."""
        done = min(t, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * done)


class ExponentialLR(LRScheduler):
    """The learning rate times ``gamma`` after every step.

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = gg.optim.ExponentialLR(optimizer, gamma=0.5)
    >>> schedule.step()
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = number("ExponentialLR: gamma", gamma, 0.0)
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """base gamma**t."""
        return base * self.gamma**t


class PolynomialLR(LRScheduler):
    """From the initial learning rate to 0 in ``total_iters`` steps, by a power of what is left.

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = gg.optim.PolynomialLR(optimizer, total_iters=4, power=2.0)
    >>> schedule.step()
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0) -> None:
        self.total_iters = count("PolynomialLR: total_iters", total_iters)
        self.power = number("PolynomialLR: power", power, 0.0)
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """base (1 - t / total_iters)**power, and 0 from there on."""
        return base * (1 - min(t, self.total_iters) / self.total_iters) ** self.power


Function = Callable[[int], float]


def _functions(
    who: str, optimizer: Any, functions: Function | Sequence[Function]
) -> Function | Sequence[Function]:
    """A function for all groups, or one for each."""
    check_optimizer(who, optimizer)
    if callable(functions):
        return functions
    if not isinstance(functions, list | tuple) or not all(map(callable, functions)):
        raise DTypeError(
            f"{who}: lr_lambda must be a function, or a list of them, got {functions!r}"
        )
    groups = len(optimizer.param_groups)
    if len(functions) != groups:
        raise ValueError(f"{who}: {len(functions)} functions for {groups} groups")
    return list(functions)


def _value(who: str, functions: Function | Sequence[Function], t: int, group: int) -> float:
    if callable(functions):
        return float(functions(t))
    if group >= len(functions):
        raise ValueError(f"{who}: there is no function for group {group}, which was added since")
    return float(functions[group](t))


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
        self.lr_lambda = _functions("LambdaLR", optimizer, lr_lambda)
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """base lambda(t)."""
        return base * _value("LambdaLR", self.lr_lambda, t, group)

    def next_rate(self, lr: float, base: float, t: int, group: int) -> float:
        """base lambda(t), whatever the rate was before: as in PyTorch, it is overwritten."""
        return self.rate(base, t, group)


class MultiplicativeLR(LRScheduler):
    """The learning rate times a function of the number of steps, at each of them.

    ``lr_lambda`` is the function, or a list with one for each group.

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = gg.optim.MultiplicativeLR(optimizer, lambda t: 0.5 if t < 3 else 1.0)
    >>> for _ in range(5):
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    from_initial = False

    def __init__(self, optimizer: Optimizer, lr_lambda: Function | Sequence[Function]) -> None:
        self.lr_lambda = _functions("MultiplicativeLR", optimizer, lr_lambda)
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """base lambda(1) lambda(2) ... lambda(t)."""
        for step in range(1, t + 1):
            base *= _value("MultiplicativeLR", self.lr_lambda, step, group)
        return base

    def next_rate(self, lr: float, base: float, t: int, group: int) -> float:
        """lr lambda(t)."""
        return lr * _value("MultiplicativeLR", self.lr_lambda, t, group) if t else lr

    def _line(self, t: int, group: int) -> tuple[float, float]:
        return 0.0, 0.0  # nothing needs the initial rate, and its product takes t calls
