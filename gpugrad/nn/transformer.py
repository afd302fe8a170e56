"""The encoder of a transformer: `TransformerEncoderLayer` and `TransformerEncoder`.

Imports `activations`, `attention`, `dropout`, `linear`, `module` and `normalization`.
"""

import copy
from typing import Any

from gpugrad.errors import DTypeError
from gpugrad.nn.activations import activation_function, activation_name
from gpugrad.nn.attention import MultiheadAttention
from gpugrad.nn.dropout import Dropout
from gpugrad.nn.linear import Linear, check_size, joined
from gpugrad.nn.module import Module
from gpugrad.nn.normalization import LayerNorm
from gpugrad.random import Generator
from gpugrad.tensor import Tensor, as_tensor

__all__ = ["TransformerEncoder", "TransformerEncoderLayer"]


class TransformerEncoderLayer(Module):
    """Self-attention and a network of two layers, each with a residual connection and a LayerNorm.

    Vaswani et al., 2017. ``d_model`` features, ``nhead`` heads, ``dim_feedforward`` features
    between the two Linear layers, ``activation`` after the first of them: a name, a callable or a
    Module class. ``norm_first`` normalizes the input of each part instead of the sum after it.
    Sequences are (length, batch, d_model), with ``batch_first`` (batch, length, d_model), or
    (length, d_model). The parameters have PyTorch's names.

    >>> import gpugrad as gg
    >>> layer = gg.nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> layer(gg.ones((3, 5, 8))).shape
    (3, 5, 8)
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Any = "relu", layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, *, dtype: Any = None, device: Any = None,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        who = "TransformerEncoderLayer"
        wide = check_size(who, "dim_feedforward", dim_feedforward)
        kwargs: dict[str, Any] = {"dtype": dtype, "device": device}
        drawn: dict[str, Any] = {**kwargs, "generator": generator}
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, **drawn
        )
        self.linear1 = Linear(d_model, wide, bias, **drawn)
        self.linear2 = Linear(wide, d_model, bias, **drawn)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, **kwargs)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, **kwargs)
        self.dropout = Dropout(dropout, generator=generator)
        self.dropout1 = Dropout(dropout, generator=generator)
        self.dropout2 = Dropout(dropout, generator=generator)
        self.activation = activation_function(who, activation)
        self.norm_first = norm_first

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Tensor:
        """The layer of ``src``; the masks are those of `MultiheadAttention`."""
        x = as_tensor(src)
        masks = (src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            x = x + self._attended(self.norm1(x), *masks)
            return x + self._fed_forward(self.norm2(x))
        x = self.norm1(x + self._attended(x, *masks))
        normalized: Tensor = self.norm2(x + self._fed_forward(x))
        return normalized

    def _attended(self, x: Tensor, mask: Any, padding: Any, is_causal: bool) -> Tensor:
        y, _ = self.self_attn(
            x, x, x, padding, need_weights=False, attn_mask=mask, is_causal=is_causal
        )
        dropped: Tensor = self.dropout1(y)
        return dropped

    def _fed_forward(self, x: Tensor) -> Tensor:
        y = None if self.activation is None else joined(self.linear1, self.activation, x)
        if y is None:
            y = self.linear1(x)
            y = y if self.activation is None else self.activation(y)
        dropped: Tensor = self.dropout2(self.linear2(self.dropout(y)))
        return dropped

    def extra_repr(self) -> str:
        return f"activation={activation_name(self.activation)}, norm_first={self.norm_first}"


class TransformerEncoder(Module):
    """Several layers, copies of ``encoder_layer``, and a ``norm`` after the last, or None.

    As in PyTorch the copies start with the same values.

    >>> import gpugrad as gg
    >>> layer = gg.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> model = gg.nn.TransformerEncoder(layer, 2, norm=gg.nn.LayerNorm(8))
    >>> model(gg.ones((3, 5, 8)), is_causal=True).shape
    (3, 5, 8)
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        if not isinstance(encoder_layer, Module):
            raise DTypeError(
                f"TransformerEncoder: expected a layer, got {encoder_layer!r}. Write "
                "TransformerEncoder(TransformerEncoderLayer(...), num_layers)"
            )
        count = check_size("TransformerEncoder", "num_layers", num_layers)
        self.layers = [copy.deepcopy(encoder_layer) for _ in range(count)]
        if norm is not None and not callable(norm):
            raise DTypeError(f"TransformerEncoder: norm must be a Module or None, got {norm!r}")
        self.norm = norm

    def forward(
        self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """All layers of ``src``; the masks are those of `MultiheadAttention`."""
        x = as_tensor(src)
        for layer in self.layers:
            x = layer(x, mask, src_key_padding_mask, is_causal)
        return x if self.norm is None else self.norm(x)
