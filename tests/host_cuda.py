"""Runs CUDA kernels on the host: the same text, compiled as C++, one block after the other.

The threads of a block are fibers that take turns at barriers and shuffles, so what a kernel
does wrong with them shows: `reverse` lets the threads take their turns from the last to the
first, which uncovers a barrier that is missing. Arguments are passed as CuPy passes them, and
their sizes are held to those of the kernel's parameters.
"""

import ctypes
import functools
import re
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from compilers import for_host

import gpugrad as gg
from gpugrad.backend import sim
from gpugrad.backend.kernels import source
from gpugrad.backend.namespace import NAMESPACES, Namespace

SHIM = r"""
#include <math.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <utility>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
#define __grid_constant__

struct Index { unsigned int x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;

struct __half { uint16_t bits; };
static float __half2float(__half h)
{
    int exponent = h.bits >> 10 & 31, mantissa = h.bits & 1023;
    float x = exponent == 31 ? (mantissa ? NAN : INFINITY)
        : exponent ? ldexpf(1024 + mantissa, exponent - 25) : ldexpf(mantissa, -24);
    return h.bits & 0x8000 ? -x : x;
}
static __half __float2half(float x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0, bits;
    float a = fabsf(x);
    if (a != a) bits = 0x7e00;
    else if (a >= 65520.0f) bits = 0x7c00;  // halfway to what would come next: to even, up
    else {
        int exponent;
        frexpf(a, &exponent);
        if (exponent < -13) exponent = -13;  // subnormal
        int steps = (int)rintf(ldexpf(a, 11 - exponent));  // to nearest, ties to even
        bits = (uint16_t)(steps < 1024 ? steps : ((exponent + 13) << 10) + steps);
    }
    return {(uint16_t)(sign | bits)};
}

// Fibers: started with a context each, then switched by jumps, which is much quicker.
static const int STACK = 64 << 10, MOST = 1024;
static char* stacks;
static jmp_buf fibers[MOST], scheduler;
static bool started[MOST], done[MOST];
static int current;
static void (*body)();

static void set_current(int thread)
{
    current = thread;
    threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y,
                 thread / (blockDim.x * blockDim.y)};
}
static void pause_fiber() { if (!_setjmp(fibers[current])) _longjmp(scheduler, 1); }
static void first_entry()
{
    body();
    done[current] = true;
    _longjmp(scheduler, 1);
}
static void turn(int thread)
{
    static ucontext_t context, back;
    set_current(thread);
    if (_setjmp(scheduler)) return;
    if (started[thread]) _longjmp(fibers[thread], 1);
    started[thread] = true;
    getcontext(&context);
    context.uc_stack.ss_sp = stacks + (size_t)thread * STACK;
    context.uc_stack.ss_size = STACK;
    context.uc_link = &back;
    makecontext(&context, first_entry, 0);
    setcontext(&context);
}
static void __syncthreads() { pause_fiber(); }
static void __threadfence() {}  // blocks run one after another
static unsigned int atomicAdd(unsigned int* at, unsigned int n) { *at += n; return *at - n; }
template <typename V> static V __shfl_xor_sync(unsigned int, V value, int mask)
{
    static char slots[MOST][16];
    memcpy(slots[current], &value, sizeof value);
    pause_fiber();
    V other;
    memcpy(&other, slots[(current & ~31) | ((current & 31) ^ mask)], sizeof other);
    pause_fiber();
    return other;
}

static void** arguments;
template <typename... P, size_t... I>
static void apply(void (*kernel)(P...), std::index_sequence<I...>)
{
    kernel(*(P*)arguments[I]...);
}
template <typename... P> static void apply(void (*kernel)(P...))
{
    apply(kernel, std::index_sequence_for<P...>());
}
template <typename... P> static int size_of(void (*)(P...), int index)
{
    int sizes[] = {(int)sizeof(P)..., 0};
    return index < (int)sizeof...(P) ? sizes[index] : -1;
}
static void launch(void (*call)(), void** args, const unsigned int* shape, int reverse)
{
    if (!stacks) stacks = (char*)malloc((size_t)MOST * STACK);
    body = call;
    arguments = args;
    gridDim = {shape[0], shape[1], shape[2]};
    blockDim = {shape[3], shape[4], shape[5]};
    int threads = blockDim.x * blockDim.y * blockDim.z;
    for (unsigned int z = 0; z < gridDim.z; ++z)
    for (unsigned int y = 0; y < gridDim.y; ++y)
    for (unsigned int x = 0; x < gridDim.x; ++x) {
        blockIdx = {x, y, z};
        memset(started, 0, sizeof started);
        memset(done, 0, sizeof done);
        for (bool left = true; left;) {
            left = false;
            for (int i = 0; i < threads; ++i) {
                int thread = reverse ? threads - 1 - i : i;
                if (!done[thread]) { turn(thread); left |= !done[thread]; }
            }
        }
    }
}
"""

KERNEL = re.compile(r"__global__ void(?: __launch_bounds__\(\d+\))? (\w+)\(")
ENTRY = """
static void call_{name}() {{ apply({name}); }}
extern "C" void launch_{name}(void** a, const unsigned int* s, int r) {{ launch(call_{name}, a, s, r); }}
extern "C" int size_{name}(int index) {{ return size_of({name}, index); }}
"""  # noqa: E501


@functools.cache
def library(text):
    """The host's library of a CUDA source; every kernel in it can be launched."""
    text = text.replace("#include <cuda_fp16.h>", "")
    entries = [ENTRY.format(name=name) for name in KERNEL.findall(text)]
    return for_host("\n".join([SHIM, text, *entries]))


def _by_value(argument):
    """What CuPy passes for an argument: an array's address, or a number's bytes."""
    if isinstance(argument, np.ndarray):  # a structure; anything else must be on the device
        if argument.size != 1:
            raise TypeError("only NumPy arrays of size one are passed by value")
        return argument
    if isinstance(argument, np.generic):
        return np.asarray(argument)
    if argument is None:
        return np.asarray(0, np.int64)
    if isinstance(argument, bool | int | float):
        return np.asarray(argument)
    return np.asarray(argument.data.ptr, np.int64)


class HostKernel:
    """A kernel of a source, called as a cupy.RawKernel: kernel(grid, block, arguments)."""

    launches = 0  # of all kernels
    reverse = False

    def __init__(self, text, name):
        self.name = name
        self.launch = getattr(library(text), f"launch_{name}")
        self.size_of = getattr(library(text), f"size_{name}")

    def __call__(self, grid, block, arguments):
        shape = [*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3]]
        threads = shape[3] * shape[4] * shape[5]
        assert 0 < threads <= 1024, f"a block of {block}"
        assert min(shape) > 0, f"a grid of {grid}"
        assert shape[0] < 2**31, f"a grid of {grid}"
        assert max(shape[1:3]) < 2**16, f"a grid of {grid}"
        values = [_by_value(argument) for argument in arguments]
        sizes = [self.size_of(i) for i in range(len(values) + 1)]
        assert sizes == [*(value.nbytes for value in values), -1], (self.name, sizes, values)
        assert sum(sizes) <= 4096, f"{self.name}: {sum(sizes)} bytes of arguments"
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        HostKernel.launches += 1
        self.launch(pointers, (ctypes.c_uint * 6)(*shape), int(self.reverse))


@functools.cache
def host_kernel(text, name, *options):
    """As `gpugrad.backend.kernels.source.cupy_kernel`, for arrays of sim."""
    return HostKernel(text, name)


class Place(NamedTuple):
    """Where kernels are run: over sim's arrays on the host, or where there is a GPU on it."""

    module: Any
    get: Any

    def send(self, *operands):
        """Operands with what are NumPy arrays among them on the device."""
        return [self.module.asarray(a) if isinstance(a, np.ndarray) else a for a in operands]


PLACES = {"host": lambda: Place(sim, host_kernel)}
if gg.cuda.is_available():
    PLACES["cuda"] = lambda: Place(import_module("cupy"), source.cupy_kernel)


def on_sim(monkeypatch, **fast):
    """Let sim's arrays be computed on with kernels, by the names that a namespace has for them."""
    checks = NAMESPACES[sim.ndarray].checks
    monkeypatch.setitem(NAMESPACES, sim.ndarray, Namespace(sim, fast=fast, checks=checks))


def launches(function, *args, **words):
    """What a function gives, and how many kernels it launched."""
    before = HostKernel.launches
    return function(*args, **words), HostKernel.launches - before
