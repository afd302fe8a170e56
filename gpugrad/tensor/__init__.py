"""The public Tensor: its class, creation, and the functions bound from the op tables.

Imports ops, engine and backend.
"""

from gpugrad.tensor.core import LIFT, TENSORS, Tensor
from gpugrad.tensor.creation import (
    arange,
    as_tensor,
    asarray,
    empty,
    empty_like,
    eye,
    full,
    full_like,
    get_default_dtype,
    linspace,
    ones,
    ones_like,
    set_default_dtype,
    tensor,
    zeros,
    zeros_like,
)

__all__ = [
    "LIFT", "TENSORS", "Tensor", "arange", "as_tensor", "asarray", "empty",
    "empty_like", "eye", "full", "full_like", "get_default_dtype", "linspace", "ones",
    "ones_like", "set_default_dtype", "tensor", "zeros", "zeros_like",
]  # fmt: skip
