"""The rows of a CSV file, as text, with an error that says what is wrong. Imports errors."""

import codecs
import csv
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import NamedTuple

from gpugrad.errors import ArgumentError, FileFormatError

__all__ = ["MISSING", "CSVFile", "Chunk", "chosen"]

# How files begin that are something else, and what to do about it.
OTHERS = {
    b"\x1f\x8b": "is compressed by gzip. Unpack it",
    b"PK\x03\x04": "is a ZIP archive, as a workbook of Excel is. Unpack it, or save it as CSV",
    b"\xff\xfe": "is text of utf-16. Save it as UTF-8, or pass that encoding",
    b"\xfe\xff": "is text of utf-16. Save it as UTF-8, or pass that encoding",
}

# What stands for a missing value.
MISSING = frozenset("NA N/A n/a NaN nan null NULL None ? <NA> NaT".split()) | {""}


class Chunk(NamedTuple):
    """Some rows, and the number that each has in the file, as a spreadsheet counts."""

    rows: list[list[str]]
    numbers: Sequence[int]


class CSVFile:
    """A CSV file, of which ``names`` are the columns.

    Its first row has the names, or ``names`` are passed and it has none. Columns without a name,
    such as an index that pandas has written, are called "column N". OSError for a file that cannot
    be opened, FileFormatError for one that is no table of text.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        names: Sequence[str] | None = None,
        delimiter: str = ",",
        encoding: str = "utf-8",
    ) -> None:
        if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
            raise ArgumentError(f"CSV: delimiter must be one character, got {delimiter!r}")
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ArgumentError(f"CSV: there is no encoding {encoding!r}") from None
        if not (stat.S_ISREG(mode := os.stat(path).st_mode) or stat.S_ISDIR(mode)):
            raise FileFormatError(
                f"{path} is a pipe or a device, and a table is read more than once. Write it to a "
                "file first"
            )
        self.path, self.delimiter = path, delimiter
        # A byte order mark, which Excel writes, is none of the first name.
        self.encoding = "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
        self.has_header = names is None
        with closing(self._rows()) as rows:
            first = next(rows, None)
            self.has_rows = any(rows) or (names is not None and first is not None)
        if not first:  # None, or a row without values
            raise FileFormatError(
                f"{path} {'is empty' if first is None else 'begins with a blank line'}"
            )
        names = first if names is None else list(names)
        if len(names) != len(first):
            raise ArgumentError(
                f"{path} has {len(first)} columns, and names= has {len(names)} names"
            )
        self.unnamed = [f"column {i}" for i, name in enumerate(names, 1) if not name.strip()]
        self.names = [name.strip() or f"column {i}" for i, name in enumerate(names, 1)]
        twice = next((name for i, name in enumerate(self.names) if name in self.names[:i]), None)
        if twice is not None:
            raise FileFormatError(f"{path} has two columns with the name {twice!r}")

    def _rows(self) -> Generator[list[str], None, None]:
        with open(self.path, newline="", encoding=self.encoding) as file:
            reader = csv.reader(file, delimiter=self.delimiter)
            try:
                yield from reader
            except UnicodeDecodeError as error:
                encoding = self.encoding.removesuffix("-sig")
                what = (
                    f"is no text of {encoding} after line {reader.line_num}: {error.reason}. Save "
                    "it as UTF-8, or pass the encoding that it has"
                )
                with open(self.path, "rb") as binary:
                    begins = next(filter(binary.read(4).startswith, OTHERS), b"")
                raise FileFormatError(f"{self.path} {OTHERS.get(begins, what)}") from None
            except csv.Error as error:
                raise FileFormatError(
                    f"{self.path}, line {reader.line_num}: {error}. Is a quotation mark not closed?"
                ) from None

    def chunks(self, size: int, share: int = 0, shares: int = 1) -> Iterator[Chunk]:
        """The rows in chunks; of several shares, which take turns, one. Blank rows are left out.

        FileFormatError for a row that is shorter or longer than the others.
        """
        rows = islice(self._rows(), self.has_header + share, None, shares)
        number = 1 + self.has_header + share
        while chunk := list(islice(rows, size)):
            numbers: Sequence[int] = range(number, number + len(chunk) * shares, shares)
            number += len(chunk) * shares
            if set(map(len, chunk)) != {len(self.names)}:
                kept = [(row, n) for row, n in zip(chunk, numbers, strict=True) if row]
                chunk, numbers = [row for row, _ in kept], [n for _, n in kept]
                self._check_widths(chunk, numbers)
            yield Chunk(chunk, numbers)

    def _check_widths(self, rows: list[list[str]], numbers: Sequence[int]) -> None:
        for row, number in zip(rows, numbers, strict=True):
            if len(row) != len(self.names):
                raise FileFormatError(
                    f"{self.path}, row {number} has {len(row)} values, and there are "
                    f"{len(self.names)} columns. Is a text with a {self.delimiter!r} in it not in "
                    "quotation marks, or a quotation mark not closed?"
                )


def chosen(path: object, names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """The places of columns; ArgumentError, with what there is, for a missing one.

    FileFormatError for a name of two columns.
    """
    for name in wanted:
        if names.count(name) > 1:
            raise FileFormatError(f"{path} has two columns with the name {name!r}")
        if name not in names:
            shown = ", ".join(map(repr, names[:20])) + ", ..." * (len(names) > 20)
            advice = ""
            if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
                mark = next(mark for mark in ";\t|" if mark in names[0])
                advice = f". Is the delimiter {mark!r}?"
            raise ArgumentError(f"{path} has no column {name!r}, but {shown}{advice}")
    return [names.index(name) for name in wanted]
