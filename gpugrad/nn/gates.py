"""Activations made of others, with a weight or with chance: `softmin`, `glu`, `prelu`, `rrelu`.

Imports `activations`, `init`, `module`, `parameter` and random.
"""

import math
from typing import Any

from gpugrad import random
from gpugrad.engine.messages import is_whole
from gpugrad.errors import ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.functions.operands import check_numbers, floating
from gpugrad.nn.activations import Softmax, one_axis
from gpugrad.nn.init import drawn_in
from gpugrad.nn.module import Module
from gpugrad.nn.parameter import Parameter
from gpugrad.tensor import OPS, Tensor, arange, as_tensor, full

__all__ = [
    "GLU", "PReLU", "RReLU", "Softmax2d", "Softmin", "glu", "gumbel_softmax", "prelu", "rrelu",
    "softmin",
]  # fmt: skip


def softmin(x: Any, axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """``softmax(-x)`` along ``axis``, by default the last; PyTorch's name is ``dim``.

    >>> import gpugrad as gg
    >>> gg.nn.functional.softmin(gg.tensor([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    return FUNCTIONS["softmax"](-floating(as_tensor(x)), one_axis("softmin", axis, dim))


class Softmin(Softmax):
    """``softmin``: `Softmax` of -x.

    >>> import gpugrad as gg
    >>> gg.nn.Softmin(dim=1)(gg.zeros((1, 4))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    def forward(self, x: Any) -> Tensor:
        return softmin(x, self.axis)


class Softmax2d(Module):
    """`Softmax` over the channels of images, (batch, channels, height, width) or without batch.

    ShapeError for other numbers of axes.
    """

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if x.ndim not in (3, 4):
            raise ShapeError(
                "Softmax2d: expected images, (batch, channels, height, width) or (channels, "
                f"height, width), got shape {x.shape}"
            )
        return FUNCTIONS["softmax"](x, -3)


def glu(x: Any, axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """``a * sigmoid(b)``, a and b the halves of x along ``axis``, by default the last.

    PyTorch's name is ``dim``; gated linear units of Dauphin et al., 2017. ShapeError for an odd
    size.

    >>> import gpugrad as gg
    >>> gg.nn.functional.glu(gg.tensor([2.0, 4.0, 0.0, 0.0])).tolist()
    [1.0, 2.0]
    """
    axis = one_axis("glu", axis, dim)
    x = as_tensor(x)
    if not is_whole(axis) or not -x.ndim <= axis < x.ndim or x.shape[axis] % 2:
        raise ShapeError(f"glu: axis {axis} must exist and have an even size, got shape {x.shape}")
    a, b = FUNCTIONS["split"](x, 2, axis=axis)
    return a * FUNCTIONS["sigmoid"](b)


class GLU(Module):
    """``glu``: one half of the input along ``axis``, gated by the sigmoid of the other.

    >>> import gpugrad as gg
    >>> gg.nn.GLU()(gg.ones((3, 8))).shape
    (3, 4)
    """

    _shown = ("axis",)

    def __init__(self, axis: int | None = None, *, dim: int | None = None) -> None:
        self.axis = one_axis("GLU", axis, dim)

    def forward(self, x: Any) -> Tensor:
        return glu(x, self.axis)


def prelu(x: Any, weight: Any) -> Tensor:
    """x where x > 0 and else ``weight * x``: a leaky ReLU whose slope is learned (He et al., 2015).

    ``weight`` has one element, or one for each channel, the axis 1 of x (the only axis where there
    is one). The derivative by x at 0 is the weight. ShapeError where it does not fit.

    >>> import gpugrad as gg
    >>> gg.nn.functional.prelu(gg.tensor([-2.0, 4.0]), gg.tensor([0.25])).tolist()
    [-0.5, 4.0]
    """
    x = as_tensor(x)
    if not getattr(weight, "shape", not isinstance(weight, list | tuple)):  # a number
        return OPS["prelu"](x, weight)
    weight = as_tensor(weight) if hasattr(weight, "shape") else as_tensor(weight, device=x.device)
    channels = x.shape[1] if x.ndim > 1 else math.prod(x.shape)
    if weight.ndim > 1 or weight.size not in (1, channels):
        raise ShapeError(
            f"prelu: weight must have one element, or {channels}, one for each channel of x "
            f"{x.shape}; got {weight.shape}"
        )
    if x.ndim > 1:
        weight = weight.reshape((weight.size, *(1,) * (x.ndim - 2)))
    return OPS["prelu"](x, weight)


class PReLU(Module):
    """``prelu``: a leaky ReLU whose slope, ``weight`` of shape (num_parameters,), is learned.

    ``num_parameters`` is 1 or the number of channels, of axis 1; ``init`` is the first slope.

    >>> import gpugrad as gg
    >>> gg.nn.PReLU()(gg.tensor([-2.0, 4.0])).tolist()
    [-0.5, 4.0]
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, dtype: Any = None, device: Any = None
    ) -> None:
        check_numbers("PReLU", init=init)
        if not is_whole(num_parameters, 1):
            raise ShapeError(
                f"PReLU: num_parameters must be 1 or the number of channels, got {num_parameters!r}"
            )
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(full((num_parameters,), init, dtype=dtype, device=device))

    def forward(self, x: Any) -> Tensor:
        return prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


def rrelu(
    x: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, *,
    generator: random.Generator | None = None,
) -> Tensor:  # fmt: skip
    """x where x > 0 and else a slope times x: drawn for each element between lower and upper.

    Where ``training`` is false the slope is their mean (Xu et al., 2015). The slopes come from
    ``gg.random.uniform``, so the same seed gives the same on every device. ValueError for bounds
    that cross.

    >>> import gpugrad as gg
    >>> gg.nn.functional.rrelu(gg.tensor([-2.0, 4.0]), 0.0, 0.5).tolist()
    [-0.5, 4.0]
    """
    check_numbers("rrelu", lower=lower, upper=upper)
    if not lower <= upper:
        raise ValueError(f"rrelu: lower must not exceed upper, got {lower!r} and {upper!r}")
    x = floating(as_tensor(x))
    if not training:
        return FUNCTIONS["leaky_relu"](x, (lower + upper) / 2)
    slopes = random.uniform(
        lower, upper, x.shape, dtype=drawn_in(x.dtype), device=x.device, generator=generator
    )
    return OPS["prelu"](x, slopes.astype(x.dtype))


class RReLU(Module):
    """``rrelu``: random slopes below 0 in training, and their mean after ``eval()``.

    >>> import gpugrad as gg
    >>> gg.nn.RReLU(0.0, 0.5).eval()(gg.tensor([-2.0, 4.0])).tolist()
    [-0.5, 4.0]
    """

    _shown = ("lower", "upper")

    def __init__(
        self,
        lower: float = 1.0 / 8,
        upper: float = 1.0 / 3,
        *,
        generator: random.Generator | None = None,
    ) -> None:
        self.lower = lower
        self.upper = upper
        self.generator = generator

    def forward(self, x: Any) -> Tensor:
        return rrelu(x, self.lower, self.upper, self.training, generator=self.generator)


def gumbel_softmax(
    logits: Any, tau: float = 1.0, hard: bool = False, axis: int | None = None, *,
    dim: int | None = None, generator: random.Generator | None = None,
) -> Tensor:  # fmt: skip
    """A random class along ``axis`` with the probabilities softmax(logits), made differentiable.

    It is the softmax of the logits plus noise, divided by ``tau``: the smaller tau, the nearer to
    one-hot (Jang et al., 2017; Maddison et al., 2017). With ``hard`` the value is one-hot and the
    derivative that of the soft one. ValueError for a ``tau`` that is not positive.

    >>> import gpugrad as gg
    >>> gg.nn.functional.gumbel_softmax(gg.zeros((2, 5)), hard=True).sum(axis=-1).tolist()
    [1.0, 1.0]
    """
    if not tau > 0:
        raise ValueError(f"gumbel_softmax: tau must be positive, got {tau!r}")
    axis = one_axis("gumbel_softmax", axis, dim)
    logits = floating(as_tensor(logits))
    # In float16 the numbers next to 1 are 1, and their noise is infinite.
    wide = "float64" if logits.dtype.itemsize == 8 else "float32"
    u = random.uniform(
        0.0, 1.0, logits.shape, dtype=wide, device=logits.device, generator=generator
    )
    tiny = float(FUNCTIONS["finfo"](u.dtype).tiny)  # in place of 0, whose logarithm is infinite
    noise = -FUNCTIONS["log"](-FUNCTIONS["log"](FUNCTIONS["maximum"](u, tiny)))
    noise = noise.astype(logits.dtype)
    soft = FUNCTIONS["softmax"]((logits + noise) / tau, axis)
    if not hard:
        return soft
    values = soft.detach()
    largest = FUNCTIONS["argmax"](values, axis=axis, keepdims=True)
    places = arange(logits.shape[axis], device=logits.device)
    places = places.reshape((-1, *(1,) * (logits.ndim - 1 - axis % logits.ndim)))
    chosen = FUNCTIONS["where"](places == largest, 1.0, 0.0).astype(logits.dtype)
    return chosen - values + soft
