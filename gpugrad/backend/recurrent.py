"""An LSTM over arrays in host memory.

Imports aligned, namespace, precision and threads.

The gates of a step lie in memory as (gates, batch, hidden), so that each is one run of memory, and
all of them one argument of a function; what a step writes stays in the cache for the next. Its
product is one for the state, the input and the bias, which lie side by side. In backward, the
gradients of all weights are one product over all steps.
"""

from functools import partial
from typing import Any

import numpy as np

from gpugrad.backend.aligned import aligned
from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.backend.precision import DOUBLE, SINGLE
from gpugrad.backend.threads import with_small_products

__all__ = ["lstm_layer", "lstm_layer_vjp"]

_HALVES = {dtype: np.full((), 0.5, dtype) for dtype in (SINGLE, DOUBLE)}
# The gates i, f, g and o as they are kept: tanh first, so that the sigmoids are side by side, and
# those that the gradient of c meets as well.
_AS_KEPT = [2, 0, 1, 3]
_AS_GIVEN = [1, 2, 0, 3]


def _fit(*arrays: Any) -> bool:
    """Whether all are of one dtype, single or double; None is left out."""
    dtypes = {array.dtype for array in arrays if array is not None}
    return len(dtypes) == 1 and dtypes <= _HALVES.keys()


def _by_gate(rows: Any, order: list[int]) -> Any:
    """Rows of a weight, gate by gate, in another order of the gates: a copy."""
    return rows.reshape((4, -1, rows.shape[-1]))[order]


def _copied(x: Any) -> Any:
    """A copy that begins with a cache line."""
    y = aligned(x.shape, x.dtype)
    y[...] = x
    return y


def lstm_layer(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias: Any, mask: Any
) -> tuple[tuple[Any, Any], Any]:
    """The formula of this name in `gpugrad.ops.recurrent`."""
    operands = (x, h, c, weight_ih, weight_hh, bias, mask)
    if not _fit(*operands[:-1]):
        results: tuple[tuple[Any, Any], Any] = FORMULAS["lstm_layer"](namespace_of(x), *operands)
        return results
    (length, batch, _), hidden, dtype = x.shape, h.shape[1], x.dtype
    weight = _by_gate(_joined(weight_hh, weight_ih, bias), _AS_KEPT)
    weight[1:] *= _HALVES[dtype]  # sigmoid(x) = (1 + tanh(x / 2)) / 2
    weight = _copied(weight.transpose((0, 2, 1)))
    rows = _rows_of_steps(length + 1, x, h, bias is not None)
    kept = aligned((length, 4, batch, hidden), dtype)
    after_h, after_c = (aligned((length, batch, hidden), dtype) for _ in range(2))
    gone = [None] * length if mask is None else ~mask
    gates, states = (kept[:, gate] for gate in range(4)), rows[1:, :, :hidden]
    steps = zip(rows, kept, kept[:, 1:], *gates, after_h, after_c, states, gone)
    forward = partial(_lstm_forward, steps, weight, h, c)
    with_small_products(forward, batch * weight[0].size)
    return (after_h, after_c), kept.transpose((0, 2, 1, 3))


def _lstm_forward(steps: Any, weight: Any, old_h: Any, old_c: Any) -> None:
    """Fill in the gates and states of all steps."""
    half, share = _HALVES[weight.dtype], aligned(old_h.shape, weight.dtype)
    for row, product, sigmoid, g, i, f, o, new_h, new_c, state, passes in steps:
        np.tanh(np.matmul(row, weight, product), product)
        np.multiply(sigmoid, half, sigmoid)
        np.add(sigmoid, half, sigmoid)
        np.multiply(f, old_c, new_c)
        np.multiply(i, g, share)
        np.add(new_c, share, new_c)
        np.tanh(new_c, share)
        np.multiply(o, share, new_h)
        if passes is not None:
            np.copyto(new_h, old_h, where=passes)
            np.copyto(new_c, old_c, where=passes)
        state[...] = old_h = new_h
        old_c = new_c


def _joined(weight_hh: Any, weight_ih: Any, bias: Any) -> Any:
    """The weights of the state, of the input and, where there is one, the bias side by side."""
    columns = [weight_hh, weight_ih]
    return np.concatenate(columns if bias is None else [*columns, bias[:, None]], axis=1)


def _rows_of_steps(length: int, x: Any, h: Any, ones: bool) -> Any:
    """What each step multiplies with `_joined` weights; of the states, the first alone is there."""
    steps, batch, inputs = x.shape
    hidden = h.shape[1]
    rows = aligned((length, batch, hidden + inputs + ones), x.dtype)
    rows[0, :, :hidden] = h
    rows[:steps, :, hidden : hidden + inputs] = x
    if ones:
        rows[..., -1] = 1
    return rows


def lstm_layer_vjp(
    gs: Any, of_kept: Any, needs: tuple[bool, ...], x: Any, h: Any, c: Any, weight_ih: Any,
    weight_hh: Any, bias: Any, mask: Any, after: Any, kept: Any,
) -> Any:  # fmt: skip
    """The formula of this name in `gpugrad.ops.recurrent`."""
    if of_kept is not None or not _fit(*gs, x, h, c, weight_ih, weight_hh, *after, kept):
        return FORMULAS["lstm_layer_vjp"](
            namespace_of(kept), gs, of_kept, needs, x, h, c, weight_ih, weight_hh, bias, mask,
            after, kept,
        )  # fmt: skip
    hidden, inputs = h.shape[1], x.shape[2]
    weight = _by_gate(weight_hh, _AS_KEPT).reshape(weight_hh.shape)
    back = partial(_lstm_back, gs, c, weight, mask, after[1], kept)
    d, d_h, d_c = with_small_products(back, len(h) * weight.size)
    d_x = d_ih = d_hh = d_bias = None
    if needs[0]:
        weight = _by_gate(weight_ih, _AS_KEPT).reshape(weight_ih.shape)
        d_x = np.dot(d, weight).reshape(x.shape)
    if needs[3] or needs[4] or needs[5]:
        rows = _rows_of_steps(len(x), x, h, needs[5])
        rows[1:, :, :hidden] = after[0][:-1]
        total = np.dot(d.T, rows.reshape((-1, rows.shape[-1])))
        total = _by_gate(total, _AS_GIVEN).reshape(total.shape)
        d_hh, d_ih = total[:, :hidden].copy(), total[:, hidden : hidden + inputs].copy()
        d_bias = total[:, -1].copy() if needs[5] else None
    return d_x, d_h, d_c, d_ih, d_hh, d_bias, None


def _lstm_back(gs: Any, c: Any, weight: Any, mask: Any, after_c: Any, kept: Any) -> Any:
    """The gradients of the pre-activations, (length * batch, gates), and of the first states."""
    (length, batch, _, hidden), dtype = kept.shape, kept.dtype
    result = aligned((length, batch, 4 * hidden), dtype)
    states = aligned((5, batch, hidden), dtype)
    states[...] = 0
    d_h, d_c, squashed, term, total = states
    # The gradients of the pre-activations; what i, f and o times one minus themselves multiply;
    # and the gradient of c times i and f.
    own, factors, shares = (aligned((n, batch, hidden), dtype) for n in (4, 3, 2))
    (of_i, of_f, of_o), (of_g, d_before), d_g, d_sigmoids = factors, shares, own[0], own[1:]
    gates = kept.transpose((0, 2, 1, 3))
    each = [
        gates[:, 1:], gates[:, 1:3], *(gates[:, gate] for gate in (0, 3)), after_c,
        np.concatenate([c[None], after_c[:-1]]), result, result.reshape(kept.shape),
    ]  # fmt: skip
    gone = None if mask is None else ~mask
    of_h, of_c, gone = ([None] * length if g is None else g[::-1] for g in (*gs, gone))
    steps = zip(*(array[::-1] for array in each), of_h, of_c, gone)
    turned = own.transpose((1, 0, 2))
    for sigmoids, i_f, g, o, c_t, before, rows, by_gate, of_h_t, of_c_t, passes in steps:
        if of_h_t is not None:
            np.add(d_h, of_h_t, d_h)
        if of_c_t is not None:
            np.add(d_c, of_c_t, d_c)
        if passes is not None:
            passed = [np.where(passes, d, 0) for d in (d_h, d_c)]
            for d in (d_h, d_c):
                np.copyto(d, 0, where=passes)
        np.tanh(c_t, squashed)  # h = o tanh(c)
        np.multiply(d_h, o, total)
        np.multiply(total, squashed, of_o)
        np.multiply(of_o, squashed, term)
        np.subtract(total, term, total)
        np.add(d_c, total, total)
        np.multiply(i_f, total, shares)  # c = i g + f c_before
        np.multiply(of_g, g, of_i)
        np.multiply(d_before, before, of_f)
        np.multiply(of_i, g, term)
        np.subtract(of_g, term, d_g)
        np.multiply(factors, sigmoids, d_sigmoids)
        np.subtract(factors, d_sigmoids, d_sigmoids)
        by_gate[...] = turned
        np.dot(rows, weight, d_h)
        d_c = d_before
        if passes is not None:
            np.add(d_h, passed[0], d_h)
            np.add(d_c, passed[1], d_c)
    return result.reshape((-1, 4 * hidden)), d_h, d_c
