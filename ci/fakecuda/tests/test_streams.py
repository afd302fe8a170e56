"""Streams and events: what CUDA orders is in order, and what it does not runs late in lazy mode.

Most tests give a stream work whose result depends on the moment at which it runs, and ask which
moment that was. In eager mode all work runs when it is issued.
"""

import ctypes
import threading

import cupy
import fakecuda
import kernels
import numpy as np
import pytest
from cupy.cuda import runtime
from processes import rerun

LAZY = "lazy" in fakecuda.modes()
lazy = pytest.mark.skipif(not LAZY, reason="only lazy mode runs work late")


@pytest.mark.skipif(LAZY, reason="once")
def test_the_same_in_lazy_mode():
    rerun(__file__, "lazy")


class Pinned:
    """Some floats of pinned host memory: kernels add to them, the host looks at them."""

    def __init__(self, count=4):
        self.memory = cupy.cuda.alloc_pinned_memory(4 * count)
        self.array = np.frombuffer(self.memory, np.float32, count)
        self.array[:] = 0
        self.ptr = self.memory.ptr

    def add(self, amount, stream):
        with stream:
            kernels.add_to(self.ptr, amount, len(self.array))

    def multiply(self, factor, stream):
        with stream:
            kernels.add_to(self.ptr, factor, len(self.array), kernels.multiply)

    def __float__(self):
        assert (self.array == self.array[0]).all()
        return float(self.array[0])


@pytest.fixture
def pinned():
    memory = Pinned()
    yield memory
    runtime.deviceSynchronize()


def new(**arguments):
    return cupy.cuda.Stream(non_blocking=True, **arguments)


def test_synchronize_runs_what_a_stream_has(pinned):
    stream = new()
    pinned.add(1, stream)
    assert float(pinned) == (0 if LAZY else 1)
    stream.synchronize()
    assert float(pinned) == 1


def test_streams_do_not_run_each_others_work(pinned):
    one, two, other = new(), new(), Pinned()
    pinned.add(1, one)
    other.add(1, two)
    two.synchronize()
    assert float(other) == 1
    assert float(pinned) == (0 if LAZY else 1)


def test_a_device_synchronisation_runs_all(pinned):
    pinned.add(1, new())  # the stream is gone, its work is not
    runtime.deviceSynchronize()
    assert float(pinned) == 1


def test_events_order_streams(pinned):
    one, two = new(), new()
    pinned.add(1, one)
    two.wait_event(one.record())
    pinned.multiply(10, two)
    two.synchronize()
    assert float(pinned) == 10


@lazy
def test_without_an_event_streams_have_no_order(pinned):
    one, two = new(), new()
    pinned.add(1, one)
    pinned.multiply(10, two)
    two.synchronize()
    one.synchronize()
    assert float(pinned) == 1


def test_an_event_covers_what_was_there_when_it_was_recorded(pinned):
    one, two, later = new(), new(), Pinned()
    pinned.add(1, one)
    event = one.record()
    later.add(1, one)
    two.wait_event(event)
    two.synchronize()
    assert float(pinned) == 1
    assert float(later) == (0 if LAZY else 1)


def test_a_stream_waits_for_what_an_event_recorded_then(pinned):
    one, two, later = new(), new(), Pinned()
    event = cupy.cuda.Event()
    pinned.add(1, one)
    event.record(one)
    two.wait_event(event)
    later.add(1, one)
    event.record(one)  # anew: the stream waits for the record before
    two.synchronize()
    assert (float(pinned), float(later)) == (1, 0 if LAZY else 1)


def test_event_synchronize(pinned):
    stream, later = new(), Pinned()
    pinned.add(1, stream)
    event = stream.record()
    later.add(1, stream)
    event.synchronize()
    assert (float(pinned), float(later)) == (1, 0 if LAZY else 1)


def test_an_event_that_was_not_recorded_is_done():
    event = cupy.cuda.Event()
    assert event.done
    event.synchronize()


@lazy
def test_a_query_is_not_ready_and_runs_nothing(pinned):
    stream = new()
    pinned.add(1, stream)
    for _ in range(3):
        assert not stream.done
        runtime.memGetInfo()  # what is called in between, the caller does not wait in a loop
    assert float(pinned) == 0


@lazy
def test_queries_in_a_loop_make_progress(pinned):
    stream = new()
    pinned.add(1, stream)
    pinned.add(1, stream)
    event = stream.record()
    assert runtime.eventQuery(event.ptr) == 600  # cudaErrorNotReady
    assert float(pinned) == 0
    answers = [event.done for _ in range(6)]
    assert answers == sorted(answers)
    assert answers[-1]
    assert float(pinned) == 2


@lazy
def test_a_loop_that_does_other_things_as_well_comes_to_an_end(pinned):
    stream = new()
    pinned.add(1, stream)
    for _ in range(100):
        if stream.done:
            break
        runtime.memGetInfo()
    assert float(pinned) == 1


@lazy
def test_a_query_makes_progress_where_a_stream_waits(pinned):
    one, two = new(), new()
    pinned.add(1, one)
    two.wait_event(one.record())
    pinned.multiply(10, two)
    answers = [two.done for _ in range(8)]
    assert (answers[0], answers[-1]) == (False, True)
    assert float(pinned) == 10


def test_a_query_never_waits_for_another_thread(pinned):
    """CuPy asks with Python's lock held, which the host function of another thread may need."""
    one, two = new(), new()
    entered, leave = threading.Event(), threading.Event()
    answers = []

    def hold(_):
        entered.set()
        assert leave.wait(20)

    def launch():
        one.launch_host_func(hold, None)
        one.synchronize()

    thread = threading.Thread(target=launch)
    thread.start()
    assert entered.wait(20)
    event = cupy.cuda.Event()
    if LAZY:  # in eager mode the record itself would wait
        event.record(one)
        two.wait_event(event)
        answers.append(event.done)
        answers.append(two.done)
    answers.append(one.done)
    leave.set()
    thread.join()
    assert not any(answers)
    two.synchronize()


def test_times_between_events():
    stream = new()
    start = stream.record()
    kernels_memory = Pinned()
    kernels_memory.add(1, stream)
    end = stream.record()
    end.synchronize()
    assert 0 <= cupy.cuda.get_elapsed_time(start, end) < 10_000
    with pytest.raises(runtime.CUDARuntimeError, match="an event was not recorded"):
        cupy.cuda.get_elapsed_time(start, cupy.cuda.Event())
    untimed = stream.record(cupy.cuda.Event(disable_timing=True))
    with pytest.raises(runtime.CUDARuntimeError, match="timing disabled"):
        cupy.cuda.get_elapsed_time(start, untimed)
    if LAZY:
        with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorNotReady: device not ready"):
            cupy.cuda.get_elapsed_time(start, stream.record())


# ---------------------------------------------------------------- default streams


def test_the_legacy_stream_waits_for_blocking_streams(pinned):
    blocking, null = cupy.cuda.Stream(), cupy.cuda.Stream.null
    pinned.add(1, blocking)
    pinned.multiply(10, null)
    pinned.add(2, blocking)
    blocking.synchronize()
    assert float(pinned) == 12


@lazy
def test_the_legacy_stream_does_not_wait_for_others(pinned):
    stream, null = new(), cupy.cuda.Stream.null
    pinned.add(1, stream)
    pinned.multiply(10, null)
    null.synchronize()
    assert float(pinned) == 0
    stream.synchronize()
    assert float(pinned) == 1


def test_synchronising_the_legacy_stream_waits_for_blocking_streams(pinned):
    blocking = cupy.cuda.Stream()
    pinned.add(1, blocking)
    cupy.cuda.Stream.null.synchronize()
    assert float(pinned) == 1


@lazy
def test_synchronising_a_blocking_stream_does_not_run_the_legacy_stream(pinned):
    pinned.add(1, cupy.cuda.Stream.null)
    cupy.cuda.Stream().synchronize()
    assert float(pinned) == 0


@lazy
def test_a_query_of_the_legacy_stream_covers_blocking_streams(pinned):
    pinned.add(1, cupy.cuda.Stream())
    answers = [cupy.cuda.Stream.null.done for _ in range(4)]
    assert (answers[0], answers[-1]) == (False, True)
    assert float(pinned) == 1


def test_a_threads_own_default_stream(pinned):
    own = cupy.cuda.Stream.ptds
    pinned.add(1, own)
    handles = []

    def other():
        number = ctypes.c_ulonglong()
        ctypes.CDLL("libcuda.so.1").cudaStreamGetId(ctypes.c_void_p(2), ctypes.byref(number))
        handles.append(number.value)
        cupy.cuda.Stream.ptds.synchronize()  # another stream, with nothing on it

    other()
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert handles[0] != handles[1]
    pinned.multiply(10, cupy.cuda.Stream.null)  # it is a blocking stream
    cupy.cuda.Stream.null.synchronize()
    assert float(pinned) == 10


def test_flags_and_priorities():
    assert new().is_non_blocking
    assert not cupy.cuda.Stream().is_non_blocking
    assert cupy.cuda.Stream(priority=-9).priority == -5
    with pytest.raises(runtime.CUDARuntimeError, match="not a live handle of a stream"):
        runtime.streamSynchronize(0x1234)


# ---------------------------------------------------------------- copies


def test_pinned_memory_is_read_when_the_copy_runs(pinned):
    stream, device = new(), cupy.zeros(4, cupy.float32)
    runtime.deviceSynchronize()
    pinned.array[:] = 1
    runtime.memcpyAsync(device.data.ptr, pinned.ptr, 16, runtime.memcpyHostToDevice, stream.ptr)
    pinned.array[:] = 2  # too early
    stream.synchronize()
    assert device.get().tolist() == [2 if LAZY else 1] * 4


def test_pageable_memory_is_read_at_once():
    stream, device = new(), cupy.zeros(4, cupy.float32)
    runtime.deviceSynchronize()
    host = np.ones(4, np.float32)
    with fakecuda.count() as counts:
        runtime.memcpyAsync(
            device.data.ptr, host.ctypes.data, 16, runtime.memcpyHostToDevice, stream.ptr
        )
    assert counts.waits == {}
    host[:] = 2
    stream.synchronize()
    assert device.get().tolist() == [1] * 4


def test_pinned_memory_is_written_when_the_copy_runs(pinned):
    stream, device = new(), cupy.full(4, 3, cupy.float32)
    runtime.deviceSynchronize()
    with fakecuda.count() as counts:
        runtime.memcpyAsync(pinned.ptr, device.data.ptr, 16, runtime.memcpyDeviceToHost, stream.ptr)
    assert counts.waits == {}
    assert float(pinned) == (0 if LAZY else 3)
    stream.synchronize()
    assert float(pinned) == 3


def test_pageable_memory_is_written_before_the_call_returns():
    stream, device = new(), cupy.full(4, 3, cupy.float32)
    runtime.deviceSynchronize()
    host = np.zeros(4, np.float32)
    with fakecuda.count() as counts:
        runtime.memcpyAsync(
            host.ctypes.data, device.data.ptr, 16, runtime.memcpyDeviceToHost, stream.ptr
        )
    assert counts.waits == {"cudaMemcpyAsync": 1}
    assert host.tolist() == [3] * 4


def test_a_synchronous_copy_waits_for_the_legacy_stream(pinned):
    blocking, device = cupy.cuda.Stream(), cupy.zeros(4, cupy.float32)
    with blocking:
        kernels.add_to(device.data.ptr, 1, 4)
    runtime.memcpy(pinned.ptr, device.data.ptr, 16, runtime.memcpyDeviceToHost)
    assert float(pinned) == 1


@lazy
def test_a_copy_inside_the_device_does_not_wait():
    source, target = cupy.full(4, 1, cupy.float32), cupy.zeros(4, cupy.float32)
    with fakecuda.count() as counts:
        runtime.memcpy(target.data.ptr, source.data.ptr, 16, runtime.memcpyDeviceToDevice)
    assert counts.waits == {}
    assert not cupy.cuda.Stream.null.done


def test_freeing_memory_waits_for_its_use(pinned):
    stream = new()
    device = runtime.malloc(16)
    runtime.memsetAsync(device, 0, 16, stream.ptr)
    runtime.memcpyAsync(pinned.ptr, device, 16, runtime.memcpyDeviceToHost, stream.ptr)
    with fakecuda.count() as counts:
        runtime.free(device)
    assert counts.waits == {"cudaFree": 1}
    assert float(pinned) == 0


# ---------------------------------------------------------------- host functions


def test_host_functions_run_in_the_order_of_a_stream(pinned):
    stream, seen = new(), []
    pinned.add(1, stream)
    stream.launch_host_func(lambda name: seen.append((name, float(pinned))), "first")
    pinned.add(1, stream)
    stream.add_callback(lambda *arguments: seen.append(arguments[1:]), "second")
    assert seen == ([] if LAZY else [("first", 1), (0, "second")])
    stream.synchronize()
    assert seen == [("first", 1), (0, "second")]


def test_a_host_function_may_not_call_cuda():
    stream, seen = new(), []

    def call(_):
        try:
            runtime.malloc(16)
        except runtime.CUDARuntimeError as error:
            seen.append(str(error))

    stream.launch_host_func(call, None)
    stream.synchronize()
    assert "cudaErrorNotPermitted" in seen[0]
    assert "a host function may not call CUDA" in seen[0]


def test_other_threads_work_while_a_host_function_runs(pinned):
    """A host function of one stream waits for a thread that uses another."""
    entered, done = threading.Event(), threading.Event()
    stream, other = new(), new()

    def wait(_):
        entered.set()
        assert done.wait(20)

    def work():
        assert entered.wait(20)
        pinned.add(1, other)
        other.synchronize()
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    stream.launch_host_func(wait, None)
    stream.synchronize()
    thread.join()
    assert float(pinned) == 1


def test_two_threads_wait_for_one_stream(pinned):
    stream, found = new(), []
    pinned.add(1, stream)
    stream.launch_host_func(lambda _: pinned.array.__iadd__(1), None)

    def wait():
        stream.synchronize()
        found.append(float(pinned))

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2] * 4


def test_threads_with_streams_of_their_own():
    found = {}

    def work(index):
        stream, mine = new(), Pinned()
        for _ in range(50):
            mine.add(1, stream)
            stream.wait_event(stream.record())
        stream.synchronize()
        found[index] = float(mine)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), 50)


def test_a_long_chain_of_streams_that_wait_for_each_other(pinned):
    streams = [new(), new()]
    for step in range(3000):
        one, two = streams[step % 2], streams[1 - step % 2]
        pinned.add(1, one)
        two.wait_event(one.record(cupy.cuda.Event(disable_timing=True)))
    streams[0].synchronize()
    assert float(pinned) == 3000
