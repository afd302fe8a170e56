"""Activations as modules, and their names. Imports `functional` and `module`."""

from collections.abc import Callable
from typing import Any

from gpugrad.errors import DTypeError
from gpugrad.nn import functional as F
from gpugrad.nn.module import Module
from gpugrad.tensor import Tensor

__all__ = [
    "ELU", "GELU", "Identity", "LeakyReLU", "LogSoftmax", "ReLU", "SiLU", "Sigmoid", "Softmax",
    "Softplus", "Tanh", "activation_function", "activation_name",
]  # fmt: skip


class Identity(Module):
    """What comes in."""

    def forward(self, x: Any) -> Any:
        return x


class Tanh(Module):
    """tanh(x), elementwise.

    >>> import gpugrad as gg
    >>> gg.nn.Tanh()(gg.zeros(2))
    tensor([0., 0.])
    """

    def forward(self, x: Any) -> Tensor:
        return F.tanh(x)


class ReLU(Module):
    """max(x, 0), elementwise."""

    def forward(self, x: Any) -> Tensor:
        return F.relu(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x)), elementwise."""

    def forward(self, x: Any) -> Tensor:
        return F.sigmoid(x)


class SiLU(Module):
    """x · sigmoid(x), elementwise (Elfwing et al., 2018)."""

    def forward(self, x: Any) -> Tensor:
        return F.silu(x)


class Softplus(Module):
    """log(1 + exp(x)), elementwise, for x of any size."""

    def forward(self, x: Any) -> Tensor:
        return F.softplus(x)


class GELU(Module):
    """x · Φ(x), elementwise (Hendrycks and Gimpel, 2016); ``approximate="tanh"`` is quicker.

    >>> import gpugrad as gg
    >>> gg.nn.GELU(approximate="tanh")
    GELU(approximate='tanh')
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Any) -> Tensor:
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class ELU(Module):
    """x above 0, ``alpha`` · (exp(x) - 1) below, elementwise (Clevert et al., 2016)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Tensor:
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class LeakyReLU(Module):
    """x above 0, ``negative_slope`` · x below, elementwise."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class Softmax(Module):
    """exp(x) divided by its sum along ``axis``, the last unless given; PyTorch calls it ``dim``.

    >>> import gpugrad as gg
    >>> gg.nn.Softmax()(gg.zeros((1, 4))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, axis: int | None = None, *, dim: int | None = None) -> None:
        if axis is not None and dim is not None:
            raise ValueError("Softmax: axis and dim are two names of one thing; give one of them")
        given = axis if dim is None else dim
        self.axis = -1 if given is None else given

    def forward(self, x: Any) -> Tensor:
        return F.softmax(x, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class LogSoftmax(Softmax):
    """The logarithm of `Softmax`."""

    def forward(self, x: Any) -> Tensor:
        return F.log_softmax(x, self.axis)


# What `MLP(activation="tanh")` may name.
NAMED: dict[str, Callable[..., Any] | None] = {
    "elu": F.elu,
    "gelu": F.gelu,
    "identity": None,
    "leaky_relu": F.leaky_relu,
    "log_softmax": F.log_softmax,
    "relu": F.relu,
    "sigmoid": F.sigmoid,
    "silu": F.silu,
    "softmax": F.softmax,
    "softplus": F.softplus,
    "tanh": F.tanh,
}


def activation_function(who: str, activation: Any) -> Callable[..., Any] | None:
    """A name, a Module class or something to call, as what is called; None for the identity."""
    if activation is None:
        return None
    if isinstance(activation, str):
        if activation not in NAMED:
            raise ValueError(
                f"{who}: no activation is named {activation!r}; there are {', '.join(NAMED)}, "
                "and any callable or Module class"
            )
        return NAMED[activation]
    if isinstance(activation, type) and issubclass(activation, Module):
        return activation()
    if isinstance(activation, type) or not callable(activation):
        raise DTypeError(
            f"{who}: an activation is a name, a callable or a Module class, got {activation!r}"
        )
    return activation


def activation_name(activation: Any) -> str:
    """How an activation is written in a ``repr``."""
    if activation is None or isinstance(activation, str):
        return repr(activation)
    return getattr(activation, "__name__", None) or type(activation).__name__
