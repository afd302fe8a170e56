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

#define __global__ __attribute__((visibility("hidden")))  // the C library has names as well
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
#define __grid_constant__

struct Index { unsigned int x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;
"""

HALF = r"""
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
"""

FIBERS = r"""// Fibers: started with a context each, then switched by jumps, which is much quicker.
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
// Of a parameter its size and kind, and for an address the size and kind of what lies there.
template <typename T> static constexpr int size_in_bytes()
{
    if constexpr (std::is_void_v<T>) return 0; else return sizeof(T);
}
template <typename T> static constexpr int kind()
{
    return std::is_pointer_v<T> ? 'p' : std::is_same_v<T, bool> ? 'b' : std::is_integral_v<T> ? 'i'
        : std::is_floating_point_v<T> || std::is_same_v<T, __half> ? 'f' : 'V';
}
template <typename... P> static int type_of(void (*)(P...), int index, int what)
{
    int types[][4] = {{
        (int)sizeof(P), kind<P>(), size_in_bytes<std::remove_pointer_t<P>>(),
        kind<std::remove_cv_t<std::remove_pointer_t<P>>>()}..., {-1, 0, 0, 0}};
    return types[index][what];
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

KERNEL = re.compile(r"extern \"C\" __global__ void(?: __launch_bounds__\(\d+\))? (\w+)\(")
ENTRY = """
static void call_{symbol}() {{ apply({name}); }}
extern "C" void launch_{symbol}(void** a, const unsigned int* s, int r)
{{
    launch(call_{symbol}, a, s, r);
}}
extern "C" int type_{symbol}(int index, int what) {{ return type_of({name}, index, what); }}
"""


@functools.cache
def library(text, expressions=(), math="", *options):
    """The host's library of a CUDA source; every kernel in it can be launched.

    ``expressions`` name instances of templates, as CuPy's ``name_expressions``; ``math`` comes
    before the source, and ``options`` are the compiler's.
    """
    text = text.replace("#include <cuda_fp16.h>", "")
    names = expressions or KERNEL.findall(text)
    entries = [ENTRY.format(name=name, symbol=_symbol(name)) for name in names]
    return for_host("\n".join([SHIM, HALF, FIBERS, math, text, *entries]), *options)


def _symbol(name):
    return re.sub(r"\W", "_", name)


class Passed(NamedTuple):
    """An argument as CuPy passes it: bytes, and what is known of them."""

    value: np.ndarray
    dtype: Any  # of a number, or of the array that lies at the address; None for no array
    pointer: bool


def _passed(argument):
    if argument is None:
        return Passed(np.asarray(0, np.int64), None, True)
    if isinstance(argument, np.ndarray):  # a structure; anything else must be on the device
        if argument.size != 1:
            raise TypeError("only NumPy arrays of size one are passed by value")
        return Passed(argument, argument.dtype, False)
    if isinstance(argument, np.generic) or type(argument) in (bool, int, float, complex):
        value = np.asarray(argument)
        if value.dtype.kind not in "biufcV":
            raise OverflowError(f"{argument} has no dtype")
        return Passed(value, value.dtype, False)
    if isinstance(getattr(getattr(argument, "data", None), "ptr", None), int):
        return Passed(np.asarray(argument.data.ptr, np.int64), argument.dtype, True)
    raise TypeError(f"Unsupported type {type(argument)}")


KINDS = {"u": "i", "c": "V"}


class HostKernel:
    """A kernel of a source, called as a cupy.RawKernel: kernel(grid, block, arguments).

    What CuPy does not look at is looked at here: whether arguments have the types of the
    parameters, by their sizes and by whether they are whole numbers, real ones or addresses.
    """

    launches = 0  # of all kernels
    reverse = False

    def __init__(self, text, name, *more):
        self.name = name
        found = library(text, *more)
        self.launch = getattr(found, f"launch_{_symbol(name)}")
        type_of = getattr(found, f"type_{_symbol(name)}")
        self.types = []  # of the parameters: size and kind, and those of what an address leads to
        while type_of(len(self.types), 0) >= 0:
            size, kind, inner, inside = (type_of(len(self.types), what) for what in range(4))
            self.types.append((size, chr(kind), inner, chr(inside)))

    def __call__(self, grid, block, arguments):
        shape = [*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3]]
        threads = shape[3] * shape[4] * shape[5]
        assert 0 < threads <= 1024, f"a block of {block}"
        assert min(shape) > 0, f"a grid of {grid}"
        assert shape[0] < 2**31, f"a grid of {grid}"
        assert max(shape[1:3]) < 2**16, f"a grid of {grid}"
        passed = [_passed(argument) for argument in arguments]
        self._check(passed)
        pointers = (ctypes.c_void_p * len(passed))(*(one.value.ctypes.data for one in passed))
        type(self).launches += 1
        self.launch(pointers, (ctypes.c_uint * 6)(*shape), int(self.reverse))

    def _check(self, passed):
        assert len(passed) == len(self.types), f"{self.name}: {len(passed)} arguments"
        total = 0
        for index, (given, (size, kind, inner, inside)) in enumerate(
            zip(passed, self.types, strict=True)
        ):
            says = f"{self.name}: argument {index} is {given}, the parameter {size} bytes of {kind}"
            assert given.value.nbytes == size, says
            assert given.pointer or kind != "p", says
            total += size
            if given.dtype is None:
                continue
            if given.pointer and kind == "p":
                size, kind = inner, inside
                # Structures are pairs of numbers, and void is anything.
                assert kind == "V" or given.dtype.itemsize == size, says
            if kind not in "pV" or not given.pointer:
                assert KINDS.get(given.dtype.kind, given.dtype.kind) == kind, says
        assert total <= 4096, f"{self.name}: {total} bytes of arguments"


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
