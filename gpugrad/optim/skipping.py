"""Steps that a device may skip, as it alone knows whether gradients are finite. Imports backend.

The host learns it a step later, by a copy that it does not wait for, and takes its counts back.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from gpugrad.backend.device import device_of
from gpugrad.backend.interrupts import Repeatable, whole
from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.staging import Fetched
from gpugrad.optim.recorded import Call

__all__ = ["Skip"]


class Skip:
    """What a step needs to be skipped where ``found``, a 0-d array of float32, is not 0.

    ``undo`` has calls that take back what the host has counted.
    """

    __slots__ = ("_flag", "_mask", "found", "undo")

    def __init__(self, found: Any) -> None:
        self.found = found
        self.undo: list[Call] = []
        self._flag = Fetched(found)
        self._mask: Any = None

    def settle(self, finish: Call) -> None:
        """Take the counts back if the device has skipped the step; ``finish`` is called with it."""
        whole([*(self.undo if self._flag.value() else ()), finish])

    def restoring(self, arrays: Sequence[Any]) -> list[Call]:
        """Calls that give arrays the values of now, where the step is skipped."""
        device, xp = device_of(self.found), namespace_of(self.found).module
        kind = Repeatable if device.kind == "cuda" else partial
        with device.activate():
            if self._mask is None:
                self._mask = self.found != 0
            kept = [array.copy() for array in arrays]
        return device.around(
            [kind(xp.copyto, *pair, where=self._mask) for pair in zip(arrays, kept, strict=True)]
        )
