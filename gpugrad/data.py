"""Data sets, mini-batches and splits: ``gg.data``. Imports random, tensor and below.

A data set is a few arrays with a row for each sample. A batch is one indexing operation on each
array, on its device: no sample is handled in Python. Batches on the host are copied to a GPU while
it computes with the previous batch (`gpugrad.backend.staging`).
"""

import contextlib
from collections import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.device import Device, default_device, device_of
from gpugrad.backend.staging import Source, ahead
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.random import Generator, default_generator
from gpugrad.tensor import Tensor, as_tensor

__all__ = ["DataLoader", "TensorDataset", "random_split", "train_test_split"]


class TensorDataset:
    """Arrays with corresponding rows: ``dataset[i]`` is a tuple with a row of each.

    Takes Tensors, raw arrays, lists, and a Series or DataFrame of numbers, which counts as the
    array of its values: a row is found by its position, whatever its label. All have one length.
    The index is a number, a slice or an array of integers. ShapeError for arrays of different
    lengths or without rows, ValueError for no arrays.

    >>> import gpugrad as gg, numpy as np
    >>> dataset = gg.data.TensorDataset(np.arange(6).reshape(3, 2), np.array([0, 1, 0]))
    >>> len(dataset)
    3
    >>> dataset[1]
    (array([2, 3]), np.int64(1))
    """

    def __init__(self, *arrays: Any) -> None:
        if not arrays:
            raise ValueError("TensorDataset: expected at least one array")
        self.arrays = tuple(_rows("TensorDataset", i, array) for i, array in enumerate(arrays))
        lengths = [len(array) for array in self.arrays]
        if len(set(lengths)) > 1:
            raise ShapeError(
                f"TensorDataset: the arrays have {', '.join(map(str, lengths))} rows; each needs "
                "one row for each sample"
            )

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(array[index] for array in self.arrays)

    def to(self, device: str | Device) -> "TensorDataset":
        """The data set on a device; arrays that are there already are not copied."""
        return TensorDataset(*(_sent(array, Device(device)) for array in self.arrays))

    def __repr__(self) -> str:
        inside = ", ".join(f"{array.dtype} {tuple(array.shape)}" for array in self.arrays)
        return f"TensorDataset({inside})"


def _rows(who: str, index: int, array: Any) -> Any:
    """An array with rows; lists become Tensors, and tables with labels arrays."""
    if _has_labels(array):
        values = array.to_numpy()
        if values.dtype.kind not in "biufc":
            raise DTypeError(
                f"{who}: array {index} is a {type(array).__name__} with values of {values.dtype}; "
                "expected numbers. Select the columns of numbers, or encode the others"
            )
        array = values
    if isinstance(array, list | tuple):
        array = as_tensor(array)
    if not isinstance(array, Tensor):
        try:
            device_of(array)
        except DTypeError:
            raise DTypeError(
                f"{who}: array {index} is a {type(array).__name__}; expected a Tensor, an array "
                "or a list"
            ) from None
    if not array.shape:
        raise ShapeError(f"{who}: array {index} is 0-d; expected one row for each sample")
    return array


def _has_labels(value: Any) -> bool:
    """Whether it is a Series or DataFrame, in which an index in brackets is a label."""
    return hasattr(value, "iloc") and hasattr(value, "to_numpy")


def _sent(array: Any, device: Device) -> Any:
    return array.to(device) if isinstance(array, Tensor) else device.send(array)


def _home(array: Any) -> Device:
    return array.device if isinstance(array, Tensor) else device_of(array)


class _Rows(NamedTuple):
    """Selected rows of an array, as a slice, as numbers on its device, or all.

    ``device`` is where they go; with None they stay on the device of the array.
    """

    array: Any
    index: Any = None
    device: Device | None = None

    def read(self) -> Any:
        """The rows, on their device. Numbers are integers in range.

        They are a copy, so that a change of a batch is none of the data set.
        """
        array, index, device = self
        if index is not None:
            if isinstance(array, Tensor) or isinstance(index, slice):
                stays = device is None or device == _home(array)
                array = array[index]
                if stays and isinstance(index, slice):
                    return array.copy()
            else:
                with device_of(array).activate():  # on NumPy a good third quicker than array[index]
                    array = array.take(index, 0) if array.flags.c_contiguous else array[index]
        return array if device is None else _sent(array, device)

    def source(self) -> Source | None:
        """The source that writes the rows into host memory; None for those that are not copied."""
        array, index, device = self
        if device is None:
            return None
        if isinstance(array, Tensor) and not array.requires_grad:
            array = array.data
        if not isinstance(array, np.ndarray) or not array.dtype.isnative:
            return None
        if isinstance(index, np.ndarray):
            shape = (len(index), *array.shape[1:])
            if (
                array.flags.c_contiguous
            ):  # "clip" checks nothing, so that it writes to `out` directly
                return Source(shape, array.dtype, partial(array.take, index, 0, mode="clip"))
            return Source(shape, array.dtype, lambda out: np.copyto(out, array[index]))
        rows = array if index is None else array[index]
        return Source(rows.shape, array.dtype, lambda out: np.copyto(out, rows))


def _batch(rows: _Rows | list[_Rows]) -> Any:
    """A batch: one array, or a tuple of them."""
    return rows.read() if isinstance(rows, _Rows) else tuple(one.read() for one in rows)


def _sources(rows: _Rows | list[_Rows]) -> tuple[list[Source], Callable[[list[Any]], Any]]:
    """The sources of a batch on the host, and the function that makes the batch from copies."""
    several = [rows] if isinstance(rows, _Rows) else rows
    sources = [one.source() for one in several]

    def finish(arrays: list[Any]) -> Any:
        coming = iter(arrays)
        results = []
        for one, source in zip(several, sources):
            part = one.read() if source is None else next(coming)
            results.append(Tensor(part) if source and isinstance(one.array, Tensor) else part)
        return results[0] if isinstance(rows, _Rows) else tuple(results)

    return [source for source in sources if source is not None], finish


# What a state says of the loader beside its position: with others the position is another one.
_SIZES = ("batch_size", "rows")


class _Epoch(NamedTuple):
    """The state to resume from: the number of batches so far, and the origin of the order."""

    given: int
    state: dict[str, int] | None


class DataLoader:
    """The batches of a data set, in order, or shuffled again in each iteration.

    ``dataset`` is a `TensorDataset`, an array, a list or tuple of arrays, or any object with
    ``__len__`` whose ``dataset[array of integers]`` is the batch. The last batch may be
    smaller, unless ``drop_last``. Batches are sent to ``device``. With None, those of NumPy's
    arrays go to the default device; those of Tensors and of arrays on a GPU stay there. A batch is
    an array for a data set of one array, else a tuple; its arrays are copies of the rows. Batches
    on the host are copied to a GPU during its computation, one batch ahead, through pinned memory
    and on a separate stream.

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
        self._alone = isinstance(dataset, Tensor) or _is_array(dataset) or _has_labels(dataset)
        if self._alone:
            dataset = TensorDataset(dataset)
        elif isinstance(dataset, list | tuple):
            dataset = TensorDataset(*dataset)
        elif not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise DTypeError(
                f"DataLoader: expected a TensorDataset or arrays, got {type(dataset).__name__}"
            )
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
            from_host = any(_home(a).kind == "cpu" for a in self.dataset.arrays)
        else:
            size = self.batch_size
            batches = (self.dataset[order[n * size : (n + 1) * size]] for n in numbers)
            if self.device is None and device.kind == "cpu":
                return batches
            chosen = (
                [self._rows(part, None, device) for part in parts]
                if isinstance(parts, tuple | list)
                else self._rows(parts, None, device)
                for parts in batches
            )
        if device.kind == "cuda" and from_host:
            return ahead(device, (_sources(rows) for rows in chosen))
        return (_batch(rows) for rows in chosen)

    def _rows(self, array: Any, index: Any, device: Device) -> _Rows:
        """Rows that go to a device: all of them if it was asked for, else those of the host."""
        goes = self.device is not None or isinstance(array, np.ndarray)
        return _Rows(array, index, device if goes else None)

    def _selections(
        self, order: np.ndarray, numbers: range, device: Device
    ) -> abc.Generator[Any, None, None]:
        """The rows of each array for each batch."""
        arrays, size = self.dataset.arrays, self.batch_size
        # The order is sent to each device once, so that a batch sends no indices.
        orders = {}
        if self.shuffle:
            orders = {home: home.send(order) for home in dict.fromkeys(map(_home, arrays))}
        for number in numbers:
            rows = slice(number * size, min((number + 1) * size, len(order)))
            index = {home: rows_there[rows] for home, rows_there in orders.items()}
            chosen = [
                self._rows(a, index[_home(a)] if self.shuffle else rows, device) for a in arrays
            ]
            yield chosen[0] if self._alone else chosen

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


def _is_array(value: Any) -> bool:
    try:
        device_of(value)
    except DTypeError:
        return False
    return True


# ---------------------------------------------------------------- splits


def _permutation(count: int, generator: Generator | None) -> np.ndarray:
    chosen = default_generator() if generator is None else generator
    return chosen.permutation(count, device="cpu").numpy()


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Generator | None = None
) -> list[TensorDataset]:
    """A data set split into disjoint random parts, by ``generator`` (or ``gg.manual_seed``).

    ``lengths`` are numbers of rows that add up to all, or fractions that add up to 1. Fractions
    are rounded down, and the first parts get one remaining row each, as in PyTorch.
    ``dataset`` is a `TensorDataset`, an array, or a tuple of arrays. ValueError for lengths
    that do not fit.

    >>> import gpugrad as gg, numpy as np
    >>> parts = gg.data.random_split(np.arange(10), [0.75, 0.25], gg.random.Generator(0))
    >>> [len(part) for part in parts]
    [8, 2]
    """
    if not isinstance(dataset, TensorDataset):
        dataset = TensorDataset(*(dataset if isinstance(dataset, list | tuple) else [dataset]))
    count = len(dataset)
    sizes = _sizes(count, list(lengths))
    order = _permutation(count, generator)
    ends = np.cumsum(sizes)
    return [_part(dataset, order[end - size : end]) for size, end in zip(sizes, ends)]


def _part(dataset: TensorDataset, numbers: np.ndarray) -> TensorDataset:
    """The rows with these numbers, which are sent to each device once."""
    sent = {device: device.send(numbers) for device in dict.fromkeys(map(_home, dataset.arrays))}
    return TensorDataset(*(_Rows(a, sent[_home(a)]).read() for a in dataset.arrays))


def _sizes(count: int, lengths: list[Any]) -> list[int]:
    for length in lengths:
        if isinstance(length, bool) or not isinstance(length, int | float | np.number):
            raise DTypeError(f"random_split: a length must be a number, got {length!r}")
        if not length >= 0:
            raise ValueError(f"random_split: a length must not be negative, got {length}")
    if any(isinstance(length, float | np.floating) for length in lengths):
        if not abs(sum(lengths) - 1) < 1e-6:
            raise ValueError(
                f"random_split: fractions must add up to 1, got {lengths}, which is "
                f"{sum(lengths):g}"
            )
        # 0.7 * 10 must be 7, though the product of floats may lie just below.
        sizes = [int(count * length + 1e-9) for length in lengths]
        for index in range(count - sum(sizes)):
            sizes[index % len(sizes)] += 1
        return sizes
    if sum(lengths) != count:
        raise ValueError(
            f"random_split: lengths must add up to the {count} rows, got {lengths}, which is "
            f"{sum(lengths)}"
        )
    return [int(length) for length in lengths]


def train_test_split(
    *arrays: Any, test_fraction: float = 0.25, generator: Generator | None = None
) -> tuple[Any, ...]:
    """Each array split at random into rows for training and rows for testing.

    Returns ``train, test`` for one array, ``x_train, x_test, y_train, y_test`` for two, and so
    on, with the same rows of each. Of n rows ``n * test_fraction``, rounded up, are for testing;
    each side has at least one. The rows are drawn by ``generator``, None for the default one.

    ValueError for a fraction outside (0, 1) or fewer than two rows.

    >>> import gpugrad as gg, numpy as np
    >>> x, y = np.arange(8).reshape(8, 1), np.arange(8)
    >>> x_train, x_test, y_train, y_test = gg.data.train_test_split(
    ...     x, y, test_fraction=0.25, generator=gg.random.Generator(0)
    ... )
    >>> x_train.shape, y_test.shape, bool((x_test[:, 0] == y_test).all())
    ((6, 1), (2,), True)
    """
    if not isinstance(test_fraction, int | float) or not 0 < test_fraction < 1:
        raise ValueError(
            f"train_test_split: test_fraction must lie between 0 and 1, got {test_fraction!r}"
        )
    dataset = TensorDataset(*arrays)
    count = len(dataset)
    if count < 2:
        raise ValueError(f"train_test_split: {count} rows cannot be split")
    tests = min(count - 1, int(np.ceil(count * test_fraction - 1e-9)))
    train, test = random_split(dataset, [count - tests, tests], generator)
    return tuple(part for pair in zip(train.arrays, test.arrays) for part in pair)


def __dir__() -> list[str]:
    return sorted(__all__)
