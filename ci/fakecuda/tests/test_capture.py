"""What a stream that captures does not allow: it fails as on a GPU and spoils the capture."""

import threading

import cupy
import fakecuda
import numpy as np
import pytest
from cupy.cuda import runtime
from kernels import add_on, captured
from processes import rerun

GLOBAL, THREAD, RELAXED = (
    runtime.streamCaptureModeGlobal,
    runtime.streamCaptureModeThreadLocal,
    runtime.streamCaptureModeRelaxed,
)


@pytest.mark.skipif(bool(fakecuda.modes()), reason="once")
@pytest.mark.parametrize("mode", ["lazy", "lazy,strict"])
def test_the_same_in_other_modes(mode):
    rerun(__file__, mode)


# ---------------------------------------------------------------- what a capture does not allow


def refused(stream, call, message, mode=RELAXED):
    """Captures a call that is refused with a message, and leaves no graph."""
    x = cupy.zeros(4, cupy.float32)
    runtime.deviceSynchronize()
    stream.begin_capture(mode)
    with pytest.raises(
        runtime.CUDARuntimeError, match=f"(?s){message}.*the capture is invalid now"
    ):
        call()
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        runtime.memsetAsync(x.data.ptr, 0, 16, stream.ptr)
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        stream.end_capture()
    assert not stream.is_capturing()


UNSUPPORTED = "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing"


@pytest.mark.parametrize(("mode", "name"), [(GLOBAL, "global"), (THREAD, "thread-local")])
def test_cudamalloc_while_a_stream_captures(stream, mode, name):
    message = f"{UNSUPPORTED}\ncudaMalloc: not allowed while a stream captures in {name} mode"
    refused(stream, lambda: runtime.malloc(16), message, mode)


def test_cudamalloc_in_a_relaxed_capture(stream):
    stream.begin_capture(RELAXED)
    runtime.free(runtime.malloc(16))
    stream.end_capture()


def test_another_thread_allocates_while_a_stream_captures(stream):
    errors = []

    def allocate():
        try:
            runtime.free(runtime.malloc(16))
        except runtime.CUDARuntimeError as error:
            errors.append(str(error))

    for mode in (RELAXED, THREAD, GLOBAL):
        stream.begin_capture(mode)
        thread = threading.Thread(target=allocate)
        thread.start()
        thread.join()
        if mode == GLOBAL:
            with pytest.raises(runtime.CUDARuntimeError, match="CaptureInvalidated"):
                stream.end_capture()
        else:
            stream.end_capture()
            assert errors == []
    assert len(errors) == 1


def test_synchronisation_while_a_stream_captures(stream):
    refused(
        stream, stream.synchronize, f"{UNSUPPORTED}\ncudaStreamSynchronize: the stream captures"
    )
    refused(
        stream,
        runtime.deviceSynchronize,
        f"{UNSUPPORTED}\ncudaDeviceSynchronize: waits for all streams of the device",
    )


def test_queries_while_a_stream_captures(stream):
    stream.begin_capture()
    assert runtime.streamQuery(stream.ptr) == 900
    with pytest.raises(runtime.CUDARuntimeError, match="CaptureInvalidated"):
        stream.end_capture()
    event = cupy.cuda.Event()
    stream.begin_capture()
    event.record(stream)
    assert runtime.eventQuery(event.ptr) == 907
    with pytest.raises(runtime.CUDARuntimeError, match="CaptureInvalidated"):
        stream.end_capture()
    outside = cupy.cuda.Stream.null.record()
    stream.begin_capture(GLOBAL)
    assert runtime.eventQuery(outside.ptr) == 900
    with pytest.raises(runtime.CUDARuntimeError, match="CaptureInvalidated"):
        stream.end_capture()


def test_synchronous_copies_while_a_stream_captures(stream, x):
    host = np.zeros(4, np.float32)
    refused(
        stream,
        lambda: runtime.memcpy(host.ctypes.data, x.data.ptr, 16, runtime.memcpyDeviceToHost),
        "cudaMemcpy: not allowed while",
        GLOBAL,
    )


def test_the_legacy_stream_while_a_blocking_stream_captures(x):
    blocking = cupy.cuda.Stream()
    refused(
        blocking,
        lambda: runtime.memsetAsync(x.data.ptr, 0, 16, 0),
        "cudaErrorStreamCaptureImplicit: .*\ncudaMemsetAsync: uses the legacy default stream",
    )
    with pytest.raises(RuntimeError, match="legacy"):
        cupy.cuda.Stream.null.begin_capture()
    with pytest.raises(runtime.CUDARuntimeError, match="the legacy default stream can't capture"):
        runtime.streamBeginCapture(0)


def test_the_legacy_stream_while_a_non_blocking_stream_captures(stream, x):
    stream.begin_capture()
    runtime.memsetAsync(x.data.ptr, 0, 16, 0)  # runs, and is not in the graph
    assert stream.end_capture().debug_dot_str().count("MEMSET") == 0


def test_an_event_from_outside_a_capture(stream):
    event = cupy.cuda.Stream.null.record()
    refused(
        stream,
        lambda: stream.wait_event(event),
        "cudaErrorStreamCaptureIsolation: .*\ncudaStreamWaitEvent: the stream captures, and",
    )


def test_a_call_invalidates_all_captures_that_forbid_it():
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    for stream in streams:
        stream.begin_capture(GLOBAL)
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"):
        runtime.malloc(16)
    for stream in streams:
        with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            stream.end_capture()


def test_an_event_of_a_capture_that_ended(stream, x):
    event = cupy.cuda.Event()
    stream.begin_capture()
    event.record(stream)
    add_on(x, 1, stream)
    stream.end_capture()
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorCapturedEvent"):
        cupy.cuda.Stream(non_blocking=True).wait_event(event)
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorCapturedEvent"):
        event.synchronize()


def test_a_branch_that_was_not_joined(stream, x):
    other = cupy.cuda.Stream(non_blocking=True)
    stream.begin_capture()
    other.wait_event(stream.record())
    add_on(x, 1, other)
    message = "cudaErrorStreamCaptureUnjoined: .*\n.*does not wait for add, captured on another"
    with pytest.raises(runtime.CUDARuntimeError, match=message):
        stream.end_capture()
    assert not other.is_capturing()


def test_a_capture_ends_where_it_began(stream):
    other = cupy.cuda.Stream(non_blocking=True)
    stream.begin_capture()
    other.wait_event(stream.record())
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureUnmatched"):
        runtime.streamEndCapture(other.ptr)
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        stream.end_capture()


def test_a_capture_ends_in_the_thread_that_began_it(stream):
    errors = []

    def end():
        try:
            runtime.streamEndCapture(stream.ptr)
        except runtime.CUDARuntimeError as error:
            errors.append(str(error))

    stream.begin_capture(GLOBAL)
    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    assert "cudaErrorStreamCaptureWrongThread" in errors[0]
    stream.end_capture()


def test_a_stream_is_destroyed_while_it_captures(x):
    blocking = cupy.cuda.Stream()
    blocking.begin_capture(GLOBAL)
    del blocking
    runtime.memset(x.data.ptr, 0, 16)  # no capture is left that forbids it


def test_two_captures_do_not_merge(stream):
    other = cupy.cuda.Stream(non_blocking=True)
    stream.begin_capture()
    other.begin_capture()
    event = other.record()
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureMerge"):
        stream.wait_event(event)
    for each in (stream, other):
        with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            each.end_capture()


def test_begin_twice_and_end_without_a_begin(stream):
    stream.begin_capture()
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorIllegalState"):
        runtime.streamBeginCapture(stream.ptr)
    stream.end_capture()
    with pytest.raises(runtime.CUDARuntimeError, match="the stream does not capture"):
        runtime.streamEndCapture(stream.ptr)


def test_what_graphs_do_not_have_here_is_refused_by_name(stream):
    refused(stream, lambda: runtime.mallocAsync(16, stream.ptr), "memory that a graph allocates")
    inner = captured(stream)
    refused(stream, lambda: inner.launch(stream), "a graph inside a graph is not in the stand-in")
