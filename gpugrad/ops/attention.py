"""Attention in blocks of queries and keys, one op with a joint rule. Imports engine.op and ops.

The scores, one for each query and key, are never there all at once: the forward keeps the
logarithm of each query's sum of exponentials, from which the rules compute the weights of a block
again (Dao et al., "FlashAttention", 2022; Milakov and Gimelshein, "Online normalizer calculation
for softmax", 2018). So memory grows with the length and not with its square, unless the walk is
recorded itself.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from gpugrad.engine.op import TABLE, Op, Sample, op, part
from gpugrad.ops.dtypes import computed, refuse_complex, rounded, widened
from gpugrad.ops.reduce import finite_shift, highest, possible

# Queries and keys in a block: long ones cost memory, short ones calls.
BLOCK = 256

# ``keep(xp, weights, number)`` is what dropout makes of the weights of a block.
Keep = Callable[[Any, Any, int], Any]


def spans(length: int, size: int) -> list[slice]:
    """0, 1, ... length - 1 in slices of a size; an empty slice if there are none."""
    return [slice(i, min(i + size, length)) for i in range(0, max(length, 1), size)]


def _joined(xp: Any, parts: list[Any], axis: int) -> Any:
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=axis)


def _added(total: Any, term: Any) -> Any:
    return term if total is None else total + term


def _turned(xp: Any, x: Any) -> Any:
    return xp.swapaxes(x, -1, -2)


class _Blocks:
    """The scores of queries and keys, block by block: what the forward and its rules share."""

    def __init__(
        self, xp: Any, q: Any, k: Any, bias: Any, scale: float, causal: bool, keep: Keep | None,
        block: int,
    ) -> None:  # fmt: skip
        self.xp, self.q, self.k, self.bias = xp, q, k, bias
        self.scale, self.causal, self.keep = scale, causal, keep
        self.rows = spans(q.shape[-2], block)
        self.columns = spans(k.shape[-2], block)

    def of(self, rows: slice) -> Iterator[tuple[int, slice, Any]]:
        """For some queries each block's place among the keys, the keys and the scores.

        Without the blocks of which all keys come after the queries, where attention is causal.
        """
        for place, columns in enumerate(self.columns):
            if not self.causal or columns.start < max(rows.stop, 1):
                yield place, columns, self._scores(rows, columns)

    def scaled(self, rows: slice) -> Any:
        return computed(self.q[..., rows, :]) * self.scale

    def _scores(self, rows: slice, columns: slice) -> Any:
        xp = self.xp
        scores = xp.matmul(self.scaled(rows), _turned(xp, computed(self.k[..., columns, :])))
        if self.bias is not None:
            everything = slice(None)  # an axis of size 1 stands for all
            i, j = (
                everything if size == 1 else span
                for size, span in zip(self.bias.shape[-2:], (rows, columns), strict=True)
            )
            scores = scores + widened(self.bias[..., i, j])
        if self.causal and columns.stop - 1 > rows.start:
            query = xp.arange_like(self.q, rows.stop - rows.start) + (rows.start - columns.start)
            key = xp.arange_like(self.k, columns.stop - columns.start)
            later = xp.where(query[:, None] >= key, 0, float("-inf"))
            scores = scores + later.astype(scores.dtype)  # quicker than a choice for each
        return scores

    def kept(self, weights: Any, rows: slice, place: int) -> Any:
        """What dropout leaves of the weights, or of their gradients."""
        if self.keep is None:
            return weights
        number = self.rows.index(rows) * len(self.columns) + place
        return self.keep(self.xp, weights, number)


def _rows(blocks: _Blocks, v: Any, rows: slice) -> tuple[Any, Any]:
    """The result of some queries, and the logarithm of their sums of exponentials."""
    xp = blocks.xp
    y = total = top = None
    for place, columns, scores in blocks.of(rows):
        higher = highest(xp, scores, -1)
        if top is not None:
            higher = xp.maximum(top, higher)
        shift = finite_shift(xp, higher)
        scores -= shift  # new memory
        weights = xp.exp(scores)
        sums = xp.sum(weights, axis=-1, keepdims=True)
        values = xp.matmul(blocks.kept(weights, rows, place), computed(v[..., columns, :]))
        if top is None:
            y, total = values, sums
        else:
            shrink = xp.exp(top - shift)
            y, total = y * shrink + values, total * shrink + sums
        top = higher
    # A query that may attend to no key gets zeros, as in PyTorch.
    none = total == 0
    total = xp.where(none, 1, total)
    lse = xp.where(none, float("-inf"), xp.log(total) + finite_shift(xp, top))
    return y / total, lse


def _attention(
    xp: Any, q: Any, k: Any, v: Any, bias: Any = None, /, scale: float = 1.0,
    causal: bool = False, keep: Keep | None = None, block: int = BLOCK,
) -> tuple[Any, Any]:  # fmt: skip
    for array in (q, k, v):
        refuse_complex(array)
    blocks = _Blocks(xp, q, k, bias, scale, causal, keep, block)
    parts = [_rows(blocks, v, rows) for rows in blocks.rows]
    y, lse = (_joined(xp, list(each), -2) for each in zip(*parts, strict=True))
    return rounded(y, q), lse


def _attention_vjp(
    xp: Any, g: Any, y: Any, needs: tuple[bool, ...], q: Any, k: Any, v: Any, bias: Any, lse: Any,
    scale: float, causal: bool, keep: Keep | None, block: int,
) -> tuple[Any, ...]:  # fmt: skip
    blocks = _Blocks(xp, q, k, bias, scale, causal, keep, block)
    g = widened(g)
    others = needs[0] or needs[1] or needs[3]
    slope = xp.sum(g * widened(y), axis=-1, keepdims=True) if others else None
    d_v: list[Any] = [None] * len(blocks.columns)

    def of_weights(weights: Any, rows: slice, place: int) -> Any:
        part, columns = g[..., rows, :], blocks.columns[place]
        if needs[2]:
            kept = blocks.kept(weights, rows, place)
            d_v[place] = _added(d_v[place], xp.matmul(_turned(xp, kept), part))
        if slope is None:
            return None
        return blocks.kept(xp.matmul(part, _turned(xp, computed(v[..., columns, :]))), rows, place)

    d_q, d_k, d_bias = _pulled(blocks, needs, lse, slope, of_weights)
    return d_q, d_k, _whole(blocks, d_v, -2) if needs[2] else None, d_bias


def _pulled(
    blocks: _Blocks, needs: tuple[bool, ...], lse: Any, slope: Any, of_weights: Callable[..., Any]
) -> tuple[Any, Any, Any]:
    """The gradients of queries, keys and bias.

    That of a score is its weight times the gradient of the weight less the slope of its query.
    """
    xp, shift = blocks.xp, possible(blocks.xp, lse)
    d_q: list[Any] = []
    d_bias: list[Any] = []
    d_k: list[Any] = [None] * len(blocks.columns)
    for rows in blocks.rows:
        of_q, of_bias = None, []
        for place, columns, scores in blocks.of(rows):
            weights = xp.exp(scores - shift[..., rows, :])
            d = of_weights(weights, rows, place)
            if slope is None:  # only that of the values is needed
                continue
            d = weights * (d - slope[..., rows, :])
            if needs[0]:
                of_q = _added(of_q, xp.matmul(d, computed(blocks.k[..., columns, :])))
            if needs[1]:
                d_k[place] = _added(d_k[place], xp.matmul(_turned(xp, d), blocks.scaled(rows)))
            if needs[3]:
                of_bias.append(d)
        d_q.append(of_q)
        if needs[3]:
            d_bias.append(_whole(blocks, of_bias, -1))
    return (
        _joined(xp, d_q, -2) * blocks.scale if needs[0] else None,
        _whole(blocks, d_k, -2) if needs[1] else None,
        _joined(xp, d_bias, -2) if needs[3] else None,
    )


def _whole(blocks: _Blocks, parts: list[Any], axis: int) -> Any:
    """The gradient of all keys: zeros for the blocks at the end at which no query has looked."""
    xp, seen = blocks.xp, [part for part in parts if part is not None]
    for columns in blocks.columns[len(seen) :]:
        shape = list(seen[0].shape)
        shape[axis] = columns.stop - columns.start
        seen.append(xp.full_like(seen[0], 0, shape=tuple(shape)))
    return _joined(xp, seen, axis)


def _lse(
    xp: Any, q: Any, k: Any, v: Any, bias: Any = None, /, scale: float = 1.0,
    causal: bool = False, keep: Keep | None = None, block: int = BLOCK,
) -> Any:  # fmt: skip
    return _attention(xp, q, k, v, bias, scale, causal, None, block)[1]


def _lse_vjp(
    xp: Any, g: Any, y: Any, needs: tuple[bool, ...], q: Any, k: Any, v: Any, bias: Any,
    scale: float, causal: bool, keep: Keep | None, block: int,
) -> tuple[Any, ...]:  # fmt: skip
    blocks = _Blocks(xp, q, k, bias, scale, causal, None, block)
    d_q, d_k, d_bias = _pulled(blocks, needs, y, -g, lambda weights, *_: xp.zeros_like(weights))
    return d_q, d_k, None, d_bias


part("attention_vjp", _attention_vjp)
# fmt: off
op("attention", _attention,
   vjp_all=lambda xp, g, y, needs, q, k, v, bias, lse, scale, causal, keep, block: xp.attention_vjp(
       g, y, needs, q, k, v, bias, lse, scale, causal, keep, block),
   residuals={"lse": Op("attention_lse", _lse, vjp_all=_lse_vjp, saves="q k bias y")},
   saves=("q k v bias y lse", "q k v bias y lse", "q k bias lse", "q k v bias y lse"),
   samples=[Sample((2, 4, 3), (2, 5, 3), (2, 5, 2), (1, 5), scale=0.5),
            Sample((1, 3), (5, 3), (5, 2), (1, 5), scale=0.5),
            Sample((4, 3), (5, 3), (5, 2), (4, 1), block=3),
            Sample((2, 2, 3, 2), (2, 1, 5, 2), (2, 1, 5, 2), (3, 5), causal=True, block=2)],
   public="", shown="scaled_dot_product_attention", autocast="half",
   doc="softmax(q @ k.T * scale + bias) @ v, computed in blocks of queries and keys.")
# fmt: on


# ---------------------------------------------------------------- by head


def _split_heads(
    xp: Any, x: Any, /, heads: int, parts: int = 1, batch_first: bool = True
) -> tuple[Any, ...]:
    first, second, features = x.shape
    apart = x.reshape((first, second, parts, heads, features // (parts * heads)))
    turned = xp.transpose(apart, (2, 0, 3, 1, 4) if batch_first else (2, 1, 3, 0, 4))
    return tuple(turned[part] for part in range(parts))


def _attention_heads(
    xp: Any, x: Any, weight: Any, bias: Any = None, /, heads: int = 1, parts: int = 1,
    batch_first: bool = True,
) -> tuple[Any, ...]:  # fmt: skip
    for array in (x, weight, *([] if bias is None else [bias])):
        refuse_complex(array)
    results: tuple[Any, ...] = xp.split_heads(xp.linear(x, weight, bias), heads, parts, batch_first)
    return results


def _heads_jvp(
    xp: Any, tangents: Any, ys: Any, x: Any, weight: Any, bias: Any, heads: int, parts: int,
    batch_first: bool,
) -> tuple[Any, ...]:  # fmt: skip
    push: Any = TABLE["linear"].jvp
    tangent = push(xp, tangents, ys, x, weight, bias)
    results: tuple[Any, ...] = xp.split_heads(tangent, heads, parts, batch_first)
    return results


def _join_heads(xp: Any, /, *arrays: Any, batch_first: bool = True) -> Any:
    order = (0, 2, 1, 3) if batch_first else (2, 0, 1, 3)
    turned = [xp.transpose(array, order) for array in arrays]
    joined = turned[0] if len(turned) == 1 else xp.stack(turned, axis=2)
    return joined.reshape((*joined.shape[:2], math.prod(joined.shape[2:])))


# fmt: off
op("split_heads", _split_heads,
   vjp_all=lambda xp, gs, ys, needs, x, heads, parts, batch_first: [
       xp.join_heads(*gs, batch_first=batch_first)],
   jvp=lambda xp, tangents, y, x, heads, parts, batch_first: tuple(xp.split_heads(
       tangents[0], heads, parts, batch_first)),
   complex="same", outputs=True, moves=True, public="",
   samples=[Sample((2, 3, 8), heads=2), Sample((2, 3, 12), heads=2, parts=3),
            Sample((3, 2, 12), heads=1, parts=3, batch_first=False)],
   doc="(batch, length, parts * heads * size) as parts of (batch, heads, length, size).")
op("join_heads", _join_heads,
   vjp_all=lambda xp, g, y, needs, *arrays, batch_first: xp.split_heads(
       g, arrays[0].shape[1], len(arrays), batch_first),
   kind="linear", moves=True, public="",
   samples=[Sample((2, 2, 3, 4)), Sample((2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4)),
            Sample((2, 1, 3, 2), (2, 1, 3, 2), batch_first=False)],
   doc="Parts of (batch, heads, length, size) as (batch, length, parts * heads * size).")
op("attention_heads", _attention_heads,
   vjp_all=lambda xp, gs, ys, needs, x, weight, bias, heads, parts, batch_first: xp.linear_vjp(
       xp.join_heads(*gs, batch_first=batch_first), needs, x, weight, bias),
   jvp=_heads_jvp, adds=True, saves=("weight", "x", ""), outputs=True, public="",
   samples=[Sample((2, 3, 4), (6, 4), (6,), heads=3),
            Sample((3, 2, 4), (12, 4), (12,), heads=2, parts=3, batch_first=False)],
   autocast="half", doc="``split_heads`` of ``linear``: query, key and value by head.")
# fmt: on
