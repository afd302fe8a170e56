"""Refuses to copy a value without its gradient in a function that is differentiated.

Imports engine and errors.
"""

from typing import Any

from gpugrad.engine import record
from gpugrad.engine.modes import outermost, recording
from gpugrad.errors import GradientError

__all__ = ["check_kept", "check_raw"]


def check_kept(who: str, data: Any, hint: str) -> None:
    """GradientError where data belong to the graph of the transform (`gg.grad`, …) that runs.

    Outside of one, copying a value is what was asked for. ``hint`` says what to write.
    """
    start = outermost.get()
    if start is None or not recording.get() or not isinstance(data, record.Tensor):
        return
    if data._in_graph() and data._node.serial > start:
        raise GradientError(
            f"{who}: this tensor is part of a function that is being differentiated, and a copy of "
            f"its value would have no gradient. {hint}"
        )


def check_raw(who: str, raws: tuple[Any, ...]) -> None:
    """GradientError where a Tensor was made of a Tensor, whose gradient would be lost.

    The constructor, which is called in every operation, does not look at what it gets.
    """
    if any(isinstance(raw, record.Tensor) for raw in raws):
        raise GradientError(
            f"{who}: gg.Tensor(t) takes a raw array, and of a Tensor t it would lose the gradient. "
            "Write t itself, or gg.tensor(t), which stays in its graph"
        )
