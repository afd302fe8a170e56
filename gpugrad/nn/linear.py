"""The linear layer: `linear` and `Linear`, and `joined` for one with its activation.

Imports `activations`, `init`, `module` and `parameter`.
"""

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

from gpugrad.engine.messages import is_whole
from gpugrad.engine.op import TABLE
from gpugrad.errors import ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.functions.operands import without_lists
from gpugrad.nn import init
from gpugrad.nn.activations import MODULES
from gpugrad.nn.module import Module
from gpugrad.nn.parameter import Parameter
from gpugrad.random import Generator
from gpugrad.tensor import OPS, Tensor, as_tensor, empty

__all__ = ["Affine", "Linear", "check_size", "joined", "linear", "linear_heads"]

_linear = FUNCTIONS["linear"]
_heads = OPS["attention_heads"]
# The ops of a layer and its activation, by the activation's function and by its Module class.
_JOINED: dict[Any, Callable[..., Tensor]] = {
    activation: FUNCTIONS[f"linear_{op.name}"]
    for op in TABLE.values()
    if f"linear_{op.name}" in TABLE
    for activation in (FUNCTIONS[op.name], MODULES[op.layer])
}


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """``x @ weight.T + bias``, as one operation.

    x is (..., inputs), weight (outputs, inputs), bias (outputs,), (1,) or None; the result is
    (..., outputs). ShapeError where they do not fit.

    >>> import gpugrad as gg
    >>> x, weight, bias = gg.ones((5, 3)), gg.ones((2, 3)), gg.tensor([0.0, 1.0])
    >>> gg.nn.functional.linear(x, weight, bias)[0].tolist()
    [3.0, 4.0]
    """
    return _applied(_linear, x, weight, bias)


def _applied(op: Callable[..., Tensor], x: Any, weight: Any, bias: Any, *settings: Any) -> Tensor:
    """`linear`, or its op with an activation, which has settings."""
    # Attributes of raw arrays are quicker to read; this runs for every layer in every step.
    try:
        fit = getattr(weight, "_array", weight).ndim == 2 and (
            bias is None or getattr(bias, "_array", bias).ndim == 1
        )
    except AttributeError:  # a list
        x, weight, bias = without_lists(x, weight, bias)
        bias = bias if bias is None else as_tensor(bias)
        return _applied(op, x, as_tensor(weight), bias, *settings)
    if not fit:
        raise _misfit(x, weight, bias)
    try:
        return op(x, weight, bias, *settings)
    except (ShapeError, IndexError):
        raise _misfit(x, weight, bias) from None
    except AttributeError:
        as_tensor(x)  # which says what is wrong with None
        raise


def _misfit(x: Any, weight: Any, bias: Any) -> ShapeError:
    """The error for operands of `linear` that do not fit."""
    shape = as_tensor(x).shape
    shapes = f"x {shape}, weight {weight.shape}"
    if bias is not None:
        shapes += f", bias {bias.shape}"
    if len(weight.shape) != 2:
        problem = "weight must have two axes, (outputs, inputs)"
    elif shape[-1:] != weight.shape[1:]:
        problem = f"the last axis of x must have size {weight.shape[1]}, the inputs of weight"
        if shape[-1:] == weight.shape[:1]:
            problem += ". Did you mean to transpose the weight, which is (outputs, inputs)?"
    else:
        problem = f"bias must have shape {weight.shape[:1]}, one number for each output"
    return ShapeError(f"linear: {problem}; got {shapes}")


def linear_heads(x: Any, weight: Any, bias: Any, *settings: Any) -> tuple[Tensor, ...]:
    """`linear` of sequences with three axes, its results by head: heads, parts, batch_first."""
    results: Any = _applied(_heads, x, weight, bias, *settings)
    return tuple(results)


def check_size(who: str, name: str, number: Any) -> int:
    """A number of inputs or outputs as an int; ShapeError for anything below 1."""
    if not is_whole(number, 1):
        raise ShapeError(f"{who}: {name} must be a whole number of 1 or more, got {number!r}")
    return int(number)


class Affine(Module):
    """A layer with a ``weight`` and a ``bias``, or None, that start uniform."""

    def _inputs(self) -> int:
        """Of how many numbers an output is a sum."""
        return math.prod(self.weight.shape[1:])

    def _start(
        self, shape: tuple[int, ...], outputs: int, bias: bool, dtype: Any, device: Any,
        generator: Generator | None,
    ) -> None:  # fmt: skip
        self.weight = Parameter(empty(shape, dtype=dtype, device=device))
        self.bias = Parameter(empty((outputs,), dtype=dtype, device=device)) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw a new weight and bias, uniform on ±1/√n, an output being a sum of n numbers."""
        bound = 1.0 / math.sqrt(self._inputs())
        init.uniform_(self.weight, -bound, bound, generator=generator)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, generator=generator)


class Linear(Affine):
    """``x @ weight.T + bias``: an affine map of the last axis.

    ``weight`` is (out_features, in_features), ``bias`` (out_features,) or None; x is
    (..., in_features). Both start uniform on ±1/√in_features, as in PyTorch's nn.Linear
    (its ``reset_parameters``, a kaiming_uniform_ with a = √5), from ``generator`` or the default
    one. ShapeError for sizes below 1.

    >>> import gpugrad as gg
    >>> layer = gg.nn.Linear(3, 2)
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)  # 8 parameters
    >>> layer(gg.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, dtype: Any = None,
        device: Any = None, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.in_features = check_size("Linear", "in_features", in_features)
        self.out_features = check_size("Linear", "out_features", out_features)
        shape = (self.out_features, self.in_features)
        self._start(shape, self.out_features, bias, dtype, device, generator)

    def forward(self, x: Any) -> Tensor:
        return _applied(_linear, x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


def joined(layer: Any, activation: Any, x: Any) -> Tensor | None:
    """``activation(layer(x))`` as one operation, for a Linear and an activation.

    None for others, and where the ``forward`` of one of the two was replaced on the instance.
    """
    if type(layer) is not Linear or "forward" in layer.__dict__:
        return None
    activation_type = type(activation)
    op = _JOINED.get(activation if activation_type is FunctionType else activation_type)
    if op is None:
        return None
    if activation_type is FunctionType:
        return _applied(op, x, layer.weight, layer.bias)
    if "forward" in activation.__dict__:
        return None
    parameters = activation.op.parameters
    if not parameters:
        return _applied(op, x, layer.weight, layer.bias)
    settings = [getattr(activation, name) for name in parameters]
    return _applied(op, x, layer.weight, layer.bias, *settings)
