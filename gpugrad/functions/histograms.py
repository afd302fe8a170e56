"""Histograms: compositions.

Imports index_tricks, manipulation, operands, scatter, sorting, type_check and tensor.

Counts are step functions of what is counted, and have a gradient by weights and by the edges of
bins. The edges depend on values, so all of these functions wait for the device.
"""

import builtins
import math
from collections.abc import Sequence
from typing import Any

from gpugrad.engine.modes import is_deterministic
from gpugrad.errors import DTypeError, GradientError, ShapeError
from gpugrad.functions.index_tricks import ravel_multi_index
from gpugrad.functions.manipulation import ravel, reshape, stack
from gpugrad.functions.operands import (
    beside,
    is_number,
    together,
    with_axes,
    without_lists,
    xp_of,
)
from gpugrad.functions.scatter import bincount
from gpugrad.functions.sorting import searchsorted
from gpugrad.functions.type_check import real_only
from gpugrad.ops.ordered import histogram_in_order
from gpugrad.tensor import Tensor, as_tensor
from gpugrad.tensor.creation import linspace, zeros

__all__ = ["histogram", "histogram2d", "histogram_bin_edges", "histogramdd"]


def _recorded(*values: Any) -> bool:
    """Whether one of them is a Tensor in a graph."""
    return any(isinstance(value, Tensor) and value.requires_grad for value in values)


def _batched(*values: Any) -> bool:
    """Whether one of them is a Tensor with another value for each element of `vmap`'s batch."""
    return any(isinstance(t, Tensor) and getattr(xp_of(t), "batched", False) for t in values)


def _bins(name: str, bins: Any, x: Tensor) -> Any:
    """A number of bins, or their edges as a Tensor on the device of x."""
    if isinstance(bins, str):
        raise DTypeError(f"{name}: expected a number of bins or their edges, got {bins!r}")
    if is_number(bins):
        return int(bins) if bins.dtype.kind in "iu" else bins[()]
    if isinstance(bins, list | tuple):
        return beside(bins, x)
    return as_tensor(bins) if getattr(bins, "ndim", 0) else bins


def _ends(name: str, range: Any) -> Any:
    """The ends of a range, as numbers; GradientError for ends in a graph."""
    if range is None or not isinstance(range, Sequence):
        return range
    if _recorded(*range):
        raise GradientError(
            f"{name}: range= has no gradient. Give it numbers (t.item()), or edges in a graph as "
            "bins=gg.linspace(low, high, count + 1)"
        )
    return tuple(float(end) for end in range)


def histogram(
    x: Any, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None
) -> tuple[Tensor, Tensor]:
    """The number of elements of the raveled x in each bin, and the edges of the bins.

    ``bins`` is their number or a vector of edges. Counts are step functions; there is a gradient
    by weights, by edges, and by the extreme elements of x, between which edges lie. Waits for the
    device.

    >>> import gpugrad as gg
    >>> x = gg.tensor([0.0, 1.0, 1.5])
    >>> gg.grad(lambda w: gg.histogram(x, [0.0, 1.0, 2.0], weights=w)[0][1])(gg.ones(3))
    tensor([0., 1., 1.])
    """
    x = real_only("histogram", without_lists(x, bins, weights)[0])
    bins, range = _bins("histogram", bins, x), _ends("histogram", range)
    weights = None if weights is None else beside(weights, x)
    if weights is not None and weights.shape != x.shape:
        raise ShapeError(
            f"histogram: expected weights of shape {x.shape}, that of x, got {weights.shape}"
        )
    if _recorded(x, bins, weights) or _batched(x, bins, weights):
        edges = histogram_bin_edges(x, bins, range)
        counts = _counts([ravel(x)], [edges], weights, density)
        plain = weights is None and not density
        return counts.astype("int64") if plain else counts, edges
    xp, x = xp_of(x), x.detach()
    bins = bins.data if isinstance(bins, Tensor) else bins
    raw = None if weights is None else weights.data
    if xp.atomic is not None and is_deterministic() and raw is not None:
        counts, edges = histogram_in_order(xp, x.data, raw, bins, range, density)
    else:
        counts, edges = xp.histogram(x.data, bins, range, weights=raw, density=density)
    return Tensor(counts), Tensor(edges)


def histogram_bin_edges(x: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Tensor:
    """The edges of the bins of `histogram`; ``weights`` do not change them.

    >>> import gpugrad as gg
    >>> gg.histogram_bin_edges(gg.tensor([0.0, 3.0, 6.0]), bins=3)
    tensor([0., 2., 4., 6.])
    """
    x = real_only("histogram_bin_edges", without_lists(x, bins)[0])
    bins, range = _bins("histogram_bin_edges", bins, x), _ends("histogram_bin_edges", range)
    if isinstance(bins, Tensor):
        if not _batched(bins):
            histogram(zeros(0, dtype=x.dtype, device=x.device), bins.detach())  # that they rise
        return bins
    if (x.requires_grad or _batched(x)) and range is None and x.size:
        x = x.astype("float64") if x.dtype.kind in "biu" else x
        if int(bins) < 1:
            raise ShapeError(f"histogram: expected a positive number of bins, got {bins}")
        low, high = x.min(), x.max()
        room = (low.detach() == high.detach()).astype(x.dtype) * 0.5  # as NumPy makes it
        return linspace(low - room, high + room, int(bins) + 1)
    x = zeros(0, dtype=x.dtype, device=x.device) if _batched(x) else x.detach()
    return histogram(stack([x.min(), x.max()]) if x.size else x, bins, range)[1]


def _counts(
    columns: Sequence[Tensor], edges: Sequence[Tensor], weights: Any, density: bool
) -> Tensor:
    """The points in each cell of a grid, or the sums of their weights."""
    axes = builtins.range(len(columns))
    # The last edge belongs to the last bin; elements outside go to one more, which is dropped.
    numbers = [
        searchsorted(edge, column, side="right") - (column.detach() == edge[-1].detach())
        for edge, column in zip(edges, columns, strict=True)
    ]
    sizes = [edge.size + 1 for edge in edges]
    flat = ravel_multi_index(numbers, sizes, mode="clip")
    if weights is not None:
        weights = ravel(weights)
    counted = bincount(flat, weights, minlength=math.prod(sizes))
    counted = reshape(counted, sizes)[(slice(1, -1),) * len(columns)]
    if density:
        total = counted.sum()
        for i, edge in enumerate(edges):
            widths = reshape(edge[1:] - edge[:-1], [-1 if j == i else 1 for j in axes])
            counted = counted / widths
        counted = counted / total
    return counted


def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The number of points in each cell of a grid, and the edges of the grid along each axis.

    ``sample`` has one row for each point, or is a list of the points' coordinates. ``bins`` is a
    number, or for each axis a number or the edges. Gradients are those of `histogram`. Waits for
    the device.

    >>> import gpugrad as gg
    >>> counts, edges = gg.histogramdd(gg.tensor([[0.0, 0.0], [1.0, 2.0], [0.9, 2.0]]), bins=2)
    >>> counts.tolist(), edges[1]
    ([[1.0, 0.0], [0.0, 2.0]], tensor([0., 1., 2.]))
    """
    if isinstance(sample, list | tuple):
        x = stack(together(*sample), axis=-1)
    else:
        x = as_tensor(sample)
        x = x[:, None] if x.ndim == 1 else x
    real_only("histogramdd", x)
    count = with_axes("histogramdd", x, "points in rows", 2, 2).shape[1]
    each = list(bins) if isinstance(bins, list | tuple) else [bins] * count
    ends = [None] * count if range is None else list(range)
    if len(each) != count or len(ends) != count:
        raise ShapeError(
            f"histogramdd: expected bins and ranges for {count} axes, got {len(each)} and "
            f"{len(ends)}"
        )
    columns = [x[:, i] for i in builtins.range(count)]
    edges = [histogram_bin_edges(c, b, e) for c, b, e in zip(columns, each, ends, strict=True)]
    weights = None if weights is None else beside(weights, x).astype("float64")
    return _counts(columns, edges, weights, density).astype("float64"), tuple(edges)


def histogram2d(
    x: Any, y: Any, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The number of points (x, y) in each cell of a grid, and its edges along both axes.

    ``bins`` is a number or edges for both, or one of these for each. Gradients are those of
    `histogram`. Waits for the device.
    """
    both = hasattr(bins, "__len__") and len(bins) not in (1, 2)
    counts, (rows, columns) = histogramdd(
        [x, y], [bins, bins] if both else bins, range, density, weights
    )
    return counts, rows, columns
