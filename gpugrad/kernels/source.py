"""What the hand-written kernels have in common: their first lines of C, and who compiles them.

Imports CuPy when the first kernel is asked for. A kernel computes in W and stores T: float and
__half for float16, and else the dtype's own type. Indices have 64 bits. Sums are made in one
fixed order, never by atomics: the same bits at every run.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

__all__ = ["COLUMN", "FLOATS", "Get", "Stripes", "cupy_kernel", "prelude", "stripes"]

Get = Callable[..., Any]  # from a source, a kernel's name and options to what launches it

# The dtypes that the kernels take: stored as, computed in, read by, written by.
FLOATS = {
    np.dtype(np.float16): ("__half", "float", "__half2float(x)", "__float2half(x)"),
    np.dtype(np.float32): ("float", "float", "x", "x"),
    np.dtype(np.float64): ("double", "double", "x", "x"),
}


@cache
def cupy_kernel(source: str, name: str, *options: str) -> Any:
    """The kernel of that name; CuPy compiles a source once for all its kernels, at a launch."""
    return import_module("cupy").RawKernel(source, name, ("--std=c++17", *options))


@cache
def prelude(dtype: Any) -> str:
    """The types of a kernel for arrays of a dtype, and sums over the threads of a row."""
    stored, computed, read, write = FLOATS[dtype]
    include = "#include <cuda_fp16.h>\n" if stored == "__half" else ""
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

// One value of all threads with the same threadIdx.y, for each of them. They are one warp, or
// several that are the whole block.
template <typename V, V (*combine)(V, V)>
__device__ inline V together(V x)
{
    for (int step = 16; step; step /= 2)
        x = combine(x, __shfl_xor_sync(0xffffffffu, x, step));
    if (blockDim.x > 32) {
        __shared__ V parts[32];
        __syncthreads();  // of the call before, all have read
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

# For blocks of 32 columns and 8 rows.
COLUMN = """
// One value of all threads with the same threadIdx.x, for each of them.
__device__ inline W sum_of_column(W x)
{
    __shared__ W rows[8][32];
    __syncthreads();  // of the call before, all have read
    rows[threadIdx.y][threadIdx.x] = x;
    __syncthreads();
    x = rows[0][threadIdx.x];
    for (int i = 1; i < 8; ++i)
        x += rows[i][threadIdx.x];
    return x;
}

// Where blockIdx.y counts stripes of rows: whether this block is the last of its columns to have
// stored what its stripe gave, so that it sees what the others stored. `arrived` has a 0 for each
// 32 columns.
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

// What the stripes gave for a column, added up in their order, whichever came last.
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
    """How the rows of a matrix are divided among blocks that add up columns, see `COLUMN`."""

    grid: tuple[int, int]
    block: tuple[int, int]
    rows: int  # of a stripe
    parts: Any  # memory for what the stripes give, and the counters of `comes_last`; None
    arrived: Any  # where there is one stripe


def stripes(module: Any, rows: int, length: int, dtype: Any, least: int, sums: int = 1) -> Stripes:
    """Stripes of at least so many rows, 128 of them at most, for as many sums of each column."""
    divided = _divided(rows, length, least)
    if divided.grid[1] == 1:
        return divided
    grid = divided.grid
    parts = module.ndarray((sums, grid[1], length), "d" if dtype.char == "d" else "f")
    return divided._replace(parts=parts, arrived=module.zeros(grid[0], "I"))


@lru_cache(1024)
def _divided(rows: int, length: int, least: int) -> Stripes:
    each = max(least, -(-rows // 128))
    return Stripes((-(-length // 32), -(-rows // each)), (32, 8), each, None, None)
