"""Recurrent layers, each all time steps in one op with a joint rule. Imports engine.op and ops.

The op starts from ``x``, the input's share of the pre-activations of all steps, (length, batch,
gates * hidden), which one product of matrices gives. A step adds the state's share,
``state @ weight.T``, and applies the cell. ``mask``, (length, batch, 1) or None, is True where a
step counts; elsewhere the state passes on as it is.

A `Cell` says what one step does and how a gradient passes back through it. The gradients of the
weight and of the input are products over all steps at once.
"""

from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.engine.op import Op, Sample, op, part
from gpugrad.ops.dtypes import refuse_complex

Arrays = Sequence[Any]


class Cell:
    """One step of a recurrent layer, forward and backward.

    ``keeps`` says whether a step keeps its gates for the gradient, beside the states.
    """

    keeps = True

    def gates(self, xp: Any, x: Any, product: Any, bias: Any) -> Any:
        """What is kept of a step, by the shares of input and state."""
        raise NotImplementedError

    def advance(self, xp: Any, gates: Any, states: Arrays) -> Arrays:
        """The new states."""
        raise NotImplementedError

    def back(
        self, xp: Any, d: Arrays, of_gates: Any, gates: Any, before: Arrays, after: Arrays
    ) -> tuple[Any, Any, Arrays]:
        """The gradients of the input, of the product and, directly, of the states before.

        They are given those of the new states and, or None, of what is kept.
        """
        raise NotImplementedError


def _quarter(x: Any, index: int) -> Any:
    """One of four gates, which lie side by side."""
    size = x.shape[-1] // 4
    return x[..., index * size : (index + 1) * size]


def _plus(product: Any, x: Any) -> Any:
    """The pre-activations, where they can be in the memory of the product, which is new."""
    if product.dtype != x.dtype:
        return product + x
    product += x
    return product


class _Lstm(Cell):
    """i, f, o = sigmoid, g = tanh; c' = f c + i g, h' = o tanh(c').

    Keeps g, i, f and o, (batch, 4, hidden), of which a namespace chooses how they lie in memory.
    """

    def gates(self, xp: Any, x: Any, product: Any, bias: Any) -> Any:
        product = _plus(product, x)
        size = x.shape[-1] // 4
        y = xp.sigmoid(product)
        g = xp.tanh(_quarter(product, 2))
        kept = xp.concat([g, y[:, : 2 * size], _quarter(y, 3)], axis=-1)
        return kept.reshape((-1, 4, size))

    def advance(self, xp: Any, gates: Any, states: Arrays) -> Arrays:
        g, i, f, o = (gates[:, index] for index in range(4))
        c = f * states[1] + i * g
        return o * xp.tanh(c), c

    def back(
        self, xp: Any, d: Arrays, of_gates: Any, gates: Any, before: Arrays, after: Arrays
    ) -> tuple[Any, Any, Arrays]:
        g, i, f, o = (gates[:, index] for index in range(4))
        squashed = xp.tanh(after[1])
        d_h, d_c = d
        d_c = d_c + d_h * (o * (1 - squashed * squashed))
        d_i, d_f, d_g, d_o = d_c * g, d_c * before[1], d_c * i, d_h * squashed
        if of_gates is not None:
            of_g, of_i, of_f, of_o = (of_gates[:, index] for index in range(4))
            d_i, d_f, d_g, d_o = d_i + of_i, d_f + of_f, d_g + of_g, d_o + of_o
        slopes = xp.concat([i - i * i, f - f * f, 1 - g * g, o - o * o], axis=-1)
        d_x = xp.concat([d_i, d_f, d_g, d_o], axis=-1) * slopes
        return d_x, d_x, (None, d_c * f)


class _Gru(Cell):
    """r, z = sigmoid, n = tanh(x + r q), h' = (1 - z) n + z h. Keeps r, z, n and q.

    q is the state's share of the candidate n, with its bias.
    """

    def gates(self, xp: Any, x: Any, product: Any, bias: Any) -> Any:
        size = x.shape[-1] // 3
        gates = xp.sigmoid(product[:, : 2 * size] + x[:, : 2 * size])
        q = product[:, 2 * size :] + bias
        n = xp.tanh(x[:, 2 * size :] + gates[:, :size] * q)
        return xp.concat([gates, n, q], axis=-1)

    def advance(self, xp: Any, gates: Any, states: Arrays) -> Arrays:
        z, n = _quarter(gates, 1), _quarter(gates, 2)
        return (n + z * (states[0] - n),)

    def back(
        self, xp: Any, d: Arrays, of_gates: Any, gates: Any, before: Arrays, after: Arrays
    ) -> tuple[Any, Any, Arrays]:
        r, z, n, q = (_quarter(gates, index) for index in range(4))
        (d_h,) = d
        d_z, d_n = d_h * (before[0] - n), d_h - d_h * z
        if of_gates is not None:
            d_z, d_n = d_z + _quarter(of_gates, 1), d_n + _quarter(of_gates, 2)
        d_n = d_n * (1 - n * n)
        d_r, d_q = d_n * q, d_n * r
        if of_gates is not None:
            d_r, d_q = d_r + _quarter(of_gates, 0), d_q + _quarter(of_gates, 3)
        d_r, d_z = d_r * (r - r * r), d_z * (z - z * z)
        d_x = xp.concat([d_r, d_z, d_n], axis=-1)
        return d_x, xp.concat([d_r, d_z, d_q], axis=-1), (d_h * z,)


class _Elman(Cell):
    """h' = tanh(x + product), or relu."""

    keeps = False

    def __init__(self, nonlinearity: str) -> None:
        self.nonlinearity = nonlinearity

    def gates(self, xp: Any, x: Any, product: Any, bias: Any) -> Any:
        return getattr(xp, self.nonlinearity)(_plus(product, x))

    def advance(self, xp: Any, gates: Any, states: Arrays) -> Arrays:
        return (gates,)

    def back(
        self, xp: Any, d: Arrays, of_gates: Any, gates: Any, before: Arrays, after: Arrays
    ) -> tuple[Any, Any, Arrays]:
        (h,) = after
        relu = self.nonlinearity == "relu"
        slope = xp.logical_not(h <= 0).astype(h.dtype) if relu else 1 - h * h
        d_x = d[0] * slope
        return d_x, d_x, (None,)


def _states(
    xp: Any, cell: Cell, gates_of: Callable[[int, Arrays], Any], start: Arrays, mask: Any,
    length: int,
) -> Arrays:  # fmt: skip
    """The states after each step, (length, batch, hidden)."""
    states = start
    after: list[list[Any]] = [[] for _ in start]
    for t in range(length):
        new = cell.advance(xp, gates_of(t, states), states)
        if mask is not None:
            new = [xp.where(mask[t], one, state) for one, state in zip(new, states, strict=True)]
        for sequence, state in zip(after, new, strict=True):
            sequence.append(state)
        states = new
    return tuple(xp.stack(sequence, axis=0) for sequence in after)


def _forward(
    xp: Any, cell: Cell, x: Any, start: Arrays, weight: Any, bias: Any, mask: Any
) -> tuple[Arrays, Any]:
    """The states after each step, and what all steps keep."""
    refuse_complex(x)
    turned = xp.copy(weight.T)
    kept: list[Any] = []

    def gates_of(t: int, states: Arrays) -> Any:
        kept.append(cell.gates(xp, x[t], xp.matmul(states[0], turned), bias))
        return kept[-1]

    after = _states(xp, cell, gates_of, start, mask, x.shape[0])
    return after, xp.stack(kept, axis=0) if cell.keeps else None


def _replayed(xp: Any, cell: Cell, kept: Any, start: Arrays, mask: Any) -> Arrays:
    """The states after each step, by what was kept."""
    return _states(xp, cell, lambda t, states: kept[t], start, mask, kept.shape[0])


def _backward(
    xp: Any, cell: Cell, needs: tuple[bool, ...], gs: Arrays, of_kept: Any, start: Arrays,
    weight: Any, mask: Any, after: Arrays, kept: Any,
) -> tuple[Any, ...]:  # fmt: skip
    """The gradients of x, the first states, the weight and the bias.

    They are given those of the states after each step and of what was kept, each of them or None.
    """
    length, hidden = after[0].shape[0], after[0].shape[-1]
    before = [
        xp.concat([first[None], sequence[:-1]], axis=0)
        for first, sequence in zip(start, after, strict=True)
    ]
    d = [xp.zeros_like(first) for first in start]
    d_x, d_product = [], []
    for t in reversed(range(length)):
        d = [one if g is None else one + g[t] for one, g in zip(d, gs, strict=True)]
        passed: Arrays = [None] * len(d)
        if mask is not None:
            passed = [xp.where(mask[t], 0, one) for one in d]
            d = [xp.where(mask[t], one, 0) for one in d]
        gates, product, direct = cell.back(
            xp,
            d,
            None if of_kept is None else of_kept[t],
            None if kept is None else kept[t],
            [sequence[t] for sequence in before],
            [sequence[t] for sequence in after],
        )
        d_x.append(gates)
        d_product.append(product)
        recurrent = [xp.matmul(product, weight), *[None] * (len(d) - 1)]
        d = [_sum(*terms) for terms in zip(recurrent, direct, passed, strict=True)]
    whole = xp.stack(d_x[::-1], axis=0)
    products = whole if d_product[0] is d_x[0] else xp.stack(d_product[::-1], axis=0)
    d_weight = d_bias = None
    if needs[1]:
        rows = products.reshape((-1, products.shape[-1]))
        d_weight = xp.matmul(rows.T, before[0].reshape((-1, hidden)))
    if needs[2]:
        d_bias = xp.sum(products[..., -hidden:], axis=(0, 1))
    return whole, d, d_weight, d_bias


def _sum(*terms: Any) -> Any:
    """The sum of those that are not None."""
    there = [term for term in terms if term is not None]
    return sum(there[1:], there[0])


# ---------------------------------------------------------------- the entries

LSTM, GRU = _Lstm(), _Gru()


def _lstm_steps(xp: Any, x: Any, h: Any, c: Any, weight: Any, mask: Any) -> tuple[Arrays, Any]:
    return _forward(xp, LSTM, x, (h, c), weight, None, mask)


def _lstm_steps_vjp(
    xp: Any, gs: Arrays, of_kept: Any, needs: tuple[bool, ...], h: Any, c: Any, weight: Any,
    mask: Any, after: Arrays, kept: Any,
) -> tuple[Any, ...]:  # fmt: skip
    wanted = (True, needs[3], False)
    d_x, d, d_weight, _ = _backward(
        xp, LSTM, wanted, gs, of_kept, (h, c), weight, mask, after, kept
    )
    return d_x, *d, d_weight, None


def _lstm_layer(
    xp: Any, x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias: Any, mask: Any
) -> tuple[Arrays, Any]:
    share = xp.linear(x, weight_ih, bias)
    results: tuple[Arrays, Any] = xp.lstm_steps(share, h, c, weight_hh, mask)
    return results


def _lstm_layer_vjp(
    xp: Any, gs: Arrays, of_kept: Any, needs: tuple[bool, ...], x: Any, h: Any, c: Any,
    weight_ih: Any, weight_hh: Any, bias: Any, mask: Any, after: Arrays, kept: Any,
) -> tuple[Any, ...]:  # fmt: skip
    of_steps = (True, needs[1], needs[2], needs[4])
    d_share, d_h, d_c, d_hh, _ = xp.lstm_steps_vjp(
        gs, of_kept, of_steps, h, c, weight_hh, mask, after, kept
    )
    of_input = (needs[0], needs[3], needs[5])
    d_x, d_ih, d_bias = xp.linear_vjp(d_share, of_input, x, weight_ih, bias)
    return d_x, d_h, d_c, d_ih, d_hh, d_bias, None


def _lstm(
    xp: Any, x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias: Any = None,
    mask: Any = None, /,
) -> tuple[Arrays, Any]:  # fmt: skip
    results: tuple[Arrays, Any] = xp.lstm_layer(x, h, c, weight_ih, weight_hh, bias, mask)
    return results


def _lstm_kept(
    xp: Any, x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias: Any = None,
    mask: Any = None, /,
) -> Any:  # fmt: skip
    return _lstm(xp, x, h, c, weight_ih, weight_hh, bias, mask)[1]


def _gru_steps(xp: Any, x: Any, h: Any, weight: Any, bias: Any, mask: Any) -> tuple[Any, Any]:
    (after,), kept = _forward(xp, GRU, x, (h,), weight, bias, mask)
    return after, kept


def _gru(xp: Any, x: Any, h: Any, weight: Any, bias: Any, mask: Any = None, /) -> tuple[Any, Any]:
    results: tuple[Any, Any] = xp.gru_steps(x, h, weight, bias, mask)
    return results


def _gru_kept(xp: Any, x: Any, h: Any, weight: Any, bias: Any, mask: Any = None, /) -> Any:
    return _gru(xp, x, h, weight, bias, mask)[1]


def _gru_steps_vjp(
    xp: Any, g: Any, of_kept: Any, needs: tuple[bool, ...], h: Any, weight: Any, mask: Any,
    after: Any, kept: Any,
) -> tuple[Any, ...]:  # fmt: skip
    wanted = (True, needs[2], needs[3])
    d_x, (d_h,), d_weight, d_bias = _backward(
        xp, GRU, wanted, (g,), of_kept, (h,), weight, mask, (after,), kept
    )
    return d_x, d_h, d_weight, d_bias, None


def _elman(
    xp: Any, x: Any, h: Any, weight: Any, mask: Any = None, /, nonlinearity: str = "tanh"
) -> Any:
    (after,), _ = _forward(xp, _Elman(nonlinearity), x, (h,), weight, None, mask)
    return after


def _elman_vjp(
    xp: Any, g: Any, needs: tuple[bool, ...], h: Any, weight: Any, mask: Any, after: Any,
    nonlinearity: str,
) -> tuple[Any, ...]:  # fmt: skip
    wanted = (True, needs[2], False)
    d_x, (d_h,), d_weight, _ = _backward(
        xp, _Elman(nonlinearity), wanted, (g,), None, (h,), weight, mask, (after,), None
    )
    return d_x, d_h, d_weight, None


part("lstm_steps", _lstm_steps)
part("lstm_steps_vjp", _lstm_steps_vjp)
part("lstm_layer", _lstm_layer)
part("lstm_layer_vjp", _lstm_layer_vjp)
part("elman_vjp", _elman_vjp)
part("gru_steps", _gru_steps)
part("gru_steps_vjp", _gru_steps_vjp)
# fmt: off
op("lstm", _lstm, outputs=True, partial=True,
   vjp_all=lambda xp, gs, ys, needs, *operands: xp.lstm_layer_vjp(
       gs, None, needs, *operands[:-1], ys, operands[-1]),
   residuals={"kept": Op(
       "lstm_kept", _lstm_kept,
       vjp_all=lambda xp, g, y, needs, *operands: xp.lstm_layer_vjp(
           (None, None), g, needs, *operands,
           _replayed(xp, LSTM, y, operands[1:3], operands[-1]), y),
       saves="x h c weight_ih weight_hh mask y")},
   saves="x h c weight_ih weight_hh mask kept y",
   samples=[Sample((3, 2, 3), (2, 2), (2, 2), (8, 3), (8, 2), (8,), (3, 2, 1))],
   operands="real real real real real real mask", public="", shown="LSTM", autocast="half",
   doc="The states h and c after each step of a long short-term memory.")
op("gru", _gru,
   vjp_all=lambda xp, g, y, needs, x, h, weight, bias, mask, kept: xp.gru_steps_vjp(
       g, None, needs, h, weight, mask, y, kept),
   residuals={"kept": Op(
       "gru_kept", _gru_kept,
       vjp_all=lambda xp, g, y, needs, x, h, weight, bias, mask: xp.gru_steps_vjp(
           None, g, needs, h, weight, mask, _replayed(xp, GRU, y, (h,), mask)[0], y),
       saves="h weight mask y")},
   saves="h weight mask kept y",
   samples=[Sample((3, 2, 6), (2, 2), (6, 2), (2,), (3, 2, 1))],
   operands="real real real real mask", public="", shown="GRU", autocast="half",
   doc="The state after each step of a gated recurrent unit.")
op("elman", _elman,
   vjp_all=lambda xp, g, y, needs, x, h, weight, mask, nonlinearity: xp.elman_vjp(
       g, needs, h, weight, mask, y, nonlinearity),
   saves="h weight mask y",
   samples=[Sample((3, 2, 2), (2, 2), (2, 2), (3, 2, 1)),
            Sample((3, 1, 2), (1, 2), (2, 2), (3, 1, 1), nonlinearity="relu")],
   operands="real real real mask", public="", shown="RNN", autocast="half",
   doc="The state after each step of a simple recurrent network: tanh(x + h @ weight.T), or relu.")
# fmt: on
