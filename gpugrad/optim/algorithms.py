"""SGD, Adam and AdamW, with PyTorch's names and trajectories. Imports the modules beside it.

Step counts and learning rates are host numbers, which ``_values`` computes for a rule. A captured
step would keep those that change from step to step (lr, and Adam's ``rate`` and ``eps``) in 0-d
arrays on the device and refill them before each replay.
"""

import math
from collections.abc import Iterable
from typing import Any

from gpugrad.errors import DTypeError
from gpugrad.optim.apply import MASTER
from gpugrad.optim.optimizer import Group, Optimizer, number
from gpugrad.optim.rules import adam, sgd

__all__ = ["SGD", "Adam", "AdamW"]


def _check_flags(who: str, group: Group, *keys: str) -> None:
    for key in keys:
        if not isinstance(group[key], bool):
            raise DTypeError(f"{who}: {key} must be True or False, got {group[key]!r}")


_NOTHING: tuple[str, ...] = ()
_MOMENTUM = ("momentum_buffer",)
_MOMENTS = ("exp_avg", "exp_avg_sq")


class SGD(Optimizer):
    """Gradient descent, with momentum, Nesterov's momentum and weight decay.

    The formulas are PyTorch's; see `gpugrad.optim.rules.sgd`. ``dampening`` does not apply to a
    parameter's first step; ``nesterov`` needs a momentum and no dampening.

    Parameters of half precision are updated in float32 and rounded. With ``master_weights`` their
    unrounded values are kept in the state, so that steps too small for float16 add up; where a
    parameter is changed otherwise, its new value counts.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> gg.optim.SGD([w], lr=0.1, momentum=0.9)
    SGD(
      group 0: 1 tensor, 2 parameters, lr=0.1, momentum=0.9, dampening=0.0, weight_decay=0.0,
    nesterov=False, master_weights=False
    )
    """

    rule = staticmethod(sgd)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        master_weights: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                MASTER: master_weights,
            },
        )

    def _check(self, group: Group) -> None:
        _check_flags("SGD", group, "nesterov", MASTER)
        for key in ("lr", "momentum", "weight_decay"):
            group[key] = number(f"SGD: {key}", group[key], 0.0)
        group["dampening"] = number("SGD: dampening", group["dampening"])
        if group["nesterov"] and not (group["momentum"] and group["dampening"] == 0):
            raise ValueError(
                "SGD: nesterov needs a momentum above 0 and no dampening, got "
                f"momentum={group['momentum']}, dampening={group['dampening']}"
            )

    def _names(self, group: Group) -> tuple[str, ...]:
        return _MOMENTUM if group["momentum"] else _NOTHING

    def _values(self, group: Group, t: int) -> tuple[float | None, ...]:
        lr, momentum = float(group["lr"]), float(group["momentum"])
        dampening, decay = group["dampening"], group["weight_decay"]
        return (
            lr,
            momentum or None,
            float(1 - dampening) if dampening and t > 1 else None,
            float(decay) if decay else None,
            lr * momentum if group["nesterov"] else None,
        )


class Adam(Optimizer):
    """Adam: steps scaled by moving averages of the gradient and of its square.

    The formulas are PyTorch's; see `gpugrad.optim.rules.adam`. ``weight_decay`` times the
    parameter is added to the gradient. The averages of float16 parameters are float32;
    ``master_weights`` as in `SGD`.
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
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        master_weights: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**settings, MASTER: master_weights})

    def _check(self, group: Group) -> None:
        who = self._who()
        _check_flags(who, group, MASTER)
        for key in ("lr", "eps", "weight_decay"):
            group[key] = number(f"{who}: {key}", group[key], 0.0)
        betas = group["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise DTypeError(f"{who}: betas must be two numbers, got {betas!r}")
        group["betas"] = tuple(
            number(f"{who}: betas[{i}]", beta, 0.0, 1.0) for i, beta in enumerate(betas)
        )

    def _names(self, group: Group) -> tuple[str, ...]:
        return _MOMENTS

    def _values(self, group: Group, t: int) -> tuple[float | None, ...]:
        beta1, beta2 = group["betas"]
        lr, decay = float(group["lr"]), float(group["weight_decay"])
        root = math.sqrt(1 - beta2**t)
        rate = lr * root / (1 - beta1**t)
        add, shrink = self._decay(lr, decay) if decay else (None, None)
        return (beta1, 1 - beta1, beta2, 1 - beta2, rate, group["eps"] * root, add, shrink)

    def _decay(self, lr: float, decay: float) -> tuple[float | None, float | None]:
        """The rule's ``weight_decay`` and ``shrink``."""
        return decay, None


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter itself: p *= 1 - lr weight_decay.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> gg.optim.AdamW([w]).param_groups[0]["weight_decay"]
    0.01
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        master_weights: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, master_weights)

    def _decay(self, lr: float, decay: float) -> tuple[float | None, float | None]:
        return None, 1 - lr * decay
