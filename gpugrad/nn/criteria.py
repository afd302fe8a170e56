"""Losses as modules. Imports `losses` and `module`.

Each is called with the prediction and the target, and computes the function of that name in
``gg.nn.functional``; arguments are checked at the first call.
"""

from typing import Any

from gpugrad.nn import losses
from gpugrad.nn.module import Module
from gpugrad.tensor import Tensor

__all__ = [
    "BCEWithLogitsLoss", "CrossEntropyLoss", "HuberLoss", "L1Loss", "MSELoss", "NLLLoss",
]  # fmt: skip


class MSELoss(Module):
    """``mse_loss``: the squared error.

    >>> import gpugrad as gg
    >>> gg.nn.MSELoss(reduction="sum")(gg.ones(3), gg.zeros(3)).item()
    3.0
    """

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return losses.mse_loss(prediction, target, self.reduction)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class L1Loss(Module):
    """``l1_loss``: the absolute error."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return losses.l1_loss(prediction, target, self.reduction)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class HuberLoss(Module):
    """``huber_loss``: squared up to ``delta``, and beyond it a line."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        self.reduction = reduction
        self.delta = delta

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return losses.huber_loss(prediction, target, self.reduction, self.delta)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}, delta={self.delta}"


class CrossEntropyLoss(Module):
    """``cross_entropy``: -log softmax of the target's class.

    >>> import gpugrad as gg
    >>> round(gg.nn.CrossEntropyLoss()(gg.zeros((2, 4)), [0, 3]).item(), 4)
    1.3863
    """

    def __init__(
        self,
        *,
        ignore_index: int | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing

    def forward(self, logits: Any, target: Any) -> Tensor:
        return losses.cross_entropy(
            logits,
            target,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        return (
            f"ignore_index={self.ignore_index}, reduction={self.reduction!r}, "
            f"label_smoothing={self.label_smoothing}"
        )


class NLLLoss(Module):
    """``nll_loss``: -log probabilities of the target's class."""

    def __init__(self, *, ignore_index: int | None = None, reduction: str = "mean") -> None:
        self.ignore_index = ignore_index
        self.reduction = reduction

    def forward(self, log_probabilities: Any, target: Any) -> Tensor:
        return losses.nll_loss(
            log_probabilities, target, ignore_index=self.ignore_index, reduction=self.reduction
        )

    def extra_repr(self) -> str:
        return f"ignore_index={self.ignore_index}, reduction={self.reduction!r}"


class BCEWithLogitsLoss(Module):
    """``binary_cross_entropy_with_logits``; a ``pos_weight`` that is a Tensor is a buffer."""

    def __init__(self, *, pos_weight: Any = None, reduction: str = "mean") -> None:
        self.pos_weight = pos_weight
        self.reduction = reduction

    def forward(self, logits: Any, target: Any) -> Tensor:
        return losses.binary_cross_entropy_with_logits(
            logits, target, pos_weight=self.pos_weight, reduction=self.reduction
        )

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"
