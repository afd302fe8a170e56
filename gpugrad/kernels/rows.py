"""Softmax, log_softmax, logsumexp and the cross-entropy, one kernel each: a warp or block a row.

The methods of `Rows` replace the formulas of `gpugrad.ops.reduce` and `gpugrad.ops.losses` in the
namespace of CuPy. The formula runs where there is no kernel: for other axes than the last ones and
for empty arrays. Imports `source`.
"""

import math
from functools import cache, partialmethod
from typing import Any

from gpugrad.backend.namespace import namespace_of
from gpugrad.kernels.source import FLOATS, SHORT, Kernels, launch_shape, prelude

__all__ = ["ROW", "Rows", "loss_source", "rows_source"]

# With few rows of more elements than this, one block for each row leaves the GPU idle.
LONGEST = 1 << 16
ENOUGH_ROWS = 128
FEW_ROWS = 128  # the most rows whose losses one block computes and sums


@cache
def rows_source(dtype: Any) -> str:
    """The kernels of softmax, log_softmax, logsumexp and their derivatives."""
    return prelude(dtype) + ROW + SOFTMAX


@cache
def loss_source(dtype: Any, target: Any) -> str:
    """The kernels of the cross-entropy, for class numbers of the dtype ``target``."""
    sign = "unsigned " if target.kind == "u" else "signed "
    whole = {1: "char", 2: "short", 4: "int", 8: "long long"}[target.itemsize]
    return f"{prelude(dtype)}typedef {sign}{whole} I;\n{ROW}{CROSS_ENTROPY}"


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

CROSS_ENTROPY = """
__device__ inline bool is_class(I target, long long length)
{
    return (unsigned long long)(long long)target < (unsigned long long)length;
}

// The loss of a sample whose class number is out of range, and its gradient.
__device__ inline W not_a_number()
{
    const W zero = 0;
    return zero / zero;
}

// The loss of a row; writes the log-probabilities where `scores` is not 0.
__device__ inline W loss_of(const T* x, I target, T* scores, long long length)
{
    const W top = largest(x, length);
    const W rest = log(sum_of_exp(x, top, length));
    if (scores)
        EACH(i) scores[i] = narrow(widen(x[i]) - top - rest);
    return is_class(target, length) ? rest - (widen(x[(long long)target]) - top) : not_a_number();
}

extern "C" __global__ void cross_entropy(
    const T* x, const I* target, T* losses, T* scores, long long rows, long long length)
{
    EACH_ROW(row) {
        const long long first = row * length;
        const W loss = loss_of(x + first, target[row], scores ? scores + first : 0, length);
        if (threadIdx.x == 0)
            losses[row] = narrow(loss);
    }
}

// factor times the sum of all losses, by one block whose warps take rows in turn.
extern "C" __global__ void cross_entropy_of_few(
    const T* x, const I* target, T* y, T* scores, long long rows, long long length, double factor)
{
    __shared__ W parts[32];
    W sum = 0;
    EACH_ROW(row) {
        const long long first = row * length;
        sum += loss_of(x + first, target[row], scores ? scores + first : 0, length);
    }
    if (threadIdx.x == 0)
        parts[threadIdx.y] = sum;
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        sum = 0;
        for (unsigned int i = 0; i < blockDim.y; ++i)
            sum += parts[i];
        y[0] = narrow(sum * (W)factor);
    }
}

// g has one element for each row (stride 1) or one for all (stride 0).
extern "C" __global__ void cross_entropy_vjp(
    const T* g, const T* scores, const I* target, T* d, long long rows, long long length,
    long long stride, double share)
{
    EACH_ROW(row) {
        const T* in = scores + row * length;
        const bool known = is_class(target[row], length);
        const W factor = known ? widen(g[row * stride]) * (W)share : not_a_number();
        const long long chosen = known ? (long long)target[row] : -1;
        EACH(i) d[row * length + i] = narrow((exp(widen(in[i])) - (i == chosen)) * factor);
    }
}

// factor times the sum of x, by one block.
extern "C" __global__ void total(const T* x, T* y, long long length, double factor)
{
    W sum = 0;
    EACH(i) sum += widen(x[i]);
    sum = sum_of_all(sum);
    if (threadIdx.x == 0)
        y[0] = narrow(sum * (W)factor);
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

    # The loss.

    def class_cross_entropy(self, logits: Any, target: Any, reduction: str = "mean") -> Any:
        """The formula of this name in `gpugrad.ops.losses`."""
        return self._cross_entropy(logits, target, reduction, False)[0]

    def class_cross_entropy_and_residuals(
        self, logits: Any, target: Any, reduction: str = "mean"
    ) -> Any:
        """The loss and the log-probabilities."""
        return self._cross_entropy(logits, target, reduction, True)

    def _loss_fits(self, logits: Any, target: Any) -> bool:
        return (
            isinstance(target, self._array)
            and target.dtype.kind in "iu"
            and target.shape == logits.shape[:-1]
            and logits.ndim > 0
            and self._fit(logits)
            and (logits.shape[-1] <= LONGEST or target.size >= ENOUGH_ROWS)
        )

    def _cross_entropy(self, logits: Any, target: Any, reduction: str, keep: bool) -> Any:
        """The loss, and with ``keep`` the log-probabilities."""
        if reduction not in ("mean", "sum", "none") or not self._loss_fits(logits, target):
            return self._formula("class_cross_entropy_and_residuals", logits, target, reduction)
        dtype = logits.dtype
        source = loss_source(dtype, target.dtype)
        shape, length, rows = target.shape, logits.shape[-1], target.size
        logits, target = self._dense(logits), self._dense(target)
        scores = self._array(logits.shape, dtype) if keep else None
        share = 1.0 / rows if reduction == "mean" else 1.0
        if reduction != "none" and rows <= FEW_ROWS and length <= SHORT:
            y = self._array((), dtype)
            kernel = self._get(source, "cross_entropy_of_few")
            kernel((1,), (32, min(32, rows)), (logits, target, y, scores, rows, length, share))
            return y, scores
        losses = self._array(shape, dtype)
        arguments = (logits, target, losses, scores, rows, length)
        self._launch(source, "cross_entropy", rows, length, *arguments)
        if reduction == "none":
            return losses, scores
        if rows > LONGEST:
            return getattr(namespace_of(losses), reduction)(losses), scores
        y = self._array((), dtype)
        threads = launch_shape(1, rows)[1][0]
        self._get(source, "total")((1,), (threads,), (losses, y, rows, share))
        return y, scores

    def class_cross_entropy_vjp(self, g: Any, target: Any, scores: Any, reduction: str) -> Any:
        """The gradient of the logits, from their log-probabilities."""
        every = reduction == "none"
        fits = g.dtype == scores.dtype and g.shape == (target.shape if every else ())
        if not fits or not self._loss_fits(scores, target):
            return self._formula("class_cross_entropy_vjp", g, target, scores, reduction)
        dtype, rows, length = scores.dtype, target.size, scores.shape[-1]
        d, share = self._array(scores.shape, dtype), 1.0 / rows if reduction == "mean" else 1.0
        arguments = (*map(self._dense, (g, scores, target)), d, rows, length, int(every), share)
        source = loss_source(dtype, target.dtype)
        self._launch(source, "cross_entropy_vjp", rows, length, *arguments)
        return d


def _first_of(axis: Any, ndim: int) -> int | None:
    """The first axis of a row if ``axis`` means the last ones; None if it does not."""
    if axis is None or not ndim:
        return 0
    if not isinstance(axis, tuple):
        return ndim - 1 if axis in (-1, ndim - 1) else None  # a NumPy integer as well
    first = ndim - len(axis)
    last = list(range(max(first, 0), ndim))
    return first if sorted(i + ndim if i < 0 else i for i in axis) == last else None
