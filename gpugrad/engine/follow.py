"""A walk over several devices: each gradient is followed to its own. Imports backend.

CuPy computes on its current device, whatever device an operand is on. A walk makes the device of
what it starts from the current one; only where recorded code has moved arrays can a graph lie on
several.
"""

import contextlib
from typing import Any

from gpugrad.backend.device import Device, device_of
from gpugrad.engine.outputs import OutputGrads

__all__ = ["Follower", "device_of_gradient", "has_moved", "note_move"]

_moved = False


def note_move() -> None:
    """Note a move after which the current device may not be that of every node of a graph."""
    global _moved
    _moved = True


def has_moved() -> bool:
    """Whether there can be a graph over several devices."""
    return _moved


def device_of_gradient(gradient: Any) -> Device:
    """Where a gradient lies: raw, a Tensor, or of one of several outputs."""
    while isinstance(gradient, OutputGrads):
        gradient = next(iter(gradient.parts.values()))
    if isinstance(gradient, tuple):
        gradient = gradient[0]
    return device_of(getattr(gradient, "_array", gradient))


class Follower:
    """Observes a walk, and makes the device of each gradient the current one.

    ``entered`` is the stack that leaves them when the walk ends.
    """

    def __init__(self, entered: contextlib.ExitStack) -> None:
        self.entered = entered

    def visit(self, node: Any, g: Any) -> None:
        """To where the node's rules compute."""
        device = device_of_gradient(g)
        if not device.is_current():
            self.entered.enter_context(device.activate())

    def gradient(self, node: Any, parent: Any, d: Any) -> None:
        """To where a gradient meets the parent's others."""
        self.visit(node, d)
