"""A backward pass as users start it: on which device, in which mode. Imports backend and engine.

CuPy computes on its current device, whatever device an operand is on. A walk makes the
device of what it starts from the current one; only where arrays were moved by recorded code
can a graph lie on several, and then each node is followed to its own.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.backend.device import device_of
from gpugrad.backend.summed import Summed
from gpugrad.engine.backward import Lift, run_backward
from gpugrad.engine.modes import enable_grad, in_rules
from gpugrad.engine.outputs import OutputGrads

__all__ = ["differentiate", "note_move"]

_moved = False


def note_move() -> None:
    """Note a move after which the current device may not be that of every node of a graph."""
    global _moved
    _moved = True


def differentiate(
    seeds: list[tuple[Any, Any]],
    *,
    retain_graph: bool,
    lift: Lift | None = None,
    targets: list[Any] | None = None,
    accumulate: Any = None,
) -> dict[Any, Any]:
    """Walk from pairs of a node and its gradient; see `gpugrad.engine.backward.run_backward`.

    With ``lift`` the gradients are Tensors, and the pass is recorded. NumPy's warnings are
    off meanwhile: a derivative that is infinite says so itself.
    """
    if not seeds:
        return {}
    start = seeds[0][1] if lift is None else seeds[0][1].data
    quiet = np.errstate(divide="ignore", over="ignore", invalid="ignore")
    with device_of(start).activate(), quiet:
        if lift is not None:
            token = in_rules.set(True)
            try:
                with enable_grad():
                    return run_backward(
                        seeds, retain_graph=True, lift=lift, targets=targets, accumulate=accumulate
                    )
            finally:
                in_rules.reset(token)
        if not _moved:
            return run_backward(
                seeds, retain_graph=retain_graph, targets=targets, accumulate=accumulate
            )
        with contextlib.ExitStack() as places:
            return run_backward(
                seeds,
                retain_graph=retain_graph,
                targets=targets,
                accumulate=accumulate,
                follow=_follower(places),
            )


def _follower(places: contextlib.ExitStack) -> Callable[[Any], None]:
    """Makes the device of a raw gradient the current one, until ``places`` is left."""

    def follow(gradient: Any) -> None:
        while isinstance(gradient, OutputGrads):
            gradient = next(iter(gradient.parts.values()))
        if isinstance(gradient, Summed):
            gradient = gradient.array
        place = device_of(gradient)
        if not place.is_current():
            places.enter_context(place.activate())

    return follow
