"""Memory of large results on a CPU, used again by later ones. Imports NumPy alone.

The C library keeps the memory of freed arrays of up to 32 MB, and asks the system for that of
larger ones each time. The system fills it with zeros, page by page, which takes three times as long
as writing the result. So the largest results lie in blocks that come back when no array is left
that lies in them. At most `LIMIT` bytes are kept so; `empty_cache` frees them.
"""

from math import prod
from typing import Any

import numpy as np

__all__ = ["LARGE", "Block", "empty", "empty_cache", "kept_bytes"]

LARGE = 2**25  # bytes: the limit of glibc
LIMIT = 2**28

_kept: dict[int, np.ndarray] = {}  # by identity, the oldest first; each access is one step


class Block:
    """What an array is based on whose memory is kept when nothing refers to it any more."""

    __slots__ = ("__array_interface__", "_kept", "_memory")

    def __init__(self, memory: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._memory = memory
        self._kept = _kept  # also when the interpreter ends
        interface = memory.__array_interface__
        self.__array_interface__ = {**interface, "shape": shape, "typestr": dtype.str}

    def __del__(self) -> None:
        kept, memory = self._kept, self._memory
        kept[id(memory)] = memory
        while sum([one.nbytes for one in [*kept.values()]]) > LIMIT:
            for oldest in [*kept][:1]:
                kept.pop(oldest, None)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """As `numpy.empty`: of a large size in memory that was kept, where there is as much of it.

    >>> empty((2, 3), "float32").shape
    (2, 3)
    """
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    if not LARGE < size <= LIMIT:
        return np.empty(shape, dtype)
    for key, memory in [*_kept.items()]:
        if memory.nbytes == size and _kept.pop(key, None) is memory:
            break
    else:
        memory = np.empty(size, np.uint8)
    return np.asarray(Block(memory, shape, dtype))


def kept_bytes() -> int:
    """How much memory is kept, in bytes: at most 256 MiB.

    >>> import gpugrad as gg
    >>> gg.empty_cache()
    >>> kept_bytes()
    0
    """
    return sum([memory.nbytes for memory in [*_kept.values()]])


def empty_cache() -> None:
    """Give memory back that is kept for large results on the CPU, at most 256 MiB.

    It is that of arrays of more than 32 MB which are in use no more: gradients of each sample of a
    batch, and results of compiled functions. `gpugrad.cuda.empty_cache` is that of GPUs.

    >>> import gpugrad as gg
    >>> gg.empty_cache()
    """
    _kept.clear()
