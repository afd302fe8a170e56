"""The safetensors format: arrays and texts by name, in one file. Imports errors.

A file is the length of the header (8 bytes, little-endian), the header, a JSON object, and the
bytes of the arrays without gaps. Both directions are written here, and not left to the library of
that name: a file is opened once, so that nobody replaces it between two readings, an error of the
disk keeps its number, and a hostile header costs memory in proportion to its size.
"""

import json
import math
import os
import re
import stat
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gpugrad.backend.precision import dtype_named
from gpugrad.backend.requirements import pip_install
from gpugrad.errors import DTypeError, FileFormatError

__all__ = ["LIMIT", "is_known", "read", "write"]

LIMIT = 100_000_000  # bytes of a header: other readers accept no larger one
ENTRY = 2000  # characters of an array's entry in the header, more than 64 axes need
METADATA = "__metadata__"

CODES = {
    "BOOL": "bool",
    "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16", "C64": "complex64",
}  # fmt: skip
NAMES = {name: code for code, name in CODES.items()}


def is_known(dtype: np.dtype[Any]) -> bool:
    """Whether the format has arrays of a dtype."""
    return dtype.name in NAMES


# ---------------------------------------------------------------- writing


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> None:
    """Write a file. ValueError for more text than a header holds, before anything is written."""
    # The widest first, so that every array lies at a multiple of its item's size.
    ordered = sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize)
    header: dict[str, Any] = {METADATA: dict(texts)}
    begin = 0
    for name, array in ordered:
        end = begin + array.nbytes
        header[name] = {
            "dtype": NAMES[array.dtype.name],
            "shape": array.shape,
            "data_offsets": (begin, end),
        }
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LIMIT:
        raise ValueError(f"the header has {len(text):,} bytes, more than the {LIMIT:,} allowed")
    file.write(struct.pack("<Q", len(text)) + text)
    for _, array in ordered:
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        file.write(little.reshape(-1).view(np.uint8).data)


# ---------------------------------------------------------------- reading


def read(path: Path, key: str) -> tuple[dict[str, np.ndarray], str | None]:
    """The arrays by name, in the order of the header, and the text ``key`` of the metadata.

    Memory is allocated only for data that the file has. FileFormatError, with the reason, for a
    truncated, damaged or foreign file.
    """
    with open(path, "rb", opener=_opened) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FileFormatError(f"load: {path} is a device or a pipe, and no regular file")
        text, start = _header_text(file, path, status.st_size)
        try:
            entries, found = _parsed(text, key)
        except (_DamagedError, ValueError, RecursionError) as error:
            raise FileFormatError(f"load: {path}: its header is damaged ({error})") from None
        del text
        expected = start + max((entry.end for entry in entries.values()), default=0)
        if expected > status.st_size:
            raise FileFormatError(
                f"load: {path} was cut off: its header promises {expected:,} bytes, the file has "
                f"{status.st_size:,}"
            )
        try:
            _check_extents(entries, status.st_size - start)
            return {
                name: _array(file, start, name, entry) for name, entry in entries.items()
            }, found
        except _DamagedError as error:
            raise FileFormatError(f"load: {path} is damaged: {error}") from None
        except _NoTypeError as error:
            raise FileFormatError(f"load: {path}: NumPy has no type for {error}") from None


class _DamagedError(Exception):
    """What a file says of itself is invalid."""


class _NoTypeError(Exception):
    """An array of a dtype that is not installed."""


class _Entry(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def _opened(path: str, flags: int) -> int:
    # Without waiting, if it is a pipe that nobody writes to.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _header_text(file: BinaryIO, path: Path, size: int) -> tuple[str, int]:
    """The header, and where the arrays begin."""
    start = file.read(8)
    if len(start) < 8:
        raise FileFormatError(
            f"load: {path} has {size} bytes: it was cut off, or is no safetensors file"
        )
    (length,) = struct.unpack("<Q", start)
    first = file.read(1)
    if first != b"{" or length > max(LIMIT, size):
        raise FileFormatError(f"load: {path} is no safetensors file{_hint(start)}")
    if length > LIMIT:
        raise FileFormatError(
            f"load: {path} has a header of {length:,} bytes, more than the {LIMIT:,} that "
            "safetensors allows: it is damaged or malicious"
        )
    if length > size - 8:
        raise FileFormatError(
            f"load: {path} was cut off: its header alone has {length:,} bytes, the file {size:,}"
        )
    try:
        return str(first + file.read(length - 1), "utf-8"), 8 + length
    except UnicodeDecodeError as error:
        raise FileFormatError(f"load: {path}: its header is damaged ({error})") from None


def _hint(start: bytes) -> str:
    """A hint at the format of a file that is not a safetensors file, by its first bytes."""
    if start[:2] == b"PK":
        return (
            ": it looks like one of PyTorch or NumPy (a zip archive). Convert it with the program "
            "that wrote it, for example by safetensors.torch.save_file"
        )
    if start[:1] == b"\x80":
        return (
            ": it looks like a pickle, which gpugrad does not read because reading one runs it. "
            "Convert it with the program that wrote it, for example by safetensors.torch.save_file"
        )
    if start[:6] == b"\x93NUMPY":
        return ": it looks like NumPy's .npy. Read it with numpy.load"
    return ""


_SPACE = re.compile(r"[ \t\n\r]*")
_value_at = json.JSONDecoder().raw_decode


def _skipped(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it always matches


def _after(text: str, at: int, token: str) -> int:
    """The position after a token that must come next, and after the space behind it."""
    at = _skipped(text, at)
    if not text.startswith(token, at):
        raise _DamagedError(f"expected {token!r} at character {at}")
    return _skipped(text, at + 1)


def _string_at(text: str, at: int) -> tuple[str, int]:
    if not text.startswith('"', at):
        raise _DamagedError(f"expected a string at character {at}")
    return _value_at(text, at)


def _object_at(text: str, at: int, member: Callable[[str, int], int]) -> int:
    """Read an object; ``member(name, at)`` reads a value. Both return the position after it.

    Nothing is built but what ``member`` keeps: the json module's objects may take thirty times the
    memory of their text.
    """
    at = _after(text, at, "{")
    if text.startswith("}", at):
        return at + 1
    while True:
        name, at = _string_at(text, at)
        at = _skipped(text, member(name, _after(text, at, ":")))
        if text.startswith("}", at):
            return at + 1
        at = _after(text, at, ",")


def _parsed(text: str, key: str) -> tuple[dict[str, _Entry], str | None]:
    """The entries of the arrays, and one text of the metadata."""
    entries: dict[str, _Entry] = {}
    found = None

    def text_member(name: str, at: int) -> int:
        nonlocal found
        value, at = _string_at(text, at)
        if name == key:
            found = value
        return at

    def member(name: str, at: int) -> int:
        if name == METADATA:
            return _object_at(text, at, text_member)
        if name in entries:
            raise _DamagedError(f"{name[:100]!r} is there twice")
        end = text.find("}", at) + 1
        if not text.startswith("{", at) or not 0 < end - at <= ENTRY:
            raise _DamagedError(f"the entry {name[:100]!r} is no array")
        entries[name] = _entry(name, json.loads(text[at:end]))
        return end

    end = _object_at(text, 0, member)
    if _skipped(text, end) < len(text):
        raise _DamagedError(f"more after its end at character {end}")
    return entries, found


def _entry(name: str, value: Any) -> _Entry:
    if isinstance(value, dict) and set(value) == {"dtype", "shape", "data_offsets"}:
        code, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
        if isinstance(code, str) and _are_sizes(shape) and _are_sizes(offsets, 2):
            dtype = CODES.get(code, code)  # one string for all, not one for each
            return _Entry(dtype, tuple(shape), *offsets)
    raise _DamagedError(f"the entry {name[:100]!r} has no dtype, shape and data_offsets")


def _are_sizes(value: Any, count: int | None = None) -> bool:
    return (
        isinstance(value, list)
        and count in (None, len(value))
        and all(type(size) is int and size >= 0 for size in value)
    )


def _check_extents(entries: dict[str, _Entry], size: int) -> None:
    """The arrays must lie one after the other, and fill the file."""
    at = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != at or entry.end < at:
            raise _DamagedError(f"its arrays overlap or have gaps at byte {at:,}")
        at = entry.end
    if at != size:
        raise _DamagedError(f"{size - at:,} bytes follow its arrays")


def _dtype(name: str, entry: _Entry) -> np.dtype[Any]:
    if entry.dtype not in NAMES:
        raise _DamagedError(f"the array {name!r} has the unknown dtype {entry.dtype[:100]!r}")
    if entry.dtype == "bfloat16":
        try:
            return dtype_named("bfloat16")
        except DTypeError:
            what = f"an array in it. For bfloat16, {pip_install('bfloat16')}"
            raise _NoTypeError(what) from None
    dtype = np.dtype(entry.dtype)
    # The very dtype that NumPy gives its arrays, by which compiled code knows them.
    return dtype if sys.byteorder == "little" else dtype.newbyteorder("<")


def _array(file: BinaryIO, start: int, name: str, entry: _Entry) -> np.ndarray:
    dtype = _dtype(name, entry)
    if math.prod(entry.shape) * dtype.itemsize != entry.end - entry.begin:
        raise _DamagedError(
            f"the array {name!r} has an invalid shape: {entry.shape} of {dtype} is not "
            f"{entry.end - entry.begin:,} bytes"
        )
    try:
        array = np.empty(entry.shape, dtype)
    except (ValueError, OverflowError) as error:  # too many axes, or an axis of no size too long
        raise _DamagedError(f"the array {name!r} has an invalid shape: {error}") from None
    if array.size:
        file.seek(start + entry.begin)
        if file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:  # type: ignore[attr-defined]
            raise _DamagedError(f"it ended within the array {name!r} while it was read")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))
