"""The memory of a GPU: its peak, and the error when it is exhausted. Imports errors only.

CuPy's pool knows what is in use, but no peak; its memory hooks see one thread and cost a dozen
calls for each allocation. So an allocator in front of that of the pool records the peak, for all
threads, from the first time that it is requested.
"""

import contextlib
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any

from gpugrad.errors import GpugradError, OutOfMemoryError

__all__ = ["count_peaks", "exhausted", "peak", "reset_peak", "says_who"]

_lock = threading.Lock()


def count_peaks(cupy: Any) -> dict[int, int]:
    """The peak usage of CuPy's default pool by device, since counting began.

    Counting begins with the first call. With an allocator other than that of the default pool
    (``cupy.cuda.set_allocator``) nothing is counted, and the dict is empty.
    """
    pool = cupy.get_default_memory_pool()
    with _lock:
        current = cupy.cuda.get_allocator()
        peaks: dict[int, int] | None = getattr(current, "peaks", None)
        if peaks is None:
            peaks = {}
            if getattr(current, "__self__", None) is pool:
                cupy.cuda.set_allocator(_counting(cupy, pool, peaks))
        return peaks


def _counting(cupy: Any, pool: Any, peaks: dict[int, int]) -> Any:
    """The allocator of the pool, which records the usage after each allocation."""
    malloc, used_bytes = pool.malloc, pool.used_bytes
    device = cupy.cuda.device.get_device_id

    def allocate(size: int) -> Any:
        memory = malloc(size)
        used, index = used_bytes(), device()
        if used > peaks.get(index, 0):
            with _lock:
                peaks[index] = max(used, peaks.get(index, 0))
        return memory

    allocate.peaks = peaks  # type: ignore[attr-defined]
    return allocate


def peak(cupy: Any) -> int:
    """The peak of CuPy's current device in bytes: at least what is in use now."""
    used = int(cupy.get_default_memory_pool().used_bytes())
    return max(used, count_peaks(cupy).get(cupy.cuda.device.get_device_id(), 0))


def reset_peak(cupy: Any) -> None:
    """Reset the peak of CuPy's current device to what is in use now."""
    peaks, index = count_peaks(cupy), cupy.cuda.device.get_device_id()
    with _lock:
        if peaks:
            peaks[index] = int(cupy.get_default_memory_pool().used_bytes())


# ---------------------------------------------------------------- out of memory


def exhausted(who: str, error: BaseException, more: str = "") -> OutOfMemoryError | None:
    """The OutOfMemoryError for an error of exhausted memory; None for any other error."""
    if isinstance(error, GpugradError) or not _is_exhausted(error):
        return None
    return OutOfMemoryError(f"{who}: {_in_words(error)}{more}")


@contextlib.contextmanager
def says_who(who: str) -> Iterator[None]:
    """Name who asked for memory in an error of exhausted memory inside the block."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        explained = exhausted(who, error)
        if explained is None:
            raise
        raise explained from error


def _is_exhausted(error: BaseException) -> bool:
    """Whether an exception means that memory is exhausted."""
    # CUDA's libraries, cuBLAS for example, raise errors of their own.
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and re.search(r"cudaErrorMemoryAllocation|_ALLOC_FAILED", str(error)) is not None
    )


def _in_words(error: BaseException) -> str:
    """The request, the memory in use, and three ways out."""
    message = " ".join(str(error).split()).rstrip(". ") or "out of memory"
    third = "gg.no_grad() where no gradient is wanted"
    held = ""
    if type(error).__module__.startswith("cupy"):
        held = f". {_held(sys.modules['cupy'])}"
        # Before it raises an error of its own, CuPy empties its pool.
        if not isinstance(error, MemoryError):
            third = (
                "gg.cuda.empty_cache(), for CUDA's libraries take theirs from what the pool left"
            )
    return (
        f"{message}{held}. Try a smaller batch (the gradients of several add up), gg.checkpoint, "
        f"which computes values again in place of keeping them, or {third}"
    )


def _held(cupy: Any) -> str:
    pool, index = cupy.get_default_memory_pool(), cupy.cuda.device.get_device_id()
    free, total = cupy.cuda.runtime.memGetInfo()
    used = pool.used_bytes()
    return (
        f"Of {_size(total)} on cuda:{index}, {_size(free)} are free, {_size(used)} in living "
        f"arrays, {_size(pool.total_bytes() - used)} in the cache of CuPy's pool"
    )


def _size(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} bytes"
