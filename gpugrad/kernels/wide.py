"""Elementwise kernels for large arrays: each thread reads and writes 16 bytes at a time.

An ElementwiseKernel of CuPy handles one element a thread. The bytes in flight must be bandwidth
times latency: at 4 TB/s and 600 ns, 18 kB for each of 132 multiprocessors, but 2048 threads with a
float each load 8 kB. `Wide` launches the same body with several elements a thread where the arrays
are large, of one shape and in C order, else CuPy's kernel. Imports `codegen.operations` and
`source`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.codegen.operations import C_TYPES
from gpugrad.kernels.source import Get, cupy_kernel

__all__ = ["LARGE", "Wide", "for_large", "name", "wide_source", "width"]

LARGE = 1 << 18  # elements: with fewer, there are too few threads to fill the GPU
THREADS = 256
BYTES = 16

DTYPES = frozenset(("bool", "float16", "float32", "float64", "int32", "int64"))
HELPERS = """
typedef float float16;  // in the body, which rounds at its end

template <typename T, int N> struct alignas(sizeof(T) * N) Pack { T at[N]; };
template <typename T> struct Element {
    typedef T Computed;
    __device__ static T load(T x) { return x; }
    __device__ static T store(T x) { return x; }
};
template <> struct Element<__half> {
    typedef float Computed;
    __device__ static float load(__half x) { return __half2float(x); }
    __device__ static __half store(float x) { return __float2half(x); }
};
"""


def name(kernel: Any) -> str:
    """The name of the kernel, as profilers show it."""
    return f"gpugrad_{kernel.name}_wide"


def width(kernel: Any, single: tuple[bool, ...]) -> int:
    """How many elements a thread handles, so that those of the widest dtype fill 16 bytes."""
    dtypes = [dtype for (_, dtype), alone in zip(kernel.inputs, single, strict=True) if not alone]
    return BYTES // max(np.dtype(dtype).itemsize for dtype in (kernel.output, *dtypes))


def _stored(dtype: str) -> str:
    """The C type of the elements of an array; half precision is computed in float."""
    return "__half" if dtype == "float16" else C_TYPES[dtype]


def wide_source(kernel: Any, single: tuple[bool, ...]) -> str:
    """The CUDA C of a `Kernel`. Its arguments: the operands, the result, the number of elements.

    ``single`` says which operands are one element for all: a number is passed by value, a 0-d
    array by address.
    """
    output, count = _stored(kernel.output), width(kernel, single)
    arguments, parameters, firsts, calls, packs, ends = [], [], [], [], [], []
    for (index, dtype), number, alone in zip(kernel.inputs, kernel.numbers, single, strict=True):
        stored = _stored(dtype)
        arguments.append(f"const {stored}{'' if number else '*'} p{index}")
        parameters.append(f"const Element<{stored}>::Computed x{index}")
        if alone:
            value = f"p{index}" if number else f"*p{index}"
            firsts.append(f"const {stored} x{index} = {value};")
            calls.append(f"Element<{stored}>::load(x{index})")
            continue
        calls.append(f"Element<{stored}>::load(x{index}[i])")
        packs.append(
            f"const auto pack{index} = *(const Pack<{stored}, {count}>*)(p{index} + first);"
        )
        packs.append(f"const {stored}* const x{index} = pack{index}.at;")
        ends.append(f"const {stored}* const x{index} = p{index};")
    element = f"Element<{output}>::store(one({', '.join(calls)}))"
    deep = "\n        "
    return f"""#include <cuda_fp16.h>
{HELPERS}
__device__ inline Element<{output}>::Computed one({", ".join(parameters)})
{{
    Element<{output}>::Computed y;
{kernel.body}
    return y;
}}

extern "C" __global__ void {name(kernel)}({", ".join(arguments)}, {output}* q, long long size)
{{
    const long long first = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * {count};
    {" ".join(firsts)}
    if (first + {count} <= size) {{
        {deep.join(packs)}
        Pack<{output}, {count}> results;
#pragma unroll
        for (int i = 0; i < {count}; ++i)
            results.at[i] = {element};
        *(Pack<{output}, {count}>*)(q + first) = results;
    }} else {{
        {deep.join(ends)}
        for (long long i = first; i < size; ++i)
            q[i] = {element};
    }}
}}
"""


class Wide:
    """Launches one `Kernel`; ``plain``, CuPy's kernel, for operands that do not qualify.

    ``module`` is cupy, and ``get`` compiles.
    """

    def __init__(
        self, kernel: Any, plain: Callable[..., Any], module: Any, get: Get = cupy_kernel
    ) -> None:
        self.kernel = kernel
        self.plain = plain
        self.module = module
        self.get = get
        self._launchers: dict[tuple[bool, ...], Any] = {}

    @staticmethod
    def takes(kernel: Any) -> bool:
        """Whether a kernel qualifies by its dtypes, and calls no special functions.

        A special function takes longer than the transfer of its operands from memory.
        """
        if kernel.functions:
            return False
        by_value = {d for (_, d), number in zip(kernel.inputs, kernel.numbers) if number}
        dtypes = {kernel.output, *(dtype for _, dtype in kernel.inputs)}
        return dtypes <= DTYPES and "float16" not in by_value

    def __call__(self, *operands: Any) -> Any:
        single = self._single(operands)
        if single is None:
            return self.plain(*operands)
        launch = self._launchers.get(single)
        if launch is None:
            kernel = self.get(wide_source(self.kernel, single), name(self.kernel))
            launch = self._launchers[single] = kernel, THREADS * width(self.kernel, single)
        kernel, each = launch
        shape = next(operand.shape for operand, alone in zip(operands, single) if not alone)
        y = self.module.ndarray(shape, self.kernel.output)
        kernel((-(-y.size // each),), (THREADS,), (*operands, y, y.size))
        return y

    def _single(self, operands: tuple[Any, ...]) -> tuple[bool, ...] | None:
        """Which operands are one element for all; None if the others do not qualify."""
        shape = None
        single = []
        for operand, number in zip(operands, self.kernel.numbers):
            alone = number or operand.ndim == 0
            single.append(alone)
            if alone:
                continue
            if shape is None:
                if operand.size < LARGE:
                    return None
                shape = operand.shape
            if operand.shape != shape or not _even(operand):
                return None
        return None if shape is None else tuple(single)


def _even(x: Any) -> bool:
    """Whether an array is in C order from an address that is a multiple of 16."""
    return x.flags.c_contiguous and x.data.ptr % BYTES == 0


def for_large(
    fused: Callable[..., Any], function: Callable[..., Any], ndarray: Any
) -> Callable[..., Any]:
    """``fused`` for a large array of floats and other operands that fit, else ``function``."""

    def fits(x: Any) -> bool:
        cls = type(x)
        if cls is ndarray:
            return x.dtype.char in "efd?"
        return cls is float or cls is int

    def call(*operands: Any, **kwargs: Any) -> Any:
        large: Any = operands[0]
        if type(large) is not ndarray:
            large = operands[-1]
            if type(large) is not ndarray:
                return function(*operands, **kwargs)
        if large.size < LARGE or kwargs or not all(map(fits, operands)):
            return function(*operands, **kwargs)
        return fused(*operands)

    return call
