"""NumPy's functions over Tensors, in NumPy's own families, and their binding to Tensor.

Imports tensor, ops, engine and backend.
"""

from gpugrad.functions import cupy_hooks  # noqa: F401  sets two methods of Tensor
from gpugrad.functions.bind import FUNCTIONS

__all__ = ["FUNCTIONS"]
