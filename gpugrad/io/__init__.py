"""Saving and loading: ``gg.save`` and ``gg.load``. Imports tensor and below.

A file is a safetensors file, readable by every reader of that format. Arrays are named by their
paths ("model.0.weight"). The header's metadata has, under "gpugrad", a JSON text with the nesting
and everything that is no array. Nothing in a file is ever executed.

`safetensors` reads and writes the format, `tree` makes the text of an object and back, and `aside`
replaces a file at once.
"""

import os
from pathlib import Path
from typing import Any

from gpugrad.backend import processes
from gpugrad.backend.device import Device, default_device
from gpugrad.errors import DTypeError, FileFormatError
from gpugrad.io import aside, safetensors, tree
from gpugrad.tensor import Tensor

__all__ = ["load", "save"]

KEY = "gpugrad"

PathLike = str | os.PathLike[str]


def save(obj: Any, path: PathLike) -> None:
    """Write an object to a file that ``gg.load`` reads back.

    ``obj`` is made of dicts, lists, tuples, Tensors, arrays (NumPy, CuPy, sim), numbers,
    strings, True, False and None, and of objects with a ``state_dict()``, which is saved in
    their place: models, optimizers, schedules, generators.

    The file is written beside the old one, flushed to the disk and renamed: a reader finds the
    complete old file or the complete new one, even after a crash. DTypeError for an object that
    cannot be saved, with its path, ValueError for one that is nested over 100 levels deep or has
    more text than a header holds; OSError where writing fails, or where the path is a folder, a
    device or a pipe, and then the old file remains.

    Processes of `gpugrad.parallel` all call it. Rank 0 writes the file, and all return when it is
    there; each may `load` it then.

    >>> import gpugrad as gg, tempfile, os
    >>> model = gg.nn.Linear(3, 2)
    >>> path = os.path.join(tempfile.mkdtemp(), "checkpoint.safetensors")
    >>> gg.save({"model": model, "epoch": 7}, path)
    >>> checkpoint = gg.load(path)
    >>> checkpoint["epoch"]
    7
    >>> model.load_state_dict(checkpoint["model"])
    Loaded(missing_keys=[], unexpected_keys=[])
    """
    if isinstance(obj, str | os.PathLike) and not isinstance(path, str | bytes | os.PathLike):
        raise DTypeError(
            f"save: expected a path second, got {type(path).__name__}. Write gg.save(obj, path)"
        )
    target = Path(os.path.realpath(path))
    aside.check_replaceable(target)
    writer = tree.Writer()
    texts = {"format": "np", KEY: writer.text(obj)}
    try:
        if processes.rank() == 0:
            aside.replace(target, lambda file: safetensors.write(file, writer.arrays, texts))
    finally:  # also where rank 0 has not written: its error ends the others
        processes.wait_for_all()


def load(path: PathLike, *, device: str | Device | None = None) -> Any:
    """Read a file of ``gg.save``: the same nesting, with Tensors and arrays on one device.

    They are created on ``device``, None for the default device. Tensors are loaded as Tensors
    and arrays as arrays of that device, with their dtypes; an object with a ``state_dict()`` is
    loaded as that dict, for ``load_state_dict``. A safetensors file of another program gives a
    dict of Tensors by name.

    Nothing in the file is executed, and memory is allocated only for data that the file has.
    FileFormatError, with the reason, for a truncated, damaged or foreign file.

    >>> import gpugrad as gg, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "numbers.safetensors")
    >>> gg.save({"x": gg.tensor([1.0, 2.0]), "by step": {10: (0.5, None)}}, path)
    >>> gg.load(path)
    {'x': tensor([1., 2.]), 'by step': {10: (0.5, None)}}
    """
    where = default_device() if device is None else Device(device)
    arrays, text = safetensors.read(Path(path), KEY)
    if text is None:
        return {name: Tensor(where.send(array)) for name, array in arrays.items()}
    try:
        version, content = tree.parsed(text)
        if type(version) is not int or version > tree.FORMAT:
            raise FileFormatError(
                f"load: {path} has format {version!r}, this gpugrad reads formats up to "
                f"{tree.FORMAT}. Install a newer one"
            )
        return tree.decoded(content, arrays, where)
    except (tree.DamagedError, RecursionError) as error:
        raise FileFormatError(
            f"load: {path}: the description of its contents is damaged ({error})"
        ) from None


def __dir__() -> list[str]:
    return sorted(__all__)
