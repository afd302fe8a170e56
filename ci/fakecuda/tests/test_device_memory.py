"""Memory of the stand-in and copies to, from and inside it, through the real CuPy."""

import ctypes

import cupy
import fakecuda
import kernels
import numpy as np
import pytest
from cupy.cuda import runtime
from processes import rerun

DRIVER = ctypes.CDLL("libcuda.so.1")
COPY = {"HtoD": runtime.memcpyHostToDevice, "DtoH": runtime.memcpyDeviceToHost,
        "DtoD": runtime.memcpyDeviceToDevice}  # fmt: skip

eager = pytest.mark.skipif(bool(fakecuda.modes()), reason="once, in a process with no mode")


@eager
@pytest.mark.parametrize("mode", ["lazy", "strict", "lazy,strict"])
def test_the_same_in_other_modes(mode):
    rerun(__file__, mode)


# ---------------------------------------------------------------- memory


def test_memory_info_counts_what_is_allocated(memory):
    free, total = runtime.memGetInfo()
    assert total == 8 << 30
    memory(1000)
    assert runtime.memGetInfo() == (free - 1000, total)


def test_out_of_memory_beyond_eight_gibibytes(memory):
    free, total = runtime.memGetInfo()
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorMemoryAllocation: out of memory"):
        memory(total + 1)
    assert runtime.memGetInfo() == (free, total)


def test_nothing_allocated_is_null():
    assert runtime.malloc(0) == 0
    runtime.free(0)


def test_memory_is_aligned(memory):
    assert all(memory(size) % 256 == 0 for size in (1, 3, 100, 5000))


def test_fresh_memory_is_nan():
    if "strict" in fakecuda.modes():
        pytest.skip("strict mode does not let the host read it")
    pointer, host = runtime.malloc(12), np.zeros(3, np.float32)
    runtime.memcpy(host.ctypes.data, pointer, 12, COPY["DtoH"])
    runtime.free(pointer)
    assert np.isnan(host).all()


def test_freeing_what_was_freed(memory):
    pointer = runtime.malloc(16)
    runtime.free(pointer)
    with pytest.raises(runtime.CUDARuntimeError, match=r"cudaErrorInvalidValue.*\n.*freed before"):
        runtime.free(pointer)
    with pytest.raises(runtime.CUDARuntimeError, match="points into 16 bytes of device memory"):
        runtime.free(memory(16) + 4)


def test_freeing_host_memory_as_device_memory():
    pointer = runtime.hostAlloc(16, 0)
    with pytest.raises(runtime.CUDARuntimeError, match="is not device memory"):
        runtime.free(pointer)
    runtime.freeHost(pointer)


def test_attributes_of_pointers(memory):
    device, pinned = memory(64), runtime.hostAlloc(64, runtime.hostAllocMapped)
    managed, plain = runtime.mallocManaged(64), np.zeros(64, np.uint8)
    kinds = [
        (device + 8, runtime.memoryTypeDevice),
        (pinned + 8, runtime.memoryTypeHost),
        (managed + 8, runtime.memoryTypeManaged),
    ]
    for pointer, kind in kinds:
        found = runtime.pointerGetAttributes(pointer)
        assert (found.type, found.device, found.devicePointer) == (kind, 0, pointer)
    assert runtime.pointerGetAttributes(plain.ctypes.data).type == runtime.memoryTypeUnregistered
    runtime.free(managed)
    runtime.freeHost(pinned)


def test_registered_host_memory():
    host = np.arange(4, dtype=np.float32)
    runtime.hostRegister(host.ctypes.data, host.nbytes, 0)
    with pytest.raises(runtime.CUDARuntimeError, match="already mapped"):
        runtime.hostRegister(host.ctypes.data, host.nbytes, 0)
    kernels.add_to(host.ctypes.data, 1, 4)
    runtime.deviceSynchronize()
    assert host.tolist() == [1, 2, 3, 4]
    runtime.hostUnregister(host.ctypes.data)
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorHostMemoryNotRegistered"):
        runtime.hostUnregister(host.ctypes.data)


def test_kernels_use_pinned_and_managed_memory():
    for pointer, free in (
        (runtime.hostAlloc(16, 0), runtime.freeHost),
        (runtime.mallocManaged(16), runtime.free),
    ):
        host = np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (4,))
        host[:] = range(4)
        kernels.add_to(pointer, 1, 4)
        runtime.deviceSynchronize()
        assert host.tolist() == [1, 2, 3, 4]
        free(pointer)


def test_memory_in_the_order_of_a_stream():
    stream = cupy.cuda.Stream(non_blocking=True)
    free, _ = runtime.memGetInfo()
    pointer = runtime.mallocAsync(4096, stream.ptr)
    runtime.memsetAsync(pointer, 0, 4096, stream.ptr)
    with stream:
        kernels.add_to(pointer, 3, 4)
    host = np.zeros(4, np.float32)
    runtime.memcpyAsync(host.ctypes.data, pointer, 16, COPY["DtoH"], stream.ptr)
    assert host.tolist() == [3, 3, 3, 3]
    runtime.freeAsync(pointer, stream.ptr)
    if "lazy" in fakecuda.modes():
        with pytest.raises(runtime.CUDARuntimeError, match="freed already, in the order of a"):
            runtime.freeAsync(pointer, stream.ptr)
    stream.synchronize()
    assert runtime.memGetInfo()[0] == free


def test_cupys_asynchronous_pool():
    with cupy.cuda.using_allocator(cupy.cuda.MemoryAsyncPool().malloc):
        x = cupy.arange(1000)
        assert int(x.sum()) == 499500
        pool = runtime.deviceGetDefaultMemPool(0)
        used = runtime.memPoolGetAttribute(pool, runtime.cudaMemPoolAttrUsedMemCurrent)
        assert used >= 8000
        del x


# ---------------------------------------------------------------- copies


def test_copies_check_both_ends(memory):
    pointer, host = memory(16), np.zeros(8, np.float32)
    with pytest.raises(runtime.CUDARuntimeError, match=r"20 bytes at .* run 4 bytes past the end"):
        runtime.memcpy(pointer, host.ctypes.data, 20, COPY["HtoD"])
    with pytest.raises(runtime.CUDARuntimeError, match="destination should be device memory"):
        runtime.memcpy(host.ctypes.data, pointer, 16, COPY["HtoD"])
    with pytest.raises(runtime.CUDARuntimeError, match="source should be host memory"):
        runtime.memcpy(pointer, memory(16), 16, COPY["HtoD"])
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorInvalidMemcpyDirection"):
        runtime.memcpy(pointer, host.ctypes.data, 16, 17)


def test_copies_between_host_and_device(memory):
    source, found = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
    first, second = memory(16), memory(16)
    runtime.memcpy(first, source.ctypes.data, 16, COPY["HtoD"])
    runtime.memcpy(second, first, 16, COPY["DtoD"])
    runtime.memcpy(found.ctypes.data, second, 16, runtime.memcpyDefault)
    assert found.tolist() == [0, 1, 2, 3]


def test_copies_of_rectangles(memory):
    source, found = np.arange(12, dtype=np.uint8).reshape(3, 4), np.zeros((3, 2), np.uint8)
    pointer = memory(3 * 8 - 4)  # the last row has no padding
    runtime.memcpy2D(pointer, 8, source.ctypes.data, 4, 4, 3, COPY["HtoD"])
    runtime.memcpy2D(found.ctypes.data, 2, pointer + 1, 8, 2, 3, COPY["DtoH"])
    assert found.tolist() == [[1, 2], [5, 6], [9, 10]]
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorInvalidPitchValue"):
        runtime.memcpy2D(pointer, 3, source.ctypes.data, 4, 4, 3, COPY["HtoD"])
    with pytest.raises(runtime.CUDARuntimeError, match=r"28 bytes .* run 8 bytes past the end"):
        runtime.memcpy2D(pointer, 8, source.ctypes.data, 4, 4, 4, COPY["HtoD"])


def test_fills(memory):
    pointer, found = memory(8), np.zeros(8, np.uint8)
    runtime.memset(pointer, 7, 8)
    runtime.memcpy(found.ctypes.data, pointer, 8, COPY["DtoH"])
    assert found.tolist() == [7] * 8
    with pytest.raises(runtime.CUDARuntimeError, match="run 1 bytes past the end"):
        runtime.memset(pointer, 0, 9)
    with pytest.raises(runtime.CUDARuntimeError, match="should be device memory"):
        runtime.memset(found.ctypes.data, 0, 8)
