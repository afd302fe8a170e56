"""Data sets that are read from files of tables, a chunk at a time: CSV and Parquet.

Imports `csv_rows`, `dataset`, `workers` and errors; pyarrow where a Parquet file is read.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.requirements import pip_install
from gpugrad.data.csv_rows import MISSING, Chunk, CSVFile, chosen
from gpugrad.data.dataset import IterableDataset
from gpugrad.data.workers import get_worker_info
from gpugrad.engine.messages import is_whole
from gpugrad.errors import ArgumentError, DTypeError, FileFormatError

__all__ = ["CSVDataset", "ParquetDataset", "parquet_file"]

Path = str | os.PathLike[str]
Arrays = tuple[np.ndarray, ...]

_NO_VALUE = (
    "Of a column of x pass missing=, the number to put there; leave out rows without a target"
)


class _Part(NamedTuple):
    """One array of a batch: its columns and their dtype."""

    names: list[str]
    dtype: np.dtype
    missing: float | None  # what stands for a missing value, None where there may be none
    flat: bool  # the array has no axis of columns


class _TableDataset(IterableDataset):
    """Files of tables: what is common to all formats. A subclass opens a file and reads chunks."""

    def __init__(
        self,
        path: Path | Sequence[Path],
        target: str | Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        *,
        dtype: Any = "float32",
        target_dtype: Any = None,
        missing: float | None = None,
        transform: Callable[..., Any] | None = None,
        chunk_rows: int = 10_000,
        shuffle_buffer: int = 10_000,
    ) -> None:
        self.paths = [path] if isinstance(path, str | os.PathLike) else list(path)
        if not self.paths:
            raise ArgumentError(f"{self._who()}: expected at least one file")
        self.target, self.columns = target, columns
        self.dtype = self._number_dtype("dtype", dtype)
        self.target_dtype = self._number_dtype(
            "target_dtype", self.dtype if target_dtype is None else target_dtype
        )
        if missing is not None and not _fits(missing, self.dtype):
            raise ArgumentError(f"{self._who()}: missing={missing!r} is no number of {self.dtype}")
        self.missing, self.transform = missing, transform
        for name, value in (("chunk_rows", chunk_rows), ("shuffle_buffer", shuffle_buffer)):
            if not is_whole(value, 1):
                raise ArgumentError(
                    f"{self._who()}: {name} must be a whole number of 1 or more, got {value!r}"
                )
        self.chunk_rows, self.shuffle_buffer = int(chunk_rows), int(shuffle_buffer)
        self._open()

    def _who(self) -> str:
        return type(self).__name__

    def _number_dtype(self, name: str, dtype: Any) -> np.dtype:
        found = np.dtype(dtype)
        if found.kind not in "iuf":
            raise DTypeError(f"{self._who()}: {name} must be one of numbers, got {found}")
        return found

    def _open(self) -> None:
        """Look at all files: whether they can be read and have the columns."""
        raise NotImplementedError

    def _check_rows(self, has_rows: bool) -> None:
        if not has_rows:
            raise FileFormatError(f"{', '.join(map(str, self.paths))}: there are no rows")

    def _chunks(self, share: int, shares: int, seed: Any) -> Iterator[Arrays]:
        """Arrays of rows: of several shares, which have no row in common, one."""
        raise NotImplementedError

    def _choose(self, path: Path, names: Sequence[str], unnamed: Sequence[str] = ()) -> None:
        """Settle the columns by the first file; ArgumentError where a file does not have them."""
        targets = [self.target] if isinstance(self.target, str) else list(self.target or ())
        if self.columns is None:
            self.columns = [name for name in names if name not in (*targets, *unnamed)]
        elif isinstance(self.columns, str):
            self.columns = [self.columns]
        chosen(path, names, [*self.columns, *targets])
        if not self.columns:
            raise ArgumentError(f"{path} has no column beside the target")
        self._parts = [_Part(list(self.columns), self.dtype, self.missing, False)]
        if targets:  # a number in the place of one that is missing would be learned
            flat = isinstance(self.target, str)
            self._parts.append(_Part(targets, self.target_dtype, None, flat))

    def batches(self, batch_size: int, seed: Sequence[int] | None = None) -> Iterator[Any]:
        """Batches of so many rows, the last one of those that are left.

        With ``seed`` their order is random, as far as ``shuffle_buffer`` rows allow. In a worker of
        a `DataLoader` they are of its share.
        """
        for arrays in self._rows(batch_size, seed):
            if self.transform is not None:
                yield self.transform(*arrays)
            else:
                yield arrays if len(arrays) > 1 else arrays[0]

    def __iter__(self) -> Iterator[Any]:
        for arrays in self._rows(self.chunk_rows):
            yield from zip(*arrays, strict=True) if len(arrays) > 1 else arrays[0]

    def _rows(self, batch_size: int, seed: Sequence[int] | None = None) -> Iterator[Arrays]:
        """The rows of this process, as arrays of so many."""
        info = get_worker_info()
        share, shares = (0, 1) if info is None else (info.id, info.num_workers)
        chunks = self._chunks(share, shares, seed)
        if seed is not None:
            rng = np.random.default_rng([*seed, share])
            chunks = _shuffled(chunks, self.shuffle_buffer, rng)
        yield from _cut(chunks, batch_size)

    def __repr__(self) -> str:
        return f"{self._who()}({', '.join(map(str, self.paths))})"


def _fits(value: Any, dtype: np.dtype) -> bool:
    """Whether a dtype has a number; floating-point ones have all."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return False
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= int(value) <= limits.max


def _shuffled(chunks: Iterator[Arrays], size: int, rng: np.random.Generator) -> Iterator[Arrays]:
    """Chunks whose rows have changed places with random rows of a pool of ``size`` rows or so."""
    filling: list[Arrays] = []
    pool: Arrays = ()
    for chunk in chunks:
        if not pool:
            filling.append(chunk)
            if sum(len(part[0]) for part in filling) < size:
                continue
            pool, filling = _joined(filling), []
            continue
        for start in range(0, len(chunk[0]), len(pool[0])):
            piece = tuple(array[start : start + len(pool[0])] for array in chunk)
            places = rng.choice(len(pool[0]), len(piece[0]), replace=False)
            drawn = tuple(array[places] for array in pool)
            for array, new in zip(pool, piece, strict=True):
                array[places] = new
            yield drawn
    if filling:
        pool = _joined(filling)
    if pool:
        order = rng.permutation(len(pool[0]))
        yield tuple(array[order] for array in pool)


def _cut(chunks: Iterator[Arrays], size: int) -> Iterator[Arrays]:
    """Batches of ``size`` rows, and one of those that are left."""
    rest: list[Arrays] = []
    count = 0
    for chunk in chunks:
        rest.append(chunk)
        count += len(chunk[0])
        if count < size:
            continue
        rows = _joined(rest)
        whole = count - count % size
        for start in range(0, whole, size):
            yield tuple(array[start : start + size].copy() for array in rows)
        rest, count = [tuple(array[whole:] for array in rows)], count - whole
    if count:
        yield _joined(rest)


def _joined(chunks: list[Arrays]) -> Arrays:
    return tuple(np.concatenate(arrays) for arrays in zip(*chunks, strict=True))


class CSVDataset(_TableDataset):
    """The rows of CSV files, which are read a chunk at a time, for what is larger than memory.

    A batch is ``(x, y)``: x is (rows, columns) of ``columns``, None for all others than the target;
    y is (rows,) for one name as ``target``, or (rows, targets) for a list. Without a target it is x
    alone. ``path`` is a file or a list of files with the same columns. ``dtype`` and
    ``target_dtype`` are those of x and y; class numbers need "int64". An empty cell, or one like
    ``NA``, is an error, or becomes the number ``missing``. ``transform(x, y)`` makes something else
    of a batch. A file without a first row of names gets them by ``names``.

    Used in a `DataLoader`, which gives it the batch size, and ``shuffle``: rows change places with
    ``shuffle_buffer`` others in memory, so rows that are far apart in the file mix slowly. Workers
    take turns at the rows, and each of them splits all text. At most ``chunk_rows`` rows beside the
    buffer and a batch are in memory. Text is slow to read: Parquet is some twenty times as fast.

    OSError for a file that cannot be opened, ArgumentError for a missing column; FileFormatError,
    with the row, for what is no number, rows of different lengths and text in another encoding.

    >>> import gpugrad as gg, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "data.csv")
    >>> with open(path, "w") as file:
    ...     _ = file.write("a,b,kind\\n1,2,0\\n3,4,1\\n5,,1\\n")
    >>> data = gg.data.CSVDataset(path, target="kind", target_dtype="int64", missing=-1)
    >>> for x, y in gg.data.DataLoader(data, batch_size=2):
    ...     print(x.tolist(), y.tolist())
    [[1.0, 2.0], [3.0, 4.0]] [0, 1]
    [[5.0, -1.0]] [1]
    """

    def __init__(
        self,
        path: Path | Sequence[Path],
        target: str | Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        *,
        names: Sequence[str] | None = None,
        delimiter: str = ",",
        encoding: str = "utf-8",
        dtype: Any = "float32",
        target_dtype: Any = None,
        missing: float | None = None,
        transform: Callable[..., Any] | None = None,
        chunk_rows: int = 10_000,
        shuffle_buffer: int = 10_000,
    ) -> None:
        self._form: tuple[Any, ...] = (names, delimiter, encoding)
        super().__init__(
            path, target, columns, dtype=dtype, target_dtype=target_dtype, missing=missing,
            transform=transform, chunk_rows=chunk_rows, shuffle_buffer=shuffle_buffer,
        )  # fmt: skip

    def _open(self) -> None:
        self._files = [CSVFile(path, *self._form) for path in self.paths]
        self._check_rows(any(file.has_rows for file in self._files))
        for file in self._files:
            self._choose(file.path, file.names, file.unnamed)

    def _chunks(self, share: int, shares: int, seed: Any) -> Iterator[Arrays]:
        for file in self._files:
            places = [chosen(file.path, file.names, part.names) for part in self._parts]
            for chunk in file.chunks(self.chunk_rows, share, shares):
                if not chunk.rows:
                    continue
                arrays = []
                for columns, part in zip(places, self._parts, strict=True):
                    array = _numbers(file, chunk, columns, part.dtype, part.missing)
                    arrays.append(array[:, 0] if part.flat else array)
                yield tuple(arrays)


def _numbers(
    file: CSVFile, chunk: Chunk, columns: list[int], dtype: np.dtype, missing: float | None
) -> np.ndarray:
    """Columns of rows of text as an array; FileFormatError, with the place, for what is none."""
    texts = [[row[i] for i in columns] for row in chunk.rows]
    array = _parsed(texts, dtype)
    if array is not None:
        return array
    absent = np.array([[text.strip() in MISSING for text in row] for row in texts])
    if missing is not None:
        texts = [["0" if text.strip() in MISSING else text for text in row] for row in texts]
        array = _parsed(texts, dtype)
        if array is not None:
            array[absent] = missing
            return array
    i, j = next(
        (i, j)
        for i, row in enumerate(texts)
        for j, text in enumerate(row)
        if _parsed([[text]], dtype) is None
    )
    where = f"{file.path}, row {chunk.numbers[i]}, column {file.names[columns[j]]!r}"
    if absent[i, j]:
        raise FileFormatError(f"{where}: there is no value, but {texts[i][j]!r}. {_NO_VALUE}")
    raise FileFormatError(
        f"{where}: {texts[i][j][:60]!r} is no finite number of {dtype}. Correct it, or choose "
        "other columns"
    )


def _parsed(texts: list[list[str]], dtype: np.dtype) -> np.ndarray | None:
    """Finite numbers from their texts; None where one is none."""
    if dtype.kind in "iu":
        try:
            return np.array(texts, dtype)
        except (ValueError, OverflowError):
            pass  # whole numbers may be written as "3.0"
    try:
        # As float64 first: beyond the range of a smaller one there is an infinity to be found.
        values = np.array(texts, np.float64)
    except ValueError:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        array = values.astype(dtype)
    fits = np.isfinite(array) if dtype.kind == "f" else array == values
    return array if fits.all() else None


class ParquetDataset(_TableDataset):
    """The rows of Parquet files, which are read a chunk at a time by pyarrow.

    The arguments are those of `CSVDataset`. Workers share the row groups of the files, and
    ``shuffle`` puts these in a random order as well: a file with many of them shuffles better and
    serves more workers. Values that are null, or NaN, are ``missing``, or an error.

    ImportError without pyarrow; else the errors are those of `CSVDataset`.
    """

    def _open(self) -> None:
        self._groups: list[tuple[Path, int]] = []
        rows = 0
        for path in self.paths:
            with parquet_file(path) as file:
                self._choose(path, file.schema_arrow.names)
                self._check_types(path, file.schema_arrow)
                self._groups += [(path, group) for group in range(file.num_row_groups)]
                rows += file.metadata.num_rows
        self._check_rows(rows > 0)

    def _check_types(self, path: Path, schema: Any) -> None:
        from pyarrow import types

        for part in self._parts:
            for name in part.names:
                kind = schema.field(name).type
                if not (
                    types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
                ):
                    raise FileFormatError(
                        f"{path}, column {name!r}: its values are of type {kind}; expected "
                        "numbers. Choose columns=, or encode the others"
                    )

    def _chunks(self, share: int, shares: int, seed: Any) -> Iterator[Arrays]:
        groups = self._groups
        if seed is not None:  # all shares have one order, of which each takes its own
            order = np.random.default_rng(seed).permutation(len(groups))
            groups = [groups[i] for i in order]
        wanted = [name for part in self._parts for name in part.names]
        for path, run in groupby(groups[share::shares], key=itemgetter(0)):
            with parquet_file(path) as file:
                for _, group in run:  # one by one: of several, pyarrow reads all ahead
                    for rows in file.iter_batches(self.chunk_rows, [group], wanted):
                        yield tuple(self._arrays(path, rows))

    def _arrays(self, path: Path, rows: Any) -> Iterator[np.ndarray]:
        for part in self._parts:
            columns = [
                _column(f"{path}, column {name!r}", rows.column(name), part.dtype, part.missing)
                for name in part.names
            ]
            yield columns[0] if part.flat else np.stack(columns, axis=1)


def _column(where: str, column: Any, dtype: np.dtype, missing: float | None) -> np.ndarray:
    """A column of pyarrow as an array; FileFormatError for a value that the dtype does not have."""
    absent = column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    if absent.any() and missing is None:
        raise FileFormatError(f"{where}: there are values that are null or NaN. {_NO_VALUE}")
    values = column.fill_null(False if str(column.type) == "bool" else 0)
    values = values.to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore", invalid="ignore"):
        array: np.ndarray = values.astype(dtype)
    fits = np.isfinite(array) if dtype.kind == "f" else array == values
    if not (fits | absent).all():
        value = values[~(fits | absent)][0]
        raise FileFormatError(f"{where}: {value} is no finite number of {dtype}")
    if missing is not None:
        array[absent] = missing
    return array


@contextmanager
def parquet_file(path: Path) -> Iterator[Any]:
    """An open file; ImportError without pyarrow, FileFormatError for what it cannot read."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(f"A Parquet file needs pyarrow: {pip_install('parquet')}") from error
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        if getattr(error, "errno", None) is not None:  # of the system, such as FileNotFoundError
            raise
        raise FileFormatError(f"{path} cannot be read as Parquet: {error}") from None
