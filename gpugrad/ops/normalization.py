"""Normalization of samples, channels and batches, each one op with a joint rule.

Imports engine.op and dtypes.
"""

import math
from typing import Any

import numpy as np

from gpugrad.engine.op import ANALYTIC, REAL, Checks, Op, Sample, op, part
from gpugrad.ops.agreement import near_subnormal, overflowing_product
from gpugrad.ops.dtypes import averaged, refuse_complex, widened


def _mean(xp: Any, x: Any, /) -> Any:
    return xp.mean(widened(x), axis=-1, keepdims=True)


def _rate(xp: Any, x: Any, /, eps: float) -> Any:
    return _moments(xp, x, eps)[1]


def _moments(xp: Any, x: Any, eps: float) -> tuple[Any, Any]:
    """The mean along the last axis, and the rate: one over the standard deviation."""
    mean = _mean(xp, x)
    d = widened(x) - mean
    return mean, 1 / xp.sqrt(xp.mean(d * d, axis=-1, keepdims=True) + eps)


def _layer_norm(
    xp: Any, x: Any, weight: Any = None, bias: Any = None, /, eps: float = 1e-5
) -> tuple[Any, Any, Any]:
    if x.dtype.kind in "biu":
        x = averaged(x)
    mean, rate = _moments(xp, x, eps)
    y = (widened(x) - mean) * rate
    if y.dtype is not x.dtype:
        y = y.astype(x.dtype, copy=False)
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    refuse_complex(y)
    return y, mean, rate


def _down(xp: Any, x: Any) -> Any:
    """The sum over all axes but the last."""
    return xp.sum(x.reshape((math.prod(x.shape[:-1]), x.shape[-1])), axis=0)


def _layer_norm_vjp(
    xp: Any, g: Any, needs: tuple[bool, ...], x: Any, weight: Any, mean: Any, rate: Any
) -> tuple[Any, Any, Any]:
    g = widened(g)
    # With n = (x - mean) rate, dn = rate (dx - mean(dx) - n mean(n dx)), which is symmetric.
    n = (widened(x) - mean) * rate if needs[0] or needs[1] else None
    d_x = None
    if needs[0]:
        d = g if weight is None else g * weight
        d = d - xp.mean(d, axis=-1, keepdims=True) - n * xp.mean(d * n, axis=-1, keepdims=True)
        d_x = rate * d
    return d_x, _down(xp, g * n) if needs[1] else None, _down(xp, g) if needs[2] else None


part("layer_norm_vjp", _layer_norm_vjp)


def _row(xp: Any, mask: Any, *rest: Any, **parameters: Any) -> Any:
    """The support of a gradient in which each element of a row depends on all of it."""
    return xp.any(mask, axis=-1, keepdims=True)


# fmt: off
op("layer_norm", _layer_norm,
   vjp_all=lambda xp, g, y, needs, x, weight, bias, mean, rate, eps: xp.layer_norm_vjp(
       g, needs, x, weight, mean, rate),
   residuals={
       "mean": Op("layer_norm_mean", _mean, vjp=[lambda xp, g, y, x: g / x.shape[-1]],
                  support=_row),
       "rate": Op("layer_norm_rate", _rate, vjp=[lambda xp, g, y, x, eps: (
                      g * y**3 * (_mean(xp, x) - widened(x)) / x.shape[-1])],
                  saves="x y", support=_row)},
   saves=("x weight mean rate", "x mean rate", ""), support=_row, public="nn.functional",
   finite=True,  # eps sees to it, but for rows that are infinite
   smooth="eps",
   samples=[Sample((4, 3), (3,), (3,)), Sample((2, 3, 5), (5,), (5,), eps=1e-3),
            Sample((4,), (4,), (4,))], autocast="float32",
   doc="(x - mean) / sqrt(variance + eps) along the last axis, times weight plus bias.")
# fmt: on


# ---------------------------------------------------------------- by the root mean square


def _root_rate(xp: Any, x: Any, /, eps: Any = None) -> Any:
    """One over the root of the mean square along the last axis."""
    wide = widened(x)
    if eps is None:
        eps = float(np.finfo(wide.dtype).eps)
    return 1 / xp.sqrt(xp.mean(xp.square(wide), axis=-1, keepdims=True) + eps)


def _rms_norm(xp: Any, x: Any, weight: Any = None, /, eps: Any = None) -> tuple[Any, Any]:
    refuse_complex(x)
    if x.dtype.kind in "biu":
        x = averaged(x)
    rate = _root_rate(xp, x, eps)
    y = widened(x) * rate
    if y.dtype is not x.dtype:
        y = y.astype(x.dtype, copy=False)
    return y if weight is None else y * weight, rate


def _rms_norm_vjp(
    xp: Any, g: Any, needs: tuple[bool, ...], x: Any, weight: Any, rate: Any
) -> tuple[Any, Any]:
    g = widened(g)
    n = widened(x) * rate
    d_x = None
    if needs[0]:
        d = g if weight is None else g * weight
        d_x = rate * (d - n * xp.mean(d * n, axis=-1, keepdims=True))
    return d_x, _down(xp, g * n) if needs[1] else None


part("rms_norm_vjp", _rms_norm_vjp)
# fmt: off
op("rms_norm", _rms_norm,
   vjp_all=lambda xp, g, y, needs, x, weight, rate, eps: xp.rms_norm_vjp(
       g, needs, x, weight, rate),
   residuals={
       "rate": Op("rms_norm_rate", _root_rate,
                  vjp=[lambda xp, g, y, x, eps: -g * y**3 * widened(x) / x.shape[-1]],
                  saves="x y", support=_row)},
   saves=("x weight rate", "x rate"), support=_row, public="nn.functional", finite=True,
   smooth="eps",
   samples=[Sample((4, 3), (3,)), Sample((2, 3, 5), (5,), eps=1e-3), Sample((4,), (4,))],
   autocast="float32",
   doc="x / sqrt(mean(x²) + eps) along the last axis, times weight; eps is by default that of the "
       "dtype.")
# fmt: on


# ---------------------------------------------------------------- over a batch


def _channels(x: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """All axes but 1, that of channels, and the shape of one number for each channel."""
    axes = (0, *range(2, len(x.shape)))
    return axes, (x.shape[1], *(1,) * (len(x.shape) - 2))


def _batch_norm(
    xp: Any, x: Any, weight: Any = None, bias: Any = None, /, eps: float = 1e-5
) -> tuple[Any, Any, Any]:
    refuse_complex(x)
    if x.dtype.kind in "biu":
        x = averaged(x)
    axes, column = _channels(x)
    wide = widened(x)
    mean = xp.mean(wide, axis=axes)
    d = wide - mean.reshape(column)
    variance = xp.mean(xp.square(d), axis=axes)
    scale = 1 / xp.sqrt(variance + eps)
    if weight is not None:
        scale = scale * weight
    given = [array.dtype for array in (weight, bias) if array is not None]
    dtype = np.result_type(x.dtype, *given) if given else x.dtype
    scale = scale.reshape(column)
    if scale.dtype == d.dtype:
        y = d
        y *= scale  # new memory, which nobody else has
    else:
        y = d * scale
    if bias is not None:
        bias = bias.reshape(column)
        if bias.dtype == y.dtype:
            y += bias
        else:
            y = y + bias
    refuse_complex(y)
    return y.astype(dtype, copy=False), mean, variance


def _batch_norm_vjp(
    xp: Any, gs: Any, ys: Any, needs: tuple[bool, ...], x: Any, weight: Any, bias: Any, eps: float
) -> tuple[Any, Any, Any]:
    g, of_mean, of_variance = gs
    _, mean, variance = ys
    axes, column = _channels(x)
    count = max(math.prod(x.shape) // max(x.shape[1], 1), 1)
    d = widened(x) - mean.reshape(column) if needs[0] or needs[1] else None
    # The gradient by x is g a + b + d c, with numbers a, b, c for each channel.
    b = 0 if of_mean is None else of_mean
    c = 0 if of_variance is None else 2 * of_variance
    d_x = None
    if g is None:
        along = total = xp.zeros_like(of_variance if of_mean is None else of_mean)
    else:
        g = widened(g)
        total = xp.sum(g, axis=axes) if needs[0] or needs[2] else None
        rate: Any = 1 / xp.sqrt(variance + eps) if needs[0] or needs[1] else None
        along = None if rate is None else xp.sum(g * d, axis=axes) * rate
        if needs[0]:
            a = rate if weight is None else rate * weight
            b, c = b - a * total, c - a * along * rate
            d_x = g * a.reshape(column)
    if needs[0]:
        for factor, numbers in ((None, b), (d, c)):
            if not isinstance(numbers, int):
                numbers = (numbers * (1.0 / count)).reshape(column)
                term = numbers if factor is None else factor * numbers
                d_x = term if d_x is None else d_x + term
    return d_x, along if needs[1] else None, total if needs[2] else None


part("batch_norm_vjp", _batch_norm_vjp)
# fmt: off
op("batch_norm", _batch_norm,
   vjp_all=lambda xp, gs, ys, needs, x, weight, bias, eps: xp.batch_norm_vjp(
       gs, ys, needs, x, weight, bias, eps),
   saves=("x weight y", "x y", ""), outputs=(1, 2), partial=True, public="nn.functional",
   observe=lambda xp, y, *moments: (y, *(m.astype(y.dtype) for m in moments)),  # not in float16
   samples=[Sample((4, 3), (3,), (3,)), Sample((2, 3, 2, 2), (3,), (3,), eps=1e-3)],
   doc="(x - mean) / sqrt(variance + eps) for each channel, of axis 1, over all other axes, times "
       "weight plus bias; and the means and variances.")
# fmt: on


# A number for each channel behind a normalization, as one kernel on CUDA.
# fmt: off
op("scale_and_shift", lambda xp, x, scale, shift, /: x * scale + shift,
   vjp=[lambda xp, g, y, x, scale, shift: g * scale, lambda xp, g, y, x, scale, shift: g * x,
        lambda xp, g, y, x, scale, shift: g],
   saves=("scale", "x", ""), **ANALYTIC, checks=Checks(differs=overflowing_product), public="",
   samples=[Sample((2, 3), (2, 3), (2, 3)), Sample((2, 3, 4), (3, 1), (3, 1)), Sample((), (), ())],
   doc="x * scale + shift, elementwise.")
# fmt: on


def _moving_average(xp: Any, old: Any, new: Any, share: Any, /, factor: float = 1.0) -> Any:
    y = old + share * (factor * new - old)
    refuse_complex(y)
    return y


# The running statistics of batch normalization, as one kernel each on CUDA.
# fmt: off
op("moving_average",
   _moving_average,
   vjp=[lambda xp, g, y, old, new, share, factor: g * (1 - share),
        lambda xp, g, y, old, new, share, factor: g * (factor * share),
        lambda xp, g, y, old, new, share, factor: g * (factor * new - old)],
   saves=("share", "share", "old new"), **REAL, checks=Checks(differs=near_subnormal), public="",
   samples=[Sample((3,), (3,), ()), Sample((2, 3), (3,), (2, 1), factor=1.5)],
   doc="(1 - share) * old + share * factor * new, elementwise.")
# fmt: on
