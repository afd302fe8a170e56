"""A walk over several devices: each gradient is followed to its own. Imports backend.

CuPy computes on its current device, whatever device an operand is on. A walk makes the device of
what it starts from the current one; only where recorded code has moved arrays can a graph lie on
several.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from gpugrad.backend.device import device_of
from gpugrad.engine.outputs import OutputGrads

__all__ = ["follower", "has_moved", "note_move"]

_moved = False


def note_move() -> None:
    """Note a move after which the current device may not be that of every node of a graph."""
    global _moved
    _moved = True


def has_moved() -> bool:
    """Whether there can be a graph over several devices."""
    return _moved


def follower(entered: contextlib.ExitStack) -> Callable[[Any], None]:
    """Makes the device of a raw gradient the current one, until ``entered`` is left."""

    def follow(gradient: Any) -> None:
        while isinstance(gradient, OutputGrads):
            gradient = next(iter(gradient.parts.values()))
        device = device_of(gradient)
        if not device.is_current():
            entered.enter_context(device.activate())

    return follow
