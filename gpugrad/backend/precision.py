"""The dtypes of real floating-point numbers, by their precision. Imports errors and NumPy only.

NumPy has one object for each, so that ``is`` tells them: a tenth of the cost of a look at the kind.
bfloat16 is ml_dtypes' dtype, which is imported where somebody first names it. Its kind is "V", so
that a question about the kind of real numbers is one to `kind_of`.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from gpugrad.backend.requirements import pip_install
from gpugrad.errors import DTypeError

__all__ = [
    "DOUBLE", "HALF", "SINGLE", "begin_bfloat16", "dtype_named", "is_half", "kind_of",
    "limits_of", "named", "when_bfloat16_begins",
]  # fmt: skip

HALF, SINGLE, DOUBLE = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)


def is_half(dtype: Any) -> bool:
    """Whether a dtype is float16 or bfloat16."""
    return bool(dtype == HALF or (dtype.kind == "V" and dtype.name == "bfloat16"))


def kind_of(dtype: Any) -> str:
    """The kind of a dtype, "f" for bfloat16 too."""
    return "f" if dtype.kind == "V" and dtype.name == "bfloat16" else str(dtype.kind)


def limits_of(dtype: Any) -> Any:
    """``np.finfo`` of a dtype, which knows no bfloat16; ValueError where there is none."""
    half = dtype.kind == "V" and is_half(dtype)
    return import_module("ml_dtypes").finfo(dtype) if half else np.finfo(dtype)


# What is done once somebody uses bfloat16, which costs others nothing so.
_beginnings: list[Callable[[], None]] = []


def when_bfloat16_begins(begin: Callable[[], None]) -> None:
    """Have a function called whenever bfloat16 is named, or an array of it becomes a tensor."""
    _beginnings.append(begin)


def begin_bfloat16() -> None:
    """Call these functions."""
    for begin in _beginnings:
        begin()


def named(dtype: Any) -> Any:
    """A dtype argument as it is, but for the name "bfloat16", which NumPy alone does not know."""
    return dtype_named(dtype) if isinstance(dtype, str) and dtype == "bfloat16" else dtype


def dtype_named(dtype: Any) -> np.dtype[Any]:
    """NumPy's dtype of a name or type; for "bfloat16" ml_dtypes is imported."""
    if isinstance(dtype, str) and dtype == "bfloat16":
        try:
            ml_dtypes = import_module("ml_dtypes")
        except ImportError:
            raise DTypeError(
                "bfloat16: it needs ml_dtypes, which is not installed. Run "
                f"`{pip_install('bfloat16')}`"
            ) from None
        begin_bfloat16()
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(dtype)
