"""The gradient of batch normalization in host memory. Imports aligned, namespace and precision.

The passes go over blocks that stay in the cache, so that x and the gradient are read twice and the
result is written once. Channels may be last in memory, as convolutions leave them, or first.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpugrad.backend.aligned import aligned
from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.backend.precision import DOUBLE, SINGLE

__all__ = ["batch_norm_vjp"]

CACHE = 1 << 16  # elements of a block
FEW = 1 << 15  # elements for which the formula takes less time
RUN = 1 << 11  # elements of a row of several samples, with the channels last
ROWS = 1 << 10  # rows that are added one by one without losing digits that count


def batch_norm_vjp(
    gs: Any, ys: Any, needs: tuple[bool, ...], x: Any, weight: Any, bias: Any, eps: float
) -> Any:
    """The formula of this name in `gpugrad.ops.normalization`."""
    g, *of_moments = gs
    usual = g is not None and (needs[0] or needs[1]) and all(one is None for one in of_moments)
    weight = weight if needs[0] else None  # else it was not saved
    layout = _layout(x, weight) if usual and g.dtype is x.dtype and g.shape == x.shape else None
    if layout is None:
        xp = namespace_of(next(one for one in gs if one is not None))
        return FORMULAS["batch_norm_vjp"](xp, gs, ys, needs, x, weight, bias, eps)
    _, mean, variance = ys
    rows, of_rows = layout.rows(x), layout.rows(g)
    middle = layout.spread(mean)
    total, along = np.zeros((2, x.shape[1]))
    for part, d in layout.blocks(rows):
        total += layout.sums(of_rows[part])
        along += layout.dots(np.subtract(rows[part], middle, d), of_rows[part])
    rate = 1 / np.sqrt(variance + x.dtype.type(eps))
    along *= rate
    d_x = None
    if needs[0]:
        # a (g - mean(g) - d mean(g d) / variance), with d = x - mean
        a = rate if weight is None else rate * weight
        slope = layout.spread((-a * rate * along / layout.count).astype(x.dtype))
        level = layout.spread((-a * total / layout.count).astype(x.dtype))
        a, d_x = layout.spread(a), np.empty_like(x)
        out = layout.rows(d_x)
        for part, d in layout.blocks(rows):
            np.subtract(rows[part], middle, d)
            np.multiply(d, slope, d)
            np.add(d, level, d)
            to = np.multiply(of_rows[part], a, out[part])
            np.add(to, d, to)
    totals = (one.astype(x.dtype) if need else None for one, need in zip((along, total), needs[1:]))
    return d_x, *totals


def _layout(x: Any, *others: Any) -> Any:
    """How an array lies in memory; None where it takes the formula."""
    dtype = x.dtype
    if (dtype is not SINGLE and dtype is not DOUBLE) or x.ndim < 2 or x.size < FEW:
        return None
    if any(
        one is not None and (one.dtype is not dtype or one.shape != x.shape[1:2]) for one in others
    ):
        return None
    order = tuple(sorted(range(x.ndim), key=lambda axis: -x.strides[axis]))
    if order[-1] == 1 and x.transpose(order).flags.c_contiguous:
        return _ChannelsLast(x, order)
    return _Planes(x) if x.ndim > 2 and x.flags.c_contiguous else None


def _parts(rows: Any, step: int) -> Iterator[tuple[slice, Any]]:
    memory = aligned((min(step, len(rows)), *rows.shape[1:]), rows.dtype)
    for start in range(0, len(rows), step):
        yield slice(start, start + step), memory[: len(rows) - start]


class _Planes:
    """Arrays (samples, channels, elements), as they lie in memory."""

    def __init__(self, x: Any) -> None:
        self.shape = (*x.shape[:2], math.prod(x.shape[2:]))
        self.count = self.shape[0] * self.shape[2]

    def rows(self, x: Any) -> Any:
        return np.ascontiguousarray(x).reshape(self.shape)

    def blocks(self, rows: Any) -> Iterator[tuple[slice, Any]]:
        """The blocks of an array of rows, and memory for each."""
        step = max(1, CACHE // (self.shape[1] * self.shape[2]))
        return _parts(rows, step)

    def spread(self, numbers: Any) -> Any:
        """A number for each channel in a shape that broadcasts."""
        return numbers[:, None]

    def sums(self, block: Any) -> Any:
        return np.add.reduce(np.add.reduce(block, 2), 0)

    def dots(self, a: Any, b: Any) -> Any:
        return np.add.reduce(np.vecdot(a, b), 0)


class _ChannelsLast:
    """Arrays whose channels are last in memory, as rows of several elements with all channels.

    The order of the axes in memory is that of one of them, into which others are brought.
    """

    def __init__(self, x: Any, order: tuple[int, ...]) -> None:
        self.order, self.channels = order, x.shape[1]
        self.count = count = x.size // self.channels
        most = max(1, RUN // self.channels)
        self.together = next(n for n in range(min(most, count), 0, -1) if count % n == 0)

    def rows(self, x: Any) -> Any:
        moved = np.ascontiguousarray(x.transpose(self.order))
        return moved.reshape((-1, self.together * self.channels))

    def blocks(self, rows: Any) -> Iterator[tuple[slice, Any]]:
        """The blocks of an array of rows, and memory for each."""
        step = min(ROWS, max(1, CACHE // rows.shape[1]))
        return _parts(rows, step)

    def spread(self, numbers: Any) -> Any:
        """A number for each channel as a row."""
        rows = np.empty((self.together, self.channels), numbers.dtype)
        rows[...] = numbers
        return rows.reshape(-1)

    def sums(self, block: Any) -> Any:
        return self._of_channels(np.add.reduce(block, 0))

    def dots(self, a: Any, b: Any) -> Any:
        return self._of_channels(np.einsum("ij,ij->j", a, b))

    def _of_channels(self, row: Any) -> Any:
        return np.add.reduce(row.reshape((-1, self.channels)), 0)
