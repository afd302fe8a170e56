"""Replaces a file at once: written aside, flushed to the disk, renamed. Imports nothing."""

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Callable
from errno import EINVAL, EISDIR
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

# Locks of files: not on Windows, where a file that is open can be neither renamed nor removed.
fcntl: Any = None if os.name == "nt" else import_module("fcntl")

__all__ = ["check_replaceable", "replace", "write"]


def check_replaceable(path: Path) -> None:
    """OSError where there is something that is no file: a folder, a device, a pipe."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(EISDIR, "save: expected a file, this is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(EINVAL, "save: expected a file, this is a device or a pipe", str(path))


def replace(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Call ``write`` with a temporary file in the same folder, flush and rename it.

    It is removed on failure, and where the process was killed meanwhile, by the next call.
    """
    _remove_abandoned(path)
    handle, aside = _created(path)
    try:
        with open(handle, "wb") as file:
            mode = (path if path.exists() else aside).stat().st_mode & 0o777
            write(file)
            file.flush()
            aside.chmod(mode)
            os.fsync(handle)
            if fcntl is not None:  # while it is locked, or another call might take it away
                os.replace(aside, path)
        if fcntl is None:
            os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def write(path: Path, content: bytes) -> None:
    """Replace the file that ``path`` or a link there leads to; a device or a pipe is written to."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file() and not target.is_dir():
        target.write_bytes(content)
        return
    check_replaceable(target)

    def fill(file: BinaryIO) -> None:
        file.write(content)

    replace(target, fill)


def _prefix(path: Path) -> str:
    return f".{path.name[:100]}."


def _created(path: Path) -> tuple[int, Path]:
    """A new file beside ``path``, open, and locked for as long as this process lives."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    while True:
        aside = path.with_name(f"{_prefix(path)}{secrets.token_hex(4)}.tmp")
        handle = os.open(aside, flags, 0o666)  # with the usual permissions of the user's files
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        if fcntl is None or os.fstat(handle).st_nlink:
            return handle, aside
        os.close(handle)  # another call took it for abandoned, just before it was locked


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files of processes that were killed while they saved here."""
    pattern = re.compile(re.escape(_prefix(path)) + r"[0-9a-f]{8}\.tmp")
    for name in os.listdir(path.parent):
        if pattern.fullmatch(name):
            with contextlib.suppress(OSError):  # it is in use, or somebody else's
                _remove_unless_in_use(path.with_name(name))


def _remove_unless_in_use(aside: Path) -> None:
    if fcntl is None:
        aside.unlink()
        return
    handle = os.open(aside, os.O_WRONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        aside.unlink()
    finally:
        os.close(handle)


def _flush_folder(folder: Path) -> None:
    """Wait until the entries of a folder are on the disk."""
    if os.name == "nt":  # Windows cannot open folders, and writes renames itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
