"""Data sets, and the rows of their arrays. Imports `mapped`, staging and below."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.device import Device, device_of
from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.staging import Source
from gpugrad.data.mapped import FileArray, as_file, opened
from gpugrad.engine.messages import instead_of
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.tensor import Tensor, as_tensor, asarray

__all__ = [
    "Dataset", "IterableDataset", "NumpyDataset", "Rows", "Selection", "TensorDataset", "collate",
    "has_labels", "home_of", "is_array", "map_arrays",
]  # fmt: skip


class Dataset:
    """A data set of your own: define ``__len__`` and ``__getitem__(i)``, which returns sample i.

    A sample is an array or a number, or a tuple or dict of such. A class that returns whole
    batches says so with ``batched = True``; its ``__getitem__`` gets an array of integers. The
    base class is optional: `DataLoader` takes any object with these methods.

    >>> import gpugrad as gg, numpy as np
    >>> class Squares(gg.data.Dataset):
    ...     def __len__(self):
    ...         return 5
    ...
    ...     def __getitem__(self, i):
    ...         return np.array([i, i]), i**2
    >>> x, y = next(iter(gg.data.DataLoader(Squares(), batch_size=3)))
    >>> x.shape, y.tolist()
    ((3, 2), [0, 1, 4])
    """

    batched = False

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__}: define __len__, the number of samples")

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(
            f"{type(self).__name__}: define __getitem__, which gives a sample"
        )


class IterableDataset:
    """A data set that is read from the beginning to the end: define ``__iter__``, over samples.

    For what has no numbered rows, such as a stream or files larger than memory. With
    ``batched = True`` it gives whole batches. One with a method ``batches(batch_size, seed)`` gives
    those of any size, in an order of the seed (integers) where that is not None. In a `DataLoader`
    with workers each of them reads all of it, unless it takes a share by `get_worker_info`.

    >>> import gpugrad as gg
    >>> class Squares(gg.data.IterableDataset):
    ...     def __iter__(self):
    ...         return (i * i for i in range(5))
    >>> [batch.tolist() for batch in gg.data.DataLoader(Squares(), batch_size=2)]
    [[0, 1], [4, 9], [16]]
    """

    batched = False

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__}: define __iter__, which gives samples")


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

    batched = True

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
        return f"{type(self).__name__}({inside})"

    def __getstate__(self) -> dict[str, Any]:
        # An array on the disk is sent to a worker by its path.
        return {**vars(self), "arrays": tuple(map(as_file, self.arrays))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.arrays = tuple(a.read() if isinstance(a, FileArray) else a for a in self.arrays)


class NumpyDataset(TensorDataset):
    """A `TensorDataset` of ``.npy`` files, such as x.npy and y.npy, that stay on the disk.

    The files are mapped into memory, so that only the rows of a batch are read. Workers open them
    anew by their paths, and `random_split` gives parts that read them as well. A ``TensorDataset``
    of arrays that ``np.load(path, mmap_mode="r")`` has mapped does the same.

    OSError for a file that cannot be opened, FileFormatError for one that is no ``.npy`` file of
    numbers, ShapeError for files with different numbers of rows.

    >>> import gpugrad as gg, numpy as np, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "x.npy")
    >>> np.save(path, np.arange(8).reshape(4, 2))
    >>> data = gg.data.NumpyDataset(path)
    >>> [x.tolist() for (x,) in gg.data.DataLoader(data, batch_size=3)]
    [[[0, 1], [2, 3], [4, 5]], [[6, 7]]]
    """

    def __init__(self, *paths: str | os.PathLike[str]) -> None:
        super().__init__(*map(opened, paths))


def _rows(who: str, index: int, array: Any) -> Any:
    """An array with rows; lists become Tensors, and tables with labels arrays."""
    if has_labels(array):
        values = array.to_numpy()
        if values.dtype.kind not in "biufc":
            raise DTypeError(
                f"{who}: array {index} is a {type(array).__name__} with values of {values.dtype}; "
                "expected numbers. Select the columns of numbers, or encode the others"
            )
        array = values
    if isinstance(array, list | tuple):
        array = as_tensor(array)
    if isinstance(array, np.memmap):
        array = np.asarray(array)  # a view, whose rows are plain arrays
    if not isinstance(array, Tensor):
        try:
            device_of(array)
        except DTypeError:
            raise DTypeError(
                f"{who}: array {index} is a {type(array).__name__}; expected a Tensor, an array "
                f"or a list. {instead_of(array)}"
            ) from None
    if not array.shape:
        raise ShapeError(f"{who}: array {index} is 0-d; expected one row for each sample")
    return array


def has_labels(value: Any) -> bool:
    """Whether it is a Series or DataFrame, in which an index in brackets is a label."""
    return hasattr(value, "iloc") and hasattr(value, "to_numpy")


def _sent(array: Any, device: Device) -> Any:
    return array.to(device) if isinstance(array, Tensor) else device.send(array)


def home_of(array: Any) -> Device:
    """The device of a Tensor or a raw array."""
    return array.device if isinstance(array, Tensor) else device_of(array)


class Rows(NamedTuple):
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
                stays = device is None or device == home_of(array)
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
            if array.flags.c_contiguous:
                # "clip" checks nothing, so that it writes to `out` directly.
                return Source(shape, array.dtype, partial(array.take, index, 0, mode="clip"))
            return Source(shape, array.dtype, lambda out: np.copyto(out, array[index]))
        rows = array if index is None else array[index]
        return Source(rows.shape, array.dtype, lambda out: np.copyto(out, rows))


class Selection(NamedTuple):
    """The rows of each array of a batch, and ``like``, in which an array stands for each of them.

    ``like`` is an array, or tuples, lists and dicts of arrays and of anything else.
    """

    rows: list[Rows]
    like: Any

    def read(self) -> Any:
        """The batch."""
        return self._batch([rows.read() for rows in self.rows])

    def sources(self) -> tuple[list[Source], Callable[[list[Any]], Any]]:
        """The sources of a batch on the host, and the function that makes it from their copies."""
        sources = [rows.source() for rows in self.rows]

        def finish(arrays: list[Any]) -> Any:
            coming = iter(arrays)
            results = []
            for rows, source in zip(self.rows, sources):
                part = rows.read() if source is None else next(coming)
                results.append(Tensor(part) if source and isinstance(rows.array, Tensor) else part)
            return self._batch(results)

        return [source for source in sources if source is not None], finish

    def _batch(self, arrays: list[Any]) -> Any:
        coming = iter(arrays)
        return map_arrays(lambda _: next(coming), self.like)


def map_arrays(function: Callable[[Any], Any], batch: Any) -> Any:
    """A batch with the results of a function in place of its arrays."""
    if isinstance(batch, Mapping):
        return {key: map_arrays(function, part) for key, part in batch.items()}
    if isinstance(batch, tuple | list):
        parts = [map_arrays(function, part) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return function(batch) if isinstance(batch, Tensor) or is_array(batch) else batch


def collate(samples: list[Any]) -> Any:
    """A batch of samples: arrays are stacked, numbers become an array, and anything else a list.

    Samples may be tuples, lists or dicts of these, with one structure; so is the batch. Python's
    floats get the default dtype, as in `gpugrad.tensor`. ShapeError for arrays of different shapes
    and for samples of different kinds or structures.

    >>> import numpy as np
    >>> collate([(np.array([1, 2]), "a"), (np.array([3, 4]), "b")])
    (array([[1, 2],
           [3, 4]]), ['a', 'b'])
    >>> collate([{"y": 0.5}, {"y": 1.0}])
    {'y': tensor([0.5, 1. ])}
    """
    first = samples[0]
    if len({type(sample) for sample in samples}) > 1:
        numbers = any(map(_is_python_number, samples))
        _check_same("kind", [_kind(sample, numbers) for sample in samples])
    if isinstance(first, Mapping):
        _check_same("keys", [list(sample) for sample in samples])
        return {key: collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, tuple | list):
        _check_same("length", [len(sample) for sample in samples])
        parts = [collate(list(column)) for column in zip(*samples, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    if any(map(_is_python_number, samples)):
        return asarray([s.item() if isinstance(s, np.generic) else s for s in samples])
    if not isinstance(first, Tensor) and not is_array(first):
        return samples
    _check_same("shape", [tuple(sample.shape) for sample in samples])
    if isinstance(first, Tensor):
        return FUNCTIONS["stack"](samples)
    return namespace_of(first).stack(samples)


def _is_python_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | complex) and not isinstance(value, np.generic)


def _kind(sample: Any, numbers: bool) -> str:
    """What a sample counts as; beside Python's numbers a scalar of NumPy is one."""
    if isinstance(sample, Mapping):
        return "dict"
    if isinstance(sample, tuple | list):
        return "tuple"
    if _is_python_number(sample) or (numbers and isinstance(sample, np.number | np.bool_)):
        return "number"
    return "array" if isinstance(sample, Tensor) or is_array(sample) else "object"


def _check_same(what: str, of_samples: list[Any]) -> None:
    for number, other in enumerate(of_samples):
        if other != of_samples[0]:
            raise ShapeError(
                f"DataLoader: the samples of a batch need one {what} to be stacked, the first has "
                f"{of_samples[0]} and number {number} {other}. Pad or crop them, or pass "
                "collate_fn"
            )


def is_array(value: Any) -> bool:
    """Whether a value is a raw array of a known type."""
    try:
        device_of(value)
    except DTypeError:
        return False
    return True
