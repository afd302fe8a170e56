"""What a program depends on beside its arguments' kinds. Imports engine, tensor and below."""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from gpugrad.backend import device
from gpugrad.backend.blocks import Off, now
from gpugrad.engine import autocast
from gpugrad.engine import modes as engine
from gpugrad.tensor import conversion, get_default_dtype

__all__ = ["aliases", "modes", "places_of_modes"]


def modes() -> Any:
    """The modes that functions run in; None where operations are observed, as in debug_mode."""
    state = now(engine.recording.get())
    while type(state) is Off:  # a block of no_grad
        state = now(state.before) if state else False
    if state is not True and state is not False:
        return None
    cast = autocast.state()
    half = None if cast is None else cast.dtype
    return state, engine.is_deterministic(), half, get_default_dtype(), device.default_device()


def places_of_modes(state: Any) -> Any:
    """Where `modes` reads, and the values that are there in this state; None in rare modes.

    Context variables with their values, and dicts with a name in them and its value.
    """
    recording, is_deterministic, half, dtype, default = state
    if half is not None or default is not device._process_default:
        return None
    variables: list[tuple[ContextVar[Any], Any]] = [
        (engine.tracing, None), (engine.recording, recording), (engine._in_order, is_deterministic),
        (autocast._state, None), (device._scoped, None),
    ]  # fmt: skip
    return variables, [
        (vars(conversion), "_default_dtype", dtype), (vars(device), "_process_default", default),
    ]  # fmt: skip


def aliases(leaves: Sequence[Any]) -> tuple[int, ...] | None:
    """For each leaf the place of the first that is the same array; None where all differ."""
    first: dict[int, int] = {}
    places = [
        first.setdefault(id(leaf), place) if hasattr(leaf, "dtype") else place
        for place, leaf in enumerate(leaves)
    ]
    return None if places == [*range(len(places))] else tuple(places)
