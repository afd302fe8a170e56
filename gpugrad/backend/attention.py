"""Attention in host memory where the scores are one block.

Imports namespace, precision and threads.

The scores lie in memory as (keys, queries): the largest of each query and the sum are then found
for all queries at once, and the products take fewer copies.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.backend.precision import DOUBLE, SINGLE
from gpugrad.backend.threads import SMALL, share, thread_count

__all__ = ["attention", "attention_and_residuals", "attention_vjp"]

Keep = Callable[[Any, Any, int], Any] | None
MINUS_INFINITY = float("-inf")
WHOLE = slice(None)


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


def _lead(*arrays: Any) -> tuple[int, ...]:
    """The axes before those of queries or keys and features, of all arrays together."""
    shapes = [array.shape[:-2] for array in arrays if array is not None]
    if shapes[1:] == shapes[:-1]:
        return shapes[0]
    return np.broadcast_shapes(*shapes)


def _parts(keep: Keep, q: Any, k: Any, v: Any, bias: Any) -> list[slice]:
    """Parts along the first axis for threads; one where that broadcasts, and for few scores.

    What is computed of one matrix does not depend on the others.
    """
    lead = q.shape[:-2]
    if _multiplications(q, k) < SMALL or keep is not None or not lead:
        return [WHOLE]
    shapes = [(len(x.shape), x.shape[0]) for x in (k, v)]
    if bias is not None and bias.ndim >= q.ndim and len(bias) > 1:
        shapes.append((bias.ndim, len(bias)))
    if any(shape != (q.ndim, lead[0]) for shape in shapes):
        return [WHOLE]
    step = -(-lead[0] // thread_count())
    return [slice(start, start + step) for start in range(0, lead[0], step)]


def _multiplications(q: Any, k: Any) -> int:
    """Those of the products of queries and keys, and of weights and values."""
    return 2 * int(q.size) * int(k.shape[-2])


def _each(run: Callable[[slice], Any], parts: list[slice], q: Any, k: Any) -> list[Any]:
    return [run(parts[0])] if len(parts) == 1 else share(run, parts, _multiplications(q, k))


def _taken(part: slice, *arrays: Any) -> list[Any]:
    """A part of each array with as many axes as the first one of several; None of None."""
    if part is WHOLE:
        return [*arrays]
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
    parts, length = _parts(keep, q, k, v, bias), v.shape[-1]
    y = np.empty((*_lead(q, k, v, bias), q.shape[-2], length), q.dtype)
    forward = partial(_forward, y, q, k, v, bias, scale, causal, keep)
    lses = _each(forward, parts, q, k)
    return y, lses[0] if len(lses) == 1 else np.concatenate(lses)


def _forward(
    y: Any, q: Any, k: Any, v: Any, bias: Any, scale: float, causal: bool, keep: Keep, part: slice
) -> Any:
    """Write a part of the result; returns that of the logarithms."""
    y, q, k, v, bias = _taken(part, y, q, k, v, bias)
    scores = _scores(q, k, bias, scale, causal)
    shift = np.maximum.reduce(scores, -2, keepdims=True)
    shift[~np.isfinite(shift)] = 0
    scores -= shift
    weights = np.exp(scores, scores)
    total = np.matmul(np.ones((1, weights.shape[-2]), weights.dtype), weights)
    none = total == 0  # a query that may attend to no key gets zeros
    total[none] = 1
    np.matmul(_turned(_kept(keep, weights)), v, y)
    y /= _turned(total)
    lse = np.log(total)
    lse += shift
    lse[none] = MINUS_INFINITY
    return _turned(lse)


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
    lead, parts = _lead(q, k, v, bias), _parts(keep, q, k, v, bias)
    gradients = [
        np.empty((*lead, *x.shape[-2:]), x.dtype) if need else None
        for need, x in zip(needs, (q, k, v))
    ]
    if not (needs[0] or needs[1] or needs[3]):
        y = v = None  # which were not saved
    d_q, d_k, d_v = gradients
    backward = partial(
        _backward, d_q, d_k, d_v, needs[3], g, y, q, k, v, bias, lse, scale, causal, keep
    )
    of_bias = _each(backward, parts, q, k)
    d_bias = None
    if needs[3]:
        d_bias = of_bias[0] if len(of_bias) == 1 else np.concatenate(of_bias)
    return d_q, d_k, d_v, d_bias


def _backward(
    d_q: Any, d_k: Any, d_v: Any, need_bias: bool, g: Any, y: Any, q: Any, k: Any, v: Any,
    bias: Any, lse: Any, scale: float, causal: bool, keep: Keep, part: slice,
) -> Any:  # fmt: skip
    """Write a part of the gradients; returns that of the bias, if it is needed."""
    d_q, d_k, d_v, g, y = _taken(part, d_q, d_k, d_v, g, y)
    q, k, v, bias, lse = _taken(part, q, k, v, bias, lse)
    scores = _scores(q, k, bias, scale, causal)
    scores -= _turned(np.where(lse == MINUS_INFINITY, lse.dtype.type(0), lse))
    weights = np.exp(scores, scores)
    if d_v is not None:
        np.matmul(_kept(keep, weights), g, d_v)
    if d_q is None and d_k is None and not need_bias:
        return None
    d = _kept(keep, np.matmul(v, _copied(g)))
    d -= np.vecdot(g, y)[..., None, :]
    d = np.multiply(d, weights, d)
    if d_q is not None:
        np.matmul(_turned(d), k, d_q)
        d_q *= scale
    if d_k is not None:
        np.matmul(d, q, d_k)
        d_k *= scale
    return _turned(d) if need_bias else None
