"""How many threads a program in C has, and the library that has them. Imports c_compiler, blas.

Large loops are cut into parts whose number depends on their shapes alone, so that sums are the same
with any number of threads. A library of fixed source, compiled once and kept beside the programs,
has helpers that take parts; where it does not compile (no POSIX threads) loops run on one thread.
"""

import ctypes
import os
from functools import cache
from importlib.resources import files

from gpugrad.compiler.blas import blas
from gpugrad.compiler.c_compiler import load
from gpugrad.errors import CompileError

__all__ = ["set_threads", "share_address", "thread_count"]


def thread_count() -> int:
    """The number of threads that a loop may take.

    $GPUGRAD_NUM_THREADS, else what NumPy's BLAS has, or $OMP_NUM_THREADS where it does not tell,
    but no more than there are processors for this process. CompileError for a number that is none.
    """
    asked = os.environ.get("GPUGRAD_NUM_THREADS", "").strip()
    if asked:
        if not (asked.isdecimal() and int(asked)):
            raise CompileError(
                f"compile: GPUGRAD_NUM_THREADS is {asked!r}: set it to a number of threads, from 1"
            )
        return int(asked)
    library = blas()
    own = library.threads() if library is not None else 0
    if not own:
        known = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
        own = int(known) if known.isdecimal() else 0
    return min(own or _processors(), _processors())


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
    source = files("gpugrad.compiler").joinpath("threads.c").read_text(encoding="ascii")
    try:
        return load(source)
    except CompileError:
        return None
