"""A walk over several devices. Imports backend and outputs.

CuPy computes on its current device, whatever device an operand is on. A walk makes the device of
its first seed the current one. Only where recorded code has moved arrays can a graph lie on
several devices; then the walk follows each gradient.
"""

import contextlib
from typing import Any

from gpugrad.backend.device import Device, device_of
from gpugrad.engine.outputs import OutputGrads

__all__ = ["Follower", "device_of_gradient", "has_moved", "note_move", "on_device_of"]

_moved = False


def note_move() -> None:
    """Note a recorded move: nodes of one graph may now be on several devices."""
    global _moved
    _moved = True


def has_moved() -> bool:
    """Whether there can be a graph over several devices."""
    return _moved


def device_of_gradient(gradient: Any) -> Device:
    """The device of a gradient: raw, a Tensor, or of one of several outputs."""
    while isinstance(gradient, OutputGrads):
        gradient = next(iter(gradient.parts.values()))
    if isinstance(gradient, tuple | list):
        gradient = next(one for one in gradient if one is not None)
    return device_of(getattr(gradient, "_array", gradient))


def on_device_of(gradient: Any) -> contextlib.AbstractContextManager[Any]:
    """A context in which a gradient's device is the current one, if there may be several."""
    return device_of_gradient(gradient).activate() if _moved else contextlib.nullcontext()


class Follower:
    """An observer that makes the device of each gradient the current one.

    The stack ``entered`` leaves them when the walk ends.
    """

    def __init__(self, entered: contextlib.ExitStack) -> None:
        self.entered = entered

    def visit(self, node: Any, g: Any) -> None:
        """Activate the device of the node's rules."""
        device = device_of_gradient(g)
        if not device.is_current():
            self.entered.enter_context(device.activate())

    def gradient(self, node: Any, parent: Any, d: Any) -> None:
        """Activate the device on which the parent's gradients are added."""
        self.visit(node, d)
