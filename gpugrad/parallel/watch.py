"""What this process waits for, and whether the others are still there. Imports errors, meeting.

A thread listens to the server of `gpugrad.parallel.meeting`, which tells when a process has died,
raised, ended or hangs. The main thread raises that where it waits. Where it cannot, because it
waits elsewhere, or inside of a library, the thread ends the process `GRACE` seconds later.
"""

import atexit
import contextlib
import os
import selectors
import socket
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, NamedTuple

from gpugrad.errors import ParallelError
from gpugrad.parallel.meeting import ANSWER, Lines, Meeting, Server, connect

__all__ = ["GRACE", "Pending", "Watch"]

# How many seconds a process has to raise what it was told, and after an error to wait for the
# others' words; less where the timeout is less.
GRACE = 5.0


class Pending(NamedTuple):
    """A call that is queued on a GPU, since when, its event, and the array it works on."""

    what: str
    since: float
    event: Any
    array: Any


class Watch:
    """The watch of one process; that of a process alone has nothing to do."""

    def __init__(self, rank: int, size: int, timeout: float) -> None:
        self.rank, self.size, self.timeout = rank, size, timeout
        self._grace = min(GRACE, timeout)
        self.calls = 0  # of collectives, which all processes count alike
        self.progress: Callable[[], Any] = lambda: None  # what others may need while this one waits
        self.pending: Callable[[], Pending | None] = lambda: None  # on the GPU, for longest
        self.abort: Callable[[], Any] = lambda: None  # ends what waits on the GPU
        self._what, self._since = "", 0.0
        self._verdict, self._seen = "", False
        self._left: dict[int, int] = {}  # the calls of the ranks that have ended
        self._failed = False  # an error has ended the main thread
        self._lines: Lines | None = None
        self._own: Server | Meeting | None = None  # of rank 0
        self._server = "the server of rank 0"
        self._complete = threading.Event()
        self._over = threading.Event()  # there is nothing more to learn
        self._all_ended = False
        self._selector = selectors.DefaultSelector()
        self._values: dict[int, list[Any]] = {}
        self._exchanges = 0
        self._messages: dict[tuple[int, int], int] = {}  # how many from whom to whom

    # Meeting the others.

    def join(
        self, hosts: list[str], port: int, key: str, own: Server | Meeting | None = None,
        server: str = "the server of rank 0",
    ) -> None:  # fmt: skip
        """Connect to the server, which this process may have started; wait for all others.

        ``server`` says whose it is.
        """
        self._own, self._server = own, server
        until = time.monotonic() + self.timeout
        name = f"process {os.getpid()} on {socket.gethostname()}"
        hello = {"hello": self.rank, "name": name, "key": key}
        self._lines = connect(hosts, port, hello, until)
        if self._lines is None:
            raise ParallelError(
                f"init: rank {self.rank} cannot reach {server} at {' or '.join(hosts)}, port "
                f"{port}, since {self.timeout:g} s. Has {server} started, and may these machines "
                "open connections to each other?"
            )
        self._selector.register(self._lines.socket, selectors.EVENT_READ)
        threading.Thread(target=self._listen, name="gpugrad-parallel-watch", daemon=True).start()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)
        self._hook_ends()
        asked = False
        while not self._complete.wait(0.05):
            late = time.monotonic() - until
            if late > 0 and not asked:
                asked = True
                self._send(absent=self.timeout)
            if self._verdict or late > ANSWER:
                raise ParallelError(
                    self._verdict
                    or f"init: rank {self.rank} has waited for {self.timeout:g} s for the others, "
                    f"and {server} does not answer"
                )

    def exchange(self, value: Any) -> list[Any]:
        """The values of all processes, objects of JSON, by rank."""
        if self._lines is None:
            return [value]
        self._exchanges += 1
        with self.at("exchange"):
            self._lines.send(value=value, number=self._exchanges)
            while self._exchanges not in self._values:
                self.look()
                time.sleep(1e-4)
        return self._values.pop(self._exchanges)

    # In a call.

    @contextlib.contextmanager
    def at(self, what: str, collective: bool = True) -> Iterator[None]:
        """A block in which this process waits for others, at a call in words."""
        self.calls += collective
        self._what, self._since = what, time.monotonic()
        try:
            yield
        finally:
            self._what = ""

    def announce(self, what: str) -> None:
        """Have the server compare this call with the others' without waiting for them.

        Of the first calls, and then of each 64th, each of which costs a message.
        """
        if _is_compared(self.calls):
            self._send(call=self.calls, what=what)

    def announce_message(self, source: int, to: int, what: str) -> None:
        """Have the server compare what one process sends with what the other one expects.

        Of the first messages of the two in this direction, and then of each 64th.
        """
        number = self._messages[source, to] = self._messages.get((source, to), 0) + 1
        if _is_compared(number):
            self._send(source=source, to=to, number=number, what=what)

    def look(self) -> None:
        """Raise where there is no use in waiting on."""
        for rank, calls in tuple(self._left.items()):  # the thread that listens adds to it
            if self.calls > calls and not self._verdict:
                self._verdict = (
                    f"rank {rank} has ended its program after {calls} calls of gg.parallel, and "
                    f"rank {self.rank} {self._place()}. All must make the same number of calls"
                )
                self._send(failed=self._verdict)
        if self._verdict:
            self._seen = True
            raise ParallelError(self._verdict)

    @staticmethod
    def now() -> float:
        """The time by which waits are measured."""
        return time.monotonic()

    def why(self, error: BaseException) -> ParallelError:
        """What to raise where an engine failed: what went wrong first, if that is another thing."""
        until = time.monotonic() + 1.0
        while not self._verdict and self._lines is not None and time.monotonic() < until:
            time.sleep(0.01)
        self._seen = True
        return ParallelError(self._verdict or f"{self._what or 'gg.parallel'} failed: {error}")

    def _send(self, **message: Any) -> None:
        if self._lines is not None:
            self._lines.send(**message)

    def _place(self) -> str:
        """Where this process is, for others to read."""
        if self._what:
            return f"is at call {self.calls} of gg.parallel, {self._what}"
        if pending := self.pending():
            return f"is at {pending.what}, which its GPU has begun"
        return f"is not there: it is in {_line(sys._current_frames().get(_main()))}"

    # The thread that listens.

    def _listen(self) -> None:
        late_since = late_told = told_at = 0.0
        for message in self._lines.waiting if self._lines else []:
            self._understand(message)
        while not self._over.is_set():
            messages = self._received()
            if messages is None:
                if not self._all_ended:
                    self._learn(
                        f"{self._server} has died without a word, or the connection to it is lost"
                    )
                self._over.set()
            for message in messages or []:
                self._understand(message)
            now = time.monotonic()
            since = self._waits_since()
            if since and now - since > self.timeout and late_since != since:
                late_since, late_told = since, now
                self._send(late=self._place(), timeout=self.timeout)
            if late_told and since == late_since and now - late_told > 4 * ANSWER:
                self._learn(
                    f"rank {self.rank} has waited for {self.timeout:g} s, and {self._place()}; "
                    f"{self._server} does not answer: its process is stopped, or its machine is "
                    "lost"
                )
            if self._verdict and not told_at:
                told_at = now
                self.abort()
            if told_at and now - told_at > self._grace and not self._seen:
                self._give_up()
        while self._verdict and not self._seen:
            told_at = told_at or time.monotonic()
            if time.monotonic() - told_at > self._grace:
                self._give_up()
            time.sleep(0.1)

    def _waits_since(self) -> float:
        """Since when this process has waited, here or on its GPU; 0 where it does not."""
        if self._what:
            return self._since
        pending = self.pending()
        return pending.since if pending else 0.0

    def _received(self) -> list[dict[str, Any]] | None:
        """The messages of the next moment; None where the connection has ended."""
        lines = self._lines
        if lines is None:
            return None
        pause = 0.1 if self._verdict else min(1.0, self.timeout / 4)
        return lines.receive() if self._selector.select(pause) else []

    def _understand(self, message: dict[str, Any]) -> None:
        if "verdict" in message:
            self._learn(message["verdict"])
        elif "values" in message:
            self._values[message["number"]] = message["values"]
        elif "where" in message:
            self._send(at=self._place())
        elif "left" in message:
            self._left[message["left"]] = message["calls"]
        elif "complete" in message:
            self._complete.set()
        elif "all_ended" in message:
            self._all_ended = True
            self._over.set()

    def _learn(self, verdict: str) -> None:
        self._verdict = self._verdict or verdict

    def _give_up(self) -> None:
        """End a process whose main thread does not come to raise."""
        where = _line(sys._current_frames().get(_main()))
        self._say(f"ends, in {where}, because {self._verdict}")
        os._exit(1)

    def _say(self, what: str) -> None:
        sys.stderr.write(f"gpugrad.parallel: rank {self.rank} {what}\n")
        sys.stderr.flush()

    # The end of the program.

    def _hook_ends(self) -> None:
        before = sys.excepthook

        def excepthook(
            kind: type[BaseException], error: BaseException, trace: TracebackType | None
        ) -> None:
            before(kind, error, trace)
            self._failed = self._seen = True
            if isinstance(error, ParallelError):
                self._send(failed=str(error))
            else:
                text = "".join(traceback.format_exception_only(kind, error)).strip()
                at = _line(_innermost(trace))
                self._send(failed=f"rank {self.rank} has raised {text} (in {at})")

        sys.excepthook = excepthook
        atexit.register(self._end)

    def _end(self) -> None:
        """Wait for the end of all processes; leave at once, and without MPI, after a failure."""
        if self._lines is None:
            return
        self._send(ended=self.calls)
        self._seen = True
        since, said = time.monotonic(), False
        failed_since = 0.0
        while not self._over.wait(0.01):
            self.progress()
            now = time.monotonic()
            if self._failed or self._verdict:
                failed_since = failed_since or now
                if now - failed_since > self._grace + ANSWER:
                    break
            elif now - since > self.timeout and not said:
                said = True
                self._say("has ended and waits for the others to end")
        if not (self._failed or self._verdict):
            if self._own is not None:
                self._own.end()
            return
        if not self._failed:
            self._say(f"ends with an error, because {self._verdict}")
        # What MPI would do at the end waits for processes that no longer come.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    def _forget(self) -> None:
        """In a forked process: it is none of the group, and must not keep its connections."""
        if self._lines is not None:
            self._lines.socket.close()
            self._lines = None
        if self._own is not None:
            self._own.leave()


def _main() -> int:
    return threading.main_thread().ident or 0


_LIBRARIES = (
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("purelib"),
    "<",
)


def _is_compared(number: int) -> bool:
    """Whether the call, or message, of a number is told to the server: the first, then a few."""
    return number <= 256 or number % 64 == 0


def _line(frame: Any) -> str:
    """The line of the program, not of a library, that a thread is in."""
    innermost = frame
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARIES):
        frame = frame.f_back
    frame = frame or innermost
    if frame is None:
        return "code that has no line"
    return f"{frame.f_code.co_name}, {frame.f_code.co_filename}:{frame.f_lineno}"


def _innermost(trace: TracebackType | None) -> Any:
    frame = None
    while trace is not None:
        if frame is None or not trace.tb_frame.f_code.co_filename.startswith(_LIBRARIES):
            frame = trace.tb_frame
        trace = trace.tb_next
    return frame
