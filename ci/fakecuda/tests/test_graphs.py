"""Graphs that streams capture: what a launch runs, and what an update may change."""

import ctypes

import cupy
import fakecuda
import kernels
import numpy as np
import pytest
from cupy.cuda import runtime
from kernels import add_on, captured, multiply_on, value
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


# ---------------------------------------------------------------- launches


def test_a_capture_runs_nothing_and_a_launch_all(stream, x):
    with fakecuda.count() as counts:
        graph = captured(stream, lambda: add_on(x, 1, stream), lambda: multiply_on(x, 10, stream))
    assert (value(x), counts.launches) == (0, {})
    with fakecuda.count() as counts:
        graph.launch(stream)
        graph.launch(stream)
    assert counts.launches == {"graph": 2, "add": 2, "multiply": 2}
    stream.synchronize()
    assert value(x) == 110


def test_a_graph_runs_in_the_order_of_the_stream_it_is_launched_on(stream, x):
    graph = captured(stream, lambda: add_on(x, 1, stream))
    other = cupy.cuda.Stream(non_blocking=True)
    graph.upload(other)
    multiply_on(x, 10, other)
    graph.launch(other)
    multiply_on(x, 10, other)
    other.synchronize()
    assert value(x) == 10


def test_launches_of_one_graph_do_not_overlap(stream, x):
    graph = captured(stream, lambda: multiply_on(x, 2, stream), lambda: add_on(x, 1, stream))
    other = cupy.cuda.Stream(non_blocking=True)
    graph.launch(stream)
    graph.launch(other)
    other.synchronize()
    assert value(x) == 3


def test_copies_and_fills_in_graphs(stream, x):
    memory = cupy.cuda.alloc_pinned_memory(16)
    host = np.frombuffer(memory, np.float32, 4)
    y = cupy.empty(4, cupy.float32)
    host[:] = 1

    def copies():
        runtime.memcpyAsync(x.data.ptr, memory.ptr, 16, runtime.memcpyHostToDevice, stream.ptr)
        runtime.memsetAsync(y.data.ptr, 0, 16, stream.ptr)
        add_on(x, 1, stream)
        runtime.memcpyAsync(y.data.ptr, x.data.ptr, 16, runtime.memcpyDeviceToDevice, stream.ptr)

    graph = captured(stream, copies)
    host[:] = 5  # what is there when the graph runs
    with fakecuda.count() as counts:
        graph.launch(stream)
        stream.synchronize()
    assert counts.copies == {"HtoD": (1, 16), "fill": (1, 16), "DtoD": (1, 16)}
    assert value(y) == 6


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
    graph = captured(stream, lambda: add_on(x, 1, stream))
    with fakecuda.count() as counts, fakecuda.idle():
        graph.launch(stream)
    assert (counts.launches, value(x)) == ({"graph": 1, "add": 1}, 0)


def test_forks_and_joins(stream, x):
    other, y = cupy.cuda.Stream(non_blocking=True), cupy.zeros(4, cupy.float32)
    runtime.deviceSynchronize()

    def branches():
        add_on(x, 1, stream)
        other.wait_event(stream.record())
        multiply_on(x, 10, stream)
        add_on(y, 1, other)
        assert other.is_capturing()
        stream.wait_event(other.record())
        with stream:
            kernels.copy((1,), (4,), (x, y, cupy.int32(4)))

    graph = captured(stream, branches)
    assert not other.is_capturing()
    text = graph.debug_dot_str()
    assert text.count("->") == 4
    graph.launch(stream)
    assert (value(x), value(y)) == (1, 1)


@pytest.mark.skipif(not LAZY, reason="eager mode keeps the order of the capture")
def test_branches_have_no_order(stream, x):
    other = cupy.cuda.Stream(non_blocking=True)

    def branches():
        other.wait_event(stream.record())
        add_on(x, 1, stream)
        multiply_on(x, 10, other)
        stream.wait_event(other.record())

    captured(stream, branches).launch(stream)
    assert value(x) == 1


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
    graph = Raw(stream, lambda: add_on(x, 1, stream))
    graph.launch(stream)
    assert graph.update(Raw(stream, lambda: add_on(x, 5, stream))) == (0, 0)
    graph.launch(stream)
    assert value(x) == 6
    assert graph.update(Raw(stream, lambda: multiply_on(x, 2, stream))) == (0, 0)
    graph.launch(stream)
    assert value(x) == 12


def test_an_update_changes_no_topology(stream, x):
    graph = Raw(stream, lambda: add_on(x, 1, stream))
    longer = Raw(stream, lambda: add_on(x, 1, stream), lambda: add_on(x, 1, stream))
    assert graph.update(longer) == (910, 2)
    assert "the graph has 2 nodes or other dependencies" in fakecuda.messages()
    fill = Raw(stream, lambda: runtime.memsetAsync(x.data.ptr, 0, 16, stream.ptr))
    assert graph.update(fill) == (910, 3)
    assert "add became a fill of 16 bytes" in fakecuda.messages()
    graph.launch(stream)
    assert value(x) == 1


def test_the_nodes_of_a_graph(stream, x):
    fill = lambda: runtime.memsetAsync(x.data.ptr, 0, 16, stream.ptr)  # noqa: E731
    graph, kinds = Raw(stream, lambda: add_on(x, 1, stream), fill), []
    for node in graph.nodes():
        kind = ctypes.c_int()
        assert CUDA.cudaGraphNodeGetType(ctypes.c_void_p(node), ctypes.byref(kind)) == 0
        kinds.append(kind.value)
    assert kinds == [0, 2]  # kernel, fill
    assert CUDA.cudaGraphNodeGetType(ctypes.c_void_p(8), ctypes.byref(kind)) == 1
    fakecuda.messages()


def test_other_parameters_of_a_node(stream, x):
    graph, found = Raw(stream, lambda: add_on(x, 1, stream)), KernelNode()
    node = ctypes.c_void_p(graph.nodes()[0])
    assert CUDA.cuGraphKernelNodeGetParams_v2(node, ctypes.byref(found)) == 0
    assert list(found.sizes) == [1, 1, 1, 4, 1, 1, 0]
    amount = ctypes.c_float(8)
    found.parameters[1] = ctypes.cast(ctypes.byref(amount), ctypes.c_void_p)
    set_parameters = CUDA.cuGraphExecKernelNodeSetParams_v2
    assert set_parameters(graph.executable, node, ctypes.byref(found)) == 0
    graph.launch(stream)
    assert value(x) == 8
    found.sizes[3] = 2048
    assert set_parameters(graph.executable, node, ctypes.byref(found)) == 1
    assert "a block of (2048, 1, 1) threads" in fakecuda.messages()
