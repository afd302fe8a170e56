"""Interpolation along up to three axes: a kernel forward, and one for its transpose.

The methods of `Resampling` replace the formulas of `gpugrad.ops.resampling` in the namespace of
CuPy, but for the mode "area". A thread of the transpose looks at all elements of the result that
may have its own as a tap, in one order. Imports `source` and `windows`.
"""

from functools import cache
from math import prod
from typing import Any

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.kernels.source import Kernels, prelude
from gpugrad.kernels.windows import AXES, GEOMETRY, THREADS

__all__ = ["TAPS", "Resampling", "resampling_source"]

Sizes = tuple[int, ...]

TAPS = {"nearest": 1, "nearest-exact": 1, "linear": 2, "cubic": 4}  # along an axis


@cache
def resampling_source(dtype: Any, mode: str) -> str:
    """The kernels ``resampled`` and ``resampled_back`` of a mode."""
    exact = "0.5" if mode == "nearest-exact" else "0.0"
    return (
        f"{prelude(dtype)}{GEOMETRY}#define TAPS {TAPS[mode]}\n#define SHIFT {exact}\n{RESAMPLING}"
    )


RESAMPLING = """
__device__ inline double cubic(double t)
{
    const double a = -0.75;
    return t <= 1 ? ((a + 2) * t - (a + 3)) * t * t + 1 : ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
}

struct Taps { long long at[TAPS]; double weight[TAPS]; };

__device__ inline long long clipped(long long at, long long size)
{
    return at < 0 ? 0 : at < size ? at : size - 1;
}

// The elements of an axis of a size that one element of the result is made of.
__device__ inline Taps taps(long long place, long long size, double scale, int corners)
{
    Taps found;
#if TAPS == 1
    found.at[0] = clipped((long long)floor((place + SHIFT) * scale), size);
    found.weight[0] = 1;
#else
    double at = corners ? place * scale : (place + 0.5) * scale - 0.5;
    if (TAPS == 2 && at < 0)
        at = 0;
    double low = floor(at);
    if (TAPS == 2 && low > size - 1)
        low = size - 1;
    const double part = at - low;
#pragma unroll
    for (int i = 0; i < TAPS; ++i) {
        const int step = TAPS == 2 ? i : i - 1;
        found.at[i] = clipped((long long)low + step, size);
        found.weight[i] = TAPS == 2 ? (i ? part : 1 - part) : cubic(fabs(part - step));
    }
#endif
    return found;
}

// What an element of an axis counts in one of the result.
__device__ inline double share(
    long long place, long long at, long long size, double scale, int corners)
{
    const Taps found = taps(place, size, scale, corners);
    double weight = 0;
#pragma unroll
    for (int i = 0; i < TAPS; ++i)
        if (found.at[i] == at)
            weight += found.weight[i];
    return weight;
}

// The elements of the result that may have an element among their taps: from first to last.
__device__ inline long long first(long long at, long long size, double scale)
{
    const long long place = at && scale > 0 ? (long long)floor((at - TAPS) / scale) - 1 : 0;
    return place > 0 ? place : 0;
}
__device__ inline long long last(long long at, long long size, long long count, double scale)
{
    if (at == size - 1 || !(scale > 0))
        return count - 1;
    const long long place = (long long)ceil((at + TAPS + 1) / scale) + 1;
    return place < count - 1 ? place : count - 1;
}

#define RESAMPLED_AXIS(a) long long size##a, long long count##a, double scale##a
#define EACH_PLACE(a) \\
    for (long long p##a = first(at##a, size##a, scale##a), \\
             end##a = last(at##a, size##a, count##a, scale##a); p##a <= end##a; ++p##a)

extern "C" __global__ void resampled(
    const T* x, T* y, long long planes, int corners, RESAMPLED_AXIS(0), RESAMPLED_AXIS(1),
    RESAMPLED_AXIS(2))
{
    EACH_OF(i, planes * COUNT) {
        PLACE(i, count0, count1, count2)
        const T* from = x + plane * SIZE;
        const Taps taps0 = taps(at0, size0, scale0, corners);
        const Taps taps1 = taps(at1, size1, scale1, corners);
        const Taps taps2 = taps(at2, size2, scale2, corners);
        W sum = 0;
#pragma unroll
        for (int a = 0; a < TAPS; ++a)
#pragma unroll
            for (int b = 0; b < TAPS; ++b)
#pragma unroll
                for (int c = 0; c < TAPS; ++c) {
                    const double weight = taps0.weight[a] * taps1.weight[b] * taps2.weight[c];
                    if (weight != 0)  // of an axis that is missing all taps are one element
                        sum += (W)weight * widen(
                            from[(taps0.at[a] * size1 + taps1.at[b]) * size2 + taps2.at[c]]);
                }
        y[i] = narrow(sum);
    }
}

extern "C" __global__ void resampled_back(
    const T* g, T* y, long long planes, int corners, RESAMPLED_AXIS(0), RESAMPLED_AXIS(1),
    RESAMPLED_AXIS(2))
{
    EACH_OF(i, planes * SIZE) {
        PLACE(i, size0, size1, size2)
        const T* from = g + plane * COUNT;
        W sum = 0;
        EACH_PLACE(0) {
            const double weight0 = share(p0, at0, size0, scale0, corners);
            if (weight0 == 0)
                continue;
            EACH_PLACE(1) {
                const double weight1 = weight0 * share(p1, at1, size1, scale1, corners);
                if (weight1 == 0)
                    continue;
                EACH_PLACE(2) {
                    const double weight = weight1 * share(p2, at2, size2, scale2, corners);
                    if (weight != 0)
                        sum += (W)weight * widen(from[(p0 * count1 + p1) * count2 + p2]);
                }
            }
        }
        y[i] = narrow(sum);
    }
}
"""


class Resampling(Kernels):
    """Interpolation of arrays of CuPy."""

    def resampled(self, x: Any, *, size: Sizes, **words: Any) -> Any:
        """The formula of this name in `gpugrad.ops.resampling`."""
        return self._either("resampled", x, size, tuple(x.shape[2:]), size, words)

    def resampled_back(self, g: Any, *, size: Sizes, **words: Any) -> Any:
        """The formula of this name in `gpugrad.ops.resampling`."""
        return self._either("resampled_back", g, size, size, tuple(g.shape[2:]), words)

    def _either(
        self, name: str, x: Any, size: Sizes, before: Sizes, after: Sizes, words: dict[str, Any]
    ) -> Any:
        """One of the two, between the sizes of what is interpolated and of the result."""
        mode = words["mode"]
        if mode not in TAPS or len(size) > AXES or not self._fit(x):
            return FORMULAS[name](namespace_of(x), x, size=size, **words)
        y = self._array((*x.shape[:2], *size), x.dtype)
        axes = [(1, 1, 1.0)] * (AXES - len(size)) + list(zip(before, after, words["scale"]))
        arguments = (
            self._dense(x), y, prod(x.shape[:2]), int(words["align_corners"]),
            *[float(n) if i == 2 else n for axis in axes for i, n in enumerate(axis)],
        )  # fmt: skip
        grid = min(-(-y.size // THREADS), 1 << 20)
        self._get(resampling_source(x.dtype, mode), name)((grid,), (THREADS,), arguments)
        return y
