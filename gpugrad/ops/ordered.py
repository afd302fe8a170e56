"""Sums at indices that come up twice, in an order that is the same in every run.

A GPU adds them by atomic operations, in the order in which its threads happen to come; floating
point sums then differ in their last bits from run to run. Here the places are sorted and each
run of equal ones is added up by a tree. Imports engine and dtypes.
"""

import math
from typing import Any

import numpy as np

from gpugrad.engine.modes import is_deterministic
from gpugrad.ops.dtypes import narrowed, widened

__all__ = ["histogram_in_order", "running", "sums_in_order"]


def sums_in_order(xp: Any, g: Any, index: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    """Zeros of a shape with g added at ``index``, which has no masks; needs no wait.

    After the step of length s each sum holds the s elements before it and itself, as far as they
    belong to its place: the scan of Hillis and Steele ("Data parallel algorithms", 1986).
    """
    whole, rest = _indexed_axes(index, shape)
    places = xp.arange(math.prod(whole)).reshape(whole)[index].reshape(-1)
    n = places.size
    out = xp.zeros((math.prod(whole), *rest), g.dtype)
    if n and out.size:
        order = xp.native_argsort(places, kind="stable")
        places = places[order]
        sums = g.reshape((n, *rest))[order]
        if sums.itemsize < 4 and sums.dtype.kind in "fV":
            sums = sums.astype(np.float32)
        nothing = sums.dtype.type(0)
        step = 1
        while step < n:
            same = (places[step:] == places[:-step]).reshape((-1, *(1,) * len(rest)))
            sums[step:] += xp.where(same, sums[:-step], nothing)
            step *= 2
        last = xp.searchsorted(places, places, side="right") - 1
        # Equal places are written several times, with the same sum.
        out[places] = sums[last].astype(g.dtype, copy=False)
    return out.reshape(shape)


def running(xp: Any, name: str, x: Any, axis: int | None) -> Any:
    """``cumsum`` or ``cumprod``, in one order where that is asked for; of float16 in float32."""
    # For a flattened array CuPy takes CUB's scan, whose order of sums is not that of every run.
    # A number has an axis in NumPy, in CuPy it has none.
    if (axis is None and is_deterministic()) or (axis in (0, -1) and not x.shape):
        x, axis = x.reshape(-1), 0
    y = getattr(xp, f"native_{name}")(widened(x), axis=axis)
    return narrowed(y, x)


def histogram_in_order(
    xp: Any, x: Any, weights: Any, bins: Any, ends: Any, density: bool
) -> tuple[Any, Any]:
    """The weights of the elements in each bin, added in one order, and the edges of the bins."""
    _, edges = xp.histogram(x, bins, ends)
    x, weights = x.reshape(-1), weights.reshape(-1)
    count = edges.size - 1
    places = xp.searchsorted(edges, x, side="right") - 1
    places = xp.where(x == edges[-1], count - 1, places)  # the last bin has both its edges
    inside = (x >= edges[0]) & (x <= edges[-1])
    weights = weights.astype(np.complex128 if weights.dtype.kind == "c" else np.float64)
    sums = sums_in_order(xp, weights, (xp.where(inside, places, count),), (count + 1,))[:-1]
    return (sums / xp.diff(edges) / sums.sum() if density else sums), edges


def _indexed_axes(
    index: tuple[Any, ...], shape: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of the axes that an index speaks of, and of those behind, which it leaves whole."""
    unclear = any(part is Ellipsis or _is_truth(part) for part in index)
    count = len(shape) if unclear else sum(part is not None for part in index)
    return shape[:count], shape[count:]


def _is_truth(part: Any) -> bool:
    return isinstance(part, bool) or getattr(part, "dtype", None) == np.bool_
