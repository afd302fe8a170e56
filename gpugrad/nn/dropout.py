"""Dropout of elements, of whole channels, and alpha dropout. Imports `module` and random."""

import math
from collections.abc import Callable
from typing import Any

from gpugrad import random
from gpugrad.backend.device import device_of
from gpugrad.engine.modes import levels, tracing
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.operands import floating
from gpugrad.nn.module import Module
from gpugrad.random import philox
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = [
    "AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout",
    "alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
]  # fmt: skip


def check_probability(who: str, p: Any) -> float:
    """p as a float from 0 to 1; DTypeError or ValueError for anything else."""
    if isinstance(p, bool) or not isinstance(p, int | float):
        raise DTypeError(f"{who}: p must be a number from 0 to 1, got {p!r}")
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{who}: p is a probability, from 0 to 1, got {p!r}")
    return float(p)


def dropout(
    x: Any, p: float = 0.5, training: bool = True, *, generator: random.Generator | None = None,
) -> Tensor:  # fmt: skip
    """Each element set to 0 with probability ``p``, the others divided by 1 - p.

    x itself where ``training`` is false (Srivastava et al., 2014; scaling in training preserves
    the mean). The mask comes from ``gg.random.bernoulli``: the same seed drops the same elements
    on every device. ValueError for a ``p`` that is no probability.

    >>> import gpugrad as gg
    >>> gg.nn.functional.dropout(gg.ones(4), 1.0).tolist()
    [0.0, 0.0, 0.0, 0.0]
    >>> gg.nn.functional.dropout(gg.ones(4), 0.5, training=False).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    p = check_probability("dropout", p)
    x = as_tensor(x)
    if not training or p == 0.0:
        return x
    return _dropped(x, p, x.shape, generator)


class _Kept:
    """Which elements of an array are kept, and scaled up: the same each time.

    A kernel draws them by ``draws``, the key, the first counter, the shape of the mask and p;
    otherwise they are drawn when they are first needed.
    """

    __slots__ = ("_mask", "draws", "factor")

    def __init__(self, shape: tuple[int, ...], p: float, generator: Any) -> None:
        generator = random.default_generator() if generator is None else generator
        self.draws = (*generator.take(philox.blocks(math.prod(shape), 1)), shape, p)
        self.factor = 1.0 / (1.0 - p) if p < 1.0 else None
        self._mask: Any = None

    def __call__(self, xp: Any, x: Any) -> Any:
        if self._mask is None:
            array = x.data if isinstance(x, Tensor) else x
            key, first, shape, p = self.draws
            self._mask = philox.bernoulli(device_of(array).xp, key, first, shape, 1.0 - p)
        return xp.where(self._mask, x if self.factor is None else x * self.factor, 0)


def _dropped(x: Tensor, p: float, shape: tuple[int, ...], generator: Any) -> Tensor:
    """x with zeros where a mask, of a shape that broadcasts to x, drops it, and else scaled up."""
    if tracing.get() is not None or levels.get():  # another mask at each call, or for each element
        keep = (generator or random.default_generator()).bernoulli(1 - p, shape, device=x.device)
        dropped: Tensor = OPS["where"](keep, x * (1.0 / (1.0 - p)) if p < 1.0 else x, 0)
        return dropped
    dropped = OPS["dropped"](x, keep=_Kept(shape, p, generator))
    return dropped


def _of_channels(
    who: str, x: Any, p: Any, training: bool, positions: int, generator: Any
) -> Tensor:
    """Whole channels set to 0: x is (batch, channels, *positions), or without the batch."""
    p = check_probability(who, p)
    x = as_tensor(x)
    if x.ndim not in (positions + 1, positions + 2):
        raise ShapeError(
            f"{who}: expected (batch, channels, {', '.join(['length'] * positions)}), or without "
            f"the batch, got shape {x.shape}"
        )
    if not training or p == 0.0:
        return x
    return _dropped(x, p, (*x.shape[:-positions], *(1,) * positions), generator)


def dropout1d(
    x: Any, p: float = 0.5, training: bool = True, *, generator: random.Generator | None = None
) -> Tensor:
    """Each channel of (batch, channels, length) set to 0 with probability ``p`` as a whole.

    As `dropout`, else. A single sample may come without the batch. ShapeError for other numbers of
    axes (Tompson et al., 2015).

    >>> import gpugrad as gg
    >>> y = gg.nn.functional.dropout1d(gg.ones((2, 3, 4)))
    >>> bool((y.min(axis=-1) == y.max(axis=-1)).all())
    True
    """
    return _of_channels("dropout1d", x, p, training, 1, generator)


def dropout2d(
    x: Any, p: float = 0.5, training: bool = True, *, generator: random.Generator | None = None
) -> Tensor:
    """`dropout1d` for images: (batch, channels, height, width)."""
    return _of_channels("dropout2d", x, p, training, 2, generator)


def dropout3d(
    x: Any, p: float = 0.5, training: bool = True, *, generator: random.Generator | None = None
) -> Tensor:
    """`dropout1d` for volumes: (batch, channels, depth, height, width)."""
    return _of_channels("dropout3d", x, p, training, 3, generator)


SATURATED = -1.7580993408473766  # what selu goes to: -1.0507 * 1.6733


def _alpha_dropped(x: Tensor, p: float, shape: tuple[int, ...], generator: Any) -> Tensor:
    if p == 1.0:
        return x * 0.0
    mask = random.bernoulli(1.0 - p, shape, device=x.device, generator=generator)
    # A scale and a shift that restore mean 0 and variance 1.
    scale = 1.0 / math.sqrt((SATURATED**2 * p + 1.0) * (1.0 - p))
    shift = -SATURATED * scale * p
    moved: Tensor = OPS["where"](mask, x * scale + shift, SATURATED * scale + shift)
    return moved.astype(x.dtype) if moved.dtype != x.dtype else moved


def alpha_dropout(
    x: Any, p: float = 0.5, training: bool = False, *, generator: random.Generator | None = None
) -> Tensor:
    """Each element set to what selu goes to with probability ``p``, and all scaled and moved.

    Of numbers with mean 0 and variance 1, as selu gives them, it preserves both (Klambauer et al.,
    2017). x itself where ``training`` is false, the default as in PyTorch.

    >>> import gpugrad as gg
    >>> x = gg.random.normal(0, 1, 10000)
    >>> y = gg.nn.functional.alpha_dropout(x, 0.2, training=True)
    >>> abs(y.mean().item()) < 0.1, abs(y.std().item() - 1) < 0.1
    (True, True)
    """
    p = check_probability("alpha_dropout", p)
    x = floating(as_tensor(x))
    return _alpha_dropped(x, p, x.shape, generator) if training and p else x


def feature_alpha_dropout(
    x: Any, p: float = 0.5, training: bool = False, *, generator: random.Generator | None = None
) -> Tensor:
    """`alpha_dropout` of whole channels of (batch, channels, ...). ShapeError for fewer axes."""
    p = check_probability("feature_alpha_dropout", p)
    x = floating(as_tensor(x))
    if x.ndim < 2:
        raise ShapeError(
            f"feature_alpha_dropout: expected (batch, channels, ...), got shape {x.shape}"
        )
    shape = (*x.shape[:2], *(1,) * (x.ndim - 2))
    return _alpha_dropped(x, p, shape, generator) if training and p else x


class Dropout(Module):
    """In training, each element set to 0 with probability ``p``, the others divided by 1 - p.

    After ``eval()`` it returns its input. The mask comes from ``gg.random.bernoulli`` with
    ``generator``, or the default one: the same seed drops the same elements on every device.
    ValueError for a ``p`` that is no probability.

    >>> import gpugrad as gg
    >>> layer = gg.nn.Dropout(0.25)
    >>> layer
    Dropout(p=0.25)
    >>> layer.eval()(gg.ones(3))
    tensor([1., 1., 1.])
    """

    _shown = ("p",)
    _function: Callable[..., Tensor] = staticmethod(dropout)

    def __init__(self, p: float = 0.5, *, generator: random.Generator | None = None) -> None:
        self.p = check_probability(type(self).__name__, p)
        self.generator = generator

    def forward(self, x: Any) -> Tensor:
        return self._function(x, self.p, self.training, generator=self.generator)


class Dropout1d(Dropout):
    """``dropout1d``: whole channels of (batch, channels, length) set to 0 in training.

    >>> import gpugrad as gg
    >>> gg.nn.Dropout1d(0.2).eval()(gg.ones((1, 2, 2))).tolist()
    [[[1.0, 1.0], [1.0, 1.0]]]
    """

    _function = staticmethod(dropout1d)


class Dropout2d(Dropout):
    """``dropout2d``: whole channels of (batch, channels, height, width) set to 0 in training."""

    _function = staticmethod(dropout2d)


class Dropout3d(Dropout):
    """``dropout3d``: whole channels of volumes set to 0 in training."""

    _function = staticmethod(dropout3d)


class AlphaDropout(Dropout):
    """``alpha_dropout`` in training, for networks of `SELU`: it preserves mean 0 and variance 1."""

    _function = staticmethod(alpha_dropout)


class FeatureAlphaDropout(Dropout):
    """``feature_alpha_dropout`` in training: `AlphaDropout` of whole channels."""

    _function = staticmethod(feature_alpha_dropout)
