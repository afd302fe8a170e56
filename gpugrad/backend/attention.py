"""Attention in host memory where the scores are one block.

Imports namespace, precision and threads.

The scores lie in memory as (keys, queries): the largest of each query and the sum are then found
for all queries at once, and the products take fewer copies.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.backend.precision import DOUBLE, SINGLE
from gpugrad.backend.threads import SMALL, share, thread_count

__all__ = ["attention", "attention_and_residuals", "attention_vjp"]

Keep = Callable[[Any, Any, int], Any] | None
MINUS_INFINITY = float("-inf")
NOTHING = (None, None, None)


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


def _parts(keep: Keep, q: Any, k: Any, v: Any, bias: Any) -> list[slice]:
    """Parts along the first axis for threads; none where there is little to share, or one thread.

    What is computed of one matrix does not depend on the others.
    """
    if 2 * q.size * k.shape[-2] < SMALL or keep is not None or q.ndim == 2:
        return []
    count, threads = len(q), thread_count()
    shapes = [(len(x.shape), x.shape[0]) for x in (k, v)]
    if bias is not None and bias.ndim >= q.ndim and len(bias) > 1:
        shapes.append((bias.ndim, len(bias)))
    if min(count, threads) < 2 or any(shape != (q.ndim, count) for shape in shapes):
        return []
    step = -(-count // threads)
    return [slice(start, start + step) for start in range(0, count, step)]


def _lead(*arrays: Any) -> tuple[int, ...]:
    """The axes before those of queries or keys and features, of all arrays together."""
    return np.broadcast_shapes(*(array.shape[:-2] for array in arrays if array is not None))


def _taken(part: slice, *arrays: Any) -> list[Any]:
    """A part of each array with as many axes as the first one of several; None of None."""
    axes = max(array.ndim for array in arrays if array is not None)
    return [
        array if array is None or array.ndim < axes or len(array) == 1 else array[part]
        for array in arrays
    ]


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
    parts = _parts(keep, q, k, v, bias)
    if not parts:
        return _forward(q, k, v, bias, scale, causal, keep)
    y = np.empty((*_lead(q, k, v, bias), q.shape[-2], v.shape[-1]), q.dtype)

    def forward(part: slice) -> Any:
        own_q, own_k, own_v, own_bias, to = _taken(part, q, k, v, bias, y)
        return _forward(own_q, own_k, own_v, own_bias, scale, causal, keep, to)[1]

    return y, np.concatenate(share(forward, parts, SMALL))


def _forward(
    q: Any, k: Any, v: Any, bias: Any, scale: float, causal: bool, keep: Keep, to: Any = None
) -> tuple[Any, Any]:
    scores = _scores(q, k, bias, scale, causal)
    shift = np.maximum.reduce(scores, -2, keepdims=True)
    shift[~np.isfinite(shift)] = 0
    scores -= shift
    weights = np.exp(scores, scores)
    total = np.matmul(np.ones((1, weights.shape[-2]), weights.dtype), weights)
    none = total == 0  # a query that may attend to no key gets zeros
    total[none] = 1
    y = np.matmul(_turned(_kept(keep, weights)), v, to)
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
    parts = _parts(keep, q, k, v, bias)
    if not parts:
        return _backward(NOTHING, needs, g, y, q, k, v, bias, lse, scale, causal, keep)
    d_q, d_k, d_v = (
        np.empty((*g.shape[:-2], *x.shape[-2:]), x.dtype) if need else None
        for need, x in zip(needs, (q, k, v))
    )
    if not (needs[0] or needs[1] or needs[3]):
        y = v = None  # which were not saved

    def backward(part: slice) -> Any:
        *to, own_g, own_y = _taken(part, d_q, d_k, d_v, g, y)
        own_q, own_k, own_v, own_bias, own_lse = _taken(part, q, k, v, bias, lse)
        return _backward(
            to, needs, own_g, own_y, own_q, own_k, own_v, own_bias, own_lse, scale, causal, keep
        )[3]

    of_bias = share(backward, parts, SMALL)
    return d_q, d_k, d_v, np.concatenate(of_bias) if needs[3] else None


def _backward(
    to: Sequence[Any], needs: tuple[bool, ...], g: Any, y: Any, q: Any, k: Any, v: Any, bias: Any,
    lse: Any, scale: float, causal: bool, keep: Keep,
) -> tuple[Any, ...]:  # fmt: skip
    """The gradients, those of queries, keys and values in the memory that there is for them."""
    scores = _scores(q, k, bias, scale, causal)
    scores -= _turned(np.where(lse == MINUS_INFINITY, lse.dtype.type(0), lse))
    weights = np.exp(scores, scores)
    d_q = d_k = d_bias = None
    d_v = np.matmul(_kept(keep, weights), g, to[2]) if needs[2] else None
    if needs[0] or needs[1] or needs[3]:
        d = _kept(keep, np.matmul(v, _copied(g)))
        d -= np.vecdot(g, y)[..., None, :]
        d = np.multiply(d, weights, d)
        if needs[0]:
            d_q = np.matmul(_turned(d), k, to[0])
            d_q *= scale
        if needs[1]:
            d_k = np.matmul(d, q, to[1])
            d_k *= scale
        d_bias = _turned(d) if needs[3] else None
    return d_q, d_k, d_v, d_bias
