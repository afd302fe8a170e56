"""What the hand-written kernels have in common: their first lines of C, and who compiles them.

Imports CuPy when the first kernel is asked for. A kernel computes in W and stores T: float and
__half for float16, and else the dtype's own type. Indices have 64 bits. Sums are made in one
fixed order, without atomics: the same bits at every run.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

__all__ = ["COLUMN", "FLOATS", "Get", "cupy_kernel", "prelude"]

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

// What the stripes of rows gave, added up; blockIdx.y tells one result from the next.
extern "C" __global__ void sum_of_stripes(
    const W* parts, T* sums, long long stripes, long long length)
{
    const long long column = (long long)blockIdx.x * 32 + threadIdx.x;
    W sum = 0;
    if (column < length)
        for (long long i = threadIdx.y; i < stripes; i += blockDim.y)
            sum += parts[(blockIdx.y * stripes + i) * length + column];
    sum = sum_of_column(sum);
    if (threadIdx.y == 0 && column < length)
        sums[blockIdx.y * length + column] = narrow(sum);
}
"""
