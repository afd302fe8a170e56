"""SGD, Adam and AdamW, with PyTorch's names and trajectories. Imports the modules beside it.

Step counts and learning rates are host numbers, which ``_values`` computes for a rule. A captured
step would keep those that change from step to step (lr, and Adam's ``rate`` and ``eps``) in 0-d
arrays on the device and refill them before each replay.
"""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

from gpugrad.optim.apply import Numbers
from gpugrad.optim.optimizer import Group, Optimizer
from gpugrad.optim.rules import adam, sgd
from gpugrad.optim.settings import settings_of

__all__ = ["SGD", "Adam", "AdamW"]

_NOTHING: tuple[str, ...] = ()
_MOMENTUM = ("momentum_buffer",)
MOMENTS = ("exp_avg", "exp_avg_sq")
_LARGEST = (*MOMENTS, "max_exp_avg_sq")


def ascends(group: Group) -> float | None:
    """The rule's number of that name: None where the group's loss is to fall."""
    return 1.0 if group["maximize"] else None


class SGD(Optimizer):
    """Gradient descent, with momentum, Nesterov's momentum and weight decay.

    The formulas are PyTorch's; see `gpugrad.optim.rules.sgd`. ``dampening`` does not apply to a
    parameter's first step; ``nesterov`` needs a momentum and no dampening. With ``maximize`` the
    objective rises.

    Parameters of half precision are updated in float32 and rounded. With ``master_weights`` their
    unrounded values are kept in the state, so that steps too small for float16 add up; where a
    parameter is changed otherwise, its new value counts.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> gg.optim.SGD([w], lr=0.1, momentum=0.9)
    SGD(
      group 0: 1 tensor, 2 parameters, lr=0.1, momentum=0.9, dampening=0.0, weight_decay=0.0,
    nesterov=False, maximize=False, master_weights=False
    )
    """

    rule = staticmethod(sgd)
    ranges: ClassVar = {"dampening": (-math.inf, math.inf)}

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.0,
        dampening: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False, *,
        maximize: bool = False, master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, settings_of(locals()))

    def _check(self, group: Group) -> None:
        super()._check(group)
        if group["nesterov"] and not (group["momentum"] and group["dampening"] == 0):
            raise ValueError(
                "SGD: nesterov needs a momentum above 0 and no dampening, got "
                f"momentum={group['momentum']}, dampening={group['dampening']}"
            )

    def _names(self, group: Group) -> tuple[str, ...]:
        return _MOMENTUM if group["momentum"] else _NOTHING

    def _values(self, group: Group, t: int) -> Numbers:
        lr, momentum = float(group["lr"]), float(group["momentum"])
        dampening, decay = group["dampening"], group["weight_decay"]
        return (
            lr,
            momentum or None,
            float(1 - dampening) if dampening and t > 1 else None,
            float(decay) if decay else None,
            lr * momentum if group["nesterov"] else None,
            ascends(group),
        )


def decays(group: Group) -> tuple[float | None, float | None]:
    """A rule's ``weight_decay`` and ``shrink``: decay by the gradient, or of the parameter."""
    decay = float(group["weight_decay"])
    if not decay:
        return None, None
    if group["decoupled_weight_decay"]:
        return None, 1 - float(group["lr"]) * decay
    return decay, None


class Adam(Optimizer):
    """Adam: steps scaled by moving averages of the gradient and of its square.

    The formulas are PyTorch's; see `gpugrad.optim.rules.adam`. ``weight_decay`` times the
    parameter is added to the gradient, or, with ``decoupled_weight_decay``, the parameter shrinks
    as in `AdamW`. ``amsgrad`` divides by the largest average of squares so far. With ``maximize``
    the objective rises. The averages of float16 parameters are float32; ``master_weights`` as in
    `SGD`.
    ValueError for betas outside [0, 1) and other settings out of range.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = gg.optim.Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.5, 1.5]
    """

    rule = staticmethod(adam)
    scratch = 2

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.0, amsgrad: bool = False, *,
        maximize: bool = False, decoupled_weight_decay: bool = False, master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, settings_of(locals()))

    def _names(self, group: Group) -> tuple[str, ...]:
        return _LARGEST if group["amsgrad"] else MOMENTS

    def _values(self, group: Group, t: int) -> Numbers:
        beta1, beta2 = group["betas"]
        root = math.sqrt(1 - beta2**t)
        rate = float(group["lr"]) * root / (1 - beta1**t)
        eps = group["eps"] * root
        return (
            beta1, 1 - beta1, beta2, 1 - beta2, rate, eps, *decays(group), ascends(group)
        )  # fmt: skip


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter itself: p *= 1 - lr weight_decay.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> gg.optim.AdamW([w]).param_groups[0]["weight_decay"]
    0.01
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False, *,
        maximize: bool = False, master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad,
            maximize=maximize, decoupled_weight_decay=True, master_weights=master_weights,
        )  # fmt: skip

    def _check(self, group: Group) -> None:
        super()._check(group)
        if not group["decoupled_weight_decay"]:
            raise ValueError(f"{self._who()}: its weight decay is decoupled. Use Adam")
