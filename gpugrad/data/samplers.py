"""Orders of the rows of an epoch: samplers. Imports `splits`, random and below.

A sampler is any iterable of row numbers; `DataLoader` reads it at the beginning of each epoch.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpugrad.backend import processes
from gpugrad.data.splits import permutation
from gpugrad.engine.messages import is_whole
from gpugrad.errors import ArgumentError, DTypeError
from gpugrad.random import Generator, default_generator
from gpugrad.tensor import Tensor

__all__ = [
    "DistributedSampler", "RandomSampler", "SequentialSampler", "SubsetRandomSampler",
    "WeightedRandomSampler",
]  # fmt: skip


def _count(who: str, name: str, value: Any) -> int:
    if not is_whole(value, 1):
        raise ArgumentError(f"{who}: {name} must be a whole number of 1 or more, got {value!r}")
    return int(value)


class SequentialSampler:
    """The rows of a data set in order.

    >>> list(SequentialSampler(range(3)))
    [0, 1, 2]
    """

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler:
    """The rows of a data set in random order; with ``replacement`` each draw is from all rows.

    ``num_samples`` is how many are drawn, by default as many as there are; without replacement more
    than that begin a new order. ``generator`` is None for the default one.

    >>> import gpugrad as gg
    >>> sorted(RandomSampler(range(4), generator=gg.random.Generator(0)))
    [0, 1, 2, 3]
    """

    def __init__(
        self,
        data_source: Any,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = bool(replacement)
        self.num_samples = (
            len(data_source)
            if num_samples is None
            else _count("RandomSampler", "num_samples", num_samples)
        )
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        rows = len(self.data_source)
        if self.replacement:
            chosen = default_generator() if self.generator is None else self.generator
            drawn = chosen.integers(0, rows, size=self.num_samples, device="cpu").numpy()
            return iter(drawn.tolist())
        orders = -(-self.num_samples // rows) if rows else 0
        order = np.concatenate(
            [np.empty(0, np.int64), *(permutation(rows, self.generator) for _ in range(orders))]
        )
        return iter(order[: self.num_samples].tolist())

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler:
    """Given row numbers in random order."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = np.asarray(indices)
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices[permutation(len(self.indices), self.generator)].tolist())

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler:
    """Rows drawn with probabilities in proportion to ``weights``, one for each row.

    ``num_samples`` of them, with ``replacement`` or without. It balances classes: give each sample
    one over the number of its class. ValueError for weights that are negative, not finite or all
    zero, and for more draws without replacement than there are rows of a weight above zero.

    >>> import gpugrad as gg
    >>> sampler = WeightedRandomSampler([0.0, 1.0, 0.0], 4, generator=gg.random.Generator(0))
    >>> list(sampler)
    [1, 1, 1, 1]
    """

    def __init__(
        self,
        weights: Any,
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        who = "WeightedRandomSampler"
        raw = weights.detach().cpu().numpy() if isinstance(weights, Tensor) else weights
        self.weights = np.asarray(raw, dtype=np.float64)
        if self.weights.ndim != 1:
            raise ArgumentError(f"{who}: expected a weight for each row, got {self.weights.shape}")
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all()):
            raise ArgumentError(f"{who}: weights must be finite and not negative")
        self.num_samples = _count(who, "num_samples", num_samples)
        self.replacement = bool(replacement)
        possible = int(np.count_nonzero(self.weights))
        if not possible or (not self.replacement and possible < self.num_samples):
            raise ArgumentError(
                f"{who}: {self.num_samples} rows cannot be drawn from {possible} of a weight above "
                "zero"
            )
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        chosen = default_generator() if self.generator is None else self.generator
        if self.replacement:
            ends = np.cumsum(self.weights)
            u = chosen.uniform(size=self.num_samples, dtype="float64", device="cpu").numpy()
            drawn = np.searchsorted(ends, u * ends[-1], side="right")
        else:
            # The first to come of waits that are exponential, at these rates: Efraimidis and
            # Spirakis, "Weighted random sampling with a reservoir", 2006.
            u = chosen.uniform(size=len(self.weights), dtype="float64", device="cpu").numpy()
            with np.errstate(divide="ignore"):
                waits = -np.log1p(-u) / self.weights
            drawn = np.argsort(waits, kind="stable")[: self.num_samples]
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class DistributedSampler:
    """The share of a data set for one of several processes that train together.

    Process ``rank`` of ``num_replicas`` gets every num_replicas-th row of an order that all share:
    shuffled by ``seed`` and the epoch, which `set_epoch` says before each, or as it is. All get
    equally many: the last rows are left out with ``drop_last``, else the first ones are repeated.
    By default both numbers are those of `gpugrad.parallel`, or of the environment variables
    WORLD_SIZE and RANK. With `DataLoader`'s ``parallel=True`` no row comes twice, and there is no
    epoch to set.

    >>> [list(DistributedSampler(range(5), 2, rank, shuffle=False)) for rank in range(2)]
    [[0, 2, 4], [1, 3, 0]]
    """

    def __init__(
        self,
        dataset: Any,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        who = "DistributedSampler"
        if processes.joined is not None and num_replicas is None and rank is None:
            num_replicas, rank = processes.size(), processes.rank()
        given = {"num_replicas": num_replicas, "rank": rank}
        for name, variable in (("num_replicas", "WORLD_SIZE"), ("rank", "RANK")):
            if given[name] is None:
                if not os.environ.get(variable, "").isdigit():
                    raise ArgumentError(
                        f"{who}: pass {name}, or set the environment variable {variable}, as "
                        "launchers do"
                    )
                given[name] = int(os.environ[variable])
        self.dataset = dataset
        self.num_replicas = _count(who, "num_replicas", given["num_replicas"])
        if not isinstance(given["rank"], int) or not 0 <= given["rank"] < self.num_replicas:
            raise ArgumentError(
                f"{who}: rank must be from 0 to {self.num_replicas - 1}, got {given['rank']!r}"
            )
        self.rank = given["rank"]
        self.shuffle = bool(shuffle)
        self.seed = seed
        self.drop_last = bool(drop_last)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes: each has an order of its own."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rows = len(self.dataset)
        order = np.arange(rows)
        if self.shuffle:
            words = np.random.SeedSequence([self.seed, self.epoch]).generate_state(2)
            order = permutation(rows, Generator(int(words[0]) << 32 | int(words[1])))
        order = np.resize(order, len(self) * self.num_replicas)  # which repeats, or leaves out
        return iter(order[self.rank :: self.num_replicas].tolist())

    def __len__(self) -> int:
        full, left = divmod(len(self.dataset), self.num_replicas)
        return full + (left > 0 and not self.drop_last)


def order_of(sampler: Any, rows: int) -> np.ndarray:
    """The row numbers of a sampler, for one epoch; errors for anything but numbers of rows."""
    order = np.array(list(sampler))
    if not order.size:
        return np.empty(0, np.int64)
    if order.dtype.kind not in "iu" or order.ndim != 1:
        raise DTypeError(
            f"DataLoader: a sampler gives row numbers, got {order.dtype} of shape {order.shape}"
        )
    if order.min() < 0 or order.max() >= rows:
        raise ArgumentError(
            f"DataLoader: a sampler's row numbers must be from 0 to {rows - 1}, got {order.min()} "
            f"to {order.max()}"
        )
    return order
