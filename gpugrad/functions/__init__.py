"""NumPy's functions over Tensors, by NumPy's own families, and what binds them to Tensor.

Imports tensor, ops, engine and backend.
"""

from gpugrad.functions import cupy_hooks  # noqa: F401  sets two methods of Tensor
from gpugrad.functions.bind import FUNCTIONS

__all__ = ["FUNCTIONS"]
