"""Regression losses, as functions and modules. Imports layer, tensor, backend and errors.

Each takes Tensors, arrays or lists, and ``reduction``: "mean" over all elements, "sum", or "none"
for the losses of the elements. A module is called with the prediction and the target, and computes
the function of its name; its arguments are checked at the first call.
"""

from typing import Any

from gpugrad.backend.precision import kind_of
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.operands import check_numbers, floating, together
from gpugrad.nn.layer import Layer
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = [
    "HuberLoss", "L1Loss", "MSELoss", "SmoothL1Loss", "huber_loss", "l1_loss", "mse_loss",
    "smooth_l1_loss",
]  # fmt: skip


REDUCTIONS = ("mean", "sum", "none")


def check_reduction(who: str, reduction: Any) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"{who}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def operand_pair(who: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as Tensors of one shape; an integer target is cast to the prediction's dtype.

    A prediction of whole numbers becomes float64, as in NumPy's mean.
    """
    if isinstance(prediction, list | tuple):
        prediction, target = together(prediction, target)
    prediction = floating(as_tensor(prediction))
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
    if target.dtype.kind in "biu" and kind_of(prediction.dtype) == "f":
        target = target.astype(prediction.dtype)
    return prediction, target


def check_real(who: str, x: Any) -> None:
    """DTypeError for complex numbers, with the message of the ops that are losses."""
    if x.dtype.kind == "c":
        raise DTypeError(
            f"{who}: it takes no complex numbers; give it abs(t), t.real or t.imag. Got {x.dtype}"
        )


def real_pair(who: str, prediction: Any, target: Any) -> tuple[Any, Any]:
    """`operand_pair`, of real numbers."""
    pair = operand_pair(who, prediction, target)
    for tensor in pair:
        check_real(who, tensor)
    return pair


def reduced(who: str, losses: Any, reduction: str) -> Any:
    """The mean or the sum of losses, or themselves; ValueError for another reduction."""
    check_reduction(who, reduction)
    if reduction == "mean":
        return OPS["mean"](losses)
    return OPS["sum"](losses) if reduction == "sum" else losses


def factors(who: str, name: str, weight: Any, x: Tensor) -> Any:
    """A number or an array that broadcasts to x, beside it; ShapeError where it does not."""
    if isinstance(weight, list | tuple):
        weight = as_tensor(weight, device=x.device, dtype=x.dtype)
    shape = getattr(weight, "shape", ())
    if len(shape) > x.ndim or any(
        n not in (1, m) for n, m in zip(reversed(shape), reversed(x.shape))
    ):
        raise ShapeError(
            f"{who}: {name} of shape {shape} does not broadcast to logits of shape {x.shape}"
            if name == "pos_weight"
            else f"{who}: {name} of shape {shape} does not broadcast to losses of shape {x.shape}"
        )
    return weight


def weighed(who: str, losses: Any, weight: Any) -> Any:
    """The losses times a weight that broadcasts to them, or None."""
    return losses if weight is None else losses * factors(who, "weight", weight, losses)


def mse_loss(prediction: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared error, (prediction - target)².

    Both have one shape; ShapeError otherwise, ValueError for another ``reduction``.

    >>> import gpugrad as gg
    >>> gg.nn.functional.mse_loss(gg.tensor([1.0, 2.0]), gg.tensor([0.0, 4.0])).item()
    2.5
    """
    # Attributes of raw arrays are quicker to read; this runs in every training step.
    a, b = getattr(prediction, "_array", prediction), getattr(target, "_array", target)
    try:
        fit = a.shape == b.shape and a.dtype == b.dtype and kind_of(a.dtype) == "f"
    except AttributeError:  # a list or a number
        fit = False
    if not fit:
        prediction, target = operand_pair("mse_loss", prediction, target)
    if reduction not in REDUCTIONS:
        check_reduction("mse_loss", reduction)
    return OPS["mse_loss"](prediction, target, reduction)


def l1_loss(prediction: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The absolute error, |prediction - target|; its derivative at 0 is 0.

    Both have one shape; ShapeError otherwise, ValueError for another ``reduction``.

    >>> import gpugrad as gg
    >>> gg.nn.functional.l1_loss(gg.tensor([1.0, 2.0]), gg.tensor([0.0, 4.0])).item()
    1.5
    """
    prediction, target = operand_pair("l1_loss", prediction, target)
    return reduced("l1_loss", OPS["abs"](prediction - target), reduction)


def huber_loss(prediction: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Half the squared error up to ``delta``, linear with slope delta beyond (Huber, 1964).

    ½d² for |d| <= delta, else delta (|d| - ½ delta). Both have one shape; ShapeError otherwise,
    ValueError for a delta that is not positive or another ``reduction``.

    >>> import gpugrad as gg
    >>> gg.nn.functional.huber_loss(gg.tensor([1.0, 3.0]), gg.zeros(2), "none").tolist()
    [0.5, 2.5]
    """
    check_numbers("huber_loss", delta=delta)
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta!r}")
    prediction, target = real_pair("huber_loss", prediction, target)
    return reduced("huber_loss", OPS["huber_losses"](prediction, target, delta=delta), reduction)


def smooth_l1_loss(
    prediction: Any, target: Any, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """The absolute error, and below ``beta`` a parabola: ½d²/beta for |d| < beta, else |d| - ½beta.

    `huber_loss` divided by its delta. Both have one shape; ShapeError otherwise, ValueError for a
    negative beta or another ``reduction``.

    >>> import gpugrad as gg
    >>> gg.nn.functional.smooth_l1_loss(gg.tensor([1.0, 3.0]), gg.zeros(2), "none", 2.0).tolist()
    [0.25, 2.0]
    """
    check_numbers("smooth_l1_loss", beta=beta)
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta!r}")
    prediction, target = real_pair("smooth_l1_loss", prediction, target)
    if beta == 0:
        return reduced("smooth_l1_loss", OPS["abs"](prediction - target), reduction)
    return reduced("smooth_l1_loss", OPS["smooth_losses"](prediction, target, beta=beta), reduction)


class MSELoss(Layer, of=mse_loss):
    """``mse_loss``: the squared error.

    >>> import gpugrad as gg
    >>> gg.nn.MSELoss(reduction="sum")(gg.ones(3), gg.zeros(3)).item()
    3.0
    """


class L1Loss(Layer, of=l1_loss):
    """``l1_loss``: the absolute error."""


class HuberLoss(Layer, of=huber_loss):
    """``huber_loss``: squared up to ``delta``, and linear beyond."""


class SmoothL1Loss(Layer, of=smooth_l1_loss):
    """``smooth_l1_loss``: a parabola below ``beta``, and the absolute error beyond."""
