"""The CUDA probe: its causes told apart, once per process; and gg.cuda's functions."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import fake_cupy
import numpy
import pytest
from fake_cupy import CUDARuntimeError, DynamicLibNotFoundError, OutOfMemoryError

from gpugrad.backend import cuda, namespace, probe
from gpugrad.errors import DeviceError

TESTS = Path(__file__).parent
pytestmark = pytest.mark.usefixtures("fresh_cuda")


def run_python(code, **environment):
    """The standard output of a fresh Python that has gpugrad and the tests on its path."""
    kept = {name: value for name, value in os.environ.items() if name != "GPUGRAD_DEVICE"}
    env = kept | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"} | environment
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def install(monkeypatch):
    """A function that makes a fake the installed CuPy, with given distributions."""

    def install(distributions=("cupy-cuda12x",), **faults):
        fake = fake_cupy.make(**faults)
        monkeypatch.setitem(sys.modules, "cupy", fake)
        monkeypatch.setattr(probe, "distributions", lambda: dict.fromkeys(distributions, "14.2.0"))
        cuda.reset()
        return fake

    return install


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


def test_the_probe_runs_once_even_from_many_threads(install):
    fake = install()
    count = fake.cuda.runtime.getDeviceCount
    fake.cuda.runtime.getDeviceCount = lambda: [time.sleep(0.05), count()][1]
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
    assert fake.calls.count == 1
    assert all(each is found[0] for each in found)


def test_a_failure_is_kept_until_reset(install):
    install(count=CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected"))
    before = cuda.why_unavailable()
    sys.modules["cupy"].cuda.runtime.getDeviceCount = lambda: 1
    assert cuda.why_unavailable() == before
    cuda.reset()
    assert cuda.why_unavailable() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_probes_again():
    code = """
import os, sys, fake_cupy
fake = sys.modules["cupy"] = fake_cupy.make()
from gpugrad.backend import cuda
assert cuda.is_available() and cuda.is_available() and fake.calls.count == 1
fake.cuda.runtime.getDeviceCount = lambda: 1 / 0
child = os.fork()
if child == 0:
    os._exit(7 if "ZeroDivisionError" in cuda.why_unavailable() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), cuda.is_available())
"""
    assert run_python(code) == ["7", "True"]


# ---------------------------------------------------------------- causes


def test_all_steps_where_cuda_works(install):
    install(devices=2)
    found = cuda.probe()
    assert [step.name for step in found.steps] == [
        "import cupy",
        "driver",
        "allocation",
        "elementwise kernel",
        "matmul",
    ]
    assert all(step.ok and step.detail and not step.fix for step in found.steps)
    assert found.steps[1].detail == "driver for CUDA 12.8, 2 devices"
    assert found.ok
    assert found.reason is None
    assert cuda.is_available()
    assert cuda.why_unavailable() is None
    assert cuda.device_count() == 2


NVRTC = DynamicLibNotFoundError('Failure finding "libnvrtc.so.12": No such file: libnvrtc.so.12')
CUBLAS = ImportError("libcublas.so.12: cannot open shared object file: No such file or directory")
HEADER = RuntimeError('catastrophic error: cannot open source file "cuda_fp16.h"')

CAUSES = {
    "driver too old": (
        {"driver": 11040, "count": CUDARuntimeError("cudaErrorInsufficientDriver: too low")},
        "driver",
        ["driver is too old", "serves CUDA 11.4", "built for 12.9", "Update the driver"],
    ),
    "no driver": (
        {"driver": 0, "count": CUDARuntimeError("cudaErrorInsufficientDriver: too low")},
        "driver",
        ["no NVIDIA driver", "cudaErrorInsufficientDriver", "Install the driver"],
    ),
    "no device": (
        {"count": CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")},
        "driver",
        ["shows no CUDA device", "nvidia-smi"],
    ),
    "count of zero": ({"devices": 0}, "driver", ["shows no CUDA device", "nvidia-smi"]),
    "forked": (
        {"count": CUDARuntimeError("cudaErrorInitializationError: initialization error")},
        "driver",
        ["does not start in this process", 'set_start_method("spawn")'],
    ),
    "full, said by the pool": (
        {"allocation": OutOfMemoryError("Out of memory allocating 512 bytes")},
        "allocation",
        ["out of memory", "512 bytes", "nvidia-smi"],
    ),
    "full, said by the driver": (
        {"allocation": CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")},
        "allocation",
        ["out of memory", "nvidia-smi"],
    ),
    "full, said by cuBLAS": (
        {"matmul": RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")},
        "matmul",
        ["out of memory", "nvidia-smi"],
    ),
    "no NVRTC": (
        {"kernel": NVRTC},
        "elementwise kernel",
        ["NVRTC", "libnvrtc.so.12", 'pip install "cupy-cuda12x[ctk]"'],
    ),
    "no headers": (
        {"kernel": HEADER},
        "elementwise kernel",
        ["cuda_fp16.h", 'pip install "cupy-cuda12x[ctk]"'],
    ),
    "no cuBLAS": (
        {"matmul": CUBLAS},
        "matmul",
        ["cuBLAS", "libcublas.so.12", 'pip install "cupy-cuda12x[ctk]"'],
    ),
    "another library": (
        {"kernel": ImportError("libcudart.so.12: cannot open shared object file")},
        "elementwise kernel",
        ["a CUDA library is missing", "libcudart", "[ctk]"],
    ),
    "CuPy for CUDA 13": (
        {"kernel": NVRTC, "distributions": ["cupy-cuda13x"]},
        "elementwise kernel",
        ['pip install "cupy-cuda13x[ctk]"'],
    ),
    "built from source": (
        {"kernel": NVRTC, "distributions": ["cupy"]},
        "elementwise kernel",
        ['pip install "cupy-cuda12x[ctk]"'],
    ),
    "wrong numbers": (
        {"off": 1},
        "elementwise kernel",
        ["wrong numbers", "expected [1, 3, 5, 7], got [2.0, 4.0, 6.0, 8.0]", "show_config"],
    ),
    "anything else": (
        {"matmul": ValueError("the moon is\n in the seventh house")},
        "matmul",
        ["matmul step failed: ValueError: the moon is in the seventh house", "show_config"],
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_is_named_with_what_mends_it(install, cause):
    faults, step, words = CAUSES[cause]
    install(**faults)
    found = cuda.probe()
    assert found.steps[-1].name == step
    assert [each.ok for each in found.steps] == [True] * (len(found.steps) - 1) + [False]
    reason = cuda.why_unavailable()
    assert [word for word in words if word not in reason] == []
    assert "\n" not in reason
    assert not cuda.is_available()
    assert cuda.device_count() == 0


def test_hidden_devices_are_named(install, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    install(devices=0)
    assert "CUDA_VISIBLE_DEVICES is '7'" in cuda.why_unavailable()
    assert "Unset CUDA_VISIBLE_DEVICES" in cuda.why_unavailable()


def test_no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    reason = cuda.why_unavailable()
    assert reason.startswith("CuPy is not installed. Install it: ")
    assert 'pip install "gpugrad[cuda12]"' in reason
    assert '"gpugrad[cuda13]"' in reason


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


def test_requiring_cuda_raises_with_the_reason(install):
    install(kernel=NVRTC)
    with pytest.raises(DeviceError, match=r"^cuda:1: CUDA does not work here: .*NVRTC.*\[ctk\]"):
        cuda.require(1)
    with pytest.raises(DeviceError, match=r"^cuda: CUDA does not work here"):
        cuda.require()


@pytest.mark.parametrize(
    ("devices", "words"),
    [(1, "1 CUDA device: cuda:0"), (2, "2 CUDA devices: cuda:0, cuda:1")],
)
def test_an_index_out_of_range_names_what_there_is(install, devices, words):
    install(devices=devices)
    cuda.require(devices - 1)
    with pytest.raises(DeviceError, match=rf"^cuda:7: this machine has {words}$"):
        cuda.require(7)


# ---------------------------------------------------------------- gg.cuda's functions


def test_memory_and_synchronize_ask_the_device_that_is_named(install):
    fake = install(devices=2)
    assert cuda.memory_stats() == {
        "used": 100,
        "peak": 100,
        "reserved": 512,
        "free": 6 << 30,
        "total": 8 << 30,
    }
    assert cuda.memory_stats(1)["used"] == cuda.memory_stats("cuda:1")["used"] == 101
    cuda.synchronize()
    cuda.synchronize("cuda:1")
    cuda.synchronize(1)
    assert fake.calls.synchronized == [0, 1, 1]
    assert cuda.current_device() == 0
    cuda.empty_cache()
    assert fake.calls.emptied == 2


def test_what_is_not_a_cuda_device_is_refused(install):
    install()
    with pytest.raises(DeviceError, match=r"expected a CUDA device, such as .* got 'cpu'"):
        cuda.synchronize("cpu")
    with pytest.raises(DeviceError, match="cuda:3: this machine has 1 CUDA device"):
        cuda.memory_stats(3)


@pytest.mark.parametrize(
    "ask", [cuda.synchronize, cuda.memory_stats, cuda.empty_cache, cuda.current_device]
)
def test_without_cuda_they_raise_with_the_reason(install, ask):
    install(devices=0)
    with pytest.raises(DeviceError, match="CUDA does not work here: the driver shows no CUDA"):
        ask()


# ---------------------------------------------------------------- CuPy's arrays


def test_cupy_arrays_are_registered_when_one_arrives(install):
    fake = install()
    x = fake.asarray(numpy.ones(2))
    found = namespace.namespace_of(x)
    assert found.module is fake
    assert found.zeros is fake.zeros


def test_numpy_arrays_beside_cupy_arrays_are_refused(install):
    fake = install()
    x = fake.asarray(numpy.ones(2))
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


def test_operands_on_two_gpus_or_on_another_than_the_current_are_refused(install):
    fake = install(devices=2)
    x = fake.asarray(numpy.ones(2))
    with fake.cuda.Device(1):
        y = fake.asarray(numpy.ones(2))
    checks = namespace.namespace_of(x).checks
    checks("mul", (x, x))
    with pytest.raises(DeviceError, match=r"^mul: .* on two devices, cuda:0 and cuda:1\."):
        checks("mul", (x, y))
    with pytest.raises(
        DeviceError, match=r'^exp: the operands are on cuda:1, .*device\("cuda:1"\):'
    ):
        checks("exp", (y,))
    with fake.cuda.Device(1):
        checks("exp", (y,))
    with pytest.raises(DeviceError, match="cuda:1 and cpu"):
        checks("mul", (y, numpy.ones(2)))


def test_the_real_wheel_registers_without_a_gpu():
    cupy = pytest.importorskip("cupy")
    cuda.register_arrays()
    assert namespace.NAMESPACES[cupy.ndarray].sort is cupy.sort
