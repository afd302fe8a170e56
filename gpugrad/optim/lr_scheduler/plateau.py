"""A rate that falls when a figure stands still. Imports engine and `optimizer`."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any

from gpugrad.backend.interrupts import whole
from gpugrad.errors import DTypeError
from gpugrad.optim.lr_scheduler.base import Schedule, check_optimizer
from gpugrad.optim.optimizer import Optimizer
from gpugrad.optim.settings import choice, count, number, of_group, per_group
from gpugrad.tensor import Tensor

__all__ = ["ReduceLROnPlateau"]

_COUNTS = ("last_epoch", "num_bad_epochs", "cooldown_counter")


class ReduceLROnPlateau(Schedule):
    """The learning rate times ``factor`` when a figure, such as the validation loss, stands still.

    ``step(figure)`` counts it as better where it is lower than the best so far by ``threshold``, a
    share of the best or, with ``threshold_mode="abs"``, a difference; with ``mode="max"`` where it
    is higher. After more than ``patience`` steps in a row that are not better the rates fall, but
    not below ``min_lr`` (a number, or a list with one for each group), and not at all by ``eps`` or
    less. For ``cooldown`` steps from there on nothing counts as bad. All as in PyTorch.
    ValueError for a ``factor`` of 1 or more, and other settings out of range.

    >>> import gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = gg.optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.5, 2.5):
    ...     schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
        threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        who = type(self).__name__
        check_optimizer(who, optimizer)
        self.optimizer = optimizer
        self.mode = choice(f"{who}: mode", mode, "min", "max")
        self.factor = number(f"{who}: factor", factor, 0.0, 1.0)
        self.patience = count(f"{who}: patience", patience, 0)
        self.threshold = number(f"{who}: threshold", threshold, 0.0)
        self.threshold_mode = choice(f"{who}: threshold_mode", threshold_mode, "rel", "abs")
        self.cooldown = count(f"{who}: cooldown", cooldown, 0)
        self.min_lr = per_group(f"{who}: min_lr", min_lr, len(optimizer.param_groups))
        self.eps = number(f"{who}: eps", eps, 0.0)
        self.best = math.inf if mode == "min" else -math.inf
        self.last_epoch = self.num_bad_epochs = self.cooldown_counter = 0

    def _is_better(self, figure: float) -> bool:
        relative, lower = self.threshold_mode == "rel", self.mode == "min"
        change = -self.threshold if lower else self.threshold
        bound = self.best * (1 + change) if relative else self.best + change
        return figure < bound if lower else figure > bound

    def step(self, metrics: Any) -> None:
        """Take note of a figure, a number or a Tensor with one, and set the next learning rates.

        A Tensor on a GPU is waited for.
        """
        figure = metrics.item() if isinstance(metrics, Tensor) else metrics
        if isinstance(figure, bool) or not isinstance(figure, Real):
            raise DTypeError(f"{type(self).__name__}.step: expected a number, got {metrics!r}")
        figure = float(figure)
        best, bad, rest = self.best, self.num_bad_epochs + 1, self.cooldown_counter
        if self._is_better(figure):
            best, bad = figure, 0
        if rest > 0:
            rest, bad = rest - 1, 0
        rates = self.get_last_lr()
        if bad > self.patience:
            rates = self._reduced(rates)
            rest, bad = self.cooldown, 0
        self._set(rates, best, self.last_epoch + 1, bad, rest)

    def _reduced(self, rates: Sequence[Any]) -> list[float]:
        who = type(self).__name__
        reduced = []
        for index, rate in enumerate(rates):
            old = number(f"{who}: lr", rate, 0.0)
            new = max(old * self.factor, of_group(f"{who}: min_lr", self.min_lr, index))
            reduced.append(new if old - new > self.eps else old)
        return reduced

    def _set(
        self, rates: Sequence[float], best: float, last_epoch: int, bad: int, rest: int
    ) -> None:
        own = {"best": best, "last_epoch": last_epoch}
        own |= {"num_bad_epochs": bad, "cooldown_counter": rest}
        calls: list[Any] = [partial(vars(self).update, own)]
        for group, rate in zip(self.optimizer.param_groups, rates):
            calls.append(partial(group.update, lr=rate))
        whole(calls)

    def state_dict(self) -> dict[str, Any]:
        """The counts, the best figure and the present rates, without the settings."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        best = self.best if math.isfinite(self.best) else None
        return {"schedule": type(self).__name__, **counts, "best": best, "lrs": self.get_last_lr()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a ``state_dict``, and set its learning rates.

        ValueError for the state of another schedule or number of groups, DTypeError for what is
        no state of a schedule; after an error nothing has been changed.
        """
        who = f"{type(self).__name__}.load_state_dict"
        self._check_state(who, state_dict, ("schedule", *_COUNTS, "best", "lrs"))
        last_epoch, bad, rest = (count(f"{who}: {name}", state_dict[name], 0) for name in _COUNTS)
        best = state_dict["best"]
        if best is None:
            best = math.inf if self.mode == "min" else -math.inf
        else:
            best = number(f"{who}: best", best)
        self._set(self._loaded(who, "lrs", state_dict["lrs"]), best, last_epoch, bad, rest)

    def __repr__(self) -> str:
        rates = ", ".join(f"{rate:g}" for rate in self.get_last_lr())
        return f"{type(self).__name__}(step {self.last_epoch}, lr {rates}, best {self.best:g})"
