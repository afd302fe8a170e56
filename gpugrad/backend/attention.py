"""Attention in host memory where the scores are one block. Imports namespace and precision.

The scores lie in memory as (keys, queries): the largest of each query and the sum are then found
for all queries at once, and the products take fewer copies.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.backend.precision import DOUBLE, SINGLE

__all__ = ["attention", "attention_and_residuals", "attention_vjp"]

Keep = Callable[[Any, Any, int], Any] | None
MINUS_INFINITY = float("-inf")


def _fit(q: Any, k: Any, v: Any, bias: Any, block: int) -> bool:
    """Whether all are of one dtype, single or double, and the scores one block with elements."""
    dtype = q.dtype
    same = (dtype is SINGLE or dtype is DOUBLE) and k.dtype is dtype and v.dtype is dtype
    if not same or (bias is not None and bias.dtype is not dtype):
        return False
    return 0 < q.shape[-2] <= block and 0 < k.shape[-2] <= block and q.shape[-1] > 0


def _turned(x: Any) -> Any:
    return x.swapaxes(-1, -2)


def _copied(x: Any) -> Any:
    """x with the last two axes exchanged, in memory too."""
    return np.ascontiguousarray(_turned(x))


def _scores(q: Any, k: Any, bias: Any, scale: float, causal: bool) -> Any:
    """The scores of keys and queries, in new memory."""
    queries = np.array(_turned(q), order="C")  # new memory, which one row or column needs not be
    queries *= scale
    scores = np.matmul(k, queries)
    if bias is not None:
        scores = scores + _turned(bias)
    if causal:
        key, query = (np.arange(n) for n in scores.shape[-2:])
        later = np.zeros(scores.shape[-2:], scores.dtype)
        later[key[:, None] > query] = MINUS_INFINITY
        scores += later
    return scores


def _kept(keep: Keep, weights: Any) -> Any:
    """What dropout leaves of weights, or of their gradients; it has queries before keys."""
    return weights if keep is None else _turned(keep(namespace_of(weights), _turned(weights), 0))


def attention(
    q: Any, k: Any, v: Any, bias: Any = None, scale: float = 1.0, causal: bool = False,
    keep: Keep = None, block: int = 1,
) -> Any:  # fmt: skip
    """The formula of this name in `gpugrad.ops.attention`."""
    return attention_and_residuals(q, k, v, bias, scale, causal, keep, block)[0]


def attention_and_residuals(
    q: Any, k: Any, v: Any, bias: Any = None, scale: float = 1.0, causal: bool = False,
    keep: Keep = None, block: int = 1,
) -> tuple[Any, Any]:  # fmt: skip
    """The same, with the logarithm of each query's sum of exponentials."""
    if not _fit(q, k, v, bias, block):
        formula: Any = FORMULAS["attention_and_residuals"]
        results: tuple[Any, Any] = formula(
            namespace_of(q), q, k, v, bias, scale, causal, keep, block
        )
        return results
    scores = _scores(q, k, bias, scale, causal)
    shift = np.maximum.reduce(scores, -2, keepdims=True)
    shift[~np.isfinite(shift)] = 0
    scores -= shift
    weights = np.exp(scores, scores)
    total = np.matmul(np.ones((1, weights.shape[-2]), weights.dtype), weights)
    none = total == 0  # a query that may attend to no key gets zeros
    total[none] = 1
    y = np.matmul(_turned(_kept(keep, weights)), v)
    y /= _turned(total)
    lse = np.log(total)
    lse += shift
    lse[none] = MINUS_INFINITY
    return y, _turned(lse)


def attention_vjp(
    g: Any, y: Any, needs: tuple[bool, ...], q: Any, k: Any, v: Any, bias: Any, lse: Any,
    scale: float, causal: bool, keep: Keep, block: int,
) -> tuple[Any, ...]:  # fmt: skip
    """The formula of this name in `gpugrad.ops.attention`."""
    if not _fit(q, k, v, bias, block) or g.dtype is not q.dtype:
        formula: Any = FORMULAS["attention_vjp"]
        results: tuple[Any, ...] = formula(
            namespace_of(q), g, y, needs, q, k, v, bias, lse, scale, causal, keep, block
        )
        return results
    scores = _scores(q, k, bias, scale, causal)
    scores -= _turned(np.where(lse == MINUS_INFINITY, lse.dtype.type(0), lse))
    weights = np.exp(scores, scores)
    d_q = d_k = d_bias = None
    d_v = np.matmul(_kept(keep, weights), g) if needs[2] else None
    if needs[0] or needs[1] or needs[3]:
        d = _kept(keep, np.matmul(v, _copied(g)))
        d -= np.vecdot(g, y)[..., None, :]
        d = np.multiply(d, weights, d)
        if needs[0]:
            d_q = np.matmul(_turned(d), k)
            d_q *= scale
        if needs[1]:
            d_k = np.matmul(d, q)
            d_k *= scale
        d_bias = _turned(d) if needs[3] else None
    return d_q, d_k, d_v, d_bias
