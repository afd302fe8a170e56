"""Losses with a margin, of scores, pairs and triples. Imports `distances`, `embedding`, `losses`.

They are like those of `losses`. At its margin a loss has the slope of the upper piece, as in
PyTorch.
"""

from typing import Any

import numpy as np

from gpugrad.errors import ShapeError
from gpugrad.functions.manipulation import expand_dims
from gpugrad.functions.operands import check_numbers, floating, in_single, together
from gpugrad.nn.distances import pairwise_distance
from gpugrad.nn.embedding import check_range, whole_numbers
from gpugrad.nn.layer import Layer
from gpugrad.nn.losses import check_real, real_pair, reduced, weighed
from gpugrad.tensor import OPS, Tensor, arange

__all__ = [
    "CosineEmbeddingLoss", "HingeEmbeddingLoss", "MarginRankingLoss", "MultiLabelSoftMarginLoss",
    "MultiMarginLoss", "SoftMarginLoss", "TripletMarginLoss", "cosine_embedding_loss",
    "hinge_embedding_loss", "margin_ranking_loss", "multi_margin_loss",
    "multilabel_soft_margin_loss", "soft_margin_loss", "triplet_margin_loss",
]  # fmt: skip


def _above_zero(x: Any) -> Any:
    return OPS["clip"](x, 0.0, None)


def _alike(who: str, *operands: Any) -> list[Any]:
    """Operands as Tensors of floating-point numbers; ShapeError if they do not broadcast."""
    tensors = [floating(tensor) for tensor in together(*operands)]
    try:
        np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    except ValueError:
        shapes = ", ".join(str(tensor.shape) for tensor in tensors)
        raise ShapeError(f"{who}: shapes {shapes} do not broadcast") from None
    for tensor in tensors:
        check_real(who, tensor)
    return tensors


def margin_ranking_loss(
    a: Any, b: Any, target: Any, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """``max(0, -target (a - b) + margin)``: a is to be above b where the target is 1, below at -1.

    The operands broadcast; ShapeError otherwise, ValueError for another ``reduction``.

    >>> import gpugrad as gg
    >>> a, b = gg.tensor([1.0, 1.0]), gg.tensor([0.0, 3.0])
    >>> gg.nn.functional.margin_ranking_loss(a, b, gg.ones(2), reduction="none").tolist()
    [0.0, 2.0]
    """
    check_numbers("margin_ranking_loss", margin=margin)
    a, b, t = _alike("margin_ranking_loss", a, b, target)
    return reduced("margin_ranking_loss", _above_zero(margin - t * (a - b)), reduction)


def hinge_embedding_loss(
    x: Any, target: Any, margin: float = 1.0, *, reduction: str = "mean"
) -> Tensor:
    """Of a distance x: x where the target is 1, and ``max(0, margin - x)`` where it is -1.

    The operands broadcast; ShapeError otherwise, ValueError for another ``reduction``.

    >>> import gpugrad as gg
    >>> x, target = gg.tensor([0.25, 0.25]), gg.tensor([1.0, -1.0])
    >>> gg.nn.functional.hinge_embedding_loss(x, target, reduction="none").tolist()
    [0.25, 0.75]
    """
    check_numbers("hinge_embedding_loss", margin=margin)
    x, t = _alike("hinge_embedding_loss", x, target)
    # As in PyTorch, a target that is neither counts as both.
    near = OPS["where"](t != -1, x, 0.0)
    far = OPS["where"](t != 1, _above_zero(margin - x), 0.0)
    return reduced("hinge_embedding_loss", near + far, reduction)


def soft_margin_loss(x: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """``log(1 + exp(-target x))`` for a target of 1 or -1, exact for x of any size.

    Both have one shape; ShapeError otherwise, ValueError for another ``reduction``.

    >>> import gpugrad as gg
    >>> gg.nn.functional.soft_margin_loss(gg.tensor([-1000.0]), gg.ones(1)).item()
    1000.0
    """
    x, t = real_pair("soft_margin_loss", x, target)
    return reduced("soft_margin_loss", OPS["softplus"](-t * x), reduction)


def multi_margin_loss(
    x: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, *,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The mean over classes i of ``max(0, margin - x[target] + x[i])^p``, the target's being 0.

    x is (samples, classes) or (classes,), the target class numbers; ``weight`` has a factor for
    each class, of its samples. p is 1 or 2. ShapeError, DTypeError, IndexingError for a target that
    does not fit, ValueError for another p or ``reduction``.

    >>> import gpugrad as gg
    >>> x = gg.tensor([[0.5, 1.0, 0.0]])
    >>> gg.nn.functional.multi_margin_loss(x, [1]).item()  # (1 - 1 + 0.5) / 3
    0.1666666716337204
    """
    who = "multi_margin_loss"
    check_numbers(who, margin=margin)
    if p not in (1, 2):
        raise ValueError(f"{who}: p must be 1 or 2, got {p!r}")
    (x,) = _alike(who, x)
    numbers = whole_numbers(who, target)
    if x.ndim not in (1, 2) or numbers.shape != x.shape[:-1]:
        raise ShapeError(
            f"{who}: expected scores (samples, classes) and a class number for each sample, or "
            f"(classes,) and one; got {x.shape} and {numbers.shape}"
        )
    count = x.shape[-1]
    check_range(who, numbers, count, "class numbers")
    numbers = numbers.to(x.device) if numbers.device.kind == "cpu" else numbers
    chosen = _is_class(numbers, count)
    right = OPS["sum"](OPS["where"](chosen, x, 0.0), axis=-1, keepdims=True)
    losses = OPS["where"](chosen, 0.0, _above_zero(margin - right + x))
    losses = OPS["mean"](losses if p == 1 else losses * losses, axis=-1)
    if weight is not None:
        (weight,) = _alike(who, together(x, weight)[1])
        if weight.shape != (count,):
            raise ShapeError(
                f"{who}: weight must have one number for each of {count} classes, got shape "
                f"{weight.shape}"
            )
        losses = losses * weight[numbers]
    return reduced(who, losses, reduction)


def _is_class(numbers: Tensor, count: int) -> Tensor:
    """Which class each sample is of, along a new last axis."""
    return expand_dims(numbers, -1) == arange(count, dtype="int64", device=numbers.device)


def multilabel_soft_margin_loss(
    x: Any, target: Any, weight: Any = None, *, reduction: str = "mean"
) -> Tensor:
    """The mean over classes of the binary cross-entropies of logits, for several labels.

    x is (..., classes), the target 0 or 1 for each class, ``weight`` broadcasts to x. Both have
    one shape; ShapeError otherwise, ValueError for another ``reduction``.

    >>> import gpugrad as gg
    >>> loss = gg.nn.functional.multilabel_soft_margin_loss(gg.zeros((1, 3)), gg.ones((1, 3)))
    >>> round(loss.item(), 4)
    0.6931
    """
    who = "multilabel_soft_margin_loss"
    x, t = real_pair(who, x, target)
    losses: Any = OPS["weighted"](t, OPS["softplus"](-x))
    losses = losses + OPS["weighted"](1 - t, OPS["softplus"](x))
    losses = OPS["mean"](weighed(who, losses, weight), axis=-1)
    return reduced(who, losses, reduction)


@in_single
def cosine_embedding_loss(
    a: Any, b: Any, target: Any, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """``1 - cos`` of the angle of a and b where the target is 1, ``max(0, cos - margin)`` at -1.

    a and b are (samples, width) or (width,), the target (samples,) or one number. ShapeError for
    others, ValueError for another ``reduction``.

    >>> import gpugrad as gg
    >>> a, b = gg.tensor([[1.0, 0.0]]), gg.tensor([[0.0, 2.0]])
    >>> gg.nn.functional.cosine_embedding_loss(a, b, gg.ones(1)).item()
    1.0
    """
    who = "cosine_embedding_loss"
    check_numbers(who, margin=margin)
    a, b, t = (floating(tensor) for tensor in together(a, b, target))
    if a.shape != b.shape or a.ndim not in (1, 2) or t.shape != a.shape[:-1]:
        raise ShapeError(
            f"{who}: expected a and b of one shape, (samples, width), and a target (samples,); got "
            f"{a.shape}, {b.shape} and {t.shape}"
        )
    for tensor in (a, b):
        check_real(who, tensor)
    # PyTorch's tiny number, which makes the derivative at 0 finite.
    squares = [OPS["sum"](x * x, axis=-1) + 1e-12 for x in (a, b)]
    cosine = OPS["sum"](a * b, axis=-1) / OPS["sqrt"](squares[0] * squares[1])
    alike = OPS["where"](t == 1, 1.0 - cosine, 0.0)
    unlike = OPS["where"](t == -1, _above_zero(cosine - margin), 0.0)
    return reduced(who, alike + unlike, reduction)


@in_single
def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2.0,
    eps: float = 1e-6, swap: bool = False, *, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """``max(0, d(anchor, positive) - d(anchor, negative) + margin)`` (Balntas et al., 2016).

    d is the `pairwise_distance` of order p along the last axis. With ``swap`` the distance of the
    positive to the negative counts where it is smaller than the anchor's. The operands broadcast;
    ShapeError otherwise, ValueError for another ``reduction``.

    >>> import gpugrad as gg
    >>> a, b, c = gg.zeros((1, 2)), gg.zeros((1, 2)), gg.tensor([[3.0, 4.0]])
    >>> round(gg.nn.functional.triplet_margin_loss(a, b, c, margin=6.0).item(), 3)
    1.0
    """
    who = "triplet_margin_loss"
    check_numbers(who, margin=margin, eps=eps)
    anchor, positive, negative = _alike(who, anchor, positive, negative)
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = OPS["minimum"](far, pairwise_distance(positive, negative, p, eps))
    return reduced(who, _above_zero(near - far + margin), reduction)


class MarginRankingLoss(Layer, of=margin_ranking_loss, inputs=3):
    """``margin_ranking_loss``: called with two scores and which is to be larger, 1 or -1."""


class HingeEmbeddingLoss(Layer, of=hinge_embedding_loss):
    """``hinge_embedding_loss`` of distances, of pairs that are alike, 1, or not, -1."""


class SoftMarginLoss(Layer, of=soft_margin_loss):
    """``soft_margin_loss``: the logistic loss of two classes, 1 and -1."""


class MultiMarginLoss(Layer, of=multi_margin_loss):
    """``multi_margin_loss``: the hinge loss of several classes; a ``weight`` Tensor is a buffer."""


class MultiLabelSoftMarginLoss(Layer, of=multilabel_soft_margin_loss):
    """``multilabel_soft_margin_loss`` of logits; a ``weight`` that is a Tensor is a buffer."""


class CosineEmbeddingLoss(Layer, of=cosine_embedding_loss, inputs=3):
    """``cosine_embedding_loss`` of vectors that are alike, 1, or not, -1."""


class TripletMarginLoss(Layer, of=triplet_margin_loss, inputs=3):
    """``triplet_margin_loss``: called with anchors, what is like them, and what is not."""
