"""The public Tensor: its class, creation, assignment, and what other libraries see of it.

Imports ops, engine and backend; nothing of functions, which stand above.
"""

from gpugrad.tensor.conversion import get_default_dtype, set_default_dtype
from gpugrad.tensor.core import GRAPH_MODE, TENSORS, Tensor
from gpugrad.tensor.creation import (
    arange,
    as_tensor,
    asarray,
    empty,
    empty_like,
    eye,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from gpugrad.tensor.indices import getitem
from gpugrad.tensor.table import OPS

__all__ = [
    "GRAPH_MODE", "OPS", "TENSORS", "Tensor", "arange", "as_tensor", "asarray", "empty",
    "empty_like", "eye", "full", "full_like", "get_default_dtype", "getitem", "linspace", "ones",
    "ones_like", "set_default_dtype", "tensor", "zeros", "zeros_like",
]  # fmt: skip
