"""A tensor as text. Imports conversion, errors, engine and backend."""

from typing import Any

import numpy as np

from gpugrad.backend.device import to_numpy
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.outputs import PICK
from gpugrad.errors import ShapeError
from gpugrad.tensor.conversion import get_default_dtype


def values(tensor: Any) -> np.ndarray:
    """The elements on the host, to be read alone: a compiled function may be told them."""
    array = tensor.data
    return to_numpy(array.told("its values") if hasattr(array, "told") else array)


def text(tensor: Any) -> str:
    """``tensor([1., 2.], requires_grad=True)``: the values, and whatever is not the default."""
    class_name = type(tensor).__name__
    label = "tensor" if class_name == "Tensor" else class_name
    if namespace_of(tensor.data).batched:
        return f"{label}({tensor.data!r})"
    array = values(tensor)
    shown = np.array2string(array, separator=", ", prefix=f"{label}(", threshold=200, edgeitems=3)
    notes = [shown]
    if not array.size and array.shape != (0,):
        notes.append(f"shape={array.shape}")
    if array.dtype not in (get_default_dtype(), np.int64, np.bool_):
        notes.append(f"dtype={array.dtype}")
    if tensor.device.kind != "cpu":
        notes.append(f"device='{tensor.device}'")
    if tensor.grad_fn is not None:
        node = tensor.grad_fn
        name = (node.parents[0] if node.op is PICK else node).op.shown
        notes.append(f"grad_fn=<{name}>")
    elif tensor.requires_grad and label == "tensor":
        notes.append("requires_grad=True")
    if tensor.name is not None:
        notes.append(f"name={tensor.name!r}")
    return f"{label}({', '.join(notes)})"


def formatted(tensor: Any, spec: str) -> str:
    """The one number of a tensor, as ``f"{t:.3f}"`` shows it."""
    if tensor.size != 1:
        raise ShapeError(
            f"format: {spec!r} formats one number, got shape {tensor.shape}. Use .tolist(), "
            "or numpy.array_str(t, precision=3)"
        )
    return format(tensor.item(), spec)
