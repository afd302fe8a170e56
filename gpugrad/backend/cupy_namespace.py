"""Answers about arrays of CuPy and sim. Imports namespace and cupy_waits, but not CuPy.

CuPy computes, copies and allocates on its current device, wherever the operands are.
"""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy

from gpugrad.backend.cupy_waits import listen
from gpugrad.backend.namespace import Namespace

__all__ = ["CupyNamespace"]

_NOTHING = nullcontext()


class CupyNamespace(Namespace):
    """The functions of CuPy, and its arrays' devices."""

    atomic = "iIlLqQefd"
    waits = True

    def address(self, array: Any) -> int:
        """Where an array begins in the memory of its GPU."""
        return array.data.ptr

    def device_id(self, array: Any) -> tuple[str, int]:
        """The number of a GPU."""
        return "cuda", array.device.id

    def copy(self, array: Any) -> Any:
        """A copy on the GPU of the array."""
        with self._device(array):
            return array.copy()

    def to_numpy(self, array: Any) -> numpy.ndarray:
        """A copy on the host, which waits."""
        with self._device(array):
            return array.get()

    def listen(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Replace the functions of CuPy that wait or copy, until what is returned is called."""
        return listen(self.module, callback)

    def _device(self, array: Any) -> Any:
        """A context that makes the device of an array the current one."""
        current = sys.modules["cupy"].cuda.device.get_device_id()
        return _NOTHING if array.device.id == current else array.device
