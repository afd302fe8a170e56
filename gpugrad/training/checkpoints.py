"""A folder of checkpoints, of which the last ones are kept. Imports io."""

import os
import re
import warnings
from pathlib import Path
from typing import Any

from gpugrad.backend import processes
from gpugrad.engine.messages import is_whole
from gpugrad.errors import ArgumentError, FileFormatError
from gpugrad.io import load, save

__all__ = ["Checkpoints"]

_NAME = re.compile(r"step-(\d{9,})\.safetensors")


class Checkpoints:
    """The checkpoints of a training in a folder: ``step-000001200.safetensors`` and so on.

    The last ``keep`` stay. Each is written beside the others and renamed when it is complete, and
    an older one is removed after that: a full disk or a crash leaves the last good one.

    >>> import tempfile
    >>> checkpoints = Checkpoints(tempfile.mkdtemp(), keep=2)
    >>> for step in (10, 20, 30):
    ...     path = checkpoints.save({"step": step}, step)
    >>> [path.name for path in checkpoints.paths()]
    ['step-000000020.safetensors', 'step-000000030.safetensors']
    >>> checkpoints.newest()["step"]
    30
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 3) -> None:
        if not is_whole(keep, 1):
            raise ArgumentError(
                f"Checkpoints: keep must be a whole number of 1 or more, got {keep!r}"
            )
        self.folder = Path(folder)
        self.keep = keep

    def paths(self) -> list[Path]:
        """The files, the oldest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: int(path.stem.partition("-")[2]))

    def save(self, state: Any, step: int) -> Path:
        """Write the state after a step; returns its path. Of several processes, rank 0 writes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{step:09d}.safetensors"
        save(state, path)
        if processes.rank() == 0:
            for old in self.paths()[: -self.keep]:
                old.unlink(missing_ok=True)
        return path

    def newest(self, device: Any = None) -> Any:
        """The last state that can be read, on a device; None where there is none.

        A damaged file is passed over with a warning.
        """
        for path in reversed(self.paths()):
            try:
                return load(path, device=device)
            except FileFormatError as error:
                warnings.warn(f"{path} is damaged, an older one is used: {error}", stacklevel=3)
        return None
