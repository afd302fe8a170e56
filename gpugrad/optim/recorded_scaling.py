"""A step of a `GradScaler` inside a compiled function. Imports traced and the layers below.

The program computes whether gradients are finite, and chooses by it: nothing asks for it in Python.
It keeps the answer, by which the count of steps is taken back before the next step, as
`gpugrad.optim.skipping` does for a GPU.
"""

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from gpugrad.backend.device import device_of
from gpugrad.backend.interrupts import whole
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import tracing
from gpugrad.errors import CompileError
from gpugrad.optim.traced import Advance, record_step

__all__ = ["record_scaled_step", "record_unscaling", "recorded_settings", "recorded_state"]


def recorded_state(scaler: Any) -> tuple[Any, Any]:
    """The scale and its tracker, as arrays that record."""
    session, entries = tracing.get(), [vars(scaler)]
    scale, tracker = (session.state(entries, 0, name) for name in ("_scale", "_tracker"))
    return scale, tracker


def recorded_settings(scaler: Any) -> Sequence[Any]:
    """The growth factor, the backoff factor and the interval, anew at each call."""
    numbers: Sequence[Any] = tracing.get().numbers(_Settings(scaler))
    return numbers


class _Settings:
    """The numbers of a scaler; none where gradients were unscaled outside of the program."""

    calls: ClassVar[list[Any]] = []
    entries: ClassVar[list[Any]] = []
    next: ClassVar[dict[str, Any]] = {}

    def __init__(self, scaler: Any) -> None:
        self.scaler = weakref.ref(scaler)

    def __call__(self) -> Sequence[float] | None:
        scaler = self.scaler()
        if scaler is None or not scaler._enabled:
            return None
        if tracing.get() is None and scaler._found:
            return None
        return scaler._growth, scaler._backoff, float(scaler._interval)


def record_unscaling(scaler: Any, arrays: Sequence[Any]) -> Any:
    """Divide gradients by the scale, in place; returns whether they are not finite."""
    session = tracing.get()
    _check_update(session, scaler)
    scale, _ = recorded_state(scaler)
    xp = namespace_of(scale)
    inverse = (1.0 / scale.astype(np.dtype(np.float64))).astype(np.dtype(np.float32))
    found = None
    for array in arrays:
        own = (~xp.isfinite(array)).any().astype(np.dtype(np.float32))
        found = own if found is None else xp.maximum(found, own)
        array[...] = array * inverse
    return found


def _check_update(session: Any, scaler: Any) -> None:
    """Have what was found belong to this recording, which must end with `update`."""
    before = dict(scaler._found), dict(scaler._stepped)

    def put_back() -> None:
        scaler._found, scaler._stepped = before

    def check() -> None:
        if scaler._found:
            raise CompileError(
                "compile: GradScaler.unscale_ or step is called, and not update() after it. Call "
                "all three in the compiled function, or all of them outside"
            )

    session.undo.append(put_back)
    session.ends.append(check)


def record_scaled_step(optimizer: Any, found: Any) -> None:
    """Record the step of an optimizer, which changes nothing where ``found`` is not 0."""
    session = tracing.get()
    optimizer._settle()
    if any(id(p) in session.steps for group in optimizer.param_groups for p in group["params"]):
        raise CompileError(
            "compile: an optimizer whose gradients are scaled makes two steps in one call. Compile "
            "a function of one step"
        )
    entries = [{"found": device_of(found.array).send(np.zeros((), np.float32))}]
    kept = session.state(entries, 0, "found")
    advances = record_step(optimizer, found != 0)
    kept[...] = found
    session.numbers(_Pending(optimizer, _Skipped(entries[0], advances)))


class _Skipped:
    """What takes the count of steps back where the last call has skipped its step."""

    def __init__(self, entry: dict[str, Any], advances: Sequence[Advance]) -> None:
        self.entry = entry
        self.advances = advances

    def settle(self, finish: Callable[[], Any]) -> None:
        """Ask, which waits for a device, and take the count back; ``finish`` is called with it."""
        is_skipped = bool(self.entry["found"])
        calls = [call for one in self.advances for call in one.taking_back()] if is_skipped else []
        whole([*calls, finish])


class _Pending:
    """Leaves to the optimizer at each call what it has to settle before it does anything else."""

    def __init__(self, optimizer: Any, skipped: _Skipped) -> None:
        self.entries = [vars(optimizer)]
        self.next = {"_pending": skipped}
        self.calls = [partial(self.entries[0].update, self.next)]

    def __call__(self) -> Sequence[float]:
        return ()
