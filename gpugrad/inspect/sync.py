"""Finds where a program waits for its device, as namespaces report it. Imports backend.

Also the engine's modes, errors and lines.
"""

import threading
from collections.abc import Callable
from contextvars import ContextVar
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from gpugrad.backend.blocks import Block, Stack
from gpugrad.backend.device import sending
from gpugrad.backend.lines import user_line
from gpugrad.backend.namespace import imported
from gpugrad.errors import SyncError

__all__ = ["sync_guard"]

_guarded: ContextVar[bool] = ContextVar("gpugrad_sync_guard", default=False)
_lock = threading.Lock()
# How many blocks of each are open, in all threads together. One that an interrupt has kept from
# being closed counts until it is gone.
_guards: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_listening: dict[Any, Callable[[], None]] = {}  # by namespace, what ends it


class sync_guard(Block):  # noqa: N801 - a block, like no_grad
    """Inside this block a wait for the device, or an implicit copy, raises SyncError.

    Reading a value (``float(t)``, ``t.item()``, ``if t:``, printing), selecting by a mask, and
    indexing with a host array make the host wait for the device or copy implicitly; each costs
    a GPU more than many operations. The error names the line. Explicit copies to a device,
    ``t.to("cuda")`` and ``gg.tensor(array, device="cuda")``, are allowed; copies to the host are
    not. On the device "sim" this works on any machine, so that a CI without a GPU can test a
    training loop for waits; arrays of the device "cpu" never wait.
    On CUDA the functions of CuPy that fetch values, wait, or make arrays of what lies on the host
    are watched, if CuPy is imported when the block begins; what CuPy does from within (a list as
    an index of a raw array) is not heard there. Functions can be decorated with
    ``@gg.sync_guard()``.

    >>> import gpugrad as gg
    >>> x = gg.ones(3, device="sim")
    >>> with gg.sync_guard():
    ...     y = (x * 2).sum()
    ...     if y > 1:  # doctest: +ELLIPSIS
    ...         pass
    Traceback (most recent call last):
        ...
    gpugrad.errors.SyncError: sync_guard: the host waits for the device here (item)...
    """

    stack = Stack("gpugrad_sync_guards", _guarded)

    def _apply(self) -> None:
        _guarded.set(True)

    def _begin(self, frame: FrameType, before: tuple[Any, ...] | None = None) -> None:
        _watch(self, +1)
        try:
            super()._begin(frame, before)
        except BaseException:
            _watch(self, -1)
            raise

    def __exit__(self, *error: object) -> None:
        _watch(self, -1)
        super().__exit__(*error)


def _refuse(event: str) -> None:
    """Called at every wait for a device, in any thread; raises in guarded threads."""
    if not _guarded.get():
        return
    if sending.get():
        return
    if event == "host to device":
        problem = "a host array is copied to the device implicitly here"
    else:
        problem = "the host waits for the device here"
    raise SyncError(
        f"sync_guard: {problem} ({event}). Keep the value on the device, or move this out of the "
        f"guarded block. At {user_line()}"
    )


def _watch(guard: sync_guard, change: int) -> None:
    """Install the observers with the first guard of the process, remove them with the last."""
    from gpugrad.backend import sim  # noqa: F401  whose arrays may come within the block

    with _lock:
        _guards[guard] = _guards.get(guard, 0) + change
        if change > 0:
            for namespace in imported():  # libraries may have been imported meanwhile
                if namespace not in _listening:
                    _listening[namespace] = namespace.listen(_refuse)
        while not any(_guards.values()) and _listening:
            _listening.popitem()[1]()
