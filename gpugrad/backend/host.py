"""The namespace of NumPy: the module, with faster equivalents of some functions.

Imports the modules beside it that it names, and SciPy where it is installed and useful. The cost of
a NumPy call on small arrays is mostly that of the Python around it: an operator, or the ``reduce``
of a ufunc, does the same with less.
"""

import contextlib
import math
import operator
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from gpugrad.backend.attention import attention, attention_and_residuals, attention_vjp
from gpugrad.backend.batch_norm import batch_norm_vjp
from gpugrad.backend.convolution import (
    convolution,
    convolution_transpose,
    convolution_weight,
)
from gpugrad.backend.cupy_special import ON_A_CPU
from gpugrad.backend.namespace import FORMULAS, Namespace, register
from gpugrad.backend.normalization import layer_norm, layer_norm_and_residuals, layer_norm_vjp
from gpugrad.backend.outer import outer_products
from gpugrad.backend.pooling import pools_of
from gpugrad.backend.precision import DOUBLE, SINGLE
from gpugrad.backend.recurrent import lstm_layer, lstm_layer_vjp
from gpugrad.backend.reuse import Block
from gpugrad.backend.special import Special
from gpugrad.backend.sums import (
    adds_few,
    careful_cumsum,
    careful_einsum,
    careful_matmul,
    careful_sum,
    sum_of_rows,
)

__all__ = ["NUMPY"]

_add: Any = np.add.reduce
_multiply: Any = np.multiply.reduce
_larger: Any = np.maximum
_minus: Any = np.subtract
_times: Any = np.multiply
_choose: Any = getattr(np.where, "_implementation", np.where)


def _sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    dtype = x.dtype
    if dtype is DOUBLE or (dtype is SINGLE and adds_few(x, axis)):
        return _add(x, axis, None, None, keepdims)
    return careful_sum(x, axis, keepdims)


def _linear_activation(
    name: str, settings: dict[str, Any], x: Any, weight: Any, bias: Any, keep: bool
) -> tuple[Any, Any]:
    """The formula of the table; a ReLU, before which nothing is kept, in place."""
    if name != "relu" or keep:
        results: tuple[Any, Any] = FORMULAS["linear_activation"](
            NUMPY, name, settings, x, weight, bias, keep
        )
        return results
    y = NUMPY.linear(x, weight, bias)  # new memory
    dtype = y.dtype
    y = _larger(y, 0, out=y) if dtype is SINGLE or dtype is DOUBLE else _relu(y)
    return y, y


def _reduction(reduce: Any) -> Callable[..., Any]:
    def reduction(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return reduce(x, axis, None, None, keepdims)

    return reduction


def _prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if x.dtype == np.float16:
        return FORMULAS["prod"](NUMPY, x, axis, keepdims)
    return _multiply(x, axis, None, None, keepdims)


def _relu(x: Any) -> Any:
    """The formula of the table, with a check of the dtype that is free for common dtypes."""
    dtype = x.dtype
    if dtype is not SINGLE and dtype is not DOUBLE and dtype.kind == "c":
        return FORMULAS["relu"](NUMPY, x)  # which raises
    return _larger(x, 0)


def _sigmoid(x: Any) -> Any:
    """The formula of the table for many elements: numpy.where would branch for each of them."""
    dtype = x.dtype
    if x.size <= _FEW or (dtype is not SINGLE and dtype is not DOUBLE):
        return FORMULAS["sigmoid"](NUMPY, x)
    e = np.abs(x)
    np.exp(np.negative(e, e), e)
    top = _larger(e, (x >= 0).astype(dtype))  # e is at most 1
    e += _ONES[dtype]
    return np.divide(top, e, e)


def _broadcast_to(x: Any, shape: Any) -> Any:
    x = np.asarray(x)
    if shape.__class__ is tuple and x.flags.c_contiguous:
        lead = len(shape) - x.ndim
        if x.shape == shape[lead:]:  # repeated along new axes, as the gradient of a sum
            view = np.ndarray(shape, x.dtype, x, 0, (0,) * lead + x.strides)
            view.flags.writeable = False
            return view
    return np.broadcast_to(x, shape)


def _expand(gradient: Any, shape: tuple[int, ...]) -> Any:
    """A gradient broadcast to a shape; a few elements are copied in a tenth of a view's time."""
    if math.prod(shape) > _FEW:
        return _broadcast_to(gradient, shape)
    expanded = np.empty(shape, gradient.dtype)
    expanded[...] = gradient
    return expanded


# The integer dtype for the bits of a floating-point number, by its size.
_BITS = {2: np.int16, 4: np.int32, 8: np.int64}
_FEW = 512


def _as_arrays(number: float) -> dict[Any, Any]:
    """A number as an array of each dtype: beside one of its dtype it costs half of what it does."""
    return {np.dtype(char): np.full((), number, char) for char in "efd"}


_ZEROS, _ONES, _MINUS_TWOS = _as_arrays(0), _as_arrays(1), _as_arrays(-2)


def _where(condition: Any, a: Any, b: Any) -> Any:
    x, zero = (a, b) if b.__class__ is int else (b, a)
    if zero.__class__ is int and not zero and x.__class__ is np.ndarray:
        if x.size > _FEW and (chosen := _by_bits(condition, x, x is a)) is not None:
            return chosen
        zero = _ZEROS.get(x.dtype, zero)
        a, b = (x, zero) if x is a else (zero, x)
    y = _choose(condition, a, b)
    return y if y.ndim else y[()]  # a scalar, as ufuncs return


def _relu_vjp(g: Any, y: Any) -> Any:
    if g.size > _FEW:
        return _where(y <= 0, 0, g)
    # y is never negative, so that what is not 0 was taken.
    d = _choose(y.astype(bool), g, _ZEROS.get(g.dtype, 0))
    return d if d.ndim else d[()]


def _square_vjp(g: Any, x: Any) -> Any:
    y = g * x
    y += y  # in place, where it is an array
    return y


def _one_minus_square_vjp(g: Any, x: Any) -> Any:
    y = g * x
    y *= _MINUS_TWOS.get(y.dtype, -2.0)
    return y


def _tanh_vjp(g: Any, t: Any) -> Any:
    y = t * t
    one = _ONES.get(getattr(t, "dtype", None))
    if one is None or g.__class__ is not np.ndarray:
        return g * (1.0 - y)
    if g.size > _FEW and g.shape == y.shape and g.dtype is y.dtype:
        _minus(one, y, y)  # in one buffer
        return _times(g, y, y)
    return g * (one - y)


def _sigmoid_vjp(g: Any, s: Any) -> Any:
    return g * (s * (_ONES.get(getattr(s, "dtype", None), 1.0) - s))


def _by_bits(condition: Any, x: Any, holds: bool) -> Any:
    """x where the condition holds (or does not), else 0: ten times as fast for many elements.

    numpy.where branches for each element. None for other operands.
    """
    if x.dtype.kind != "f" or x.itemsize not in _BITS:
        return None
    if condition.__class__ is not np.ndarray or condition.shape != x.shape:
        return None
    if condition.dtype.char != "?":
        return None
    truth = condition.view(np.int8)
    bits = -truth if holds else truth - np.int8(1)  # -1, all of whose bits are 1, or 0
    return np.bitwise_and(x.view(_BITS[x.itemsize]), bits).view(x.dtype)


def _windows(x: Any, sizes: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    return np.lib.stride_tricks.sliding_window_view(x, sizes, axes)


def _owner_of(array: Any) -> Any:
    while (base := array.base) is not None and hasattr(base, "base"):
        array = base
    return array


def _transpose(x: Any, axes: Any = None) -> Any:
    return x.transpose() if axes is None else x.transpose(axes)


@cache
def _scipy(module: str, name: str) -> Callable[..., Any] | None:
    """A function of SciPy; None where it is not installed."""
    try:
        function: Callable[..., Any] = getattr(import_module(f"scipy.{module}"), name)
    except ImportError:
        return None
    return function


def _least_squares(a: Any, b: Any, /, rcond: float) -> Any:
    if a.ndim == b.ndim == 2 and a.dtype.char != "e" != b.dtype.char:
        return np.linalg.lstsq(a, b, rcond=rcond)[0]
    return FORMULAS["least_squares"](NUMPY, a, b, rcond=rcond)


def _solve_triangular(a: Any, b: Any, lower: bool = False, unit_diagonal: bool = False) -> Any:
    same = a.dtype == b.dtype and a.dtype.char in "fdFD"
    solve = _scipy("linalg", "solve_triangular")
    if solve is None or not (same and a.ndim == b.ndim == 2 and b.size):
        return FORMULAS["solve_triangular"](NUMPY, a, b, lower, unit_diagonal)
    return solve(a, b, lower=lower, unit_diagonal=unit_diagonal, check_finite=False)


def _erf(x: Any) -> Any:
    """SciPy's, where it is installed: the formula of the table takes some thirty operations."""
    erf = _scipy("special", "erf")
    if erf is None or x.dtype.char not in "fd":
        return FORMULAS["erf"](NUMPY, x)
    return erf(x)


def _owns_buffer(array: Any) -> bool:
    return array.base is None or array.base.__class__ is Block


NUMPY = Namespace(
    np,
    fast={
        "address": lambda array: array.ctypes.data,
        "owner_of": _owner_of,
        "owns_buffer": _owns_buffer,
        "add": operator.add,
        "subtract": operator.sub,
        "multiply": operator.mul,
        "divide": operator.truediv,
        "einsum": careful_einsum,
        "matmul": careful_matmul,
        "native_cumsum": careful_cumsum,
        "negative": operator.neg,
        "power": operator.pow,
        "abs": operator.abs,
        "attention": attention,
        "attention_and_residuals": attention_and_residuals,
        "attention_vjp": attention_vjp,
        "batch_norm_vjp": batch_norm_vjp,
        "broadcast_to": _broadcast_to,
        "convolution": convolution,
        "convolution_transpose": convolution_transpose,
        "convolution_weight": convolution_weight,
        "erf": _erf,
        "expand": _expand,
        "layer_norm": layer_norm,
        "layer_norm_and_residuals": layer_norm_and_residuals,
        "layer_norm_vjp": layer_norm_vjp,
        "lstm_layer": lstm_layer,
        "lstm_layer_vjp": lstm_layer_vjp,
        "sum": _sum,
        "sum_of_rows": sum_of_rows,
        "max": _reduction(np.maximum.reduce),
        "min": _reduction(np.minimum.reduce),
        "prod": _prod,
        "outer_products": outer_products,
        "one_minus_square_vjp": _one_minus_square_vjp,
        "linear_activation": _linear_activation,
        "relu": _relu,
        "relu_vjp": _relu_vjp,
        "sigmoid": _sigmoid,
        "sigmoid_vjp": _sigmoid_vjp,
        "least_squares": _least_squares,
        "solve_triangular": _solve_triangular,
        "square_vjp": _square_vjp,
        "tanh_vjp": _tanh_vjp,
        "transpose": _transpose,
        "transposed_matmul": lambda a, b: careful_matmul(a.T, b),
        "where": _where,
        "windows": _windows,
    },
)

vars(NUMPY).update(pools_of(NUMPY))
NUMPY.special = Special("scipy.special", NUMPY, ON_A_CPU)
register(np.ndarray, NUMPY)
register(np.generic, NUMPY)


def _keep_freed_memory() -> None:
    """Let glibc keep up to 64 MB of freed memory at the end of the heap for the next arrays.

    By default glibc returns everything above 128 kB to the system, so that each graph gets its
    memory page by page again: a third to a half of the time of passes over 10,000 to 100,000
    elements. Freeing a large array raises that threshold to twice the size of the array, at most
    32 MB (mallopt(3)); no page of the array below is ever touched. Environment variables
    MALLOC_... and calls of mallopt take precedence.
    """
    with contextlib.suppress(MemoryError):  # with little address space
        np.empty((32 << 20) - (1 << 16), np.uint8)


_keep_freed_memory()
