"""Max pools of arrays in host memory, in fewer passes than the formulas.

Which element is the largest is found by arithmetic on bytes, and a gradient is chosen by its bits:
both take a fraction of a choice by `numpy.where`. Imports namespace and windows.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.backend.namespace import FORMULAS
from gpugrad.backend.windows import Windows, places

__all__ = ["pools_of"]

Sizes = tuple[int, ...]

_BITS = {2: np.int16, 4: np.int32, 8: np.int64}
SMALL = 256  # windows of fewer elements have their numbers in a byte


def pools_of(namespace: Any) -> dict[str, Callable[..., Any]]:
    """The functions by the names of the formulas of `gpugrad.ops.pooling` that they replace."""

    def max_pool_and_residuals(x: Any, **words: Any) -> tuple[Any, Any]:
        windows = Windows(**words)
        if x.dtype.kind == "f" and windows.elements < SMALL:
            y, numbers = _largest(x, windows)
            if not y.size or not math.isnan(y.max()):
                return y, numbers
        pair: tuple[Any, Any] = FORMULAS["max_pool_and_residuals"](namespace, x, **words)
        return pair

    def at_chosen_elements(g: Any, index: Any, *, size: Sizes, **words: Any) -> Any:
        windows = Windows(**words)
        apart = all(s >= extent for s, extent in zip(windows.stride, windows.extent))
        if g.dtype.kind != "f" or g.itemsize not in _BITS or not apart:
            return FORMULAS["at_chosen_elements"](namespace, g, index, size=size, **words)
        return _at_largest(g, index, windows, size)

    return {
        "max_pool_and_residuals": max_pool_and_residuals,
        "at_chosen_elements": at_chosen_elements,
    }


def _largest(x: Any, windows: Windows) -> tuple[Any, Any]:
    """The largest elements and their numbers in their windows; of numbers that are not NaN."""
    sizes = x.shape[2:]
    counts = windows.counts(sizes)
    shape = (*x.shape[:2], *counts)
    y = np.full_like(x, -math.inf, shape=shape)
    numbers = np.full_like(x, 0, np.uint8, shape=shape)
    for number, to, at in places(windows, sizes, counts):
        part, before = x[at], y[to]
        if number:  # the numbers grow: that of the last one that was larger is the largest
            better = np.greater(part, before).view(np.uint8)
            better *= np.uint8(number)
            own = numbers[to]
            np.maximum(own, better, out=own)
        np.maximum(before, part, out=before)
    return y, numbers


def _at_largest(g: Any, numbers: Any, windows: Windows, size: Sizes) -> Any:
    """Each number of g at the element that has its window's number; windows do not overlap."""
    own = np.empty_like(numbers, g.dtype)
    if own.strides != g.strides:  # lay out g as the numbers lie
        own[...] = g
        g = own
    y = np.empty_like(numbers, g.dtype, shape=(*g.shape[:2], *size))
    if g.size * windows.elements != y.size or any(map(any, windows.padding)):
        y.fill(0)
    bits = _BITS[g.itemsize]
    source, result = g.view(bits), y.view(bits)
    for number, to, at in places(windows, size, numbers.shape[2:]):
        truth = (numbers[to] == number).view(np.int8)
        np.bitwise_and(source[to], np.negative(truth, out=truth), out=result[at])
    return y
