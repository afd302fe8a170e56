"""Activations of the op table as functions and as modules. Imports `layer` and `module`.

Those that are made of others, or have a weight, are in `gates`. An op that is public in both
``gg`` and ``nn.functional`` is an activation. For an op with ``layer`` the module class is made
here; ci/stubs.py declares it for type checkers.
"""

from collections.abc import Callable
from typing import Any

from gpugrad.engine.op import TABLE, Op
from gpugrad.errors import DTypeError
from gpugrad.functions import FUNCTIONS as ALL
from gpugrad.nn.layer import initializer
from gpugrad.nn.module import Module
from gpugrad.tensor import Tensor

__all__ = [
    "FUNCTIONS", "MODULES", "Activation", "Identity", "LogSoftmax", "Softmax",
    "activation_function", "activation_name", "one_axis",
]  # fmt: skip

# The activations by name. The other functions of `nn.functional` are not in `gpugrad` itself.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    op.name: ALL[op.name] for op in TABLE.values() if {"gg", "nn.functional"} <= {*op.public}
}


class Activation(Module):
    """A function of the op table as a module, with the function's parameters as attributes.

    >>> import gpugrad as gg
    >>> gg.nn.GELU(approximate="tanh")
    GELU(approximate='tanh')
    >>> gg.nn.Tanh()(gg.zeros(2))
    tensor([0., 0.])
    """

    op: Op


def activation_module(op: Op) -> type[Activation]:
    """The class of an op that has ``layer``, with the op's parameters and documentation."""

    def forward(self: Activation, x: Any) -> Any:
        return compute(x)

    def forward_with_parameters(self: Activation, x: Any) -> Any:
        return compute(x, *[getattr(self, name) for name in op.parameters])

    compute = FUNCTIONS[op.name]
    members = {
        "__doc__": op.doc,
        "__init__": initializer(list(op.parameters.values())),
        "__module__": "gpugrad.nn",
        "_shown": tuple(op.parameters),
        "forward": forward_with_parameters if op.parameters else forward,
        "op": op,
    }
    return type(op.layer, (Activation,), members)


# The classes by name: "ReLU" and the like.
MODULES = {op.layer: activation_module(op) for op in TABLE.values() if op.layer}


class Identity(Module):
    """Returns its input; takes and ignores any arguments, as a stand-in for another layer.

    >>> import gpugrad as gg
    >>> gg.nn.Identity(54, unused=True)(gg.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, x: Any) -> Any:
        return x


def one_axis(who: str, axis: Any, dim: Any, default: int = -1) -> Any:
    """The axis of two names, gpugrad's and PyTorch's; ValueError for both."""
    if axis is not None and dim is not None:
        raise ValueError(f"{who}: axis and dim are the same parameter; pass one of them")
    chosen = axis if dim is None else dim
    return default if chosen is None else chosen


class Softmax(Module):
    """exp(x) divided by its sum along ``axis``, by default the last; PyTorch's name is ``dim``.

    >>> import gpugrad as gg
    >>> gg.nn.Softmax()(gg.zeros((1, 4))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    _shown = ("axis",)

    def __init__(self, axis: int | None = None, *, dim: int | None = None) -> None:
        self.axis = one_axis(type(self).__name__, axis, dim)

    def forward(self, x: Any) -> Tensor:
        return FUNCTIONS["softmax"](x, self.axis)


class LogSoftmax(Softmax):
    """The logarithm of `Softmax`."""

    def forward(self, x: Any) -> Tensor:
        return FUNCTIONS["log_softmax"](x, self.axis)


# The names that `MLP(activation="tanh")` accepts.
NAMED = {name: FUNCTIONS.get(name) for name in sorted([*FUNCTIONS, "identity"])}


def activation_function(who: str, activation: Any) -> Callable[..., Any] | None:
    """The callable of a name, a Module class or a callable; None for the identity."""
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
    """The name of an activation in a ``repr``."""
    if activation is None or isinstance(activation, str):
        return repr(activation)
    return getattr(activation, "__name__", None) or type(activation).__name__
