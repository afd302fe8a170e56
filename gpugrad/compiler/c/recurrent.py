"""An LSTM as steps that C computes: a product and two loops a turn. Imports nothing of gpugrad.

What is computed is in `gpugrad.ops.recurrent`. The gates come in the order in which they are kept,
g, i, f and o, as in `gpugrad.backend.recurrent`: a sigmoid is a tanh of the half, so that all gates
of a turn are one loop. Backward, what does not depend on the turn behind is computed for all turns
together.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["FORMULAS_OF_LAYERS"]


KEPT, GIVEN = (2, 0, 1, 3), (1, 2, 0, 3)  # which gate of the other order comes where


def _in_order(xp: Any, x: Any, gates: Sequence[int], axis: int = 0) -> Any:
    """The gates along an axis in another order, in new memory."""
    ahead, n = (slice(None),) * axis, x.shape[axis] // 4
    return xp.concat([x[(*ahead, slice(i * n, (i + 1) * n))] for i in gates], axis=axis)


def _of_gates(dtype: Any, *numbers: float) -> Any:
    """A number for each gate, beside (batch, gates, hidden)."""
    return np.array(numbers, dtype)[:, None]


def _check(*arrays: Any) -> None:
    dtypes = {array.dtype for array in arrays if array is not None}
    if len(dtypes) > 1 or dtypes.pop() not in (np.float32, np.float64):
        raise NotImplementedError("another dtype than float32 and float64, or two of them")


def _lstm_layer(
    xp: Any, x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias: Any, mask: Any
) -> Any:
    _check(x, h, c, weight_ih, weight_hh, bias)
    (length, batch, inputs), hidden = x.shape, h.shape[1]
    halves = np.repeat(np.array([1, 0.5, 0.5, 0.5], x.dtype), hidden)
    factor, more = (_of_gates(x.dtype, first, *[0.5] * 3) for first in (1, 0))
    weight, of_x = (_in_order(xp, one.T, KEPT, 1) * halves for one in (weight_hh, weight_ih))
    share = xp.matmul(x.reshape((length * batch, inputs)), of_x)
    if bias is not None:
        share = share + _in_order(xp, bias, KEPT) * halves
    share = share.reshape((length, batch, 4, hidden))
    kept: list[Any] = []
    after_h: list[Any] = []
    after_c: list[Any] = []
    for t in range(length):
        z = xp.matmul(h, weight).reshape((batch, 4, hidden)) + share[t]
        gates = xp.tanh(z) * factor + more
        g, i, f, o = (gates[:, index] for index in range(4))
        new_c = f * c + i * g
        new_h = o * xp.tanh(new_c)
        if mask is not None:
            new_h, new_c = xp.where(mask[t], new_h, h), xp.where(mask[t], new_c, c)
        h, c = new_h, new_c
        for sequence, one in ((kept, gates), (after_h, h), (after_c, c)):
            sequence.append(one)
    stacked = [xp.stack(sequence, axis=0) for sequence in (kept, after_h, after_c)]
    return (stacked[1], stacked[2]), stacked[0]


def _sum(*terms: Any) -> Any:
    there = [term for term in terms if term is not None]
    return sum(there[1:], there[0])


def _lstm_layer_vjp(
    xp: Any, gs: Sequence[Any], of_kept: Any, needs: Sequence[bool], x: Any, h: Any, c: Any,
    weight_ih: Any, weight_hh: Any, bias: Any, mask: Any, after: Sequence[Any], kept: Any,
) -> tuple[Any, ...]:  # fmt: skip
    _check(*gs, x, h, c, weight_ih, weight_hh, *after, kept)
    if of_kept is not None:
        raise NotImplementedError("a second derivative")
    (length, batch, inputs), hidden = x.shape, h.shape[1]
    g, i, f, o = (kept[:, :, index : index + 1] for index in range(4))
    squashed = xp.tanh(after[1])
    before_h, before_c = (
        xp.concat([first[None], sequence[:-1]], axis=0) for first, sequence in zip((h, c), after)
    )
    # h = o tanh(c), c = i g + f before
    of_c = o[:, :, 0] * (1 - squashed * squashed)
    is_g, is_i, is_f, is_o = (_of_gates(bool, *row) for row in np.eye(4))
    others = xp.where(is_f, before_c[:, :, None], squashed[:, :, None])
    others = xp.where(is_g, i, xp.where(is_i, g, others))
    slopes = (xp.where(is_g, 1, kept) - kept * kept) * others
    passes = xp.concat([f[:, :, 0]], axis=0)  # in new memory: the other gates are done with
    weight = _in_order(xp, weight_hh, KEPT)
    d_h = d_c = xp.zeros_like(h)
    rows: list[Any] = []
    for t in reversed(range(length)):
        d_h, d_c = (_sum(d, None if one is None else one[t]) for d, one in zip((d_h, d_c), gs))
        passed: Sequence[Any] = (None, None)
        if mask is not None:
            passed = [xp.where(mask[t], 0, d) for d in (d_h, d_c)]
            d_h, d_c = (xp.where(mask[t], d, 0) for d in (d_h, d_c))
        d_c = d_c + d_h * of_c[t]
        d_z = xp.where(is_o, d_h[:, None], d_c[:, None]) * slopes[t]
        rows.append(d_z.reshape((batch, 4 * hidden)))
        d_h = _sum(xp.matmul(rows[-1], weight), passed[0])
        d_c = _sum(d_c * passes[t], passed[1])
    d = xp.stack(rows[::-1], axis=0).reshape((length * batch, 4 * hidden))
    d_x = d_ih = d_hh = d_bias = None
    if needs[0]:
        d_x = xp.matmul(d, _in_order(xp, weight_ih, KEPT)).reshape(x.shape)
    if needs[3]:
        d_ih = _in_order(xp, xp.matmul(d.T, x.reshape((length * batch, inputs))), GIVEN)
    if needs[4]:
        d_hh = _in_order(xp, xp.matmul(d.T, before_h.reshape((length * batch, hidden))), GIVEN)
    if needs[5]:
        d_bias = _in_order(xp, xp.sum(d, axis=0), GIVEN)
    return d_x, d_h, d_c, d_ih, d_hh, d_bias, None


FORMULAS_OF_LAYERS: dict[str, Callable[..., Any]] = {
    "lstm_layer": _lstm_layer,
    "lstm_layer_vjp": _lstm_layer_vjp,
}
