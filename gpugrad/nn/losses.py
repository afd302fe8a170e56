"""Losses as functions. Imports tensor, backend and errors.

Each takes Tensors, arrays or lists, and ``reduction``: "mean" over all elements (for losses of
classes: over all samples), "sum", or "none" for one loss each.
"""

from typing import Any

import numpy as np

from gpugrad.backend.device import device_of, to_numpy
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import indices_are_checked
from gpugrad.errors import DeviceError, DTypeError, ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.ops.fused import of_no_class, one_hot, one_or_nan
from gpugrad.tensor import Tensor, as_tensor

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "nll_loss",
]

REDUCTIONS = ("mean", "sum", "none")

_mse = FUNCTIONS["mse_loss"]
_class_cross_entropy = FUNCTIONS["class_cross_entropy"]
_abs = FUNCTIONS["abs"]
_log_softmax = FUNCTIONS["log_softmax"]
_logsumexp = FUNCTIONS["logsumexp"]
_mean = FUNCTIONS["mean"]
_moveaxis = FUNCTIONS["moveaxis"]
_softplus = FUNCTIONS["softplus"]
_sum = FUNCTIONS["sum"]
_where = FUNCTIONS["where"]


# ---------------------------------------------------------------- arguments


def _check_reduction(who: str, reduction: Any) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"{who}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def _pair(who: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as Tensors of one shape, a target of integers in the prediction's dtype."""
    prediction = as_tensor(prediction)
    if not hasattr(target, "shape"):
        target = as_tensor(target, device=prediction.device, dtype=prediction.dtype)
    target = as_tensor(target)
    if prediction.shape != target.shape:
        hint = ". Reshape one of them: a loss does not broadcast"
        if prediction.shape == (*target.shape, 1):
            hint = ". Did you mean prediction.squeeze(-1)?"
        elif (*prediction.shape, 1) == target.shape:
            hint = ". Did you mean target.squeeze(-1)?"
        raise ShapeError(
            f"{who}: expected a prediction and a target of one shape, got {prediction.shape} and "
            f"{target.shape}{hint}"
        )
    if target.dtype.kind in "biu" and prediction.dtype.kind == "f":
        target = target.astype(prediction.dtype)
    return prediction, target


def _check_real(who: str, x: Any) -> None:
    """DTypeError for complex numbers, as the op of a loss says it where there is one."""
    if x.dtype.kind == "c":
        raise DTypeError(
            f"{who}: it takes no complex numbers; give it abs(t), t.real or t.imag. Got {x.dtype}"
        )


def _reduced(losses: Any, reduction: str) -> Any:
    if reduction == "mean":
        return _mean(losses)
    return _sum(losses) if reduction == "sum" else losses


# ---------------------------------------------------------------- of numbers


def mse_loss(prediction: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared error, (prediction - target)².

    Both have one shape; ShapeError otherwise, ValueError for another ``reduction``.

    >>> import gpugrad as gg
    >>> gg.nn.functional.mse_loss(gg.tensor([1.0, 2.0]), gg.tensor([0.0, 4.0])).item()
    2.5
    """
    # The raw arrays' attributes are quicker: this is on the path of every training step.
    a, b = getattr(prediction, "_array", prediction), getattr(target, "_array", target)
    try:
        fit = a.shape == b.shape and a.dtype == b.dtype
    except AttributeError:  # a list or a number
        fit = False
    if not fit:
        prediction, target = _pair("mse_loss", prediction, target)
    if reduction not in REDUCTIONS:
        _check_reduction("mse_loss", reduction)
    return _mse(prediction, target, reduction)


def l1_loss(prediction: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The absolute error, |prediction - target|; its derivative at 0 is 0.

    Both have one shape; ShapeError otherwise, ValueError for another ``reduction``.

    >>> import gpugrad as gg
    >>> gg.nn.functional.l1_loss(gg.tensor([1.0, 2.0]), gg.tensor([0.0, 4.0])).item()
    1.5
    """
    _check_reduction("l1_loss", reduction)
    prediction, target = _pair("l1_loss", prediction, target)
    return _reduced(_abs(prediction - target), reduction)


def huber_loss(prediction: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Half the squared error up to ``delta``, and beyond it a line of slope delta (Huber, 1964).

    ½d² for |d| <= delta, else delta (|d| - ½ delta). Both have one shape; ShapeError otherwise,
    ValueError for a delta that is not positive or another ``reduction``.

    >>> import gpugrad as gg
    >>> gg.nn.functional.huber_loss(gg.tensor([1.0, 3.0]), gg.zeros(2), "none").tolist()
    [0.5, 2.5]
    """
    _check_reduction("huber_loss", reduction)
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta!r}")
    prediction, target = _pair("huber_loss", prediction, target)
    d: Any = prediction - target
    _check_real("huber_loss", d)
    size = _abs(d)
    losses = _where(size <= delta, 0.5 * d * d, delta * (size - 0.5 * delta))
    return _reduced(losses, reduction)


def binary_cross_entropy_with_logits(
    logits: Any, target: Any, *, pos_weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """-log of the probability of ``target`` (0, 1 or between) where sigmoid(logits) is that of 1.

    ``-(pos_weight · t · log σ(x) + (1 - t) · log(1 - σ(x)))``, computed as
    ``pos_weight · t · softplus(-x) + (1 - t) · softplus(x)``, which is exact for logits of any
    size. ``pos_weight`` is a number or an array that broadcasts to the logits. Both have one
    shape; ShapeError otherwise, ValueError for another ``reduction``.

    >>> import gpugrad as gg
    >>> logits = gg.tensor([1000.0, -1000.0])
    >>> gg.nn.functional.binary_cross_entropy_with_logits(logits, gg.tensor([1.0, 1.0])).item()
    500.0
    """
    who = "binary_cross_entropy_with_logits"
    _check_reduction(who, reduction)
    x: Any
    t: Any
    x, t = _pair(who, logits, target)
    positive = t * _softplus(-x)
    if pos_weight is not None:
        if isinstance(pos_weight, list | tuple):
            pos_weight = as_tensor(pos_weight, device=x.device, dtype=x.dtype)
        shape = getattr(pos_weight, "shape", ())
        if len(shape) > x.ndim or any(
            n not in (1, m) for n, m in zip(reversed(shape), reversed(x.shape))
        ):
            raise ShapeError(
                f"{who}: pos_weight of shape {shape} does not broadcast to logits of shape "
                f"{x.shape}"
            )
        positive = pos_weight * positive
    return _reduced(positive + (1 - t) * _softplus(x), reduction)


# ---------------------------------------------------------------- of classes


def _classes(who: str, scores: Any, target: Any, ignore_index: int | None) -> tuple[Any, Any, Any]:
    """Scores with the classes on the last axis, class numbers as a raw array, and which count.

    The last is None where all do. A class number that counts for nothing becomes 0.
    """
    raw = target.data if isinstance(target, Tensor) else target
    listed = not hasattr(raw, "shape")
    if listed:
        raw = np.asarray(raw)
    if raw.dtype.kind not in "iu":
        raise DTypeError(f"{who}: expected class numbers in an integer dtype, got {raw.dtype}")
    if isinstance(raw, np.generic):
        raw = np.asarray(raw)
    shape = scores.shape
    if not shape:
        raise ShapeError(f"{who}: expected scores with an axis of classes, got a scalar")
    expected = shape[:1] + shape[2:] if len(shape) > 1 else ()
    if raw.shape != expected:
        raise ShapeError(
            f"{who}: expected one class number for each sample, "
            f"{expected} for scores of shape {shape} "
            f"(samples, classes, ...), got {raw.shape}"
        )
    home = device_of(scores.data)
    if not listed and (place := device_of(raw)) is not home and place != home:
        raise DeviceError(
            f"{who}: the scores are on {home} and the target is on {place}. Move one of "
            "them, as in target.to(scores.device)"
        )
    counted = None
    if ignore_index is not None:
        xp = namespace_of(raw)
        counted = raw != ignore_index
        raw = xp.where(counted, raw, xp.zeros_like(raw))
    # On a GPU a look at the values would wait for it: there a wrong number gives NaN.
    if not namespace_of(raw).waits or indices_are_checked():
        _check_classes(who, raw, shape[1] if len(shape) > 1 else shape[0], ignore_index)
    if listed:
        raw, counted = home.send(raw), None if counted is None else home.send(counted)
    return (_moveaxis(scores, 1, -1) if len(shape) > 2 else scores), raw, counted


def _check_classes(who: str, numbers: Any, count: int, ignore_index: int | None) -> None:
    """ValueError for numbers of which there is no class."""
    if not numbers.size or (int(numbers.min()) >= 0 and int(numbers.max()) < count):
        return
    numbers = to_numpy(numbers)
    first = int(np.flatnonzero((numbers < 0) | (numbers >= count))[0])
    raise ValueError(
        f"{who}: class numbers must be from 0 to {count - 1} for {count} classes, got "
        f"{numbers.flat[first]} (the first, at {first}). "
        + ("Is it the number for samples to leave out? Pass it as ignore_index="
           if ignore_index is None else "Others are not left out by ignore_index")
    )  # fmt: skip


def _average(losses: Any, counted: Any, reduction: str) -> Any:
    """The losses of the samples that count, reduced; the others' are 0."""
    if counted is None:
        return _reduced(losses, reduction)
    losses = _where(counted, losses, 0.0)
    if reduction != "mean":
        return _reduced(losses, reduction)
    return _sum(losses) / namespace_of(counted).sum(counted).astype(losses.dtype)


def cross_entropy(
    logits: Any,
    target: Any,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(logits) of the target's class.

    ``logits`` is (samples, classes), (samples, classes, d1, ...) or (classes,). ``target`` is
    class numbers of any integer dtype, of the shape of the logits without the axis of classes;
    or probabilities, of the shape of the logits. With ``label_smoothing`` ε the target is mixed
    with a uniform one, (1 - ε) to ε (Szegedy et al., 2016). Samples of the class
    ``ignore_index`` count for nothing; PyTorch leaves out -100 unasked, gpugrad nothing.

    ShapeError, DTypeError, DeviceError for a target that does not fit, ValueError for another
    ``reduction`` and for a class number that there is not. A look at class numbers that are on a
    GPU would mean waiting for it: there, outside of `debug_mode`, the loss of such a sample and
    its gradient are NaN.

    >>> import gpugrad as gg
    >>> logits = gg.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    >>> round(gg.nn.functional.cross_entropy(logits, [0, 2]).item(), 4)  # (0.2395 + log 3) / 2
    0.6691
    """
    who = "cross_entropy"
    _check_reduction(who, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"{who}: label_smoothing must be from 0 to 1, got {label_smoothing!r}")
    logits = as_tensor(logits)
    if not hasattr(target, "shape"):
        listed = np.asarray(target)
        if listed.dtype.kind == "f":
            target = logits.device.send(listed.astype(logits.dtype))
    if getattr(target, "dtype", np.dtype("O")).kind == "f":
        return _of_probabilities(logits, target, ignore_index, reduction, label_smoothing)
    scores, classes, counted = _classes(who, logits, target, ignore_index)
    if counted is None and not label_smoothing:
        return _class_cross_entropy(scores, target=classes, reduction=reduction)
    losses = _class_cross_entropy(scores, target=classes, reduction="none")
    if label_smoothing:
        uniform = _logsumexp(scores, axis=-1) - _mean(scores, axis=-1)
        losses = (1.0 - label_smoothing) * losses + label_smoothing * uniform
    return _average(losses, counted, reduction)


def _of_probabilities(
    logits: Any, target: Any, ignore_index: int | None, reduction: str, smoothing: float
) -> Tensor:
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
    _check_real("cross_entropy", logits)
    axis = 1 if logits.ndim > 1 else 0
    target = as_tensor(target)
    if smoothing:
        target = (1.0 - smoothing) * target + smoothing / logits.shape[axis]
    logs = _log_softmax(logits, axis=axis)
    if not target.requires_grad:
        logs = _where(target == 0, 0.0, logs)  # 0 · log 0 is 0, also for a logit of -inf
    return _reduced(-_sum(target * logs, axis=axis), reduction)


def nll_loss(
    log_probabilities: Any,
    target: Any,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-log_probabilities of the target's class: cross_entropy of what log_softmax gives.

    Layouts, ``ignore_index`` and errors are those of `cross_entropy`, for class numbers.

    >>> import gpugrad as gg
    >>> gg.nn.functional.nll_loss(gg.tensor([[-1.0, -2.0]]), [1]).item()
    2.0
    """
    _check_reduction("nll_loss", reduction)
    scores, classes, counted = _classes(
        "nll_loss", as_tensor(log_probabilities), target, ignore_index
    )
    _check_real("nll_loss", scores)
    chosen = one_hot(classes, scores.shape[-1])
    if not namespace_of(classes).waits:  # which have been looked at
        losses = -_sum(_where(chosen, scores, 0.0), axis=-1)
    else:  # of no class: NaN, and all of such a sample's gradient, too
        chosen = chosen | of_no_class(classes, scores.shape[-1])[..., None]
        losses = -_sum(_where(chosen, scores, 0.0), axis=-1) * one_or_nan(classes, scores)
    return _average(losses, counted, reduction)
