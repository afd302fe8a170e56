"""Where the processes meet, beside MPI and NCCL: a small server, in a process that rank 0 starts.

Imports nothing of gpugrad: that process runs this file alone. Each process keeps one connection to
it, over which go lines of JSON and never an array. The server knows by an ended connection that a
process is dead, asks everybody for the place where it is when one has waited too long, and tells
all of them the first thing that went wrong. `gpugrad.parallel.watch` is the other end.
"""

import contextlib
import json
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

__all__ = ["Lines", "Meeting", "Server", "connect", "different", "not_expected"]

# How long a process has to answer where it is.
ANSWER = 1.0


class Lines:
    """Objects of JSON over a connection, one a line."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._rest = b""
        self.waiting: list[dict[str, Any]] = []  # received, and not looked at yet
        self._sending = threading.Lock()

    def send(self, **message: Any) -> bool:
        """Send one; whether the connection still takes it."""
        try:
            with self._sending:
                self.socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> list[dict[str, Any]] | None:
        """What has come, after `select` has said that something has; None where it has ended."""
        try:
            data = self.socket.recv(1 << 16)
        except OSError:
            return None
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]


def connect(hosts: list[str], port: int, hello: dict[str, Any], until: float) -> Lines | None:
    """A connection to the server, which may not be there yet; None where it does not come.

    Another program at that port does not answer as the server does.
    """
    while True:
        for host in hosts:
            try:
                connection = socket.create_connection((host, port), timeout=2.0)
            except OSError:
                continue
            connection.settimeout(max(2.0, min(30.0, until - time.monotonic())))
            lines = Lines(connection)
            try:
                lines.waiting = (lines.send(**hello) and lines.receive()) or []
                if {"welcome": hello["key"]} in lines.waiting:
                    connection.settimeout(None)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return lines
            except ValueError:  # no JSON
                pass
            connection.close()
        if time.monotonic() > until:
            return None
        time.sleep(0.05)


def different(call: int, calls: dict[int, str]) -> str:
    """The sentence that says who is at which call, given the ranks' calls of one number."""
    by_call: dict[str, list[str]] = {}
    for rank, what in sorted(calls.items()):
        by_call.setdefault(what, []).append(str(rank))
    parts = [f"{_ranks(ranks)}: {what}" for what, ranks in by_call.items()]
    return (
        f"the processes do different things at call {call} of gg.parallel: {'; '.join(parts)}. "
        "All must make the same calls in the same order, with equal shapes and dtypes"
    )


def not_expected(source: int, sent: str, to: int, expected: str) -> str:
    """The sentence about a message that its receiver expects otherwise."""
    return (
        f"recv: rank {source} sends {sent} and rank {to} expects {expected}. Both need the same "
        "shape and dtype"
    )


def _ranks(ranks: list[str]) -> str:
    if len(ranks) > 8:
        ranks = [*ranks[:8], f"and {len(ranks) - 8} more"]
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(ranks)}"


class Meeting:
    """The server, in a thread of its own."""

    def __init__(self, size: int, key: str, port: int = 0) -> None:
        self._size, self.key = size, key
        self._server = _listening(port)
        self.port = self._server.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ, None)
        self._woken, self._wake = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._is_over = self._is_left = False
        self._ranks: dict[int, Lines] = {}
        self._names: dict[int, str] = {}  # pid and host
        self._ended: set[int] = set()  # ranks that have said so
        self._gone: set[int] = set()  # connections that have ended
        self._calls: dict[int, dict[int, str]] = {}
        self._values: dict[int, dict[int, Any]] = {}
        self._messages: dict[tuple[int, int, int], str] = {}  # what one of the two has said
        self._late: dict[str, Any] | None = None  # who has waited too long, while others answer
        self._answers: dict[int, str] = {}
        self._answers_by = 0.0
        self._verdict = ""
        self._thread = threading.Thread(
            target=self._run, name="gpugrad-parallel-meeting", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> "Meeting":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End the server, also where processes are missing, and wait for its thread."""
        self._is_over = True
        with contextlib.suppress(OSError):  # its thread has closed it: it has ended by itself
            self._wake.send(b"!")
        self._thread.join()

    def leave(self) -> None:
        """End the server when those who have come are gone, or have all said that they end."""
        self._is_left = True
        with contextlib.suppress(OSError):
            self._wake.send(b"!")
        self._thread.join()

    def _run(self) -> None:
        try:
            self._serve()
        finally:  # after an error too: the processes notice the end of their connections
            self._selector.close()
            for one in (self._server, self._woken, self._wake):
                one.close()
            for lines in self._ranks.values():
                lines.socket.close()

    def _has_ended(self) -> bool:
        if self._is_over or len(self._gone) == self._size:
            return True
        all_said = len(self._ended) == self._size and not self._verdict
        return self._is_left and (all_said or self._gone.issuperset(self._ranks))

    def _serve(self) -> None:
        while not self._has_ended():
            waiting = None if self._late is None else max(0, self._answers_by - time.monotonic())
            for key, _ in self._selector.select(waiting):
                if key.fileobj is self._server:
                    self._accept()
                elif key.data is not None:
                    self._read(*key.data)
                else:
                    self._woken.recv(1)
            if self._late is not None and time.monotonic() >= self._answers_by:
                self._judge_late()

    def _accept(self) -> None:
        connection, _ = self._server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._selector.register(connection, selectors.EVENT_READ, (None, Lines(connection)))

    def _read(self, rank: int | None, lines: Lines) -> None:
        try:
            messages = lines.receive()
        except ValueError:  # some other program's
            messages = None
        if messages is None or (rank is None and not self._is_hello(messages)):
            self._selector.unregister(lines.socket)
            lines.socket.close()
            if rank is not None:
                self._lost(rank)
            return
        for message in messages:
            if rank is None:
                rank = message["hello"]
                self._welcome(rank, lines, message["name"])
            else:
                self._understand(rank, message)

    def _is_hello(self, messages: list[dict[str, Any]]) -> bool:
        first = messages[0] if messages else {}
        return isinstance(first, dict) and first.get("key") == self.key and "hello" in first

    def _welcome(self, rank: int, lines: Lines, name: str) -> None:
        lines.send(welcome=self.key)
        if rank in self._ranks:
            self._tell(
                f"two processes say that they are rank {rank}: {self._names[rank]} and {name}. "
                "Is another program running with the same MASTER_PORT?"
            )
        self._selector.modify(lines.socket, selectors.EVENT_READ, (rank, lines))
        self._ranks[rank], self._names[rank] = lines, name
        if self._verdict:
            lines.send(verdict=self._verdict)
        if len(self._ranks) == self._size:
            self._send_all(complete=True)

    def _understand(self, rank: int, message: dict[str, Any]) -> None:
        if "call" in message:
            self._compare(rank, message["call"], message["what"])
        elif "value" in message:
            self._collect(rank, message["number"], message["value"])
        elif "source" in message:
            self._compare_message(rank, message)
        elif "failed" in message:
            self._tell(message["failed"])
        elif "absent" in message and len(self._ranks) < self._size:
            self._tell(self._absent(rank, message["absent"]))
        elif "late" in message:
            self._ask(rank, message)
        elif "at" in message:
            self._answers[rank] = message["at"]
            if len(self._answers) == self._size and self._late is not None:
                self._judge_late()
        elif "ended" in message:
            self._ended.add(rank)
            self._send_all(left=rank, calls=message["ended"])
            self._end_all()

    def _absent(self, rank: int, timeout: float) -> str:
        absent = [str(other) for other in range(self._size) if other not in self._ranks]
        return (
            f"init: rank {rank} has waited for {timeout:g} s; not come: {_ranks(absent)} of "
            f"{self._size}"
        )

    def _lost(self, rank: int) -> None:
        self._gone.add(rank)
        if rank not in self._ended:
            self._tell(
                f"rank {rank} ({self._names[rank]}) has died without a word: killed by a signal, "
                "perhaps for want of memory, or by os._exit"
            )
            self._ended.add(rank)
        self._end_all()

    def _end_all(self) -> None:
        """Let everybody end once all have said that they do."""
        if len(self._ended) == self._size:
            self._send_all(all_ended=True)

    def _compare(self, rank: int, call: int, what: str) -> None:
        calls = self._calls.setdefault(call, {})
        calls[rank] = what
        if len(set(calls.values())) > 1:
            self._tell(different(call, calls))
        if len(calls) == self._size:
            del self._calls[call]

    def _compare_message(self, rank: int, message: dict[str, Any]) -> None:
        source, to, number = message["source"], message["to"], message["number"]
        own, other = message["what"], self._messages.pop((source, to, number), None)
        if other is None:
            self._messages[source, to, number] = own
        elif other != own:
            sent, expected = (own, other) if rank == source else (other, own)
            self._tell(not_expected(source, sent, to, expected) + f" (message {number} of the two)")

    def _collect(self, rank: int, number: int, value: Any) -> None:
        values = self._values.setdefault(number, {})
        values[rank] = value
        if len(values) == self._size:
            del self._values[number]
            self._send_all(values=[values[rank] for rank in range(self._size)], number=number)

    def _ask(self, rank: int, message: dict[str, Any]) -> None:
        if self._late is None and not self._verdict:
            self._late = {**message, "rank": rank}
            self._answers, self._answers_by = {}, time.monotonic() + ANSWER
            self._send_all(where=True)

    def _judge_late(self) -> None:
        late, self._late = self._late, None
        assert late is not None
        elsewhere: dict[str, list[str]] = {}
        for rank in range(self._size):
            answer = self._answers.get(
                rank, "does not answer: its process is stopped, or its machine is lost"
            )
            if answer != late["late"]:
                elsewhere.setdefault(answer, []).append(str(rank))
        parts = [f"{_ranks(ranks)} {answer}" for answer, ranks in elsewhere.items()]
        self._tell(
            f"rank {late['rank']} has waited for {late['timeout']:g} s, and {late['late']}; "
            + ("; ".join(parts) or "so are all: the network between them does not work")
            + ". If one of them only takes its time, pass a longer timeout to gg.parallel.init"
        )

    def _tell(self, verdict: str) -> None:
        """Say what went wrong to all: the first thing only, since others follow from it."""
        if self._verdict:
            return
        self._verdict = verdict
        # At once: the launcher may kill all the others the next moment.
        with contextlib.suppress(OSError):  # nobody reads it any longer
            sys.stderr.write(f"gpugrad.parallel: {verdict}\n")
            sys.stderr.flush()
        self._send_all(verdict=verdict)

    def _send_all(self, **message: Any) -> None:
        for rank, lines in sorted(self._ranks.items(), reverse=True):  # rank 0 has the server
            if rank not in self._gone:
                lines.send(**message)


def _listening(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
            )
        except OSError:  # IPv6 is there, and switched off
            pass
    return socket.create_server(("", port), backlog=1024)


class Server:
    """A meeting in a process of its own, in a session of its own.

    A launcher that kills the ranks when one has died (MPICH's does so within a millisecond) does
    not kill it, so that it can say which it was. It ends with the last of them.
    """

    def __init__(self, size: int, key: str, port: int = 0) -> None:
        self.key = key
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(size), str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # Not as an argument, which other users could read.
        self._process.stdin.write(key.encode() + b"\n")
        self._process.stdin.flush()
        with self._process.stdout as answer:
            said = answer.readline().decode().strip()
        if not said.isdecimal():
            self.end()
            raise OSError(said or f"{sys.executable} has started no server")
        self.port = int(said)

    def leave(self) -> None:
        """Let the server end when the ranks have; called by their end where nobody calls it."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def end(self) -> None:
        """Leave the server, and wait for its end."""
        self.leave()
        self._process.wait()


def _main(size: str, port: str) -> None:
    """The process of a `Server`: it answers with its port, and ends when its input has ended."""
    for number in (signal.SIGTERM, signal.SIGINT):  # a launcher's, for the ranks
        signal.signal(number, signal.SIG_IGN)
    key = sys.stdin.readline().strip()
    try:
        meeting = Meeting(int(size), key, int(port))
    except OSError as error:
        sys.stdout.write(f"{error}\n")
        return
    sys.stdout.write(f"{meeting.port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    meeting.leave()


if __name__ == "__main__":
    _main(*sys.argv[1:])
