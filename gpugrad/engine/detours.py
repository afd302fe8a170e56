"""Calls of ops that are computed in another way, as by autocast. Imports op.

A detour, ``detour(op, operands, parameters)``, returns the result, or None for the usual way.
Mostly there are none, and then nobody asks: the quick paths of ops look a type up in a `Dispatch`,
which is empty while the op may have a detour, so that they turn to `gpugrad.engine.record.record`.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.engine.op import Op

__all__ = [
    "Detour", "Dispatch", "active", "behind", "hold", "lock", "release", "settle", "use",
]  # fmt: skip

Detour = Callable[[Op, Sequence[Any], dict[str, Any] | None], Any]

# In their order, and with each its rank: 0 concerns those ops alone that autocast does, others all.
active: dict[Detour, int] = {}
lock = threading.RLock()  # for `active`, and for the entries of dispatches
_of_autocast: list["Dispatch"] = []  # those of ops that autocast does
_others: list["Dispatch"] = []
_holders: dict[Detour, tuple[weakref.ref[Any], ...]] = {}


class Dispatch(dict[type, Any]):
    """For an op a dict by the types of arrays, which is empty while it may have a detour."""

    def __init__(self, op: Op) -> None:
        self.is_cast = bool(op.autocast)
        (_of_autocast if self.is_cast else _others).append(self)

    def is_passed_by(self) -> bool:
        """Whether the op may have a detour."""
        return bool(active) and (self.is_cast or any(active.values()))


def use(detour: Detour, on: bool, rank: int = 0) -> None:
    """Begin or end a detour; one of a lower rank is asked before."""
    global active
    with lock:
        others = {other: active[other] for other in active if other is not detour}
        if on:
            others[detour] = rank
        active = dict(sorted(others.items(), key=lambda item: item[1]))
        if active:
            _clear(_of_autocast)
        if any(active.values()):
            _clear(_others)


def hold(detour: Detour, holder: Any, rank: int = 0) -> None:
    """Have a detour until `release`, or until the holder is gone.

    So none is left for long where an interrupt comes before the end of a block, or in it.
    """
    with lock:
        _keep(detour, (*_alive(detour), weakref.ref(holder)))
        if detour not in active:
            use(detour, True, rank)


def release(detour: Detour, holder: Any) -> None:
    """End a detour for one of its holders."""
    with lock:
        left = tuple([one for one in _alive(detour) if one() is not holder])
        if not left:
            use(detour, False)
        _keep(detour, left)  # last: where an interrupt comes before, `settle` does it again


def settle() -> None:
    """End the detours whose holders are gone.

    A detour that finds nothing of its kind asks for it: a callback at a holder's end would lose
    an interrupt that arrives in it, since Python drops what is raised there.
    """
    for detour, holders in _holders.items():
        for one in holders:
            if one() is not None:
                break
        else:
            release(detour, None)


def _alive(detour: Detour) -> list["weakref.ref[Any]"]:
    return [one for one in _holders.get(detour, ()) if one() is not None]


def _keep(detour: Detour, holders: tuple["weakref.ref[Any]", ...]) -> None:
    """Name the holders of a detour; in a new dict, since other threads may be going through it."""
    global _holders
    others = {other: own for other, own in _holders.items() if other is not detour}
    _holders = others | {detour: holders} if holders else others


def _clear(dispatches: list[Dispatch]) -> None:
    """Empty the dispatches, without a turn of a loop in Python for each of a thousand ops."""
    deque(map(dict.clear, dispatches), 0)


def behind(
    rank: int, directly: Detour, op: Op, operands: Sequence[Any],
    parameters: dict[str, Any] | None = None,
) -> Any:  # fmt: skip
    """The result of an op for a detour of this rank: by those of a higher one, or directly."""
    for detour, own in active.items():
        if own > rank:
            result = detour(op, operands, parameters)
            if result is not None:
                return result
    return directly(op, operands, parameters)
