"""Dropout: `dropout` and `Dropout`. Imports `module` and random."""

from typing import Any

from gpugrad import random
from gpugrad.errors import DTypeError
from gpugrad.functions import FUNCTIONS
from gpugrad.nn.module import Module
from gpugrad.tensor import Tensor, as_tensor

__all__ = ["Dropout", "dropout"]


def check_probability(who: str, p: Any) -> float:
    """p as a float from 0 to 1; DTypeError or ValueError for anything else."""
    if isinstance(p, bool) or not isinstance(p, int | float):
        raise DTypeError(f"{who}: p must be a number from 0 to 1, got {p!r}")
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{who}: p is a probability, from 0 to 1, got {p!r}")
    return float(p)


def dropout(
    x: Any,
    p: float = 0.5,
    training: bool = True,
    *,
    generator: random.Generator | None = None,
) -> Tensor:
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
    mask = random.bernoulli(1.0 - p, x.shape, device=x.device, generator=generator)
    return FUNCTIONS["where"](mask, x * (1.0 / (1.0 - p)) if p < 1.0 else x, 0)


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

    def __init__(self, p: float = 0.5, *, generator: random.Generator | None = None) -> None:
        self.p = check_probability("Dropout", p)
        self.generator = generator

    def forward(self, x: Any) -> Tensor:
        return dropout(x, self.p, self.training, generator=self.generator)
