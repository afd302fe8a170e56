"""The squared error: mean or sum in one kernel, two for many elements; the derivative in one.

The methods of `Squares` replace the formulas of `gpugrad.ops.losses` in the namespace of CuPy.
Imports `rows` and `source`.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.kernels.rows import contiguous
from gpugrad.kernels.source import FLOATS, Get, cupy_kernel, prelude

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


class Squares:
    """Launches the kernels on arrays of ``module`` (cupy); ``get`` compiles them."""

    def __init__(self, module: Any, get: Get = cupy_kernel) -> None:
        self.module = module
        self.get = get

    def functions(self) -> dict[str, Callable[..., Any]]:
        """The methods by the names of the formulas that they replace."""
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
        arguments = (x, target, parts, y, size, factor)
        self.get(source, "squares")((blocks,), (THREADS,), arguments)
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
        arguments = (g, x, target, d_x, d_target, size, factor)
        kernel = self.get(squares_source(dtype), "squares_vjp")
        kernel((min(-(-size // THREADS), 1 << 20),), (THREADS,), arguments)
        return d_x, d_target
