"""Convolutions and pools as steps that C computes: views, their sums, and products.

What these formulas compute is in `gpugrad.ops.convolution` and `gpugrad.ops.pooling`. Here axes are
turned so that channels come last, or lie as in memory; ``at`` has the axes along which windows
slide. Nothing is added up where it lies: an element of a transpose is a sum over the windows that
reach it, and with a stride of s along an axis those are other ones for each of s phases. Imports
backend, ops, program and recorded.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpugrad.backend.convolution import MANY_ROWS
from gpugrad.backend.host import NUMPY
from gpugrad.backend.windows import Windows
from gpugrad.compiler.programs.program import FUNCTIONS
from gpugrad.compiler.recording.recorded import call
from gpugrad.ops.pooling import divided

__all__ = ["FORMULAS_OF_WINDOWS"]

Sizes = tuple[int, ...]
Padding = Sequence[tuple[int, int]]


def _indexed(x: Any, at: Sizes, slices: Sequence[slice]) -> Any:
    """x, of which some axes are sliced."""
    index = [slice(None)] * x.ndim
    for axis, one in zip(at, slices):
        index[axis] = one
    return x[tuple(index)]


def _padded(xp: Any, x: Any, at: Sizes, padding: Padding, number: float = 0) -> Any:
    """x with a number around it along some axes; where a padding is negative, x is cut."""
    if any(n < 0 for pair in padding for n in pair):
        cuts = [slice(max(-a, 0), x.shape[i] - max(-b, 0)) for i, (a, b) in zip(at, padding)]
        x = _indexed(x, at, cuts)
    width = [(0, 0)] * x.ndim
    for axis, (before, after) in zip(at, padding):
        width[axis] = max(before, 0), max(after, 0)
    return xp.pad(x, tuple(width), constant_values=number) if any(map(any, width)) else x


def _under(x: Any, at: Sizes, offset: Sizes, counts: Sizes, windows: Windows) -> Any:
    """The elements at an offset in each window."""
    firsts = [i * d for i, d in zip(offset, windows.dilation)]
    cuts = zip(firsts, counts, windows.stride)
    return _indexed(x, at, [slice(i, i + (n - 1) * s + 1, s) for i, n, s in cuts])


def _offsets(kernel: Sizes) -> Any:
    return itertools.product(*map(range, kernel))


# ---------------------------------------------------------------- convolutions


def _channels_last(x: Any) -> tuple[Any, Sizes]:
    """An array as (first, samples, ..., channels), and the axes of windows."""
    others = tuple(range(2, x.ndim - 1))
    return x.transpose((2, 0, *range(3, x.ndim), 1)), (0, *others)


def _as_usual(y: Any) -> Any:
    """(first, samples, ..., channels) as (samples, channels, first, ...)."""
    return y.transpose((1, y.ndim - 1, 0, *range(2, y.ndim - 1)))


def _rows(xp: Any, x: Any, at: Sizes, windows: Windows, groups: int) -> Any:
    """Matrices (groups, matrices, windows, elements under a window), which may overlap.

    What slides along the first axis is a view, as in `gpugrad.backend.convolution`. Elements are
    gathered for the other axes alone.
    """
    length, samples, *_, channels = x.shape
    counts = windows.counts(tuple(x.shape[axis] for axis in at))
    (stride, *_), (dilation, *_) = windows.stride, windows.dilation
    rows = windows._replace(stride=(1, *windows.stride[1:]))
    parts = [
        _under(x, at, (0, *offset), (length, *counts[1:]), rows).reshape(
            (length, samples, *counts[1:], groups, channels // groups)
        )
        for offset in _offsets(windows.kernel[1:])
    ]
    n = len(at)  # (groups, samples, ..., first, elements of the other axes, inputs)
    parts = [part.transpose((n + 1, *range(1, n + 1), 0, n + 2)) for part in parts]
    gathered = xp.stack(parts, axis=-2)
    under = xp.windows(gathered, (windows.extent[0],), (n + 1,))[..., ::dilation]
    under = _indexed(under, (n + 1,), [slice(None, None, stride)])
    under = under.transpose((0, n + 1, *range(1, n + 1), n + 4, n + 2, n + 3))
    beside = samples * math.prod(counts[1:])
    elements = channels // groups * windows.elements
    if beside < MANY_ROWS:
        return under.reshape((groups, 1, counts[0] * beside, elements))
    return under.reshape((groups, counts[0], beside, elements))


def _at(x: Any) -> Sizes:
    """The axes along which windows slide over an array with channels last."""
    return (0, *range(2, x.ndim - 1))


def _under_windows_matmul(xp: Any, x: Any, matrix: Any, /, *, groups: int, **words: Any) -> Any:
    """What is under the windows over (first, samples, ..., channels), times a matrix.

    The matrix is (groups, elements under a window, outputs of a group); gives (first, samples, ...,
    outputs). C has it as one function, `gpugrad.compiler.c.convolutions`.
    """
    windows, at = Windows(**words), _at(x)
    x = _padded(xp, x, at, windows.padding)
    windows = windows._replace(padding=((0, 0),) * len(at))
    counts = windows.counts(tuple(x.shape[axis] for axis in at))
    y = xp.matmul(_rows(xp, x, at, windows, groups), matrix[:, None])
    y = xp.moveaxis(y.reshape((groups, counts[0], x.shape[1], *counts[1:], -1)), 0, -2)
    return y.reshape((counts[0], x.shape[1], *counts[1:], -1))


def _under_windows_gradient(xp: Any, x: Any, g: Any, /, *, groups: int, **words: Any) -> Any:
    """The gradient of the matrix, for a gradient of the result of ``under_windows_matmul``."""
    windows, at = Windows(**words), _at(x)
    x = _padded(xp, x, at, windows.padding)
    rows = _rows(xp, x, at, windows._replace(padding=((0, 0),) * len(at)), groups)
    g = xp.moveaxis(g.reshape((*g.shape[:-1], groups, g.shape[-1] // groups)), -2, 0)
    g = g.reshape((*rows.shape[:3], -1))
    return xp.sum(xp.matmul(xp.swapaxes(rows, -1, -2), g), axis=1)


FUNCTIONS["under_windows_matmul"] = partial(_under_windows_matmul, NUMPY)
FUNCTIONS["under_windows_gradient"] = partial(_under_windows_gradient, NUMPY)


def _convolved(xp: Any, x: Any, at: Sizes, weight: Any, windows: Windows) -> Any:
    """The convolution of an array with channels last and (groups, outputs, inputs, *kernel)."""
    groups, outputs, inputs = weight.shape[:3]
    if inputs != 1 or groups == 1:
        elements = inputs * windows.elements
        matrix = xp.moveaxis(weight, (1, 2), (-1, -2)).reshape((groups, elements, outputs))
        words = {**windows._asdict(), "groups": groups}
        return call("under_windows_matmul", (x, matrix), words)
    # There is nothing to share for a product.
    x = _padded(xp, x, at, windows.padding)
    counts = windows._replace(padding=((0, 0),) * len(at)).counts(
        tuple(x.shape[axis] for axis in at)
    )
    terms = [
        _under(x, at, offset, counts, windows)[..., None] * weight[(..., 0, *offset)]
        for offset in _offsets(windows.kernel)
    ]
    y = sum(terms[1:], terms[0])
    return y.reshape((counts[0], x.shape[1], *counts[1:], groups * outputs))


def _split(weight: Any, groups: int) -> Any:
    """A weight as (groups, outputs of a group, inputs of a group, *kernel)."""
    return weight.reshape((groups, weight.shape[0] // groups, *weight.shape[1:]))


def _convolution(
    xp: Any, x: Any, weight: Any, bias: Any = None, /, *, stride: Sizes, padding: Padding,
    dilation: Sizes, groups: int,
) -> Any:  # fmt: skip
    windows = Windows(tuple(weight.shape[2:]), stride, tuple(padding), dilation)
    y = _convolved(xp, *_channels_last(x), _split(weight, groups), windows)
    return _as_usual(y if bias is None else y + bias)


def _convolution_transpose(
    xp: Any, x: Any, weight: Any, bias: Any = None, /, *, size: Sizes, stride: Sizes,
    padding: Padding, dilation: Sizes, groups: int,
) -> Any:  # fmt: skip
    """A convolution of x with a channel for each phase of the stride."""
    kernel = tuple(weight.shape[2:])
    if any(s > 1 < d for s, d in zip(stride, dilation)):
        raise NotImplementedError("a kernel with gaps that moves by a stride")
    n = len(kernel)
    of_window = [-(-k // s) if s > 1 else k for k, s in zip(kernel, stride)]
    phases = [min(k, s) for k, s in zip(kernel, stride)]
    split = xp.swapaxes(_split(weight, groups), 1, 2)
    channels, inputs = split.shape[1:3]
    more = [(0, q * p - k) for k, q, p in zip(kernel, of_window, phases)]
    split = _padded(xp, split, tuple(range(3, n + 3)), more)
    split = split.reshape((groups, channels, inputs, *_pairs(of_window, phases)))
    split = xp.flip(split, axis=tuple(range(3, 2 * n + 3, 2)))
    split = split.transpose(
        (0, *range(4, 2 * n + 3, 2), 1, 2, *range(3, 2 * n + 3, 2))
    )  # (groups, phases, channels, inputs, windows)
    split = split.reshape((groups, math.prod(phases) * channels, inputs, *of_window))
    firsts = [low // s for (low, _), s in zip(padding, stride)]
    ends = [-(-(low + size_) // s) for (low, _), s, size_ in zip(padding, stride, size)]
    around = [
        ((q - 1) * d - first, end - count)
        for q, d, first, end, count in zip(of_window, dilation, firsts, ends, x.shape[2:])
    ]
    windows = Windows(tuple(of_window), (1,) * n, tuple(around), dilation)
    y = _convolved(xp, *_channels_last(x), split, windows)
    y = _interleaved(xp, y, groups, phases, stride)
    cuts = [
        slice(low - first * s, low - first * s + size_)
        for (low, _), first, s, size_ in zip(padding, firsts, stride, size)
    ]
    y = _indexed(y, (0, *range(2, n + 1)), cuts)
    return _as_usual(y if bias is None else y + bias)


def _pairs(first: Sequence[int], second: Sequence[int]) -> list[int]:
    return [n for pair in zip(first, second) for n in pair]


def _interleaved(xp: Any, y: Any, groups: int, phases: Sequence[int], stride: Sizes) -> Any:
    """The phases of a stride, which are channels, as elements along the axes of the windows."""
    n = len(stride)
    first, samples, *others, channels = y.shape
    channels //= groups * math.prod(phases)
    y = y.reshape((first, samples, *others, groups, *phases, channels))
    y = _padded(xp, y, tuple(range(n + 2, 2 * n + 2)), [(0, s - p) for s, p in zip(stride, phases)])
    order = [0, n + 2, 1, *_pairs(range(2, n + 1), range(n + 3, 2 * n + 2)), n + 1, 2 * n + 2]
    y = y.transpose(order)
    sizes = [size * s for size, s in zip((first, *others), stride)]
    return y.reshape((sizes[0], samples, *sizes[1:], groups * channels))


def _convolution_weight(
    xp: Any, x: Any, g: Any, /, *, kernel: Sizes, stride: Sizes, padding: Padding,
    dilation: Sizes, groups: int,
) -> Any:  # fmt: skip
    (x, at), (g, _) = _channels_last(x), _channels_last(g)
    windows = Windows(kernel, stride, tuple(padding), dilation)
    inputs, outputs = x.shape[-1] // groups, g.shape[-1] // groups
    if inputs == 1 < groups:
        x = _padded(xp, x, at, padding)
        counts = tuple(g.shape[axis] for axis in at)
        g = g.reshape((*g.shape[:-1], groups, outputs))
        parts = [_under(x, at, offset, counts, windows)[..., None] for offset in _offsets(kernel)]
        sums = [xp.sum(part * g, axis=tuple(range(x.ndim - 1))) for part in parts]
        return xp.stack(sums, axis=-1).reshape((groups * outputs, 1, *kernel))
    total = call("under_windows_gradient", (x, g), {**windows._asdict(), "groups": groups})
    total = total.reshape((groups, *kernel, inputs, outputs))
    return xp.moveaxis(total, (-1, -2), (1, 2)).reshape((groups * outputs, inputs, *kernel))


# ---------------------------------------------------------------- pools


def _as_in_memory(x: Any) -> tuple[Sizes, Sizes]:
    """The axes of a recorded array as they lie in memory, and where those of windows are then."""
    strides = x.array.strides
    order = tuple(sorted(range(x.ndim), key=lambda axis: -strides[axis]))
    return order, tuple(order.index(axis) for axis in range(2, x.ndim))


def _turned_back(y: Any, order: Sizes) -> Any:
    return y.transpose([order.index(axis) for axis in range(y.ndim)])


def _max_pool(xp: Any, x: Any, /, **words: Any) -> tuple[Any, Any]:
    if x.dtype.kind != "f":
        raise NotImplementedError("whole numbers have no infinity")
    windows, (order, at) = Windows(**words), _as_in_memory(x)
    counts = windows.counts(x.shape[2:])
    x = _padded(xp, x.transpose(order), at, windows.padding, -math.inf)
    few = windows.elements < 256
    y: Any = None
    index: Any = None
    for number, offset in enumerate(_offsets(windows.kernel)):
        part = _under(x, at, offset, counts, windows)
        if y is None:
            y, index = part, xp.zeros_like(part, dtype=np.uint8 if few else np.int32)
            continue
        # NaN is the largest of all, as in numpy.max.
        better = xp.logical_or(part > y, part != part)
        index = xp.where(better, index.dtype.type(number), index)
        y = xp.maximum(y, part)
    return _turned_back(y, order), _turned_back(index, order)


def _numbers(windows: Windows, back: Sizes) -> Any:
    """By phase of the stride, which element of the window so many windows back is there; or -1."""
    numbers = np.full(windows.stride, -1)
    for number, offset in enumerate(_offsets(windows.kernel)):
        places = [
            i * d - m * s for i, d, m, s in zip(offset, windows.dilation, back, windows.stride)
        ]
        if all(0 <= place < s for place, s in zip(places, windows.stride)):
            numbers[tuple(places)] = number
    return numbers


def _spread(
    xp: Any, arrays: Sequence[Any], fills: Sequence[int], size: Sizes, windows: Windows, term: Any
) -> Any:
    """Terms of windows added up at the elements of these: (samples, channels, *size).

    ``arrays`` have an element for each window, and a number beyond. ``term`` gives the terms of
    such elements at each phase of the stride, by the numbers of these in the windows.
    """
    stride, (order, at) = windows.stride, _as_in_memory(arrays[0])
    counts = [-(-(low + m) // s) for m, (low, _), s in zip(size, windows.padding, stride)]
    reach = [(extent - 1) // s for extent, s in zip(windows.extent, stride)]
    around = [(m, count - own) for m, count, own in zip(reach, counts, arrays[0].shape[2:])]
    arrays = [
        _padded(xp, one.transpose(order), at, around, fill) for one, fill in zip(arrays, fills)
    ]
    # An axis for the phases behind each axis of windows.
    phases = tuple(axis + sum(other < axis for other in at) + 1 for axis in at)
    others = [axis for axis in range(len(order) + len(at)) if axis not in phases]
    terms = []
    for back in _offsets(tuple(m + 1 for m in reach)):
        numbers = _numbers(windows, back).transpose(np.argsort(phases))
        if (numbers < 0).all():
            continue
        cuts = [slice(far - m, far - m + count) for far, m, count in zip(reach, back, counts)]
        given = [xp.expand_dims(_indexed(one, at, cuts), phases) for one in arrays]
        terms.append(term(np.expand_dims(numbers, others), *given))
    y = sum(terms[1:], terms[0])
    sizes = [*arrays[0].shape]
    for axis, count, s in zip(at, counts, stride):
        sizes[axis] = count * s
    cuts = [slice(low, low + m) for (low, _), m in zip(windows.padding, size)]
    return _turned_back(_indexed(y.reshape(tuple(sizes)), at, cuts), order)


def _at_chosen_elements(xp: Any, g: Any, index: Any, /, *, size: Sizes, **words: Any) -> Any:
    if g.dtype.kind != "f" or index.dtype != np.uint8:
        raise NotImplementedError("numbers of many elements")

    def term(numbers: Any, own: Any, given: Any) -> Any:
        return xp.where(own == numbers.astype(np.uint8), given, g.dtype.type(0))

    return _spread(xp, (index, g), (255, 0), size, Windows(**words), term)


def _avg_spread(
    xp: Any, g: Any, /, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Padding,
    counted: Any, divisor: float | None,
) -> Any:  # fmt: skip
    windows = Windows(kernel, stride, tuple(padding), (1,) * len(kernel))
    share = divided(xp, g, size, windows, counted, divisor)

    def term(numbers: Any, given: Any) -> Any:
        return xp.where(numbers >= 0, given, g.dtype.type(0))

    return _spread(xp, (share,), (0,), size, windows, term)


FORMULAS_OF_WINDOWS: dict[str, Callable[..., Any]] = {
    "convolution": _convolution,
    "convolution_transpose": _convolution_transpose,
    "convolution_weight": _convolution_weight,
    "under_windows_matmul": _under_windows_matmul,
    "under_windows_gradient": _under_windows_gradient,
    "max_pool": lambda xp, x, /, **words: _max_pool(xp, x, **words)[0],
    "max_pool_and_residuals": _max_pool,
    "at_chosen_elements": _at_chosen_elements,
    "avg_spread": _avg_spread,
}
