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
    """What keeps CUDA from working and what mends it, in one line; None where it works.

    >>> reason = why_unavailable()
    >>> reason is None or reason.endswith(".")
    True
    """
    return probe().reason


def device_count() -> int:
    """How many CUDA devices can be used: 0 where CUDA does not work.

    >>> (device_count() > 0) == is_available()
    True
    """
    return int(_cupy().cuda.runtime.getDeviceCount()) if is_available() else 0


def current_device() -> int:
    """The index of the device on which CuPy works in this thread; DeviceError without CUDA.

    >>> current_device() if is_available() else 0
    0
    """
    cupy = sys.modules.get("cupy")
    if cupy is None or probe().reason is not None:
        require()
        cupy = _cupy()
    found: int = cupy.cuda.device.get_device_id()
    return found


def synchronize(device: Any = None) -> None:
    """Wait until the device has done all that it was given; needed before a clock is read.

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
    - ``peak``: the most that ``used`` has been since `reset_peak`, or since the first call of
      either of the two functions: who does not ask does not pay for the counting;
    - ``reserved``: taken from the driver by that pool, ``used`` and its cache together;
    - ``total`` and ``free``: of the whole device, with other processes counted.

    What another allocator (``cupy.cuda.set_allocator``) hands out is seen in ``free`` alone.
    Where several threads allocate, what one of them frees in the same instant that another
    allocates may be missing in ``peak``.

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
    """Let the ``peak`` of `memory_stats` begin anew, at what is in use now.

    Counting puts a function before the allocator of CuPy's default pool, in all threads and for
    the rest of the process; it adds some tenths of a microsecond to each allocation. ``device`` as
    for ``synchronize``.

    >>> if is_available():
    ...     reset_peak()
    """
    with _on(device) as cupy:
        memory.reset_peak(cupy)


def empty_cache() -> None:
    """Give what CuPy's pools hold unused, device and pinned memory, back to the driver.

    Living arrays stay. DeviceError where CUDA does not work.

    >>> if is_available():
    ...     empty_cache()
    """
    require()
    cupy = _cupy()
    cupy.get_default_memory_pool().free_all_blocks()
    cupy.get_default_pinned_memory_pool().free_all_blocks()


# ---------------------------------------------------------------- for gpugrad.backend.device


def require(index: int | None = None) -> None:
    """Raise DeviceError unless CUDA works and, where one is given, has the device ``index``."""
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


def on_index(index: int) -> Any:
    """A context manager that makes a device CuPy's current one in this thread."""
    return _cupy().cuda.Device(index)


def _cupy() -> Any:
    return sys.modules.get("cupy") or import_module("cupy")


@contextlib.contextmanager
def _on(device: Any) -> Iterator[Any]:
    """CuPy, while a device given as index, name, Device or None is the current one."""
    name = re.fullmatch(r"(?:cuda:)?(\d+)|cuda|None", str(device))
    if name is None:
        raise DeviceError(f'expected a CUDA device, such as 0 or "cuda:0", got {str(device)!r}')
    index = current_device() if name[1] is None else int(name[1])
    require(index)
    with on_index(index):
        yield _cupy()


def register_arrays() -> None:
    """Let cupy.ndarray be computed on with CuPy. Imports CuPy; needs no GPU.

    Every first look at an array of CuPy's does it. With GPUGRAD_FUSION=0 no kernel of
    `gpugrad.kernels` stands in for a formula.
    """
    LIBRARIES["cupy"]()
