"""The squared error: mean or sum in one kernel, two for many elements; the derivative in one.

The methods of `Squares` replace the formulas of `gpugrad.ops.losses` in the namespace of CuPy.
Imports `source`.
"""

from functools import cache
from typing import Any

from gpugrad.kernels.source import WIDE, Kernels, prelude

__all__ = ["Squares", "squares_source"]

THREADS = 256
PIECE = 2048  # the least number of elements that a block sums
BLOCKS = 1024  # at most, so that one block can add their sums


@cache
def squares_source(dtype: Any) -> str:
    """The kernels of mse_loss and its derivatives."""
    return (
        prelude(dtype)
        + """
#define EACH(i) \\
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < length; \\
         i += (long long)gridDim.x * blockDim.x)

// One block writes the loss; several write parts of the sum.
extern "C" __global__ void squares(
    const T* x, const T* target, W* parts, T* y, long long length, double factor)
{
    W sum = 0;
    EACH(i) {
        const W d = widen(x[i]) - widen(target[i]);
        sum += d * d;
    }
    sum = sum_of_all(sum);
    if (threadIdx.x == 0) {
        if (gridDim.x == 1)
            y[0] = narrow(sum * (W)factor);
        else
            parts[blockIdx.x] = sum;
    }
}

extern "C" __global__ void sum_of_parts(const W* parts, T* y, long long length, double factor)
{
    W sum = 0;
    EACH(i) sum += parts[i];
    sum = sum_of_all(sum);
    if (threadIdx.x == 0)
        y[0] = narrow(sum * (W)factor);
}

// The gradients of x and of the target, where their pointers are not 0; g is a scalar.
extern "C" __global__ void squares_vjp(
    const T* g, const T* x, const T* target, T* d_x, T* d_target, long long length, double factor)
{
    const W slope = widen(g[0]) * (W)factor;
    EACH(i) {
        const W d = (widen(x[i]) - widen(target[i])) * slope;
        if (d_x)
            d_x[i] = narrow(d);
        if (d_target)
            d_target[i] = narrow(-d);
    }
}
"""
    )


class Squares(Kernels):
    """The squared error on arrays of CuPy."""

    def mse_loss(self, x: Any, target: Any, reduction: str = "mean") -> Any:
        """The formula of this name in `gpugrad.ops.losses`."""
        if not self._fits(x, target, reduction):
            return self._formula("mse_loss", x, target, reduction)
        dtype, size = x.dtype, x.size
        x, target = self._dense(x), self._dense(target)
        factor = 1.0 / size if reduction == "mean" else 1.0
        blocks = min(-(-size // PIECE), BLOCKS)
        y, parts = self._array((), dtype), self._array((blocks,), WIDE[dtype.char])
        source = squares_source(dtype)
        arguments = (x, target, parts, y, size, factor)
        self._get(source, "squares")((blocks,), (THREADS,), arguments)
        if blocks > 1:
            self._get(source, "sum_of_parts")((1,), (THREADS,), (parts, y, blocks, factor))
        return y

    def mse_loss_vjp(
        self, g: Any, x: Any, target: Any, needs: tuple[bool, ...], reduction: str
    ) -> Any:
        """The gradients of x and of the target; None for one that is not needed."""
        if not self._fits(x, target, reduction) or g.dtype != x.dtype or g.shape != ():
            return self._formula("mse_loss_vjp", g, x, target, needs, reduction)
        size, dtype, shape = x.size, x.dtype, x.shape
        d_x, d_target = (self._array(shape, dtype) if need else None for need in needs)
        factor = 2.0 / size if reduction == "mean" else 2.0
        arguments = (g, self._dense(x), self._dense(target), d_x, d_target, size, factor)
        kernel = self._get(squares_source(dtype), "squares_vjp")
        kernel((min(-(-size // THREADS), 1 << 20),), (THREADS,), arguments)
        return d_x, d_target

    def _fits(self, x: Any, target: Any, reduction: str) -> bool:
        return reduction in ("mean", "sum") and self._fit(x, target) and x.shape == target.shape
