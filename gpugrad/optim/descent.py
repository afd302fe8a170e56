"""Descent by signs and averages: Lion, Rprop and ASGD. Imports the modules beside it.

Rprop and ASGD have PyTorch's names, settings and trajectories; Lion, which PyTorch does not have,
those of its authors.
"""

import math
from collections.abc import Iterable
from typing import Any

from gpugrad.optim.algorithms import ascends
from gpugrad.optim.apply import Clock, Numbers
from gpugrad.optim.optimizer import Group, Optimizer
from gpugrad.optim.rules import asgd, lion, rprop
from gpugrad.optim.settings import settings_of

__all__ = ["ASGD", "Lion", "Rprop"]


class Lion(Optimizer):
    """Lion: steps of one size, by the sign of a moving average of the gradient.

    See `gpugrad.optim.rules.lion`; the formulas are those of Chen et al. 2023. One state array, not
    two as Adam. All elements move by ``lr``, so a tenth of Adam's rate suits, and ten times its
    ``weight_decay``, by which the parameter shrinks as in `gpugrad.optim.AdamW`. ``maximize`` and
    ``master_weights`` as in `gpugrad.optim.SGD`.
    ValueError for betas outside [0, 1) and other settings below 0.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = gg.optim.Lion([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.5, -1.5]
    """

    rule = staticmethod(lion)
    scratch = 2
    names = ("exp_avg",)

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0, *, maximize: bool = False, master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, settings_of(locals()))

    def _values(self, group: Group, t: int) -> Numbers:
        lr, decay, (beta1, beta2) = group["lr"], group["weight_decay"], group["betas"]
        return 1 - beta1, 1 - beta2, lr, 1 - lr * decay if decay else None, ascends(group)


class Rprop(Optimizer):
    """Resilient backpropagation: each element has a step size, and the gradient only its sign.

    For gradients of all data, not of batches. The formulas are PyTorch's; see
    `gpugrad.optim.rules.rprop`. The step sizes begin with ``lr``; ``etas`` are their factors where
    the sign has changed and where it is the same, ``step_sizes`` their least and largest value.
    ``maximize`` and ``master_weights`` as in `gpugrad.optim.SGD`.
    ValueError unless 0 < etas[0] < 1 < etas[1], and for other settings below 0.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = gg.optim.Rprop([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.5, -1.5]
    """

    rule = staticmethod(rprop)
    scratch = 3
    names = ("prev", "step_size")

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0), *, maximize: bool = False,
        master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, settings_of(locals()))

    def _check(self, group: Group) -> None:
        super()._check(group)
        who = self._who()
        fall, rise = group["etas"]
        if not 0 < fall < 1 < rise:
            raise ValueError(
                f"{who}: etas must be a factor below 1 and one above 1, got {group['etas']}"
            )
        least, most = group["step_sizes"]
        if least > most:
            raise ValueError(
                f"{who}: step_sizes must be the least and the largest, got {group['step_sizes']}"
            )

    def _filled(self, group: Group, name: str) -> float:
        return float(group["lr"]) if name == "step_size" else 0.0

    def _values(self, group: Group, t: int) -> Numbers:
        (fall, rise), (least, most) = group["etas"], group["step_sizes"]
        return (rise - fall) / 2, (rise + fall) / 2 - 1, least, most, ascends(group)


class ASGD(Optimizer):
    """Averaged descent: a falling rate, and from step ``t0`` on an average of the parameters.

    The formulas are PyTorch's; see `gpugrad.optim.rules.asgd`. The rate after step t is
    eta = lr / (1 + lambd lr t)**alpha; a parameter shrinks by 1 - lambd eta at each step. The
    average is the state "ax"; before ``t0`` it is the parameter. ``weight_decay`` times the
    parameter is added to the gradient; ``maximize`` and ``master_weights`` as in
    `gpugrad.optim.SGD`. ValueError for settings below 0.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = gg.optim.ASGD([w], lr=0.25, lambd=0.0, t0=0)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (w * w).sum().backward()
    ...     optimizer.step()
    >>> w.tolist(), optimizer.state[w]["ax"].tolist()
    ([0.25, 0.5], [0.25, 0.5])
    """

    rule = staticmethod(asgd)
    scratch = 2
    counted = ("step", "eta", "mu")
    names = ("ax",)

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, lambd: float = 1e-4, alpha: float = 0.75,
        t0: float = 1e6, weight_decay: float = 0.0, *, maximize: bool = False,
        master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, settings_of(locals()))

    def _start(self, group: Group) -> Clock:
        return 0, float(group["lr"]), 1.0

    def _advance(self, group: Group, clock: Clock) -> tuple[Clock, Numbers]:
        """eta and mu are those of the next step, as in PyTorch: a new rate counts a step later."""
        t, eta, mu = clock[0] + 1, clock[1], clock[2]
        lr, lambd = group["lr"], group["lambd"]
        later = lr * math.exp(-group["alpha"] * math.log1p(lambd * lr * t))
        numbers = (
            1 - lambd * eta, eta, None if mu == 1 else mu, group["weight_decay"] or None,
            ascends(group),
        )  # fmt: skip
        return (t, later, 1 / max(1.0, t - group["t0"])), numbers
