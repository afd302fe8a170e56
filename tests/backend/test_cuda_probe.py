"""The CUDA probe: its causes told apart, once per process; and gg.cuda's functions."""

import os
import re
import sys
import threading
import time
from types import SimpleNamespace

import numpy
import pytest
from cuda_errors import CUDARuntimeError, DynamicLibNotFoundError, OutOfMemoryError
from gpu import needs_gpu, needs_stand_in, needs_two_gpus
from processes import run_python

from gpugrad.backend import cuda, namespace, probe
from gpugrad.errors import DeviceError

pytestmark = pytest.mark.usefixtures("fresh_cuda")

# ---------------------------------------------------------------- lazy, once, kept


def test_nothing_imports_cupy_before_it_is_needed():
    code = """
import sys
import numpy
from gpugrad.backend import Device, cuda, default_device, device_of, to_numpy, xp
cpu = Device("cpu")
cpu.send(numpy.ones(2)), cpu.fetch(2.0), device_of(numpy.ones(2)), xp.zeros(3), default_device()
cpu.synchronize(), cpu == "cuda", cpu == "cuda:1"
print("cupy" in sys.modules)
cuda.why_unavailable()
print(cuda.probe().steps[0].ok == ("cupy" in sys.modules))
"""
    assert run_python(code) == ["False", "True"]


def test_the_probe_runs_once_even_from_many_threads(break_at, monkeypatch):
    asked = break_at(None)
    (first, attempt), *rest = probe._STEPS
    slow = (first, lambda state: [time.sleep(0.05), attempt(state)][1])
    monkeypatch.setattr(probe, "_STEPS", (slow, *rest))
    barrier = threading.Barrier(8)
    found = []

    def ask():
        barrier.wait()
        found.append(cuda.probe())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [name for name, _ in probe._STEPS]
    assert all(each is found[0] for each in found)


def test_a_failure_is_kept_until_reset(break_at, monkeypatch):
    break_at("driver", CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected"))
    before = cuda.why_unavailable()
    monkeypatch.setattr(probe, "_STEPS", probe._STEPS[:1])
    assert cuda.why_unavailable() == before
    cuda.reset()
    assert cuda.why_unavailable() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_probes_again():
    code = """
import os
from gpugrad.backend import cuda, probe
probe._STEPS = (("import cupy", lambda state: "it works"),)
assert cuda.is_available()
probe._STEPS = (("import cupy", lambda state: 1 / 0),)
assert cuda.is_available()
child = os.fork()
if child == 0:
    os._exit(7 if "ZeroDivisionError" in cuda.why_unavailable() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), cuda.is_available())
"""
    assert run_python(code) == ["7", "True"]


# ---------------------------------------------------------------- causes


@needs_gpu
def test_all_steps_where_cuda_works():
    found = cuda.probe()
    assert [step.name for step in found.steps] == [
        "import cupy",
        "driver",
        "allocation",
        "elementwise kernel",
        "matmul",
    ]
    assert all(step.ok and step.detail and not step.fix for step in found.steps)
    count = cuda.device_count()
    assert count > 0
    assert re.fullmatch(rf"driver for CUDA 1\d\.\d, {count} devices?", found.steps[1].detail)
    assert found.ok
    assert found.reason is None
    assert cuda.is_available()
    assert cuda.why_unavailable() is None


NVRTC = DynamicLibNotFoundError('Failure finding "libnvrtc.so.12": No such file: libnvrtc.so.12')

CUBLAS = ImportError("libcublas.so.12: cannot open shared object file: No such file or directory")

HEADER = RuntimeError('catastrophic error: cannot open source file "cuda_fp16.h"')

CAUSES = {
    "driver too old": (
        (CUDARuntimeError("cudaErrorInsufficientDriver: too low"), 11040),
        "driver",
        ["driver is too old", "serves CUDA 11.4", "built for 12.9", "Update the driver"],
    ),
    "no driver": (
        (CUDARuntimeError("cudaErrorInsufficientDriver: too low"), 0),
        "driver",
        ["no NVIDIA driver", "cudaErrorInsufficientDriver", "Install the driver"],
    ),
    "no device": (
        (CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected"),),
        "driver",
        ["shows no CUDA device", "nvidia-smi"],
    ),
    "forked": (
        (CUDARuntimeError("cudaErrorInitializationError: initialization error"),),
        "driver",
        ["does not start in this process", 'set_start_method("spawn")'],
    ),
    "full, said by the pool": (
        (OutOfMemoryError("Out of memory allocating 512 bytes"),),
        "allocation",
        ["out of memory", "512 bytes", "nvidia-smi"],
    ),
    "full, said by the driver": (
        (CUDARuntimeError("cudaErrorMemoryAllocation: out of memory"),),
        "allocation",
        ["out of memory", "nvidia-smi"],
    ),
    "full, said by cuBLAS": (
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"),),
        "matmul",
        ["out of memory", "nvidia-smi"],
    ),
    "no NVRTC": (
        (NVRTC,),
        "elementwise kernel",
        ["NVRTC", "libnvrtc.so.12", 'pip install "cupy-cuda12x[ctk]"'],
    ),
    "no headers": (
        (HEADER,),
        "elementwise kernel",
        ["cuda_fp16.h", 'pip install "cupy-cuda12x[ctk]"'],
    ),
    "no cuBLAS": (
        (CUBLAS,),
        "matmul",
        ["cuBLAS", "libcublas.so.12", 'pip install "cupy-cuda12x[ctk]"'],
    ),
    "another library": (
        (ImportError("libcudart.so.12: cannot open shared object file"),),
        "elementwise kernel",
        ["a CUDA library is missing", "libcudart", "[ctk]"],
    ),
    "CuPy for CUDA 13": (
        (NVRTC, 12080, ["cupy-cuda13x"]),
        "elementwise kernel",
        ['pip install "cupy-cuda13x[ctk]"'],
    ),
    "built from source": (
        (NVRTC, 12080, ["cupy"]),
        "elementwise kernel",
        ['pip install "cupy-cuda12x[ctk]"'],
    ),
    "wrong numbers": (
        (DeviceError("wrong numbers: expected [1, 3, 5, 7], got [2.0, 4.0, 6.0, 8.0]"),),
        "elementwise kernel",
        ["wrong numbers", "expected [1, 3, 5, 7], got [2.0, 4.0, 6.0, 8.0]", "show_config"],
    ),
    "anything else": (
        (ValueError("the moon is\n in the seventh house"),),
        "matmul",
        ["matmul step failed: ValueError: the moon is in the seventh house", "show_config"],
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_is_named_with_what_mends_it(break_at, cause):
    faults, step, words = CAUSES[cause]
    break_at(step, *faults)
    found = cuda.probe()
    assert found.steps[-1].name == step
    assert [each.ok for each in found.steps] == [True] * (len(found.steps) - 1) + [False]
    reason = cuda.why_unavailable()
    assert [word for word in words if word not in reason] == []
    assert "\n" not in reason
    assert not cuda.is_available()
    assert cuda.device_count() == 0


def test_a_driver_that_lists_no_device(monkeypatch):
    runtime = SimpleNamespace(getDeviceCount=lambda: 0)
    none = SimpleNamespace(__version__="14.2.0", cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(sys.modules, "cupy", none)
    assert "shows no CUDA device" in cuda.why_unavailable()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    cuda.reset()
    assert "CUDA_VISIBLE_DEVICES is '7'" in cuda.why_unavailable()
    assert "Unset CUDA_VISIBLE_DEVICES" in cuda.why_unavailable()


@needs_gpu
def test_wrong_numbers_are_noticed(monkeypatch):
    monkeypatch.setattr(numpy, "arange", lambda n, **_: numpy.full(n, 0.5, numpy.float32))
    assert "wrong numbers: expected [1, 3, 5, 7], got [2.0," in cuda.why_unavailable()


@needs_stand_in
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FAKECUDA_DEVICES", "0", "shows no CUDA device"),
        ("FAKECUDA_DRIVER_VERSION", "11000", "serves CUDA 11.0"),
    ],
)
def test_real_failures_of_cupy(name, value, words):
    code = "from gpugrad.backend import cuda; print(cuda.why_unavailable())"
    assert words in " ".join(run_python(code, **{name: value}))


def test_no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    reason = cuda.why_unavailable()
    assert reason.startswith("CuPy is not installed. Install it: ")
    assert 'pip install "cupy-cuda12x[ctk]>=14" "ml_dtypes>=0.5"' in reason
    assert "cuda13x" in reason


@pytest.fixture
def broken_cupy(tmp_path, monkeypatch):
    (tmp_path / "cupy.py").write_text('raise OSError("libfoo.so: bad ELF header")')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    cuda.reset()


@pytest.mark.usefixtures("broken_cupy")
def test_cupy_that_does_not_import(monkeypatch):
    monkeypatch.setattr(probe, "distributions", lambda: {"cupy-cuda12x": "14.2.0"})
    reason = cuda.why_unavailable()
    assert "CuPy is installed (cupy-cuda12x 14.2.0) but does not import" in reason
    assert "OSError: libfoo.so: bad ELF header" in reason
    assert "pip uninstall -y cupy-cuda12x, then pip install" in reason


@pytest.mark.usefixtures("broken_cupy")
def test_two_cupys_that_overwrote_each_other(monkeypatch):
    both = {"cupy-cuda12x": "14.2.0", "cupy-cuda13x": "14.2.0"}
    monkeypatch.setattr(probe, "distributions", lambda: both)
    assert "overwrite each other's files" in cuda.why_unavailable()
    assert "pip uninstall -y cupy-cuda12x cupy-cuda13x, then" in cuda.why_unavailable()


def test_a_module_that_cupy_lacks_is_not_taken_for_cupy(tmp_path, monkeypatch):
    (tmp_path / "cupy.py").write_text("import a_module_that_nobody_has")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    cuda.reset()
    assert "does not import: ModuleNotFoundError" in cuda.why_unavailable()


def test_the_real_wheel_reports_the_missing_driver():
    cupy = pytest.importorskip("cupy")
    if cuda.is_available():
        pytest.skip("this machine has a working GPU")
    if cupy.cuda.runtime.driverGetVersion() != 0:
        pytest.skip("this machine has a driver")
    assert "this machine has no NVIDIA driver" in cuda.why_unavailable()
    assert [step.ok for step in cuda.probe().steps] == [True, False]


def test_requiring_cuda_raises_with_the_reason(break_at):
    break_at("elementwise kernel", NVRTC)
    with pytest.raises(DeviceError, match=r"^cuda:1: CUDA does not work here: .*NVRTC.*\[ctk\]"):
        cuda.require(1)
    with pytest.raises(DeviceError, match=r"^cuda: CUDA does not work here"):
        cuda.require()


@pytest.mark.parametrize(
    ("devices", "words"),
    [(1, "1 CUDA device: cuda:0"), (2, "2 CUDA devices: cuda:0, cuda:1")],
)
def test_an_index_out_of_range_names_what_there_is(break_at, monkeypatch, devices, words):
    break_at(None)
    monkeypatch.setattr(cuda, "device_count", lambda: devices)
    cuda.require(devices - 1)
    with pytest.raises(DeviceError, match=rf"^cuda:7: this machine has {words}$"):
        cuda.require(7)


# ---------------------------------------------------------------- gg.cuda's functions


@needs_two_gpus
def test_memory_and_synchronize_ask_the_device_that_is_named(monkeypatch):
    import cupy

    with cupy.cuda.Device(1):
        held = cupy.empty(1 << 20, "i1")
    first, second = cuda.memory_stats(), cuda.memory_stats(1)
    assert second == cuda.memory_stats("cuda:1")
    assert second["used"] >= held.nbytes
    for stats in (first, second):
        assert 0 <= stats["used"] <= stats["peak"] <= stats["total"]
        assert stats["used"] <= stats["reserved"] <= stats["total"]
        assert 0 < stats["free"] <= stats["total"]
    waited = []
    monkeypatch.setattr(
        cupy.cuda.runtime, "deviceSynchronize", lambda: waited.append(cuda.current_device())
    )
    cuda.synchronize()
    cuda.synchronize("cuda:1")
    cuda.synchronize(1)
    assert waited == [0, 1, 1]
    assert cuda.current_device() == 0


@needs_gpu
def test_the_cache_is_given_back():
    import cupy

    del_me = cupy.empty(1 << 24, "i1")
    del del_me
    assert cuda.memory_stats()["reserved"] - cuda.memory_stats()["used"] >= 1 << 24
    cuda.empty_cache()
    assert cuda.memory_stats()["reserved"] - cuda.memory_stats()["used"] < 1 << 24


@needs_gpu
def test_what_is_not_a_cuda_device_is_refused():
    with pytest.raises(DeviceError, match=r"expected a CUDA device, such as .* got 'cpu'"):
        cuda.synchronize("cpu")
    with pytest.raises(DeviceError, match=r"cuda:9: this machine has \d CUDA device"):
        cuda.memory_stats(9)


@pytest.mark.parametrize(
    "ask", [cuda.synchronize, cuda.memory_stats, cuda.empty_cache, cuda.current_device]
)
def test_without_cuda_they_raise_with_the_reason(break_at, ask):
    break_at("driver", DeviceError("cudaErrorNoDevice: the driver lists 0 devices"))
    with pytest.raises(DeviceError, match="CUDA does not work here: the driver shows no CUDA"):
        ask()


# ---------------------------------------------------------------- CuPy's arrays


@needs_gpu
def test_numpy_arrays_beside_cupy_arrays_are_refused():
    import cupy

    x = cupy.ones(2)
    checks = namespace.namespace_of(x).checks
    checks("add", (x, x, numpy.float32(2), 3.0))
    words = (
        r"^add: the operands are on two devices, cuda:0 and cpu\. "
        r'Move one of them first, with \.to\("cuda:0"\) or \.cpu\(\)$'
    )
    with pytest.raises(DeviceError, match=words):
        checks("add", (x, numpy.ones(2)))
    with pytest.raises(DeviceError, match=r'two devices, cpu and cuda:0.*\.to\("cuda:0"\)'):
        checks("add", (numpy.ones(()), x))


@needs_two_gpus
def test_operands_on_two_gpus_or_on_another_than_the_current_are_refused():
    import cupy

    x = cupy.ones(2)
    with cupy.cuda.Device(1):
        y = cupy.ones(2)
    checks = namespace.namespace_of(x).checks
    checks("mul", (x, x))
    with pytest.raises(DeviceError, match=r"^mul: .* on two devices, cuda:0 and cuda:1\."):
        checks("mul", (x, y))
    with pytest.raises(
        DeviceError, match=r'^exp: the operands are on cuda:1, .*device\("cuda:1"\):'
    ):
        checks("exp", (y,))
    with cupy.cuda.Device(1):
        checks("exp", (y,))
    with pytest.raises(DeviceError, match="cuda:1 and cpu"):
        checks("mul", (y, numpy.ones(2)))


def test_the_real_wheel_registers_without_a_gpu():
    cupy = pytest.importorskip("cupy")
    cuda.register_arrays()
    assert namespace.NAMESPACES[cupy.ndarray].sort is cupy.sort
