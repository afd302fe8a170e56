"""Schedules of schedules: one after the other, or all at once. Imports `base` and `plateau`."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from gpugrad.errors import DTypeError
from gpugrad.optim.lr_scheduler.base import LRScheduler
from gpugrad.optim.optimizer import Optimizer
from gpugrad.optim.settings import count

__all__ = ["ChainedScheduler", "SequentialLR"]


def _listed(who: str, schedulers: Any) -> list[Any]:
    """Schedules as a list, which is not empty."""
    if not isinstance(schedulers, Iterable):
        given = type(schedulers).__name__
        raise DTypeError(f"{who}: expected a list of schedules, got {given}")
    members = list(schedulers)
    if not members:
        raise ValueError(f"{who}: there are no schedules")
    return members


def _members(who: str, optimizer: Any, schedulers: Any) -> list[LRScheduler]:
    members = _listed(who, schedulers)
    for member in members:
        if not isinstance(member, LRScheduler):
            raise DTypeError(
                f"{who}: expected schedules that depend on the number of steps alone, got "
                f"{type(member).__name__}"
            )
    if any(member.optimizer is not optimizer for member in members):
        raise ValueError(f"{who}: the schedulers must be of this optimizer")
    return members


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

    from_initial = False

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]
    ) -> None:
        schedulers = _listed("SequentialLR", schedulers)
        self.milestones = [count("SequentialLR: a milestone", m) for m in milestones]
        if len(self.milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedulers need "
                f"{len(schedulers) - 1} milestones, got {len(self.milestones)}"
            )
        if sorted(set(self.milestones)) != self.milestones:
            raise ValueError(f"SequentialLR: milestones must rise, got {self.milestones}")
        self.schedulers = _members("SequentialLR", optimizer, schedulers)
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

    def settings(self, t: int, group: int) -> dict[str, Any]:
        """Those of the active schedule."""
        schedule, begun = self._active(t)
        return schedule.settings(t - begun, group)

    def _line(self, t: int, group: int) -> tuple[float, float]:
        schedule, begun = self._active(t)
        return schedule._line(t - begun, group)

    def _active(self, t: int) -> tuple[LRScheduler, int]:
        """The schedule that gives the rate after ``t`` steps, and its milestone."""
        turn = bisect_right(self.milestones, t)
        return self.schedulers[turn], self.milestones[turn - 1] if turn else 0


class ChainedScheduler(LRScheduler):
    """Several schedules at once: each changes the rate that the one before it has left.

    Step this one alone, not its members. ``optimizer`` is theirs, if it is not given.

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> warm_up = gg.optim.ConstantLR(optimizer, factor=0.5, total_iters=2)
    >>> decay = gg.optim.ExponentialLR(optimizer, gamma=0.5)
    >>> schedule = gg.optim.ChainedScheduler([warm_up, decay])
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [0.5, 0.25, 0.25, 0.125]
    """

    from_initial = False

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if isinstance(schedulers, Optimizer):
            raise DTypeError(
                "ChainedScheduler: expected a list of schedules first, got an optimizer"
            )
        schedulers = _listed("ChainedScheduler", schedulers)
        if optimizer is None:
            optimizer = getattr(schedulers[0], "optimizer", None)
        self.schedulers = _members("ChainedScheduler", optimizer, schedulers)
        super().__init__(self.schedulers[0].optimizer)

    def rate(self, base: float, t: int, group: int) -> float:
        """The rate of the last, from that of the one before it, and so on to the first."""
        for schedule in self.schedulers:
            base = schedule.rate(base, t, group)
        return base

    def next_rate(self, lr: float, base: float, t: int, group: int) -> float:
        """As `rate`; at the beginning the members have set theirs already."""
        if t:
            for schedule in self.schedulers:
                lr = schedule.next_rate(lr, base, t, group)
        return lr

    def settings(self, t: int, group: int) -> dict[str, Any]:
        """Those of all, of which the last counts."""
        found: dict[str, Any] = {}
        for schedule in self.schedulers:
            found.update(schedule.settings(t, group))
        return found

    def _line(self, t: int, group: int) -> tuple[float, float]:
        least, slope = 0.0, 1.0
        for schedule in self.schedulers:
            own_least, own_slope = schedule._line(t, group)
            least, slope = own_least + own_slope * least, own_slope * slope
        return least, slope
