"""The dtypes of real floating-point numbers, by their precision. Imports errors and NumPy only.

NumPy has one object for each, so that ``is`` tells them: a tenth of the cost of a look at the kind.
bfloat16 is ml_dtypes' dtype, which is imported where somebody first names it. Its kind is "V", so
that a question about the kind of real numbers is one to `kind_of`.
"""

from typing import Any

import numpy as np

from gpugrad.errors import DTypeError

__all__ = ["DOUBLE", "HALF", "SINGLE", "dtype_named", "is_half", "kind_of"]

HALF, SINGLE, DOUBLE = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)


def is_half(dtype: Any) -> bool:
    """Whether a dtype is float16 or bfloat16."""
    return bool(dtype == HALF or (dtype.kind == "V" and dtype.name == "bfloat16"))


def kind_of(dtype: Any) -> str:
    """The kind of a dtype, "f" for bfloat16 too."""
    return "f" if dtype.kind == "V" and dtype.name == "bfloat16" else str(dtype.kind)


def dtype_named(dtype: Any) -> np.dtype[Any]:
    """NumPy's dtype of a name or type; for "bfloat16" ml_dtypes is imported."""
    if dtype == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise DTypeError(
                "bfloat16: it needs ml_dtypes, which is not installed. Run "
                "`pip install gpugrad[bfloat16]`"
            ) from None
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(dtype)
