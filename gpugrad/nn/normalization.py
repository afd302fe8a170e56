"""Normalization of samples: `LayerNorm`, `RMSNorm`, `GroupNorm`, and their functions.

Imports `linear`, `module` and `parameter`.
"""

import math
from collections.abc import Callable
from typing import Any

from gpugrad.engine.messages import is_whole
from gpugrad.errors import ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.functions.operands import without_lists
from gpugrad.nn.linear import check_size
from gpugrad.nn.module import Module
from gpugrad.nn.parameter import Parameter
from gpugrad.tensor import OPS, Tensor, as_tensor, ones, zeros

__all__ = ["GroupNorm", "LayerNorm", "RMSNorm", "group_norm", "layer_norm", "rms_norm"]

_layer_norm = FUNCTIONS["layer_norm"]


def check_shape(who: str, normalized_shape: Any) -> tuple[int, ...]:
    """The sizes of the last axes as a tuple; ShapeError for anything else, and for none."""
    sizes = normalized_shape if isinstance(normalized_shape, tuple | list) else [normalized_shape]
    if not sizes or not all(is_whole(n, 1) for n in sizes):
        raise ShapeError(
            f"{who}: normalized_shape must be the sizes of the last axes, such as 64 or (8, 64), "
            f"got {normalized_shape!r}"
        )
    return tuple(int(n) for n in sizes)


def layer_norm(
    x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float | Tensor = 1e-5,
) -> Tensor:  # fmt: skip
    """Each sample normalized to mean 0 and variance 1 over its last axes, times weight plus bias.

    ``normalized_shape`` is the sizes of these axes, or one number; weight and bias have this
    shape, or are None. The formula is ``(x - mean) / sqrt(variance + eps)``, the variance with
    n in the denominator (Ba, Kiros and Hinton, 2016). ShapeError where shapes do not fit.

    >>> import gpugrad as gg
    >>> gg.nn.functional.layer_norm(gg.tensor([[1.0, 3.0], [0.0, 10.0]]), 2, eps=0.0)
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    return _over_last_axes(
        _layer_norm, "layer_norm", x, normalized_shape, {"weight": weight, "bias": bias}, eps
    )


def rms_norm(
    x: Any, normalized_shape: Any, weight: Any = None, eps: float | Tensor | None = None
) -> Tensor:
    """Each sample divided by the root of its mean square over its last axes, times weight.

    ``normalized_shape`` is the sizes of these axes, or one number; weight has this shape or is
    None. The formula is ``x / sqrt(mean(x²) + eps)`` (Zhang and Sennrich, 2019); eps is by default
    that of the dtype it is computed in, float32 for half precision, as in PyTorch. ShapeError where
    shapes do not fit.

    >>> import gpugrad as gg
    >>> gg.nn.functional.rms_norm(gg.tensor([[3.0, 3.0], [0.0, 2.0]]), 2).round(4)
    tensor([[1.    , 1.    ],
            [0.    , 1.4142]])
    """
    return _over_last_axes(
        FUNCTIONS["rms_norm"], "rms_norm", x, normalized_shape, {"weight": weight}, eps
    )


def _over_last_axes(
    op: Callable[..., Tensor], who: str, x: Any, normalized_shape: Any, given: dict[str, Any],
    eps: Any,
) -> Tensor:  # fmt: skip
    """An op of rows over the last axes; ``given`` are its other operands, by their names."""
    sizes = check_shape(who, normalized_shape)
    x, *arrays = without_lists(x, *given.values())
    x = as_tensor(x)
    parameters = [None if array is None else as_tensor(array) for array in arrays]
    for label, array in (("the last axes of x", x), *zip(given, parameters)):
        if array is None:
            continue
        shape = array.shape[-len(sizes) :] if array is x else array.shape
        if shape != sizes:
            raise ShapeError(
                f"{who}: {label} must have the normalized_shape {sizes}, got {array.shape}"
            )
    if len(sizes) == 1:
        return op(x, *parameters, eps=eps)
    length = math.prod(sizes)
    rows = x.reshape((*x.shape[: x.ndim - len(sizes)], length))
    flat = [None if array is None else array.reshape((length,)) for array in parameters]
    return op(rows, *flat, eps=eps).reshape(x.shape)


def group_norm(
    x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float | Tensor = 1e-5
) -> Tensor:
    """Each sample normalized over each group of its channels, times weight plus bias.

    x is (batch, channels, ...); the channels are cut into ``num_groups`` groups, each normalized
    to mean 0 and variance 1 with the positions behind them (Wu and He, 2018). weight and bias have
    one number for each channel, or are None. ShapeError where shapes do not fit.

    >>> import gpugrad as gg
    >>> x = gg.tensor([[1.0, 3.0, 10.0, 20.0]])
    >>> gg.nn.functional.group_norm(x, 2, eps=0.0)
    tensor([[-1.,  1., -1.,  1.]])
    """
    x, weight, bias = without_lists(x, weight, bias)
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"group_norm: expected (batch, channels, ...), got shape {x.shape}")
    groups = check_size("group_norm", "num_groups", num_groups)
    if x.shape[1] % groups:
        raise ShapeError(
            f"group_norm: {x.shape[1]} channels cannot be cut into {groups} groups; got shape "
            f"{x.shape}"
        )
    length = math.prod(x.shape[1:]) // groups
    y = _layer_norm(x.reshape((x.shape[0], groups, length)), eps=eps).reshape(x.shape)
    return by_channel("group_norm", y, weight, bias)


def by_channel(who: str, y: Tensor, weight: Any, bias: Any) -> Tensor:
    """``y * weight + bias`` with a number for each channel, of axis 1; either may be None."""
    for label, array in (("weight", weight), ("bias", bias)):
        check_channels(who, label, array, y)
    column = (y.shape[1], *(1,) * (y.ndim - 2))
    if weight is None:
        return y if bias is None else y + as_tensor(bias).reshape(column)
    weight = as_tensor(weight).reshape(column)
    if bias is None:
        return y * weight
    result: Tensor = OPS["scale_and_shift"](y, weight, as_tensor(bias).reshape(column))
    return result


def check_channels(who: str, label: str, array: Any, x: Tensor) -> None:
    """ShapeError for an array that has not one number for each channel of x; None is none."""
    if array is not None and array.shape != x.shape[1:2]:
        raise ShapeError(
            f"{who}: {label} must have shape {x.shape[1:2]}, one number for each channel of x "
            f"{x.shape}; got {array.shape}"
        )


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
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, *, dtype: Any = None, device: Any = None,
    ) -> None:  # fmt: skip
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


class RMSNorm(Module):
    """Each sample divided by the root of its mean square over its last axes, times a weight.

    ``normalized_shape`` is the sizes of these axes, or one number. ``weight`` is initialized to
    ones of this shape, and is None without ``elementwise_affine``. The formula is that of
    `gpugrad.nn.functional.rms_norm` (Zhang and Sennrich, 2019). ShapeError for sizes below 1.

    >>> import gpugrad as gg
    >>> layer = gg.nn.RMSNorm(2)
    >>> layer
    RMSNorm((2,), eps=None)  # 2 parameters
    >>> layer(gg.tensor([[3.0, 3.0]])).round(3).tolist()
    [[1.0, 1.0]]
    """

    def __init__(
        self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True, *,
        dtype: Any = None, device: Any = None,
    ) -> None:  # fmt: skip
        self.normalized_shape = shape = check_shape("RMSNorm", normalized_shape)
        self.eps = eps
        self.weight = (
            Parameter(ones(shape, dtype=dtype, device=device)) if elementwise_affine else None
        )

    def forward(self, x: Any) -> Tensor:
        return rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        options = "" if self.weight is not None else ", elementwise_affine=False"
        return f"{self.normalized_shape}, eps={self.eps}{options}"


class GroupNorm(Module):
    """Each sample normalized over each of ``num_groups`` groups of its channels.

    ``weight`` of ones and ``bias`` of zeros have ``num_channels`` numbers; both are None without
    ``affine``. The formula is that of `gpugrad.nn.functional.group_norm` (Wu and He, 2018).
    ShapeError for groups that do not divide the channels.

    >>> import gpugrad as gg
    >>> layer = gg.nn.GroupNorm(2, 6)
    >>> layer
    GroupNorm(2, 6, eps=1e-05)  # 12 parameters
    >>> layer(gg.ones((5, 6, 4, 4))).shape
    (5, 6, 4, 4)
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *,
        dtype: Any = None, device: Any = None,
    ) -> None:  # fmt: skip
        self.num_groups = check_size("GroupNorm", "num_groups", num_groups)
        self.num_channels = check_size("GroupNorm", "num_channels", num_channels)
        if self.num_channels % self.num_groups:
            raise ShapeError(
                f"GroupNorm: num_channels, {num_channels}, must be a multiple of num_groups, "
                f"{num_groups}"
            )
        self.eps = eps
        shape = (self.num_channels,)
        self.weight = Parameter(ones(shape, dtype=dtype, device=device)) if affine else None
        self.bias = Parameter(zeros(shape, dtype=dtype, device=device)) if affine else None

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ShapeError(
                f"GroupNorm: expected (batch, {self.num_channels}, ...), got shape {x.shape}"
            )
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        options = "" if self.weight is not None else ", affine=False"
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}{options}"
