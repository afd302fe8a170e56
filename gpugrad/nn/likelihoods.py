"""Losses that are negative log-likelihoods and divergences: of probabilities, counts and normals.

Imports `losses` and `module`. They are like those of `losses`; sums of float16 are in float32.
"""

import math
from typing import Any

from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import is_debugging
from gpugrad.errors import ShapeError
from gpugrad.functions.operands import check_numbers, floating, in_single, together
from gpugrad.nn.layer import Layer
from gpugrad.nn.losses import real_pair, reduced, weighed
from gpugrad.nn.module import Module
from gpugrad.tensor import OPS, Tensor

__all__ = [
    "BCELoss", "GaussianNLLLoss", "KLDivLoss", "PoissonNLLLoss", "binary_cross_entropy",
    "gaussian_nll_loss", "kl_div", "poisson_nll_loss",
]  # fmt: skip


def _can_look(x: Tensor) -> bool:
    """Whether values may be looked at: those of a GPU are in `gg.debug_mode` alone."""
    return x.size > 0 and (not namespace_of(x._array).waits or is_debugging())


def binary_cross_entropy(
    probabilities: Any, target: Any, weight: Any = None, *, reduction: str = "mean"
) -> Tensor:
    """-log of the probability of ``target``, in [0, 1], where ``probabilities`` are those of 1.

    ``-(t log p + (1 - t) log(1 - p))``, in which logarithms count as -100 at least, and the
    derivative divides by p (1 - p), which counts as 1e-12 at least: PyTorch's bounds. With logits
    `binary_cross_entropy_with_logits` is exact. ``weight`` broadcasts to the losses. Both have one
    shape; ShapeError otherwise, ValueError for probabilities that are none (on a GPU in
    `gg.debug_mode` alone) or another ``reduction``.

    >>> import gpugrad as gg
    >>> p, t = gg.tensor([0.5, 1.0]), gg.tensor([1.0, 0.0])
    >>> gg.nn.functional.binary_cross_entropy(p, t, reduction="none").round(3)
    tensor([  0.693, 100.   ])
    """
    who = "binary_cross_entropy"
    p, t = real_pair(who, probabilities, target)
    if _can_look(p):
        low, high = p.min().item(), p.max().item()
        if low < 0 or high > 1:
            raise ValueError(
                f"{who}: expected probabilities, from 0 to 1, got numbers from {low:.4g} to "
                f"{high:.4g}. Of logits take binary_cross_entropy_with_logits"
            )
    return reduced(who, weighed(who, OPS["bce"](p, t), weight), reduction)


def kl_div(
    log_probabilities: Any, target: Any, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """The terms of the divergence of Kullback and Leibler: ``target (log target - log p)``.

    The first operand holds logarithms, the target probabilities, or logarithms with
    ``log_target``. A target of 0 has the loss 0. "mean" is over all elements; "batchmean", which is
    the divergence, divides the sum by the size of the first axis. Both have one shape; ShapeError
    otherwise, ValueError for another ``reduction``.

    >>> import gpugrad as gg
    >>> target = gg.tensor([[0.5, 0.5]])
    >>> gg.nn.functional.kl_div(gg.log(target), target, "batchmean").item()
    0.0
    """
    x, t = real_pair("kl_div", log_probabilities, target)
    if log_target:
        losses = OPS["exp"](t) * (t - x)
    else:
        losses = OPS["xlogy"](t, t) - OPS["weighted"](t, x)
    if reduction == "batchmean":
        return OPS["sum"](losses) / (x.shape[0] if x.ndim else 1)
    return reduced("kl_div", losses, reduction)


@in_single
def poisson_nll_loss(
    prediction: Any, target: Any, log_input: bool = True, full: bool = False, *, eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The negative log-likelihood of counts of a Poisson distribution, without a constant.

    ``exp(x) - t x`` for x the logarithm of the rate; ``x - t log(x + eps)`` for the rate itself,
    where ``log_input`` is false. With ``full``, Stirling's ``t log t - t + ½ log(2πt)`` is added
    for t > 1. Both have one shape; ShapeError otherwise, ValueError for another ``reduction``.

    >>> import gpugrad as gg
    >>> gg.nn.functional.poisson_nll_loss(gg.zeros(2), gg.ones(2)).item()
    1.0
    """
    who = "poisson_nll_loss"
    x, t = real_pair(who, prediction, target)
    check_numbers("poisson_nll_loss", eps=eps)
    losses: Any = OPS["exp"](x) - t * x if log_input else x - t * OPS["log"](x + eps)
    if full:
        many = OPS["where"](t > 1, t, 1.0)
        stirling = many * OPS["log"](many) - many + 0.5 * OPS["log"](2 * math.pi * many)
        losses = losses + OPS["where"](t > 1, stirling, 0.0)
    return reduced(who, losses, reduction)


@in_single
def gaussian_nll_loss(
    prediction: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The negative log-likelihood of numbers of a normal distribution with a predicted variance.

    ``½ (log var + (x - t)² / var)``, plus ``½ log(2π)`` with ``full`` (Nix and Weigend, 1994).
    Variances below ``eps`` count as eps, and their derivative is that at eps. ``var`` has the shape
    of x, or without the last axis, or with 1 there, or is one number. ShapeError for others,
    ValueError for negative variances (on a GPU in `gg.debug_mode` alone).

    >>> import gpugrad as gg
    >>> gg.nn.functional.gaussian_nll_loss(gg.ones(2), gg.zeros(2), gg.ones(2)).item()
    0.5
    """
    who = "gaussian_nll_loss"
    x, t = real_pair(who, prediction, target)
    _, variance = together(x, var)
    variance = floating(variance)
    if variance.shape == x.shape[:-1] and x.ndim and variance.shape != x.shape:
        variance = variance.reshape((*variance.shape, 1))
    elif variance.ndim and variance.shape not in (x.shape, (*x.shape[:-1], 1)):
        raise ShapeError(
            f"{who}: var must have the shape of the prediction {x.shape}, or {x.shape[:-1]} or "
            f"{(*x.shape[:-1], 1)}; got {variance.shape}"
        )
    if _can_look(variance) and (least := variance.min().item()) < 0:
        raise ValueError(f"{who}: a variance must not be negative, got {least:.4g}")
    # Where it is raised to eps it goes on having a gradient, as PyTorch's.
    variance = variance + (OPS["maximum"](variance.detach(), eps) - variance.detach())
    d: Any = x - t
    losses = 0.5 * (OPS["log"](variance) + d * d / variance)
    return reduced(who, losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


class BCELoss(Layer, of=binary_cross_entropy):
    """``binary_cross_entropy`` of probabilities; a ``weight`` that is a Tensor is a buffer.

    >>> import gpugrad as gg
    >>> round(gg.nn.BCELoss()(gg.tensor([0.5]), gg.tensor([1.0])).item(), 4)
    0.6931
    """


class KLDivLoss(Layer, of=kl_div):
    """``kl_div``: a divergence of Kullback and Leibler, of logarithms of probabilities."""


class PoissonNLLLoss(Layer, of=poisson_nll_loss):
    """``poisson_nll_loss``: the negative log-likelihood of counts."""


class GaussianNLLLoss(Module):
    """``gaussian_nll_loss``: called with the prediction, the target and the variance."""

    _shown = ("full", "eps", "reduction")

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        self.full = full
        self.eps = eps
        self.reduction = reduction

    def forward(self, prediction: Any, target: Any, var: Any) -> Tensor:
        return gaussian_nll_loss(prediction, target, var, self.full, self.eps, self.reduction)
