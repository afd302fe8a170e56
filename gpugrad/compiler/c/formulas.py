"""Steps that C has no function for, written as ones that it has. Imports nothing of gpugrad.

Formulas are called as those of the op table are: with a namespace, whose arrays record, and what
the step has for operands and parameters.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["FORMULAS_OF_STEPS"]

FEW = 4096  # elements of an array that is kept as a constant


def _real(*arrays: Any) -> None:
    if any(getattr(array, "dtype", np.dtype("f")).kind != "f" for array in arrays):
        raise NotImplementedError("other numbers than floating-point ones")


def _vdot(xp: Any, a: Any, b: Any, /) -> Any:
    _real(a, b)
    return xp.sum(a.reshape(-1) * b.reshape(-1))


def _any(xp: Any, x: Any, /, axis: Any = None, keepdims: bool = False) -> Any:
    return xp.sum(x.astype(bool), axis=axis, keepdims=keepdims) != 0


def _all(xp: Any, x: Any, /, axis: Any = None, keepdims: bool = False) -> Any:
    return xp.sum(xp.logical_not(x), axis=axis, keepdims=keepdims) == 0


def _extreme_at(name: str) -> Callable[..., Any]:
    """The formula of the place of the first of the largest, or of the smallest, elements."""

    def formula(xp: Any, x: Any, /, axis: int | None = None, keepdims: bool = False) -> Any:
        if axis is None:
            y = formula(xp, x.reshape(-1), axis=0)
            return y.reshape((1,) * x.ndim) if keepdims else y
        x = x.astype(np.uint8) if x.dtype.kind == "b" else x
        found = x == getattr(xp, name)(x, axis=axis, keepdims=True)
        if x.dtype.kind == "f":
            found = xp.logical_or(found, x != x)  # a NaN is both
        count = x.shape[axis]
        places = np.arange(count).reshape((count, *(1,) * (x.ndim - 1 - axis % x.ndim)))
        return xp.min(xp.where(found, places, count), axis=axis, keepdims=keepdims)

    return formula


def _logaddexp(xp: Any, a: Any, b: Any, /) -> Any:
    _real(a, b)
    sums = xp.maximum(a, b) + xp.log1p(xp.exp(-xp.abs(a - b)))
    return xp.where(xp.equal(a, b), a + math.log(2), sums)  # infinities, too


def _roll(xp: Any, x: Any, /, shift: Any, axis: Any = None) -> Any:
    if axis is None:
        return _roll(xp, x.reshape(-1), shift, 0).reshape(x.shape)
    for by, along in np.broadcast(shift, axis):
        count = x.shape[along]
        cut = -int(by) % max(count, 1)
        if cut:
            ahead = (slice(None),) * (along % x.ndim)
            x = xp.concat([x[(*ahead, slice(cut, None))], x[(*ahead, slice(cut))]], axis=int(along))
    return xp.copy(x)


def _tril(xp: Any, x: Any, /, k: int = 0) -> Any:
    return xp.where(np.tri(x.shape[-2], x.shape[-1], k, bool), x, x.dtype.type(0))


def _triu(xp: Any, x: Any, /, k: int = 0) -> Any:
    return xp.where(np.tri(x.shape[-2], x.shape[-1], k - 1, bool), x.dtype.type(0), x)


def _running(name: str) -> Callable[..., Any]:
    def along(xp: Any, x: Any, /, axis: Any = None) -> Any:
        if axis is not None:
            raise NotImplementedError("C has a loop along one axis")
        return getattr(xp, name)(x.reshape(-1), axis=0)

    return along


def _add_item(xp: Any, x: Any, index: Any, value: Any) -> Any:
    y = xp.copy(x)
    y[index] = x[index] + value
    return y


def _full_like(xp: Any, x: Any, fill: Any, /, dtype: Any = None, shape: Any = None) -> Any:
    shape, dtype = x.shape if shape is None else shape, x.dtype if dtype is None else dtype
    if math.prod(shape) <= FEW:
        return np.full(shape, fill, dtype)
    if not x.size:
        raise NotImplementedError("there is no element to be replaced by the number")
    one = xp.ones_like(x.reshape(-1)[:1]).astype(dtype) * np.full((), fill, dtype)[()]
    return xp.copy(xp.broadcast_to(one, shape))


def _conj(xp: Any, x: Any, /) -> Any:
    if x.dtype.kind == "c":
        raise NotImplementedError("C has no complex numbers here")
    return xp.copy(x)


def _matmul(xp: Any, a: Any, b: Any, /) -> Any:
    """Of two dtypes, as of data in double precision and parameters in single."""
    dtype = np.result_type(a.dtype, b.dtype)
    if a.dtype == b.dtype or dtype.kind != "f":
        raise NotImplementedError("products of one dtype, or of no floating-point numbers")
    return xp.matmul(a.astype(dtype), b.astype(dtype))


FORMULAS_OF_STEPS: dict[str, Callable[..., Any]] = {
    "add_item": _add_item,
    "all": _all,
    "any": _any,
    "argmax": _extreme_at("max"),
    "argmin": _extreme_at("min"),
    "cumprod": _running("cumprod"),
    "cumsum": _running("cumsum"),
    "array": lambda xp, x, /: xp.copy(x),
    "conj": _conj,
    "conjugate": _conj,
    "deg2rad": lambda xp, x, /: x * (math.pi / 180),
    "full_like": _full_like,
    "logaddexp": _logaddexp,
    "matmul": _matmul,
    "rad2deg": lambda xp, x, /: x * (180 / math.pi),
    "roll": _roll,
    "tril": _tril,
    "triu": _triu,
    "vdot": _vdot,
}
