"""Work that no signal and no exception from another thread cuts in two. Imports nothing.

Python calls the handlers of signals (of Ctrl-C, of timeouts), and raises what another thread has
sent with ``PyThreadState_SetAsyncExc``, between two bytecodes. A function in C has none. So what
changes state in several places is prepared as a list of calls of functions in C, and one such call
makes all of them: an exception comes before it or after it.
"""

# The functions of `signal` without its enumerations, which take ten times as long.
from _signal import NSIG, getsignal, signal  # type: ignore[import-not-found,unused-ignore]
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from operator import call, length_hint
from types import FrameType
from typing import Any

__all__ = ["Repeatable", "uninterrupted", "whole"]


class Repeatable(partial[Any]):
    """A call that has changed nothing where it raises, and is then made again.

    So it is with a kernel of CuPy, which may have to be compiled, in Python, before it is launched.
    A function of NumPy raises afterwards, as `numpy.errstate` has it for overflows.
    """

    __slots__ = ()


def whole(calls: Sequence[Callable[[], Any]]) -> None:
    """Make all of the calls, of functions in C, whatever arrives meanwhile.

    Where a call raises, the others are made before that is raised. What may fail has its place
    before: a call that fails for a reason of its own leaves its part undone.
    """
    left = iter([*calls, tuple])  # one that does nothing, so that after the last one is left
    rest: partial[Any] = partial(deque, map(call, left), 0)
    try:
        rest()
    except BaseException:
        count = length_hint(left)
        if count and type(failed := calls[len(calls) - count]) is Repeatable:
            with suppress(BaseException):
                failed()
        while length_hint(left):
            with suppress(BaseException):
                rest()
        raise


class uninterrupted:  # noqa: N801 - a block, like no_grad
    """For functions in Python: in this block signals wait for its end, where all is done.

    It does not hold back what another thread sends, and takes longer than `whole`. Python calls
    handlers of signals in the main thread alone, so other threads have nothing to wait for.
    """

    __slots__ = ("_before", "_noted")

    def __enter__(self) -> None:
        self._noted: list[tuple[int, FrameType | None]] = []
        numbers = range(1, NSIG)
        self._before = [(n, f) for n, f in zip(numbers, map(getsignal, numbers)) if callable(f)]
        try:
            whole([Repeatable(signal, number, self._note) for number, _ in self._before])
        except ValueError:  # another thread, or another interpreter
            self._before = []
        except BaseException:
            self.__exit__()
            raise

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.append((number, frame))

    def __exit__(self, *error: object) -> None:
        whole([Repeatable(signal, number, handler) for number, handler in self._before])
        handlers = dict(self._before)
        whole([partial(handlers[number], number, frame) for number, frame in self._noted])
