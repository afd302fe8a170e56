"""Pools that give a number of windows, whatever the size of their input. Imports `sliding`.

The windows of an axis with n elements begin at i n // count and end before the ceiling of
(i + 1) n / count: they are of nearly one length, and may overlap by an element.
"""

import math
from typing import Any

from gpugrad.backend.windows import Windows
from gpugrad.engine.messages import is_whole
from gpugrad.errors import ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.nn.pooling import places_of
from gpugrad.nn.sliding import AXES, OverAxes, batch_of, refuse_whole
from gpugrad.tensor import OPS, Tensor

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
]  # fmt: skip

Sizes = tuple[int, ...]


def _counts(who: str, output_size: Any, size: Sizes) -> Sizes:
    """The number of windows along each axis; None keeps the size of the input."""
    listed = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size,)
    if len(listed) == 1:
        listed *= len(size)
    if len(listed) != len(size) or not all(n is None or is_whole(n, 1) for n in listed):
        raise ShapeError(
            f"{who}: output_size must be a whole number of 1 or more, or one or None for each of "
            f"{AXES[len(size)]}, got {output_size!r}"
        )
    return tuple([m if n is None else int(n) for n, m in zip(listed, size)])


def _operand(who: str, axes: int, x: Any, output_size: Any) -> tuple[Tensor, bool, Sizes]:
    x, single = batch_of(who, x, axes)
    if 0 in x.shape[2:]:
        raise ShapeError(
            f"{who}: an axis of the input {x.shape} is empty: there is nothing to pool"
        )
    return x, single, _counts(who, output_size, x.shape[2:])


# ---------------------------------------------------------------- the mean


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Tensor:
    """The means of a number of windows along one axis: see `adaptive_avg_pool2d`.

    >>> import gpugrad as gg
    >>> gg.nn.functional.adaptive_avg_pool1d(gg.arange(5.0).reshape(1, 5), 2)
    tensor([[1., 3.]])
    """
    return _average("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Tensor:
    """The means of ``output_size`` windows of an image, which cover it.

    ``input`` is (samples, channels, height, width), or one sample. ``output_size`` is a number for
    both axes, or a pair of which None keeps the size. ShapeError for sizes below 1.

    >>> import gpugrad as gg
    >>> gg.nn.functional.adaptive_avg_pool2d(gg.ones((5, 8, 7, 10)), (3, None)).shape
    (5, 8, 3, 10)
    """
    return _average("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Tensor:
    """The means of a number of windows over three axes: see `adaptive_avg_pool2d`.

    >>> import gpugrad as gg
    >>> gg.nn.functional.adaptive_avg_pool3d(gg.ones((5, 8, 4, 7, 10)), 1).shape
    (5, 8, 1, 1, 1)
    """
    return _average("adaptive_avg_pool3d", 3, input, output_size)


def _average(who: str, axes: int, x: Any, output_size: Any) -> Tensor:
    x, single, counts = _operand(who, axes, x, output_size)
    refuse_whole(who, x)
    size = x.shape[2:]
    if all(n % count == 0 for n, count in zip(size, counts)):
        kernel = tuple([n // count for n, count in zip(size, counts)])
        none = ((0, 0),) * axes
        y = OPS["avg_pool"](
            x, kernel=kernel, stride=kernel, padding=none, counted=none, divisor=None
        )
    else:
        scale = tuple([n / count for n, count in zip(size, counts)])
        y = OPS["resampled"](x, size=counts, scale=scale, mode="area", align_corners=False)
    return y.reshape(y.shape[1:]) if single else y


# ---------------------------------------------------------------- the largest element


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of a number of windows along one axis: see `adaptive_max_pool2d`.

    >>> import gpugrad as gg
    >>> gg.nn.functional.adaptive_max_pool1d(gg.arange(5.0).reshape(1, 5), 2)
    tensor([[2., 4.]])
    """
    return _largest("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of ``output_size`` windows of an image, which cover it.

    The arguments are those of `adaptive_avg_pool2d`; ``return_indices`` is that of `max_pool2d`.

    >>> import gpugrad as gg
    >>> image = gg.arange(9.0).reshape(1, 3, 3)
    >>> gg.nn.functional.adaptive_max_pool2d(image, 2, return_indices=True)[1].tolist()
    [[[4, 5], [7, 8]]]
    """
    return _largest("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of a number of windows over three axes: see `adaptive_max_pool2d`.

    >>> import gpugrad as gg
    >>> gg.nn.functional.adaptive_max_pool3d(gg.ones((5, 8, 4, 7, 10)), 1).shape
    (5, 8, 1, 1, 1)
    """
    return _largest("adaptive_max_pool3d", 3, input, output_size, return_indices)


def _largest(who: str, axes: int, x: Any, output_size: Any, return_indices: bool) -> Any:
    x, single, counts = _operand(who, axes, x, output_size)
    size = x.shape[2:]
    if all(n % count == 0 for n, count in zip(size, counts)):
        kernel = tuple([n // count for n, count in zip(size, counts)])
        windows = Windows(kernel, kernel, ((0, 0),) * axes, (1,) * axes)
        y = OPS["max_pool"](x, **windows._asdict())
        if return_indices:
            places = places_of(OPS["max_pool_index"](x, **windows._asdict()), windows, size)
    else:
        y, places = _of_uneven(x, counts)
    results: tuple[Any, ...] = (y, places) if return_indices else (y,)
    if single:
        results = tuple([result.reshape(result.shape[1:]) for result in results])
    return results if return_indices else results[0]


def _of_uneven(x: Tensor, counts: Sizes) -> tuple[Tensor, Tensor]:
    """The largest elements of windows of several lengths, and their places.

    The shorter windows end with their last element more than once.
    """
    size = x.shape[2:]
    flat: Any = 0  # (*counts, *lengths): where the elements of each window are
    for axis, (n, count) in enumerate(zip(size, counts)):
        place = OPS["arange_like"](x, count)
        start, stop = place * n // count, ((place + 1) * n + count - 1) // count
        most = max(-(-(i + 1) * n // count) - i * n // count for i in range(count))
        step = OPS["arange_like"](x, most)
        elements = OPS["minimum"](start[:, None] + step, stop[:, None] - 1)
        apart = [1] * (2 * len(counts))
        apart[axis], apart[axis + len(counts)] = count, most
        flat = flat * n + elements.reshape(tuple(apart))
    flat = flat.reshape((math.prod(counts), -1))
    pixels = x.reshape((*x.shape[:2], math.prod(size)))
    under = pixels[:, :, flat]  # (samples, channels, windows, elements)
    number = under.detach().argmax(axis=-1)[..., None]
    shape = (*x.shape[:2], *counts)
    y = FUNCTIONS["take_along_axis"](under, number, axis=-1).reshape(shape)
    spread = OPS["broadcast_to"](flat, under.shape)
    return y, FUNCTIONS["take_along_axis"](spread, number, axis=-1).reshape(shape)


# ---------------------------------------------------------------- modules


class _Adaptive(OverAxes):
    _shown = ("output_size",)

    def __init__(self, output_size: Any) -> None:
        _counts(type(self).__name__, output_size, (1,) * self._axes)
        self.output_size = output_size


class _AdaptiveAvgPool(_Adaptive):
    def forward(self, input: Any) -> Tensor:
        return _average(type(self).__name__, self._axes, input, self.output_size)


class _AdaptiveMaxPool(_Adaptive):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Any) -> Any:
        who = type(self).__name__
        return _largest(who, self._axes, input, self.output_size, self.return_indices)


class AdaptiveAvgPool1d(_AdaptiveAvgPool, axes=1):
    """The means of a number of windows: see `gpugrad.nn.functional.adaptive_avg_pool2d`.

    >>> import gpugrad as gg
    >>> gg.nn.AdaptiveAvgPool1d(5)(gg.ones((1, 64, 8))).shape
    (1, 64, 5)
    """


class AdaptiveAvgPool2d(_AdaptiveAvgPool, axes=2):
    """The means of a number of windows: see `gpugrad.nn.functional.adaptive_avg_pool2d`.

    >>> import gpugrad as gg
    >>> gg.nn.AdaptiveAvgPool2d((5, 7))(gg.ones((1, 64, 8, 9))).shape
    (1, 64, 5, 7)
    """


class AdaptiveAvgPool3d(_AdaptiveAvgPool, axes=3):
    """The means of a number of windows: see `gpugrad.nn.functional.adaptive_avg_pool2d`.

    >>> import gpugrad as gg
    >>> gg.nn.AdaptiveAvgPool3d(1)(gg.ones((1, 64, 8, 9, 10))).shape
    (1, 64, 1, 1, 1)
    """


class AdaptiveMaxPool1d(_AdaptiveMaxPool, axes=1):
    """The largest elements of a number of windows: see
    `gpugrad.nn.functional.adaptive_max_pool2d`.

    >>> import gpugrad as gg
    >>> gg.nn.AdaptiveMaxPool1d(5)(gg.ones((1, 64, 8))).shape
    (1, 64, 5)
    """


class AdaptiveMaxPool2d(_AdaptiveMaxPool, axes=2):
    """The largest elements of a number of windows: see
    `gpugrad.nn.functional.adaptive_max_pool2d`.

    >>> import gpugrad as gg
    >>> gg.nn.AdaptiveMaxPool2d((5, 7))(gg.ones((1, 64, 8, 9))).shape
    (1, 64, 5, 7)
    """


class AdaptiveMaxPool3d(_AdaptiveMaxPool, axes=3):
    """The largest elements of a number of windows: see
    `gpugrad.nn.functional.adaptive_max_pool2d`.

    >>> import gpugrad as gg
    >>> gg.nn.AdaptiveMaxPool3d(1)(gg.ones((1, 64, 8, 9, 10))).shape
    (1, 64, 1, 1, 1)
    """
