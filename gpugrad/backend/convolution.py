"""Convolutions of arrays in host memory, as products of matrices.

Imports depthwise, precision, threads and windows.

A product wants the elements under a window side by side. In memory with the channels last those
along one axis are so already: the windows that slide along it are matrices that overlap, one for
each place, and BLAS takes each of them as it lies. So elements are gathered for the other axes
alone: for a 3 × 3 kernel three times the input in place of nine times, in blocks that stay in the
cache. Results have their channels last in memory as well, so that the next layer finds them so;
their axes are in the usual order.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.depthwise import (
    depthwise,
    depthwise_transpose,
    depthwise_weight,
    is_depthwise,
)
from gpugrad.backend.precision import HALF, SINGLE
from gpugrad.backend.threads import share, thread_count
from gpugrad.backend.windows import Block, Windows, blocks, clipped

__all__ = ["convolution", "convolution_transpose", "convolution_weight"]

Sizes = tuple[int, ...]
Padding = tuple[tuple[int, int], ...]

CACHE = 1 << 17  # elements of a block that stay in the cache
SHARED = 1 << 25  # multiplications from which on threads share a convolution
MANY_ROWS = 16  # with fewer rows a product of matrices is slow
FEW_SUMS = 1 << 17  # products of so many elements together are added up after the last of them


def convolution(
    x: Any, weight: Any, bias: Any = None, /, *, stride: Sizes, padding: Padding, dilation: Sizes,
    groups: int,
) -> Any:  # fmt: skip
    """The op of this name in `gpugrad.ops.convolution`."""
    windows = Windows(weight.shape[2:], stride, padding, dilation)
    dtype = np.result_type(x, weight)
    if is_depthwise(x, len(weight), weight, groups):
        y = _empty_result(x, windows.counts(x.shape[2:]))
        depthwise(x, weight, windows, y)
        return _with_bias(y, bias, dtype)
    wide = SINGLE if dtype == HALF else dtype
    # (groups, outputs, inputs, *kernel) -> (groups, *kernel and inputs, outputs)
    split = _split(weight, groups)
    matrix = np.moveaxis(split, (1, 2), (-1, -2)).reshape(groups, -1, split.shape[1])
    y = _convolved(x, matrix.astype(wide, copy=False), windows, groups)
    return _with_bias(y, bias, dtype)


def convolution_transpose(
    x: Any, weight: Any, bias: Any = None, /, *, size: Sizes, stride: Sizes, padding: Padding,
    dilation: Sizes, groups: int,
) -> Any:  # fmt: skip
    """The op of this name in `gpugrad.ops.convolution`."""
    windows = Windows(weight.shape[2:], stride, padding, dilation)
    dtype = np.result_type(x, weight)
    if is_depthwise(x, groups * weight.shape[1], weight, groups):
        y = _empty_result(x, size)
        depthwise_transpose(x, weight, windows, y)
        return _with_bias(y, bias, dtype)
    wide = SINGLE if dtype == HALF else dtype
    split = _split(weight, groups)
    if all(step == 1 for step in stride):
        # A convolution with the kernel turned around, over the windows that reach an element.
        turned = split[(slice(None),) * 3 + (slice(None, None, -1),) * len(stride)]
        matrix = np.moveaxis(turned, (1, 2), (-2, -1)).reshape(groups, -1, split.shape[2])
        x, around = _around(x, windows, size)
        windows = windows._replace(padding=around)
        y = _convolved(x, matrix.astype(wide, copy=False), windows, groups)
    else:
        matrix = np.moveaxis(split, 2, -1).reshape(groups, split.shape[1], -1)
        y = _scattered(x, matrix.astype(wide, copy=False), windows, size, groups)
    return _with_bias(y, bias, dtype)


def convolution_weight(
    x: Any, g: Any, /, *, kernel: Sizes, stride: Sizes, padding: Padding, dilation: Sizes,
    groups: int,
) -> Any:  # fmt: skip
    """The op of this name in `gpugrad.ops.convolution`."""
    windows = Windows(kernel, stride, padding, dilation)
    if is_depthwise(x, g.shape[1], g, groups):
        return depthwise_weight(x, g, windows)
    dtype = np.result_type(x, g)
    wide = SINGLE if dtype == HALF else dtype
    inputs, outputs = x.shape[1] // groups, g.shape[1] // groups
    total = np.zeros((groups, windows.elements * inputs, outputs), wide)
    if x.size and g.size:
        layout = _layout(x, windows, groups)
        moved = g.transpose(layout.order)

        def products(block: Block) -> Any:
            rows = _gathered(x, layout, block, wide)
            part = moved[layout.place(block)]
            part = part.reshape((rows.shape[1], -1, groups, outputs)).transpose(2, 0, 1, 3)
            return _sum_of_products(rows.swapaxes(-1, -2), part.astype(wide, copy=False))

        count = len(layout.blocks)
        each = g.size * total.shape[1] / count
        together = thread_count() if count * each >= SHARED else 1
        for start in range(0, count, together):
            some = layout.blocks[start : start + together]
            for part in share(products, some, len(some) * each):
                total += part
    d = total.reshape((groups, *kernel, inputs, outputs))
    d = np.moveaxis(d, (-1, -2), (1, 2)).reshape((groups * outputs, inputs, *kernel))
    return d.astype(dtype, order="C", copy=False)


# ---------------------------------------------------------------- the layout


class _Layout(NamedTuple):
    """How the elements under the windows become rows of matrices."""

    windows: Windows
    groups: int
    along: bool  # whether windows slide along the first axis as matrices that overlap
    order: Sizes  # of the result's axes in memory: (first, samples, ..., channels) if ``along``
    blocks: Sequence[Block]

    def place(self, block: Block) -> tuple[slice, slice]:
        """The place of a block in an array with its axes in ``order``."""
        return (block.rows, block.samples) if self.along else (block.samples, block.rows)


def _layout(x: Any, windows: Windows, groups: int) -> _Layout:
    samples, channels, *rest = x.shape
    sizes = tuple(rest)
    counts = windows.counts(sizes)
    beside = math.prod(counts[1:])
    limit = min(CACHE, max(2 * x.size, CACHE // 4))
    axes = tuple(range(3, x.ndim))
    if windows.dilation[0] == 1:
        rows = sizes[0] + sum(windows.padding[0])
        each = channels * rows * beside * math.prod(windows.kernel[1:])
        parts = blocks(windows, samples, sizes, each, limit)
        if (parts[0].samples.stop - parts[0].samples.start) * beside >= MANY_ROWS:
            return _Layout(windows, groups, True, (2, 0, *axes, 1), parts)
    each = channels * math.prod(counts) * windows.elements
    parts = blocks(windows, samples, sizes, each, limit)
    return _Layout(windows, groups, False, (0, 2, *axes, 1), parts)


def _gathered(x: Any, layout: _Layout, block: Block, dtype: Any) -> Any:
    """Matrices (groups, matrices, windows, elements under a window); they may overlap."""
    windows, groups, along = layout.windows, layout.groups, layout.along
    source = x[block.samples, :, block.inside]
    samples, channels, *sizes = source.shape
    inputs = channels // groups
    counts = windows.counts(x.shape[2:])
    counts = (block.rows.stop - block.rows.start, *counts[1:])
    axes = [*range(4, source.ndim + 1), 3] if along else range(3, source.ndim + 1)
    source = source.reshape((samples, groups, inputs, *sizes)).transpose((1, 0, *axes, 2))
    skipped = int(along)  # the axis of which nothing is gathered stands behind the others
    kernel = windows.kernel[skipped:]
    before, after = block.padding
    length = sizes[0] + before + after
    whole = (length,) if along else ()
    make = np.zeros if before or after or any(map(any, windows.padding[1:])) else np.empty
    rows = make((groups, samples, *counts[skipped:], *whole, *kernel, inputs), dtype)
    inside = (slice(before, before + sizes[0]),) if along else ()
    firsts = (before, *(low for low, _ in windows.padding[1:]))
    for offset in itertools.product(*map(range, kernel)):
        cuts = [
            clipped(sizes[axis], counts[axis], i * windows.dilation[axis] - firsts[axis],
                    windows.stride[axis])
            for axis, i in enumerate(offset, skipped)
        ]  # fmt: skip
        to = (slice(None), slice(None), *(cut[0] for cut in cuts), *inside, *offset)
        rows[to] = source[(slice(None), slice(None), *(cut[1] for cut in cuts))]
    if not along:
        return rows.reshape((groups, 1, samples * math.prod(counts), -1))
    beside = math.prod(counts[1:])
    unit = math.prod(kernel) * inputs  # what is gathered for one element of the first axis
    return np.ndarray(
        (groups, counts[0], samples * beside, windows.kernel[0] * unit),
        dtype,
        rows,
        0,
        tuple([
            n * rows.itemsize
            for n in (rows.size // groups, windows.stride[0] * unit, length * unit, 1)
        ]),
    )  # fmt: skip


def _empty(shape: Sizes, order: Sizes, dtype: Any) -> Any:
    """An array whose axes have another order in memory; no view, so that it owns that."""
    strides, step = [0] * len(shape), dtype.itemsize
    for axis in reversed(order):
        strides[axis] = step
        step *= max(shape[axis], 1)
    return np.empty_like(np.lib.stride_tricks.as_strided(np.empty((), dtype), shape, strides))


def _empty_result(x: Any, sizes: Sizes) -> Any:
    """An array with samples and channels of x, and with the channels last in memory."""
    return _empty((*x.shape[:2], *sizes), (2, 0, *range(3, x.ndim), 1), x.dtype)


def _split(weight: Any, groups: int) -> Any:
    """A weight as (groups, outputs of a group, inputs of a group, *kernel)."""
    outputs, *rest = weight.shape
    return weight.reshape((groups, outputs // groups, *rest))


def _with_bias(y: Any, bias: Any, dtype: Any) -> Any:
    """y, which is new memory, plus the bias of each channel."""
    if bias is not None:
        bias = bias.reshape((-1, *(1,) * (y.ndim - 2)))
        dtype = np.result_type(dtype, bias)
        if y.dtype == dtype or dtype == HALF:
            y += bias
        else:
            y = y + bias
    return y.astype(dtype, copy=False)


# ---------------------------------------------------------------- the products


def _convolved(x: Any, matrix: Any, windows: Windows, groups: int) -> Any:
    """The convolution with a matrix (groups, elements under a window, outputs of a group)."""
    counts, dtype = windows.counts(x.shape[2:]), np.result_type(x, matrix)
    shape = (len(x), groups * matrix.shape[2], *counts)
    if not x.size or not matrix.size:
        return np.zeros(shape, dtype)
    if windows.single:
        return _at_single_elements(x, matrix, shape, groups)
    layout = _layout(x, windows, groups)
    y = _empty(shape, layout.order, dtype)
    moved = y.transpose(layout.order)

    def convolve(block: Block) -> None:
        rows = _gathered(x, layout, block, dtype)
        to = moved[layout.place(block)]
        to = to.reshape((*rows.shape[1:3], groups, matrix.shape[2])).transpose(2, 0, 1, 3)
        np.matmul(rows, matrix[:, None], out=to)

    share(convolve, layout.blocks, y.size * matrix.shape[1], SHARED)
    return y


def _at_single_elements(x: Any, matrix: Any, shape: Sizes, groups: int) -> Any:
    """The convolution with kernels of one element, which gathers nothing."""
    inputs, outputs = matrix.shape[1:]
    axes = tuple(range(3, x.ndim))
    for order in ((2, 0, *axes, 1), (0, 2, *axes, 1)):
        rows = x.transpose(order)
        if rows.flags.c_contiguous and x.shape[1] > 1:
            y = _empty(shape, order, np.result_type(x, matrix))
            to = y.transpose(order).reshape((-1, groups, outputs)).transpose(1, 0, 2)
            np.matmul(rows.reshape((-1, groups, inputs)).transpose(1, 0, 2), matrix, out=to)
            return y
    columns = x.reshape((len(x), groups, inputs, -1))
    return np.matmul(matrix.swapaxes(-1, -2), columns).reshape(shape)


def _around(x: Any, windows: Windows, size: Sizes) -> tuple[Any, Padding]:
    """x and its padding for a convolution that is the transpose of one with these windows.

    Where a padding would be negative, x is cut.
    """
    paddings = []
    cut = [slice(None)] * 2
    for n, count, extent, (before, _) in zip(size, x.shape[2:], windows.extent, windows.padding):
        low = extent - 1 - before
        high = n - count - low + extent - 1
        cut.append(slice(max(-low, 0), count - max(-high, 0)))
        paddings.append((max(low, 0), max(high, 0)))
    return x[tuple(cut)], tuple(paddings)


def _scattered(x: Any, matrix: Any, windows: Windows, size: Sizes, groups: int) -> Any:
    """The transpose of a convolution: each window's share is added where its elements lie.

    The matrix is (groups, channels of x in a group, elements under a window).
    """
    samples, _, *rest = x.shape
    dtype = np.result_type(x, matrix)
    inputs = matrix.shape[2] // windows.elements
    order = (2, 0, *range(3, x.ndim), 1)
    y = _empty((samples, groups * inputs, *size), order, dtype)
    y.fill(0)
    if not x.size or not matrix.size:
        return y
    each = math.prod(rest) * groups * matrix.shape[2]
    limit = min(CACHE, max(2 * x.size, CACHE // 4))
    to = y.transpose(order).reshape((size[0], samples, *size[1:], groups, inputs))
    moved = x.transpose(order)

    def scatter(parts: list[Block]) -> None:
        for block in parts:
            part = moved[block.rows, block.samples]
            rows = part.reshape((-1, groups, matrix.shape[1])).transpose(1, 0, 2)
            shares = np.matmul(rows, matrix).reshape(
                (groups, *part.shape[:-1], *windows.kernel, inputs)
            )
            shares = np.moveaxis(shares, 0, -2)  # (first, samples, ..., *kernel, groups, inputs)
            _add_shares(to[:, block.samples], shares, windows, block.rows.start)

    each_block = blocks(windows, samples, size, each, limit)
    by_samples = itertools.groupby(each_block, lambda block: block.samples.start)
    # Windows of one sample may overlap.
    each_sample = [[*parts] for _, parts in by_samples]
    share(scatter, each_sample, samples * each * matrix.shape[1], SHARED)
    return y


def _add_shares(to: Any, shares: Any, windows: Windows, row: int) -> None:
    """Add the elements of windows, of which the first one is that of a row, to their places."""
    axes = len(windows.kernel)
    counts = (shares.shape[0], *shares.shape[2 : axes + 1])
    sizes = (to.shape[0], *to.shape[2 : axes + 1])
    firsts = [-before for before, _ in windows.padding]
    firsts[0] += row * windows.stride[0]
    for offset in itertools.product(*map(range, windows.kernel)):
        cuts = [
            clipped(size, count, i * d + first, s)
            for size, count, i, d, first, s in zip(
                sizes, counts, offset, windows.dilation, firsts, windows.stride
            )
        ]
        source, place = ([cut[i] for cut in cuts] for i in range(2))
        own = shares[(source[0], slice(None), *source[1:], *offset)]
        to[(place[0], slice(None), *place[1:])] += own


def _sum_of_products(a: Any, b: Any) -> Any:
    """The sums of products of stacks of matrices (groups, matrices, ...)."""
    if a.shape[1] == 1:
        return np.matmul(a[:, 0], b[:, 0])
    groups, matrices, rows, _ = a.shape
    if groups * matrices * rows * b.shape[-1] <= FEW_SUMS:
        return np.add.reduce(np.matmul(a, b), 1)
    total = np.matmul(a[:, 0], b[:, 0])
    for index in range(1, matrices):
        total += np.matmul(a[:, index], b[:, index])
    return total
