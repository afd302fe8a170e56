"""Pools: the largest element and the mean of windows, and their transposes.

The parameters are those of `gpugrad.ops.convolution`. Which element of a window is the largest is
kept by its number in the window, as a residual. Imports backend.windows, engine.op, dtypes.
"""

import math
from typing import Any

import numpy as np

from gpugrad.backend.windows import Windows, places
from gpugrad.engine.op import Op, Sample, op
from gpugrad.ops.dtypes import averaged, narrowed, refuse_complex, widened

Sizes = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


# ---------------------------------------------------------------- the largest element


def _lowest(dtype: Any) -> Any:
    if dtype.kind == "f":
        return -math.inf
    return False if dtype.kind == "b" else int(np.iinfo(dtype).min)


def _max_pool(
    xp: Any, x: Any, /, *, kernel: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes
) -> tuple[Any, Any]:
    refuse_complex(x)
    windows = Windows(kernel, stride, padding, dilation)
    counts = windows.counts(x.shape[2:])
    shape = (*x.shape[:2], *counts)
    y = xp.full_like(x, _lowest(x.dtype), shape=shape)
    index = xp.full_like(x, 0, shape=shape, dtype="uint8" if windows.elements < 256 else "int32")
    for number, to, at in places(windows, x.shape[2:], counts):
        part, before = x[at], y[to]
        if number:
            better = part > before
            better |= part != part  # NaN is the largest of all, as in numpy.max
            index[to] = xp.where(better, number, index[to])
        y[to] = xp.maximum(before, part)
    return y, index


def _max_alone(
    xp: Any, x: Any, /, *, kernel: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes
) -> Any:
    refuse_complex(x)
    windows = Windows(kernel, stride, padding, dilation)
    counts = windows.counts(x.shape[2:])
    y = xp.full_like(x, _lowest(x.dtype), shape=(*x.shape[:2], *counts))
    for _, to, at in places(windows, x.shape[2:], counts):
        y[to] = xp.maximum(y[to], x[at])
    return y


def _chosen_elements(
    xp: Any, x: Any, index: Any, /, *, kernel: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes
) -> Any:
    windows = Windows(kernel, stride, padding, dilation)
    y = xp.full_like(index, 0, dtype=x.dtype)
    for number, to, at in places(windows, x.shape[2:], index.shape[2:]):
        y[to] += xp.where(index[to] == number, x[at], 0)
    return y


def _at_chosen_elements(
    xp: Any, g: Any, index: Any, /, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Pairs,
    dilation: Sizes,
) -> Any:  # fmt: skip
    windows = Windows(kernel, stride, padding, dilation)
    wide = widened(g)
    # In memory as the index, which lies as x does.
    y = xp.full_like(index, 0, dtype=wide.dtype, shape=(*g.shape[:2], *size))
    apart = all(s >= extent for s, extent in zip(stride, windows.extent))
    for number, to, at in places(windows, size, index.shape[2:]):
        share = xp.where(index[to] == number, wide[to], 0)
        if apart:
            y[at] = share
        else:
            y[at] += share
    return narrowed(y, g)


def _chosen(xp: Any, mask: Any, y: Any, x: Any, index: Any, **parameters: Any) -> Any:
    """The support of a gradient: of each window the largest element."""
    numbers = mask.astype("float32")
    return xp.at_chosen_elements(numbers, index, size=tuple(x.shape[2:]), **parameters) > 0


_MAX: Any = (
    {"kernel": (2,), "stride": (2,), "padding": ((0, 0),), "dilation": (1,)},
    {"kernel": (2, 3), "stride": (1, 2), "padding": ((0, 1), (1, 1)), "dilation": (2, 1)},
)
_NUMBERS = (
    np.array([[[0, 1]], [[1, 1]]], np.uint8),
    np.array([[[[3, 1], [2, 5], [0, 1]], [[4, 1], [3, 0], [2, 2]]]], np.uint8),
)

# fmt: off
op("max_pool_index", lambda xp, x, /, *, kernel, stride, padding, dilation: _max_pool(
       xp, x, kernel=kernel, stride=stride, padding=padding, dilation=dilation)[1],
   samples=[Sample((2, 1, 4), **_MAX[0]), Sample((1, 2, 4, 4), **_MAX[1])], public="",
   doc="The number in each window of the first of its largest elements. No gradient.")
op("max_pool", _max_pool, alone=_max_alone,
   vjp=[lambda xp, g, y, x, index, **parameters: xp.at_chosen_elements(
            g, index, size=tuple(x.shape[2:]), **parameters)],
   jvp=lambda xp, tangents, y, x, index, **parameters: xp.chosen_elements(
       tangents[0], index, **parameters),
   residuals={"index": Op("max_pool_index", "x, /, *, kernel, stride, padding, dilation")},
   saves="index", support=_chosen, chooses=True, finite=True, public="",
   samples=[Sample((2, 1, 4), **_MAX[0]), Sample((1, 2, 4, 4), **_MAX[1])],
   doc="The largest element of each window; the first of those that tie has the gradient.")
op("chosen_elements", _chosen_elements,
   vjp=[lambda xp, g, y, x, index, **parameters: xp.at_chosen_elements(
            g, index, size=tuple(x.shape[2:]), **parameters), None],
   saves=("index", ""), kind="linear", moves=True, chooses=True, operands="real whole", public="",
   samples=[Sample((2, 1, 4), _NUMBERS[0], **_MAX[0]),
            Sample((1, 2, 4, 4), _NUMBERS[1], **_MAX[1])],
   doc="The element of each window that has a number; 0 for one of the padding.")
op("at_chosen_elements", _at_chosen_elements,
   vjp=[lambda xp, g, y, x, index, size, **parameters: xp.chosen_elements(
            g, index, **parameters), None],
   saves=("index", ""), kind="linear", moves=True, fills=True, operands="real whole", public="",
   samples=[Sample((2, 1, 2), _NUMBERS[0], size=(4,), **_MAX[0]),
            Sample((1, 2, 3, 2), _NUMBERS[1], size=(4, 4), **_MAX[1])],
   doc="Numbers added up at the element of each window that has a number: the transpose.")
# fmt: on


# ---------------------------------------------------------------- the mean


def divided(
    xp: Any, y: Any, size: Sizes, windows: Windows, counted: Pairs, divisor: float | None
) -> Any:
    """Sums of windows divided by the number of elements that count, or by ``divisor``."""
    if divisor is not None:
        return y / divisor
    lengths = [
        [
            min(i * s - low + k, n + after) - max(i * s - low, -before)
            for i in range(count)
        ]
        for n, count, k, s, (low, _), (before, after) in zip(
            size, y.shape[2:], windows.kernel, windows.stride, windows.padding, counted
        )
    ]  # fmt: skip
    if all(len({*listed}) == 1 for listed in lengths):
        return y / math.prod(listed[0] for listed in lengths)
    total: Any = 1
    for axis, count in enumerate(y.shape[2:]):  # made where y is
        s, low, k = windows.stride[axis], windows.padding[axis][0], windows.kernel[axis]
        before, after = counted[axis]
        starts = xp.arange_like(y, count) * s - low
        length = xp.minimum(starts + k, size[axis] + after) - xp.maximum(starts, -before)
        total = total * length.reshape((-1, *(1,) * (len(size) - 1 - axis)))
    return y / total.astype(y.dtype)


def _along(windows: Windows, axis: int, count: int) -> list[tuple[Any, ...]]:
    """For each offset along an axis, the slices of the elements there."""
    s, ahead = windows.stride[axis], (slice(None),) * (axis + 2)
    return [
        (*ahead, slice(i, i + (count - 1) * s + 1, s)) for i in range(windows.kernel[axis])
    ]  # fmt: skip


def _avg_pool(
    xp: Any, x: Any, /, *, kernel: Sizes, stride: Sizes, padding: Pairs, counted: Pairs,
    divisor: float | None,
) -> Any:  # fmt: skip
    windows = Windows(kernel, stride, padding, (1,) * len(kernel))
    size = tuple(x.shape[2:])
    y = averaged(x)
    if any(map(any, padding)):
        y = xp.pad_zeros(y, ((0, 0), (0, 0), *padding))
    for axis, count in enumerate(windows.counts(size)):
        first, *others = [y[where] for where in _along(windows, axis, count)]
        y = first + others[0] if others else first
        for other in others[1:]:
            y += other
    y = divided(xp, y, size, windows, counted, divisor)
    return narrowed(y, x)


def _avg_spread(
    xp: Any, g: Any, /, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Pairs,
    counted: Pairs, divisor: float | None,
) -> Any:  # fmt: skip
    windows = Windows(kernel, stride, padding, (1,) * len(kernel))
    y = divided(xp, averaged(g), size, windows, counted, divisor)
    whole = windows.padded(size)
    for axis, count in enumerate(g.shape[2:]):
        shape = (*y.shape[: axis + 2], whole[axis], *y.shape[axis + 3 :])
        spread = xp.full_like(y, 0, shape=shape)
        for where in _along(windows, axis, count):
            spread[where] += y
        y = spread
    if whole != size:
        y = y[(..., *[slice(low, low + n) for (low, _), n in zip(padding, size)])]
    return narrowed(y, g)


_MEAN: Any = (
    {"kernel": (2,), "stride": (2,), "padding": ((0, 0),), "counted": ((0, 0),), "divisor": None},
    {"kernel": (3, 2), "stride": (1, 2), "padding": ((1, 1), (1, 2)), "counted": ((0, 0), (1, 1)),
     "divisor": None},
    {"kernel": (2, 2), "stride": (1, 1), "padding": ((0, 0), (1, 0)), "counted": ((0, 0), (0, 0)),
     "divisor": 3.0},
)  # fmt: skip

# fmt: off
op("avg_pool", _avg_pool,
   vjp=[lambda xp, g, y, x, **parameters: xp.avg_spread(
            g, size=tuple(x.shape[2:]), **parameters)],
   kind="linear", moves=True, fills=True, public="",
   samples=[Sample((2, 1, 4), **_MEAN[0]), Sample((1, 2, 3, 3), **_MEAN[1]),
            Sample((1, 1, 2, 3), **_MEAN[2])],
   doc="The mean of each window. ``counted`` elements of the padding count, at both ends.")
op("avg_spread", _avg_spread,
   vjp=[lambda xp, g, y, x, size, **parameters: xp.avg_pool(g, **parameters)],
   kind="linear", moves=True, public="",
   samples=[Sample((2, 1, 2), size=(4,), **_MEAN[0]),
            Sample((1, 2, 3, 3), size=(3, 3), **_MEAN[1]),
            Sample((1, 1, 1, 3), size=(2, 3), **_MEAN[2])],
   doc="Each number in equal shares at the elements of its window, the transpose of ``avg_pool``.")
# fmt: on
