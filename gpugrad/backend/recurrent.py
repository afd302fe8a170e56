"""The steps of recurrent layers over arrays in host memory. Imports namespace and precision.

A state lies in memory as (hidden, batch), and the gates as (gates, hidden, batch), so that each
gate is one run of memory; a step writes into memory that is there. What the steps backward multiply
with is computed for several steps at once, as many as stay in the cache.
"""

from typing import Any

import numpy as np

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.backend.precision import DOUBLE, SINGLE

__all__ = ["lstm_steps", "lstm_steps_vjp"]

CACHE = 1 << 16  # elements of the gates of some steps that stay in the cache
_ONES = {dtype: np.ones((), dtype) for dtype in (SINGLE, DOUBLE)}


def _fit(*arrays: Any) -> bool:
    """Whether all are of one dtype, single or double; None is left out."""
    dtypes = {array.dtype for array in arrays if array is not None}
    return len(dtypes) == 1 and dtypes <= _ONES.keys()


def _turned(x: Any) -> Any:
    """A view of (..., batch, features) as (..., features, batch), and the other way."""
    return x.swapaxes(-1, -2)


def _empty(length: int, features: int, batch: int, dtype: Any) -> Any:
    """A new array (length, batch, features) that lies in memory as (length, features, batch)."""
    return np.empty_like(_turned(np.empty((length, features, batch), dtype)))


def _sigmoid_of_negated(x: Any, one: Any) -> None:
    """x becomes sigmoid(-x)."""
    np.exp(x, x)
    np.add(x, one, x)
    np.reciprocal(x, x)


def lstm_steps(x: Any, h: Any, c: Any, weight: Any, mask: Any) -> tuple[tuple[Any, Any], Any]:
    """The formula of this name in `gpugrad.ops.recurrent`."""
    if not _fit(x, h, c, weight):
        return FORMULAS["lstm_steps"](namespace_of(x), x, h, c, weight, mask)
    (length, batch, rows), hidden, dtype = x.shape, h.shape[1], x.dtype
    one = _ONES[dtype]
    first, g_rows, last = (
        slice(0, 2 * hidden),
        slice(2 * hidden, 3 * hidden),
        slice(3 * hidden, rows),
    )
    negated = np.negative(weight)
    negated[g_rows] = weight[g_rows]
    kept = _empty(length, rows, batch, dtype)
    results = tuple(_empty(length, hidden, batch, dtype) for _ in range(2))
    product, share = np.empty((rows, batch), dtype), np.empty((hidden, batch), dtype)
    h, c = h.T.copy(), c.T.copy()
    with np.errstate(over="ignore", under="ignore"):
        for t, (gates, new_h, new_c) in enumerate(zip(*map(_turned, (kept, *results)))):
            gates[...] = x[t].T
            np.dot(negated, h, product)
            i_f, g, o = gates[first], gates[g_rows], gates[last]
            np.subtract(product[first], i_f, i_f)
            np.add(product[g_rows], g, g)
            np.subtract(product[last], o, o)
            _sigmoid_of_negated(i_f, one)
            np.tanh(g, g)
            _sigmoid_of_negated(o, one)
            np.multiply(i_f[hidden:], c, new_c)
            np.multiply(i_f[:hidden], g, share)
            np.add(new_c, share, new_c)
            np.tanh(new_c, share)
            np.multiply(o, share, new_h)
            if mask is not None:
                gone = ~mask[t].T
                np.copyto(new_h, h, where=gone)
                np.copyto(new_c, c, where=gone)
            h, c = new_h, new_c
    return results, kept


def lstm_steps_vjp(
    gs: Any, of_kept: Any, needs: tuple[bool, ...], h: Any, c: Any, weight: Any, mask: Any,
    after: Any, kept: Any,
) -> Any:  # fmt: skip
    """The formula of this name in `gpugrad.ops.recurrent`."""
    if of_kept is not None or not _fit(*gs, h, c, weight, *after, kept):
        xp = namespace_of(kept)
        return FORMULAS["lstm_steps_vjp"](xp, gs, of_kept, needs, h, c, weight, mask, after, kept)
    length, batch, rows = kept.shape
    hidden, dtype = rows // 4, kept.dtype
    d_x = np.empty(kept.shape, dtype)
    turned = weight.T.copy()
    gates = _turned(kept).reshape((length, 4, hidden, batch))
    after_h, after_c = map(_turned, after)
    of_h, of_c = (None if g is None else _turned(g) for g in gs)
    d_h, d_c, share = np.zeros((3, hidden, batch), dtype)
    gone = None if mask is None else ~_turned(mask)
    steps = max(1, CACHE // (rows * batch))
    for stop in range(length, 0, -steps):
        part = slice(max(stop - steps, 0), stop)
        before = after_c[part.start - 1] if part.start else c.T
        slopes, of_state = _lstm_slopes(gates[part], before, after_h[part], after_c[part])
        forget = gates[part, 1]
        if gone is not None:
            np.copyto(slopes, 0, where=gone[part, None])
            np.copyto(of_state, 0, where=gone[part])
            forget = np.where(gone[part], 1, forget)
        for t in reversed(range(part.start, stop)):
            i = t - part.start
            if of_h is not None:
                np.add(d_h, of_h[t], d_h)
            if of_c is not None:
                np.add(d_c, of_c[t], d_c)
            np.multiply(of_state[i], d_h, share)
            np.add(d_c, share, d_c)
            d = slopes[i]
            np.multiply(d[:3], d_c, d[:3])
            np.multiply(d[3], d_h, d[3])
            np.multiply(d_c, forget[i], d_c)
            passed = None if gone is None else np.where(gone[t], d_h, 0)
            d = d.reshape((rows, batch))
            np.dot(turned, d, d_h)
            if passed is not None:
                np.add(d_h, passed, d_h)
            d_x[t] = d.T
    d_weight = None
    if needs[3]:
        d_weight = np.dot(d_x.reshape((-1, rows)).T, _before(h, after[0]))
    return d_x, d_h.T, d_c.T, d_weight, None


def _lstm_slopes(gates: Any, c_before: Any, h: Any, c: Any) -> tuple[Any, Any]:
    """What some steps multiply gradients with, (steps, gates, hidden, batch).

    The gradients of the input's shares of i, f and g are these numbers times the gradient of c, and
    that of o times the gradient of h. The second result is the slope of h by c.
    """
    i, f, g, o = (gates[:, gate] for gate in range(4))
    slopes = np.empty_like(gates)
    of_i, of_f, of_g, of_o = (slopes[:, gate] for gate in range(4))
    share = np.multiply(i, g)  # c = share + f c_before, h = o tanh(c)
    np.multiply(share, g, of_g)
    np.subtract(i, of_g, of_g)
    np.multiply(share, i, of_i)
    np.subtract(share, of_i, of_i)
    np.multiply(f[0], c_before, share[0])
    np.multiply(f[1:], c[:-1], share[1:])
    np.multiply(share, f, of_f)
    np.subtract(share, of_f, of_f)
    np.multiply(h, o, of_o)
    np.subtract(h, of_o, of_o)
    of_c = np.tanh(c, share)
    np.multiply(h, of_c, of_c)
    np.subtract(o, of_c, of_c)
    return slopes, of_c


def _before(start: Any, after: Any) -> Any:
    """The states before all steps, as rows."""
    rows = np.empty((len(after), *start.shape), start.dtype)
    rows[0] = start
    rows[1:] = after[:-1]
    return rows.reshape((-1, start.shape[1]))
