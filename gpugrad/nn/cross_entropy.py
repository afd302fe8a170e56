"""Classification losses, as functions and modules. Imports layer, losses, tensor and backend.

They are like those of `losses`, but "mean" is over samples.
"""

from typing import Any

import numpy as np

from gpugrad.backend.device import beside, device_of, to_numpy
from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.precision import kind_of
from gpugrad.engine.modes import is_debugging
from gpugrad.errors import DeviceError, DTypeError, ShapeError
from gpugrad.functions.manipulation import moveaxis
from gpugrad.functions.operands import along_axis, floating, host_array, in_single, together
from gpugrad.nn.layer import Layer
from gpugrad.nn.losses import (
    check_real,
    check_reduction,
    factors,
    operand_pair,
    reduced,
    weighed,
)
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = [
    "BCEWithLogitsLoss", "CrossEntropyLoss", "NLLLoss", "binary_cross_entropy_with_logits",
    "cross_entropy", "nll_loss",
]  # fmt: skip


def binary_cross_entropy_with_logits(
    logits: Any, target: Any, weight: Any = None, *, pos_weight: Any = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """-log of the probability of ``target``, in [0, 1], where sigmoid(logits) is that of 1.

    ``-(pos_weight · t · log σ(x) + (1 - t) · log(1 - σ(x)))``, computed as
    ``pos_weight · t · softplus(-x) + (1 - t) · softplus(x)``, which is exact for logits of any
    size. ``pos_weight`` is a number or an array that broadcasts to the logits; so is ``weight``,
    the factor of each element's loss. Logits and target have one shape; ShapeError otherwise,
    ValueError for another ``reduction``.

    >>> import gpugrad as gg
    >>> logits = gg.tensor([1000.0, -1000.0])
    >>> gg.nn.functional.binary_cross_entropy_with_logits(logits, gg.tensor([1.0, 1.0])).item()
    500.0
    """
    who = "binary_cross_entropy_with_logits"
    x: Any
    t: Any
    x, t = operand_pair(who, logits, target)
    positive = OPS["weighted"](t, OPS["softplus"](-x))
    if pos_weight is not None:
        positive = factors(who, "pos_weight", pos_weight, x) * positive
    losses = positive + OPS["weighted"](1 - t, OPS["softplus"](x))
    return reduced(who, weighed(who, losses, weight), reduction)


def _classes(who: str, scores: Any, target: Any, ignore_index: int | None) -> tuple[Any, Any]:
    """Scores with the classes on the last axis, and raw class numbers."""
    raw = target.data if isinstance(target, Tensor) else target
    listed = not hasattr(raw, "shape")
    if listed or isinstance(raw, np.generic):
        raw = host_array(who, raw)
    if raw.dtype.kind not in "iu":
        raise DTypeError(f"{who}: expected class numbers in an integer dtype, got {raw.dtype}")
    shape = scores.shape
    if not shape:
        raise ShapeError(f"{who}: expected scores with an axis of classes, got a scalar")
    expected = shape[:1] + shape[2:] if len(shape) > 1 else ()
    if raw.shape != expected:
        raise ShapeError(
            f"{who}: expected one class number for each sample, {expected} for scores of shape "
            f"{shape} (samples, classes, ...), got {raw.shape}"
        )
    home = device_of(scores.data)
    if not listed and (other := device_of(raw)) is not home and other != home:
        raise DeviceError(
            f"{who}: the scores are on {home} and the target is on {other}. Move one of "
            "them, as in target.to(scores.device)"
        )
    # Checking values on a GPU would wait for it: there an invalid class number gives NaN.
    if not namespace_of(raw).waits or is_debugging():
        _check_classes(who, raw, shape[1] if len(shape) > 1 else shape[0], ignore_index)
    if listed:
        raw = beside(raw, scores.data, asked=True)
    return (moveaxis(scores, 1, -1) if len(shape) > 2 else scores), raw


def _counted(classes: Any, ignore_index: int | None) -> tuple[Any, Any]:
    """The class numbers, 0 where they are ignored, and which samples count; None for all."""
    if ignore_index is None:
        return classes, None
    xp = namespace_of(classes)
    counted = classes != ignore_index
    return xp.where(counted, classes, xp.zeros_like(classes)), counted


def _check_classes(who: str, numbers: Any, count: int, ignore_index: int | None) -> None:
    """ValueError for class numbers that are out of range."""
    xp = namespace_of(numbers)
    if not numbers.size or (xp.min(numbers) >= 0 and xp.max(numbers) < count):
        return
    numbers = to_numpy(numbers)
    wrong = (numbers < 0) | (numbers >= count)
    if ignore_index is not None:
        wrong = wrong & (numbers != ignore_index)
    if not wrong.any():
        return
    first = int(np.flatnonzero(wrong)[0])
    raise ValueError(
        f"{who}: class numbers must be from 0 to {count - 1} for {count} classes, got "
        f"{numbers.flat[first]} (the first, at {first}). "
        + (f"Write ignore_index={numbers.flat[first]} if samples of that number are to be ignored"
           if ignore_index is None else "ignore_index ignores no other class")
    )  # fmt: skip


@in_single
def _average(losses: Any, counted: Any, reduction: str, shares: Any = None) -> Any:
    """The reduced losses of the valid samples; those of the others are 0.

    The mean is over the ``shares``, the weights of the samples, where there are any.
    """
    if counted is None and shares is None:
        return reduced("cross_entropy", losses, reduction)
    if counted is not None:
        losses = OPS["where"](counted, losses, 0.0)
    if reduction != "mean":
        return reduced("cross_entropy", losses, reduction)
    if shares is None:
        return OPS["sum"](losses) / namespace_of(counted).sum(counted).astype(losses.dtype)
    if counted is not None:
        shares = OPS["where"](counted, shares, 0.0)
    return OPS["sum"](losses) / OPS["sum"](shares)


def _class_weights(who: str, weight: Any, scores: Any, axis: int = -1) -> Any:
    """The weights of classes as a Tensor beside the scores; ShapeError for another number."""
    if weight is None:
        return None
    if not hasattr(weight, "shape"):
        weight = as_tensor(weight, device=scores.device, dtype=scores.dtype)
    weight = as_tensor(weight)
    if weight.shape != (scores.shape[axis],):
        raise ShapeError(
            f"{who}: weight must have one number for each of {scores.shape[axis]} classes, got "
            f"shape {weight.shape}"
        )
    return weight


def cross_entropy(
    logits: Any, target: Any, weight: Any = None, *, ignore_index: int | None = None,
    reduction: str = "mean", label_smoothing: float | Tensor = 0.0,
) -> Tensor:  # fmt: skip
    """-log softmax(logits) of the target's class.

    ``logits`` is (samples, classes), (samples, classes, d1, ...) or (classes,). ``target`` is
    class numbers of any integer dtype, of the shape of the logits without the axis of classes;
    or probabilities, of the shape of the logits. With ``label_smoothing`` ε the target is mixed
    with a uniform one, (1 - ε) to ε (Szegedy et al., 2016). ``weight`` has a factor for each class,
    of its samples' losses; "mean" is then over the weights of the samples, or over the samples
    where the target is probabilities, as in PyTorch. Samples of the class ``ignore_index`` are
    ignored; its default in PyTorch is -100, here None.

    ShapeError, DTypeError, DeviceError for a target that does not fit, ValueError for another
    ``reduction`` and for a class number that is out of range. Class numbers on a GPU are checked
    in `debug_mode` only, as the host would have to wait; elsewhere the loss and the gradient of
    such a sample are NaN.

    >>> import gpugrad as gg
    >>> logits = gg.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    >>> round(gg.nn.functional.cross_entropy(logits, [0, 2]).item(), 4)  # (0.2395 + log 3) / 2
    0.6691
    """
    who = "cross_entropy"
    check_reduction(who, reduction)
    smoothed = _is_smoothed(label_smoothing)
    if isinstance(logits, list | tuple) and _are_probabilities(target):
        logits, target = together(logits, target)
    logits = floating(as_tensor(logits))
    if not hasattr(target, "shape"):
        listed = host_array(who, target)
        if listed.dtype.kind == "f":
            target = beside(listed.astype(logits.dtype), logits.data, asked=True)
    if _are_probabilities(target):
        return _of_probabilities(logits, target, weight, ignore_index, reduction, label_smoothing)
    scores, classes = _classes(who, logits, target, ignore_index)
    if not smoothed and weight is None:
        if ignore_index is None:
            return OPS["class_cross_entropy"](scores, classes, reduction=reduction)
        return OPS["cross_entropy_ignoring"](scores, classes, ignore_index, reduction=reduction)
    classes, counted = _counted(classes, ignore_index)
    losses = OPS["class_cross_entropy"](scores, classes, reduction="none")
    weight = _class_weights(who, weight, scores)
    shares = None if weight is None else weight[classes]
    if shares is not None:
        losses = losses * shares
    if smoothed:
        uniform = _of_all_classes(scores, weight)
        losses = (1.0 - label_smoothing) * losses + label_smoothing * uniform
    return _average(losses, counted, reduction, shares)


def _are_probabilities(target: Any) -> bool:
    """Whether it has real numbers, not those of classes."""
    return kind_of(getattr(target, "dtype", np.dtype("O"))) == "f"


@in_single
def _of_all_classes(scores: Any, weight: Any) -> Any:
    """The cross-entropy of a uniform target: the mean over the classes, each with its weight."""
    if weight is None:
        return OPS["logsumexp"](scores, axis=-1) - OPS["mean"](scores, axis=-1)
    return -OPS["mean"](weight * OPS["log_softmax"](scores, axis=-1), axis=-1)


def _is_smoothed(smoothing: Any) -> bool:
    """Whether there is smoothing: a number other than 0, or a Tensor, by which there is a gradient.

    ValueError for one that is not from 0 to 1; the host does not wait for a GPU's.
    """
    tensor = isinstance(smoothing, Tensor)
    if not (tensor and namespace_of(smoothing.data).waits) and not 0.0 <= smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing must be from 0 to 1, got {smoothing!r}")
    return tensor or smoothing != 0


def _of_probabilities(
    logits: Any, target: Any, weight: Any, ignore_index: int | None, reduction: str, smoothing: Any,
) -> Tensor:  # fmt: skip
    """The cross-entropy of a distribution over the classes for each sample."""
    if logits.shape != target.shape or not logits.shape:
        raise ShapeError(
            f"cross_entropy: expected probabilities of the shape of the logits, {logits.shape}, "
            f"got {target.shape}. Class numbers need an integer dtype, "
            "as gg.asarray([0, 1]) has, or target.astype(gg.int64)"
        )
    if ignore_index is not None:
        raise ValueError(
            "cross_entropy: ignore_index goes with class numbers, the target holds probabilities"
        )
    check_real("cross_entropy", logits)
    axis = 1 if logits.ndim > 1 else 0
    target = as_tensor(target)
    if _is_smoothed(smoothing):
        target = (1.0 - smoothing) * target + smoothing / logits.shape[axis]
    logs = OPS["log_softmax"](logits, axis=axis)
    weight = _class_weights("cross_entropy", weight, logits, axis)
    if weight is not None:
        target = target * along_axis(weight, axis, logits.ndim)
    # 0 · log 0 is 0, also for a logit of -inf.
    losses = -OPS["sum"](OPS["weighted"](target, logs), axis=axis)
    return reduced("cross_entropy", losses, reduction)


def nll_loss(
    log_probabilities: Any, target: Any, weight: Any = None, *, ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """-log_probabilities of the target's class: cross_entropy of results of log_softmax.

    Layouts, ``weight``, ``ignore_index`` and errors are those of `cross_entropy`, for class
    numbers.

    >>> import gpugrad as gg
    >>> gg.nn.functional.nll_loss(gg.tensor([[-1.0, -2.0]]), [1]).item()
    2.0
    """
    check_reduction("nll_loss", reduction)
    scores, classes = _classes(
        "nll_loss", floating(as_tensor(log_probabilities)), target, ignore_index
    )
    check_real("nll_loss", scores)
    weight = _class_weights("nll_loss", weight, scores)
    if weight is None:
        return OPS["class_nll"](scores, classes, reduction=reduction, ignored=ignore_index)
    classes, counted = _counted(classes, ignore_index)
    losses = OPS["class_nll"](scores, classes, reduction="none")
    shares = weight[classes]
    return _average(losses * shares, counted, reduction, shares)


class CrossEntropyLoss(Layer, of=cross_entropy):
    """``cross_entropy``: -log softmax of the target's class; a ``weight`` Tensor is a buffer.

    >>> import gpugrad as gg
    >>> round(gg.nn.CrossEntropyLoss()(gg.zeros((2, 4)), [0, 3]).item(), 4)
    1.3863
    """


class NLLLoss(Layer, of=nll_loss):
    """``nll_loss``: -log probabilities of the target's class."""


class BCEWithLogitsLoss(Layer, of=binary_cross_entropy_with_logits):
    """``binary_cross_entropy_with_logits``; weights that are Tensors are buffers."""
