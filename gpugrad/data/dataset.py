"""Data sets, and the rows of their arrays. Imports staging, tensor and below."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.device import Device, device_of
from gpugrad.backend.staging import Source
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.tensor import Tensor, as_tensor

__all__ = ["Rows", "TensorDataset", "batch_of", "has_labels", "home_of", "is_array", "sources_of"]


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


def has_labels(value: Any) -> bool:
    """Whether it is a Series or DataFrame, in which an index in brackets is a label."""
    return hasattr(value, "iloc") and hasattr(value, "to_numpy")


def _sent(array: Any, device: Device) -> Any:
    return array.to(device) if isinstance(array, Tensor) else device.send(array)


def home_of(array: Any) -> Device:
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
            if (
                array.flags.c_contiguous
            ):  # "clip" checks nothing, so that it writes to `out` directly
                return Source(shape, array.dtype, partial(array.take, index, 0, mode="clip"))
            return Source(shape, array.dtype, lambda out: np.copyto(out, array[index]))
        rows = array if index is None else array[index]
        return Source(rows.shape, array.dtype, lambda out: np.copyto(out, rows))


def batch_of(rows: Rows | list[Rows]) -> Any:
    """A batch: one array, or a tuple of them."""
    return rows.read() if isinstance(rows, Rows) else tuple(one.read() for one in rows)


def sources_of(rows: Rows | list[Rows]) -> tuple[list[Source], Callable[[list[Any]], Any]]:
    """The sources of a batch on the host, and the function that makes the batch from copies."""
    several = [rows] if isinstance(rows, Rows) else rows
    sources = [one.source() for one in several]

    def finish(arrays: list[Any]) -> Any:
        coming = iter(arrays)
        results = []
        for one, source in zip(several, sources):
            part = one.read() if source is None else next(coming)
            results.append(Tensor(part) if source and isinstance(one.array, Tensor) else part)
        return results[0] if isinstance(rows, Rows) else tuple(results)

    return [source for source in sources if source is not None], finish


def is_array(value: Any) -> bool:
    try:
        device_of(value)
    except DTypeError:
        return False
    return True
