"""The engine of MPI, through mpi4py. Imports errors, backend, engine and watch.

All processes agree on each call before its bytes move: the smallest of a number made of the call's
name, shape and dtype must be everybody's. Whoever waits there for a process that does not come
looks at the watch meanwhile, and a call that differs raises on all of them. A call that does not
block runs in a thread of its own, one after the other: MPI itself makes no progress between calls.
"""

import ctypes
import os
import queue
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from gpugrad.backend.device import device_of
from gpugrad.backend.precision import SINGLE, is_half, kind_of
from gpugrad.errors import DTypeError, ParallelError
from gpugrad.parallel.engine import DONE, Engine, Handle, check_reduction, contents, described
from gpugrad.parallel.meeting import different, not_expected
from gpugrad.parallel.watch import Watch

__all__ = ["MPIEngine", "cuda_aware"]

_OPS = {"sum": MPI.SUM, "mean": MPI.SUM, "max": MPI.MAX, "min": MPI.MIN}
# How often a waiting process looks again, at first without a pause, then with one that grows.
_EAGER, _PAUSE, _LONGEST = 200, 2e-5, 1e-3
_FROM_RANK = 77  # the tag of messages between two processes


class MPIEngine(Engine):
    """The processes of an MPI communicator. Arrays are NumPy's; CuPy's too if it is CUDA-aware."""

    joins = False

    def __init__(self, comm: Any, watch: Watch) -> None:
        self._data, self._headers = comm.Dup(), comm.Dup()
        self.rank, self.size = comm.rank, comm.size
        self._watch = watch
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._last: _Job | None = None
        self._thread: threading.Thread | None = None
        watch.progress = lambda: self._headers.Iprobe()
        self._threads = MPI.Query_thread() >= MPI.THREAD_SERIALIZED

    # The calls.

    def all_reduce(
        self, array: Any, op: str = "sum", *, block: bool = True, note: str = ""
    ) -> Handle:
        check_reduction("all_reduce", op, array.dtype)

        def move() -> None:
            wide = _reducible(array)
            self._data.Allreduce(MPI.IN_PLACE, wide, _OPS[op])
            self._finish(wide, array, op)

        return self._run(f"all_reduce {op!r}", array, note, move, block)

    def reduce(
        self, array: Any, root: int, op: str = "sum", *, block: bool = True, note: str = ""
    ) -> Handle:
        check_reduction("reduce", op, array.dtype)

        def move() -> None:
            wide = _reducible(array)
            if self.rank == root:
                self._data.Reduce(MPI.IN_PLACE, wide, _OPS[op], root)
                self._finish(wide, array, op)
            else:
                self._data.Reduce(wide, None, _OPS[op], root)

        return self._run(f"reduce {op!r} to {root}", array, note, move, block)

    def reduce_scatter(
        self, array: Any, op: str = "sum", *, lengths: Sequence[int] | None = None,
        block: bool = True, note: str = "",
    ) -> Handle:  # fmt: skip
        check_reduction("reduce_scatter", op, array.dtype)
        own = self.own_part("reduce_scatter", array, lengths)

        def move() -> None:
            wide = _reducible(array)
            part = _settled(wide[: len(own)].copy())  # MPI gives the result a memory of its own
            if lengths is None:
                self._data.Reduce_scatter_block(wide, part, _OPS[op])
            else:
                self._data.Reduce_scatter(wide, part, _counts(wide, lengths), _OPS[op])
            self._finish(part, own, op)

        return self._run(f"reduce_scatter {op!r}", array, note, move, block)

    def all_gather(
        self, array: Any, *, lengths: Sequence[int] | None = None, block: bool = True,
        note: str = "",
    ) -> Handle:  # fmt: skip
        self.own_part("all_gather", array, lengths)

        def move() -> None:
            if lengths is None:
                self._data.Allgather(MPI.IN_PLACE, _bytes(array))
            else:
                raw, kind = _bytes(array)
                counts = _counts(raw.reshape(array.shape[0], -1), lengths)
                self._data.Allgatherv(MPI.IN_PLACE, [raw, counts, None, kind])

        return self._run("all_gather", array, note, move, block)

    def broadcast(self, array: Any, root: int = 0, *, block: bool = True, note: str = "") -> Handle:
        return self._run(
            f"broadcast from {root}", array, note,
            lambda: self._data.Bcast(_bytes(array), root), block,
        )  # fmt: skip

    def send(self, array: Any, to: int, *, note: str = "") -> None:
        self._drain()
        what = contents(array, note)
        with self._watch.at(f"send to {to} of {what}", collective=False):
            _settle(array)
            header = self._headers.isend(what, to, _FROM_RANK)
            self._wait_for(header)
            self._wait_for(self._data.Isend(_bytes(array), to, _FROM_RANK))

    def recv(self, array: Any, source: int, *, note: str = "") -> None:
        self._drain()
        what = contents(array, note)
        with self._watch.at(f"recv from {source} of {what}", collective=False):
            _settle(array)  # what is queued may still use its memory
            header = self._headers.irecv(None, source, _FROM_RANK)
            sent = self._wait_for(header)
            if sent != what:
                self._discard(source)
                raise ParallelError(not_expected(source, sent, self.rank, what))
            self._wait_for(self._data.Irecv(_bytes(array), source, _FROM_RANK))

    def _discard(self, source: int) -> None:
        """Receive a message that is not wanted, so that it is not taken for the next one."""
        status = MPI.Status()
        while not self._data.Iprobe(source, _FROM_RANK, status):
            self._watch.look()
        rest = np.empty(status.Get_count(MPI.BYTE), np.uint8)
        self._data.Recv([rest, MPI.BYTE], source, _FROM_RANK)

    def exchange(self, value: Any) -> list[Any]:
        self._drain()
        with self._watch.at("exchange"):
            self.agree("exchange")
            return list(self._headers.allgather(value))

    def barrier(self) -> None:
        self._run("barrier", None, "", lambda: None, True)

    # What they are made of.

    def _run(
        self, who: str, array: Any, note: str, move: Callable[[], None], block: bool
    ) -> Handle:
        job = _Job(self, who if array is None else described(who, array, note), array, move)
        if block or not self._threads:
            self._drain()
            job.run()
            return DONE
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, name="gpugrad-parallel-mpi", daemon=True
            )
            self._thread.start()
        self._last = job
        self._jobs.put(job)
        return Handle(job.wait)

    def _work(self) -> None:
        while True:
            self._jobs.get().run_aside()

    def _drain(self) -> None:
        """Wait until the thread has nothing to do: calls keep their order so."""
        last, self._last = self._last, None
        if last is not None:
            last.wait()

    def agree(self, what: str) -> None:
        """Return when all processes are at the same call; raise on all where one is at another."""
        number = zlib.crc32(what.encode())
        ends = np.array([number, -number])
        self._wait_for(self._headers.Iallreduce(MPI.IN_PLACE, ends, MPI.MIN))
        if ends[0] != -ends[1]:
            calls = dict(enumerate(self._headers.allgather(what)))
            raise ParallelError(different(self._watch.calls, calls))

    def _wait_for(self, request: Any) -> Any:
        """The value of a finished request; looks at the watch while it is not."""
        for _ in range(_EAGER):
            done, value = request.test()
            if done:
                return value
        pause = _PAUSE
        while True:
            done, value = request.test()
            if done:
                return value
            self._watch.look()
            time.sleep(pause)
            pause = min(pause * 1.2, _LONGEST)

    def _finish(self, wide: Any, array: Any, op: str) -> None:
        """Write a reduction where it belongs."""
        if op == "mean":
            wide /= self.size
        if wide.dtype != array.dtype:
            array[...] = wide
        elif wide is not array:
            array[...] = wide.reshape(array.shape)


class _Job:
    """A call that runs now, or in the engine's thread."""

    def __init__(self, engine: MPIEngine, what: str, array: Any, move: Callable[[], None]) -> None:
        self.engine, self.what, self.array, self.move = engine, what, array, move
        _settle(array)
        self.done = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        with self.engine._watch.at(self.what):
            self.engine.agree(self.what)
            try:
                if self.array is None:
                    self.move()
                else:  # the current device is one of the thread
                    with device_of(self.array).activate():
                        self.move()
                        _settle(self.array)
            except MPI.Exception as error:
                raise self.engine._watch.why(error) from error

    def run_aside(self) -> None:
        try:
            self.run()
        except Exception as error:  # noqa: BLE001  raised where it is waited for
            self.error = error
        self.done.set()

    def wait(self) -> None:
        self.done.wait()
        if self.error is not None:
            raise self.error


def _settle(array: Any) -> None:
    """Wait for a GPU's queue, of which MPI knows nothing."""
    if array is not None and not isinstance(array, np.ndarray):
        device_of(array).synchronize()


def _settled(array: Any) -> Any:
    _settle(array)
    return array


def cuda_aware() -> bool:
    """Whether this MPI says that it takes the memory of GPUs."""
    if os.environ.get("MPICH_GPU_SUPPORT_ENABLED") == "1":  # Cray's
        return True
    for library in (MPI.__file__, None):
        try:
            asked = ctypes.CDLL(library).MPIX_Query_cuda_support
        except (OSError, AttributeError):
            continue
        return bool(asked())
    return False


def _counts(array: Any, lengths: Sequence[int]) -> list[int]:
    """How many elements are in the parts into which the first axis of an array is cut."""
    return [length * (array.size // max(array.shape[0], 1)) for length in lengths]


def _bytes(array: Any) -> Any:
    """The memory of an array as MPI takes it, whatever the dtype."""
    return [array.reshape(-1).view(np.uint8), MPI.BYTE]


def _reducible(array: Any) -> Any:
    """The array, or a copy in a dtype that MPI computes with: halves in float32, native order."""
    if is_half(array.dtype):
        return _settled(array.astype(SINGLE))
    if kind_of(array.dtype) == "b":
        return array.view(np.uint8)
    if kind_of(array.dtype) not in "iufc":
        raise DTypeError(f"all_reduce: expected numbers, got an array of {array.dtype}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
