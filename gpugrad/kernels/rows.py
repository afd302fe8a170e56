"""Softmax, log_softmax, logsumexp and the cross-entropy, one kernel each: a warp or block a row.

The methods of `Rows` replace the formulas of `gpugrad.ops.reduce` and `gpugrad.ops.losses` in the
namespace of CuPy. The formula runs where there is no kernel: for other axes than the last ones and
for empty arrays. Imports `source`.
"""

import math
from collections.abc import Callable
from functools import cache, lru_cache, partial
from typing import Any

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.kernels.source import FLOATS, Get, cupy_kernel, prelude

__all__ = ["ROW", "Rows", "contiguous", "launch_shape", "loss_source", "rows_source"]

# With few rows of more elements than this, one block for each row leaves the GPU idle.
LONGEST = 1 << 16
ENOUGH_ROWS = 128
SHORT = 256  # the most elements of a row for one warp
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


@lru_cache(1024)
def launch_shape(rows: int, length: int) -> tuple[tuple[int], tuple[int, int]]:
    """The grid and the block (threads for a row, rows); a thread gets a few elements."""
    threads = 32 if length <= SHORT else 256 if length <= 4096 else 1024
    rows_of_block = 8 if threads == 32 else 1
    return (min(-(-rows // rows_of_block), 1 << 20),), (threads, rows_of_block)


def contiguous(module: Any, x: Any) -> Any:
    """The array in C order: itself where it is so already."""
    return x if x.flags.c_contiguous else module.ascontiguousarray(x)


class Rows:
    """Launches the kernels on arrays of ``module`` (cupy); ``get`` compiles them."""

    def __init__(self, module: Any, get: Get = cupy_kernel) -> None:
        self.module = module
        self.get = get

    def functions(self) -> dict[str, Callable[..., Any]]:
        """The methods by the names of the formulas that they replace."""
        return {
            "softmax": partial(self._map, "softmax"),
            "log_softmax": partial(self._map, "log_softmax"),
            "logsumexp": self._logsumexp,
            "softmax_vjp": partial(self._map_vjp, "softmax_vjp"),
            "log_softmax_vjp": partial(self._map_vjp, "log_softmax_vjp"),
            "logsumexp_vjp": self._logsumexp_vjp,
            "class_cross_entropy": self._loss,
            "class_cross_entropy_and_residuals": partial(self._cross_entropy, keep=True),
            "class_cross_entropy_vjp": self._cross_entropy_vjp,
        }

    def _length(self, x: Any, axis: Any) -> int:
        """The length of a row if ``axis`` means the last axes; 0 if there is no kernel."""
        ndim = x.ndim
        if axis == -1 or axis == ndim - 1:  # true for a NumPy integer as well
            first = ndim - 1
        elif axis is None:
            first = 0
        elif isinstance(axis, tuple):
            first = ndim - len(axis)
            last = list(range(first, ndim))
            if first < 0 or sorted(i + ndim if i < 0 else i for i in axis) != last:
                return 0
        else:
            return 0
        if x.dtype not in FLOATS or not x.size or not ndim or first == ndim:
            return 0
        length = math.prod(x.shape[first:])
        return length if length <= LONGEST or x.size >= ENOUGH_ROWS * length else 0

    def _launch(self, name: str, source: str, arrays: tuple[Any, ...], size: int, length: int,
                *numbers: float) -> None:  # fmt: skip
        rows = size // length
        kernel = self.get(source, name)
        kernel(*launch_shape(rows, length), (*arrays, rows, length, *numbers))

    def _map(self, name: str, x: Any, axis: Any = -1) -> Any:
        length = self._length(x, axis)
        if not length:
            return FORMULAS[name](namespace_of(x), x, axis)
        y = self.module.ndarray(x.shape, x.dtype)
        x = contiguous(self.module, x)
        self._launch(name, rows_source(x.dtype), (x, y), x.size, length)
        return y

    def _map_vjp(self, name: str, g: Any, y: Any, axis: Any) -> Any:
        length = self._length(y, axis)
        if not length or g.dtype != y.dtype or g.shape != y.shape:
            return FORMULAS[name](namespace_of(y), g, y, axis)
        d = self.module.ndarray(y.shape, y.dtype)
        g, y = (contiguous(self.module, array) for array in (g, y))
        self._launch(name, rows_source(y.dtype), (g, y, d), y.size, length)
        return d

    def _logsumexp(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        length = self._length(x, axis)
        if not length:
            return FORMULAS["logsumexp"](namespace_of(x), x, axis, keepdims)
        left = 0 if axis is None else x.ndim - (len(axis) if isinstance(axis, tuple) else 1)
        shape = x.shape[:left] + (1,) * ((x.ndim - left) * bool(keepdims))
        y = self.module.ndarray(shape, x.dtype)
        x = contiguous(self.module, x)
        self._launch("logsumexp", rows_source(x.dtype), (x, y), x.size, length)
        return y

    def _logsumexp_vjp(self, g: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
        length = self._length(x, axis)
        if not length or not g.dtype == y.dtype == x.dtype or g.shape != y.shape:
            return FORMULAS["logsumexp_vjp"](namespace_of(x), g, y, x, axis, keepdims)
        d = self.module.ndarray(x.shape, x.dtype)
        g, y, x = (contiguous(self.module, array) for array in (g, y, x))
        self._launch("logsumexp_vjp", rows_source(x.dtype), (g, y, x, d), x.size, length)
        return d

    # The loss.

    def _loss_fits(self, logits: Any, target: Any) -> bool:
        return (
            isinstance(target, self.module.ndarray)
            and target.dtype.kind in "iu"
            and target.shape == logits.shape[:-1]
            and self._length(logits, -1) > 0
        )

    def _loss(self, logits: Any, target: Any, reduction: str = "mean") -> Any:
        return self._cross_entropy(logits, target, reduction)[0]

    def _cross_entropy(
        self, logits: Any, target: Any, reduction: str = "mean", keep: bool = False
    ) -> tuple[Any, Any]:
        """The loss, and with ``keep`` the log-probabilities."""
        if reduction not in ("mean", "sum", "none") or not self._loss_fits(logits, target):
            formula = FORMULAS["class_cross_entropy_and_residuals"]
            result: tuple[Any, Any] = formula(namespace_of(logits), logits, target, reduction)
            return result
        module, dtype = self.module, logits.dtype
        source = loss_source(dtype, target.dtype)
        shape, length, rows = target.shape, logits.shape[-1], target.size
        logits, target = contiguous(module, logits), contiguous(module, target)
        scores = module.ndarray(logits.shape, dtype) if keep else None
        share = 1.0 / rows if reduction == "mean" else 1.0
        if reduction != "none" and rows <= FEW_ROWS and length <= SHORT:
            y = module.ndarray((), dtype)
            kernel = self.get(source, "cross_entropy_of_few")
            kernel((1,), (32, min(32, rows)), (logits, target, y, scores, rows, length, share))
            return y, scores
        losses = module.ndarray(shape, dtype)
        self._launch("cross_entropy", source, (logits, target, losses, scores), logits.size, length)
        if reduction == "none":
            return losses, scores
        if rows > LONGEST:
            return getattr(namespace_of(losses), reduction)(losses), scores
        y = module.ndarray((), dtype)
        threads = launch_shape(1, rows)[1][0]
        self.get(source, "total")((1,), (threads,), (losses, y, rows, share))
        return y, scores

    def _cross_entropy_vjp(self, g: Any, target: Any, scores: Any, reduction: str) -> Any:
        every = reduction == "none"
        fits = g.dtype == scores.dtype and g.shape == (target.shape if every else ())
        if not fits or not self._loss_fits(scores, target):
            formula = FORMULAS["class_cross_entropy_vjp"]
            return formula(namespace_of(scores), g, target, scores, reduction)
        module, dtype, rows = self.module, scores.dtype, target.size
        d = module.ndarray(scores.shape, dtype)
        g = contiguous(module, g) if every else g
        scores, target = contiguous(module, scores), contiguous(module, target)
        self._launch(
            "cross_entropy_vjp", loss_source(dtype, target.dtype), (g, scores, target, d),
            scores.size, scores.shape[-1], int(every), 1.0 / rows if reduction == "mean" else 1.0,
        )  # fmt: skip
        return d
