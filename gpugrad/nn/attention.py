"""Attention: `scaled_dot_product_attention` and `MultiheadAttention`.

Imports `dropout`, `init`, `linear`, `module`, `parameter` and random.
"""

import math
from itertools import accumulate
from typing import Any

import numpy as np

from gpugrad.backend.device import device_of
from gpugrad.backend.precision import kind_of
from gpugrad.engine.modes import levels, tracing
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.functions.operands import without_lists
from gpugrad.nn import init
from gpugrad.nn.dropout import check_probability, dropout
from gpugrad.nn.linear import Linear, check_size, linear_heads
from gpugrad.nn.module import Module
from gpugrad.nn.parameter import Parameter
from gpugrad.ops.attention import BLOCK, spans
from gpugrad.random import Generator, default_generator, philox
from gpugrad.tensor import OPS, Tensor, arange, as_tensor, empty

__all__ = ["MultiheadAttention", "scaled_dot_product_attention"]

Shape = tuple[int, ...]

_attention, _join_heads = OPS["attention"], OPS["join_heads"]
_where, _softmax = FUNCTIONS["where"], FUNCTIONS["softmax"]


class _Dropout:
    """Dropout of the weights of a block: the same elements each time that its number comes.

    A kernel draws them by ``draws``: the key, the first counter, how many a block has, and p.
    """

    def __init__(self, p: float, words: int, blocks: int, generator: Generator) -> None:
        self.draws = (*generator.take(blocks * words), words, p)

    def __call__(self, xp: Any, weights: Any, number: int) -> Any:
        array = weights.data if isinstance(weights, Tensor) else weights
        key, first, words, p = self.draws
        kept = philox.bernoulli(
            device_of(array).xp, key, first + number * words, array.shape, 1.0 - p
        )
        return _scaled_where(xp, kept, weights, p)


class _DrawnDropout:
    """The same, whose elements are drawn at once, as an array.

    A compiled function has others at each call, and each element of a batch its own.
    """

    def __init__(
        self, p: float, words: int, shapes: list[Shape], generator: Generator, device: Any
    ) -> None:
        self.p, self.stops = p, list(accumulate(map(math.prod, shapes), initial=0))

        def masks(xp: Any, key: int, first: int, size: Shape, *rest: Any) -> Any:
            """The masks of all blocks, of each element of a batch, one behind another."""
            drawn = [
                philox.bernoulli(xp, key, first + number * words, (math.prod(shape),), 1.0 - p)
                for number, shape in enumerate(shapes * math.prod(size[:-1]))
            ]
            return xp.concatenate(drawn).reshape(size)

        self.masks = generator.draw(masks, device, (self.stops[-1],), reserve=words * len(shapes))

    def __call__(self, xp: Any, weights: Any, number: int) -> Any:
        mask = self.masks[self.stops[number] : self.stops[number + 1]].reshape(weights.shape)
        return _scaled_where(xp, mask, weights, self.p)


def _scaled_where(xp: Any, kept: Any, weights: Any, p: float) -> Any:
    return xp.where(kept, weights * (1.0 / (1.0 - p)) if p < 1.0 else weights, 0)


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """``softmax(query @ key.mT * scale + mask) @ value`` (Vaswani et al., 2017), in blocks.

    query is (..., L, E), key (..., S, E), value (..., S, Ev), and the result (..., L, Ev); the axes
    in front broadcast. ``scale`` is 1/√E by default. ``attn_mask`` broadcasts to (..., L, S): truth
    values, where True lets a query attend to a key, or numbers that are added. With ``is_causal``
    query i attends to the keys 0 to i. A query that may attend to no key gets zeros. With
    ``enable_gqa`` the axis before L may be a multiple of that of key and value, whose heads then
    serve several query heads each. ``dropout_p`` is the probability with which a weight is set to
    zero, by random numbers of ``generator`` or the default one; there is no training mode here, so
    pass 0 in evaluation.

    The L x S scores are never all in memory, forward and backward, but for ``create_graph``, and
    where a mask that needs a gradient gets one. ShapeError where the shapes do not fit.

    >>> import gpugrad as gg
    >>> x = gg.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> gg.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)[0].tolist()
    [1.0, 0.0]
    """
    who = "scaled_dot_product_attention"
    query, key, value = (as_tensor(array) for array in without_lists(query, key, value))
    p = check_probability(who, dropout_p)
    _check_shapes(who, query, key, value)
    groups = _groups(who, query, key, value) if enable_gqa else 1
    mask = None if attn_mask is None else _bias(who, attn_mask, query)
    q, k, v = query, key, value
    if groups > 1:  # each head of key and value beside the query heads that it serves
        heads = q.shape[-3]
        q = q.reshape((*q.shape[:-3], heads // groups, groups, *q.shape[-2:]))
        k, v = (array.reshape((*array.shape[:-2], 1, *array.shape[-2:])) for array in (k, v))
        mask = None if mask is None else _grouped(mask, heads, groups)
    _check_mask(who, mask, q, k, v)
    scale = 1.0 / math.sqrt(max(q.shape[-1], 1)) if scale is None else scale
    drop = _dropped(p, generator, q, k, v) if p else None
    y: Tensor = _attention(q, k, v, mask, scale=scale, causal=bool(is_causal), keep=drop)
    return y if groups == 1 else y.reshape((*query.shape[:-1], value.shape[-1]))


def _check_shapes(who: str, query: Tensor, key: Tensor, value: Tensor) -> None:
    shapes = f"got query {query.shape}, key {key.shape}, value {value.shape}"
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise ShapeError(
            f"{who}: expected (..., length, features) for query, key and value; {shapes}"
        )
    if query.shape[-1] != key.shape[-1]:
        raise ShapeError(f"{who}: query and key must have equally many features; {shapes}")
    if key.shape[-2] != value.shape[-2]:
        raise ShapeError(f"{who}: key and value must have the same length; {shapes}")


def _groups(who: str, query: Tensor, key: Tensor, value: Tensor) -> int:
    """How many query heads share a head of key and value."""
    if min(query.ndim, key.ndim, value.ndim) < 3:
        raise ShapeError(f"{who}: enable_gqa needs an axis of heads before the length")
    heads, shared = query.shape[-3], key.shape[-3]
    if value.shape[-3] != shared or not shared or heads % shared:
        raise ShapeError(
            f"{who}: with enable_gqa the query heads must be a multiple of those of key and value, "
            f"got {heads}, {shared} and {value.shape[-3]}"
        )
    return heads // shared


def _as_mask(mask: Any, beside: Tensor) -> Tensor:
    """A mask as a Tensor; a list goes to the device of the operand."""
    return as_tensor(mask) if hasattr(mask, "shape") else as_tensor(mask, device=beside.device)


def _bias(who: str, mask: Any, beside: Tensor, refuses: bool = False) -> Tensor:
    """A mask as numbers to add to the scores: of truth values, 0 for True and -inf for False.

    The other way round for one that ``refuses`` keys.
    """
    mask = _as_mask(mask, beside)
    if mask.dtype.kind == "b":
        number = np.dtype(_float_of(beside)).type
        choices = (number(-math.inf), number(0))
        mask = _where(mask, *(choices if refuses else choices[::-1]))
    elif kind_of(mask.dtype) != "f":
        raise DTypeError(
            f"{who}: a mask is of truth values or floating-point numbers, got {mask.dtype}"
        )
    return mask if mask.ndim > 1 else mask.reshape((1,) * (2 - mask.ndim) + mask.shape)


def _float_of(x: Tensor) -> Any:
    return x.dtype if kind_of(x.dtype) == "f" else "float32"


def _grouped(mask: Tensor, heads: int, groups: int) -> Tensor:
    """A mask with its axis of heads, if it has one, split like that of the queries."""
    if mask.ndim < 3:
        return mask
    split = (heads // groups, groups) if mask.shape[-3] == heads else (mask.shape[-3], 1)
    return mask.reshape((*mask.shape[:-3], *split, *mask.shape[-2:]))


def _check_mask(who: str, mask: Tensor | None, q: Tensor, k: Tensor, v: Tensor) -> None:
    """ShapeError unless the axes in front broadcast, and the mask to all scores."""
    shapes = [array.shape[:-2] for array in (q, k, v)]
    batch = _broadcast(*shapes)
    if batch is None:
        raise ShapeError(f"{who}: the axes before length and features must broadcast, got {shapes}")
    scores = (*batch, q.shape[-2], k.shape[-2])
    if mask is not None and _broadcast(mask.shape, scores) != scores:
        raise ShapeError(
            f"{who}: the mask must broadcast to the scores, {scores}, got {mask.shape}"
        )


def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of all together; None where they do not broadcast."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def _dropped(p: float, generator: Generator | None, q: Tensor, k: Tensor, v: Tensor) -> Any:
    batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    generator = default_generator() if generator is None else generator
    words = philox.blocks(math.prod(batch) * BLOCK * BLOCK, 1)
    rows, columns = (
        [span.stop - span.start for span in spans(array.shape[-2], BLOCK)] for array in (q, k)
    )
    if tracing.get() is None and not levels.get():
        return _Dropout(p, words, len(rows) * len(columns), generator)
    shapes = [(*batch, length, width) for length in rows for width in columns]
    return _DrawnDropout(p, words, shapes, generator, q.device)


class MultiheadAttention(Module):
    """Attention in several heads, with affine maps before and after (Vaswani et al., 2017).

    ``embed_dim`` features are split over ``num_heads`` heads; keys and values may have other
    numbers of features, ``kdim`` and ``vdim``. ``dropout`` of the weights applies in training.
    Sequences are (length, batch, features), with ``batch_first`` (batch, length, features), or
    (length, features). Parameters have PyTorch's names: ``in_proj_weight`` with the maps of query,
    key and value one below the other (``q_proj_weight``, ``k_proj_weight``, ``v_proj_weight`` with
    kdim or vdim), ``in_proj_bias``, ``out_proj``. The maps start Xavier-uniform, biases at zero.
    ShapeError where num_heads does not divide embed_dim.

    >>> import gpugrad as gg
    >>> layer = gg.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = gg.ones((3, 5, 8))
    >>> y, weights = layer(x, x, x)
    >>> y.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    _shown = ("embed_dim", "num_heads", "dropout", "batch_first")

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        dtype: Any = None,
        device: Any = None,
        generator: Generator | None = None,
    ) -> None:
        who = "MultiheadAttention"
        if add_bias_kv or add_zero_attn:
            raise ValueError(
                f"{who}: add_bias_kv and add_zero_attn are not offered; append a learned or a zero "
                "row to key and value yourself"
            )
        self.embed_dim = size = check_size(who, "embed_dim", embed_dim)
        self.num_heads = check_size(who, "num_heads", num_heads)
        if self.embed_dim % self.num_heads:
            raise ShapeError(
                f"{who}: embed_dim must be a multiple of num_heads, got {embed_dim} and {num_heads}"
            )
        self.kdim = size if kdim is None else check_size(who, "kdim", kdim)
        self.vdim = size if vdim is None else check_size(who, "vdim", vdim)
        self.dropout = check_probability(who, dropout)
        self.batch_first = batch_first
        self.generator = generator
        kwargs: dict[str, Any] = {"dtype": dtype, "device": device}
        if self.kdim == self.vdim == size:
            self.in_proj_weight = Parameter(empty((3 * size, size), **kwargs))
        else:
            self.q_proj_weight = Parameter(empty((size, size), **kwargs))
            self.k_proj_weight = Parameter(empty((size, self.kdim), **kwargs))
            self.v_proj_weight = Parameter(empty((size, self.vdim), **kwargs))
        self.in_proj_bias = Parameter(empty((3 * size,), **kwargs)) if bias else None
        self.out_proj = Linear(size, size, bias, generator=generator, **kwargs)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw new maps of query, key and value, Xavier-uniform, and set the biases to zero."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if hasattr(self, name):
                init.xavier_uniform_(getattr(self, name), generator=generator)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The attention of ``query`` to ``key``, and with ``need_weights`` its weights.

        The weights are (batch, L, S), averaged over the heads, or (batch, heads, L, S). To return
        them takes memory for all of them: pass ``need_weights=False`` otherwise.
        ``key_padding_mask`` is (batch, S), ``attn_mask`` (L, S) or (batch * heads, L, S). As in
        PyTorch's layer, and not in `scaled_dot_product_attention`, True in a mask means that a key
        is *not* attended to; numbers are added to the scores.
        """
        batched = as_tensor(query).ndim == 3
        q, k, v = self._projected(query, key, value)
        bias = self._mask(key_padding_mask, attn_mask, q, k)
        p = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            y, weights = self._with_weights(q, k, v, bias, p, is_causal)
            weights = weights.mean(axis=1) if average_attn_weights else weights
            weights = weights if batched else weights[0]
        else:
            y = scaled_dot_product_attention(q, k, v, bias, p, is_causal, generator=self.generator)
        y = self.out_proj(_join_heads(y, batch_first=self.batch_first or not batched))
        return y if batched else y[0], weights

    def _projected(self, query: Any, key: Any, value: Any) -> tuple[Tensor, ...]:
        """Query, key and value after their maps, each (batch, heads, length, features)."""
        size, bias = self.embed_dim, self.in_proj_bias
        packed = getattr(self, "in_proj_weight", None)
        if packed is not None and query is key is value:
            return self._by_head(query, packed, bias, 3)
        parts = [slice(i * size, (i + 1) * size) for i in range(3)]
        if packed is None:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        else:
            weights = [packed[part] for part in parts]
        return tuple(
            self._by_head(x, weight, None if bias is None else bias[part], 1)[0]
            for x, weight, part in zip((query, key, value), weights, parts, strict=True)
        )

    def _by_head(self, x: Any, weight: Any, bias: Any, parts: int) -> tuple[Tensor, ...]:
        """Parts of the affine map of x, each by batch and head."""
        x = as_tensor(x)
        if x.ndim == 2:
            return linear_heads(x[None], weight, bias, self.num_heads, parts, True)
        if x.ndim != 3:
            raise ShapeError(
                "MultiheadAttention: expected sequences (length, batch, features), or (batch, "
                f"length, features) with batch_first, or (length, features); got {x.ndim} axes"
            )
        return linear_heads(x, weight, bias, self.num_heads, parts, self.batch_first)

    def _mask(self, padding: Any, mask: Any, q: Tensor, k: Tensor) -> Tensor | None:
        """Both masks as one of numbers to add, (batch or 1, heads or 1, L or 1, S)."""
        who = "MultiheadAttention"
        batch, heads, length, keys = *q.shape[:3], k.shape[2]
        bias = None
        if mask is not None:
            bias = _bias(who, mask, q, refuses=True)
            if bias.shape not in ((length, keys), (batch * heads, length, keys)):
                raise ShapeError(
                    f"{who}: attn_mask must be (L, S) or (batch * heads, L, S), here "
                    f"{(length, keys)} or {(batch * heads, length, keys)}, got {bias.shape}"
                )
            bias = bias if bias.ndim == 2 else bias.reshape((batch, heads, length, keys))
        if padding is not None:
            padded = _bias(who, padding, q, refuses=True)
            if padded.shape not in ((batch, keys), *([(1, keys)] if batch == 1 else [])):
                raise ShapeError(
                    f"{who}: key_padding_mask must be (batch, S), here {(batch, keys)}, got "
                    f"{padded.shape}"
                )
            padded = padded.reshape((batch, 1, 1, keys))
            bias = padded if bias is None else bias + padded
        return bias

    def _with_weights(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, p: float, causal: bool
    ) -> tuple[Tensor, Tensor]:
        """The result and the weights, which are in memory."""
        scores = (q * (1.0 / math.sqrt(q.shape[-1]))) @ k.mT
        if bias is not None:
            scores = scores + bias
        if causal:
            queries, keys = (arange(n, device=q.device) for n in scores.shape[-2:])
            scores = _where(queries[:, None] < keys, -math.inf, scores)
        weights = dropout(_softmax(scores), p, generator=self.generator)
        return weights @ v, weights
