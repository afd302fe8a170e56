"""Layers, activations and losses as functions: ``gg.nn.functional``.

Imports tensor, random, errors and `losses`. The activations are gpugrad's own functions.
"""

import math
from typing import TYPE_CHECKING, Any, NoReturn

from gpugrad import random
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.nn.losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
)
from gpugrad.tensor import Tensor, as_tensor
from gpugrad.tensor.hints import absent

__all__ = [
    "binary_cross_entropy_with_logits", "cross_entropy", "dropout", "elu", "gelu", "huber_loss",
    "l1_loss", "layer_norm", "leaky_relu", "linear", "log_softmax", "mse_loss", "nll_loss",
    "relu", "sigmoid", "silu", "softmax", "softplus", "tanh",
]  # fmt: skip

elu = FUNCTIONS["elu"]
gelu = FUNCTIONS["gelu"]
leaky_relu = FUNCTIONS["leaky_relu"]
log_softmax = FUNCTIONS["log_softmax"]
relu = FUNCTIONS["relu"]
sigmoid = FUNCTIONS["sigmoid"]
silu = FUNCTIONS["silu"]
softmax = FUNCTIONS["softmax"]
softplus = FUNCTIONS["softplus"]
tanh = FUNCTIONS["tanh"]

_layer_norm = FUNCTIONS["layer_norm"]
_linear = FUNCTIONS["linear"]


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """``x @ weight.T + bias``, as one operation.

    x is (..., inputs), weight (outputs, inputs), bias (outputs,), (1,) or None; the result is
    (..., outputs). ShapeError where they do not fit.

    >>> import gpugrad as gg
    >>> x, weight, bias = gg.ones((5, 3)), gg.ones((2, 3)), gg.tensor([0.0, 1.0])
    >>> gg.nn.functional.linear(x, weight, bias)[0].tolist()
    [3.0, 4.0]
    """
    # The raw arrays' attributes are quicker: this is the path of every layer of every step.
    try:
        fit = getattr(weight, "_array", weight).ndim == 2 and (
            bias is None or getattr(bias, "_array", bias).ndim == 1
        )
    except AttributeError:  # a list
        return linear(x, as_tensor(weight), bias if bias is None else as_tensor(bias))
    if not fit:
        raise _misfit(x, weight, bias)
    try:
        return _linear(x, weight, bias)
    except (ShapeError, IndexError):
        raise _misfit(x, weight, bias) from None


def _misfit(x: Any, weight: Any, bias: Any) -> ShapeError:
    """The error for operands of `linear` that do not fit."""
    shape = as_tensor(x).shape
    shapes = f"x {shape}, weight {weight.shape}"
    if bias is not None:
        shapes += f", bias {bias.shape}"
    if len(weight.shape) != 2:
        what = "weight must have two axes, (outputs, inputs)"
    elif shape[-1:] != weight.shape[1:]:
        what = f"the last axis of x must have size {weight.shape[1]}, the inputs of weight"
        if shape[-1:] == weight.shape[:1]:
            what += ". Did you mean to transpose the weight, which is (outputs, inputs)?"
    else:
        what = f"bias must have shape {weight.shape[:1]}, one number for each output"
    return ShapeError(f"linear: {what}; got {shapes}")


def check_shape(who: str, normalized_shape: Any) -> tuple[int, ...]:
    """The sizes of the last axes as a tuple; ShapeError for anything else, and for none."""
    given = normalized_shape if isinstance(normalized_shape, tuple | list) else [normalized_shape]
    whole = [hasattr(n, "__index__") and not isinstance(n, bool) for n in given]
    if not given or not all(whole) or min(n.__index__() for n in given) < 1:
        raise ShapeError(
            f"{who}: normalized_shape must be the sizes of the last axes, such as 64 or (8, 64), "
            f"got {normalized_shape!r}"
        )
    return tuple(int(n) for n in given)


def layer_norm(
    x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Each sample with mean 0 and variance 1 over its last axes, times weight plus bias.

    ``normalized_shape`` is the sizes of these axes, also one number; weight and bias have this
    shape, or are None. ``(x - mean) / sqrt(variance + eps)``, the variance with n in its
    denominator (Ba, Kiros and Hinton, 2016). ShapeError where they do not fit.

    >>> import gpugrad as gg
    >>> gg.nn.functional.layer_norm(gg.tensor([[1.0, 3.0], [0.0, 10.0]]), 2, eps=0.0)
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    sizes = check_shape("layer_norm", normalized_shape)
    x = as_tensor(x)
    parameters = [None if array is None else as_tensor(array) for array in (weight, bias)]
    for what, array in (("the last axes of x", x), *zip(("weight", "bias"), parameters)):
        if array is None:
            continue
        shape = array.shape[-len(sizes) :] if array is x else array.shape
        if shape != sizes:
            raise ShapeError(
                f"layer_norm: {what} must have the normalized_shape {sizes}, got {array.shape}"
            )
    if len(sizes) == 1:
        return _layer_norm(x, *parameters, eps=eps)
    length = math.prod(sizes)
    rows = x.reshape((*x.shape[: x.ndim - len(sizes)], length))
    flat = [None if array is None else array.reshape((length,)) for array in parameters]
    return _layer_norm(rows, *flat, eps=eps).reshape(x.shape)


def check_probability(who: str, p: Any) -> float:
    """p as a float from 0 to 1; DTypeError or ValueError for anything else."""
    if isinstance(p, bool) or not isinstance(p, int | float):
        raise DTypeError(f"{who}: p must be a number from 0 to 1, got {p!r}")
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{who}: p is a probability, from 0 to 1, got {p!r}")
    return float(p)


def dropout(
    x: Any,
    p: float = 0.5,
    training: bool = True,
    *,
    generator: random.Generator | None = None,
) -> Tensor:
    """Each element set to 0 with probability ``p``, the others divided by 1 - p.

    x itself where ``training`` is false (Srivastava et al., 2014; the scaling in training keeps
    the mean). The mask comes from ``gg.random.bernoulli``: the same seed drops the same elements
    on every device. ValueError for a ``p`` that is no probability.

    >>> import gpugrad as gg
    >>> gg.nn.functional.dropout(gg.ones(4), 1.0).tolist()
    [0.0, 0.0, 0.0, 0.0]
    >>> gg.nn.functional.dropout(gg.ones(4), 0.5, training=False).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    p = check_probability("dropout", p)
    x = as_tensor(x)
    if not training or p == 0.0:
        return x
    mask = random.bernoulli(
        1.0 - p, x.shape, dtype=x.dtype, device=x.device, generator=generator
    ).data
    if p < 1.0:
        mask *= 1.0 / (1.0 - p)
    return x * mask


if not TYPE_CHECKING:

    def __getattr__(name: str) -> NoReturn:
        raise absent("nn.functional", name)
