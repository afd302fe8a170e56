"""Histograms: compositions.

Imports index_tricks, manipulation, operands, scatter, sorting, type_check and tensor.

They are step functions and have no gradient, not even by weights, as `bincount` and `segment_sum`
have. The edges of bins depend on values, so all of these functions wait for the device.
"""

import builtins
import math
from collections.abc import Sequence
from typing import Any

from gpugrad.engine.modes import is_deterministic
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.index_tricks import ravel_multi_index
from gpugrad.functions.manipulation import reshape, stack
from gpugrad.functions.operands import along_axis, beside, is_number, with_axes, xp_of
from gpugrad.functions.scatter import bincount
from gpugrad.functions.sorting import searchsorted
from gpugrad.functions.type_check import real_only
from gpugrad.ops.ordered import histogram_in_order
from gpugrad.tensor import Tensor, as_tensor

__all__ = ["histogram", "histogram2d", "histogram_bin_edges", "histogramdd"]


def _raw(value: Any, x: Tensor) -> Any:
    """Bins or weights as raw arrays on the device of x; anything else is returned itself."""
    if isinstance(value, Tensor):
        return value.detach().data
    host = is_number(value) or isinstance(value, list | tuple)
    return beside(value, x).data if host else value


def _bins(name: str, bins: Any, x: Tensor) -> Any:
    if isinstance(bins, str):
        raise DTypeError(f"{name}: expected a number of bins or their edges, got {bins!r}")
    if is_number(bins):
        return int(bins) if bins.dtype.kind in "iu" else bins[()]
    return _raw(bins, x)


def histogram(
    x: Any, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None
) -> tuple[Tensor, Tensor]:
    """The number of elements of the raveled x in each bin, and the edges of the bins.

    ``bins`` is their number or a vector of edges. No gradient, not even by weights. Waits for the
    device.
    """
    x = real_only("histogram", x).detach()
    if isinstance(range, Sequence):
        range = tuple(float(end) for end in range)
    bins, weights, xp = _bins("histogram", bins, x), _raw(weights, x), xp_of(x)
    if weights is not None and weights.shape != x.shape:
        raise ShapeError(
            f"histogram: expected weights of shape {x.shape}, that of x, got {weights.shape}"
        )
    if xp.atomic is not None and is_deterministic() and weights is not None:
        counts, edges = histogram_in_order(xp, x.data, weights, bins, range, density)
    else:
        counts, edges = xp.histogram(x.data, bins, range, weights=weights, density=density)
    return Tensor(counts), Tensor(edges)


def histogram_bin_edges(x: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Tensor:
    """The edges of the bins of `histogram`; ``weights`` do not change them.

    >>> import gpugrad as gg
    >>> gg.histogram_bin_edges(gg.tensor([0.0, 3.0, 6.0]), bins=3)
    tensor([0., 2., 4., 6.])
    """
    x = real_only("histogram_bin_edges", x).detach()
    bins = _bins("histogram_bin_edges", bins, x)
    if getattr(bins, "ndim", 0):
        return as_tensor(bins)
    return histogram(stack([x.min(), x.max()]) if x.size else x, bins, range)[1]


def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The number of points in each cell of a grid, and the edges of the grid along each axis.

    ``sample`` has one row for each point, or is a list of the points' coordinates. ``bins`` is a
    number, or for each axis a number or the edges. No gradient. Waits for the device.

    >>> import gpugrad as gg
    >>> counts, edges = gg.histogramdd(gg.tensor([[0.0, 0.0], [1.0, 2.0], [0.9, 2.0]]), bins=2)
    >>> counts.tolist(), edges[1]
    ([[1.0, 0.0], [0.0, 2.0]], tensor([0., 1., 2.]))
    """
    if isinstance(sample, list | tuple):
        x = stack([as_tensor(part).detach() for part in sample], axis=-1)
    else:
        x = as_tensor(sample).detach()
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
    # The last edge belongs to the last bin; elements outside go to one more, which is dropped.
    numbers = [
        searchsorted(edge, column, side="right") - (column == edge[-1])
        for edge, column in zip(edges, columns, strict=True)
    ]
    sizes = [edge.size + 1 for edge in edges]
    flat = ravel_multi_index(numbers, sizes, mode="clip")
    if weights is not None:
        weights = beside(weights, x).detach().astype("float64")
    counted = bincount(flat, weights, minlength=math.prod(sizes)).astype("float64")
    counted = reshape(counted, sizes)[(slice(1, -1),) * count]
    if density:
        total = counted.sum()
        for i, edge in enumerate(edges):
            counted = counted / along_axis(edge[1:] - edge[:-1], i, count)
        counted = counted / total
    return counted, tuple(edges)


def histogram2d(
    x: Any,
    y: Any,
    bins: Any = 10,
    range: Any = None,
    density: bool = False,
    weights: Any = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The number of points (x, y) in each cell of a grid, and its edges along both axes.

    ``bins`` is a number or edges for both, or one of these for each. No gradient. Waits for the
    device.
    """
    both = hasattr(bins, "__len__") and len(bins) not in (1, 2)
    counts, (rows, columns) = histogramdd(
        [x, y], [bins, bins] if both else bins, range, density, weights
    )
    return counts, rows, columns
