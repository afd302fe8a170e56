"""Streams that capture, and graphs: what a capture allows, what a launch runs, what an update may
change."""

import ctypes
import threading

import cupy
import fakecuda
import kernels
import numpy as np
import pytest
from cupy.cuda import runtime
from processes import output, rerun

LAZY = "lazy" in fakecuda.modes()
CUDA = ctypes.CDLL("libcuda.so.1")
GLOBAL, THREAD, RELAXED = (
    runtime.streamCaptureModeGlobal,
    runtime.streamCaptureModeThreadLocal,
    runtime.streamCaptureModeRelaxed,
)


@pytest.mark.skipif(bool(fakecuda.modes()), reason="once")
@pytest.mark.parametrize("mode", ["lazy", "lazy,strict"])
def test_the_same_in_other_modes(mode):
    rerun(__file__, mode)


@pytest.fixture
def stream():
    stream = cupy.cuda.Stream(non_blocking=True)
    yield stream
    try:
        runtime.streamEndCapture(stream.ptr)
    except runtime.CUDARuntimeError:
        pass  # the test ended the capture, as it should


@pytest.fixture
def x():
    x = cupy.zeros(4, cupy.float32)
    runtime.deviceSynchronize()
    return x


def add(x, amount, stream):
    with stream:
        kernels.add_to(x.data.ptr, amount, x.size)


def multiply(x, factor, stream):
    with stream:
        kernels.add_to(x.data.ptr, factor, x.size, kernels.multiply)


def values(x):
    runtime.deviceSynchronize()
    found = x.get()
    assert (found == found[0]).all()
    return float(found[0])


def captured(stream, *calls):
    """A graph of what the calls put on a stream."""
    stream.begin_capture()
    for call in calls:
        call()
    return stream.end_capture()


# ---------------------------------------------------------------- launches


def test_a_capture_runs_nothing_and_a_launch_all(stream, x):
    with fakecuda.count() as counts:
        graph = captured(stream, lambda: add(x, 1, stream), lambda: multiply(x, 10, stream))
    assert (values(x), counts.launches) == (0, {})
    with fakecuda.count() as counts:
        graph.launch(stream)
        graph.launch(stream)
    assert counts.launches == {"graph": 2, "add": 2, "multiply": 2}
    stream.synchronize()
    assert values(x) == 110


def test_a_graph_runs_in_the_order_of_the_stream_it_is_launched_on(stream, x):
    graph = captured(stream, lambda: add(x, 1, stream))
    other = cupy.cuda.Stream(non_blocking=True)
    graph.upload(other)
    multiply(x, 10, other)
    graph.launch(other)
    multiply(x, 10, other)
    other.synchronize()
    assert values(x) == 10


def test_launches_of_one_graph_do_not_overlap(stream, x):
    graph = captured(stream, lambda: multiply(x, 2, stream), lambda: add(x, 1, stream))
    other = cupy.cuda.Stream(non_blocking=True)
    graph.launch(stream)
    graph.launch(other)
    other.synchronize()
    assert values(x) == 3


def test_copies_and_fills_in_graphs(stream, x):
    memory = cupy.cuda.alloc_pinned_memory(16)
    host = np.frombuffer(memory, np.float32, 4)
    y = cupy.empty(4, cupy.float32)
    host[:] = 1

    def copies():
        runtime.memcpyAsync(x.data.ptr, memory.ptr, 16, runtime.memcpyHostToDevice, stream.ptr)
        runtime.memsetAsync(y.data.ptr, 0, 16, stream.ptr)
        add(x, 1, stream)
        runtime.memcpyAsync(y.data.ptr, x.data.ptr, 16, runtime.memcpyDeviceToDevice, stream.ptr)

    graph = captured(stream, copies)
    host[:] = 5  # what is there when the graph runs
    with fakecuda.count() as counts:
        graph.launch(stream)
        stream.synchronize()
    assert counts.copies == {"HtoD": (1, 16), "fill": (1, 16), "DtoD": (1, 16)}
    assert values(y) == 6


def test_host_functions_in_graphs(stream):
    seen = []
    graph = captured(stream, lambda: stream.launch_host_func(seen.append, 7))
    assert seen == []
    graph.launch(stream)
    graph.launch(stream)
    stream.synchronize()
    assert seen == [7, 7]


class Call:
    """A call of a library, as the stand-ins for cuBLAS and the others make it."""

    def __init__(self, status=0):
        self.status, self.ran, self.released = status, 0, 0
        kind, none = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        self.work, self.release = kind(self._work), ctypes.CFUNCTYPE(None, none)(self._release)

    def _work(self, _):
        self.ran += 1
        return self.status

    def _release(self, _):
        self.released += 1

    def put(self, stream):
        handle = ctypes.c_void_p(stream.ptr)
        return CUDA.fakecuda_library_call(b"libGemm", handle, self.work, None, self.release)


def test_libraries_on_streams(stream):
    call = Call()
    with fakecuda.count() as counts:
        assert call.put(stream) == 0
    assert counts.library == {"libGemm": 1}
    assert call.ran == (0 if LAZY else 1)
    with fakecuda.count() as counts:
        assert CUDA.fakecuda_wait(ctypes.c_void_p(stream.ptr)) == 0
    assert counts.waits == {"library": 1}
    assert (call.ran, call.released) == (1, 1)
    with fakecuda.idle():
        assert Call().put(stream) == 0
    assert CUDA.fakecuda_capturing(ctypes.c_void_p(stream.ptr)) == 0


def test_libraries_in_graphs(stream):
    """CuPy itself refuses cuBLAS while a stream captures, so that this goes past it."""
    call = Call()
    stream.begin_capture()
    assert CUDA.fakecuda_capturing(ctypes.c_void_p(stream.ptr)) == 1
    assert call.put(stream) == 0
    graph = stream.end_capture()
    assert (call.ran, call.released) == (0, 0)
    with fakecuda.count() as counts:
        graph.launch(stream)
        graph.launch(stream)
        stream.synchronize()
    assert counts.library == {"libGemm": 2}
    assert (call.ran, call.released) == (2, 0)
    del graph
    assert call.released == 1


def test_idle_counts_the_nodes_of_a_graph(stream, x):
    graph = captured(stream, lambda: add(x, 1, stream))
    with fakecuda.count() as counts, fakecuda.idle():
        graph.launch(stream)
    assert (counts.launches, values(x)) == ({"graph": 1, "add": 1}, 0)


def test_forks_and_joins(stream, x):
    other, y = cupy.cuda.Stream(non_blocking=True), cupy.zeros(4, cupy.float32)
    runtime.deviceSynchronize()

    def branches():
        add(x, 1, stream)
        other.wait_event(stream.record())
        multiply(x, 10, stream)
        add(y, 1, other)
        assert other.is_capturing()
        stream.wait_event(other.record())
        with stream:
            kernels.copy((1,), (4,), (x, y, cupy.int32(4)))

    graph = captured(stream, branches)
    assert not other.is_capturing()
    text = graph.debug_dot_str()
    assert text.count("->") == 4
    graph.launch(stream)
    assert (values(x), values(y)) == (1, 1)


@pytest.mark.skipif(not LAZY, reason="eager mode keeps the order of the capture")
def test_branches_have_no_order(stream, x):
    other = cupy.cuda.Stream(non_blocking=True)

    def branches():
        other.wait_event(stream.record())
        add(x, 1, stream)
        multiply(x, 10, other)
        stream.wait_event(other.record())

    captured(stream, branches).launch(stream)
    assert values(x) == 1


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
    add(x, 1, stream)
    stream.end_capture()
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorCapturedEvent"):
        cupy.cuda.Stream(non_blocking=True).wait_event(event)
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorCapturedEvent"):
        event.synchronize()


def test_a_branch_that_was_not_joined(stream, x):
    other = cupy.cuda.Stream(non_blocking=True)
    stream.begin_capture()
    other.wait_event(stream.record())
    add(x, 1, other)
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


# ---------------------------------------------------------------- memory


@pytest.mark.skipif(bool(fakecuda.modes()), reason="once")
@pytest.mark.parametrize("mode", ["", "lazy"])
def test_a_graph_keeps_no_memory(mode):
    found = output(
        """
        import cupy
        cupy.cuda.set_allocator(None)
        x, stream = cupy.zeros(5, cupy.float32), cupy.cuda.Stream(non_blocking=True)
        cupy.cuda.runtime.deviceSynchronize()
        with stream:
            x += 1
            stream.begin_capture()
            x += 1
            graph = stream.end_capture()
        graph.launch(stream)
        stream.synchronize()
        del x
        try:
            graph.launch(stream)
            stream.synchronize()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            print(error)
        """,
        mode,
    )
    assert "cudaErrorIllegalAddress" in found
    assert "which were freed" in found


# ---------------------------------------------------------------- updates


class Update(ctypes.Structure):
    _fields_ = (("result", ctypes.c_int), ("node", ctypes.c_void_p), ("from_node", ctypes.c_void_p))


class KernelNode(ctypes.Structure):
    _fields_ = (
        ("function", ctypes.c_void_p),
        ("sizes", ctypes.c_uint * 7),
        ("parameters", ctypes.POINTER(ctypes.c_void_p)),
        ("extra", ctypes.c_void_p),
        ("kernel", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
    )


class Raw:
    """A graph and what was instantiated of it, by their handles."""

    def __init__(self, stream, *calls):
        stream.begin_capture()
        for call in calls:
            call()
        self.graph = ctypes.c_void_p(runtime.streamEndCapture(stream.ptr))
        self.executable = ctypes.c_void_p(runtime.graphInstantiate(self.graph.value))

    def update(self, other):
        update = Update()
        status = CUDA.cudaGraphExecUpdate(self.executable, other.graph, ctypes.byref(update))
        return status, update.result

    def nodes(self):
        number = ctypes.c_size_t()
        assert CUDA.cudaGraphGetNodes(self.graph, None, ctypes.byref(number)) == 0
        nodes = (ctypes.c_void_p * number.value)()
        assert CUDA.cudaGraphGetNodes(self.graph, nodes, ctypes.byref(number)) == 0
        return list(nodes)

    def launch(self, stream):
        runtime.graphLaunch(self.executable.value, stream.ptr)
        stream.synchronize()

    def __del__(self):
        runtime.graphDestroy(self.graph.value)
        runtime.graphExecDestroy(self.executable.value)


def test_an_update_changes_parameters_and_kernels(stream, x):
    graph = Raw(stream, lambda: add(x, 1, stream))
    graph.launch(stream)
    assert graph.update(Raw(stream, lambda: add(x, 5, stream))) == (0, 0)
    graph.launch(stream)
    assert values(x) == 6
    assert graph.update(Raw(stream, lambda: multiply(x, 2, stream))) == (0, 0)
    graph.launch(stream)
    assert values(x) == 12


def test_an_update_changes_no_topology(stream, x):
    graph = Raw(stream, lambda: add(x, 1, stream))
    longer = Raw(stream, lambda: add(x, 1, stream), lambda: add(x, 1, stream))
    assert graph.update(longer) == (910, 2)
    assert "the graph has 2 nodes or other dependencies" in fakecuda.messages()
    fill = Raw(stream, lambda: runtime.memsetAsync(x.data.ptr, 0, 16, stream.ptr))
    assert graph.update(fill) == (910, 3)
    assert "add became a fill of 16 bytes" in fakecuda.messages()
    graph.launch(stream)
    assert values(x) == 1


def test_the_nodes_of_a_graph(stream, x):
    fill = lambda: runtime.memsetAsync(x.data.ptr, 0, 16, stream.ptr)  # noqa: E731
    graph, kinds = Raw(stream, lambda: add(x, 1, stream), fill), []
    for node in graph.nodes():
        kind = ctypes.c_int()
        assert CUDA.cudaGraphNodeGetType(ctypes.c_void_p(node), ctypes.byref(kind)) == 0
        kinds.append(kind.value)
    assert kinds == [0, 2]  # kernel, fill
    assert CUDA.cudaGraphNodeGetType(ctypes.c_void_p(8), ctypes.byref(kind)) == 1
    fakecuda.messages()


def test_other_parameters_of_a_node(stream, x):
    graph, found = Raw(stream, lambda: add(x, 1, stream)), KernelNode()
    node = ctypes.c_void_p(graph.nodes()[0])
    assert CUDA.cuGraphKernelNodeGetParams_v2(node, ctypes.byref(found)) == 0
    assert list(found.sizes) == [1, 1, 1, 4, 1, 1, 0]
    amount = ctypes.c_float(8)
    found.parameters[1] = ctypes.cast(ctypes.byref(amount), ctypes.c_void_p)
    set_parameters = CUDA.cuGraphExecKernelNodeSetParams_v2
    assert set_parameters(graph.executable, node, ctypes.byref(found)) == 0
    graph.launch(stream)
    assert values(x) == 8
    found.sizes[3] = 2048
    assert set_parameters(graph.executable, node, ctypes.byref(found)) == 1
    assert "a block of (2048, 1, 1) threads" in fakecuda.messages()
