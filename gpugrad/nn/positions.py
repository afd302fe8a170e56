"""Positions for attention, which does not see the order of a sequence.

`sinusoidal_positions` and `PositionalEncoding`, `rotary_embedding` and `RotaryEmbedding`.
Imports `dropout`, `linear`, `module` and tensor.
"""

import math
from typing import Any

from gpugrad.engine.modes import tracing
from gpugrad.errors import ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.functions.operands import check_numbers
from gpugrad.nn.dropout import Dropout
from gpugrad.nn.linear import check_size
from gpugrad.nn.module import Module
from gpugrad.random import Generator
from gpugrad.tensor import Tensor, arange, as_tensor, get_default_dtype

__all__ = ["PositionalEncoding", "RotaryEmbedding", "rotary_embedding", "sinusoidal_positions"]

_concat, _cos, _sin, _stack = (FUNCTIONS[name] for name in ("concat", "cos", "sin", "stack"))


def _angles(who: str, positions: Tensor, features: int, base: float) -> Tensor:
    """Position times frequency, (length, features / 2), in float64.

    The frequencies fall from 1 to nearly 1 / base.
    """
    if features % 2:
        raise ShapeError(f"{who}: the number of features must be even, got {features}")
    exponents = arange(0, features, 2, dtype="float64", device=positions.device)
    check_numbers(who, base=base)
    if not base > 0:
        raise ValueError(f"{who}: base must be positive, got {base!r}")
    frequencies = FUNCTIONS["exp"](exponents * (-math.log(base) / max(features, 1)))
    return positions.astype("float64")[..., None] * frequencies


def sinusoidal_positions(
    length: int, features: int, *, base: float = 10000.0, dtype: Any = None, device: Any = None
) -> Tensor:
    """The table (length, features) of sin(p / base**(2i / features)) and, beside it, the cosine.

    Position p has the sines in the even columns, the cosines in the odd ones (Vaswani et al., 2017,
    section 3.5). ``dtype`` is the default one where it is None. ShapeError for an odd number of
    features.

    >>> import gpugrad as gg
    >>> gg.nn.functional.sinusoidal_positions(2, 4).round(2).tolist()[1]
    [0.8399999737739563, 0.5400000214576721, 0.009999999776482582, 1.0]
    """
    who = "sinusoidal_positions"
    positions = arange(0, check_size(who, "length", length), dtype="float64", device=device)
    angles = _angles(who, positions, check_size(who, "features", features), base)
    table = _stack([_sin(angles), _cos(angles)], axis=-1).reshape((length, features))
    return table.astype(get_default_dtype() if dtype is None else dtype)


class PositionalEncoding(Module):
    """Adds `sinusoidal_positions` to a sequence, and drops elements of the sum in training.

    x is (length, batch, d_model), with ``batch_first`` (batch, length, d_model), or
    (length, d_model). It has no parameters and no greatest length.

    >>> import gpugrad as gg
    >>> layer = gg.nn.PositionalEncoding(4, dropout=0.0)
    >>> layer(gg.zeros((2, 4))).round(2).tolist()[0]
    [0.0, 1.0, 0.0, 1.0]
    """

    _shown = ("d_model", "batch_first")

    def __init__(
        self, d_model: int, dropout: float = 0.1, batch_first: bool = False, *,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.d_model = check_size("PositionalEncoding", "d_model", d_model)
        self.batch_first = batch_first
        self.dropout = Dropout(dropout, generator=generator)
        self._table: Any = None  # raw: it is no part of the state

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if x.ndim not in (2, 3) or x.shape[-1] != self.d_model:
            raise ShapeError(
                f"PositionalEncoding: expected a sequence of {self.d_model} features, got {x.shape}"
            )
        length = x.shape[1 if self.batch_first and x.ndim == 3 else 0]
        if not length:
            return x
        table = None if self._table is None else as_tensor(self._table)
        if (
            table is None
            or len(table) < length
            or (table.dtype, table.device) != (x.dtype, x.device)
        ):
            session = tracing.get()
            try:
                tracing.set(None)  # a compiled function must not record what is kept
                table = sinusoidal_positions(length, self.d_model, dtype=x.dtype, device=x.device)
                self._table = table.data
            finally:
                tracing.set(session)
        table = table[:length]
        if x.ndim == 3 and not self.batch_first:
            table = table[:, None]
        return self.dropout(x + table)


def rotary_embedding(
    x: Any, positions: Any = None, *, base: float = 10000.0, interleaved: bool = False
) -> Tensor:
    """Pairs of features turned by angles that grow with the position (Su et al., "RoFormer", 2021).

    x is (..., length, features): queries or keys, the products of which then depend on the
    difference of their positions. ``positions`` are 0, 1, ... length - 1 where it is None, or of
    shape (length,) or (..., length). Feature i is paired with i + features / 2, or with
    ``interleaved`` each even feature with the next one, as in the paper. ShapeError for an odd
    number of features.

    >>> import gpugrad as gg
    >>> gg.nn.functional.rotary_embedding(gg.ones((2, 2))).round(2).tolist()
    [[1.0, 1.0], [-0.30000001192092896, 1.3799999952316284]]
    """
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"rotary_embedding: expected (..., length, features), got {x.shape}")
    if positions is None:
        positions = arange(0, x.shape[-2], dtype="float64", device=x.device)
    elif not hasattr(positions, "shape"):
        positions = as_tensor(positions, device=x.device)
    positions = as_tensor(positions)
    if positions.shape[-1:] != x.shape[-2:-1]:
        raise ShapeError(
            f"rotary_embedding: expected a position for each of {x.shape[-2]} rows, got "
            f"{positions.shape}"
        )
    angles = _angles("rotary_embedding", positions, x.shape[-1], base)
    cos, sin = _cos(angles).astype(x.dtype), _sin(angles).astype(x.dtype)
    half = x.shape[-1] // 2
    a, b = (x[..., ::2], x[..., 1::2]) if interleaved else (x[..., :half], x[..., half:])
    turned = [a * cos - b * sin, b * cos + a * sin]
    if interleaved:
        return _stack(turned, axis=-1).reshape(x.shape)
    return _concat(turned, axis=-1)


class RotaryEmbedding(Module):
    """`rotary_embedding` with its settings, for queries and keys of ``dim`` features.

    Call it with x, (..., length, dim), and with ``offset``, the position of the first row, where
    earlier ones are kept elsewhere. It has no parameters.

    >>> import gpugrad as gg
    >>> rotary = gg.nn.RotaryEmbedding(2)
    >>> x = gg.ones((3, 2))
    >>> bool((rotary(x)[1:] == rotary(x[1:], offset=1)).all())
    True
    """

    _shown = ("dim", "base", "interleaved")

    def __init__(self, dim: int, base: float = 10000.0, interleaved: bool = False) -> None:
        self.dim = check_size("RotaryEmbedding", "dim", dim)
        self.base = base
        self.interleaved = interleaved

    def forward(self, x: Any, offset: int = 0) -> Tensor:
        x = as_tensor(x)
        if x.ndim < 2 or x.shape[-1] != self.dim:
            raise ShapeError(f"RotaryEmbedding: expected (..., length, {self.dim}), got {x.shape}")
        positions = arange(offset, offset + x.shape[-2], dtype="float64", device=x.device)
        return rotary_embedding(x, positions, base=self.base, interleaved=self.interleaved)
