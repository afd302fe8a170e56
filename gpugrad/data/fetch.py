"""What makes a batch of a data set of one's own, in this process or in a worker.

Imports random. The functions are objects that pickle, so that they can be sent to a worker.
"""

import random as python_random
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from gpugrad.random import default_generator

__all__ = ["End", "OfRows", "OfStream", "after", "made", "makes_batches"]


class End(NamedTuple):
    """In place of a batch: there are no more. A StopIteration may be that of a sample's code."""


class OfRows:
    """The batch of some rows: of the samples with these numbers, or the one that is given whole."""

    def __init__(self, dataset: Any, collate_fn: Callable[..., Any] | None, alone: bool) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.alone = alone  # of a data set of one array, which gives no tuples

    def __call__(self, rows: np.ndarray) -> Any:
        if self.collate_fn is not None:
            return self.collate_fn([self.dataset[row] for row in rows.tolist()])
        batch = self.dataset[rows]
        return batch[0] if self.alone else batch


class OfStream:
    """The next batch of a data set that is read from the beginning to the end.

    It is called with the number of the epoch and the seed of its order, which is None but for a
    data set with ``batches``; it returns `End` at the end.
    """

    def __init__(
        self, dataset: Any, collate_fn: Callable[..., Any] | None, batch_size: int, drop_last: bool
    ) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.batch_size = batch_size
        self.drop_last = drop_last
        self._epoch: int | None = None
        self._samples: Iterator[Any] = iter(())

    def __call__(self, job: tuple[int, tuple[int, ...] | None]) -> Any:
        epoch, seed = job
        own_batches = makes_batches(self.dataset)
        if epoch != self._epoch:
            self._epoch = epoch
            if own_batches:
                self._samples = iter(self.dataset.batches(self.batch_size, seed))
            else:
                self._samples = iter(self.dataset)
        if self.collate_fn is None:
            batch = next(self._samples, End())
            short = own_batches and self.drop_last and _rows(batch) < self.batch_size
            return End() if short else batch
        samples = list(islice(self._samples, self.batch_size))
        if not samples or (self.drop_last and len(samples) < self.batch_size):
            return End()
        return self.collate_fn(samples)


def after(batches: Iterator[Any], skipped: int) -> Iterator[Any]:
    """The batches behind some that were given before.

    What these draw of the random numbers of NumPy, Python and gpugrad is given back: the others
    draw what they would have drawn without a resumption.
    """
    if skipped:
        states = np.random.get_state(), python_random.getstate(), default_generator().state_dict()
        for _ in islice(batches, skipped):
            pass
        np.random.set_state(states[0])
        python_random.setstate(states[1])
        default_generator().load_state_dict(states[2])
    yield from batches


def makes_batches(dataset: Any) -> bool:
    """Whether a stream gives batches of any size itself, and shuffles."""
    return callable(getattr(dataset, "batches", None))


def _rows(batch: Any) -> int:
    """How many samples are in a batch."""
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    return _rows(batch[0]) if isinstance(batch, tuple | list) and batch else len(batch)


def made(fetch: Any) -> tuple[Any, Any]:
    """The data set of a worker, and its function."""
    return fetch.dataset, fetch
