"""A stand-in for the cupy module: enough of it for the device code, with faults to order.

Arrays are NumPy memory with the number of the device on which they were made: CuPy's
current device, which is kept per thread, as CuPy keeps it.
"""

import threading
from types import SimpleNamespace

import numpy


class CUDARuntimeError(RuntimeError):
    """Named and worded as CuPy's."""


class OutOfMemoryError(MemoryError):
    """Named as CuPy's, and worded so."""

    __module__ = "cupy.cuda.memory"


class DynamicLibNotFoundError(RuntimeError):
    """Named as cuda-pathfinder's."""


def make(devices=1, driver=12080, count=None, allocation=None, kernel=None, matmul=None, off=0):
    """The module. ``count``, ``allocation``, ``kernel``, ``matmul``: exceptions to raise there;
    ``off`` is added to what kernels compute."""
    calls = SimpleNamespace(count=0, synchronized=[], emptied=0)
    local = threading.local()

    def fail(error):
        if error is not None:
            raise error

    def current():
        return getattr(local, "index", 0)

    class Device:
        def __init__(self, id=None):
            self.id = current() if id is None else id

        def use(self):
            local.index = self.id

        def __enter__(self):
            self._before = current()
            self.use()
            return self

        def __exit__(self, *_):
            local.index = self._before

    class ndarray:  # noqa: N801
        __module__ = "cupy"

        def __init__(self, data):
            self.data = data
            self.device = Device()
            self.shape, self.dtype = data.shape, data.dtype

        def __mul__(self, other):
            fail(kernel)
            return ndarray(self.data * other + off)

        def __add__(self, other):
            fail(kernel)
            return ndarray(self.data + getattr(other, "data", other))

        def reshape(self, *shape):
            return ndarray(self.data.reshape(*shape))

        def __matmul__(self, other):
            fail(matmul)
            return ndarray(self.data @ other.data)

    def asarray(array):
        fail(allocation)
        return ndarray(array.data if isinstance(array, ndarray) else array.copy())

    def asnumpy(array):
        if array.device.id != current():
            raise RuntimeError("copied from another device than the current one")
        return array.data.copy()

    def get_device_count():
        calls.count += 1
        fail(count)
        return devices

    def properties(index):
        return {"name": b"Fake GPU", "major": 9, "minor": 0, "totalGlobalMem": 8 << 30}

    class Memory:
        def __init__(self, size):
            self.size, self.device_id = size, current()
            pool.used[self.device_id] += size

        def __del__(self):
            pool.used[self.device_id] -= self.size

    class Pool:
        def __init__(self):
            self.used = {index: 100 + index for index in range(devices)}

        def malloc(self, size):
            fail(allocation)
            return Memory(size)

        def used_bytes(self):
            return self.used[current()]

        def total_bytes(self):
            return max(512, self.used[current()])

        def free_all_blocks(self):
            calls.emptied += 1

    pool = Pool()
    allocators = [pool.malloc]

    def set_allocator(allocator):
        allocators[0] = allocator

    runtime = SimpleNamespace(
        getDeviceCount=get_device_count,
        getDeviceProperties=properties,
        driverGetVersion=lambda: driver,
        runtimeGetVersion=lambda: 12090,
        deviceSynchronize=lambda: calls.synchronized.append(current()),
        memGetInfo=lambda: (6 << 30, 8 << 30),
    )
    return SimpleNamespace(
        __name__="cupy",
        __version__="14.2.0",
        ndarray=ndarray,
        asarray=asarray,
        asnumpy=asnumpy,
        zeros=lambda shape: ndarray(numpy.zeros(shape)),
        float32=numpy.float32,
        matmul=lambda a, b: a @ b,
        get_default_memory_pool=lambda: pool,
        get_default_pinned_memory_pool=lambda: pool,
        cuda=SimpleNamespace(
            runtime=runtime,
            Device=Device,
            device=SimpleNamespace(get_device_id=current),
            get_allocator=lambda: allocators[0],
            set_allocator=set_allocator,
            alloc=lambda size: allocators[0](size),
        ),
        calls=calls,
    )
