"""Maxima and minima of a large array and a number, as a ReLU takes them.

Imports precision, liveness and program.
"""

from typing import Any

import numpy as np

from gpugrad.backend.precision import DOUBLE, SINGLE
from gpugrad.compiler.programs.liveness import size_of
from gpugrad.compiler.programs.program import Step, Value

__all__ = ["beside_row", "meets_number"]

ROW = 1 << 14  # elements: they stay in a core's cache
LEAST = 4 * ROW  # elements of an array for which a row pays, and its memory is little


def meets_number(step: Step) -> bool:
    """Whether a step is such a maximum or minimum, of an array and whatever has no axes."""
    if step.name not in ("maximum", "minimum"):
        return False
    x, (value,) = step.operands[0], step.results
    same = isinstance(x, Value) and (x.shape, x.dtype) == (value.shape, value.dtype)
    return same and value.dtype in (SINGLE, DOUBLE) and size_of(value) >= LEAST


def beside_row(ufunc: Any, x: np.ndarray, number: np.ndarray, out: Any = None) -> np.ndarray:
    """``ufunc(x, number)`` of a large array, into ``out`` if that is given.

    NumPy has vector instructions for maxima of two contiguous arrays, not of an array and
    a number. So rows of the array meet a row that is full of the number: in a third of the time.

    >>> x = np.arange(-100_000, 100_000, dtype="float32")
    >>> beside_row(np.maximum, x, np.zeros((), "float32"))[[0, -1]]
    array([    0., 99999.], dtype=float32)
    """
    if out is None:
        out = np.empty_like(x)
    axes = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
    given, made = x.transpose(axes), out.transpose(axes)
    if not (given.flags.c_contiguous and made.flags.c_contiguous and x.dtype == out.dtype):
        return ufunc(x, number, out=out)
    given, made = given.reshape(-1), made.reshape(-1)
    row = np.full(ROW, number)
    end = x.size // ROW * ROW
    ufunc(given[:end].reshape(-1, ROW), row, out=made[:end].reshape(-1, ROW))
    ufunc(given[end:], row[: x.size - end], out=made[end:])
    return out
