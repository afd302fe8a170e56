"""Interrupts at every place of a piece of work, one after the other: no timing, no luck."""

import signal
import sys
from itertools import count
from pathlib import Path

import gpugrad

PACKAGE = str(Path(gpugrad.__file__).parent)


def interrupted_everywhere(begin, work, check, stride=1):
    """Run ``work(begin())`` with a SIGINT at each call, line and return of the package's code.

    ``check`` gets what ``begin`` returned, after each run. With ``stride`` every so many places.
    """
    work(begin())  # so that kernels are there, whose compilation is not looked at
    for place in count(0, stride):
        made = begin()
        if not _interrupted_at(place, lambda made=made: work(made)):
            break
        check(made)
    assert place > 5 * stride


def _interrupted_at(place, work):
    """Whether the place was reached. The signal is sent there, and no exception raised by hand."""
    left = place

    def trace(frame, event, arg):
        nonlocal left
        file = frame.f_code.co_filename
        if not file.startswith(PACKAGE) or "/sim/" in file:  # which stands in for a library in C
            return None
        left -= 1
        if left == -1:
            signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        try:
            work()
        finally:
            sys.settrace(before)
    except KeyboardInterrupt:
        assert left < 0
    return left < 0
