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

__all__ = ["FUNCTIONS", "MODULES", "through"]

# The elementwise activations, by what stands in a model, with the names of the ops.
FUNCTIONS: dict[Any, str] = {
    activations.FUNCTIONS[op.name]: op.name for op in TABLE.values() if op.layer
}
MODULES: dict[type, str] = {
    activations.MODULES[op.layer]: op.name for op in TABLE.values() if op.layer
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
            y = _pair(layer, after[0], x)
        x = layer(x) if y is None else y
        index += 1 if y is None else 2
    return x


def _pair(layer: Any, activation: Any, x: Any) -> Any:
    """activation(layer(x)), of a Linear; None where the two have to be called."""
    kind = type(activation)
    if kind is FunctionType:
        name = FUNCTIONS.get(activation)
    else:
        name = None if "forward" in getattr(activation, "__dict__", ()) else MODULES.get(kind)
    if name is None or layer.bias is None:
        return None
    op = TABLE[name]
    words: dict[str, Any] = {}
    if op.parameters:
        # A module has its settings under the names of the op's parameters.
        words = {key: getattr(activation, key, p.default) for key, p in op.parameters.items()}
        if not all(type(value) in (float, int, str) for value in words.values()):
            return None
    operands = (x, layer.weight, layer.bias)
    compute = partial(_compute, name, words)
    return record_chain(TABLE["linear"], op, operands, words or None, compute)


def _compute(
    name: str, words: dict[str, Any], xp: Any, keep: bool, x: Any, weight: Any, bias: Any
) -> Any:
    epilogue = xp.epilogue
    if epilogue is None or not epilogue.takes(x, weight, bias):
        return None
    y = epilogue.product(x, weight)
    if not y.flags.c_contiguous:  # as no product of CuPy's is
        y = y + bias
        return y, getattr(xp, name)(y, **words)
    return epilogue(name, words, y, bias, keep)
