"""Convolutions in which each channel has its own kernel, over arrays in host memory.

A product of matrices has nothing to share there. With the channels last in memory, a row of
elements with all their channels is one run: ``numpy.einsum`` multiplies such runs under each
element of the kernel and adds them up in one pass. Imports precision and windows.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpugrad.backend.precision import DOUBLE, SINGLE
from gpugrad.backend.windows import Windows, clipped

__all__ = ["depthwise", "depthwise_transpose", "depthwise_weight", "is_depthwise"]

Sizes = tuple[int, ...]

ENOUGH = 1 << 10  # numbers that lose no digits that count when they are added one by one


def is_depthwise(x: Any, channels: int, other: Any, groups: int) -> bool:
    """Whether each of several channels is convolved alone, in one dtype, single or double.

    ``channels`` are those of the result; ``other`` is the weight, or the gradient of the result.
    """
    same = x.dtype is other.dtype and (x.dtype is SINGLE or x.dtype is DOUBLE)
    return same and 1 < groups == x.shape[1] == channels and bool(x.size and other.size)


def depthwise(x: Any, weight: Any, windows: Windows, y: Any) -> None:
    """Write the convolution of x with a weight (channels, 1, *kernel) to y."""
    _convolve(_with_padding(x, windows), weight, windows, y)


def depthwise_transpose(x: Any, weight: Any, windows: Windows, y: Any) -> None:
    """Write the transpose to y: x lies where the windows are.

    It is the convolution with the kernel turned around, of x with zeros between its elements.
    """
    ones = (1,) * len(windows.kernel)
    reach = [extent - 1 for extent in windows.extent]
    sizes = tuple([n + more for n, more in zip(y.shape[2:], reach)])
    firsts = tuple([more - low for more, (low, _) in zip(reach, windows.padding)])
    turned = weight[(..., *[slice(None, None, -1)] * len(ones))]
    rows = _padded(x, sizes, firsts, windows.stride)
    _convolve(rows, turned, windows._replace(stride=ones), y)


def _convolve(rows: Any, weight: Any, windows: Windows, y: Any) -> None:
    to = _moved(y)
    shape, joined = to.shape, _joined(to)
    target = joined
    for number, (columns, own, under) in enumerate(_in_runs(rows, windows, shape)):
        kernels = np.moveaxis(weight[:, 0, ..., columns], 0, -1)[..., None, :]
        kernels = _joined(np.broadcast_to(kernels, (*own.kernel, *shape[-2:])))
        kernel, place = _axes(under, own)
        if number == 1:
            target = np.empty_like(joined)
        np.einsum(under, [*kernel, *place], kernels, [*kernel, place[-1]], place, out=target)
        if number:
            np.add(joined, target, joined)


def depthwise_weight(x: Any, g: Any, windows: Windows) -> Any:
    """The gradient of the weight, (channels, 1, *kernel), by that of the convolution of x."""
    channels, of_windows = x.shape[1], _in_rows(g)
    shape, of_windows = of_windows.shape, _joined(of_windows)
    total = np.zeros((*windows.kernel, channels), x.dtype)
    step = max(1, ENOUGH * len(of_windows) * of_windows.shape[-1] // of_windows.size)
    for columns, own, under in _in_runs(_with_padding(x, windows), windows, shape):
        kernel, place = _axes(under, own)
        for start in range(0, shape[0], step):
            part = slice(start, start + step)
            some = under[(*[slice(None)] * len(kernel), part)]
            sums = np.einsum(some, [*kernel, *place], of_windows[part], place, [*kernel, place[-1]])
            total[..., columns, :] += np.add.reduce(sums.reshape((*own.kernel, -1, channels)), -2)
    return np.ascontiguousarray(np.moveaxis(total, -1, 0)[:, None])


# ---------------------------------------------------------------- the layout


def _moved(x: Any) -> Any:
    """A view with the axes (first, samples, ..., channels), in which results lie in memory."""
    return x.transpose((2, 0, *range(3, x.ndim), 1))


def _in_rows(x: Any) -> Any:
    """The same, of which the last two axes are one run of memory; a copy, if it must be."""
    moved = _moved(x)
    return moved if _one_run(moved) else np.ascontiguousarray(moved)


def _one_run(x: Any) -> bool:
    return bool(x.strides[-2:] == (x.shape[-1] * x.itemsize, x.itemsize))


def _joined(x: Any) -> Any:
    """x with its last two axes as one."""
    return x.reshape((*x.shape[:-2], -1))


def _with_padding(x: Any, windows: Windows) -> Any:
    firsts = tuple([low for low, _ in windows.padding])
    return _padded(x, windows.padded(x.shape[2:]), firsts, (1,) * len(firsts))


def _padded(x: Any, sizes: Sizes, firsts: Sizes, stride: Sizes) -> Any:
    """Rows of zeros of these sizes, in which x begins at ``firsts``, ``stride`` elements apart."""
    if sizes == x.shape[2:] and not any(firsts) and max(stride) == 1:
        return _in_rows(x)
    samples, channels = x.shape[:2]
    rows = np.zeros((sizes[0], samples, *sizes[1:], channels), x.dtype)
    cuts = [clipped(*axis) for axis in zip(sizes, x.shape[2:], firsts, stride)]
    (own, place), (others, places) = cuts[0], zip(*cuts[1:]) if cuts[1:] else ((), ())
    rows[(place, slice(None), *places)] = _moved(x)[(own, slice(None), *others)]
    return rows


def _in_runs(rows: Any, windows: Windows, shape: Sizes) -> Iterator[tuple[slice, Windows, Any]]:
    """Columns of the kernel, the windows with these alone, and the elements under them.

    The elements are (*kernel, *shape), with the last two axes of the shape as one. Where windows
    are not side by side along the last axis, each column of the kernel has its elements gathered.
    """
    if len(windows.kernel) == 1 or windows.stride[-1] == 1:
        yield slice(None), windows, _joined(_under(rows, windows, shape))
        return
    step, own = (
        windows.stride[-1],
        windows._replace(kernel=(*windows.kernel[:-1], 1), stride=(*windows.stride[:-1], 1)),
    )
    part = np.empty((*rows.shape[:-2], *shape[-2:]), rows.dtype)  # for one column at a time
    for column in range(windows.kernel[-1]):
        first = column * windows.dilation[-1]
        part[...] = rows[..., first : first + (shape[-2] - 1) * step + 1 : step, :]
        yield slice(column, column + 1), own, _joined(_under(part, own, shape))


def _under(rows: Any, windows: Windows, shape: Sizes) -> Any:
    """The elements of rows under the windows of a result, a view (*kernel, *shape)."""
    first, samples, *rest = rows.strides
    steps = (first, *rest[:-1])
    apart = [step * s for step, s in zip(steps, windows.stride)]
    strides = (
        *[step * d for step, d in zip(steps, windows.dilation)],
        apart[0], samples, *apart[1:], rest[-1],
    )  # fmt: skip
    return np.lib.stride_tricks.as_strided(rows, (*windows.kernel, *shape), strides)


def _axes(under: Any, windows: Windows) -> tuple[list[int], list[int]]:
    """Numbers of the axes of the kernel, and of the others."""
    axes = len(windows.kernel)
    return list(range(axes)), list(range(axes, under.ndim))
