"""Steps scaled by past gradients: Adagrad, RMSprop, Adadelta, Adamax, NAdam and RAdam.

Names, settings and trajectories are PyTorch's. Imports the modules beside it.
"""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

from gpugrad.optim.algorithms import MOMENTS, ascends, decays
from gpugrad.optim.apply import Clock, Numbers
from gpugrad.optim.optimizer import Group, Optimizer
from gpugrad.optim.rules import adadelta, adagrad, adamax, nadam, radam, rmsprop
from gpugrad.optim.settings import settings_of

__all__ = ["Adadelta", "Adagrad", "Adamax", "NAdam", "RAdam", "RMSprop"]


class Adagrad(Optimizer):
    """Adagrad: steps divided by the root of the sum of all squared gradients.

    The formulas are PyTorch's; see `gpugrad.optim.rules.adagrad`. Step t has the rate
    lr / (1 + (t - 1) lr_decay); the sum begins with ``initial_accumulator_value``. ``weight_decay``
    times the parameter is added to the gradient; ``maximize`` and ``master_weights`` as in
    `gpugrad.optim.SGD`. ValueError for settings below 0.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = gg.optim.Adagrad([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.5, 1.5]
    """

    rule = staticmethod(adagrad)
    scratch = 2
    names = ("sum",)

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, lr_decay: float = 0.0,
        weight_decay: float = 0.0, initial_accumulator_value: float = 0.0, eps: float = 1e-10, *,
        maximize: bool = False, master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, settings_of(locals()))

    def _filled(self, group: Group, name: str) -> float:
        return float(group["initial_accumulator_value"])

    def _values(self, group: Group, t: int) -> Numbers:
        lr = group["lr"] / (1 + (t - 1) * group["lr_decay"])
        return lr, group["eps"], group["weight_decay"] or None, ascends(group)


_SQUARE = ("square_avg",)
_RMSPROP = {
    (bool(momentum), bool(mean)): _SQUARE + momentum + mean
    for momentum in ((), ("momentum_buffer",))
    for mean in ((), ("grad_avg",))
}


class RMSprop(Optimizer):
    """RMSprop: steps divided by the root of a moving average of the squared gradient.

    The formulas are PyTorch's; see `gpugrad.optim.rules.rmsprop`. ``centered`` divides by the
    root of the gradient's variance instead. ``weight_decay`` times the parameter is added to the
    gradient; ``maximize`` and ``master_weights`` as in `gpugrad.optim.SGD`.
    ValueError for settings below 0.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = gg.optim.RMSprop([w], lr=0.05)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> [round(x, 4) for x in w.tolist()]
    [0.5, 1.5]
    """

    rule = staticmethod(rmsprop)
    scratch = 2

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False, *,
        maximize: bool = False, master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, settings_of(locals()))

    def _names(self, group: Group) -> tuple[str, ...]:
        return _RMSPROP[bool(group["momentum"]), group["centered"]]

    def _values(self, group: Group, t: int) -> Numbers:
        alpha = group["alpha"]
        momentum, decay = group["momentum"] or None, group["weight_decay"] or None
        return alpha, 1 - alpha, group["eps"], group["lr"], momentum, decay, ascends(group)


class Adadelta(Optimizer):
    """Adadelta: steps in the ratio of the roots of averages of past steps and gradients, squared.

    The formulas are PyTorch's; see `gpugrad.optim.rules.adadelta`. ``weight_decay`` times the
    parameter is added to the gradient; ``maximize`` and ``master_weights`` as in
    `gpugrad.optim.SGD`. ValueError for ``rho`` outside [0, 1] and other settings below 0.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = gg.optim.Adadelta([w])
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> [round(x, 4) for x in w.tolist()]
    [0.9968, 1.9968]
    """

    rule = staticmethod(adadelta)
    scratch = 3
    names = ("square_avg", "acc_delta")
    ranges: ClassVar = {"rho": (0.0, math.nextafter(1.0, 2.0))}

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6,
        weight_decay: float = 0.0, *, maximize: bool = False, master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, settings_of(locals()))

    def _values(self, group: Group, t: int) -> Numbers:
        rho, decay = group["rho"], group["weight_decay"] or None
        return rho, 1 - rho, group["eps"], group["lr"], decay, ascends(group)


class Adamax(Optimizer):
    """Adam with the largest gradient of late in place of the root of squares.

    The formulas are PyTorch's; see `gpugrad.optim.rules.adamax`. ``weight_decay`` times the
    parameter is added to the gradient; ``maximize`` and ``master_weights`` as in
    `gpugrad.optim.SGD`. ValueError for betas outside [0, 1) and other settings below 0.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = gg.optim.Adamax([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.5, 1.5]
    """

    rule = staticmethod(adamax)
    scratch = 2
    names = ("exp_avg", "exp_inf")

    def __init__(
        self, params: Iterable[Any], lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.0, *, maximize: bool = False,
        master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, settings_of(locals()))

    def _values(self, group: Group, t: int) -> Numbers:
        beta1, beta2 = group["betas"]
        rate, decay = group["lr"] / (1 - beta1**t), group["weight_decay"] or None
        return 1 - beta1, beta2, group["eps"], rate, decay, ascends(group)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum, which rises step by step.

    The formulas are PyTorch's; see `gpugrad.optim.rules.nadam`. The momentum of step t is
    mu = betas[0] (1 - 0.96**(t momentum_decay) / 2); the state has the product of all so far as
    "mu_product". ``weight_decay`` times the parameter is added to the gradient, or, with
    ``decoupled_weight_decay``, the parameter shrinks as in `gpugrad.optim.AdamW`; ``maximize`` and
    ``master_weights`` as in `gpugrad.optim.SGD`.
    ValueError for betas outside [0, 1) and other settings below 0.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = gg.optim.NAdam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> [round(x, 4) for x in w.tolist()]
    [0.4718, 1.4718]
    """

    rule = staticmethod(nadam)
    scratch = 2
    names = MOMENTS
    counted = ("step", "mu_product")

    def __init__(
        self, params: Iterable[Any], lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.0, momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False, *, maximize: bool = False,
        master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, settings_of(locals()))

    def _start(self, group: Group) -> Clock:
        return 0, 1.0

    def _advance(self, group: Group, clock: Clock) -> tuple[Clock, Numbers]:
        t = clock[0] + 1
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["momentum_decay"]
        mu, following = (beta1 * (1 - 0.5 * 0.96 ** (k * decay)) for k in (t, t + 1))
        product = clock[1] * mu
        root = math.sqrt(1 - beta2**t)
        now = lr * root * (1 - mu) / (1 - product)
        ahead = lr * root * following / (1 - product * following)
        numbers = (
            beta1, 1 - beta1, beta2, 1 - beta2, now, ahead, group["eps"] * root, *decays(group),
            ascends(group),
        )  # fmt: skip
        return (t, product), numbers


class RAdam(Optimizer):
    """Adam whose first steps are those of momentum, until the average of squares means something.

    The formulas are PyTorch's; see `gpugrad.optim.rules.radam`. ``weight_decay`` times the
    parameter is added to the gradient, or, with ``decoupled_weight_decay``, the parameter shrinks
    as in `gpugrad.optim.AdamW`; ``maximize`` and ``master_weights`` as in `gpugrad.optim.SGD`.
    ValueError for betas outside [0, 1) and other settings below 0.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = gg.optim.RAdam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> [round(x, 4) for x in w.tolist()]
    [0.5, 1.0]
    """

    rule = staticmethod(radam)
    scratch = 2
    names = MOMENTS

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.0, decoupled_weight_decay: bool = False, *,
        maximize: bool = False, master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, settings_of(locals()))

    def _values(self, group: Group, t: int) -> Numbers:
        beta1, beta2 = group["betas"]
        rest, rate = 1 - beta2**t, group["lr"] / (1 - beta1**t)
        eps = None
        most = 2 / (1 - beta2) - 1  # the length of the average of squares: at last, and by now
        length = most - 2 * t * beta2**t / rest
        if length > 5:
            ratio = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
            rate *= math.sqrt(rest * ratio)
            eps = group["eps"]
        return (
            beta1, 1 - beta1, beta2, 1 - beta2, rate, eps, *decays(group), ascends(group)
        )  # fmt: skip
