"""Normalization of samples, one op with a joint rule. Imports engine.op, complex_parts, reduce."""

import math
from typing import Any

from gpugrad.engine.op import Sample, op, part
from gpugrad.ops.complex_parts import refuse_complex
from gpugrad.ops.reduce import FULL, HALF


def _normal(xp: Any, x: Any, eps: float) -> tuple[Any, Any]:
    """x with mean 0 and variance 1 along the last axis, and what its differences were scaled by.

    Both in float32 for float16, whose squares overflow from 256 on.
    """
    wide = x.astype(FULL) if x.dtype == HALF else x
    d = wide - xp.mean(wide, axis=-1, keepdims=True)
    rate = 1 / xp.sqrt(xp.mean(d * d, axis=-1, keepdims=True) + eps)
    return d * rate, rate


def _layer_norm(xp: Any, x: Any, weight: Any = None, bias: Any = None, /, eps: float = 1e-5) -> Any:
    y, _ = _normal(xp, x, eps)
    if y.dtype is not x.dtype:
        y = y.astype(x.dtype, copy=False)
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    refuse_complex(y)
    return y


def _down(xp: Any, x: Any) -> Any:
    """The sum over all axes but the last."""
    return xp.sum(x.reshape((math.prod(x.shape[:-1]), x.shape[-1])), axis=0)


def _layer_norm_vjp(
    xp: Any, g: Any, x: Any, weight: Any, needs: tuple[bool, ...], eps: float
) -> tuple[Any, Any, Any]:
    # With n = (x - mean) rate, dn = rate (dx - mean(dx) - n mean(n dx)), which is symmetric.
    n, rate = _normal(xp, x, eps)
    d_x = None
    if needs[0]:
        d = g if weight is None else g * weight
        d = d - xp.mean(d, axis=-1, keepdims=True) - n * xp.mean(d * n, axis=-1, keepdims=True)
        d_x = rate * d
    return d_x, _down(xp, g * n) if needs[1] else None, _down(xp, g) if needs[2] else None


part("layer_norm_vjp", _layer_norm_vjp)
op(
    "layer_norm",
    _layer_norm,
    vjp_all=lambda xp, g, y, needs, x, weight, bias, eps: xp.layer_norm_vjp(
        g, x, weight, needs, eps
    ),
    saves=("x weight", "x", ""),
    samples=[
        Sample((4, 3), (3,), (3,)),
        Sample((2, 3, 5), (5,), (5,), eps=1e-3),
        Sample((4,), (4,), (4,)),
    ],
    public="nn.functional",
    doc="(x - mean) / sqrt(variance + eps) along the last axis, times weight plus bias.",
)
