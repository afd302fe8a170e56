"""Work that Ctrl-C does not cut in two. Imports nothing.

Python may raise KeyboardInterrupt between any two bytecodes of the main thread. What changes state
in several places, such as an optimizer's step, finishes first.
"""

# The functions of `signal` without its enumerations, which take ten times as long.
from _signal import SIGINT, getsignal, signal  # type: ignore[import-not-found,unused-ignore]
from types import FrameType
from typing import Any

__all__ = ["uninterrupted"]


class uninterrupted:  # noqa: N801 - a block, like no_grad
    """In this block an interrupt waits; it is raised at the end, where all is done.

    Other exceptions pass: what may fail has its place before the block. Python runs handlers of
    signals in the main thread alone, so other threads have nothing to wait for.
    """

    __slots__ = ("_before", "_noted")

    def __enter__(self) -> None:
        self._noted: tuple[int, FrameType | None] | None = None
        self._before: Any = getsignal(SIGINT)
        try:
            if callable(self._before):
                signal(SIGINT, self._note)
        except ValueError:  # another thread, or another interpreter
            self._before = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted = (number, frame)

    def __exit__(self, *error: object) -> None:
        if callable(self._before):
            signal(SIGINT, self._before)
            if self._noted is not None:
                self._before(*self._noted)
