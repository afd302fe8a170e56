"""Tensors as parameters of an op: operands where the entry says so, refused where not.

A parameter is a number, such as the slope of a leaky ReLU. Given as a tensor it may need a
gradient. Where the op has a derivative by it (``smooth`` of the entry), the formula of the forward
runs over tensors, so that each of its operations is recorded. Imports op, backend and errors.
"""

from collections.abc import Callable
from typing import Any

from gpugrad.backend.namespace import NAMESPACES
from gpugrad.engine.op import Op
from gpugrad.errors import DTypeError

__all__ = ["PLAIN", "over_tensors", "unusual"]

# The types of usual parameters: a look at the type is all that a call with them pays.
PLAIN = frozenset((bool, int, float, str, tuple, list))


def unusual(op: Op) -> list[str]:
    """The conditions, as Python code, of which one holds if a parameter may be a tensor."""
    conditions = []
    for name, parameter in op.parameters.items():
        default = parameter.default
        if default is parameter.empty:  # such as an index, a shape or a dtype
            continue
        known = f"{name} is not {default} and " if default is None or type(default) is bool else ""
        conditions.append(f"({known}{name}.__class__ not in plain)")
    return conditions


def over_tensors(
    op: Op,
    arrays: tuple[Any, ...],
    parameters: dict[str, Any],
    tensor_class: Any,
    tensor: Callable[[Any], Any],
) -> Any:
    """The result of an op with parameters that are operands; None where none of them is.

    ``tensor(array)`` makes one of an operand. DTypeError for a tensor as any other parameter,
    unless it holds whole numbers, such as the number of an axis.
    """
    operand = None
    for name, value in parameters.items():
        if not isinstance(value, tensor_class):
            continue
        if name in op.smooth:
            operand = value
        elif value.dtype.kind not in "biu":
            raise DTypeError(
                f"{op.shown}: {name} must not be a tensor of {value.dtype}, as there is no "
                f"derivative by it. Write {name}.item()"
            )
    if operand is None or op.forward is None:
        return None
    tensors = [None if array is None else tensor(array) for array in arrays]
    return op.forward(NAMESPACES[tensor_class], *tensors, **parameters)
