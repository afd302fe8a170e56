"""The library whose threads run the loops of programs in C. Imports compiler.

Large loops are cut into parts whose number depends on their shapes alone, so that sums are the same
with any number of threads. A library of fixed source, compiled once and kept beside the programs,
has helpers that take parts; where it does not compile (no POSIX threads) loops run on one thread.
"""

import ctypes
from functools import cache
from pathlib import Path

from gpugrad.backend.threads import thread_count
from gpugrad.compiler.c.compiler import load
from gpugrad.errors import CompileError

__all__ = ["set_threads", "share_address"]


def share_address() -> int:
    """The address of the function that shares a loop's parts; 0 where one thread runs them all."""
    count = thread_count()
    if count > 1:
        set_threads(count)
    library = _library() if count > 1 else None
    return ctypes.cast(library.gpugrad_share, ctypes.c_void_p).value or 0 if library else 0


def set_threads(count: int) -> None:
    """Have later runs of all programs take so many threads at most."""
    library = _library()
    if library is not None:
        library.gpugrad_set_threads(count)


@cache
def _library() -> ctypes.CDLL | None:
    source = Path(__file__).with_name("threads.c").read_text(encoding="ascii")
    try:
        return load(source)
    except CompileError:
        return None
