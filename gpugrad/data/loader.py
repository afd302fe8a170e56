"""Mini-batches. Imports `dataset`, staging and random."""

import contextlib
from collections import abc
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.device import Device, default_device
from gpugrad.backend.staging import ahead
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
from gpugrad.errors import ArgumentError, DTypeError
from gpugrad.random import Generator, default_generator
from gpugrad.tensor import Tensor

__all__ = ["DataLoader"]

# What a state says of the loader beside its position: with others the position is another one.
_SIZES = ("batch_size", "rows")


class _Epoch(NamedTuple):
    """The state to resume from: the number of batches so far, and the origin of the order."""

    given: int
    state: dict[str, int] | None


class DataLoader:
    """The batches of a data set, in order, or shuffled again in each iteration.

    ``dataset`` is a `TensorDataset`, an array, a list or tuple of arrays, or a data set of your own
    with ``__len__`` and ``__getitem__``, such as a `Dataset`: ``dataset[i]`` is a sample, and
    ``collate_fn(samples)`` makes the batch of a list of them, by default `collate`. With
    ``batched = True`` in its class ``dataset[array of integers]`` is the batch itself.

    The last batch may be smaller, unless ``drop_last``. Batches are sent to ``device``. With None,
    those of NumPy's arrays go to the default device; those of Tensors and of arrays on a GPU stay
    there. A batch is an array for a data set of one array, else a tuple; its arrays are copies of
    the rows. Batches on the host are copied to a GPU during its computation, one batch ahead,
    through pinned memory and on a separate stream.

    The order of a shuffled epoch is a permutation of ``generator`` (None for the default one of
    ``gg.manual_seed``), so a seed gives the same batches on every device. ``state_dict`` stores
    the position within an epoch.

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

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        generator: Generator | None = None,
        device: str | Device | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
            raise DTypeError(f"DataLoader: batch_size must be a whole number, got {batch_size!r}")
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size must be at least 1, got {batch_size}")
        if generator is not None and not isinstance(generator, Generator):
            raise DTypeError(
                "DataLoader: generator must be a gg.random.Generator, got "
                f"{type(generator).__name__}; gg.random.Generator(seed) makes one"
            )
        self._alone = isinstance(dataset, Tensor) or is_array(dataset) or has_labels(dataset)
        if self._alone:
            dataset = TensorDataset(dataset)
        elif isinstance(dataset, list | tuple):
            dataset = TensorDataset(*dataset)
        elif not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise DTypeError(
                f"DataLoader: expected a TensorDataset or arrays, got {type(dataset).__name__}"
            )
        batched = getattr(dataset, "batched", False)
        self._single = not isinstance(dataset, TensorDataset) and not batched
        if collate_fn is not None and not self._single:
            raise ArgumentError(
                "DataLoader: collate_fn makes a batch of single samples, and this data set gives "
                "whole batches. Leave it out"
            )
        self.collate_fn = collate if collate_fn is None else collate_fn
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        self.generator = generator
        self.device = None if device is None else Device(device)
        self._now = _Epoch(0, None)
        self._resumed = False

    def __len__(self) -> int:
        """The number of batches of an epoch."""
        full, left = divmod(len(self.dataset), self.batch_size)
        return full + (left > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        first = self._now.given if self._resumed else 0
        state = self._now.state if self._resumed else None
        self._resumed = False
        order, state = self._order(state)
        self._now = _Epoch(first, state)
        return self._batches(order, first, state)

    def _order(self, state: dict[str, int] | None) -> tuple[np.ndarray, dict[str, int] | None]:
        """The order of an epoch on the host, and the state of the generator before it."""
        count = len(self.dataset)
        if not self.shuffle:
            return np.arange(count), None
        if state is None:
            generator = default_generator() if self.generator is None else self.generator
            state = generator.state_dict()
        else:  # the order of an interrupted epoch, without drawing from the generator
            generator = Generator(0)
            generator.load_state_dict(state)
        return generator.permutation(count, device="cpu").numpy(), state

    def _batches(
        self, order: np.ndarray, first: int, state: dict[str, int] | None
    ) -> Iterator[Any]:
        with contextlib.closing(self._lazy_batches(order, range(first, len(self)))) as batches:
            for batch in batches:
                first += 1
                self._now = _Epoch(first, state)
                yield batch
                del batch  # release it before the next is made
        self._now = _Epoch(0, None)

    def _lazy_batches(self, order: np.ndarray, numbers: range) -> abc.Generator[Any, None, None]:
        """The batches of these numbers, made lazily, or one ahead."""
        device, from_host = self.device or default_device(), True
        if type(self.dataset) is TensorDataset:
            chosen = self._selections(order, numbers, device)
            from_host = any(home_of(a).kind == "cpu" for a in self.dataset.arrays)
        else:
            size = self.batch_size
            batches = (self._fetched(order[n * size : (n + 1) * size]) for n in numbers)
            if self.device is None and device.kind == "cpu":
                return batches
            chosen = (self._selection(batch, device) for batch in batches)
        if device.kind == "cuda" and from_host:
            return ahead(device, (selection.sources() for selection in chosen))
        return (selection.read() for selection in chosen)

    def _selection(self, batch: Any, device: Device) -> Selection:
        """All rows of a batch that a data set gave."""
        rows: list[Rows] = []
        map_arrays(lambda array: rows.append(self._rows(array, None, device)), batch)
        return Selection(rows, batch)

    def _fetched(self, rows: np.ndarray) -> Any:
        """The batch of a data set of one's own."""
        if not self._single:
            return self.dataset[rows]
        return self.collate_fn([self.dataset[row] for row in rows.tolist()])

    def _rows(self, array: Any, index: Any, device: Device) -> Rows:
        """Rows that go to a device: all of them if it was asked for, else those of the host."""
        goes = self.device is not None or isinstance(array, np.ndarray)
        return Rows(array, index, device if goes else None)

    def _selections(
        self, order: np.ndarray, numbers: range, device: Device
    ) -> abc.Generator[Selection, None, None]:
        """The rows of each array for each batch."""
        arrays, size = self.dataset.arrays, self.batch_size
        # The order is sent to each device once, so that a batch sends no indices.
        orders = {}
        if self.shuffle:
            orders = {home: home.send(order) for home in dict.fromkeys(map(home_of, arrays))}
        for number in numbers:
            rows = slice(number * size, min((number + 1) * size, len(order)))
            index = {home: rows_there[rows] for home, rows_there in orders.items()}
            chosen = [
                self._rows(a, index[home_of(a)] if self.shuffle else rows, device) for a in arrays
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
        return {"given": self._now.given, "order": self._now.state, **self._sizes()}

    def _sizes(self) -> dict[str, int]:
        return dict(zip(_SIZES, (self.batch_size, len(self.dataset))))

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Resume at a position of ``state_dict``; after an error nothing has been changed.

        ValueError for the state of a loader with other batches, of other data, or damaged.
        """
        who, expected = "DataLoader.load_state_dict", {"given", "order", *_SIZES}
        if not isinstance(state_dict, Mapping) or set(state_dict) != expected:
            got = sorted(map(str, state_dict)) if isinstance(state_dict, Mapping) else state_dict
            raise ValueError(f"{who}: expected the keys {sorted(expected)}, got {got!r}")
        for name, size in self._sizes().items():
            if type(state_dict[name]) is not int or state_dict[name] != size:
                raise ValueError(
                    f"{who}: the state is of a loader with {name}={state_dict[name]!r}, this one "
                    f"has {size}: its position is another row. Make the loader as it was"
                )
        count, order = state_dict["given"], state_dict["order"]
        if type(count) is not int or not 0 <= count <= len(self):
            raise ValueError(
                f"{who}: {count!r} batches were given, but an epoch has {len(self)}: is it the "
                "state of another loader?"
            )
        if (count and self.shuffle and order is None) or (order is not None and not self.shuffle):
            raise ValueError(f"{who}: the state is of a loader with shuffle={not self.shuffle}")
        if order is not None:
            try:
                Generator(0).load_state_dict(order)
            except (DTypeError, ValueError) as error:
                raise ValueError(f"{who}: the origin of the order is damaged: {error}") from None
        self._now = _Epoch(count, order)
        self._resumed = count > 0 or order is not None

    def __repr__(self) -> str:
        shuffled = ", shuffle=True" if self.shuffle else ""
        return (
            f"DataLoader({self.dataset!r}, batch_size={self.batch_size}{shuffled}: "
            f"{len(self)} batches)"
        )
