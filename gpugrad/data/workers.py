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
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.device import device
from gpugrad.data.dataset import home_of, map_arrays
from gpugrad.data.fetch import End
from gpugrad.errors import DeviceError
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
    """A worker: makes the batches of its jobs until it is told to stop, or is alone."""
    global _info
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process says when to stop
    parent = multiprocessing.parent_process()
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
            if job is None:
                return
            results.put(_outcome(job, fetch, init))
            init = None


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
            return pickle.dumps(_Failure(error, text))
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
        start: Any = multiprocessing.get_context(chosen)
        self.prefetch, self.timeout = prefetch, timeout
        self._jobs = [start.Queue() for _ in range(count)]
        self._results = [start.Queue() for _ in range(count)]
        self._processes = [
            start.Process(
                target=_serve, args=(make, jobs, results, number, count, init), daemon=True
            )
            for number, (jobs, results) in enumerate(zip(self._jobs, self._results, strict=True))
        ]
        with warnings.catch_warnings():
            # NumPy's library for products has threads, which take care of forks themselves.
            warnings.filterwarnings("ignore", ".*multi-threaded.*", DeprecationWarning)
            for process in self._processes:
                process.start()

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
        began = time.monotonic()
        while True:
            try:
                result = pickle.loads(self._results[worker].get(timeout=LOOK))
                break
            except queue.Empty:
                self._check(worker, time.monotonic() - began)
        if isinstance(result, _Failure):
            error = result.error or RuntimeError("DataLoader: a worker raised an error")
            error.add_note(result.text)
            raise error
        return result

    def _check(self, worker: int, seconds: float) -> None:
        process = self._processes[worker]
        if not process.is_alive():
            raise RuntimeError(
                f"DataLoader: worker {worker} died with exit code {process.exitcode}. A negative "
                "one is a signal; -9 often means that memory ran out: take fewer workers. Its own "
                "errors are above"
            )
        if self.timeout and seconds > self.timeout:
            raise TimeoutError(
                f"DataLoader: worker {worker} took more than timeout={self.timeout} seconds for a "
                "batch"
            )

    def close(self) -> None:
        """Stop the processes; what they are making is lost."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()
        for channel in (*self._jobs, *self._results):
            channel.cancel_join_thread()
            channel.close()
