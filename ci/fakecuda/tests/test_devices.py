"""Two devices: memory, peer access, copies, and what is refused on the wrong one."""

import cupy
import fakecuda
import kernels
import numpy as np
import pytest
from cupy.cuda import driver, runtime
from processes import output, rerun


@pytest.mark.skipif(bool(fakecuda.modes()), reason="once")
def test_the_same_in_lazy_mode():
    rerun(__file__, "lazy,strict")


@pytest.fixture(autouse=True)
def device_0():
    yield
    runtime.setDevice(0)


def on(device, values):
    with cupy.cuda.Device(device):
        x = cupy.array(values, cupy.float32)
        runtime.deviceSynchronize()
        return x


def test_what_devices_say():
    assert runtime.getDeviceCount() == 2
    for index in (0, 1):
        device = cupy.cuda.Device(index)
        assert device.compute_capability == "80"
        assert device.mem_info[1] == 8 << 30
        properties = runtime.getDeviceProperties(index)
        assert properties["name"].startswith(b"Stand-in for a GPU")
        assert properties["sharedMemPerBlockOptin"] == 163 * 1024
        assert properties["maxThreadsPerBlock"] == 1024
        assert properties["warpSize"] == 32
        name = runtime.deviceGetPCIBusId(index)
        assert runtime.deviceGetByPCIBusId(name) == index
    with pytest.raises(runtime.CUDARuntimeError, match=r"invalid device ordinal\n.*no device 2"):
        runtime.setDevice(2)
    attribute = runtime.cudaDevAttrMaxBlocksPerMultiprocessor
    assert runtime.deviceGetAttribute(attribute, 1) == 32


def test_limits_can_be_set():
    limit = runtime.cudaLimitMallocHeapSize
    before = runtime.deviceGetLimit(limit)
    runtime.deviceSetLimit(limit, 1 << 22)
    assert runtime.deviceGetLimit(limit) == 1 << 22
    runtime.deviceSetLimit(limit, before)
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorUnsupportedLimit"):
        runtime.deviceGetLimit(99)


def test_memory_belongs_to_a_device():
    free = []
    for device in (0, 1):
        runtime.setDevice(device)
        free.append(runtime.memGetInfo()[0])
    pointer = runtime.malloc(1 << 20)
    assert runtime.memGetInfo()[0] == free[1] - (1 << 20)
    assert runtime.pointerGetAttributes(pointer).device == 1
    runtime.setDevice(0)
    assert runtime.memGetInfo()[0] == free[0]
    runtime.free(pointer)  # from another device
    runtime.setDevice(1)
    assert runtime.memGetInfo()[0] == free[1]


def test_copies_between_devices():
    source, target = on(0, [1, 2, 3, 4]), on(1, [0] * 4)
    with fakecuda.count() as counts:
        runtime.memcpyPeer(target.data.ptr, 1, source.data.ptr, 0, 8)
        runtime.memcpyPeerAsync(
            target.data.ptr + 8, 1, source.data.ptr + 8, 0, 8, cupy.cuda.Stream.null.ptr
        )
    assert counts.copies == {"PtoP": (2, 16)}
    runtime.deviceSynchronize()
    with cupy.cuda.Device(1):
        runtime.deviceSynchronize()
        assert target.get().tolist() == [1, 2, 3, 4]
    with pytest.raises(runtime.CUDARuntimeError, match="the source is memory of device 0, not 1"):
        runtime.memcpyPeer(target.data.ptr, 1, source.data.ptr, 1, 8)


def test_cupy_moves_arrays_between_devices():
    x = on(0, [1, 2, 3])
    with cupy.cuda.Device(1):
        y = cupy.asarray(x) * 2
        assert y.device.id == 1
        assert y.get().tolist() == [2, 4, 6]


def test_peer_access_is_enabled_and_disabled_once():
    assert runtime.deviceCanAccessPeer(0, 1) == 1
    assert runtime.deviceCanAccessPeer(0, 0) == 0
    found = output(
        """
        from cupy.cuda import runtime
        def call(function, device):
            try:
                function(device)
                print("done")
            except runtime.CUDARuntimeError as error:
                print(error)
        call(runtime.deviceDisablePeerAccess, 1)
        call(runtime.deviceEnablePeerAccess, 0)
        call(runtime.deviceEnablePeerAccess, 1)
        call(runtime.deviceEnablePeerAccess, 1)
        call(runtime.deviceDisablePeerAccess, 1)
        """
    )
    lines = [
        line.partition(":")[0] for line in found.splitlines() if line.startswith(("cuda", "done"))
    ]
    assert [line for line in lines if not line.startswith("cudaDevice")] == [
        "cudaErrorPeerAccessNotEnabled",
        "cudaErrorInvalidDevice",
        "done",
        "cudaErrorPeerAccessAlreadyEnabled",
        "done",
    ]


PEER = """
import sys
sys.path.insert(0, "ci/fakecuda/tests")
import cupy, kernels
from cupy.cuda import runtime
with cupy.cuda.Device(1):
    x = cupy.zeros(4, cupy.float32)
    runtime.deviceSynchronize()
ENABLE
try:
    kernels.add_to(x.data.ptr, 1, 4)
    runtime.deviceSynchronize()
    with cupy.cuda.Device(1):
        print(x.get())
except Exception as error:
    print(error)
"""


def test_a_kernel_uses_memory_of_another_device_by_peer_access():
    enabled = output(PEER.replace("ENABLE", "runtime.deviceEnablePeerAccess(1)"))
    assert "[1. 1. 1. 1.]" in enabled
    other_way = "cupy.cuda.Device(1).use(); runtime.deviceEnablePeerAccess(0); runtime.setDevice(0)"
    for enable in ("", other_way):
        found = output(PEER.replace("ENABLE", enable))
        assert "CUDA_ERROR_ILLEGAL_ADDRESS" in found
        assert "of device 1 at" in found
        assert "to which device 0 has no peer access" in found


def test_pinned_and_managed_memory_is_of_all_devices():
    pinned = runtime.hostAlloc(16, 0)
    managed = runtime.mallocManaged(16)
    runtime.memset(managed, 0, 16)
    runtime.deviceSynchronize()
    with cupy.cuda.Device(1):
        module = cupy.RawModule(code=kernels.SOURCE)
        for pointer in (pinned, managed):
            kernels.add_to(pointer, 1, 4, module.get_function("add"))
        runtime.deviceSynchronize()
    found = np.zeros(4, np.float32)
    runtime.memcpy(found.ctypes.data, managed, 16, runtime.memcpyDefault)
    assert found.tolist() == [1] * 4
    runtime.free(managed)
    runtime.freeHost(pinned)


def test_launches_on_the_wrong_device_are_refused():
    x, here = on(0, [0] * 4), cupy.cuda.Stream(non_blocking=True)
    arguments = [np.uint64(x.data.ptr), np.float32(1), np.int32(4)]
    storage = [np.array([argument]) for argument in arguments]
    pointers = np.array([array.ctypes.data for array in storage])
    function = kernels.module.get_function("add").kernel.ptr
    launch = (function, 1, 1, 1, 4, 1, 1, 0)
    with cupy.cuda.Device(1):
        runtime.memGetInfo()
        with pytest.raises(driver.CUDADriverError, match="CUDA_ERROR_INVALID_HANDLE") as error:
            driver.launchKernel(*launch, 0, pointers.ctypes.data, 0)
        assert "its module was loaded on device 0, and the current device is 1" in str(error.value)
        with pytest.raises(driver.CUDADriverError, match="CUDA_ERROR_INVALID_HANDLE") as error:
            driver.launchKernel(*launch, here.ptr, pointers.ctypes.data, 0)
        assert "the stream is of device 0 and the current device is 1" in str(error.value)
    driver.launchKernel(*launch, here.ptr, pointers.ctypes.data, 0)
    here.synchronize()
    assert x.get().tolist() == [1] * 4


def test_events_and_streams_of_different_devices():
    stream = cupy.cuda.Stream(non_blocking=True)
    with cupy.cuda.Device(1):
        event = cupy.cuda.Event()
        with pytest.raises(runtime.CUDARuntimeError, match="an event of device 1 is recorded on a"):
            event.record(stream)
        other = cupy.cuda.Stream(non_blocking=True)
        event.record(other)
        host, device = np.zeros(4, np.float32), on(0, [1, 2, 3, 4])
        runtime.memcpyAsync(
            host.ctypes.data, device.data.ptr, 16, runtime.memcpyDeviceToHost, stream.ptr
        )
        assert host.tolist() == [1, 2, 3, 4]
    stream.wait_event(event)  # this is allowed
    stream.synchronize()


def test_a_fault_breaks_one_device():
    found = output(
        """
        import sys
        sys.path.insert(0, "ci/fakecuda/tests")
        import cupy, kernels
        from cupy.cuda import runtime
        try:
            kernels.add_to(8, 1, 4)
            runtime.deviceSynchronize()
        except Exception:
            pass
        for device in (0, 1):
            try:
                with cupy.cuda.Device(device):
                    print(device, cupy.zeros(3).sum())
            except Exception as error:
                print(device, error)
        """
    )
    assert "0 cudaErrorIllegalAddress" in found
    assert "1 0.0" in found


def test_a_graph_of_two_devices():
    x, y = on(0, [1] * 4), on(1, [1] * 4)
    first = cupy.cuda.Stream(non_blocking=True)
    with cupy.cuda.Device(1):
        second = cupy.cuda.Stream(non_blocking=True)
        add = cupy.RawModule(code=kernels.SOURCE).get_function("add")
        joined = cupy.cuda.Event()
    first.begin_capture()
    second.wait_event(first.record())
    with first:
        kernels.add_to(x.data.ptr, 1, 4)
    with cupy.cuda.Device(1), second:
        kernels.add_to(y.data.ptr, 2, 4, add)
        joined.record(second)
    first.wait_event(joined)
    graph = first.end_capture()
    graph.launch(first)
    first.synchronize()
    assert x.get().tolist() == [2] * 4
    with cupy.cuda.Device(1):
        assert y.get().tolist() == [3] * 4
