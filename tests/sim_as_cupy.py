"""A package named cupy made of the simulated device, so that the device "cuda" runs on any machine.

`fake_cupy.py` imitates CuPy's failures for the probe; this imitates its arrays: the sources of
`gpugrad.backend.sim` under the name cupy, with what gpugrad asks of CuPy beside array functions.
It is a module of its own with array types of its own, so "cuda" and "sim" stay two devices.
What it cannot run are kernels: `GPUGRAD_FUSION=0` goes with it.
"""

import os
from pathlib import Path

import gpugrad.backend.sim as sim

# What is beside the array functions: two memory pools that count nothing, events, one device.
INIT = '''
__version__ = "{version}"


class _Pool:
    def used_bytes(self):
        return 0

    total_bytes = used_bytes
    malloc = free_all_blocks = lambda self, *size: None


_pool = _Pool()


def get_default_memory_pool():
    return _pool


get_default_pinned_memory_pool = get_default_memory_pool


def is_available():
    return True


class _core:
    class _routines_linalg:
        get_compute_type = staticmethod(lambda dtype: 0)
        compute_type_to_str = staticmethod(lambda kind: "COMPUTE_TYPE_DEFAULT")


class ElementwiseKernel:
    """Of all kernels, that of the random numbers alone."""

    def __init__(self, inputs, outputs, body, name="kernel", **options):
        self.name = name

    def __call__(self, key, start, high, words, size):
        if self.name != "gpugrad_philox4x32_10":
            raise NotImplementedError(self.name)
        from gpugrad.random import philox

        index = numpy.arange(size, dtype=numpy.uint64)
        parts = [numpy.empty(size, dtype=numpy.uint64) for _ in range(4)]
        counter = int(start) | int(high) << 64
        philox._evaluate(numpy, int(key), counter, index, parts, words._data)


from cupy import cuda, fft, linalg  # cupy.cuda.Device is asked for without an import
'''
CUDA = """
import time as _time

from fake_cublas import HANDLE, Cublas


class Event:
    done = True  # what was given to a stream is done at once

    def __init__(self, block=False, disable_timing=False):
        pass

    def record(self, stream=None):
        self.time = _time.perf_counter()

    def synchronize(self):
        on_sync("Event.synchronize")


Stream.wait_event = lambda self, event: None


def get_elapsed_time(start, end):
    return 1e3 * (end.time - start.time)


class device:
    get_device_id = staticmethod(lambda: Device().id)
    get_cublas_handle = staticmethod(lambda: HANDLE)


cublas = Cublas()


_allocator = None


def get_allocator():
    return _allocator


def set_allocator(allocator):
    global _allocator
    _allocator = allocator


runtime.driverGetVersion = runtime.runtimeGetVersion = staticmethod(lambda: 13000)
runtime.memGetInfo = staticmethod(lambda: (6 << 30, 8 << 30))
runtime.getDeviceProperties = staticmethod(
    lambda index: {"name": b"sim", "major": 9, "minor": 0, "totalGlobalMem": 8 << 30}
)
"""
PINNED = """
import numpy


def empty_pinned(shape, dtype=float, order="C"):
    return numpy.empty(shape, dtype, order)
"""
TRIANGULAR = """
import cupy
import numpy
import scipy.linalg


def solve_triangular(a, b, lower=False, unit_diagonal=False):
    words = {"lower": lower, "unit_diagonal": unit_diagonal, "check_finite": False}
    try:
        return cupy.asarray(scipy.linalg.solve_triangular(a._data, b._data, **words))
    except numpy.linalg.LinAlgError:
        return cupy.asarray(numpy.full_like(b._data, numpy.nan))
"""


def write(folder: Path) -> dict[str, str]:
    """Write the package into a folder; returns an environment in which it is found."""
    package, extra = folder / "cupy", folder / "cupyx" / "scipy"
    package.mkdir(parents=True)
    extra.mkdir(parents=True)
    for source in Path(sim.__file__).parent.glob("*.py"):
        text = source.read_text(encoding="utf-8").replace("gpugrad.backend.sim", "cupy")
        text = text.replace("DEVICE_COUNT = 8", "DEVICE_COUNT = 1")
        if source.name == "__init__.py":
            assert "\nregister(\n" in text  # cuda.register_arrays does that
            text = text.partition("\nregister(\n")[0] + INIT
            text = text.replace("{version}", sim.signatures.CUPY_VERSION)
        elif source.name == "cuda.py":
            text = text.partition("\ndef __getattr__")[0] + CUDA
        (package / source.name).write_text(text, encoding="utf-8")
    (extra.parent / "__init__.py").write_text(PINNED, encoding="utf-8")
    (extra / "__init__.py").write_text("", encoding="utf-8")
    (extra / "linalg.py").write_text(TRIANGULAR, encoding="utf-8")
    (package / "scipy_special.py").rename(extra / "special.py")
    tests = Path(__file__).resolve().parent
    path = os.pathsep.join([str(folder), str(tests), str(tests.parent)])
    return os.environ | {"PYTHONPATH": path, "GPUGRAD_FUSION": "0", "GPUGRAD_TEST_DEVICES": "cuda"}
