"""Dropout in one kernel, forward and backward: each draws the mask, which is never in memory.

The methods of `Dropout` replace the formulas of `gpugrad.ops.elementwise` in the namespace of CuPy.
Imports `philox` and `source`.
"""

from functools import cache
from math import prod
from typing import Any

import numpy as np

from gpugrad.kernels.philox import RANDOM
from gpugrad.kernels.source import Kernels, prelude

__all__ = ["Dropout", "drawn", "dropout_source"]

THREADS = 256


@cache
def dropout_source(dtype: Any) -> str:
    """The kernel ``dropped``."""
    return prelude(dtype) + RANDOM + DROPOUT


# A thread has four elements, of which each has a word, or `each` together have one.
DROPOUT = """
extern "C" __global__ void dropped(
    const T* x, T* y, long long count, long long each, unsigned long long key,
    unsigned long long start, unsigned long long high, unsigned long long threshold, double factor)
{
    const long long first = 4 * ((long long)blockIdx.x * blockDim.x + threadIdx.x);
    if (first >= count)
        return;
    const Words of = random_words(key, start + (unsigned long long)(first >> 2), high);
#define PUT(i, word) \\
    if (first + i < count) { \\
        const unsigned int drawn = each == 1 \\
            ? word : random_word(key, start, high, (first + i) / each); \\
        y[first + i] = narrow(drawn < threshold ? widen(x[first + i]) * (W)factor : (W)0); \\
    }
    PUT(0, of.a) PUT(1, of.b) PUT(2, of.c) PUT(3, of.d)
}
"""


def drawn(key: int, counter: int, p: float) -> tuple[Any, ...]:
    """What a kernel draws by: key, counter, the words below which one is kept, what is kept."""
    return (
        np.uint64(key), np.uint64(counter % 2**64), np.uint64(counter >> 64),
        np.uint64(round((1.0 - p) * 2.0**32)), 1.0 / (1.0 - p) if p < 1.0 else 1.0,
    )  # fmt: skip


class Dropout(Kernels):
    """Dropout on arrays of CuPy."""

    def dropped(self, x: Any, keep: Any) -> Any:
        """The formula of this name in `gpugrad.ops.elementwise`."""
        draws = getattr(keep, "draws", None)
        if draws is None or not self._fit(x):
            return self._formula("dropped", x, keep)
        key, counter, shape, p = draws
        each = x.size // prod(shape)  # the last axes of the mask may be of size 1
        x, y = self._dense(x), self._array(x.shape, x.dtype)
        grid = (-(-x.size // (4 * THREADS)),)
        kernel = self._get(dropout_source(x.dtype), "dropped")
        kernel(grid, (THREADS,), (x, y, x.size, each, *drawn(key, counter, p)))
        return y
