"""A package named cupy made of the simulated device, so that the device "cuda" runs on any machine.

    python tests/sim_as_cupy.py ci/gpu examples    # any command, with that package

`fake_cupy.py` imitates CuPy's failures for the probe; this imitates its arrays: the sources of
`gpugrad.backend.sim` under the name cupy, with what gpugrad asks of CuPy beside array functions.
It is a module of its own with array types of its own, so "cuda" and "sim" stay two devices.
Its kernels are compiled for the host (`cupy_kernels.py`).
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from host_math import for_the_host

import gpugrad.backend.sim as sim

# What is beside the array functions: pools, the inside that gpugrad asks for, kernels.
INIT = """
__version__ = "{version}"


def get_default_memory_pool():
    return cuda.memory.pool


def get_default_pinned_memory_pool():
    return cuda.memory.pinned


def is_available():
    return True


# cupy.cuda.Device is asked for without an import, and the kernels ask for ndarray.
from cupy import _core, cuda, fft, linalg, rounding
from cupy_kernels import ElementwiseKernel, RawKernel, RawModule
"""
CORE = """
class _routines_linalg:
    get_compute_type = staticmethod(lambda dtype: 0)
    compute_type_to_str = staticmethod({0: "COMPUTE_TYPE_DEFAULT", 7: "COMPUTE_TYPE_TF32"}.get)
"""
# Streams do at once what they are given, but for what stands behind the kernel of `held.py`:
# that is done when something has waited for it.
CUDA = """
import time as _time

from cupy import memory
from cupy.device import sync_callbacks
from fake_cublas import HANDLE, Cublas

_held = set()  # streams
_entered = [Stream.null]


def _enter(stream):
    _entered.append(stream)
    return stream


Stream.__enter__ = _enter
Stream.__exit__ = lambda self, *exception: _entered.remove(self)


def get_current_stream():
    return _entered[-1]


def hold():
    _held.add(get_current_stream())


def _waited(kind, stream=None):
    if kind not in ("host to device", "index from host", "Stream.synchronize"):
        if kind == "Device.synchronize" or get_current_stream() in _held:
            _held.clear()


def _synchronize(self):
    if self in _held:
        _held.clear()
    on_sync("Stream.synchronize")


Stream.synchronize = _synchronize
sync_callbacks.append(_waited)


class Event:
    _behind = None

    def __init__(self, block=False, disable_timing=False):
        pass

    def record(self, stream=None):
        stream = stream or get_current_stream()
        self._behind = stream if stream in _held else None
        self.time = _time.perf_counter()

    done = property(lambda self: self._behind not in _held)

    def synchronize(self):
        if not self.done:
            _held.clear()
        on_sync("Event.synchronize")


def _wait_event(self, event):
    if not event.done:
        _held.add(self)


Stream.wait_event = _wait_event


def get_elapsed_time(start, end):
    return 1e3 * (end.time - start.time)


class device:
    get_device_id = staticmethod(lambda: Device().id)
    get_cublas_handle = staticmethod(lambda: HANDLE)


cublas = Cublas()
alloc, get_allocator, set_allocator = memory.alloc, memory.get_allocator, memory.set_allocator
runtime.driverGetVersion = runtime.runtimeGetVersion = staticmethod(lambda: 13000)
runtime.streamSynchronize = staticmethod(lambda stream: on_sync("streamSynchronize"))
runtime.memGetInfo = staticmethod(lambda: ((8 << 30) - memory.pool.total_bytes(), 8 << 30))
runtime.getDeviceProperties = staticmethod(
    lambda index: {"name": b"sim", "major": 9, "minor": 0, "totalGlobalMem": 8 << 30}
)
runtime.CUDA_R_32F, runtime.CUDA_R_64F, runtime.CUDA_R_16F = 0, 1, 2
runtime.CUDA_C_32F, runtime.CUDA_C_64F = 4, 5
"""
# A pool that counts: an array's memory is NumPy's, and lives as long as a block of the pool's.
MEMORY = """
import weakref

import numpy


class OutOfMemoryError(MemoryError):
    def __init__(self, size, total, limit):
        super().__init__(
            f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes, "
            f"limit set to: {limit:,} bytes)."
        )


OutOfMemoryError.__module__ = "cupy.cuda.memory"


class MemoryPool:
    def __init__(self):
        self._used = self._total = self._limit = 0

    def malloc(self, size):
        need = self._used + -(-size // 512) * 512
        if need > self._total:
            if 0 < self._limit < need:
                raise OutOfMemoryError(size, self._total, self._limit)
            self._total = need
        return Block(self, need - self._used)

    def used_bytes(self):
        return self._used

    def total_bytes(self):
        return self._total

    def free_all_blocks(self):
        self._total = self._used

    def set_limit(self, size=None, fraction=None):
        self._limit = size


class Block:
    def __init__(self, pool, size):
        self.pool, self.size = pool, size
        pool._used += size

    def __del__(self):
        self.pool._used -= self.size


pool, pinned = MemoryPool(), MemoryPool()
_allocator = pool.malloc
_living = {}


def get_allocator():
    return _allocator


def set_allocator(allocator=None):
    global _allocator
    _allocator = allocator or pool.malloc


def alloc(size):
    return _allocator(size)


def count(data):
    while isinstance(data.base, numpy.ndarray):
        data = data.base
    key = id(data)
    if key not in _living:
        _living[key] = alloc(data.nbytes)
        weakref.finalize(data, _living.pop, key).atexit = False
    return data
"""
# A GPU's numbers, with GPUGRAD_GPU_ROUNDING=1: what its library and its order of summing may round
# otherwise than NumPy comes out one unit in the last place off, but for numbers of few bits.
ROUNDING = """
import os

import numpy

ON = os.environ.get("GPUGRAD_GPU_ROUNDING") == "1"
NAMES = frozenset(
    (
        "exp exp2 expm1 log log10 log1p log2 sin cos tan arcsin arccos arctan arctan2 sinh cosh "
        "tanh arcsinh arccosh arctanh cbrt hypot power float_power logaddexp logaddexp2 sinc i0 "
        "sum mean prod cumsum cumprod nansum nanmean nanprod var std nanvar nanstd average "
        "dot matmul tensordot einsum inner vdot trapezoid convolve correlate interp polyval "
        "cholesky det eigh eigvalsh inv lstsq norm pinv qr slogdet solve svd eig eigvals "
        "fft fft2 fftn ifft ifft2 ifftn rfft rfft2 rfftn irfft irfft2 irfftn hfft ihfft"
    ).split()
)
BITS = {"f": (numpy.uint32, 10), "d": (numpy.uint64, 30)}


def rounded(name, result):
    if not ON or name not in NAMES:
        return result
    if isinstance(result, tuple):
        parts = [rounded(name, part) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    if isinstance(result, numpy.generic):
        return rounded(name, numpy.array(result))[()]
    if isinstance(result, numpy.ndarray) and result.dtype.kind == "c":
        for part in (result.real, result.imag):
            rounded(name, part)
    elif isinstance(result, numpy.ndarray) and result.dtype.char in BITS:
        kind, low = BITS[result.dtype.char]
        bits = result.view(kind)
        moved = numpy.isfinite(result) & (bits & kind((1 << low) - 1) != 0)
        up = (bits * kind(2654435761)) >> kind(12) & kind(1)
        numpy.copyto(bits, numpy.where(up, bits + kind(1), bits - kind(1)), where=moved)
    return result
"""
PINNED = """
import numpy


def empty_pinned(shape, dtype=float, order="C"):
    return numpy.empty(shape, dtype, order)
"""
TRIANGULAR = """
import numpy
import scipy.linalg
from cupy.core import wrap


def solve_triangular(a, b, lower=False, unit_diagonal=False):
    words = {"lower": lower, "unit_diagonal": unit_diagonal, "check_finite": False}
    try:
        found = scipy.linalg.solve_triangular(a._data, b._data, **words)
    except numpy.linalg.LinAlgError:
        found = numpy.full_like(b._data, numpy.nan)
    return wrap(found, a._device)
"""


# The device code of special functions, where CuPy's own ufuncs have it.
SPECIAL = """
import json as _json
from pathlib import Path as _Path
from types import SimpleNamespace as _Space

_code = _json.loads(_Path(__file__).with_name("special.json").read_text())


class ufunc(ufunc):
    def __init__(self, name, *args):
        super().__init__(name, *args)
        helpers, before, loops = _code.get(name, ("", "", []))
        words = ("in_types", "out_types", "routine")
        self._preamble, self._loop_prep = helpers, before
        self._ops = _Space(ops=[_Space(**dict(zip(words, loop))) for loop in loops])
"""


def device_code() -> dict[str, Any]:
    """Of CuPy's special functions, by name: helpers, what is ahead of the loop, and the loops."""
    try:
        special = importlib.import_module("cupyx.scipy.special")
    except ImportError:
        return {}
    return {
        name: (for_the_host(f._preamble), f._loop_prep, [_loop(loop) for loop in f._ops.ops])
        for name, f in vars(special).items()
        if hasattr(f, "_ops")
    }


def _loop(loop: Any) -> tuple[list[str], list[str], str]:
    return [t.name for t in loop.in_types], [t.name for t in loop.out_types], loop.routine


# Where the results of NumPy pass.
IMPORT = "from cupy.rounding import rounded"
PASSES = {
    "binding.py": [("wrap(result, place, seen)", "wrap(rounded(name, result), place, seen)")],
    "ufunc.py": [
        (
            "wrap(self._run(*inputs), device)",
            "wrap(rounded(self._public, self._run(*inputs)), device)",
        ),
        (
            "            result = self._compute(inputs, given, options)\n",
            "            result = rounded(self._public, self._compute(inputs, given, options))\n",
        ),
    ],
}


def write(folder: Path) -> dict[str, str]:
    """Write the package into a folder; returns an environment in which it is found.

    GPUGRAD_HOST_CACHE names a folder that keeps its compiled kernels, GPUGRAD_FUSION=0 goes without
    most of them: each takes a fifth of a second.
    """
    package, extra = folder / "cupy", folder / "cupyx" / "scipy"
    package.mkdir(parents=True)
    extra.mkdir(parents=True)
    for source in Path(sim.__file__).parent.glob("*.py"):
        text = source.read_text(encoding="utf-8").replace("gpugrad.backend.sim", "cupy")
        text = text.replace("DEVICE_COUNT = 8", "DEVICE_COUNT = 1")
        if source.name == "core.py":
            text = text.replace("\nimport numpy\n", "\nimport cupy.memory\nimport numpy\n")
            made = ("        array._data = value\n", "        self._device = current_id()\n")
            for line, name in zip(made, ("value", "self._data"), strict=True):
                assert text.count(line) == 1
                text = text.replace(line, f"{line}        cupy.memory.count({name})\n")
        elif source.name in PASSES:
            text = text.replace(
                "\nimport numpy\n", "\nimport numpy\nfrom cupy.rounding import rounded\n"
            )
            for line, other in PASSES[source.name]:
                assert text.count(line) == 1
                text = text.replace(line, other)
        elif source.name == "__init__.py":
            assert "\nregister(\n" in text  # cuda.register_arrays does that
            text = text.partition("\nregister(\n")[0] + INIT
            text = text.replace("{version}", sim.signatures.CUPY_VERSION)
        elif source.name == "cuda.py":
            text = text.partition("\ndef __getattr__")[0] + CUDA
        (package / source.name).write_text(text, encoding="utf-8")
    (package / "_core.py").write_text(CORE, encoding="utf-8")
    (package / "rounding.py").write_text(ROUNDING, encoding="utf-8")
    (package / "memory.py").write_text(MEMORY, encoding="utf-8")
    (extra.parent / "__init__.py").write_text(PINNED, encoding="utf-8")
    (extra / "__init__.py").write_text("", encoding="utf-8")
    (extra / "linalg.py").write_text(TRIANGULAR, encoding="utf-8")
    text = (package / "scipy_special.py").read_text(encoding="utf-8")
    (extra / "special.py").write_text(text.replace("\n_made:", f"{SPECIAL}\n_made:"), "utf-8")
    (extra / "special.json").write_text(json.dumps(device_code()), encoding="utf-8")
    tests = Path(__file__).resolve().parent
    path = os.pathsep.join([str(folder), str(tests), str(tests.parent)])
    return os.environ | {"PYTHONPATH": path, "GPUGRAD_TEST_DEVICES": "cuda"}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        sys.exit(subprocess.run(sys.argv[1:], env=write(Path(made)), check=False).returncode)
