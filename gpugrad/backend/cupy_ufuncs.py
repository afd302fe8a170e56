"""Formulas that replace functions of CuPy whose values differ from NumPy's for some operands.

A formula gets the array namespace, CuPy's module, and the operands: arrays of any dtype, and
numbers. It calls CuPy's function where that is right; its docstring says where it is wrong. The
same formulas run operation by operation and write kernels, except those on the bits of a number.
Imports precision.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.backend.precision import HALF, SINGLE

__all__ = ["UFUNCS"]


def _dtype(*operands: Any) -> np.dtype:
    """The result dtype of the operands. Python numbers are weak; in a kernel they have ``weak``."""
    return np.result_type(
        *(x.dtype if hasattr(x, "dtype") else getattr(x, "weak", type(x))(1) for x in operands)
    )


def _loop_type(x: Any) -> Any:
    """What ``ufunc.resolve_dtypes`` takes: a dtype; int or float for a weak number."""
    loop_type = x.dtype if hasattr(x, "dtype") else getattr(x, "weak", type(x))
    return np.dtype(bool) if loop_type is bool else loop_type


def _is_number(x: Any) -> bool:
    return isinstance(x, np.generic) or not hasattr(x, "dtype")


def _cast(x: Any, dtype: Any) -> Any:
    """The array cast to a dtype; a number is weak and stays."""
    return x.astype(dtype) if hasattr(x, "dtype") and x.dtype != dtype else x


def _of_floats(name: str, formula: Callable[..., Any]) -> Callable[..., Any]:
    """The formula for real floating-point operands, CuPy's function for all others.

    float16 is computed in float32 and rounded once, as NumPy does.
    """

    def either(xp: Any, theirs: Any, *operands: Any) -> Any:
        dtype = _dtype(*operands)
        if dtype.kind != "f":
            return getattr(theirs, name)(*operands)
        if dtype != HALF:
            return formula(xp, *operands)
        return formula(xp, *(_cast(x, SINGLE) for x in operands)).astype(HALF)

    return either


def _floor_divide(xp: Any, a: Any, b: Any) -> Any:
    """floor(a / b) as in Python: CuPy rounds a / b first, sometimes up to the next integer.

    NumPy's steps (npy_divmod): a less its remainder is nearly a multiple of b.
    """
    left = xp.fmod(a, b)
    whole = (a - left) / b
    whole = xp.where((left != 0) & ((left < 0) != (b < 0)), whole - 1, whole)
    below = xp.floor(whole)
    y = xp.where(whole - below > 0.5, below + 1, below)
    y = xp.where(whole == 0, xp.copysign(whole, a / b), y)
    return xp.where((left != left) & (b == 0), a / b, y)


def _remainder(xp: Any, a: Any, b: Any) -> Any:
    """The remainder with the sign of b: CuPy subtracts a rounded multiple of b from a."""
    left = xp.fmod(a, b)
    moved = xp.where((left < 0) != (b < 0), left + b, left)
    return xp.where(left != 0, moved, xp.copysign(left, b))


def _fmod(xp: Any, theirs: Any, a: Any, b: Any) -> Any:
    """CuPy computes integers in float64, which does not hold all of 64 bits."""
    if _dtype(a, b).kind not in "iu":
        return theirs.fmod(a, b)
    left = theirs.remainder(a, b)
    return xp.where((left != 0) & ((a < 0) != (b < 0)), left - b, left)


def _logaddexp2(xp: Any, a: Any, b: Any) -> Any:
    """log2(2**a + 2**b): CuPy's logarithm of 1 plus a small number loses its digits."""
    gap = xp.where(a == b, 0, -xp.abs(a - b))
    more = xp.log1p(xp.exp2(gap)) * (1 / math.log(2))
    return xp.maximum(a, b) + xp.where(gap == 0, 1, more)


def _angle(xp: Any, theirs: Any, x: Any) -> Any:
    """CuPy returns 0 for the real number -0.0, and pi for NaN."""
    return theirs.angle(x) if x.dtype.kind == "c" else xp.arctan2(0, x)


# The bits of a floating-point number, as a whole number, and those of its fraction.
_BITS: dict[int, tuple[Any, int]] = {2: (np.int16, 10), 4: (np.int32, 23), 8: (np.int64, 52)}


def _nextafter(xp: Any, theirs: Any, a: Any, b: Any) -> Any:
    """By the order of the bits: CuPy returns NaN next to the infinity of float16, and no
    subnormal numbers of float32.
    """
    like = b if _is_number(a) else a
    like.view(like.dtype)  # raises NotFusibleError in a kernel, whose values have no bits
    dtype = np.nextafter.resolve_dtypes((_loop_type(a), _loop_type(b), None))[2]
    a, b = (
        xp.full_like(like, x, dtype=dtype) if _is_number(x) else _cast(x, dtype) for x in (a, b)
    )
    whole, _ = _BITS[dtype.itemsize]
    least = np.iinfo(whole).min
    bits, target = a.view(whole), b.view(whole)
    at, to = (xp.where(x < 0, least - x, x) for x in (bits, target))
    step = at + (to > at) - (to < at)
    y = xp.where(step < 0, least - step, step)
    y = xp.where((step == 0) & (bits < 0), least, y)  # -0.0
    y = xp.where(at == to, target, y).astype(whole).view(dtype)
    return xp.where((a != a) | (b != b), a + b, y)


def _spacing(xp: Any, theirs: Any, x: Any) -> Any:
    """The distance to the next number away from 0; CuPy has no such function.

    Integer arithmetic on the exponent, since CuPy flushes subnormal float32 to 0.
    """
    x = _cast(
        x, np.float64 if x.dtype.kind in "biu" else np.spacing.resolve_dtypes((x.dtype,) * 2)[0]
    )
    whole, fraction = _BITS[x.dtype.itemsize]
    bits = x.view(whole)
    size = bits & np.iinfo(whole).max
    exponent = size >> fraction
    normal = xp.maximum(exponent - fraction, 0) << fraction
    subnormal = xp.left_shift(whole(1), xp.clip(exponent - 1, 0, fraction - 1))
    gap = xp.where(exponent > fraction, normal, subnormal)
    gap = xp.where((bits < 0) & (size > 0), gap | np.iinfo(whole).min, gap)
    return xp.where(xp.isfinite(x), gap.astype(whole).view(x.dtype), math.nan)


UFUNCS: dict[str, Callable[..., Any]] = {
    "angle": _angle,
    "floor_divide": _of_floats("floor_divide", _floor_divide),
    "fmod": _fmod,
    "logaddexp2": _of_floats("logaddexp2", _logaddexp2),
    "nextafter": _nextafter,
    "remainder": _of_floats("remainder", _remainder),
    "spacing": _spacing,
}
