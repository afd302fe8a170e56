"""The squared error: its mean or sum in one kernel, or two for many elements, its rule in one.

`Squares` has functions for the namespace of CuPy arrays that stand in for the formulas of the same
names in `gpugrad.ops.losses`. Imports the modules beside it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.kernels.rows import contiguous
from gpugrad.kernels.source import FLOATS, Get, cupy_kernel, prelude

__all__ = ["Squares", "squares_source"]

THREADS = 256
PIECE = 2048  # elements, at least, that a block adds up
BLOCKS = 1024  # at most, so that one block adds up what they found


@cache
def squares_source(dtype: Any) -> str:
    """The kernels of mse_loss and of its derivatives."""
    return (
        prelude(dtype)
        + """
#define EACH(i) \\
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < length; \\
         i += (long long)gridDim.x * blockDim.x)

// One block gives the loss, several give their parts of the sum.
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

// The gradients of x and of the target, where they are not 0; g is one number.
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


class Squares:
    """The functions for arrays of ``module`` (cupy), whose kernels ``get`` compiles."""

    def __init__(self, module: Any, get: Get = cupy_kernel) -> None:
        self.module = module
        self.get = get

    def functions(self) -> dict[str, Callable[..., Any]]:
        """By the names of the formulas that they stand in for."""
        return {"mse_loss": self._loss, "mse_loss_vjp": self._vjp}

    def _fits(self, x: Any, target: Any, reduction: str) -> bool:
        return (
            reduction in ("mean", "sum")
            and isinstance(x, self.module.ndarray)
            and isinstance(target, self.module.ndarray)
            and x.dtype == target.dtype
            and x.shape == target.shape
            and x.dtype in FLOATS
            and x.size > 0
        )

    def _loss(self, x: Any, target: Any, reduction: str = "mean") -> Any:
        if not self._fits(x, target, reduction):
            return FORMULAS["mse_loss"](namespace_of(x), x, target, reduction)
        dtype, size = x.dtype, x.size
        x, target = contiguous(self.module, x), contiguous(self.module, target)
        factor = 1.0 / size if reduction == "mean" else 1.0
        blocks = min(-(-size // PIECE), BLOCKS)
        y = self.module.ndarray((), dtype)
        parts = self.module.ndarray((blocks,), "d" if dtype.char == "d" else "f")
        source = squares_source(dtype)
        words = (x, target, parts, y, size, factor)
        self.get(source, "squares")((blocks,), (THREADS,), words)
        if blocks > 1:
            self.get(source, "sum_of_parts")((1,), (THREADS,), (parts, y, blocks, factor))
        return y

    def _vjp(
        self, g: Any, x: Any, target: Any, needs: tuple[bool, ...], reduction: str
    ) -> tuple[Any, Any]:
        if not self._fits(x, target, reduction) or g.dtype != x.dtype or g.shape != ():
            formula = FORMULAS["mse_loss_vjp"]
            pulled: tuple[Any, Any] = formula(namespace_of(x), g, x, target, needs, reduction)
            return pulled
        size, dtype, shape = x.size, x.dtype, x.shape
        x, target = contiguous(self.module, x), contiguous(self.module, target)
        d_x, d_target = (self.module.ndarray(shape, dtype) if need else None for need in needs)
        factor = 2.0 / size if reduction == "mean" else 2.0
        words = (g, x, target, d_x, d_target, size, factor)
        kernel = self.get(squares_source(dtype), "squares_vjp")
        kernel((min(-(-size // THREADS), 1 << 20),), (THREADS,), words)
        return d_x, d_target
