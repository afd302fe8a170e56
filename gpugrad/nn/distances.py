"""Distances and angles between vectors, and vectors of length 1, as functions and modules.

Imports `activations` and `module`. Sums are of what arrays broadcast to, as in PyTorch.
"""

from typing import Any

import numpy as np

from gpugrad.errors import ShapeError
from gpugrad.functions.linalg.norms import norm
from gpugrad.functions.operands import floating, in_single, together
from gpugrad.functions.reductions import sum as total
from gpugrad.nn.activations import one_axis
from gpugrad.nn.module import Module
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = [
    "CosineSimilarity", "PairwiseDistance", "cosine_similarity", "normalize", "pairwise_distance",
]  # fmt: skip


@in_single
def normalize(
    x: Any, p: float = 2.0, axis: int | None = None, eps: float = 1e-12, *, dim: int | None = None
) -> Tensor:
    """x divided by its norms of order ``p`` along ``axis``, by default 1: vectors of length 1.

    Norms below ``eps`` count as eps. PyTorch's name of the axis is ``dim``.

    >>> import gpugrad as gg
    >>> gg.nn.functional.normalize(gg.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6, 0.8],
            [0. , 0. ]])
    """
    x = floating(as_tensor(x))
    axis = one_axis("normalize", axis, dim, default=1)
    if not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"normalize: there is no axis {axis}, the shape is {x.shape}")
    sizes = norm(x, ord=p, axis=axis, keepdims=True)
    return x / OPS["maximum"](sizes, eps)


def _pair(who: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands as Tensors of floating-point numbers; ShapeError if they do not broadcast."""
    one, other = map(floating, together(a, b))
    for n, m in zip(reversed(one.shape), reversed(other.shape)):
        if n != m and 1 not in (n, m):
            raise ShapeError(f"{who}: shapes {one.shape} and {other.shape} do not broadcast")
    return one, other


@in_single
def cosine_similarity(
    a: Any, b: Any, axis: int | None = None, eps: float = 1e-8, *, dim: int | None = None
) -> Tensor:
    """The cosine of the angle between vectors along ``axis``, by default 1; they broadcast.

    ``sum(a b) / (max(|a|, eps) max(|b|, eps))``. PyTorch's name of the axis is ``dim``. ShapeError
    for shapes that do not broadcast.

    >>> import gpugrad as gg
    >>> gg.nn.functional.cosine_similarity(gg.tensor([[1.0, 0.0]]), gg.tensor([[2.0, 0.0]]))
    tensor([1.])
    """
    a, b = _pair("cosine_similarity", a, b)
    axis = one_axis("cosine_similarity", axis, dim, default=1)
    most = max(a.ndim, b.ndim)
    if not -most <= axis < most:
        raise ShapeError(
            f"cosine_similarity: there is no axis {axis}, the shapes are {a.shape} and {b.shape}"
        )
    axis = axis % most - most  # counted from the end, along which shapes are aligned
    shape = np.broadcast_shapes(a.shape, b.shape)
    a, b = (OPS["broadcast_to"](x, shape) for x in (a, b))
    # Each is divided by its size first: products of large numbers would overflow.
    a, b = (x / OPS["maximum"](norm(x, axis=axis, keepdims=True), eps) for x in (a, b))
    return total(a * b, axis=axis)


@in_single
def pairwise_distance(
    a: Any, b: Any, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False, *,
    keepdim: Any = None,
) -> Tensor:  # fmt: skip
    """The norm of order ``p`` of ``a - b + eps`` along the last axis; a and b broadcast.

    ``eps`` keeps the derivative finite where both are equal. PyTorch's name of ``keepdims`` is
    ``keepdim``. ShapeError for shapes that do not broadcast.

    >>> import gpugrad as gg
    >>> gg.nn.functional.pairwise_distance(gg.tensor([[3.0, 4.0]]), gg.zeros((1, 2))).round(3)
    tensor([5.])
    """
    a, b = _pair("pairwise_distance", a, b)
    keep = keepdims if keepdim is None else bool(keepdim)
    return norm(a - b + eps, ord=p, axis=-1, keepdims=keep)


class CosineSimilarity(Module):
    """``cosine_similarity`` along ``axis``, by default 1; PyTorch's name is ``dim``.

    >>> import gpugrad as gg
    >>> gg.nn.CosineSimilarity(dim=0)(gg.tensor([1.0, 1.0]), gg.tensor([1.0, -1.0])).item()
    0.0
    """

    _shown = ("axis", "eps")

    def __init__(
        self, axis: int | None = None, eps: float = 1e-8, *, dim: int | None = None
    ) -> None:
        self.axis = one_axis("CosineSimilarity", axis, dim, default=1)
        self.eps = eps

    def forward(self, a: Any, b: Any) -> Tensor:
        return cosine_similarity(a, b, self.axis, self.eps)


class PairwiseDistance(Module):
    """``pairwise_distance``: the norm of a - b along the last axis.

    >>> import gpugrad as gg
    >>> gg.nn.PairwiseDistance(p=1.0)(gg.ones((1, 2)), gg.zeros((1, 2))).round(3)
    tensor([2.])
    """

    _shown = ("p", "eps", "keepdims")

    def __init__(
        self, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False, *, keepdim: Any = None
    ) -> None:
        self.p = p
        self.eps = eps
        self.keepdims = keepdims if keepdim is None else bool(keepdim)

    def forward(self, a: Any, b: Any) -> Tensor:
        return pairwise_distance(a, b, self.p, self.eps, self.keepdims)
