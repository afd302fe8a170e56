"""Where the windows of convolutions and pools lie: counts, slices and blocks. Imports nothing.

An array has axes (samples, channels, *sizes). A window of ``kernel`` elements, ``dilation`` apart,
moves ``stride`` elements at a time over the last axes, with ``padding`` before and after each.
"""

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = ["LEAST", "Block", "Windows", "blocks", "clipped", "places"]

Sizes = tuple[int, ...]
Slices = tuple[slice, ...]

# Arrays of fewer elements are not divided into blocks: 16 MB of float32.
LEAST = 1 << 22


class Windows(NamedTuple):
    """The windows over arrays of any size; one number for each axis, a pair of paddings."""

    kernel: Sizes
    stride: Sizes
    padding: tuple[tuple[int, int], ...]
    dilation: Sizes

    @property
    def extent(self) -> Sizes:
        """The distance from the first to the last element of a window, plus one."""
        return tuple([d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation)])

    @property
    def elements(self) -> int:
        """The number of elements of a window."""
        return math.prod(self.kernel)

    @property
    def single(self) -> bool:
        """Whether each window is the one element at its place: nothing has to be gathered."""
        return (
            self.elements == 1
            and all(s == 1 for s in self.stride)
            and not any(map(any, self.padding))
        )

    def counts(self, sizes: Sizes) -> Sizes:
        """The number of windows along each axis; ValueError where none fits."""
        counts = tuple(
            [
                (size + before + after - extent) // stride + 1
                for size, (before, after), extent, stride in zip(
                    sizes, self.padding, self.extent, self.stride
                )
            ]
        )
        if min(counts, default=1) < 1:
            raise ValueError(
                f"a window of {self.extent} elements does not fit into {tuple(sizes)} with the "
                f"padding {self.padding}"
            )
        return counts

    def padded(self, sizes: Sizes) -> Sizes:
        """The sizes with the padding."""
        return tuple([size + sum(pad) for size, pad in zip(sizes, self.padding)])

    def positions(self, counts: Sizes) -> Iterator[tuple[Sizes, Slices]]:
        """Each offset in a window, and the slices of the padded array with the elements there."""
        for offset in itertools.product(*map(range, self.kernel)):
            yield (
                offset,
                tuple(
                    slice(i * d, i * d + (n - 1) * s + 1, s)
                    for i, d, n, s in zip(offset, self.dilation, counts, self.stride)
                ),
            )


def clipped(size: int, count: int, first: int, stride: int) -> tuple[slice, slice]:
    """Of ``count`` places from ``first`` on, those inside an axis of a size.

    The slice of the places, and that of the axis: both are empty where none is inside.
    """
    start = max(0, -(first // stride)) if first < 0 else 0
    stop = min(count, (size - 1 - first) // stride + 1)
    if stop <= start:
        return slice(0, 0), slice(0, 0)
    low = first + start * stride
    return slice(start, stop), slice(low, low + (stop - start - 1) * stride + 1, stride)


def places(windows: Windows, sizes: Sizes, counts: Sizes) -> Iterator[tuple[int, Any, Any]]:
    """For each number in a window, the windows of which it is inside, and the elements there."""
    for number, offset in enumerate(itertools.product(*map(range, windows.kernel))):
        cuts = [
            clipped(size, count, i * d - before, s)
            for size, count, i, d, (before, _), s in zip(
                sizes, counts, offset, windows.dilation, windows.padding, windows.stride
            )
        ]
        if all(cut[0].stop for cut in cuts):
            yield number, (..., *(cut[0] for cut in cuts)), (..., *(cut[1] for cut in cuts))


class Block(NamedTuple):
    """A part of the work: some samples, and some of the windows along the first axis."""

    samples: slice
    rows: slice  # of the windows
    inside: slice  # of the elements under these windows
    padding: tuple[int, int]  # beside these elements


@lru_cache(1024)
def blocks(windows: Windows, samples: int, sizes: Sizes, each: int, limit: int) -> list[Block]:
    """Parts of the work of which each needs about ``limit`` elements of memory at most.

    ``each`` is what a sample needs. Where that is more than the limit, the windows of one sample
    are divided along the first axis.
    """
    count, size = windows.counts(sizes)[0], sizes[0]
    together = max(1, min(samples, limit // max(each, 1)))
    rows = count
    if each > limit:
        rows = max(1, count * limit // each)
    result = []
    for start in range(0, max(samples, 1), together):
        for row in range(0, count, rows):
            stop = min(row + rows, count)
            inside, padding = (
                _under(windows, size, row, stop)
                if rows < count
                else (slice(0, size), windows.padding[0])
            )
            chosen = slice(start, min(start + together, samples))
            result.append(Block(chosen, slice(row, stop), inside, padding))
    return result


def _under(windows: Windows, size: int, row: int, stop: int) -> tuple[slice, tuple[int, int]]:
    """The elements along the first axis under some windows, and the padding beside them."""
    first = row * windows.stride[0] - windows.padding[0][0]
    last = (stop - 1) * windows.stride[0] - windows.padding[0][0] + windows.extent[0]
    low, high = min(max(first, 0), size), max(min(last, size), 0)
    high = max(high, low)
    before = min(max(low - first, 0), last - first)  # all of it where no element is under them
    return slice(low, high), (before, last - first - before - (high - low))
