"""Batch and root-mean-square normalization: one kernel forward; one, or two, backward.

The methods of `BatchNorm` and `RMSNorm` replace the formulas of `gpugrad.ops.normalization` in the
namespace of CuPy. A warp or a block handles a channel of a batch, or a row. Imports `layer_norm`,
`rows` and `source`.
"""

import math
from functools import cache
from typing import Any

import numpy as np

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.kernels.layer_norm import STRIPE, layer_norm_source
from gpugrad.kernels.rows import ROW
from gpugrad.kernels.source import WIDE, Kernels, prelude

__all__ = ["BatchNorm", "RMSNorm", "batch_norm_source", "rms_norm_source"]


@cache
def batch_norm_source(dtype: Any) -> str:
    """The kernels of batch_norm and its derivatives."""
    return prelude(dtype) + ROW + BATCH_NORM


@cache
def rms_norm_source(dtype: Any) -> str:
    """The kernels of rms_norm and its derivative by x."""
    return prelude(dtype) + ROW + RMS_NORM


BATCH_NORM = """
// The elements of a channel that a thread handles, of an array (samples, channels, inner). A
// division of 64 bits takes long: there is one for each channel, not one for each element.
struct Elements {
    long long sample, position;
    const long long channel, samples, channels, inner, samples_on, positions_on;

    __device__ Elements(long long channel, long long samples, long long channels, long long inner)
        : sample(threadIdx.x / inner), position(threadIdx.x % inner), channel(channel),
          samples(samples), channels(channels), inner(inner), samples_on(blockDim.x / inner),
          positions_on(blockDim.x % inner) {}
    __device__ bool more() const { return sample < samples; }
    __device__ long long index() const { return (sample * channels + channel) * inner + position; }
    __device__ void next()
    {
        sample += samples_on;
        position += positions_on;
        if (position >= inner) {
            position -= inner;
            ++sample;
        }
    }
};
#define EACH_OF(channel, at) for (Elements at(channel, samples, rows, inner); at.more(); at.next())

// The pointers of weight and bias may be 0: there is none. `rows` is the number of channels.
extern "C" __global__ void batch_norm(
    const T* x, const T* weight, const T* bias, T* y, W* means, W* variances, long long samples,
    long long rows, long long inner, double eps)
{
    const W count = (W)(samples * inner);
    EACH_ROW(row) {
        W sum = 0, squares = 0;
        EACH_OF(row, at) sum += widen(x[at.index()]);
        const W mean = sum_of_all(sum) / count;
        EACH_OF(row, at) {
            const W d = widen(x[at.index()]) - mean;
            squares += d * d;
        }
        const W variance = sum_of_all(squares) / count;
        if (threadIdx.x == 0) {
            means[row] = mean;
            variances[row] = variance;
        }
        W scale = (W)1 / sqrt(variance + (W)eps);
        if (weight)
            scale *= widen(weight[row]);
        const W shift = bias ? widen(bias[row]) : (W)0;
        EACH_OF(row, at) {
            const long long i = at.index();
            y[i] = narrow((widen(x[i]) - mean) * scale + shift);
        }
    }
}

// The pointers of weight and of each gradient may be 0: it is not needed.
extern "C" __global__ void batch_norm_vjp(
    const T* g, const T* x, const T* weight, const W* means, const W* variances, T* d, T* d_weight,
    T* d_bias, long long samples, long long rows, long long inner, double eps)
{
    const W count = (W)(samples * inner);
    EACH_ROW(row) {
        const W mean = means[row], rate = (W)1 / sqrt(variances[row] + (W)eps);
        W total = 0, along = 0;
        EACH_OF(row, at) {
            const long long i = at.index();
            const W pulled = widen(g[i]);
            total += pulled;
            along += pulled * (widen(x[i]) - mean);
        }
        total = sum_of_all(total);
        along = sum_of_all(along) * rate;
        if (threadIdx.x == 0) {
            if (d_weight)
                d_weight[row] = narrow(along);
            if (d_bias)
                d_bias[row] = narrow(total);
        }
        if (d) {
            const W a = weight ? rate * widen(weight[row]) : rate;
            const W b = total / count, c = along * rate / count;
            EACH_OF(row, at) {
                const long long i = at.index();
                d[i] = narrow(a * (widen(g[i]) - b - (widen(x[i]) - mean) * c));
            }
        }
    }
}
"""

RMS_NORM = """
// The pointers of weight and rates may be 0: there is none, or it is not saved.
extern "C" __global__ void rms_norm(
    const T* x, const T* weight, T* y, W* rates, long long rows, long long length, double eps)
{
    EACH_ROW(row) {
        const long long first = row * length;
        W squares = 0;
        EACH(i) squares += widen(x[first + i]) * widen(x[first + i]);
        const W rate = (W)1 / sqrt(sum_of_all(squares) / (W)length + (W)eps);
        if (rates && threadIdx.x == 0)
            rates[row] = rate;
        EACH(i) {
            W value = widen(x[first + i]) * rate;
            if (weight)
                value *= widen(weight[i]);
            y[first + i] = narrow(value);
        }
    }
}

extern "C" __global__ void rms_norm_vjp(
    const T* g, const T* x, const T* weight, const W* rates, T* d, long long rows, long long length)
{
    EACH_ROW(row) {
        const long long first = row * length;
        const W rate = rates[row];
        W across = 0;
        EACH(i) {
            const W pulled = widen(g[first + i]) * (weight ? widen(weight[i]) : (W)1);
            across += pulled * (widen(x[first + i]) * rate);
        }
        across = sum_of_all(across) / (W)length;
        EACH(i) {
            const W pulled = widen(g[first + i]) * (weight ? widen(weight[i]) : (W)1);
            d[first + i] = narrow(rate * (pulled - widen(x[first + i]) * rate * across));
        }
    }
}
"""


class BatchNorm(Kernels):
    """Batch normalization on arrays of CuPy."""

    def batch_norm(self, x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
        """The formula of this name in `gpugrad.ops.normalization`."""
        if not self._fits(x, weight, bias):
            return self._formula("batch_norm", x, weight, bias, eps)
        channels, wide = x.shape[1], WIDE[x.dtype.char]
        y = self._array(x.shape, x.dtype)
        means, variances = self._array((channels,), wide), self._array((channels,), wide)
        arrays = (*map(self._dense, (x, weight, bias)), y, means, variances)
        self._start("batch_norm", x, *arrays, eps=eps)
        return y, means, variances

    def batch_norm_vjp(
        self, gs: Any, ys: Any, needs: tuple[bool, ...], x: Any, weight: Any, bias: Any, eps: float
    ) -> Any:
        """The gradients of x, the weight and the bias; None for one that is not needed."""
        g, *of_moments = gs
        wanted = needs[0] or needs[1]  # the gradient of the bias alone is a sum, without a mean
        usual = g is not None and wanted and all(one is None for one in of_moments)
        weight = weight if needs[0] else None  # else it was not saved
        if not usual or not self._fits(x, weight) or not self._fit(x, g) or g.shape != x.shape:
            xp = namespace_of(next(one for one in gs if one is not None))
            return FORMULAS["batch_norm_vjp"](xp, gs, ys, needs, x, weight, bias, eps)
        shapes = (x.shape, x.shape[1:2], x.shape[1:2])
        ds = [self._array(s, x.dtype) if need else None for s, need in zip(shapes, needs)]
        arrays = map(self._dense, (g, x, weight, *ys[1:]))
        self._start("batch_norm_vjp", x, *arrays, *ds, eps=eps)
        return tuple(ds)

    def _start(self, name: str, x: Any, *arrays: Any, eps: float) -> None:
        samples, channels = x.shape[:2]
        inner = math.prod(x.shape[2:])
        sizes = (samples, channels, inner, float(eps))
        source = batch_norm_source(x.dtype)
        self._launch(source, name, channels, samples * inner, *arrays, *sizes)

    def _fits(self, x: Any, *others: Any) -> bool:
        arrays = [other for other in others if other is not None]
        if not isinstance(x, self._array) or x.ndim < 2 or not self._fit(x, *arrays):
            return False
        return all(array.shape == x.shape[1:2] for array in arrays)


class RMSNorm(Kernels):
    """Root-mean-square normalization on arrays of CuPy."""

    def rms_norm(self, x: Any, weight: Any = None, eps: Any = None) -> Any:
        """The formula of this name in `gpugrad.ops.normalization`."""
        if not self._fits(x, weight):
            return self._formula("rms_norm", x, weight, eps)
        return self._forward(x, weight, None, eps)

    def rms_norm_and_residuals(self, x: Any, weight: Any = None, eps: Any = None) -> Any:
        """The same, with the rates of the rows."""
        if not self._fits(x, weight):
            return self._formula("rms_norm_and_residuals", x, weight, eps)
        rates = self._array((*x.shape[:-1], 1), WIDE[x.dtype.char])
        return self._forward(x, weight, rates, eps), rates

    def rms_norm_vjp(self, g: Any, needs: tuple[bool, ...], x: Any, weight: Any, rate: Any) -> Any:
        """The gradients of x and the weight; None for one that is not needed."""
        weight = weight if needs[0] else None  # else it was not saved
        if not self._fits(x, g, weight) or g.shape != x.shape:
            return self._formula("rms_norm_vjp", g, needs, x, weight, rate)
        dtype, length = x.dtype, x.shape[-1]
        g, x, weight, rate = map(self._dense, (g, x, weight, rate))
        rows = x.size // length
        d = d_weight = None
        if needs[0]:
            d = self._array(x.shape, dtype)
            arguments = (g, x, weight, rate, d, rows, length)
            self._launch(rms_norm_source(dtype), "rms_norm_vjp", rows, length, *arguments)
        if needs[1]:
            d_weight = self._array((length,), dtype)
            divided = self._stripes(rows, length, dtype, STRIPE, sums=2)
            # The sums of layer normalization, of rows whose mean is 0, and without those of a bias.
            arrays = (g, x, None, rate, d_weight, None, divided.parts, divided.arrived)
            columns = self._get(layer_norm_source(dtype), "layer_norm_columns")
            columns(divided.grid, divided.block, (*arrays, rows, length, divided.rows))
        return d, d_weight

    def _fits(self, x: Any, *others: Any) -> bool:
        arrays = [other for other in others if other is not None]
        if not isinstance(x, self._array) or not x.ndim or not self._fit(x, *arrays):
            return False
        return all(array.shape in (x.shape, x.shape[-1:]) for array in arrays)

    def _forward(self, x: Any, weight: Any, rates: Any, eps: Any) -> Any:
        y, length = self._array(x.shape, x.dtype), x.shape[-1]
        rows = x.size // length
        eps = float(np.finfo(WIDE[x.dtype.char]).eps) if eps is None else float(eps)
        x, weight = map(self._dense, (x, weight))
        arguments = (x, weight, y, rates, rows, length, eps)
        self._launch(rms_norm_source(x.dtype), "rms_norm", rows, length, *arguments)
        return y
