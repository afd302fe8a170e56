"""What a program depends on beside its arguments' kinds. Imports engine, tensor and below."""

from collections.abc import Sequence
from typing import Any

from gpugrad.backend.device import default_device
from gpugrad.engine import autocast
from gpugrad.engine.modes import is_deterministic, recording
from gpugrad.tensor import get_default_dtype

__all__ = ["aliases", "modes"]


def modes() -> Any:
    """The modes that functions run in; None where operations are observed, as in debug_mode."""
    state: Any = recording.get()
    if state is not True:
        if state:
            return None
        state = False  # what stands for it inside of gg.no_grad() is another object each time
    cast = autocast.state()
    half = None if cast is None else cast.dtype
    return state, is_deterministic(), half, get_default_dtype(), default_device()


def aliases(leaves: Sequence[Any]) -> tuple[int, ...] | None:
    """For each leaf the place of the first that is the same array; None where all differ."""
    first: dict[int, int] = {}
    places = [
        first.setdefault(id(leaf), place) if hasattr(leaf, "dtype") else place
        for place, leaf in enumerate(leaves)
    ]
    return None if places == [*range(len(places))] else tuple(places)
