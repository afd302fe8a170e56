"""Launches, modules, errors and counters of the stand-in, through the real CuPy."""

import ctypes

import cupy
import fakecuda
import kernels
import numpy as np
import pytest
from cupy.cuda import driver, runtime
from processes import output, rerun, run

DRIVER = ctypes.CDLL("libcuda.so.1")
COPY = {"HtoD": runtime.memcpyHostToDevice, "DtoH": runtime.memcpyDeviceToHost,
        "DtoD": runtime.memcpyDeviceToDevice}  # fmt: skip

eager = pytest.mark.skipif(bool(fakecuda.modes()), reason="once, in a process with no mode")


@eager
@pytest.mark.parametrize("mode", ["lazy", "strict", "lazy,strict"])
def test_the_same_in_other_modes(mode):
    rerun(__file__, mode)


# ---------------------------------------------------------------- launches


@pytest.mark.parametrize(
    ("grid", "block", "message"),
    [
        ((1 << 31,), (1,), "a grid of"),
        ((1, 65536), (1,), "a grid of"),
        ((1,), (1025,), "a block of"),
        ((1,), (2, 2, 65), "a block of"),
    ],
)
def test_limits_of_launches(grid, block, message):
    x = cupy.zeros(4, cupy.float32)
    with pytest.raises(driver.CUDADriverError, match=f"CUDA_ERROR_INVALID_VALUE.*\n.*{message}"):
        kernels.add(grid, block, (x, cupy.float32(1), cupy.int32(4)))


def test_limits_of_a_function():
    x = cupy.zeros(1024, cupy.float32)
    bounded = kernels.module.get_function("bounded")
    assert bounded.max_threads_per_block == 128
    with pytest.raises(driver.CUDADriverError, match="its launch bounds say 128"):
        bounded((1,), (129,), (x,))
    dynamic = kernels.module.get_function("dynamic")
    with pytest.raises(driver.CUDADriverError, match="50000 bytes of dynamic shared memory"):
        dynamic((1,), (4,), (x,), shared_mem=50000)
    dynamic.max_dynamic_shared_size_bytes = 50000
    dynamic((1,), (4,), (x,), shared_mem=50000)
    assert x[:4].get().tolist() == [3, 2, 1, 0]
    with pytest.raises(driver.CUDADriverError, match="at most 166912"):
        dynamic.max_dynamic_shared_size_bytes = 170000


def test_attributes_of_functions():
    add = kernels.add
    assert (add.num_regs, add.shared_size_bytes, add.max_threads_per_block) == (32, 0, 1024)
    assert add.binary_version == 80


def test_occupancy():
    function = kernels.add.kernel.ptr
    assert driver.occupancyMaxActiveBlocksPerMultiprocessor(function, 1024, 0) == 2
    assert driver.occupancyMaxActiveBlocksPerMultiprocessor(function, 32, 0) == 32
    assert driver.occupancyMaxActiveBlocksPerMultiprocessor(function, 128, 40000) == 4
    grid, block = driver.occupancyMaxPotentialBlockSize(function, 0, 0)
    assert grid * block == 2 * 2048


def test_a_cooperative_launch_of_several_blocks_is_refused_by_name():
    code = 'extern "C" __global__ void one(int *x) { x[blockIdx.x] = 1; }'
    kernel = cupy.RawKernel(code, "one", enable_cooperative_groups=True)
    x = cupy.zeros(2, cupy.int32)
    kernel((1,), (1,), (x,))
    assert x.get().tolist() == [1, 0]
    with pytest.raises(driver.CUDADriverError, match="kernel one: a cooperative launch of several"):
        kernel((2,), (1,), (x,))


def test_variables_of_modules():
    offset = kernels.module.get_global("offset")
    x = cupy.zeros(4, cupy.float32)
    kernels.module.get_function("shift")((1,), (4,), (x,))
    assert x.get().tolist() == [2] * 4
    value = np.array([5], np.float32)
    runtime.memcpy(offset.ptr, value.ctypes.data, 4, COPY["HtoD"])
    kernels.module.get_function("shift")((1,), (4,), (x,))
    assert x.get().tolist() == [7] * 4


def test_functions_and_variables_that_a_module_lacks():
    with pytest.raises(driver.CUDADriverError, match="CUDA_ERROR_NOT_FOUND: named symbol"):
        kernels.module.get_function("absent")


# ---------------------------------------------------------------- modules


def test_ptx_that_is_none():
    module = cupy.cuda.function.Module()
    with pytest.raises(driver.CUDADriverError, match="CUDA_ERROR_INVALID_PTX: a PTX JIT"):
        module.load(b".version 8.0\n.target sm_80\n.address_size 64\nnonsense;\n")


def test_the_compilers_log_says_what_is_wrong():
    buffer, module = ctypes.create_string_buffer(500), ctypes.c_void_p()
    options = (ctypes.c_int * 2)(5, 6)  # CU_JIT_ERROR_LOG_BUFFER and its size
    values = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), len(buffer))
    text = b".version 8.0\n.target sm_80\n.address_size 64\nnonsense;\n"
    status = DRIVER.cuModuleLoadDataEx(ctypes.byref(module), text, 2, options, values)
    assert status == 218
    assert "nonsense" in buffer.value.decode()
    assert values[1] == len(buffer.value)


def test_linked_ptx():
    ptx = b"""
    .version 8.0
    .target sm_80
    .address_size 64
    .visible .entry nothing() { ret; }
    """
    link = cupy.cuda.function.LinkState()
    link.add_ptr_data(ptx, "cupy.ptx")
    module = cupy.cuda.function.Module()
    module.load(link.complete())
    module.get_function("nothing")((1,), (1,), ())
    with pytest.raises(driver.CUDADriverError, match="linking several PTX programs"):
        link.add_ptr_data(ptx, "other.ptx")


# ---------------------------------------------------------------- faults, which break a device

FAULTY = """
import cupy, numpy as np
cupy.cuda.set_allocator(None)
kernel = cupy.RawKernel(
    'extern "C" __global__ void add_one(float *x) { x[threadIdx.x] += 1; }', "add_one")
def call(function, *arguments):
    try:
        function(*arguments)
        print("nothing was found")
    except Exception as error:
        print(type(error).__name__, error)
"""


@eager
def test_a_fault_says_where_and_stays():
    found = output(
        FAULTY
        + """
x = cupy.zeros(5, cupy.float32)
call(lambda: (kernel((1,), (6,), (x,)), cupy.cuda.runtime.deviceSynchronize()))
call(cupy.cuda.runtime.deviceSynchronize)
call(cupy.cuda.runtime.malloc, 16)
call(kernel, (1,), (1,), (x,))
"""
    )
    assert "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered" in found
    assert "lie 0 bytes after the end of 20 bytes of device memory of device 0" in found
    assert "add_one" in found
    assert "nothing was found" not in found
    assert found.count("CUDARuntimeError cudaErrorIllegalAddress: an illegal memory access") == 2


@eager
def test_use_of_freed_memory():
    found = output(
        FAULTY
        + """
x = cupy.zeros(5, cupy.float32)
pointer = x.data.ptr
del x
call(kernel, (1,), (5,), (cupy.uint64(pointer),))
"""
    )
    assert "of device 0, which were freed" in found


@eager
def test_host_memory_in_a_kernel():
    found = output(
        FAULTY
        + """
x = np.zeros(5, np.float32)
call(kernel, (1,), (5,), (cupy.uint64(x.ctypes.data),))
"""
    )
    assert "lie in no allocation (host memory that is not pinned, or a wild pointer)" in found


@eager
def test_memory_that_nothing_wrote():
    source = (
        FAULTY
        + """
x = cupy.empty(5, cupy.float32)
x[:4] = 0
call(lambda: (kernel((1,), (SIZE,), (x,)), cupy.cuda.runtime.deviceSynchronize()))
"""
    )
    assert "nothing was found" in output(source.replace("SIZE", "5"))
    assert "nothing was found" in output(source.replace("SIZE", "4"), "strict")
    found = output(source.replace("SIZE", "5"), "strict")
    assert "CUDA_ERROR_ILLEGAL_ADDRESS" in found
    assert "nothing was found" not in found


@eager
def test_the_host_reads_memory_that_nothing_wrote():
    found = output(
        FAULTY
        + """
x = cupy.empty(5, cupy.float32)
x[:4] = 0
y = cupy.empty(5, cupy.float32)
cupy.cuda.runtime.memcpy(y.data.ptr, x.data.ptr, 20, cupy.cuda.runtime.memcpyDeviceToDevice)
call(y.get)
""",
        "strict",
    )
    assert "copy to the host of memory that nothing wrote: byte 16 of 20 bytes" in found


@eager
def test_a_reset_mends_a_device():
    found = output(
        FAULTY
        + """
import ctypes
from cupy.cuda import runtime
call(kernel, (1,), (1,), (cupy.uint64(8),))
call(runtime.malloc, 16)
ctypes.CDLL("libcuda.so.1").cudaDeviceReset()
print(runtime.memGetInfo(), runtime.malloc(16) > 0)
"""
    )
    assert f"({8 << 30}, {8 << 30}) True" in found


# ---------------------------------------------------------------- what is not there


@eager
def test_a_function_that_is_not_there_says_its_name():
    found = output(
        """
        import cupy
        from cupy.cuda import runtime
        try:
            runtime.ipcGetMemHandle(cupy.zeros(3).data.ptr)
        except runtime.CUDARuntimeError as error:
            print(error)
        """
    )
    assert "cudaErrorNotSupported: operation not supported" in found
    assert "cudaIpcGetMemHandle is not in the stand-in for the CUDA driver" in found


def test_unknown_functions_by_name():
    function = ctypes.c_void_p()
    status = DRIVER.cuGetProcAddress_v2(
        b"cuUnheardOf", ctypes.byref(function), 12000, ctypes.c_uint64(0), None
    )
    assert status == 0
    fakecuda.messages()
    assert ctypes.CFUNCTYPE(ctypes.c_int)(function.value)() == 801
    assert fakecuda.messages() == "cuUnheardOf is not in the stand-in for the CUDA driver"
    DRIVER.cuGetProcAddress_v2(
        b"cuMemAlloc", ctypes.byref(function), 12000, ctypes.c_uint64(0), None
    )
    known = ctypes.cast(DRIVER.cuMemAlloc_v2, ctypes.c_void_p)
    assert function.value == known.value


@eager
@pytest.mark.parametrize("magic", [b"\x7fELF", b"\x50\xed\x55\xba"])
def test_machine_code_is_refused_for_good(magic):
    found = output(
        f"""
        import cupy
        from cupy.cuda import runtime
        x = cupy.zeros(3)
        for call in (lambda: cupy.cuda.function.Module().load({magic + bytes(60)!r}),
                     runtime.deviceSynchronize):
            try:
                call()
            except Exception as error:
                print(error)
        """
    )
    assert "CUDA_ERROR_NOT_SUPPORTED: operation not supported" in found
    assert "can't run here: the stand-in interprets PTX, and holds no GPU" in found
    assert "cudaErrorNotSupported: operation not supported" in found


@eager
def test_cupys_precompiled_kernels_are_refused_for_good():
    found = run(
        """
        import cupy
        print(cupy.random.default_rng(0).random(3))
        cupy.cuda.runtime.deviceSynchronize()
        """
    )
    assert found.returncode != 0
    assert "machine code for GPUs in _generator_api" in found.stdout


# ---------------------------------------------------------------- counters and settings


def test_counters(memory):
    x = cupy.arange(4, dtype=cupy.float32)
    host = np.zeros(4, np.float32)
    kernels.add_to(x.data.ptr, 1, 4)
    with fakecuda.count() as counts:
        for _ in range(3):
            kernels.add_to(x.data.ptr, 1, 4)
        kernels.add_to(x.data.ptr, 2, 4, kernels.multiply)
        runtime.memcpy(x.data.ptr, host.ctypes.data, 16, COPY["HtoD"])
        runtime.memcpyAsync(host.ctypes.data, x.data.ptr, 16, COPY["DtoH"], 0)
        runtime.memcpy(x.data.ptr, x.data.ptr + 8, 8, COPY["DtoD"])
        runtime.memsetAsync(x.data.ptr, 0, 12, 0)
        runtime.deviceSynchronize()
        memory(100)
        memory(50)
        runtime.free(runtime.malloc(1))
    assert counts.launches == {"add": 3, "multiply": 1}
    assert counts.copies == {"HtoD": (1, 16), "DtoH": (1, 16), "DtoD": (1, 8), "fill": (1, 12)}
    assert counts.waits == {
        "cudaMemcpy": 1, "cudaMemcpyAsync": 1, "cudaDeviceSynchronize": 1, "cudaFree": 1
    }  # fmt: skip
    assert counts.allocations == (3, 151)
    assert (counts.total_launches, counts.total_copies, counts.total_waits) == (4, 4, 4)


def test_idle_drops_launches_and_counts_them():
    x = cupy.zeros(4, cupy.float32)
    with fakecuda.count() as counts, fakecuda.idle():
        kernels.add_to(x.data.ptr, 1, 4)
        runtime.memsetAsync(x.data.ptr + 8, 0, 8, 0)
    assert (counts.launches, counts.copies) == ({"add": 1}, {"fill": (1, 8)})
    assert x.get().tolist() == [0, 0, 0, 0]


@eager
def test_a_log_of_what_was_asked():
    found = output(
        """
        import cupy
        cupy.arange(3).get()
        """,
        FAKECUDA_LOG="1",
    )
    assert "[fakecuda] launch cupy_arange" in found
    assert "[fakecuda] a copy of 24 bytes DtoH" in found


@eager
def test_no_device():
    found = run("import cupy; print(cupy.cuda.runtime.getDeviceCount())", FAKECUDA_DEVICES="0")
    assert "cudaErrorNoDevice: no CUDA-capable device is detected" in found.stdout


@eager
def test_an_old_driver():
    found = run("import cupy; cupy.zeros(3)", FAKECUDA_DRIVER_VERSION="11080")
    assert "cudaErrorInsufficientDriver: CUDA driver version is insufficient" in found.stdout
    found = run("import cupy; print(cupy.arange(3).sum())", FAKECUDA_DRIVER_VERSION="12010")
    assert "CUDA_ERROR_UNSUPPORTED_PTX_VERSION" in found.stdout
    assert "the driver takes 8.1 at most" in found.stdout


@eager
def test_a_child_of_a_process_that_used_cuda():
    found = output(
        """
        import os, warnings
        import cupy
        warnings.simplefilter("ignore")
        cupy.zeros(3)
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            try:
                cupy.cuda.runtime.malloc(16)
            except Exception as error:
                print(error, flush=True)
            os._exit(0)
        """
    )
    assert "cudaErrorInitializationError: initialization error" in found
    assert "CUDA was initialised before this process forked" in found


def test_names_of_errors():
    for status, name in ((1, "cudaErrorInvalidValue: invalid argument"), (700, "cudaErrorIllegal")):
        assert name in str(runtime.CUDARuntimeError(status))
    assert "unrecognized error code" in str(runtime.CUDARuntimeError(12345))


def test_the_last_error_is_cleared_when_it_is_read():
    assert DRIVER.cudaMalloc(None, ctypes.c_size_t(4)) == 1
    assert DRIVER.cudaPeekAtLastError() == 1
    assert DRIVER.cudaGetLastError() == 1
    assert DRIVER.cudaGetLastError() == 0
    fakecuda.messages()


def test_a_context_of_ones_own():
    current = driver.ctxGetCurrent()
    context = driver.ctxCreate(0)
    assert driver.ctxGetCurrent() == context != current
    driver.ctxDestroy(context)
    assert driver.ctxGetCurrent() == current
