"""What formulas ask about dtypes: float16 in float32, whole numbers, no complex ones.

A dtype is known by its identity where that is enough: it costs a tenth of a look at its kind.
Imports NumPy only.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

__all__ = [
    "DOUBLE", "HALF", "SINGLE", "averaged", "floating", "over_floats", "refuse_complex", "widened",
]  # fmt: skip

HALF, SINGLE, DOUBLE = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)


def widened(x: Any) -> Any:
    """x, in single for half precision, in which sums overflow at 65504 and squares from 256 on.

    A gradient may stay as wide: the walk rounds it to the dtype of its data.
    """
    dtype = x.dtype
    if dtype is SINGLE or dtype is DOUBLE:
        return x
    return x.astype(SINGLE) if dtype == HALF else x


def floating(x: Any) -> Any:
    """x; whole numbers and truth values in the dtype that NumPy's exp has for them."""
    dtype = x.dtype
    if dtype is SINGLE or dtype is DOUBLE or dtype.kind not in "biu":
        return x
    return x.astype(HALF if dtype.itemsize == 1 else SINGLE if dtype.itemsize == 2 else DOUBLE)


def averaged(x: Any) -> Any:
    """x in a dtype to average it in: whole numbers in double, as in NumPy's mean, half in single."""
    dtype = x.dtype
    if dtype is SINGLE or dtype is DOUBLE:
        return x
    return x.astype(DOUBLE) if dtype.kind in "biu" else widened(x)


def over_floats(formula: Callable[..., Any]) -> Callable[..., Any]:
    """A formula of one array, which gets whole numbers as `floating` makes them, half in single.

    What it adds up and counts in half would overflow or stand still; its result is rounded once.
    """

    @wraps(formula)
    def wide(xp: Any, x: Any, /, *args: Any, **parameters: Any) -> Any:
        dtype = x.dtype
        if dtype is SINGLE or dtype is DOUBLE:
            return formula(xp, x, *args, **parameters)
        x = floating(x)
        y = formula(xp, widened(x), *args, **parameters)
        return y.astype(HALF) if x.dtype == HALF else y

    return wide


def refuse_complex(x: Any) -> None:
    """The op's DTypeError for complex numbers, which a formula would take for real ones."""
    kind = x.dtype
    if kind is not SINGLE and kind is not DOUBLE and kind.kind == "c":
        raise TypeError("a function of real numbers")
