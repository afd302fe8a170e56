"""What formulas ask about dtypes: half precision in single, no complex numbers. Imports NumPy only.

A dtype is known by its identity where that is enough: it costs a tenth of a look at its kind.
"""

from typing import Any

import numpy as np

__all__ = ["DOUBLE", "HALF", "SINGLE", "refuse_complex", "widened"]

HALF, SINGLE, DOUBLE = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)


def widened(x: Any) -> Any:
    """x, in single for half precision, in which sums overflow at 65504 and squares from 256 on."""
    return x.astype(SINGLE) if x.dtype == HALF else x


def refuse_complex(x: Any) -> None:
    """The op's DTypeError for complex numbers, which a formula would take for real ones."""
    kind = x.dtype
    if kind is not SINGLE and kind is not DOUBLE and kind.kind == "c":
        raise TypeError("a function of real numbers")
