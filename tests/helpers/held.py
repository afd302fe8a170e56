"""A GPU held back: a kernel that runs until the host lets it go, first in a stream's queue.

What waits for anything that was queued behind it cannot return before; so whoever returns has not
waited, however CuPy would have done it.
"""

import contextlib

import numpy as np

# How many nanoseconds the kernel waits for the host, at most: a wait behind it takes as long.
LIMIT = 2_000_000_000
SOURCE = """
extern "C" __global__ void hold(unsigned long long flag, unsigned long long limit) {
    unsigned long long begun, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begun));
    do {
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    } while (*(volatile int*)flag == 0 && now - begun < limit);
}
"""


@contextlib.contextmanager
def held():
    """Hold CuPy's current stream; yields an event that is done once the stream goes on."""
    import cupy
    import cupyx

    flag = cupyx.empty_pinned((1,), np.int32)  # memory that host and GPU both see
    flag[0] = 1
    hold = cupy.RawKernel(SOURCE, "hold")
    arguments = (np.uint64(flag.ctypes.data), np.uint64(LIMIT))
    hold((1,), (1,), arguments)  # compiled and loaded
    cupy.cuda.runtime.deviceSynchronize()
    flag[0] = 0
    hold((1,), (1,), arguments)
    event = cupy.cuda.Event(disable_timing=True)
    event.record()
    try:
        yield event
    finally:
        flag[0] = 1
        cupy.cuda.runtime.deviceSynchronize()
