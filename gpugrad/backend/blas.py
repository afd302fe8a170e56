"""The products of the BLAS that NumPy has loaded, by address, and its threads. Imports nothing.

The same functions compute NumPy's own products, so a program in C has the same values, and no
second library with threads of its own is loaded.
"""

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Blas", "blas", "limit_threads"]

# How builds of NumPy name the function of CBLAS, and the type of its lengths.
_NAMES = (
    ("scipy_cblas_{}64_", ctypes.c_int64),
    ("cblas_{}64_", ctypes.c_int64),
    ("cblas_{}$NEWLAPACK$ILP64", ctypes.c_int64),
    ("cblas_{}$NEWLAPACK", ctypes.c_int32),
    ("scipy_cblas_{}", ctypes.c_int32),
    ("cblas_{}", ctypes.c_int32),
)
# What tells and what sets the number of threads, of OpenBLAS's builds and of MKL.
_THREADS = (
    *(
        (f"{start}openblas_get_num_threads{end}", f"{start}openblas_set_num_threads{end}")
        for start in ("scipy_", "")
        for end in ("64_", "")
    ),
    ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
)
_MODULES = ("numpy._core._multiarray_umath", "numpy.linalg._umath_linalg")
_TYPES: dict[str, tuple[Any, Any]] = {
    "sgemm": (np.float32, ctypes.c_float),
    "dgemm": (np.float64, ctypes.c_double),
}


class Blas(NamedTuple):
    """Addresses of functions by name, the C type of their lengths, and what tells the threads.

    ``threads`` gives the number of threads that products may take, 0 where that is not known;
    ``set_threads`` sets it, for the process, and is None where that cannot be done.
    """

    addresses: dict[str, int]
    integer: str
    threads: Callable[[], int]
    set_threads: Callable[[int], None] | None


@cache
def blas() -> Blas | None:
    """The functions that NumPy's extension modules are linked with; None if they are not found."""
    for module in _MODULES:
        try:
            library = ctypes.CDLL(import_module(module).__file__)
        except (ImportError, OSError, TypeError):
            continue
        for pattern, integer in _NAMES:
            functions: dict[str, Any] = {
                name: getattr(library, pattern.format(name), None) for name in _TYPES
            }
            if all(_multiplies(one, name, integer) for name, one in functions.items()):
                addresses = {
                    name: ctypes.cast(one, ctypes.c_void_p).value or 0
                    for name, one in functions.items()
                }
                width = "int64_t" if integer is ctypes.c_int64 else "int32_t"
                return Blas(addresses, width, *_threads_of(library))
    return None


def _threads_of(library: Any) -> tuple[Callable[[], int], Callable[[int], None] | None]:
    for names in _THREADS:
        known, limit = (getattr(library, name, None) for name in names)
        if known is not None and limit is not None:
            known.restype, known.argtypes = ctypes.c_int, []
            limit.restype, limit.argtypes = None, [ctypes.c_int]
            return known, limit
    return int, None


def limit_threads(count: int) -> bool:
    """Have the BLAS of NumPy, and SciPy's if it is loaded, take so many threads at most.

    Whether NumPy's can be told.
    """
    told = []
    for name in (_MODULES[0], "scipy.linalg._fblas"):
        module = sys.modules.get(name)
        if module is not None:
            told.append(_limited(ctypes.CDLL(module.__file__), count))
    return bool(told) and told[0]


def _limited(library: Any, count: int) -> bool:
    known, limit = _threads_of(library)
    if limit is not None and known() > count:
        limit(count)
    return limit is not None


def _multiplies(function: Any, name: str, integer: Any) -> bool:
    """Whether a function computes a small product as CBLAS does."""
    if function is None:
        return False
    dtype, scalar = _TYPES[name]
    lengths, array = integer, ctypes.c_void_p
    function.restype = None
    function.argtypes = [
        ctypes.c_int, ctypes.c_int, ctypes.c_int, lengths, lengths, lengths, scalar, array, lengths,
        array, lengths, scalar, array, lengths,
    ]  # fmt: skip
    a, b = np.arange(6, dtype=dtype).reshape(2, 3), np.arange(12, dtype=dtype).reshape(3, 4)
    y = np.zeros((2, 4), dtype)
    function(101, 111, 111, 2, 4, 3, 1, a.ctypes.data, 3, b.ctypes.data, 4, 0, y.ctypes.data, 4)
    return bool((y == [[20, 23, 26, 29], [56, 68, 80, 92]]).all())
