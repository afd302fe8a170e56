"""The public Tensor: its class, creation, and the functions bound from the op tables.

Imports ops, engine and backend.
"""

from gpugrad.tensor import cupy_hooks  # noqa: F401  sets two methods of Tensor
from gpugrad.tensor.bind import FUNCTIONS
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
    "FUNCTIONS", "LIFT", "TENSORS", "Tensor", "arange", "as_tensor", "asarray", "empty",
    "empty_like", "eye", "full", "full_like", "get_default_dtype", "linspace", "ones",
    "ones_like", "set_default_dtype", "tensor", "zeros", "zeros_like",
]  # fmt: skip
