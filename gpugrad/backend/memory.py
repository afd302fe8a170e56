"""The memory of a GPU in numbers and in words: what is used, at most, and what asks for too much.

Imports errors only. CuPy's pool counts what is in use and keeps no peak; its memory hooks see one
thread and cost a dozen calls for each allocation. So the peak is counted by an allocator that
stands before the pool's own, for all threads, from the first time that somebody asks for it.
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
    """The most that CuPy's default pool has handed out, by device, since counting began.

    Counting begins with the first call. An allocator that is not the default pool's
    (``cupy.cuda.set_allocator``) is left alone: then nothing is counted, and the dict is empty.
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
    """The pool's allocator, noting after each allocation what is in use."""
    malloc, used_bytes = pool.malloc, pool.used_bytes
    device = cupy.cuda.device.get_device_id

    def allocate(size: int) -> Any:
        memory = malloc(size)
        used, here = used_bytes(), device()
        if used > peaks.get(here, 0):
            with _lock:
                peaks[here] = max(used, peaks.get(here, 0))
        return memory

    allocate.peaks = peaks  # type: ignore[attr-defined]
    return allocate


def peak(cupy: Any) -> int:
    """The peak of CuPy's current device, in bytes: what is in use now, at least."""
    used = int(cupy.get_default_memory_pool().used_bytes())
    return max(used, count_peaks(cupy).get(cupy.cuda.device.get_device_id(), 0))


def reset_peak(cupy: Any) -> None:
    """Let the peak of CuPy's current device begin anew, at what is in use now."""
    peaks, here = count_peaks(cupy), cupy.cuda.device.get_device_id()
    with _lock:
        if peaks:
            peaks[here] = int(cupy.get_default_memory_pool().used_bytes())


# ---------------------------------------------------------------- when there is none left


def exhausted(who: str, error: BaseException, more: str = "") -> OutOfMemoryError | None:
    """The error in place of one that says that memory is used up; None for any other."""
    if isinstance(error, GpugradError) or not _is_exhausted(error):
        return None
    return OutOfMemoryError(f"{who}: {_in_words(error)}{more}")


@contextlib.contextmanager
def says_who(who: str) -> Iterator[None]:
    """Let an error inside the block that says that memory is used up say who asked for it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        found = exhausted(who, error)
        if found is None:
            raise
        raise found from error


def _is_exhausted(error: BaseException) -> bool:
    """Whether an exception says that memory was asked for that is not there."""
    # CUDA's own libraries, cuBLAS for one, say so with errors of their own.
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and re.search(r"cudaErrorMemoryAllocation|_ALLOC_FAILED", str(error)) is not None
    )


def _in_words(error: BaseException) -> str:
    """What was asked for and what is in use, and the three things to try."""
    said = " ".join(str(error).split()).rstrip(". ") or "out of memory"
    third = "gg.no_grad() where no gradient is wanted"
    held = ""
    if type(error).__module__.startswith("cupy"):
        held = f". {_held(sys.modules['cupy'])}"
        if not isinstance(error, MemoryError):  # when its own is used up, the pool is emptied first
            third = (
                "gg.cuda.empty_cache(), for CUDA's libraries take theirs from what the pool left"
            )
    return (
        f"{said}{held}. Try a smaller batch (the gradients of several add up), gg.checkpoint, "
        f"which computes values again in place of keeping them, or {third}"
    )


def _held(cupy: Any) -> str:
    pool, here = cupy.get_default_memory_pool(), cupy.cuda.device.get_device_id()
    free, total = cupy.cuda.runtime.memGetInfo()
    used = pool.used_bytes()
    return (
        f"Of {_size(total)} on cuda:{here}, {_size(free)} are free, {_size(used)} in living "
        f"arrays, {_size(pool.total_bytes() - used)} in the cache of CuPy's pool"
    )


def _size(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} bytes"
