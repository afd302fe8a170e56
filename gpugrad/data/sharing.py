"""Shares of a batch for processes that train together. Imports backend, errors and random."""

import numpy as np

from gpugrad.backend import processes
from gpugrad.errors import ArgumentError
from gpugrad.random import Generator

__all__ = ["ALL", "Share", "share_of", "share_state"]


class Share:
    """Which rows of each batch are those of a process, ``rank`` of ``size``.

    A batch is cut into parts of equal length, but for one row. Of a last batch with fewer rows than
    there are processes, some have the first row again, with a weight of 0.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def rows(self, first: int, count: int) -> slice:
        """The rows of the process among the ``count`` of a batch that begins with ``first``."""
        low, high = self._ends(count)
        return slice(first, first + 1) if low == high else slice(first + low, first + high)

    def weight(self, count: int) -> float:
        """How much the mean over these rows counts in a mean over the processes."""
        low, high = self._ends(count)
        return (high - low) * self.size / count

    def _ends(self, count: int) -> tuple[int, int]:
        return count * self.rank // self.size, count * (self.rank + 1) // self.size


ALL = Share()


def share_of(who: str, batch_size: int) -> Share:
    """The share of this process; ArgumentError where there is none."""
    if processes.joined is None:
        raise ArgumentError(
            f"{who}: parallel=True shares each batch with the processes of gg.parallel, which have "
            "not met yet: call gg.parallel.init() first"
        )
    if batch_size < processes.size():
        raise ArgumentError(
            f"{who}: with parallel=True batch_size is that of all {processes.size()} processes "
            f"together, and must be at least as large, got {batch_size}"
        )
    return Share(processes.rank(), processes.size())


def share_state(generator: Generator) -> None:
    """Give a generator of random numbers the state that it has on rank 0."""
    if processes.size() > 1:
        state = np.array(generator.get_state(), np.uint64)
        processes.from_first(state, "the state of a generator")
        generator.set_state(tuple(state.tolist()))
