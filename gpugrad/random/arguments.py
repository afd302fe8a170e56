"""Checks of what the functions of random numbers are given. Imports errors and `philox`."""

import math
import numbers
import operator
from typing import Any

import numpy

from gpugrad.engine.messages import is_whole
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.random import philox
from gpugrad.tensor import get_default_dtype

__all__ = [
    "END", "check_below_end", "check_dtype", "check_float_dtype", "check_integer", "check_number",
    "check_shape",
]  # fmt: skip

END = 2**64  # of the positions, and of the seeds


def check_integer(who: str, value: Any) -> int:
    if not is_whole(value):
        raise DTypeError(f"{who} must be a whole number, got {value!r}")
    return operator.index(value)


def check_below_end(who: str, value: Any) -> int:
    number = check_integer(who, value)
    if not 0 <= number < END:
        raise ValueError(f"{who} must be at least 0 and below 2**64, got {number}")
    return number


def check_number(who: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        shape = ". Pass a shape as size=" if isinstance(value, tuple | list) else ""
        raise DTypeError(f"{who} must be a number, got {value!r}{shape}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{who} must be finite, got {number}")
    return number


def check_shape(who: str, size: Any) -> tuple[int, ...]:
    if size is None:
        return ()
    try:
        axes = tuple(size) if isinstance(size, tuple | list) else (size,)
        shape = tuple(check_integer("size", axis) for axis in axes)
    except DTypeError:
        raise ShapeError(
            f"{who}: size must be a whole number or a tuple of them, got {size!r}"
        ) from None
    if any(axis < 0 for axis in shape):
        raise ShapeError(f"{who}: size must not be negative, got {size!r}")
    return shape


def check_dtype(who: str, dtype: Any) -> numpy.dtype[Any]:
    try:
        return numpy.dtype(dtype)
    except TypeError:
        raise DTypeError(f"{who}: {dtype!r} is not a dtype") from None


def check_float_dtype(who: str, dtype: Any) -> numpy.dtype[Any]:
    chosen = check_dtype(who, get_default_dtype() if dtype is None else dtype)
    if chosen not in philox.UNIFORM:
        supported = ", ".join(str(supported) for supported in philox.UNIFORM)
        raise DTypeError(f"{who}: dtype must be one of {supported}, got {chosen}")
    return chosen
