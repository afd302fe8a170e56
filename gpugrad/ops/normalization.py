"""Normalization of samples, one op with a joint rule. Imports engine.op and dtypes."""

import math
from typing import Any

from gpugrad.engine.op import Op, Sample, op, part
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
            Sample((4,), (4,), (4,))],
   doc="(x - mean) / sqrt(variance + eps) along the last axis, times weight plus bias.")
# fmt: on
