"""Work that no signal and no exception from another thread cuts in two. Imports nothing.

Python calls the handlers of signals (of Ctrl-C, of timeouts), and raises what another thread has
sent with ``PyThreadState_SetAsyncExc``, between two bytecodes. A function in C has none. So what
changes state in several places is prepared as a list of calls of functions in C, and one such call
makes all of them: an exception comes before it or after it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from operator import call, length_hint
from typing import Any

__all__ = ["Repeatable", "whole"]


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
