"""Rules of layers: the hidden axis becomes one of samples, or of groups of channels.

Imports operands and engine.
"""

from collections.abc import Callable
from typing import Any

from gpugrad.batching.operands import Operands, filled, one_of_zeros

__all__ = ["RULES"]


def _folded(x: Any) -> Any:
    """The hidden axis and the first one behind it as one."""
    return x.reshape((x.shape[0] * x.shape[1], *x.shape[2:]))


def _unfolded(y: Any, size: int) -> Any:
    return y.reshape((size, y.shape[0] // size, *y.shape[1:]))


def _of_samples(operands: Operands, **parameters: Any) -> Any:
    """A function of each sample, for the samples of all elements."""
    y = operands.compute(*map(_folded, filled(operands)), **parameters)
    if isinstance(y, tuple):
        return tuple([_unfolded(one, operands.size) for one in y])
    return _unfolded(y, operands.size)


def _beside(x: Any) -> Any:
    """(elements, samples, channels, ...) as (samples, elements and channels, ...)."""
    x = x.swapaxes(0, 1)
    return x.reshape((x.shape[0], x.shape[1] * x.shape[2], *x.shape[3:]))


def _apart(y: Any, size: int) -> Any:
    """The inverse of `_beside`."""
    y = y.reshape((y.shape[0], size, y.shape[1] // size, *y.shape[2:]))
    return y.swapaxes(0, 1)


def _convolution(operands: Operands, *, groups: int, **parameters: Any) -> Any:
    """A convolution, or its transpose: of more samples with one weight, else of more groups."""
    x, weight, *rest = operands.arrays
    held, size = operands.held, operands.size
    if not any(held[1:]):
        y = operands.compute(_folded(x), weight, *rest, groups=groups, **parameters)
        return _unfolded(y, size)
    x, weight, *rest = filled(operands)
    biases = [None if bias is None else bias.reshape((-1,)) for bias in rest]
    y = operands.compute(_beside(x), _folded(weight), *biases, groups=groups * size, **parameters)
    return _apart(y, size)


def _convolution_weight(operands: Operands, *, groups: int, **parameters: Any) -> Any:
    x, d = filled(operands)
    size = operands.size
    y = operands.compute(_beside(x), _beside(d), groups=groups * size, **parameters)
    return _unfolded(y, size)


def _to_device(operands: Operands, **parameters: Any) -> Any:
    return operands.compute(*operands.arrays, **parameters)


def _of_any_size(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule that divides by the number of elements: of none, it computes one of zeros."""

    def apply(operands: Operands, **parameters: Any) -> Any:
        if operands.size:
            return rule(operands, **parameters)
        y = rule(one_of_zeros(operands), **parameters)
        return tuple([one[:0] for one in y]) if isinstance(y, tuple) else y[:0]

    return apply


RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("convolution", "convolution_transpose"), _of_any_size(_convolution)),
    "to_device": _to_device,
    "convolution_weight": _of_any_size(_convolution_weight),
    **dict.fromkeys(
        ("at_chosen_elements", "avg_pool", "avg_spread", "chosen_elements", "col2im", "im2col",
         "max_pool", "max_pool_and_residuals", "max_pool_index", "resampled", "resampled_back"),
        _of_any_size(_of_samples)),
}  # fmt: skip
