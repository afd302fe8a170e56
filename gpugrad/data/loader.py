"""Mini-batches. Imports `dataset`, `fetch`, `samplers`, `workers`, staging and random."""

import contextlib
import copy
from collections import abc
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import Any, NamedTuple, NoReturn

import numpy as np

from gpugrad.backend import processes
from gpugrad.backend.cuda import is_available
from gpugrad.backend.device import Device, default_device
from gpugrad.backend.staging import ahead, pinned_copies
from gpugrad.data.dataset import (
    Rows,
    Selection,
    TensorDataset,
    collate,
    has_labels,
    home_of,
    is_array,
    map_arrays,
)
from gpugrad.data.fetch import End, OfRows, OfStream, after, made, makes_batches
from gpugrad.data.samplers import order_of
from gpugrad.data.sharing import ALL, Share, share_of, share_state
from gpugrad.data.workers import Job, Workers
from gpugrad.engine.messages import is_whole
from gpugrad.errors import ArgumentError, DTypeError
from gpugrad.random import Generator, default_generator
from gpugrad.tensor import Tensor
from gpugrad.tensor.hints import watched

__all__ = ["DataLoader"]


class _Epoch(NamedTuple):
    """The state to resume from: batches so far, and the origin of the order and of the seeds."""

    given: int = 0
    state: dict[str, int] | None = None  # the generator's before the epoch
    rows: np.ndarray | None = None  # the order of a sampler


# Keywords of PyTorch's, and what to write in their place.
_KEYWORDS = {
    "batch_sampler": "sampler=, the numbers of the samples in order, and batch_size=",
    "in_order": "it without: batches come in order",
    "pin_memory_device": "pin_memory=True",
}


def _are_samples(values: list[Any], collate_fn: Any) -> bool:
    """Whether a list holds samples, as in PyTorch, and not arrays with a row for each sample."""
    kinds = (tuple, Mapping, str, int, float, complex)
    samples = collate_fn is not None or all(isinstance(value, kinds) for value in values)
    return bool(values) and samples


def _not_fitting(error: TypeError, args: Any, kwargs: Any) -> NoReturn:
    for name in kwargs:
        if name in _KEYWORDS:
            raise ArgumentError(
                f"DataLoader: there is no {name}=. Write {_KEYWORDS[name]}"
            ) from None
    raise error


class DataLoader:
    """The batches of a data set, in order, or shuffled again in each iteration.

    ``dataset`` is a `TensorDataset`, an array, a list or tuple of arrays, or a data set of your own
    with ``__len__`` and ``__getitem__``, such as a `Dataset` or a list of tuples, dicts or numbers
    (with ``collate_fn`` of anything): ``dataset[i]`` is a sample, and
    ``collate_fn(samples)`` makes the batch of a list of them, by default `collate`. With
    ``batched = True`` in its class ``dataset[array of integers]`` is the batch itself.

    The last batch may be smaller, unless ``drop_last``. Batches are sent to ``device``. With None,
    those of NumPy's arrays go to the default device; those of Tensors and of arrays on a GPU stay
    there. A batch is an array for a data set of one array, else a tuple; its arrays are copies of
    the rows. Batches on the host are copied to a GPU during its computation, one batch ahead,
    through pinned memory and on a separate stream.

    The order of a shuffled epoch is a permutation of ``generator`` (None for the default one of
    ``gg.manual_seed``), so a seed gives the same batches on every device; ``sampler`` gives another
    order, see `samplers`. ``state_dict`` stores the position within an epoch.

    An `IterableDataset` is read from its beginning to its end, by each worker for itself; one with
    a method ``batches``, such as a `CSVDataset`, can be shuffled.

    With ``num_workers`` the batches are made in so many processes, each ``prefetch_factor`` ahead,
    and come in the same order; batches are arrays of the host until they are here. The random
    numbers of NumPy, Python and gpugrad are seeded before each batch, by the generator, the epoch
    and the number of the batch. An error of a worker is raised here. ``timeout`` is how many
    seconds a batch may take, 0 for any number; ``worker_init_fn(number)`` is called in each process
    before its first batch; ``persistent_workers`` keeps the processes for the next epoch.
    ``multiprocessing_context`` is how they begin: "fork", the default on Linux, or "spawn", for
    which the data set must pickle. Arrays of a `TensorDataset` are read quicker without workers.

    ``pin_memory`` puts batches that stay on the host into page-locked memory, from which a GPU
    copies while it computes. Batches for a GPU go through such memory anyway, and without CUDA
    there is none.

    With ``parallel`` each batch is divided among the processes of `gpugrad.parallel`, so that
    ``batch_size`` is that of all together. Every sample comes once an epoch, on one of them; the
    order is that of rank 0, and is the same for any number of processes, as is the position in
    ``state_dict``. ``weight`` is what to multiply the mean loss of the last batch by before
    gradients are averaged over the processes: 1.0, or another number where some have more samples.

    ValueError for a batch size below 1, DTypeError for an unsupported data set.

    >>> import gpugrad as gg, numpy as np
    >>> x, y = np.arange(5.0), np.arange(5)
    >>> loader = gg.data.DataLoader((x, y), batch_size=2)
    >>> len(loader)
    3
    >>> for xb, yb in loader:
    ...     print(xb, yb)
    [0. 1.] [0 1]
    [2. 3.] [2 3]
    [4.] [4]
    """

    @partial(watched, otherwise=_not_fitting)
    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        generator: Generator | None = None,
        device: str | Device | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        *,
        sampler: Any = None,
        num_workers: int = 0,
        pin_memory: bool = False,
        prefetch_factor: int = 2,
        persistent_workers: bool = False,
        timeout: float = 0.0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: str | None = None,
        parallel: bool = False,
    ) -> None:
        self.batch_size = _whole("batch_size", batch_size, 1)
        self.num_workers = _whole("num_workers", num_workers, 0)
        if not isinstance(drop_last, bool | np.bool_):
            raise DTypeError(f"DataLoader: drop_last must be True or False, got {drop_last!r:.60}")
        if generator is not None and not isinstance(generator, Generator):
            raise DTypeError(
                "DataLoader: generator must be a gg.random.Generator, got "
                f"{type(generator).__name__}; gg.random.Generator(seed) makes one"
            )
        self._alone = isinstance(dataset, Tensor) or is_array(dataset) or has_labels(dataset)
        if self._alone:
            dataset = TensorDataset(dataset)
        elif isinstance(dataset, tuple) or (
            isinstance(dataset, list) and not _are_samples(dataset, collate_fn)
        ):
            dataset = TensorDataset(*dataset)
        self._streams = hasattr(dataset, "__iter__") and not hasattr(dataset, "__getitem__")
        has_rows = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
        if not (self._streams or has_rows):
            raise DTypeError(
                f"DataLoader: expected a TensorDataset or arrays, got {type(dataset).__name__}"
            )
        batched = getattr(dataset, "batched", False) or (self._streams and makes_batches(dataset))
        if collate_fn is not None and batched:
            raise ArgumentError(
                "DataLoader: collate_fn makes a batch of single samples, and this data set gives "
                "whole batches. Leave it out"
            )
        self.collate_fn = collate if collate_fn is None else collate_fn
        self.dataset = dataset
        self.shuffle = bool(shuffle)
        self.sampler = sampler
        self.drop_last = bool(drop_last)
        self.generator = generator
        self.device = None if device is None else Device(device)
        self.pin_memory = bool(pin_memory)
        self.persistent_workers = bool(persistent_workers)
        self.parallel = bool(parallel)
        self.weight = 1.0
        self._check_order()
        join = None if batched else self.collate_fn
        self._fetch: Any = OfRows(dataset, join, self._alone)
        if self._streams:
            self._fetch = OfStream(dataset, join, self.batch_size, self.drop_last)
        self._start = partial(
            Workers,
            self.num_workers,
            partial(made, self._fetch),
            prefetch=_whole("prefetch_factor", prefetch_factor, 1),
            timeout=timeout,
            init=worker_init_fn,
            context=multiprocessing_context,
        )
        self._workers: Workers | None = None
        self._share: Share = ALL
        self._epochs = 0
        self._now = _Epoch()
        self._resumed = False

    def _check_order(self) -> None:
        """ArgumentError for two ways to order the rows, or for one that there cannot be."""
        if self.shuffle and self.sampler is not None:
            raise ArgumentError("DataLoader: shuffle and sampler both order the rows; pass one")
        shuffles = self.shuffle and not makes_batches(self.dataset)
        if self._streams and (shuffles or self.sampler is not None):
            raise ArgumentError(
                f"DataLoader: a {type(self.dataset).__name__} is read from the beginning to the "
                "end and has no rows to shuffle. Shuffle in its __iter__"
            )
        if self._streams and self.parallel:
            raise ArgumentError(
                f"DataLoader: parallel=True divides rows, and a {type(self.dataset).__name__} has "
                "none. Let its __iter__ give what is for gg.parallel.rank()"
            )
        if isinstance(self.dataset, TensorDataset) and self.num_workers:
            homes = {home_of(array) for array in self.dataset.arrays}
            if any(home.kind != "cpu" for home in homes):
                raise ArgumentError(
                    "DataLoader: workers read arrays of the host, and these are on "
                    f"{', '.join(map(str, homes))}, where rows are read at once. Leave "
                    "num_workers out"
                )

    @property
    def is_stream(self) -> bool:
        """Whether the data set is read from its beginning to its end, and has no row numbers."""
        return self._streams

    def __len__(self) -> int:
        """The number of batches of an epoch; of a data set with no length a TypeError."""
        if self._streams and getattr(self.dataset, "batched", False):
            return len(self.dataset)
        return self._count(len(self.dataset if self.sampler is None else self.sampler))

    def _count(self, rows: int) -> int:
        full, left = divmod(rows, self.batch_size)
        return full + (left > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        epoch = self._now if self._resumed else _Epoch()
        self._resumed = False
        self._epochs += 1
        order, self._now = self._ordered(epoch)
        return self._batches(order, self._now)

    def _ordered(self, epoch: _Epoch) -> tuple[np.ndarray | None, _Epoch]:
        """The order of an epoch on the host, and the epoch with its origin."""
        state, rows = epoch.state, epoch.rows
        self._share = share_of("DataLoader", self.batch_size) if self.parallel else ALL
        generator = default_generator() if self.generator is None else self.generator
        if state is not None:  # an interrupted epoch draws nothing from the generator
            generator = Generator(0)
            generator.load_state_dict(state)
        elif self.shuffle or self.num_workers:
            if self.parallel:
                share_state(generator)
            state = generator.state_dict()
        if self._streams:
            order = None
        elif self.sampler is not None:
            if rows is None:
                rows = order_of(self.sampler, len(self.dataset))
                if self.parallel:
                    rows = processes.from_first(rows, "the order of a sampler")
            order = rows
        elif self.shuffle:
            order = generator.permutation(len(self.dataset), device="cpu").numpy()
        else:
            order = np.arange(len(self.dataset))
        permuted = self.shuffle and not self._streams
        if (self.shuffle or self.num_workers) and not permuted:
            generator.take(1)  # the next epoch has other seeds
        return order, epoch._replace(state=state, rows=rows)

    def _batches(self, order: np.ndarray | None, epoch: _Epoch) -> Iterator[Any]:
        given = epoch.given
        with contextlib.closing(self._lazy_batches(order, epoch)) as batches:
            for batch in batches:
                if order is not None:
                    self.weight = self._share.weight(self._rows_in(given, len(order)))
                given += 1
                self._now = epoch._replace(given=given)
                yield batch
                del batch  # release it before the next is made
        self._now = _Epoch()

    def _lazy_batches(
        self, order: np.ndarray | None, epoch: _Epoch
    ) -> abc.Generator[Any, None, None]:
        """The batches from a position on, made lazily, or one ahead."""
        device, from_host = self.device or default_device(), True
        pinned = self.pin_memory and is_available()
        if self._is_of_arrays() and order is not None and not self.num_workers:
            numbers = range(epoch.given, self._count(len(order)))
            chosen = self._selections(order, numbers, device)
            from_host = any(home_of(a).kind == "cpu" for a in self.dataset.arrays)
        else:
            batches = self._fetched(order, epoch)
            if self.device is None and device.kind == "cpu" and not pinned:
                return batches
            chosen = (self._selection(batch, device) for batch in batches)
        if device.kind == "cuda" and from_host:
            return ahead(device, (selection.sources() for selection in chosen))
        if pinned and device.kind == "cpu":
            return (pinned_copies(*selection.sources()) for selection in chosen)
        return (selection.read() for selection in chosen)

    def _is_of_arrays(self) -> bool:
        """Whether the rows can be read off the arrays: nobody has overridden how."""
        return getattr(type(self.dataset), "__getitem__", None) is TensorDataset.__getitem__

    def _selection(self, batch: Any, device: Device) -> Selection:
        """All rows of a batch that a data set gave."""
        rows: list[Rows] = []
        map_arrays(lambda array: rows.append(self._rows(array, None, device)), batch)
        return Selection(rows, batch)

    def _fetched(self, order: np.ndarray | None, epoch: _Epoch) -> abc.Generator[Any, None, None]:
        """The batches of a data set of one's own from a position on."""
        skipped = epoch.given if self._streams else 0  # a stream is read from its beginning
        jobs = self._jobs(order, epoch)
        if self.num_workers:
            batches = self._by_workers(jobs)
        else:
            batches = self._here(jobs)
        with contextlib.closing(batches):
            yield from after(batches, skipped)

    def _here(self, jobs: Iterator[Job]) -> abc.Generator[Any, None, None]:
        fetch = copy.copy(self._fetch)  # which has its own place in a stream
        for job in jobs:
            batch = fetch(job.rows)
            if isinstance(batch, End):
                return
            yield batch
            del batch

    def _jobs(self, order: np.ndarray | None, epoch: _Epoch) -> Iterator[Job]:
        """The rows of each batch, or the number of the epoch of a stream."""
        base = () if epoch.state is None else (epoch.state["seed"], epoch.state["counter"])
        if order is None:
            rows = (self._epochs, base if self.shuffle else None)
            for number in count():
                yield Job(rows, (*base, number))
            return
        own = (self._share.rank,) if self._share.size > 1 else ()
        for number in range(epoch.given, self._count(len(order))):
            yield Job(order[self._own_rows(number, len(order))], (*base, number, *own))

    def _rows_in(self, number: int, rows: int) -> int:
        """How many rows a batch has, of all processes together."""
        return min(self.batch_size, rows - number * self.batch_size)

    def _own_rows(self, number: int, rows: int) -> slice:
        """The places in the order of the rows of a batch that are this process's."""
        return self._share.rows(number * self.batch_size, self._rows_in(number, rows))

    def _by_workers(self, jobs: Iterator[Job]) -> abc.Generator[Any, None, None]:
        """The batches of jobs by processes, which stop at the end, or stay for the next epoch."""
        workers = self._workers or self._start()
        self._workers, stay = None, False
        try:
            yield from workers.batches(jobs)
            stay = self.persistent_workers and self._workers is None
            if stay:
                self._workers = workers
        finally:
            if not stay:
                workers.close()

    def _rows(self, array: Any, index: Any, device: Device) -> Rows:
        """Rows that go to a device: all of them if it was asked for, else those of the host."""
        goes = self.device is not None or isinstance(array, np.ndarray) or self.num_workers > 0
        return Rows(array, index, device if goes else None)

    def _selections(
        self, order: np.ndarray, numbers: range, device: Device
    ) -> abc.Generator[Selection, None, None]:
        """The rows of each array for each batch."""
        arrays = self.dataset.arrays
        # The order is sent to each device once, so that a batch sends no indices.
        orders = {}
        by_number = self.shuffle or self.sampler is not None
        if by_number:
            orders = {home: home.send(order) for home in dict.fromkeys(map(home_of, arrays))}
        for number in numbers:
            rows = self._own_rows(number, len(order))
            index = {home: rows_there[rows] for home, rows_there in orders.items()}
            chosen = [
                self._rows(a, index[home_of(a)] if by_number else rows, device) for a in arrays
            ]
            yield Selection(chosen, arrays[0] if self._alone else arrays)

    def state_dict(self) -> dict[str, Any]:
        """The position in the epoch: the number of batches so far, and the origin of the order.

        And the sizes of batches and data set, since with others it were another position.

        For a loader that shuffles with ``generator``, save the generator's state as well, which
        determines the next epochs.

        >>> import gpugrad as gg, numpy as np
        >>> loader = gg.data.DataLoader(np.arange(4), generator=gg.random.Generator(1))
        >>> batches = iter(loader)
        >>> next(batches)
        array([0])
        >>> loader.state_dict()
        {'given': 1, 'order': None, 'batch_size': 1, 'rows': 4}
        >>> loader.load_state_dict(loader.state_dict())
        >>> [int(batch[0]) for batch in loader]
        [1, 2, 3]
        """
        given, origin, sampled = self._now
        state = {"given": given, "order": origin if self.shuffle else None, **self._sizes()}
        if self.num_workers and not self.shuffle:
            state["seeds"] = origin
        if self.sampler is not None:
            state["sampled"] = None if sampled is None else sampled.tolist()
        return state

    def _sizes(self) -> dict[str, int]:
        """With others the position is another row."""
        if self._streams:
            return {"batch_size": self.batch_size, "num_workers": self.num_workers}
        return {"batch_size": self.batch_size, "rows": len(self.dataset)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Resume at a position of ``state_dict``; after an error nothing has been changed.

        ValueError for the state of a loader with other batches, of other data, or damaged.
        """
        who, sizes = "DataLoader.load_state_dict", self._sizes()
        expected = {"given", "order", *sizes}
        expected |= {"sampled"} if self.sampler is not None else set()
        keys = set(state_dict) if isinstance(state_dict, Mapping) else set()
        if not expected <= keys <= expected | {"seeds"}:
            got = sorted(map(str, state_dict)) if keys else state_dict
            raise ValueError(f"{who}: expected the keys {sorted(expected)}, got {got!r}")
        for name, size in sizes.items():
            if type(state_dict[name]) is not int or state_dict[name] != size:
                raise ValueError(
                    f"{who}: the state is of a loader with {name}={state_dict[name]!r}, this one "
                    f"has {size}: its position is another row. Make the loader as it was"
                )
        given, order = state_dict["given"], state_dict["order"]
        last = None if self._streams else len(self)
        if type(given) is not int or given < 0 or (last is not None and given > last):
            raise ValueError(
                f"{who}: {given!r} batches were given, but an epoch has {last}: is it the "
                "state of another loader?"
            )
        if (given and self.shuffle and order is None) or (order is not None and not self.shuffle):
            raise ValueError(f"{who}: the state is of a loader with shuffle={not self.shuffle}")
        origin = order if self.shuffle else state_dict.get("seeds")
        if origin is not None:
            try:
                Generator(0).load_state_dict(origin)
            except (DTypeError, ValueError) as error:
                raise ValueError(f"{who}: the origin of the order is damaged: {error}") from None
        sampled = self._sampled(who, given, state_dict.get("sampled"))
        self._now = _Epoch(given, origin, sampled)
        self._resumed = given > 0 or origin is not None

    def _sampled(self, who: str, given: int, rows: Any) -> np.ndarray | None:
        """The order of a sampler in a state; ValueError where there should be one, or another."""
        if rows is None and not given:
            return None
        if self.sampler is None:
            return None
        try:
            return order_of(rows, len(self.dataset))
        except (DTypeError, ValueError, TypeError) as error:
            raise ValueError(f"{who}: the order of the sampler is damaged: {error}") from None

    def __repr__(self) -> str:
        shuffled = ", shuffle=True" if self.shuffle else ""
        workers = f", num_workers={self.num_workers}" if self.num_workers else ""
        batches = "" if self._streams else f": {len(self)} batches"
        return (
            f"DataLoader({self.dataset!r}, batch_size={self.batch_size}{shuffled}{workers}"
            f"{batches})"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_workers": None}  # processes stay where they are


def _whole(name: str, value: Any, least: int) -> int:
    if not is_whole(value):
        raise DTypeError(f"DataLoader: {name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"DataLoader: {name} must be at least {least}, got {value}")
    return int(value)
