"""CUDA through CuPy: whether it works here, and its memory. Imports memory, namespace and probe.

The public face is ``gpugrad.cuda``. CuPy is imported when it is first needed, never by
``import gpugrad``.
"""

import contextlib
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from gpugrad.backend import memory
from gpugrad.backend.namespace import LIBRARIES
from gpugrad.backend.probe import Probe, Step, probe, reset
from gpugrad.errors import DeviceError

__all__ = [
    "Probe",
    "Step",
    "current_device",
    "device_count",
    "empty_cache",
    "is_available",
    "memory_stats",
    "probe",
    "register_arrays",
    "reset",
    "reset_peak",
    "synchronize",
    "why_unavailable",
]


def is_available() -> bool:
    """True where CUDA works: CuPy imports, allocates, runs a kernel and multiplies matrices.

    >>> is_available() == (why_unavailable() is None)
    True
    """
    return probe().ok


def why_unavailable() -> str | None:
    """Why CUDA does not work, and the fix, in one line; None where it works.

    >>> reason = why_unavailable()
    >>> reason is None or reason.endswith(".")
    True
    """
    return probe().reason


def device_count() -> int:
    """The number of CUDA devices: 0 where CUDA does not work.

    >>> (device_count() > 0) == is_available()
    True
    """
    return int(_cupy().cuda.runtime.getDeviceCount()) if is_available() else 0


def current_device() -> int:
    """The index of CuPy's current device in this thread; DeviceError without CUDA.

    >>> current_device() if is_available() else 0
    0
    """
    cupy = sys.modules.get("cupy")
    if cupy is None or probe().reason is not None:
        require()
        cupy = _cupy()
    index: int = cupy.cuda.device.get_device_id()
    return index


def synchronize(device: Any = None) -> None:
    """Wait until all work queued on the device is done, for example before reading a clock.

    ``device`` is an index, a name such as "cuda:1", a Device, or None for the current
    one. DeviceError where CUDA does not work; ``Device.synchronize`` does nothing on a CPU.

    >>> if is_available():
    ...     synchronize()
    """
    with _on(device) as cupy:
        cupy.cuda.runtime.deviceSynchronize()


def memory_stats(device: Any = None) -> dict[str, int]:
    """The memory of a device, in bytes; ``device`` as for ``synchronize``.

    - ``used``: held by living arrays, from CuPy's default pool;
    - ``peak``: the maximum of ``used`` since `reset_peak`, or since the first call of either of the
      two functions: without a call nothing is counted;
    - ``reserved``: taken from the driver by that pool, ``used`` and its cache together;
    - ``total`` and ``free``: of the whole device, with other processes counted.

    Memory of another allocator (``cupy.cuda.set_allocator``) shows in ``free`` only. If one thread
    frees memory in the instant in which another allocates, ``peak`` may miss it.

    >>> if is_available():
    ...     assert memory_stats()["used"] <= memory_stats()["peak"] <= memory_stats()["total"]
    """
    with _on(device) as cupy:
        pool = cupy.get_default_memory_pool()
        free, total = cupy.cuda.runtime.memGetInfo()
        return {
            "used": int(pool.used_bytes()),
            "peak": memory.peak(cupy),
            "reserved": int(pool.total_bytes()),
            "free": int(free),
            "total": int(total),
        }


def reset_peak(device: Any = None) -> None:
    """Reset the ``peak`` of `memory_stats` to what is in use now.

    Counting puts a function in front of the allocator of CuPy's default pool, in all threads and
    for the rest of the process. It adds some tenths of a microsecond to an allocation. ``device``
    as for ``synchronize``.

    >>> if is_available():
    ...     reset_peak()
    """
    with _on(device) as cupy:
        memory.reset_peak(cupy)


def empty_cache() -> None:
    """Return unused memory of CuPy's pools, device and pinned memory, to the driver.

    Arrays in use stay. DeviceError where CUDA does not work.

    >>> if is_available():
    ...     empty_cache()
    """
    require()
    cupy = _cupy()
    cupy.get_default_memory_pool().free_all_blocks()
    cupy.get_default_pinned_memory_pool().free_all_blocks()


# ---------------------------------------------------------------- for gpugrad.backend.device


def require(index: int | None = None) -> None:
    """Raise DeviceError unless CUDA works and has the device ``index``, if one is given."""
    reason = probe().reason
    if reason is not None:
        asked = "cuda" if index is None else f"cuda:{index}"
        raise DeviceError(f"{asked}: CUDA does not work here: {reason}")
    if index is not None:
        count = device_count()
        if not 0 <= index < count:
            names = ", ".join(f"cuda:{i}" for i in range(count))
            has = f"{count} CUDA device{'s' * (count > 1)}: {names}"
            raise DeviceError(f"cuda:{index}: this machine has {has}")


def _cupy() -> Any:
    return sys.modules.get("cupy") or import_module("cupy")


@contextlib.contextmanager
def _on(device: Any) -> Iterator[Any]:
    """CuPy, with a device (index, name, Device or None) as its current one."""
    name = re.fullmatch(r"(?:cuda:)?(\d+)|cuda|None", str(device))
    if name is None:
        raise DeviceError(f'expected a CUDA device, such as 0 or "cuda:0", got {str(device)!r}')
    index = current_device() if name[1] is None else int(name[1])
    require(index)
    cupy = _cupy()
    with cupy.cuda.Device(index):
        yield cupy


def register_arrays() -> None:
    """Register cupy.ndarray, as the first CuPy array does. Imports CuPy; needs no GPU.

    With GPUGRAD_FUSION=0 no kernel of `gpugrad.kernels` replaces a formula.
    """
    LIBRARIES["cupy"]()


def __dir__() -> list[str]:
    return sorted(__all__)
