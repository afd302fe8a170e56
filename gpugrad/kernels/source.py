"""What the hand-written kernels share: types, reductions, compilation, how they are launched.

A kernel computes in W and stores T: float and __half for float16, else the type of the dtype. For
bfloat16, which few families take, T is the upper half of a float's bits.
Indices have 64 bits. Sums have one fixed order and use no atomics: every run gives the same bits.
Imports namespace and precision, and CuPy when needed.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.backend.precision import is_half

__all__ = ["COLUMN", "FLOATS", "WIDE", "Get", "Kernels", "cupy_kernel", "launch_shape", "prelude"]

Get = Callable[..., Any]  # (source, name of the kernel, *options) -> its launcher

# By dtype: the type that is stored, the type of the computation, the conversions between them.
FLOATS = {
    np.dtype(np.float16): ("__half", "float", "__half2float(x)", "__float2half(x)"),
    np.dtype(np.float32): ("float", "float", "x", "x"),
    np.dtype(np.float64): ("double", "double", "x", "x"),
}

BRAIN = ("unsigned short", "float", "of_brain(x)", "to_brain(x)")
TO_AND_OF_BRAIN = """
__device__ inline float of_brain(unsigned short x)
{
    return __uint_as_float((unsigned int)x << 16);
}
__device__ inline unsigned short to_brain(float x)  // to the nearest, of two such to the even one
{
    const unsigned int bits = __float_as_uint(x);
    return x != x ? (bits >> 16) | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
"""

WIDE = {"e": "f", "f": "f", "d": "d"}  # the dtype of the computation, by that of the arrays


@cache
def cupy_kernel(source: str, name: str, *options: str) -> Any:
    """A kernel by its name. CuPy compiles a source once for its kernels, at the first launch."""
    return import_module("cupy").RawKernel(source, name, ("--std=c++17", *options))


@cache
def prelude(dtype: Any) -> str:
    """The types of a kernel for arrays of a dtype, and reductions over the threads of a row."""
    stored, computed, read, write = BRAIN if dtype.kind == "V" else FLOATS[dtype]
    include = "#include <cuda_fp16.h>\n" if stored == "__half" else ""
    include = TO_AND_OF_BRAIN if dtype.kind == "V" else include
    return f"""{include}
typedef {stored} T;
typedef {computed} W;

__device__ inline W widen(T x) {{ return {read}; }}
__device__ inline T narrow(W x) {{ return {write}; }}
{REDUCTION}"""


REDUCTION = """
template <typename V> __device__ inline V added(V a, V b) { return a + b; }
template <typename V> __device__ inline V larger(V a, V b)  // NaN is the largest of all
{
    return a > b || a != a ? a : b;
}

// Reduces over all threads with the same threadIdx.y; each of them gets the result. They are one
// warp, or several warps that are the whole block.
template <typename V, V (*combine)(V, V)>
__device__ inline V together(V x)
{
    for (int step = 16; step; step /= 2)
        x = combine(x, __shfl_xor_sync(0xffffffffu, x, step));
    if (blockDim.x > 32) {
        __shared__ V parts[32];
        __syncthreads();  // all have read the result of the call before
        if (threadIdx.x % 32 == 0)
            parts[threadIdx.x / 32] = x;
        __syncthreads();
        x = parts[0];
        for (unsigned int i = 1; i < blockDim.x / 32; ++i)
            x = combine(x, parts[i]);
    }
    return x;
}
template <typename V> __device__ inline V sum_of_all(V x) { return together<V, added<V>>(x); }
template <typename V> __device__ inline V largest_of_all(V x) { return together<V, larger<V>>(x); }
"""

# For blocks of 32 columns by 8 rows of threads.
COLUMN = """
// Sums over all threads with the same threadIdx.x; each of them gets the result.
__device__ inline W sum_of_column(W x)
{
    __shared__ W rows[8][32];
    __syncthreads();  // all have read the result of the call before
    rows[threadIdx.y][threadIdx.x] = x;
    __syncthreads();
    x = rows[0][threadIdx.x];
    for (int i = 1; i < 8; ++i)
        x += rows[i][threadIdx.x];
    return x;
}

// blockIdx.y counts stripes of rows. Whether this block is the last of its columns to store the sum
// of its stripe: then it sees the sums of all stripes. `arrived` has a counter for each 32 columns.
__device__ inline bool comes_last(unsigned int* arrived)
{
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0)
        last = atomicAdd(arrived + blockIdx.x, 1u) == gridDim.y - 1;
    __syncthreads();
    __threadfence();
    return last;
}

// The sums of the stripes of a column, added in the order of the stripes.
__device__ inline W sum_of_stripes(const volatile W* parts, long long column, long long length)
{
    W sum = 0;
    if (column < length)
        for (long long i = threadIdx.y; i < gridDim.y; i += blockDim.y)
            sum += parts[i * length + column];
    return sum_of_column(sum);
}
"""


class Stripes(NamedTuple):
    """How the rows of a matrix are divided among blocks that sum columns, see `COLUMN`."""

    grid: tuple[int, int]
    block: tuple[int, int]
    rows: int  # of a stripe
    parts: Any  # memory for the sums of the stripes; None for one stripe
    arrived: Any  # the counters of `comes_last`; None for one stripe


@lru_cache(1024)
def _divided(rows: int, length: int, least: int) -> Stripes:
    each = max(least, -(-rows // 128))
    return Stripes((-(-length // 32), -(-rows // each)), (32, 8), each, None, None)


SHORT = 256  # the most elements of a row for one warp


@lru_cache(1024)
def launch_shape(rows: int, length: int) -> tuple[tuple[int], tuple[int, int]]:
    """The grid and the block (threads for a row, rows); a thread gets a few elements."""
    threads = 32 if length <= SHORT else 256 if length <= 4096 else 1024
    rows_of_block = 8 if threads == 32 else 1
    return (min(-(-rows // rows_of_block), 1 << 20),), (threads, rows_of_block)


class Kernels:
    """A family of kernels for arrays of ``module`` (cupy); ``get`` compiles them.

    Each public method of a family replaces the formula of its name in the namespace of CuPy. It
    calls the formula where its kernels do not fit. ``brain`` says whether they take bfloat16.
    """

    brain = False

    def __init__(self, module: Any, get: Get = cupy_kernel) -> None:
        self._module = module
        self._array = module.ndarray
        self._get = get

    def functions(self) -> dict[str, Callable[..., Any]]:
        """The methods by the names of the formulas that they replace."""
        return {name: getattr(self, name) for name in vars(type(self)) if name[0] != "_"}

    def _formula(self, name: str, x: Any, *arguments: Any) -> Any:
        """What the formula returns in the namespace of the array x."""
        return FORMULAS[name](namespace_of(x), x, *arguments)

    def _fit(self, x: Any, *others: Any) -> bool:
        """Whether all are arrays of one dtype that has kernels, the first one not empty."""
        dtype, array = x.dtype, self._array
        if not x.size or (dtype not in FLOATS and not (self.brain and is_half(dtype))):
            return False
        for y in (x, *others):  # noqa: SIM110  a generator is slower, and every layer asks
            if not isinstance(y, array) or y.dtype != dtype:
                return False
        return True

    def _dense(self, x: Any) -> Any:
        """An array in C order: itself where it is so already. None stays None."""
        return x if x is None or x.flags.c_contiguous else self._module.ascontiguousarray(x)

    def _launch(self, source: str, name: str, rows: int, length: int, *arguments: Any) -> None:
        """Launch a kernel in which a warp or a block handles a row, see `EACH_ROW`."""
        self._get(source, name)(*launch_shape(rows, length), arguments)

    def _stripes(self, rows: int, length: int, dtype: Any, least: int, sums: int = 1) -> Stripes:
        """At most 128 stripes of ``least`` rows or more; ``sums`` says how many a column has."""
        divided = _divided(rows, length, least)
        if divided.grid[1] == 1:
            return divided
        grid = divided.grid
        parts = self._array((sums, grid[1], length), WIDE[dtype.char])
        return divided._replace(parts=parts, arrived=self._module.zeros(grid[0], "I"))
