"""A stand-in for CuPy whose streams run when a schedule says so, and whose pools reuse at once.

Work that is given to a stream waits in its queue. A schedule decides when it runs: at once, as late
as can be (when somebody waits for it), or at random moments. Memory that is let go of goes back to
the pool, and is handed out again at the next call that asks for as much: on the device by the
stream that it was allocated on, as CuPy's pool does it, pinned memory to anybody.
"""

import random
import threading
from types import ModuleType, SimpleNamespace

import numpy as np


class Gpu:
    """The queues, and what runs when: "eager", "late" or a number, which seeds a random order."""

    def __init__(self, schedule):
        self.schedule = schedule
        self.random = random.Random(schedule)
        self.streams = []
        self.host_waits = 0

    def given(self):
        """Something was put into a queue."""
        if self.schedule == "eager":
            self.finish()
        elif self.schedule != "late":
            for _ in range(self.random.randrange(4)):
                self.random.choice(self.streams).step()

    def finish(self):
        while any(stream.queue for stream in self.streams):
            for stream in self.streams:
                stream.step()


def make(schedule="eager", *, pinned_fails=False):
    """The modules ``cupy`` and ``cupyx``."""
    gpu = Gpu(schedule)
    local = threading.local()
    in_pool, pinned_pool = {}, {}

    class Stream:
        def __init__(self, null=False, non_blocking=False):
            assert null or non_blocking, "a blocking stream waits for the null stream"
            self.queue, self.done = [], 0
            gpu.streams.append(self)

        def give(self, work):
            self.queue.append(work)
            gpu.given()

        def step(self):
            """Run the work at the head of the queue, if it need not wait for another stream."""
            if self.queue and self.queue[0]() is not False:
                self.queue.pop(0)
                self.done += 1

        def run_to(self, place):
            while self.done < place:
                before = self.done
                self.step()
                if self.done == before:  # it waits for another stream
                    for stream in gpu.streams:
                        if stream is not self:
                            stream.step()

        def wait_event(self, event):
            stream, place = event.place
            self.give(lambda: None if stream.done >= place else False)

        def synchronize(self):
            gpu.host_waits += 1
            self.run_to(self.done + len(self.queue))

        def __enter__(self):
            self.before = get_current_stream()
            local.stream = self
            return self

        def __exit__(self, *_):
            local.stream = self.before

    null = Stream(null=True)

    def get_current_stream():
        return getattr(local, "stream", null)

    class Event:
        def __init__(self, block=False, disable_timing=False):
            self.place = (null, 0)

        def record(self, stream=None):
            stream = stream or get_current_stream()
            self.place = (stream, stream.done + len(stream.queue))

        @property
        def done(self):
            stream, place = self.place
            return stream.done >= place

        def synchronize(self):
            gpu.host_waits += 1
            self.place[0].run_to(self.place[1])

    class Block:
        """Memory of a device; back in the pool of its stream as soon as it is let go of."""

        def __init__(self, nbytes):
            self.stream = get_current_stream()
            free = in_pool.setdefault((self.stream, nbytes), [])
            self.bytes = free.pop() if free else np.full(nbytes, 0xAA, np.uint8)

        def __del__(self):
            in_pool[self.stream, self.bytes.nbytes].append(self.bytes)

    class ndarray:  # noqa: N801
        __module__ = "cupy"

        def __init__(self, shape, dtype):
            self.shape, self.dtype = tuple(shape), np.dtype(dtype)
            self.ndim, self.size = len(self.shape), int(np.prod(self.shape))
            self.block = Block(self.size * self.dtype.itemsize)
            self.device = SimpleNamespace(id=0)
            self.base = None

        def view(self):
            return np.frombuffer(self.block.bytes, self.dtype).reshape(self.shape)

        def set(self, arr, stream=None):
            assert arr.dtype == self.dtype
            assert arr.shape == self.shape
            assert arr.flags.c_contiguous
            # Work in a queue has addresses alone: it keeps neither memory. From memory that is
            # not pinned, CUDA copies at once to a place of its own.
            there, memory = self.view(), getattr(arr, "memory", None)
            here = arr.copy() if memory is None else np.ndarray(arr.shape, arr.dtype, memory.data)
            (stream or get_current_stream()).give(lambda: there.__setitem__(Ellipsis, here))

        def copy(self):
            made = ndarray(self.shape, self.dtype)
            source, there = self.view(), made.view()
            get_current_stream().give(lambda: there.__setitem__(Ellipsis, source))
            return made

        def kernel(self, results):
            """Queue work that reads the array, when its time comes, and appends what it saw."""
            source = self.view()
            get_current_stream().give(lambda: results.append(source.copy()))

    class Pinned(np.ndarray):
        """Memory of the host that is back in the pool, and soon another's, when it is let go of."""

        def __del__(self):
            if getattr(self, "memory", None) is not None:
                pinned_pool[self.memory.nbytes].append(self.memory)

    def empty_pinned(shape, dtype=float, order="C"):
        if pinned_fails:
            raise RuntimeError("cudaErrorMemoryAllocation: out of memory")
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        free = pinned_pool.setdefault(nbytes, [])
        memory = free.pop() if free else np.full(nbytes, 0xBB, np.uint8)
        made = np.ndarray.__new__(Pinned, shape, dtype, buffer=memory.data)
        made.memory = memory
        return made

    class Device:
        def __init__(self, id=None):
            self.id = 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    def asarray(array):
        made = ndarray(array.shape, array.dtype)
        made.view()[...] = array
        return made

    def asnumpy(array):
        get_current_stream().synchronize()
        return array.view().copy()

    cupy, cupyx = ModuleType("cupy"), ModuleType("cupyx")
    cupyx.empty_pinned = empty_pinned
    cuda = SimpleNamespace(
        Stream=Stream,
        Event=Event,
        Device=Device,
        get_current_stream=get_current_stream,
        device=SimpleNamespace(get_device_id=lambda: 0),
        runtime=SimpleNamespace(getDeviceCount=lambda: 1),
    )
    vars(cupy).update(
        ndarray=ndarray, empty=ndarray, asarray=asarray, asnumpy=asnumpy, cuda=cuda, gpu=gpu,
        matmul=None, __version__="14.2.0",
    )  # fmt: skip
    return cupy, cupyx
