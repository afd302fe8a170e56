"""Recurrent layers: `RNN`, `LSTM`, `GRU` and their cells.

Imports `dropout`, `init`, `linear`, `module`, `parameter` and random.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.nn import init
from gpugrad.nn.dropout import check_probability, dropout
from gpugrad.nn.linear import check_size, linear
from gpugrad.nn.module import Module
from gpugrad.nn.parameter import Parameter
from gpugrad.random import Generator
from gpugrad.tensor import OPS, Tensor, arange, as_tensor, empty, zeros

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]

_concat, _where = (FUNCTIONS[name] for name in ("concat", "where"))
_lstm, _gru, _elman = (OPS[name] for name in ("lstm", "gru", "elman"))

States = tuple[Tensor, ...]


class _Recurrent(Module):
    """What layers and cells share: parameters, and the op over all steps of one direction."""

    gates = 1
    states = 1  # h, and for an LSTM c
    hidden_size: int

    def _add_parameters(
        self, suffix: str, inputs: int, hidden: int, bias: bool, **kwargs: Any
    ) -> None:
        rows = self.gates * hidden
        shapes: dict[str, tuple[int, ...]]
        shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, hidden)}
        if bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        for name, shape in shapes.items():
            setattr(self, name + suffix, Parameter(empty(shape, **kwargs)))

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw all parameters anew, uniform on ±1/√hidden_size."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound, generator=generator)

    def _run(self, suffix: str, x: Tensor, states: States, mask: Tensor | None) -> States:
        """The states after each step, (length, batch, hidden), of x, (length, batch, inputs)."""
        weight_ih, weight_hh, bias_ih, bias_hh = (
            getattr(self, name + suffix, None)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        return self._steps(x, weight_ih, weight_hh, bias_ih, bias_hh, states, mask)

    def _steps(
        self, x: Tensor, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any,
        states: States, mask: Tensor | None,
    ) -> States:  # fmt: skip
        raise NotImplementedError


class _Elman(_Recurrent):
    """The steps of a simple recurrent network."""

    nonlinearity: str

    def _steps(
        self, x: Tensor, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any,
        states: States, mask: Tensor | None,
    ) -> States:  # fmt: skip
        share = linear(x, weight_ih, None if bias_ih is None else bias_ih + bias_hh)
        return (_elman(share, *states, weight_hh, mask, nonlinearity=self.nonlinearity),)


class _Lstm(_Recurrent):
    """The steps of a long short-term memory."""

    gates = 4
    states = 2

    def _steps(
        self, x: Tensor, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any,
        states: States, mask: Tensor | None,
    ) -> States:  # fmt: skip
        bias = None if bias_ih is None else bias_ih + bias_hh
        after: States = _lstm(x, *states, weight_ih, weight_hh, bias, mask)
        return after


class _Gru(_Recurrent):
    """The steps of a gated recurrent unit."""

    gates = 3

    def _steps(
        self, x: Tensor, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any,
        states: States, mask: Tensor | None,
    ) -> States:  # fmt: skip
        hidden = weight_hh.shape[1]
        if bias_ih is None:
            bias, candidate = None, zeros((hidden,), dtype=weight_hh.dtype, device=x.device)
        else:  # that of the candidate's share of the state counts before r multiplies it
            candidate = bias_hh[2 * hidden :]
            bias = bias_ih + _concat([bias_hh[: 2 * hidden], 0 * candidate])
        return (_gru(linear(x, weight_ih, bias), *states, weight_hh, candidate, mask),)


class _Layers(_Recurrent):
    """Layers one on the other, in one direction or both."""

    weight_hh_l0: Parameter
    _shown = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
              "bidirectional")  # fmt: skip

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, *,
        dtype: Any = None, device: Any = None, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        who = type(self).__name__
        self.input_size = check_size(who, "input_size", input_size)
        self.hidden_size = check_size(who, "hidden_size", hidden_size)
        self.num_layers = check_size(who, "num_layers", num_layers)
        self.bias = bool(bias)
        self.batch_first = bool(batch_first)
        self.dropout = check_probability(who, dropout)
        self.bidirectional = bool(bidirectional)
        self.generator = generator
        kwargs = {"dtype": dtype, "device": device}
        for layer, suffixes in enumerate(self._suffixes()):
            size = self.hidden_size * len(suffixes) if layer else self.input_size
            for suffix in suffixes:
                self._add_parameters(suffix, size, self.hidden_size, bias, **kwargs)
        self.reset_parameters(generator)

    def _suffixes(self) -> Iterator[tuple[str, ...]]:
        """For each layer the ends of its parameters' names, one for each direction."""
        for layer in range(self.num_layers):
            yield (f"_l{layer}", f"_l{layer}_reverse")[: 1 + self.bidirectional]

    def forward(self, x: Any, hx: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        """The states of the last layer after each step, and those of all layers after the last.

        x is (length, batch, input_size), with ``batch_first`` (batch, length, input_size), or
        (length, input_size); the first result has hidden_size, or for both directions twice as
        many features. ``hx`` are the states before the first step, zeros where it is None:
        (layers * directions, batch, hidden_size), for an LSTM two of them, (h, c); the second
        result is like it.

        ``lengths`` has the length of each sequence of a padded batch. What is behind the end of a
        sequence changes nothing, its states are zero in the first result, the second one has those
        at its end, and the other direction begins there. It takes the place of PyTorch's packed
        sequences.
        """
        x, single = self._sequence(x)
        states = self._first_states(hx, x, single)
        mask = None if lengths is None else self._mask(lengths, x)
        back = None if mask is None else self._backward_order(lengths, x)
        if mask is not None:  # a NaN times a gradient of zero would be one
            x = _where(mask, x, 0)
        last: list[States] = []
        for layer, suffixes in enumerate(self._suffixes()):
            if layer and self.training and self.dropout:
                x = dropout(x, self.dropout, generator=self.generator)
            outputs = []
            for suffix in suffixes:
                start = tuple(state[len(last)] for state in states)
                reverse = suffix.endswith("_reverse")
                after = self._run(suffix, _reversed(x, back) if reverse else x, start, mask)
                last.append(tuple(state[-1:] for state in after))
                y = after[0] if mask is None else _where(mask, after[0], 0)
                outputs.append(_reversed(y, back) if reverse else y)
            x = outputs[0] if len(outputs) == 1 else _concat(outputs, axis=-1)
        ends = last[0] if len(last) == 1 else tuple(map(_concat, zip(*last, strict=True)))
        if single:
            x, ends = x[:, 0], tuple(end[:, 0] for end in ends)
        elif self.batch_first:
            x = x.transpose((1, 0, 2))
        return x, ends if self.states > 1 else ends[0]

    def _sequence(self, x: Any) -> tuple[Tensor, bool]:
        """The input as (length, batch, features), and whether it is one sequence."""
        who, x = type(self).__name__, as_tensor(x)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            order = "batch, length" if self.batch_first else "length, batch"
            raise ShapeError(
                f"{who}: expected ({order}, {self.input_size}) or (length, {self.input_size}), got "
                f"{x.shape}"
            )
        single = x.ndim == 2
        if single:
            x = x[:, None]
        elif self.batch_first:
            x = x.transpose((1, 0, 2))
        if not x.shape[0]:
            raise ShapeError(f"{who}: expected a sequence of one step or more, got none")
        return x, single

    def _first_states(self, hx: Any, x: Tensor, single: bool) -> States:
        count = self.num_layers * (1 + self.bidirectional)
        shape = (count, x.shape[1], self.hidden_size)
        if hx is None:
            return (zeros(shape, dtype=self.weight_hh_l0.dtype, device=x.device),) * self.states
        return _checked(self, hx, shape, (1,) if single else ())

    def _mask(self, lengths: Any, x: Tensor) -> Tensor:
        """Which steps count, (length, batch, 1)."""
        who = type(self).__name__
        if not hasattr(lengths, "shape"):
            lengths = np.asarray(lengths)
        if lengths.shape != x.shape[1:2] or lengths.dtype.kind not in "iu":
            raise ShapeError(
                f"{who}: lengths must be {x.shape[1]} whole numbers, one for each sequence, got "
                f"{lengths.dtype} of shape {lengths.shape}"
            )
        on_host = lengths if isinstance(lengths, np.ndarray) else None
        if on_host is not None and on_host.size:
            low, high = on_host.min(), on_host.max()
            if low < 0 or high > x.shape[0]:
                raise ShapeError(
                    f"{who}: lengths must be from 0 to {x.shape[0]}, got {low} to {high}"
                )
        steps = arange(x.shape[0], device=x.device, dtype="int64")
        return steps[:, None, None] < _beside(lengths, x)[:, None]

    def _backward_order(self, lengths: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        """Indices of the steps of each sequence from its end, and then of what is behind it."""
        steps = arange(x.shape[0], device=x.device, dtype="int64")[:, None]
        ends = _beside(lengths, x)
        order = _where(steps < ends, ends - 1 - steps, steps)
        return order, arange(x.shape[1], device=x.device, dtype="int64")


def _beside(lengths: Any, x: Tensor) -> Tensor:
    return as_tensor(np.asarray(lengths) if isinstance(lengths, list | tuple) else lengths).to(
        device=x.device
    )


def _reversed(x: Tensor, order: tuple[Tensor, Tensor] | None) -> Tensor:
    return x[::-1] if order is None else x[order]


def _checked(layer: Any, hx: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> States:
    """The given states; ``axes`` are those to put in for a single sequence."""
    who = type(layer).__name__
    given = hx if layer.states > 1 else (hx,)
    if not isinstance(given, tuple | list) or len(given) != layer.states:
        raise DTypeError(f"{who}: the states must be two tensors, (h, c), got {type(hx).__name__}")
    states = tuple(as_tensor(state) for state in given)
    for state in states:
        expected = tuple(n for axis, n in enumerate(shape) if axis not in axes)
        if state.shape != expected:
            raise ShapeError(f"{who}: a state must have shape {expected}, got {state.shape}")
    return tuple(state.reshape(shape) for state in states)


class RNN(_Layers, _Elman):
    """``h = tanh(W_ih x + b_ih + W_hh h + b_hh)`` for each step of a sequence (Elman, 1990).

    ``num_layers`` of them one on the other, with ``dropout`` between them in training, and with
    ``bidirectional`` a second one each that begins at the end. ``nonlinearity`` is "tanh" or
    "relu". Parameters have PyTorch's names and shapes, ``weight_ih_l0`` and so on, and start
    uniform on ±1/√hidden_size. Call it with ``(x, hx=None, lengths=None)``, see `forward`.

    >>> import gpugrad as gg
    >>> layer = gg.nn.RNN(3, 8, batch_first=True)
    >>> y, h = layer(gg.ones((2, 5, 3)))
    >>> y.shape, h.shape
    ((2, 5, 8), (1, 2, 8))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
        bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, **kwargs: Any,
    ) -> None:  # fmt: skip
        self.nonlinearity = _check_nonlinearity("RNN", nonlinearity)
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, **kwargs
        )


def _check_nonlinearity(who: str, nonlinearity: Any) -> str:
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{who}: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
    return str(nonlinearity)


class LSTM(_Layers, _Lstm):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997), as PyTorch's, with forget gates.

    i, f, o = sigmoid and g = tanh of ``W_ih x + b_ih + W_hh h + b_hh``; c becomes f c + i g, and h
    becomes o tanh(c). The arguments are those of `RNN`. A state is a pair (h, c).

    >>> import gpugrad as gg
    >>> layer = gg.nn.LSTM(3, 8, bidirectional=True, batch_first=True)
    >>> y, (h, c) = layer(gg.ones((2, 5, 3)), lengths=[5, 2])
    >>> y.shape, h.shape, y[1, 3].tolist() == [0.0] * 16
    ((2, 5, 16), (2, 2, 8), True)
    """


class GRU(_Layers, _Gru):
    """Gated recurrent units (Cho et al., 2014), as PyTorch's.

    r, z = sigmoid of ``W_ih x + b_ih + W_hh h + b_hh``, n = tanh(W_in x + b_in + r (W_hn h +
    b_hn)), and h becomes (1 - z) n + z h. The arguments are those of `RNN`.

    >>> import gpugrad as gg
    >>> y, h = gg.nn.GRU(3, 8, num_layers=2)(gg.ones((5, 2, 3)))
    >>> y.shape, h.shape
    ((5, 2, 8), (2, 2, 8))
    """


class _Cell(_Recurrent):
    """One step, for a loop of one's own."""

    weight_hh: Parameter
    _shown = ("input_size", "hidden_size", "bias")

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: Any = None,
        device: Any = None, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        who = type(self).__name__
        self.input_size = check_size(who, "input_size", input_size)
        self.hidden_size = check_size(who, "hidden_size", hidden_size)
        self.bias = bool(bias)
        self._add_parameters("", input_size, hidden_size, bias, dtype=dtype, device=device)
        self.reset_parameters(generator)

    def forward(self, x: Any, hx: Any = None) -> Any:
        """The state after a step of x, (batch, input_size) or (input_size,), from the one before.

        ``hx`` is (batch, hidden_size) or (hidden_size,), zeros where it is None; for an LSTM both
        are pairs (h, c).
        """
        who, x = type(self).__name__, as_tensor(x)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{who}: expected (batch, {self.input_size}) or ({self.input_size},), got {x.shape}"
            )
        rows = x.reshape((1, -1, self.input_size))
        shape = (rows.shape[1], self.hidden_size)
        if hx is None:
            start = (zeros(shape, dtype=self.weight_hh.dtype, device=x.device),) * self.states
        else:
            start = _checked(self, hx, shape, (0,) if x.ndim == 1 else ())
        after = tuple(
            state.reshape((*x.shape[:-1], self.hidden_size))
            for state in self._run("", rows, start, None)
        )
        return after if self.states > 1 else after[0]


class RNNCell(_Cell, _Elman):
    """One step of `RNN`.

    >>> import gpugrad as gg
    >>> gg.nn.RNNCell(3, 8)(gg.ones((2, 3))).shape
    (2, 8)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
        **kwargs: Any,
    ) -> None:  # fmt: skip
        self.nonlinearity = _check_nonlinearity("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, **kwargs)


class LSTMCell(_Cell, _Lstm):
    """One step of `LSTM`: from (h, c) to (h, c).

    >>> import gpugrad as gg
    >>> h, c = gg.nn.LSTMCell(3, 8)(gg.ones((2, 3)))
    >>> h.shape
    (2, 8)
    """


class GRUCell(_Cell, _Gru):
    """One step of `GRU`.

    >>> import gpugrad as gg
    >>> gg.nn.GRUCell(3, 8)(gg.ones(3)).shape
    (8,)
    """
