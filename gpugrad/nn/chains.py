"""A Linear and the activation after it in two launches on CUDA: the product, and the rest of it.

The graph, the derivatives and the errors are those of the two layers called one after the
other. Imports engine, backend, `functional` and `activations`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from types import FunctionType
from typing import Any

from gpugrad.backend.namespace import NAMESPACES
from gpugrad.engine.chain import record_chain
from gpugrad.engine.op import TABLE
from gpugrad.nn import activations
from gpugrad.nn import functional as F

__all__ = ["ACTIVATIONS", "through"]

# Those whose derivative needs nothing but their result; `MODULES` are modules of no parameters.
ACTIVATIONS: dict[Any, str] = {F.relu: "relu", F.sigmoid: "sigmoid", F.tanh: "tanh"}
MODULES: dict[type, str] = {
    activations.ReLU: "relu",
    activations.Sigmoid: "sigmoid",
    activations.Tanh: "tanh",
}


def through(layers: Sequence[Callable[..., Any]], x: Any, linear: type[Any]) -> Any:
    """What the layers make of x, one after the other; ``linear`` is the class `Linear`."""
    xp = NAMESPACES.get(type(getattr(x, "_array", x)))
    if xp is None or xp.epilogue is None:
        for plain in layers:
            x = plain(x)
        return x
    index = 0
    while index < len(layers):
        layer: Any = layers[index]
        after = layers[index + 1 : index + 2]
        y = None
        if after and type(layer) is linear and "forward" not in vars(layer):
            name = _activation(after[0])
            if name is not None and layer.bias is not None:
                operands = (x, layer.weight, layer.bias)
                y = record_chain(TABLE["linear"], TABLE[name], operands, partial(_compute, name))
        x = layer(x) if y is None else y
        index += 1 if y is None else 2
    return x


def _activation(layer: Any) -> str | None:
    """The name of the op that a layer is, where it is nothing else."""
    kind = type(layer)
    if kind is FunctionType:
        return ACTIVATIONS.get(layer)
    return MODULES.get(kind) if "forward" not in getattr(layer, "__dict__", ()) else None


def _compute(name: str, xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    epilogue = xp.epilogue
    if epilogue is None or not epilogue.takes(x, weight, bias):
        return None
    y = xp.linear(x, weight)
    if not y.flags.c_contiguous:  # as no product of CuPy's is
        return getattr(xp, name)(y + bias)
    return epilogue(name, y, bias)
