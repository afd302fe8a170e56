"""Memory of large results on a CPU, used again by later ones. Imports NumPy alone.

The C library keeps the memory of freed arrays of up to 32 MB, and asks the system for that of
larger ones each time. The system fills it with zeros, page by page, which takes three times as long
as writing the result. So a pool refers to the memory of the last large results, at most `LIMIT`
bytes of it, and what nothing else refers to is used again. `empty_cache` empties the pool.

The references are counted when memory is asked for: nothing is told of the end of an array, since
an interrupt in what Python calls then would be lost.
"""

from math import prod
from sys import getrefcount
from typing import Any

import numpy as np

__all__ = ["LARGE", "Block", "empty", "empty_cache", "kept_bytes"]

LARGE = 2**25  # bytes: the limit of glibc
LIMIT = 2**28
LINE = 64  # bytes

_pool: dict[int, np.ndarray] = {}  # by identity, the oldest result first; each access is one step


class Block:
    """What an array of the pool's memory is based on, so that it counts as the memory's owner."""

    __slots__ = ("__array_interface__", "_memory")

    def __init__(self, memory: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._memory = memory
        interface = memory.__array_interface__
        self.__array_interface__ = {**interface, "shape": shape, "typestr": dtype.str}


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """As `numpy.empty`: of a large size in memory of the pool, where as much of it is not in use.

    >>> empty((2, 3), "float32").shape
    (2, 3)
    """
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    if not LARGE < size <= LIMIT:
        return np.empty(shape, dtype)
    memory = _taken(size)
    if memory is None:
        memory = _aligned(size)
    array = np.asarray(Block(memory, shape, dtype))
    _pool[id(memory)] = memory
    while sum([one.nbytes for one in [*_pool.values()]]) > LIMIT:
        for oldest in [*_pool][:1]:
            _pool.pop(oldest, None)
    return array


def kept_bytes() -> int:
    """How much memory of the pool is not in use, in bytes: at most 256 MiB.

    >>> import gpugrad as gg
    >>> gg.empty_cache()
    >>> kept_bytes()
    0
    """
    return sum([getattr(_pool.get(key), "nbytes", 0) for key in [*_pool] if _is_free(_pool, key)])


def empty_cache() -> None:
    """Give memory back that is kept for large results on the CPU, at most 256 MiB.

    It is that of arrays of more than 32 MB which are in use no more: gradients of each sample of a
    batch, and results of compiled functions. `gpugrad.cuda.empty_cache` is that of GPUs.

    >>> import gpugrad as gg
    >>> gg.empty_cache()
    """
    _pool.clear()


def _aligned(size: int) -> np.ndarray:
    """Memory that begins with a line of the caches: whole lines are written without being read."""
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % LINE
    return memory[start : start + size]


def _taken(size: int) -> np.ndarray | None:
    """Memory of such a size that is not in use, out of the pool."""
    for key in [*_pool]:
        if getattr(_pool.get(key), "nbytes", None) == size and _is_free(_pool, key):
            own = {key: _pool.pop(key, None)}
            if own[key] is not None and _is_free(own, key):  # no other thread was quicker
                return own[key]
    return None


def _is_free(memories: dict[int, Any], key: int) -> bool:
    """Whether nothing but a dict refers to a memory."""
    return _references(memories, key) <= _ALONE


def _references(memories: dict[int, Any], key: int) -> int:
    return getrefcount(memories.get(key))


_ALONE = _references({0: object()}, 0)  # depends on the version of Python
