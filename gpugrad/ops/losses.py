"""Losses as one op each, which makes small networks quick. Imports backend, engine.op and ops."""

import math
from typing import Any

import numpy as np

from gpugrad.engine.op import REAL, Checks, Sample, op, part
from gpugrad.ops.agreement import negative_subnormal
from gpugrad.ops.dtypes import HALF, averaged, refuse_complex, widened
from gpugrad.ops.reduce import log_softmax


def _mse(xp: Any, prediction: Any, target: Any, /, reduction: str = "mean") -> Any:
    d = prediction - target
    refuse_complex(d)
    if d.dtype == HALF:
        d = widened(d)
        return _reduced(xp, d * d, reduction).astype(HALF)
    return _reduced(xp, d * d, reduction)


def _reduced(xp: Any, losses: Any, reduction: str) -> Any:
    if reduction == "mean":
        return xp.mean(losses)
    if reduction == "sum":
        return xp.sum(losses)
    if reduction == "none":
        return losses
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def _share(shape: tuple[int, ...], reduction: str) -> float:
    """What one element's loss counts in the reduced one."""
    return 1.0 / max(math.prod(shape), 1) if reduction == "mean" else 1.0


def _mse_vjp(
    xp: Any, g: Any, prediction: Any, target: Any, needs: tuple[bool, ...], reduction: str
) -> tuple[Any, Any]:
    d = prediction - target
    d = d * (widened(g) * (2.0 * _share(d.shape, reduction)))
    return d if needs[0] else None, -d if needs[1] else None


part("mse_loss_vjp", _mse_vjp)
op("mse_loss", _mse,
   vjp_all=lambda xp, g, y, needs, prediction, target, reduction: xp.mse_loss_vjp(
       g, prediction, target, needs, reduction),
   saves="prediction target", support=lambda xp, mask, y, prediction, target, reduction: mask,
   samples=[Sample((4, 3), (4, 3)), Sample((4, 3), (4, 3), reduction="sum"),
            Sample((4,), (4,), reduction="none"), Sample((2, 3), (3,))],
   public="nn.functional", autocast="float32",
   doc="(prediction - target)², averaged, summed or as it is.")  # fmt: skip


def _huber(xp: Any, prediction: Any, target: Any, /, delta: float = 1.0) -> Any:
    d = prediction - target
    refuse_complex(d)
    size = xp.abs(d)
    return xp.where(size <= delta, 0.5 * d * d, delta * (size - 0.5 * delta))


def _huber_vjp(xp: Any, g: Any, d: Any, delta: float) -> Any:
    return g * xp.where(xp.abs(d) <= delta, d, delta * xp.sign(d))


def _smooth(xp: Any, prediction: Any, target: Any, /, beta: float = 1.0) -> Any:
    d = prediction - target
    refuse_complex(d)
    size = xp.abs(d)
    return xp.where(size < beta, d * d * (0.5 / beta), size - 0.5 * beta)


def _smooth_vjp(xp: Any, g: Any, d: Any, beta: float) -> Any:
    return g * xp.where(xp.abs(d) < beta, d * (1.0 / beta), xp.sign(d))


# fmt: off
op("huber_losses", _huber,
   vjp=[lambda xp, g, y, prediction, target, delta: _huber_vjp(xp, g, prediction - target, delta),
        lambda xp, g, y, prediction, target, delta: _huber_vjp(xp, -g, prediction - target, delta)],
   saves="prediction target", **REAL, samples=[Sample((4, 3), (4, 3), delta=0.7)], public="",
   shown="huber_loss", smooth="delta", autocast="float32",
   doc="Half of (prediction - target)² up to delta, linear with slope delta beyond.")
op("smooth_losses", _smooth,
   vjp=[lambda xp, g, y, prediction, target, beta: _smooth_vjp(xp, g, prediction - target, beta),
        lambda xp, g, y, prediction, target, beta: _smooth_vjp(xp, -g, prediction - target, beta)],
   saves="prediction target", **REAL, samples=[Sample((4, 3), (4, 3), beta=0.7)], public="",
   shown="smooth_l1_loss", smooth="beta", autocast="float32",
   doc="|prediction - target| - beta / 2, and below beta a parabola.")
# fmt: on


def _weighted(xp: Any, weight: Any, x: Any, /) -> Any:
    y = weight * xp.masked(x, weight == 0)
    refuse_complex(y)
    return y


op("weighted", _weighted,
   vjp=[lambda xp, g, y, weight, x: g * x, lambda xp, g, y, weight, x: g * weight],
   saves=("x", "weight"), **REAL, public="", autocast="float32",
   doc="weight * x, and 0 where the weight is 0: a part of a loss does not count.")  # fmt: skip


def one_hot(xp: Any, target: Any, classes: int) -> Any:
    """Which class each sample is of, along a new last axis."""
    return target[..., None] == xp.arange_like(target, classes)


def of_no_class(target: Any, classes: int) -> Any:
    """For which samples there is no class of that number."""
    return (target < 0) | (target >= classes)


def one_or_nan(xp: Any, target: Any, scores: Any) -> Any:
    """For each sample 1, or NaN where there is no class of that number: a factor of gradients."""
    number = scores.dtype.type
    return xp.where(of_no_class(target, scores.shape[-1]), number(math.nan), number(1))


def _of_classes(
    xp: Any, losses: Any, target: Any, classes: int, reduction: str, ignored: int | None
) -> Any:
    """The reduced losses; those of the class ``ignored`` are 0 and do not count in the mean."""
    # No class of that number: NaN, which nobody overlooks, and needs no look at the data.
    losses = xp.where(of_no_class(target, classes), math.nan, losses)
    if ignored is None:
        return _reduced(xp, losses, reduction)
    losses = xp.where(target == ignored, 0, losses)
    if reduction != "mean":
        return _reduced(xp, losses, reduction)
    return xp.sum(losses) / xp.sum(target != ignored).astype(losses.dtype)


def _factor(xp: Any, g: Any, target: Any, scores: Any, reduction: str, ignored: int | None) -> Any:
    """What the loss of each sample is multiplied with, along a new last axis."""
    g = widened(g)
    if reduction == "none":
        g = g[..., None]
    if ignored is not None and reduction == "mean":
        g = g / xp.sum(target != ignored).astype(g.dtype)
    else:
        g = g * _share(scores.shape[:-1], reduction)
    return g * one_or_nan(xp, target, scores)[..., None]


def _ignoring(
    xp: Any, logits: Any, target: Any, /, ignored: Any, reduction: str = "mean"
) -> tuple[Any, Any]:
    refuse_complex(logits)
    wide, classes = averaged(logits), logits.shape[-1]
    scores = xp.log_softmax(wide, axis=-1)
    losses = -xp.sum(xp.where(one_hot(xp, target, classes), scores, 0), axis=-1)
    y = _of_classes(xp, losses, target, classes, reduction, ignored)
    if logits.dtype == HALF:
        return y.astype(HALF), scores.astype(HALF)
    return y, scores


def _cross_entropy(
    xp: Any, logits: Any, target: Any, /, reduction: str = "mean"
) -> tuple[Any, Any]:
    return _ignoring(xp, logits, target, None, reduction)


def _cross_entropy_vjp(
    xp: Any, g: Any, target: Any, scores: Any, reduction: str, ignored: int | None = None
) -> Any:
    d = xp.exp(widened(scores)) - one_hot(xp, target, scores.shape[-1])
    d = d * _factor(xp, g, target, scores, reduction, ignored)
    return d if ignored is None else xp.where((target != ignored)[..., None], d, 0)


def _of_each(mask: Any, reduction: str) -> Any:
    return mask[..., None] if reduction == "none" else mask


part("class_cross_entropy_vjp", _cross_entropy_vjp)
TARGET = np.array([0, 2, 1, 2])
op("class_cross_entropy", _cross_entropy,
   vjp=[lambda xp, g, y, logits, target, scores, reduction: xp.class_cross_entropy_vjp(
            g, target, scores, reduction),
        None],
   residuals={"scores": log_softmax}, saves=("target scores", ""),
   support=lambda xp, mask, y, *arrays, reduction, **parameters: _of_each(mask, reduction),
   samples=[Sample((4, 3), TARGET), Sample((4, 3), TARGET, reduction="sum"),
            Sample((4, 3), TARGET, reduction="none")],
   operands="real whole", public="", shown="cross_entropy", autocast="float32",
   doc="-log softmax(logits)[target] along the last axis; target holds class numbers.")  # fmt: skip
op("cross_entropy_ignoring", _ignoring,
   vjp=[lambda xp, g, y, logits, target, scores, ignored, reduction: xp.class_cross_entropy_vjp(
            g, target, scores, reduction, ignored),
        None],
   residuals={"scores": log_softmax}, saves=("target scores", ""), chooses=True,
   support=lambda xp, mask, y, logits, target, scores, ignored, reduction: (
       _of_each(mask, reduction) & (target != ignored)[..., None]),
   samples=[Sample((4, 3), TARGET, ignored=1), Sample((4, 3), TARGET, ignored=2, reduction="sum"),
            Sample((4, 3), TARGET, ignored=2, reduction="none")],
   operands="real whole", public="", shown="cross_entropy", autocast="float32",
   doc="The same of the samples that are not of the class ``ignored``.")  # fmt: skip


def _nll(
    xp: Any, logs: Any, target: Any, /, reduction: str = "mean", ignored: int | None = None
) -> Any:
    refuse_complex(logs)
    wide, classes = averaged(logs), logs.shape[-1]
    losses = -xp.sum(xp.where(one_hot(xp, target, classes), wide, 0), axis=-1)
    y = _of_classes(xp, losses, target, classes, reduction, ignored)
    return y.astype(HALF) if logs.dtype == HALF else y


def _nll_vjp(
    xp: Any, g: Any, target: Any, like: Any, reduction: str, ignored: int | None = None
) -> Any:
    classes = like.shape[-1]
    chosen = one_hot(xp, target, classes) | of_no_class(target, classes)[..., None]
    if ignored is not None:
        chosen = chosen & (target != ignored)[..., None]
    return xp.where(chosen, -_factor(xp, g, target, like, reduction, ignored), 0)


part("class_nll_vjp", _nll_vjp)
op("class_nll", _nll,
   vjp=[lambda xp, g, y, logs, target, reduction, ignored: xp.class_nll_vjp(
            g, target, logs, reduction, ignored),
        None],
   saves=("target", ""), kind="linear", complex="refused", moves=True, chooses=True,
   samples=[Sample((4, 3), TARGET), Sample((4, 3), TARGET, reduction="sum"),
            Sample((4, 3), TARGET, ignored=2), Sample((4, 3), TARGET, reduction="none")],
   operands="real whole", public="", shown="nll_loss", autocast="float32",
   doc="-logs[target] along the last axis; target holds class numbers.")  # fmt: skip


# ---------------------------------------------------------------- of probabilities

LOWEST = -100.0  # what the logarithm of 0 counts as, as in PyTorch
NARROWEST = 1e-12  # what p (1 - p) counts as at least, likewise


def _log_success(xp: Any, p: Any) -> Any:
    return xp.where(p == 0, LOWEST, xp.maximum(xp.log(xp.where(p == 0, 1, p)), LOWEST))


def _log_failure(xp: Any, p: Any) -> Any:
    return xp.where(p == 1, LOWEST, xp.maximum(xp.log1p(xp.where(p == 1, 0, -p)), LOWEST))


def _bce(xp: Any, p: Any, target: Any, /) -> Any:
    refuse_complex(p)
    return (target - 1) * _log_failure(xp, p) - target * _log_success(xp, p)


def _bce_slope(xp: Any, p: Any, target: Any) -> Any:
    p = widened(p)  # half precision has no 1e-12
    return (p - target) / xp.maximum((1 - p) * p, NARROWEST)


# fmt: off
op("bce", _bce,
   vjp=[lambda xp, g, y, p, target: g * _bce_slope(xp, p, target),
        lambda xp, g, y, p, target: g * (_log_failure(xp, p) - _log_success(xp, p))],
   saves=("p target", "p"), **REAL, checks=Checks(differs=negative_subnormal), domain=(0.2, 0.8),
   public="", shown="binary_cross_entropy", autocast="float32",
   doc="-(target * log(p) + (1 - target) * log(1 - p)), where the logarithms are at least -100 and "
       "the derivative divides by 1e-12 at least.")
# fmt: on
