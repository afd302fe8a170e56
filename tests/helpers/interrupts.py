"""Interrupts at every place of a piece of work, one after the other: no timing, no luck."""

import dis
import functools
import inspect
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import gpugrad

PACKAGE = str(Path(gpugrad.__file__).parent)
WRITTEN = "<a c"  # how titles of functions begin that the package writes


class Arrived(BaseException):
    """What arrives, other than by Ctrl-C."""


def _raise(*args):
    raise Arrived


# How an exception may arrive: by Ctrl-C, by the signal of a timeout, or from another thread, which
# `PyThreadState_SetAsyncExc` has raise where Python would look for signals.
ARRIVALS = {
    "SIGINT": lambda: signal.raise_signal(signal.SIGINT),
    "SIGALRM": lambda: signal.raise_signal(signal.SIGALRM),
    "thread": _raise,
}


def interrupted_everywhere(begin, work, check, stride=1, arrival="SIGINT"):
    """Run ``work(begin())`` with an interrupt at each place of the package where Python allows one.

    It does so when a function begins, after a call, and at the end of a turn of a loop. ``check``
    gets what ``begin`` returned, after each run. With ``stride`` every so many places.
    """
    work(begin())  # so that kernels are there, whose compilation is not looked at
    if arrival == "thread":
        with ThreadPoolExecutor(1) as pool:
            pool.submit(_everywhere, begin, work, check, stride, _raise).result()
        return
    # Where the tests run in the background, a shell may have had SIGINT ignored.
    handler = signal.default_int_handler if arrival == "SIGINT" else _raise
    number = getattr(signal, arrival)
    before = signal.signal(number, handler)
    try:
        _everywhere(begin, work, check, stride, ARRIVALS[arrival])
    finally:
        signal.signal(number, before)


def _everywhere(begin, work, check, stride, arrive):
    for place in count(0, stride):
        made, reached = _interrupted_at(place, begin, work, arrive)
        if not reached:
            break
        check(made)
    assert place > 5 * stride


@functools.cache
def _looks_after(code):
    """For each offset in the code whether Python looks for signals after what is there."""
    names = ("CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD")
    return {i.offset: i.opname in names for i in dis.get_instructions(code)}


@functools.cache
def _handler_at(code, offset):
    """Where an exception at an offset is handled.

    Python raises what has arrived at the call after which it looks. The trace can raise at the next
    instruction alone, which in `with block: return f()` is behind the block.
    """
    entries = dis.Bytecode(code).exception_entries
    return next((one.target for one in entries if one.start <= offset < one.end), None)


def _interrupted_at(place, begin, work, arrive):
    """What ``begin`` returned, and whether the place was reached, where a signal is sent.

    From Python 3.12 on, opcodes are traced from the second call of a function on.
    """
    left, counting = place, False
    before_in = {}

    def trace(frame, event, arg):
        nonlocal left
        file = frame.f_code.co_filename
        if not file.startswith((PACKAGE, WRITTEN)):
            return None
        if "/sim/" in file:  # which stands in for a library in C
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if not counting:
            return trace
        before = before_in.get(frame)
        before_in[frame] = frame.f_lasti
        is_generator = frame.f_code.co_flags & inspect.CO_GENERATOR
        if event == "return" and not is_generator:
            del before_in[frame]  # which keeps what its variables refer to
        # Python does not look where it closes a generator, which the trace cannot tell from a turn.
        looks = event == "call" and (before is None or not is_generator)
        if event == "opcode" and before is not None and before >= 0:
            looks = _looks_after(frame.f_code).get(before, False)  # a cache, behind an exception
            looks = looks and _handler_at(frame.f_code, before) == _handler_at(
                frame.f_code, frame.f_lasti
            )
        if looks:
            left -= 1
            if left == -1:
                before_in.clear()
                arrive()
        return trace

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        try:
            if sys.version_info >= (3, 12):
                work(begin())
            made = begin()
            counting = True
            work(made)
        finally:
            sys.settrace(before)
    except (KeyboardInterrupt, Arrived):
        assert left < 0
    return made, left < 0
