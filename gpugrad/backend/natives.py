"""CuPy's functions, which also take what NumPy's take. Imports nothing of gpugrad.

A function that CuPy has under NumPy's name may refuse operands that NumPy's accepts: a number as
the condition of ``where``, an axis of an array that has none. Rules and users need not know.
"""

from collections.abc import Callable
from typing import Any

import numpy

__all__ = ["is_negative_zero", "native"]

# CuPy's have no axis of an array without axes; NumPy's take 0 and -1, and reduce nothing.
REDUCTIONS = ("sum", "prod", "max", "min", "any", "all", "argmax", "argmin")
# CuPy's say that they take complex numbers, and have no kernel for them that compiles.
REALS = ("arctan2", "copysign", "hypot", "i0")
NUMBERS = (bool, int, float, complex, numpy.generic)


def native(module: Any, name: str) -> Any:
    """What a module has under a name, for other modules than NumPy as NumPy's would be."""
    found = getattr(module, name)
    if module is numpy:
        return found
    if name == "where":
        return _where(found, module)
    if name == "asarray":
        return _asarray(found)
    if name == "broadcast_to":
        return _broadcast_to(found, module)
    if name in REALS:
        return _of_reals(found, name)
    return _reduction(found) if name in REDUCTIONS else found


def is_negative_zero(number: Any) -> bool:
    """Whether a number, or an array without axes, is -0.0, of which CuPy fills in 0.0."""
    return bool(number == 0) and any(numpy.asarray(number).tobytes())


def _asarray(asarray: Callable[..., Any]) -> Callable[..., Any]:
    """CuPy's, which fills in 0.0 for an array without axes that holds -0.0."""

    def made(array: Any) -> Any:
        bare = isinstance(array, numpy.ndarray) and not array.ndim
        return asarray(array[None])[0] if bare and is_negative_zero(array) else asarray(array)

    return made


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
    def real(*operands: Any, **words: Any) -> Any:
        for x in operands:
            dtype = getattr(x, "dtype", None)
            if isinstance(x, complex) or (dtype is not None and dtype.kind == "c"):
                raise TypeError(f"{name} is not supported for complex numbers")
        return function(*operands, **words)

    return real


def _reduction(reduce: Callable[..., Any]) -> Callable[..., Any]:
    def reduction(x: Any, axis: Any = None, **words: Any) -> Any:
        if axis is not None and not x.ndim and axis in (0, -1, (0,), (-1,)):
            axis = None
        return reduce(x, axis=axis, **words)

    return reduction
