"""Layer normalization in one kernel forward, and in two backward.

The methods of `LayerNorm` replace the formulas of `gpugrad.ops.normalization` in the namespace of
CuPy. Imports `rows` and `source`.
"""

from functools import cache
from typing import Any

from gpugrad.kernels.rows import ROW
from gpugrad.kernels.source import COLUMN, WIDE, Kernels, prelude

__all__ = ["LayerNorm", "layer_norm_source"]

STRIPE = 256  # the least number of rows that a block sums


@cache
def layer_norm_source(dtype: Any) -> str:
    """The kernels of layer_norm and its derivatives."""
    return prelude(dtype) + ROW + COLUMN + LAYER_NORM


LAYER_NORM = """
struct Moments { W mean, rate; };  // rate: one over the standard deviation

__device__ inline Moments moments(const T* x, long long length, W eps)
{
    W sum = 0, squares = 0;
    EACH(i) sum += widen(x[i]);
    const W mean = sum_of_all(sum) / (W)length;
    EACH(i) {
        const W d = widen(x[i]) - mean;
        squares += d * d;
    }
    return {mean, (W)1 / sqrt(sum_of_all(squares) / (W)length + eps)};
}

// The pointers of weight, bias, means and rates may be 0: there is none, or it is not saved.
extern "C" __global__ void layer_norm(
    const T* x, const T* weight, const T* bias, T* y, W* means, W* rates, long long rows,
    long long length, double eps)
{
    EACH_ROW(row) {
        const long long first = row * length;
        const Moments of = moments(x + first, length, (W)eps);
        if (means && threadIdx.x == 0) {
            means[row] = of.mean;
            rates[row] = of.rate;
        }
        EACH(i) {
            W value = (widen(x[first + i]) - of.mean) * of.rate;
            if (weight)
                value *= widen(weight[i]);
            if (bias)
                value += widen(bias[i]);
            y[first + i] = narrow(value);
        }
    }
}

extern "C" __global__ void layer_norm_vjp(
    const T* g, const T* x, const T* weight, const W* means, const W* rates, T* d, long long rows,
    long long length)
{
    EACH_ROW(row) {
        const long long first = row * length;
        const W mean = means[row], rate = rates[row];
        W along = 0, across = 0;
        EACH(i) {
            const W pulled = widen(g[first + i]) * (weight ? widen(weight[i]) : (W)1);
            along += pulled;
            across += pulled * ((widen(x[first + i]) - mean) * rate);
        }
        along = sum_of_all(along) / (W)length;
        across = sum_of_all(across) / (W)length;
        EACH(i) {
            const W pulled = widen(g[first + i]) * (weight ? widen(weight[i]) : (W)1);
            const W normal = (widen(x[first + i]) - mean) * rate;
            d[first + i] = narrow(rate * (pulled - along - normal * across));
        }
    }
}

// The gradients of weight and bias: column sums, over a stripe of rows for each block. The sums of
// several stripes go to `parts`, those of the weight first. The pointers of means and d_bias may be
// 0: the rows have the mean 0, the gradient is not needed.
extern "C" __global__ void layer_norm_columns(
    const T* g, const T* x, const W* means, const W* rates, T* d_weight, T* d_bias, W* parts,
    unsigned int* arrived, long long rows, long long length, long long stripe)
{
    const long long column = (long long)blockIdx.x * 32 + threadIdx.x;
    const long long start = blockIdx.y * stripe, end = start + stripe < rows ? start + stripe : rows;
    W weight = 0, bias = 0;
    if (column < length)
        for (long long row = start + threadIdx.y; row < end; row += blockDim.y) {
            const W pulled = widen(g[row * length + column]);
            const W mean = means ? means[row] : (W)0;
            weight += pulled * ((widen(x[row * length + column]) - mean) * rates[row]);
            bias += pulled;
        }
    weight = sum_of_column(weight);
    bias = sum_of_column(bias);
    if (gridDim.y > 1) {
        W* const more = parts + gridDim.y * length;
        if (threadIdx.y == 0 && column < length) {
            parts[blockIdx.y * length + column] = weight;
            more[blockIdx.y * length + column] = bias;
        }
        if (!comes_last(arrived))
            return;
        weight = sum_of_stripes(parts, column, length);
        bias = sum_of_stripes(more, column, length);
    }
    if (threadIdx.y == 0 && column < length) {
        d_weight[column] = narrow(weight);
        if (d_bias)
            d_bias[column] = narrow(bias);
    }
}
"""  # noqa: E501


class LayerNorm(Kernels):
    """Layer normalization on arrays of CuPy."""

    def layer_norm(self, x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
        """The formula of this name in `gpugrad.ops.normalization`."""
        if not self._fits(x, weight, bias):
            return self._formula("layer_norm", x, weight, bias, eps)
        return self._forward(x, weight, bias, None, None, eps)

    def layer_norm_and_residuals(
        self, x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
    ) -> Any:
        """The same, with the means and rates of the rows."""
        if not self._fits(x, weight, bias):
            return self._formula("layer_norm_and_residuals", x, weight, bias, eps)
        shape, wide = (*x.shape[:-1], 1), WIDE[x.dtype.char]
        means, rates = self._array(shape, wide), self._array(shape, wide)
        return self._forward(x, weight, bias, means, rates, eps), means, rates

    def layer_norm_vjp(
        self, g: Any, needs: tuple[bool, ...], x: Any, weight: Any, mean: Any, rate: Any
    ) -> Any:
        """The gradients of x, the weight and the bias; None for one that is not needed."""
        wanted = needs[0] or needs[1]  # the gradient of the bias alone is a sum, without a mean
        weight = weight if needs[0] else None  # else it was not saved
        if not wanted or not self._fits(x, g, weight) or g.shape != x.shape:
            return self._formula("layer_norm_vjp", g, needs, x, weight, mean, rate)
        source, dtype, length = layer_norm_source(x.dtype), x.dtype, x.shape[-1]
        g, x, weight, mean, rate = map(self._dense, (g, x, weight, mean, rate))
        rows = x.size // length
        d = d_weight = d_bias = None
        if needs[0]:
            d = self._array(x.shape, dtype)
            arguments = (g, x, weight, mean, rate, d, rows, length)
            self._launch(source, "layer_norm_vjp", rows, length, *arguments)
        if needs[1] or needs[2]:
            # Two arrays: views of one would be copied for the leaves.
            d_weight, d_bias = self._array((length,), dtype), self._array((length,), dtype)
            divided = self._stripes(rows, length, dtype, STRIPE, sums=2)
            arrays = (g, x, mean, rate, d_weight, d_bias, divided.parts, divided.arrived)
            columns = self._get(source, "layer_norm_columns")
            columns(divided.grid, divided.block, (*arrays, rows, length, divided.rows))
        return d, d_weight if needs[1] else None, d_bias if needs[2] else None

    def _fits(self, x: Any, *others: Any) -> bool:
        arrays = [other for other in others if other is not None]
        shapes = (x.shape, x.shape[-1:])
        return x.ndim > 0 and self._fit(x, *arrays) and all(y.shape in shapes for y in arrays)

    def _forward(self, x: Any, weight: Any, bias: Any, means: Any, rates: Any, eps: float) -> Any:
        y, length = self._array(x.shape, x.dtype), x.shape[-1]
        rows = x.size // length
        x, weight, bias = map(self._dense, (x, weight, bias))
        arguments = (x, weight, bias, y, means, rates, rows, length, float(eps))
        self._launch(layer_norm_source(x.dtype), "layer_norm", rows, length, *arguments)
        return y
