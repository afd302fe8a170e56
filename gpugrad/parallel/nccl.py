"""The engines of GPUs: NCCL, and copies through the host for what has no better. Imports backend.

NCCL's calls are queued on a stream and the host does not wait, so that nothing can be agreed on
before: each call is announced to the server of the meeting, which compares. What does not end on
the GPU in time is found by the watch.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.backend.device import Device, asked_for, device_of, to_numpy
from gpugrad.backend.nccl import Communicator
from gpugrad.parallel.engine import (
    DONE,
    Engine,
    Handle,
    check_reduction,
    contents,
    described,
    described_all,
)
from gpugrad.parallel.watch import Pending, Watch

__all__ = ["NCCLEngine", "through_device", "through_host"]


class NCCLEngine(Engine):
    """Processes with a GPU each. Arrays are CuPy's, on this process's GPU."""

    def __init__(self, communicator: Communicator, watch: Watch) -> None:
        self.rank, self.size = watch.rank, watch.size
        self._to, self._watch = communicator, watch
        watch.pending, watch.abort = self._oldest, communicator.abort
        self._queue: deque[Pending] = deque()
        self._lock = threading.Lock()

    def all_reduce(
        self, array: Any, op: str = "sum", *, block: bool = True, note: str = ""
    ) -> Handle:
        check_reduction("all_reduce", op, array.dtype)
        what = described(f"all_reduce {op!r}", array, note)
        return self._run(what, array, lambda: self._to.all_reduce(array, op), block)

    def reduce(
        self, array: Any, root: int, op: str = "sum", *, block: bool = True, note: str = ""
    ) -> Handle:
        check_reduction("reduce", op, array.dtype)
        what = described(f"reduce {op!r} to {root}", array, note)
        return self._run(what, array, lambda: self._to.reduce(array, root, op), block)

    def reduce_scatter(
        self, array: Any, op: str = "sum", *, lengths: Sequence[int] | None = None,
        block: bool = True, note: str = "",
    ) -> Handle:  # fmt: skip
        check_reduction("reduce_scatter", op, array.dtype)
        own = self.own_part("reduce_scatter", array, lengths)
        what = described(f"reduce_scatter {op!r}", array, note)
        if lengths is None:
            return self._run(what, own, lambda: self._to.reduce_scatter(array, own, op), block)
        roots, parts = _cut(array, lengths)
        return self._run(what, own, lambda: self._to.reduce_each(parts, roots, op), block)

    def all_gather(
        self, array: Any, *, lengths: Sequence[int] | None = None, block: bool = True,
        note: str = "",
    ) -> Handle:  # fmt: skip
        own = self.own_part("all_gather", array, lengths)
        what = described("all_gather", array, note)
        if lengths is None:
            return self._run(what, array, lambda: self._to.all_gather(array, own), block)
        roots, parts = _cut(array, lengths)
        return self._run(what, array, lambda: self._to.broadcast_each(parts, roots), block)

    def broadcast(self, array: Any, root: int = 0, *, block: bool = True, note: str = "") -> Handle:
        what = described(f"broadcast from {root}", array, note)
        return self._run(what, array, lambda: self._to.broadcast(array, root), block)

    def reduce_each(
        self, arrays: Sequence[Any], roots: Sequence[int | None], op: str = "sum", *,
        block: bool = True, note: str = "",
    ) -> Handle:  # fmt: skip
        check_reduction("reduce_each", op, arrays[0].dtype)
        what = described_all(f"reduce_each {op!r}", arrays, note)
        return self._run(what, arrays, lambda: self._to.reduce_each(arrays, roots, op), block)

    def broadcast_each(
        self, arrays: Sequence[Any], roots: Sequence[int], *, block: bool = True, note: str = ""
    ) -> Handle:
        what = described_all("broadcast_each", arrays, note)
        return self._run(what, arrays, lambda: self._to.broadcast_each(arrays, roots), block)

    def send(self, array: Any, to: int, *, note: str = "") -> None:
        what = described(f"send to {to}", array, note)
        self._watch.announce_message(self.rank, to, contents(array, note))
        self._run(what, array, lambda: self._to.send(array, to), True, collective=False)

    def recv(self, array: Any, source: int, *, note: str = "") -> None:
        what = described(f"recv from {source}", array, note)
        self._watch.announce_message(source, self.rank, contents(array, note))
        self._run(what, array, lambda: self._to.recv(array, source), True, collective=False)

    def exchange(self, value: Any) -> list[Any]:
        return self._watch.exchange(value)

    def barrier(self) -> None:
        self._watch.exchange(None)

    def _run(
        self, what: str, result: Any, queue: Callable[[], Any], block: bool,
        collective: bool = True,
    ) -> Handle:  # fmt: skip
        with self._watch.at(what, collective):
            self._watch.look()
            if collective:
                self._watch.announce(what)
            try:
                self._to.check()
                event = queue()
            except RuntimeError as error:  # NCCL's, or CUDA's
                raise self._watch.why(error) from error
            self._oldest()
            with self._lock:  # the memory is not used again before the call has ended
                self._queue.append(Pending(what, self._watch.now(), event, result))

        handle = Handle(lambda: self._to.after(event))
        if block:
            handle.wait()
        return handle

    def _oldest(self) -> Pending | None:
        """The call that has been on the GPU for longest and has not ended."""
        with self._lock:
            while self._queue and self._to.is_done(self._queue[0].event):
                self._queue.popleft()
            return self._queue[0] if self._queue else None


def _cut(array: Any, lengths: Sequence[int]) -> tuple[list[int], list[Any]]:
    """The parts of an array, and whose they are; without those that are empty."""
    ends = np.cumsum(lengths).tolist()
    roots = [root for root, length in enumerate(lengths) if length]
    return roots, [array[ends[root] - lengths[root] : ends[root]] for root in roots]


class Staged(Engine):
    """Arrays of another device than that of an engine's, through copies of them.

    ``there`` and ``back`` copy: to the engine's device, and into the array.
    """

    joins = False

    def __init__(
        self, engine: Engine, there: Callable[[Any], Any], back: Callable[[Any, Any], None]
    ) -> None:
        self.rank, self.size = engine.rank, engine.size
        self._engine, self._there, self._back = engine, there, back

    def all_reduce(
        self, array: Any, op: str = "sum", *, block: bool = True, note: str = ""
    ) -> Handle:
        return self._through(array, lambda x: self._engine.all_reduce(x, op, note=note))

    def reduce(
        self, array: Any, root: int, op: str = "sum", *, block: bool = True, note: str = ""
    ) -> Handle:
        return self._through(array, lambda x: self._engine.reduce(x, root, op, note=note))

    def reduce_scatter(
        self, array: Any, op: str = "sum", *, lengths: Sequence[int] | None = None,
        block: bool = True, note: str = "",
    ) -> Handle:  # fmt: skip
        return self._through(
            array, lambda x: self._engine.reduce_scatter(x, op, lengths=lengths, note=note)
        )

    def all_gather(
        self, array: Any, *, lengths: Sequence[int] | None = None, block: bool = True,
        note: str = "",
    ) -> Handle:  # fmt: skip
        return self._through(
            array, lambda x: self._engine.all_gather(x, lengths=lengths, note=note)
        )

    def broadcast(self, array: Any, root: int = 0, *, block: bool = True, note: str = "") -> Handle:
        return self._through(array, lambda x: self._engine.broadcast(x, root, note=note))

    def send(self, array: Any, to: int, *, note: str = "") -> None:
        self._engine.send(self._there(array), to, note=note)

    def recv(self, array: Any, source: int, *, note: str = "") -> None:
        copy = self._there(array)
        self._engine.recv(copy, source, note=note)
        self._back(array, copy)

    def exchange(self, value: Any) -> list[Any]:
        return self._engine.exchange(value)

    def barrier(self) -> None:
        self._engine.barrier()

    def _through(self, array: Any, call: Callable[[Any], Handle]) -> Handle:
        copy = self._there(array)
        call(copy)
        self._back(array, copy)
        return DONE


def through_host(engine: Engine) -> Staged:
    """An engine of the host, for the arrays of a device that it cannot read."""

    def there(array: Any) -> Any:
        return np.array(to_numpy(array))  # a copy even of memory that the host can write

    def back(array: Any, copy: Any) -> None:
        with asked_for():
            array[...] = device_of(array).send(copy)

    return Staged(engine, there, back)


def through_device(engine: Engine, device: Device) -> Staged:
    """An engine of a GPU, for arrays of the host."""

    def back(array: Any, copy: Any) -> None:
        array[...] = to_numpy(copy)

    return Staged(engine, device.send, back)
