"""Kernels that the tests launch, on addresses or arrays."""

import cupy

SOURCE = r"""
extern "C" __global__ void add(float *x, float amount, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) x[i] += amount;
}
extern "C" __global__ void multiply(float *x, float factor, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) x[i] *= factor;
}
extern "C" __global__ void copy(float *to, const float *from, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) to[i] = from[i];
}
extern "C" __global__ void __launch_bounds__(128) bounded(float *x) { x[threadIdx.x] = 1; }
extern "C" __global__ void dynamic(float *x) {
    extern __shared__ float shared[];
    shared[threadIdx.x] = threadIdx.x;
    __syncthreads();
    x[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}
__device__ float offset = 2;
extern "C" __global__ void shift(float *x) { x[threadIdx.x] += offset; }
"""

module = cupy.RawModule(code=SOURCE)
add = module.get_function("add")
multiply = module.get_function("multiply")
copy = module.get_function("copy")


def address(pointer: int) -> cupy.uint64:
    return cupy.uint64(pointer)


def add_to(pointer: int, amount: float, count: int, kernel=add) -> None:
    """`amount` to each of `count` floats at an address, on the current stream."""
    kernel((1,), (count,), (address(pointer), cupy.float32(amount), cupy.int32(count)))


def add_on(x: cupy.ndarray, amount: float, stream: cupy.cuda.Stream) -> None:
    with stream:
        add_to(x.data.ptr, amount, x.size)


def multiply_on(x: cupy.ndarray, factor: float, stream: cupy.cuda.Stream) -> None:
    with stream:
        add_to(x.data.ptr, factor, x.size, multiply)


def value(x: cupy.ndarray) -> float:
    """What each element of `x` is, when all work is done."""
    cupy.cuda.runtime.deviceSynchronize()
    found = x.get()
    assert (found == found[0]).all()
    return float(found[0])


def captured(stream: cupy.cuda.Stream, *calls) -> cupy.cuda.Graph:
    """A graph of what the calls put on a stream."""
    stream.begin_capture()
    for call in calls:
        call()
    return stream.end_capture()
