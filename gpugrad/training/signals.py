"""Notes that a training is to end: Ctrl-C, and SIGTERM of a scheduler. Imports nothing."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["interrupts"]


@contextlib.contextmanager
def interrupts() -> Iterator[Callable[[], int]]:
    """A block in which the first SIGINT or SIGTERM is noted, and a second one does as usual.

    What it gives says which signal has come, 0 for none. Only in the main thread; where a program
    ignores a signal or has a handler of its own, that stays.
    """
    noted: list[int] = []
    usual: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
    usual[signal.SIGTERM] = signal.SIG_DFL
    is_main = threading.current_thread() is threading.main_thread()
    mine = [number for number in usual if is_main and signal.getsignal(number) is usual[number]]

    def note(number: int, frame: Any) -> None:
        noted.append(number)
        signal.signal(number, usual[number])

    for number in mine:
        signal.signal(number, note)
    try:
        yield lambda: noted[0] if noted else 0
    finally:
        for number in mine:
            signal.signal(number, usual[number])
