"""Functions of CuPy that accept all operands that NumPy's accept. Imports nothing of gpugrad.

A CuPy function may refuse operands that NumPy's function of that name accepts: a number as the
condition of ``where``, an axis of a 0-d array. Rules and users need not know.
"""

from collections.abc import Callable
from typing import Any

import numpy

__all__ = ["is_negative_zero", "native"]

# CuPy's refuse every axis of a 0-d array; NumPy's accept 0 and -1.
REDUCTIONS = ("sum", "prod", "max", "min", "any", "all", "argmax", "argmin")
# CuPy's declare complex loops that do not compile.
REALS = ("arctan2", "copysign", "hypot", "i0")
NUMBERS = (bool, int, float, complex, numpy.generic)


def native(module: Any, name: str) -> Any:
    """A function of a module; of modules other than NumPy with NumPy's behavior."""
    function = getattr(module, name)
    if module is numpy:
        return function
    if name == "where":
        return _where(function, module)
    if name == "asarray":
        return _asarray(function)
    if name == "broadcast_to":
        return _broadcast_to(function, module)
    if name in REALS:
        return _of_reals(function, name)
    return _reduction(function) if name in REDUCTIONS else function


def is_negative_zero(number: Any) -> bool:
    """Whether a number or a 0-d array is -0.0, which CuPy fills in as 0.0."""
    return bool(number == 0) and any(numpy.asarray(number).tobytes())


def _asarray(asarray: Callable[..., Any]) -> Callable[..., Any]:
    """CuPy's fills in 0.0 for a 0-d array of -0.0."""

    def converted(array: Any) -> Any:
        bare = isinstance(array, numpy.ndarray) and not array.ndim
        return asarray(array[None])[0] if bare and is_negative_zero(array) else asarray(array)

    return converted


def _broadcast_to(broadcast_to: Callable[..., Any], module: Any) -> Callable[..., Any]:
    def repeated(x: Any, shape: tuple[int, ...]) -> Any:
        return broadcast_to(module.full((), x) if isinstance(x, NUMBERS) else x, shape)

    return repeated


def _where(where: Callable[..., Any], module: Any) -> Callable[..., Any]:
    def choose(condition: Any, a: Any, b: Any) -> Any:
        if isinstance(condition, NUMBERS):
            condition = module.full((), bool(condition))
        return where(condition, a, b)

    return choose


def _of_reals(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def real(*operands: Any, **kwargs: Any) -> Any:
        for x in operands:
            dtype = getattr(x, "dtype", None)
            if isinstance(x, complex) or (dtype is not None and dtype.kind == "c"):
                raise TypeError(f"{name} is not supported for complex numbers")
        return function(*operands, **kwargs)

    return real


def _reduction(reduce: Callable[..., Any]) -> Callable[..., Any]:
    def reduction(x: Any, axis: Any = None, **kwargs: Any) -> Any:
        if axis is not None and not x.ndim and axis in (0, -1, (0,), (-1,)):
            axis = None
        return reduce(x, axis=axis, **kwargs)

    return reduction
