"""A second thread for a large step. Imports backend."""

import contextvars
from _thread import start_new_thread
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from gpugrad.backend.interrupts import Repeatable, whole

__all__ = ["Follower"]

PATIENCE = 1.0  # s, for a thread to begin

Calls = Sequence[Callable[[], Any]]


class Follower:
    """A thread that makes one list of calls, once it has been told to; see `interrupts.whole`.

    It is started by a function in C, since an interrupt may cut what `threading` does in two. A new
    thread costs 0.1 ms, less than what it is for, and none is alive when the process forks.
    """

    def __init__(self) -> None:
        self._orders: SimpleQueue[Calls] = SimpleQueue()
        self._replies: SimpleQueue[None] = SimpleQueue()
        self.errors: list[BaseException] = []

    def begin(self) -> bool:
        """Start the thread; false where there can be none, or what was sent to it has ended it."""
        try:
            start_new_thread(contextvars.copy_context().run, (self._run,))
            self._replies.get(timeout=PATIENCE)
        except (RuntimeError, Empty):
            return False
        return True

    def beside(self, own: Calls, calls: Calls) -> list[Callable[[], Any]]:
        """One's own calls, with others before and behind that have ``calls`` made meanwhile."""
        return [partial(self._orders.put, calls), *own, Repeatable(self._replies.get)]

    def end(self) -> None:
        """Let the thread end, if nothing was given to it."""
        self._orders.put(())

    def _run(self) -> None:
        self._replies.put(None)
        try:
            whole(self._orders.get())
        except BaseException as error:  # noqa: BLE001  for the thread of the step to raise
            self.errors.append(error)
        finally:
            self._replies.put(None)
