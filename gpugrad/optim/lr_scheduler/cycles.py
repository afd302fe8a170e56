"""Rates that go up and down: cosines, restarts, cycles, and the way to an averaged model's rate.

Names and settings are PyTorch's. Imports `base`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.errors import DTypeError
from gpugrad.optim.lr_scheduler.base import LRScheduler, check_optimizer
from gpugrad.optim.optimizer import Optimizer
from gpugrad.optim.settings import choice, count, flag, number, of_group, per_group

__all__ = [
    "SWALR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR",
]  # fmt: skip

PerGroup = float | Sequence[float]


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
        self.T_max = count("CosineAnnealingLR: T_max", T_max)
        self.eta_min = number("CosineAnnealingLR: eta_min", eta_min, 0.0)
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2."""
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine wave from the initial learning rate to ``eta_min``, again and again.

    The first takes ``T_0`` steps, each of the others ``T_mult`` times as many as the one before
    (Loshchilov and Hutter 2017, SGDR). A rate that was set by hand is overwritten.

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = gg.optim.CosineAnnealingWarmRestarts(optimizer, T_0=2)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> [round(rate, 6) for rate in rates]
    [1.0, 0.5, 1.0, 0.5]
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0
    ) -> None:
        who = type(self).__name__
        self.T_0 = count(f"{who}: T_0", T_0)
        self.T_mult = count(f"{who}: T_mult", T_mult)
        self.eta_min = number(f"{who}: eta_min", eta_min, 0.0)
        super().__init__(optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """eta_min + (base - eta_min) (1 + cos(pi done / length)) / 2, of the present wave."""
        length = self.T_0
        if self.T_mult == 1:
            t %= length
        while t >= length:
            t -= length
            length *= self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / length)) / 2

    def next_rate(self, lr: float, base: float, t: int, group: int) -> float:
        """As `rate`, whatever the rate was before: as in PyTorch, it is overwritten."""
        return self.rate(base, t, group)


class _Cycle(LRScheduler):
    """The base of `CyclicLR` and `OneCycleLR`, which set the rate and, if asked, the momentum.

    That is a group's "momentum", or the first of its "betas". As in PyTorch they overwrite what was
    set by hand.
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: PerGroup, cycle_momentum: bool, base_momentum: PerGroup,
        max_momentum: PerGroup,
    ) -> None:  # fmt: skip
        who = type(self).__name__
        groups = len(optimizer.param_groups)
        self.max_lr = per_group(f"{who}: max_lr", max_lr, groups)
        self.cycle_momentum = flag(f"{who}: cycle_momentum", cycle_momentum)
        self.base_momentum = per_group(f"{who}: base_momentum", base_momentum, groups, 1.0)
        self.max_momentum = per_group(f"{who}: max_momentum", max_momentum, groups, 1.0)
        if cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise ValueError(
                f"{who}: {type(optimizer).__name__} has neither a momentum nor betas to cycle. "
                "Write cycle_momentum=False"
            )
        super().__init__(optimizer)

    def next_rate(self, lr: float, base: float, t: int, group: int) -> float:
        """As `rate`, whatever the rate was before."""
        return self.rate(base, t, group)

    def momentum(self, t: int, group: int) -> float:
        """The momentum of a group after ``t`` steps."""
        raise NotImplementedError

    def settings(self, t: int, group: int) -> dict[str, Any]:
        """The momentum under the optimizer's name for it, if it is to move."""
        if not self.cycle_momentum:
            return {}
        momentum = self.momentum(t, group)
        current = self.optimizer.param_groups[group]
        if "betas" in current:
            return {"betas": (momentum, current["betas"][1])}
        return {"momentum": momentum}


class CyclicLR(_Cycle):
    """From ``base_lr`` to ``max_lr`` and back, again and again (Smith 2017).

    The way up takes ``step_size_up`` steps, the way down ``step_size_down``, or as many. With
    ``mode="triangular2"`` each cycle is half as high as the one before, with ``"exp_range"`` it is
    lower by ``gamma`` a step; ``scale_fn`` is a function of one's own for the height, of the number
    of the cycle from 1, or with ``scale_mode="iterations"`` of the number of steps. The momentum
    goes the other way, from ``max_momentum`` to ``base_momentum``, unless ``cycle_momentum`` is
    False. Rates and momenta may be lists with one for each group.
    ValueError for an optimizer without a momentum that is to cycle.

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = gg.optim.CyclicLR(optimizer, base_lr=0.0, max_lr=1.0, step_size_up=2)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def __init__(
        self, optimizer: Optimizer, base_lr: PerGroup, max_lr: PerGroup, step_size_up: int = 2000,
        step_size_down: int | None = None, mode: str = "triangular", gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle",
        cycle_momentum: bool = True, base_momentum: PerGroup = 0.8, max_momentum: PerGroup = 0.9,
    ) -> None:  # fmt: skip
        who = "CyclicLR"
        check_optimizer(who, optimizer)
        self.base_lr = per_group(f"{who}: base_lr", base_lr, len(optimizer.param_groups))
        self.step_size_up = count(f"{who}: step_size_up", step_size_up)
        down = step_size_up if step_size_down is None else step_size_down
        self.step_size_down = count(f"{who}: step_size_down", down)
        self.mode = choice(f"{who}: mode", mode, "triangular", "triangular2", "exp_range")
        self.gamma = number(f"{who}: gamma", gamma, 0.0)
        if scale_fn is not None and not callable(scale_fn):
            raise DTypeError(f"{who}: scale_fn must be a function or None, got {scale_fn!r}")
        self.scale_fn = scale_fn
        self.scale_mode = choice(f"{who}: scale_mode", scale_mode, "cycle", "iterations")
        super().__init__(optimizer, max_lr, cycle_momentum, base_momentum, max_momentum)

    def _first(self, index: int, group: dict[str, Any]) -> float:
        return of_group("CyclicLR: base_lr", self.base_lr, index)

    def _height(self, t: int) -> float:
        """Where the cycle is after ``t`` steps: 0 at the base, 1 at its full height."""
        length = self.step_size_up + self.step_size_down
        cycle, x = t // length + 1, t % length
        up = x <= self.step_size_up
        height = x / self.step_size_up if up else (length - x) / self.step_size_down
        if self.scale_fn is not None:
            return height * float(self.scale_fn(cycle if self.scale_mode == "cycle" else t))
        if self.mode == "triangular2":
            return math.ldexp(height, 1 - cycle)
        return height * self.gamma**t if self.mode == "exp_range" else height

    def rate(self, base: float, t: int, group: int) -> float:
        """base + (max_lr - base) times the height of the cycle."""
        return base + (of_group("CyclicLR: max_lr", self.max_lr, group) - base) * self._height(t)

    def momentum(self, t: int, group: int) -> float:
        """max_momentum - (max_momentum - base_momentum) times the height of the cycle."""
        most = of_group("CyclicLR: max_momentum", self.max_momentum, group)
        least = of_group("CyclicLR: base_momentum", self.base_momentum, group)
        return most - (most - least) * self._height(t)


class OneCycleLR(_Cycle):
    """Up to ``max_lr`` and down to almost nothing, in all steps of the training (Smith 2018).

    From max_lr / div_factor up in the first ``pct_start`` of the steps, then down to that divided
    by ``final_div_factor``; with ``three_phase`` first down to where it began, as fast as it rose.
    ``anneal_strategy`` is "cos" or "linear". Their number is ``total_steps``, or ``epochs`` times
    ``steps_per_epoch``: call ``step`` after every batch. The momentum goes the other way, from
    ``max_momentum`` to ``base_momentum`` and back, unless ``cycle_momentum`` is False. Rates and
    momenta may be lists with one for each group.
    ValueError for more steps than these, and for an optimizer without a momentum that is to cycle.

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = gg.optim.OneCycleLR(optimizer, max_lr=1.0, total_steps=5, pct_start=0.4)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> [round(rate, 4) for rate in rates]
    [0.04, 1.0, 0.75, 0.25, 0.0]
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: PerGroup, total_steps: int | None = None,
        epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
        anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: PerGroup = 0.85,
        max_momentum: PerGroup = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:  # fmt: skip
        who = "OneCycleLR"
        check_optimizer(who, optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(f"{who}: needs total_steps, or epochs and steps_per_epoch")
            total_steps = count(f"{who}: epochs", epochs) * count(
                f"{who}: steps_per_epoch", steps_per_epoch
            )
        self.total_steps = count(f"{who}: total_steps", total_steps)
        self.pct_start = number(f"{who}: pct_start", pct_start, 0.0, math.nextafter(1.0, 2.0))
        self.anneal_strategy = choice(f"{who}: anneal_strategy", anneal_strategy, "cos", "linear")
        least = math.nextafter(0.0, 1.0)
        self.div_factor = number(f"{who}: div_factor", div_factor, least)
        self.final_div_factor = number(f"{who}: final_div_factor", final_div_factor, least)
        self.three_phase = flag(f"{who}: three_phase", three_phase)
        super().__init__(optimizer, max_lr, cycle_momentum, base_momentum, max_momentum)

    def _first(self, index: int, group: dict[str, Any]) -> float:
        return of_group("OneCycleLR: max_lr", self.max_lr, index) / self.div_factor

    def _along(self, t: int, values: Sequence[float]) -> float:
        """After ``t`` steps, between two of the values at the ends of the phases."""
        if t > self.total_steps:
            raise ValueError(
                f"OneCycleLR: this is step {t} of {self.total_steps}. Call step() once a batch, "
                "and give the number of all batches as total_steps"
            )
        rise, end = self.pct_start * self.total_steps - 1, float(self.total_steps - 1)
        ends = [0.0, rise, 2 * rise, end] if self.three_phase else [0.0, rise, end]
        phase = next((i for i, stop in enumerate(ends[1:-1]) if t <= stop), len(ends) - 2)
        length = ends[phase + 1] - ends[phase]
        done = (t - ends[phase]) / length if length else 1.0
        start, stop = values[phase], values[phase + 1]
        if self.anneal_strategy == "linear":
            return (stop - start) * done + start
        return stop + (start - stop) / 2 * (math.cos(math.pi * done) + 1)

    def rate(self, base: float, t: int, group: int) -> float:
        """From base to max_lr and down to base / final_div_factor."""
        most, least = (
            of_group("OneCycleLR: max_lr", self.max_lr, group),
            base / self.final_div_factor,
        )
        return self._along(
            t, (base, most, base, least) if self.three_phase else (base, most, least)
        )

    def momentum(self, t: int, group: int) -> float:
        """From max_momentum to base_momentum and back."""
        most = of_group("OneCycleLR: max_momentum", self.max_momentum, group)
        least = of_group("OneCycleLR: base_momentum", self.base_momentum, group)
        return self._along(t, (most, least, most, most))


class SWALR(LRScheduler):
    """To the constant rate of an averaged model: from the present one to ``swa_lr``, which stays.

    In ``anneal_epochs`` steps along half a cosine, or a line with ``anneal_strategy="linear"``.
    ``swa_lr`` may be a list with one for each group. See `gpugrad.optim.swa_utils.AveragedModel`.

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = gg.optim.SWALR(optimizer, swa_lr=0.5, anneal_epochs=2)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> [round(rate, 6) for rate in rates]
    [1.0, 0.75, 0.5, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: PerGroup,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
    ) -> None:
        check_optimizer("SWALR", optimizer)
        self.swa_lr = per_group("SWALR: swa_lr", swa_lr, len(optimizer.param_groups))
        self.anneal_epochs = count("SWALR: anneal_epochs", anneal_epochs, 0)
        self.anneal_strategy = choice("SWALR: anneal_strategy", anneal_strategy, "cos", "linear")
        super().__init__(optimizer)

    def _share(self, t: int) -> float:
        """How much of the way is done after ``t`` steps."""
        done = min(t / self.anneal_epochs, 1.0) if self.anneal_epochs else float(t > 0)
        return done if self.anneal_strategy == "linear" else (1 - math.cos(math.pi * done)) / 2

    def rate(self, base: float, t: int, group: int) -> float:
        """swa_lr share + base (1 - share)."""
        share = self._share(t)
        return of_group("SWALR: swa_lr", self.swa_lr, group) * share + base * (1 - share)

    def next_rate(self, lr: float, base: float, t: int, group: int) -> float:
        """From the present rate on, and at the end ``swa_lr``, whatever was set by hand."""
        if t and self._share(t - 1) == 1:
            return of_group("SWALR: swa_lr", self.swa_lr, group)
        return super().next_rate(lr, base, t, group)
