"""Layer normalization: `layer_norm` and `LayerNorm`. Imports `module` and `parameter`."""

import math
from typing import Any

from gpugrad.errors import ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.functions.operands import without_lists
from gpugrad.nn.module import Module
from gpugrad.nn.parameter import Parameter
from gpugrad.tensor import Tensor, as_tensor, ones, zeros

__all__ = ["LayerNorm", "layer_norm"]

_layer_norm = FUNCTIONS["layer_norm"]


def check_shape(who: str, normalized_shape: Any) -> tuple[int, ...]:
    """The sizes of the last axes as a tuple; ShapeError for anything else, and for none."""
    sizes = normalized_shape if isinstance(normalized_shape, tuple | list) else [normalized_shape]
    integers = [hasattr(n, "__index__") and not isinstance(n, bool) for n in sizes]
    if not sizes or not all(integers) or min(n.__index__() for n in sizes) < 1:
        raise ShapeError(
            f"{who}: normalized_shape must be the sizes of the last axes, such as 64 or (8, 64), "
            f"got {normalized_shape!r}"
        )
    return tuple(int(n) for n in sizes)


def layer_norm(
    x: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float | Tensor = 1e-5,
) -> Tensor:
    """Each sample normalized to mean 0 and variance 1 over its last axes, times weight plus bias.

    ``normalized_shape`` is the sizes of these axes, or one number; weight and bias have this
    shape, or are None. The formula is ``(x - mean) / sqrt(variance + eps)``, the variance with
    n in the denominator (Ba, Kiros and Hinton, 2016). ShapeError where shapes do not fit.

    >>> import gpugrad as gg
    >>> gg.nn.functional.layer_norm(gg.tensor([[1.0, 3.0], [0.0, 10.0]]), 2, eps=0.0)
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    sizes = check_shape("layer_norm", normalized_shape)
    x, weight, bias = without_lists(x, weight, bias)
    x = as_tensor(x)
    parameters = [None if array is None else as_tensor(array) for array in (weight, bias)]
    for label, array in (("the last axes of x", x), *zip(("weight", "bias"), parameters)):
        if array is None:
            continue
        shape = array.shape[-len(sizes) :] if array is x else array.shape
        if shape != sizes:
            raise ShapeError(
                f"layer_norm: {label} must have the normalized_shape {sizes}, got {array.shape}"
            )
    if len(sizes) == 1:
        return _layer_norm(x, *parameters, eps=eps)
    length = math.prod(sizes)
    rows = x.reshape((*x.shape[: x.ndim - len(sizes)], length))
    flat = [None if array is None else array.reshape((length,)) for array in parameters]
    return _layer_norm(rows, *flat, eps=eps).reshape(x.shape)


class LayerNorm(Module):
    """Each sample normalized over its last axes, times a weight plus a bias.

    ``normalized_shape`` is the sizes of these axes, or one number. ``weight`` is initialized to
    ones and ``bias`` to zeros, both of this shape; both are None without ``elementwise_affine``,
    the bias also without ``bias``. The formula is that of `gpugrad.nn.functional.layer_norm` (Ba
    et al., 2016). ShapeError for sizes below 1.

    >>> import gpugrad as gg
    >>> layer = gg.nn.LayerNorm(2)
    >>> layer
    LayerNorm((2,), eps=1e-05)  # 4 parameters
    >>> layer(gg.tensor([[1.0, 3.0]])).round(3).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = None,
        device: Any = None,
    ) -> None:
        self.normalized_shape = shape = check_shape("LayerNorm", normalized_shape)
        self.eps = eps
        kwargs = {"dtype": dtype, "device": device}
        self.weight = Parameter(ones(shape, **kwargs)) if elementwise_affine else None
        self.bias = Parameter(zeros(shape, **kwargs)) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Tensor:
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        options = "" if self.weight is not None else ", elementwise_affine=False"
        if self.weight is not None and self.bias is None:
            options = ", bias=False"
        return f"{self.normalized_shape}, eps={self.eps}{options}"
