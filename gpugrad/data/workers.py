"""Processes that read samples and make batches. Imports `dataset`, `fetch`, random and below.

A batch is a job for one process. Job n goes to the process n modulo their number, and the results
are taken in the order of the jobs, so the batches come in one order however quick the processes
are. Before each job the random numbers of NumPy, of Python and of gpugrad are seeded by the epoch
and the number of the batch: augmentations are the same with any number of workers, and after a
resumption in the middle of an epoch.
"""

import contextlib
import multiprocessing
import pickle
import queue
import random as python_random
import signal
import sys
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from multiprocessing.util import Finalize
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.device import device
from gpugrad.data.dataset import home_of, map_arrays
from gpugrad.data.fetch import End
from gpugrad.errors import ArgumentError, DeviceError
from gpugrad.random import manual_seed

__all__ = ["Job", "WorkerInfo", "Workers", "get_worker_info"]

Fetch = Callable[[Any], Any]  # the batch of some rows, or `End`

# How often, in seconds, somebody who waits for the other process looks whether it is alive.
LOOK = 1.0


class WorkerInfo(NamedTuple):
    """The process that reads a sample: ``id`` from 0 to num_workers - 1, and the data set."""

    id: int
    num_workers: int
    seed: int  # of the batch that is being made
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker of a `DataLoader` what it is, else None.

    An `IterableDataset` gives each worker a share of its samples by it.

    >>> import gpugrad as gg
    >>> gg.data.get_worker_info() is None
    True
    """
    return _info


class Job(NamedTuple):
    """The rows of a batch, and what seeds the random numbers while it is made."""

    rows: Any
    seed: tuple[int, ...]


class _Failure(NamedTuple):
    """An error in a worker: the exception, or None where it cannot be sent, and its traceback."""

    error: BaseException | None
    text: str


def _serve(
    make: Callable[[], tuple[Any, Fetch]], jobs: Any, results: Any, number: int, count: int,
    init: Callable[[int], Any] | None,
) -> None:  # fmt: skip
    """A worker: makes the batches of its jobs until it is killed, or is alone."""
    global _info
    # The main process says when to stop. A handler of its own would have come along with a fork.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: None)  # unlike SIG_IGN none of what it may start
    parent = multiprocessing.parent_process()
    made: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # A daemon: where nobody reads any more, it does not keep the process.
    threading.Thread(target=_send, args=(made, results), daemon=True).start()
    dataset, fetch = make()
    _info = WorkerInfo(number, count, 0, dataset)
    with device("cpu"):
        while True:
            try:
                job = jobs.get(timeout=LOOK)
            except queue.Empty:
                if parent is not None and not parent.is_alive():
                    return
                continue
            made.put(_outcome(job, fetch, init))
            init = None


def _send(made: "queue.SimpleQueue[bytes]", results: Any) -> None:
    """Send what was made, while the next batch is: a pipe holds less than one."""
    with contextlib.suppress(OSError):  # the main process is gone
        while True:
            results.send_bytes(made.get())


def _outcome(job: Job, fetch: Fetch, init: Callable[[int], Any] | None) -> bytes:
    """The pickled batch of a job, or `End`, or a `_Failure`."""
    global _info
    assert _info is not None
    try:
        _info = _info._replace(seed=_seeded(job.seed))
        if init is not None:
            init(_info.id)
        batch = fetch(job.rows)
        map_arrays(_check_on_host, batch)
        return pickle.dumps(batch, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001  raised in the main process
        text = f"in worker {_info.id} of a DataLoader:\n{traceback.format_exc()}"
        with contextlib.suppress(Exception):
            sent = pickle.dumps(_Failure(error, text))
            pickle.loads(sent)  # which fails where __init__ expects other arguments than it saves
            return sent
        return pickle.dumps(_Failure(None, text))


def _seeded(seed: tuple[int, ...]) -> int:
    """Seed the random numbers of NumPy, Python and gpugrad; returns a number made of the seed."""
    words = np.random.SeedSequence(seed).generate_state(4)
    np.random.seed(words)
    number = int(words[0]) << 32 | int(words[1])
    python_random.seed(number)
    manual_seed(number)
    return number


def _check_on_host(array: Any) -> None:
    if home_of(array).kind != "cpu":
        raise DeviceError(
            f"DataLoader: a worker made an array on {home_of(array)}. Let the data set return "
            "arrays of the host; the loader sends batches to device="
        )


class Workers:
    """The processes of a loader.

    ``make()`` is called in each and returns its data set and the function that makes a batch.
    ``prefetch`` is how many batches each of them makes ahead, ``timeout`` how many seconds a batch
    may take, 0 for any number, ``init(number)`` is called in each before its first batch.
    """

    def __init__(
        self,
        count: int,
        make: Callable[[], tuple[Any, Fetch]],
        *,
        prefetch: int,
        timeout: float,
        init: Callable[[int], Any] | None,
        context: str | None,
    ) -> None:
        # As in PyTorch: a fork needs no pickled data set and no `if __name__ == "__main__"`.
        chosen = context or ("fork" if sys.platform == "linux" else "spawn")
        if chosen not in (ways := multiprocessing.get_all_start_methods()):
            raise ArgumentError(
                f"DataLoader: multiprocessing_context must be one of {', '.join(ways)}, or None, "
                f"got {chosen!r}"
            )
        start: Any = multiprocessing.get_context(chosen)
        self.prefetch, self.timeout = prefetch, timeout
        self._jobs = [start.Queue() for _ in range(count)]
        self._results: list[Any] = []
        self._processes: list[Any] = []
        for number, jobs in enumerate(self._jobs):
            mine, theirs = start.Pipe(duplex=False)
            process = start.Process(
                target=_serve, args=(make, jobs, theirs, number, count, init), daemon=True
            )
            with theirs, warnings.catch_warnings():
                # NumPy's library for products has threads, which take care of forks themselves.
                warnings.filterwarnings("ignore", ".*multi-threaded.*", DeprecationWarning)
                process.start()
            # The worker alone has that end now: when it dies, even amid a batch, the pipe ends.
            self._results.append(mine)
            self._processes.append(process)
        parts = (self._processes, self._jobs, self._results)
        # With a priority, so that they are stopped before the end of this process waits for them.
        self._stop = Finalize(self, _stop, parts, exitpriority=10)

    def batches(self, jobs: Iterator[Job]) -> Generator[Any, None, None]:
        """The batches of jobs, in their order. Where a worker has no more, the others go on."""
        count = len(self._processes)
        waiting: deque[int] = deque()  # the worker of each batch to come
        for number in range(count * self.prefetch):
            self._give(jobs, number % count, waiting)
        ended: set[int] = set()
        while waiting:
            worker = waiting.popleft()
            if worker in ended:
                self._receive(worker)
                continue
            batch = self._receive(worker)
            if isinstance(batch, End):
                ended.add(worker)
                continue
            self._give(jobs, worker, waiting)
            yield batch
            del batch  # not held while the next one is waited for

    def _give(self, jobs: Iterator[Job], worker: int, waiting: deque[int]) -> None:
        job = next(jobs, None)
        if job is not None:
            self._jobs[worker].put(job)
            waiting.append(worker)

    def _receive(self, worker: int) -> Any:
        """The next result of a worker; its error is raised."""
        began, results = time.monotonic(), self._results[worker]
        try:
            while not results.poll(LOOK):
                self._check(worker, time.monotonic() - began)
            sent = results.recv_bytes()
        except TimeoutError:  # of `_check`; an OSError, too
            raise
        except (EOFError, OSError):  # the end of the pipe, at or amid a batch
            self._processes[worker].join()
            raise self._death(worker) from None
        result = pickle.loads(sent)
        if isinstance(result, _Failure):
            error = result.error or RuntimeError("DataLoader: a worker raised an error")
            error.add_note(result.text)
            raise error
        return result

    def _check(self, worker: int, seconds: float) -> None:
        if not self._processes[worker].is_alive():
            raise self._death(worker)
        if self.timeout and seconds > self.timeout:
            raise TimeoutError(
                f"DataLoader: worker {worker} took more than timeout={self.timeout} seconds for a "
                "batch"
            )

    def _death(self, worker: int) -> RuntimeError:
        code = self._processes[worker].exitcode
        return RuntimeError(
            f"DataLoader: worker {worker} died with exit code {code}. A negative one is a signal; "
            "-9 often means that memory ran out: take fewer workers. Its own errors are above"
        )

    def close(self) -> None:
        """Stop the processes; what they are making is lost."""
        self._stop()


def _stop(processes: list[Any], jobs: list[Any], results: list[Any]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.join()
    for given, made in zip(jobs, results, strict=True):
        given.cancel_join_thread()
        given.close()
        made.close()
