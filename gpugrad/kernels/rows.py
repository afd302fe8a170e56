"""Softmax, log_softmax and logsumexp, one kernel each: a warp or block a row.

The methods of `Rows` replace the formulas of `gpugrad.ops.reduce` in the namespace of CuPy. The
formula runs where there is no kernel: for other axes than the last ones and for empty arrays.
Imports `source`.
"""

import math
from functools import cache, partialmethod
from typing import Any

from gpugrad.kernels.source import FLOATS, Kernels, prelude

__all__ = ["ENOUGH_ROWS", "LONGEST", "ROW", "Rows", "rows_source"]

# With few rows of more elements than this, one block for each row leaves the GPU idle.
LONGEST = 1 << 16
ENOUGH_ROWS = 128


@cache
def rows_source(dtype: Any) -> str:
    """The kernels of softmax, log_softmax, logsumexp and their derivatives."""
    return prelude(dtype) + ROW + SOFTMAX


ROW = """
#define EACH_ROW(row) \\
    for (long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y; row < rows; \\
         row += (long long)gridDim.x * blockDim.y)
#define EACH(i) for (long long i = threadIdx.x; i < length; i += blockDim.x)

__device__ inline W largest(const T* x, long long length)
{
    W top = widen(x[0]);
    EACH(i) top = larger(top, widen(x[i]));
    return largest_of_all(top);
}

__device__ inline W sum_of_exp(const T* x, W shift, long long length)
{
    W sum = 0;
    EACH(i) sum += exp(widen(x[i]) - shift);
    return sum_of_all(sum);
}

// log(sum(exp(x))), -inf where all are -inf.
__device__ inline W log_of_sum(const T* x, long long length)
{
    W top = largest(x, length);
    if (top - top != 0)  // infinite or NaN: a shift by it would make inf - inf
        top = 0;
    const W sum = sum_of_exp(x, top, length);
    return log(sum) + top;
}
"""

SOFTMAX = """
extern "C" __global__ void softmax(const T* x, T* y, long long rows, long long length)
{
    EACH_ROW(row) {
        const T* in = x + row * length;
        const W top = largest(in, length);
        const W sum = sum_of_exp(in, top, length);
        EACH(i) y[row * length + i] = narrow(exp(widen(in[i]) - top) / sum);
    }
}

extern "C" __global__ void log_softmax(const T* x, T* y, long long rows, long long length)
{
    EACH_ROW(row) {
        const T* in = x + row * length;
        const W top = largest(in, length);
        const W sum = log(sum_of_exp(in, top, length));
        EACH(i) y[row * length + i] = narrow(widen(in[i]) - top - sum);
    }
}

extern "C" __global__ void logsumexp(const T* x, T* y, long long rows, long long length)
{
    EACH_ROW(row) {
        const W value = log_of_sum(x + row * length, length);
        if (threadIdx.x == 0)
            y[row] = narrow(value);
    }
}

extern "C" __global__ void softmax_vjp(
    const T* g, const T* y, T* d, long long rows, long long length)
{
    EACH_ROW(row) {
        const long long first = row * length;
        W sum = 0;
        EACH(i) sum += widen(g[first + i]) * widen(y[first + i]);
        sum = sum_of_all(sum);
        EACH(i) d[first + i] = narrow((widen(g[first + i]) - sum) * widen(y[first + i]));
    }
}

extern "C" __global__ void log_softmax_vjp(
    const T* g, const T* y, T* d, long long rows, long long length)
{
    EACH_ROW(row) {
        const long long first = row * length;
        W sum = 0;
        EACH(i) sum += widen(g[first + i]);
        sum = sum_of_all(sum);
        EACH(i) d[first + i] = narrow(widen(g[first + i]) - exp(widen(y[first + i])) * sum);
    }
}

extern "C" __global__ void logsumexp_vjp(
    const T* g, const T* y, const T* x, T* d, long long rows, long long length)
{
    EACH_ROW(row) {
        const W total = widen(y[row]);
        const W shift = total < 0 && total - total != 0 ? (W)0 : total;  // -inf: so is all of x
        const W factor = widen(g[row]);
        EACH(i) d[row * length + i] = narrow(factor * exp(widen(x[row * length + i]) - shift));
    }
}
"""


class Rows(Kernels):
    """Softmax and its relatives, and the cross-entropy, on arrays of CuPy."""

    def _map(self, name: str, x: Any, axis: Any = -1) -> Any:
        y = self._each_row(name, axis, x)
        return self._formula(name, x, axis) if y is None else y

    def _map_vjp(self, name: str, g: Any, y: Any, axis: Any) -> Any:
        d = self._each_row(name, axis, g, y) if g.shape == y.shape else None
        return self._formula(name, g, y, axis) if d is None else d

    softmax = partialmethod(_map, "softmax")
    log_softmax = partialmethod(_map, "log_softmax")
    softmax_vjp = partialmethod(_map_vjp, "softmax_vjp")
    log_softmax_vjp = partialmethod(_map_vjp, "log_softmax_vjp")

    def logsumexp(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        """The formula of this name in `gpugrad.ops.reduce`."""
        y = self._each_row("logsumexp", axis, x, reduced=(1,) if keepdims else ())
        return self._formula("logsumexp", x, axis, keepdims) if y is None else y

    def logsumexp_vjp(self, g: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
        """The gradient of x."""
        d = self._each_row("logsumexp_vjp", axis, g, y, x) if g.shape == y.shape else None
        return self._formula("logsumexp_vjp", g, y, x, axis, keepdims) if d is None else d

    def _each_row(
        self, name: str, axis: Any, *arrays: Any, reduced: tuple[int, ...] | None = None
    ) -> Any:
        """The result of a kernel over the rows of the last array; None where it does not fit.

        It has the shape of that array; with ``reduced``, that in place of each axis of a row.
        """
        x = arrays[-1]
        dtype, shape, first = x.dtype, x.shape, _first_of(axis, x.ndim)
        if dtype not in FLOATS or first is None or first == len(shape) or not x.size:
            return None
        length = math.prod(shape[first:])
        if length > LONGEST and x.size < ENOUGH_ROWS * length:
            return None
        for array in arrays:
            if array.dtype != dtype:
                return None
        if reduced is not None:
            shape = shape[:first] + reduced * (x.ndim - first)
        y = self._array(shape, dtype)
        rows = x.size // length
        arguments = (*map(self._dense, arrays), y, rows, length)
        self._launch(rows_source(dtype), name, rows, length, *arguments)
        return y


def _first_of(axis: Any, ndim: int) -> int | None:
    """The first axis of a row if ``axis`` means the last ones; None if it does not."""
    if axis is None or not ndim:
        return 0
    if not isinstance(axis, tuple):
        return ndim - 1 if axis in (-1, ndim - 1) else None  # a NumPy integer as well
    first = ndim - len(axis)
    last = list(range(max(first, 0), ndim))
    return first if sorted(i + ndim if i < 0 else i for i in axis) == last else None
