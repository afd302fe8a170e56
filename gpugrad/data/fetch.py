"""What makes a batch of a data set of one's own, in this process or in a worker.

Imports `dataset`. The functions are objects that pickle, so that they can be sent to a worker.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

__all__ = ["End", "OfRows", "OfStream", "made"]


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

    It is called with the number of the epoch, and returns `End` at the end.
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

    def __call__(self, epoch: int) -> Any:
        if epoch != self._epoch:
            self._epoch, self._samples = epoch, iter(self.dataset)
        if self.collate_fn is None:
            return next(self._samples, End())
        samples = list(islice(self._samples, self.batch_size))
        if not samples or (self.drop_last and len(samples) < self.batch_size):
            return End()
        return self.collate_fn(samples)


def made(fetch: Any) -> tuple[Any, Any]:
    """The data set of a worker, and its function."""
    return fetch.dataset, fetch
