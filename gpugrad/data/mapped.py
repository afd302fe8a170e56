"""Arrays that stay in ``.npy`` files, of which a batch reads its rows alone. Imports errors."""

import os
from mmap import ALLOCATIONGRANULARITY as PAGE
from tokenize import TokenError
from typing import Any, Literal, NamedTuple

import numpy as np

from gpugrad.errors import FileFormatError

__all__ = ["FileArray", "as_file", "is_mapped", "opened"]

# What NumPy raises for a header, which it parses as Python's text.
_UNREADABLE = (ValueError, EOFError, SyntaxError, TokenError, OverflowError, TypeError)


def opened(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of a file, mapped into memory for reading."""
    with open(path, "rb") as file:
        start = file.read(6)
    if start != b"\x93NUMPY":
        archive = start.startswith(b"PK")
        raise FileFormatError(
            f"NumpyDataset: {path} is no .npy file"
            + (", but an archive, which cannot be mapped: save its arrays by np.save" * archive)
        )
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except _UNREADABLE as error:  # also of Python objects, which are never unpickled
        raise FileFormatError(f"NumpyDataset: {path} cannot be mapped: {error}") from None
    if array.dtype.kind not in "biufc":
        raise FileFormatError(f"NumpyDataset: {path} has values of {array.dtype}; expected numbers")
    return array


def _map_of(array: Any) -> np.memmap | None:
    """The map that an array is a view of, or None."""
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return array if isinstance(array, np.memmap) else None


def is_mapped(array: Any) -> bool:
    """Whether an array is a view of a file."""
    return _map_of(array) is not None


class FileArray(NamedTuple):
    """Where an array is in a file, which takes its place in a pickle."""

    path: str
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    order: Literal["C", "F"]

    def read(self) -> np.ndarray:
        """The array, mapped into memory."""
        return np.asarray(
            np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)
        )


def as_file(array: Any) -> Any:
    """What to pickle for an array: for a view of a file its place there, else the array."""
    view = _map_of(array)
    if view is None or view.filename is None or view.mode == "c":  # whose changes are in no file
        return array
    if not array.size or not (array.flags.c_contiguous or array.flags.f_contiguous):
        return array
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    memory: Any = view
    while isinstance(memory, np.ndarray):  # down to the map of the whole file
        memory = memory.base
    start = np.frombuffer(memory, np.uint8).ctypes.data
    # The map begins at a whole page of the file, before the array's own offset.
    skipped = view.offset - view.offset % PAGE
    offset = skipped + array.ctypes.data - start
    return FileArray(str(view.filename), array.dtype, offset, array.shape, order)
