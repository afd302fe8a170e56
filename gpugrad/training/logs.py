"""What a training shows and writes: a bar, lines, JSON, TensorBoard. Imports errors."""

import importlib.util
import json
import math
import os
import sys
import time
from typing import Any

from gpugrad.backend.requirements import pip_install
from gpugrad.errors import ArgumentError

__all__ = ["Progress", "Writer"]

REFRESH = 0.5  # seconds between two looks at the loss, for which a GPU is waited for


class Progress:
    """Progress on the terminal: a bar of tqdm, a line for each epoch, or nothing."""

    def __init__(self, way: Any, epochs: int) -> None:
        if way not in ("auto", "bar", "lines", None, False, True):
            raise ArgumentError(
                f"Trainer: progress must be 'auto', 'bar', 'lines' or None, got {way!r}"
            )
        if way == "bar" and importlib.util.find_spec("tqdm") is None:
            raise ArgumentError(f"Trainer: progress='bar' needs tqdm: {pip_install('progress')}")
        if way in ("auto", True):
            can = sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None
            way = "bar" if can else "lines"
        self.way = way or None
        self.epochs = epochs
        self._bar: Any = None
        self._looked = 0.0

    def begin(self, epoch: int, batches: int | None, done: int) -> None:
        """An epoch begins, or goes on after some batches."""
        if self.way == "bar":
            from tqdm import tqdm

            self._bar = tqdm(
                total=batches, initial=done, desc=f"epoch {epoch}/{self.epochs}", leave=False
            )

    def batch(self, loss: Any) -> None:
        """A batch is done."""
        if self._bar is None:
            return
        now = time.monotonic()
        if now - self._looked > REFRESH:
            self._looked = now
            self._bar.set_postfix(loss=f"{float(loss):.4g}", refresh=False)
        self._bar.update()

    def end(self, record: dict[str, Any] | None) -> None:
        """The epoch is over; None where it was interrupted."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if record is not None and self.way is not None:
            sys.stdout.write(f"{line(record, self.epochs)}\n")
            sys.stdout.flush()


def line(record: dict[str, Any], epochs: int) -> str:
    """An entry of the history as a line."""
    parts = [f"epoch {record['epoch']}/{epochs}"]
    for name, value in _numbers(record):
        if name not in ("seconds", "samples_per_second"):
            parts.append(f"{name} {value:.4g}")
    parts.append(f"{record['seconds']:.1f} s")
    parts.append(f"{record['samples_per_second']:.0f} samples/s")
    return "  ".join(parts)


def _numbers(record: dict[str, Any]) -> list[tuple[str, float]]:
    """What a curve is drawn of: all but the counts and the tables, such as a confusion matrix."""
    return [
        (name, value)
        for name, value in record.items()
        if name not in ("epoch", "step") and isinstance(value, int | float)
    ]


def _as_json(value: Any) -> Any:
    """A value of the history for JSON, which has no NaN and no arrays."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Writer:
    """Writes the history: to a file of JSON lines, or to an object with ``add_scalar``.

    Such an object is a ``SummaryWriter`` of tensorboard or tensorboardX. In JSON a number that is
    not finite is null.
    """

    def __init__(self, log: Any) -> None:
        if not (
            log is None
            or isinstance(log, str | os.PathLike)
            or callable(getattr(log, "add_scalar", None))
        ):
            raise ArgumentError(
                "Trainer: log must be a path for JSON lines, or a SummaryWriter with add_scalar, "
                f"got {type(log).__name__}"
            )
        self.log = log

    def write(self, record: dict[str, Any]) -> None:
        if self.log is None:
            return
        if isinstance(self.log, str | os.PathLike):
            with open(self.log, "a", encoding="utf-8") as file:
                file.write(json.dumps({k: _as_json(v) for k, v in record.items()}) + "\n")
            return
        for name, value in _numbers(record):
            self.log.add_scalar(name, value, record["step"])
