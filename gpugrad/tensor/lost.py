"""Refuses to copy a value without its gradient in a function that is differentiated.

Imports core, engine and errors.
"""

from typing import Any

from gpugrad.engine.modes import outermost, recording
from gpugrad.errors import GradientError
from gpugrad.tensor.core import Tensor

__all__ = ["check_kept"]


def check_kept(who: str, data: Any, hint: str) -> None:
    """GradientError where data belong to the graph of the transform (`gg.grad`, …) that runs.

    Outside of one, copying a value is what was asked for. ``hint`` says what to write.
    """
    start = outermost.get()
    if start is None or not recording.get() or not isinstance(data, Tensor):
        return
    if data._in_graph() and data._node.serial > start:
        raise GradientError(
            f"{who}: this tensor is part of a function that is being differentiated, and a copy of "
            f"its value would have no gradient. {hint}"
        )
