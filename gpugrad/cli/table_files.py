"""The tables that ``gpugrad train`` and ``predict`` read: CSV and Parquet, as columns of text."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from gpugrad.data.csv_rows import CSVFile, chosen
from gpugrad.data.files import parquet_file
from gpugrad.errors import ArgumentError, FileFormatError

__all__ = ["Rows", "TableFile"]


class Rows(NamedTuple):
    """Some rows: the columns by their names, and the number of each row in the file."""

    columns: dict[str, list[Any]]
    numbers: Sequence[int]

    def select(self, places: Sequence[int]) -> "Rows":
        """The rows at these places."""
        columns = {name: [values[i] for i in places] for name, values in self.columns.items()}
        return Rows(columns, [self.numbers[i] for i in places])


class TableFile:
    """A CSV file, or a Parquet file by its name. ``names`` are all columns but an index of pandas.

    OSError for a file that cannot be opened, FileFormatError for one that is no table.
    """

    def __init__(self, path: str, delimiter: str = ",", encoding: str = "utf-8") -> None:
        self.path = path
        self._csv: CSVFile | None = None
        if path.lower().endswith((".parquet", ".pq")):
            with parquet_file(path) as file:
                names = file.schema_arrow.names
                has_rows = file.metadata.num_rows > 0
        else:
            self._csv = CSVFile(path, delimiter=delimiter, encoding=encoding)
            names = [name for name in self._csv.names if name not in self._csv.unnamed]
            has_rows = self._csv.has_rows
        if not has_rows:
            raise FileFormatError(f"{path}: there are no rows")
        self.names: list[str] = names

    def check(self, names: Sequence[str]) -> None:
        """ArgumentError where the table does not have these columns."""
        chosen(self.path, self.names, names)

    def chunks(self, names: Sequence[str], size: int = 10_000) -> Iterator[Rows]:
        """The rows of some columns, a chunk at a time."""
        self.check(names)
        if self._csv is None:
            yield from self._parquet_chunks(names, size)
            return
        places = chosen(self.path, self._csv.names, names)
        for chunk in self._csv.chunks(size):
            columns = {name: [row[i] for row in chunk.rows] for name, i in zip(names, places)}
            if chunk.rows:
                yield Rows(columns, chunk.numbers)

    def _parquet_chunks(self, names: Sequence[str], size: int) -> Iterator[Rows]:
        number = 1
        with parquet_file(self.path) as file:
            for group in range(file.num_row_groups):  # of several, pyarrow reads all ahead
                for batch in file.iter_batches(size, [group], list(names)):
                    columns = {name: batch.column(name).to_pylist() for name in names}
                    yield Rows(columns, range(number, number + len(batch)))
                    number += len(batch)

    def read(self, names: Sequence[str]) -> Rows:
        """All rows of some columns."""
        columns: dict[str, list[Any]] = {name: [] for name in names}
        numbers: list[int] = []
        for rows in self.chunks(names):
            numbers += rows.numbers
            for name in names:
                columns[name] += rows.columns[name]
        if not numbers:
            raise ArgumentError(f"{self.path}: there are no rows")
        return Rows(columns, numbers)
