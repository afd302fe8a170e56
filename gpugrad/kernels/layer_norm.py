"""Layer normalization in one kernel forward, and in two backward.

The methods of `LayerNorm` replace the formulas of `gpugrad.ops.normalization` in the namespace of
CuPy. Imports `rows` and `source`.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.kernels.rows import ROW, contiguous, launch_shape
from gpugrad.kernels.source import COLUMN, FLOATS, Get, cupy_kernel, prelude, stripes

__all__ = ["LayerNorm", "layer_norm_source"]

STRIPE = 256  # the least number of rows that a block sums
WIDE = {"e": "f", "f": "f", "d": "d"}  # the dtype of means and rates: that of the computation


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
// several stripes go to `parts`, those of the weight first.
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
            weight += pulled * ((widen(x[row * length + column]) - means[row]) * rates[row]);
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
        d_bias[column] = narrow(bias);
    }
}
"""  # noqa: E501


class LayerNorm:
    """Launches the kernels on arrays of ``module`` (cupy); ``get`` compiles them."""

    def __init__(self, module: Any, get: Get = cupy_kernel) -> None:
        self.module = module
        self.get = get

    def functions(self) -> dict[str, Callable[..., Any]]:
        """The methods by the names of the formulas that they replace."""
        return {
            "layer_norm": partial(self._forward, "layer_norm"),
            "layer_norm_and_residuals": partial(self._forward, "layer_norm_and_residuals"),
            "layer_norm_vjp": self._vjp,
        }

    def _fits(self, x: Any, *others: Any) -> bool:
        arrays = [other for other in others if other is not None]
        return (
            x.dtype in FLOATS
            and x.size > 0
            and x.ndim > 0
            and all(isinstance(other, self.module.ndarray) for other in arrays)
            and all(other.dtype == x.dtype for other in arrays)
            and all(other.shape in (x.shape, x.shape[-1:]) for other in arrays)
        )

    def _dense(self, *arrays: Any) -> list[Any]:
        return [None if array is None else contiguous(self.module, array) for array in arrays]

    def _forward(
        self, name: str, x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
    ) -> Any:
        if not self._fits(x, weight, bias):
            return FORMULAS[name](namespace_of(x), x, weight, bias, eps)
        module, dtype = self.module, x.dtype
        x, weight, bias = self._dense(x, weight, bias)
        y = module.ndarray(x.shape, dtype)
        length = x.shape[-1]
        rows = x.size // length
        means = rates = None
        if name != "layer_norm":
            shape, wide = (*x.shape[:-1], 1), WIDE[dtype.char]
            means, rates = module.ndarray(shape, wide), module.ndarray(shape, wide)
        kernel = self.get(layer_norm_source(dtype), "layer_norm")
        operands = (x, weight, bias, y, means, rates, rows, length, float(eps))
        kernel(*launch_shape(rows, length), operands)
        return y if means is None else (y, means, rates)

    def _vjp(
        self, g: Any, needs: tuple[bool, ...], x: Any, weight: Any, mean: Any, rate: Any
    ) -> Any:
        wanted = needs[0] or needs[1]  # the gradient of the bias alone is a sum, without a mean
        if not wanted or not self._fits(x, g, weight) or g.shape != x.shape:
            return FORMULAS["layer_norm_vjp"](namespace_of(g), g, needs, x, weight, mean, rate)
        empty = self.module.ndarray
        source, dtype, length = layer_norm_source(x.dtype), x.dtype, x.shape[-1]
        g, x, weight, mean, rate = self._dense(g, x, weight, mean, rate)
        rows = x.size // length
        d = d_weight = d_bias = None
        if needs[0]:
            d = empty(x.shape, dtype)
            kernel = self.get(source, "layer_norm_vjp")
            kernel(*launch_shape(rows, length), (g, x, weight, mean, rate, d, rows, length))
        if needs[1] or needs[2]:
            # Two arrays: views of one would be copied for the leaves.
            d_weight, d_bias = empty((length,), dtype), empty((length,), dtype)
            divided = stripes(self.module, rows, length, dtype, STRIPE, sums=2)
            arrays = (g, x, mean, rate, d_weight, d_bias, divided.parts, divided.arrived)
            columns = self.get(source, "layer_norm_columns")
            columns(divided.grid, divided.block, (*arrays, rows, length, divided.rows))
        return d, d_weight if needs[1] else None, d_bias if needs[2] else None
