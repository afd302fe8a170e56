"""Saving and loading: ``gg.save`` and ``gg.load``. Imports tensor and below.

A file is a safetensors file, readable by every reader of that format. Arrays are named by their
paths ("model.0.weight"). The header's metadata has, under "gpugrad", a JSON text with the nesting
and everything that is no array. Nothing in a file is ever executed.

In that text a list, a number, a string, true, false and null stand for themselves. Everything
else is an object with one key that names its type: {"dict": {...}}, {"items":
[[key, value], ...]} for a dict with other keys than strings, {"tuple": [...]}, {"float":
"inf"}, {"complex": [re, im]}, {"array": name} and {"tensor": name}.
"""

import json
import math
import os
import secrets
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from gpugrad.backend.device import Device, default_device, to_numpy
from gpugrad.errors import DTypeError, FileFormatError
from gpugrad.tensor import Tensor

__all__ = ["load", "save"]

FORMAT = 1
KEY = "gpugrad"
LIMIT = 100_000_000  # bytes of a header: safetensors reads no larger one

PathLike = str | os.PathLike[str]


def save(obj: Any, path: PathLike) -> None:
    """Write an object to a file that ``gg.load`` reads back.

    ``obj`` is made of dicts, lists, tuples, Tensors, arrays (NumPy, CuPy, sim), numbers,
    strings, True, False and None, and of objects with a ``state_dict()``, which is saved in
    their place: models, optimizers, schedules, generators.

    The file is written beside the old one, flushed to the disk and renamed: a reader finds the
    complete old file or the complete new one, even after a crash. DTypeError for an object that
    cannot be saved, with its path; OSError where writing fails, and then the old file remains.

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
    writer = _Writer()
    try:
        tree = writer.encoded(obj, ())
    except RecursionError:
        raise ValueError("save: the object is nested too deeply, or contains itself") from None
    text = json.dumps({"format": FORMAT, "tree": tree}, allow_nan=False, separators=(",", ":"))
    if len(text) > LIMIT * 0.8:
        raise ValueError(
            f"save: {len(text):,} characters of numbers and strings are more than a file's "
            "header holds. Make arrays of long lists"
        )
    _write(Path(os.path.realpath(path)), writer.arrays, {"format": "np", KEY: text})


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
    header = _header(Path(path))
    arrays = _arrays(Path(path))
    metadata = header.get("__metadata__")
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    if text is None:
        return {name: Tensor(where.send(array)) for name, array in arrays.items()}
    try:
        content = json.loads(text)
        version = content["format"]
        tree = content["tree"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FileFormatError(
            f"load: {path}: the description of its contents is damaged ({error})"
        ) from None
    if not isinstance(version, int) or version > FORMAT:
        raise FileFormatError(
            f"load: {path} has format {version!r}, this gpugrad reads formats up to {FORMAT}. "
            "Install a newer one"
        )
    try:
        return _decoded(tree, arrays, where)
    except (_DamagedError, RecursionError) as error:
        raise FileFormatError(
            f"load: {path}: the description of its contents is damaged ({error})"
        ) from None


# ---------------------------------------------------------------- what is saved

# The dtypes of safetensors; complex128 is written as pairs of float64.
_DTYPES = frozenset(
    "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64 "
    "bfloat16 complex64 complex128".split()
)


class _Writer:
    """Converts an object to the JSON tree of the module's docstring, and collects its arrays."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def encoded(self, obj: Any, path: tuple[Any, ...]) -> Any:
        if obj is None or isinstance(obj, str | bool):
            return obj
        if isinstance(obj, int):
            return int(obj)
        if isinstance(obj, float):
            return float(obj) if math.isfinite(obj) else {"float": str(float(obj))}
        if type(obj) is complex:
            return {"complex": [self.encoded(part, path) for part in (obj.real, obj.imag)]}
        if isinstance(obj, Tensor):
            entry = self._array("tensor", obj.data, path)
            if obj.requires_grad and obj.is_leaf:
                entry["requires_grad"] = True
            if obj.name is not None:
                entry["name"] = obj.name
            return entry
        if isinstance(obj, list):
            return [self.encoded(item, (*path, i)) for i, item in enumerate(obj)]
        if isinstance(obj, tuple):
            return {"tuple": [self.encoded(item, (*path, i)) for i, item in enumerate(obj)]}
        if isinstance(obj, Mapping):
            if all(type(key) is str for key in obj):
                return {"dict": {k: self.encoded(v, (*path, k)) for k, v in obj.items()}}
            items = [[self._key(k, path), self.encoded(v, (*path, k))] for k, v in obj.items()]
            return {"items": items}
        if callable(state := getattr(obj, "state_dict", None)) and not isinstance(obj, type):
            return self.encoded(state(), path)
        return self._array("array", obj, path)

    def _key(self, key: Any, path: tuple[Any, ...]) -> Any:
        if key is None or isinstance(key, str | bool | int | float):
            return self.encoded(key, path)
        if isinstance(key, tuple):
            return {"tuple": [self._key(part, path) for part in key]}
        raise DTypeError(
            f"save: cannot save a dict with a key of type {type(key).__name__}{_at(path)}; keys "
            "are strings, numbers, None and tuples of them"
        )

    def _array(self, tag: str, raw: Any, path: tuple[Any, ...]) -> dict[str, Any]:
        try:
            array = raw if isinstance(raw, np.ndarray) else to_numpy(raw)
        except DTypeError:
            raise DTypeError(
                f"save: cannot save a {type(raw).__qualname__}{_at(path)}: expected Tensors, "
                "arrays, numbers, strings, None, dicts, lists and tuples of them, or an object "
                "with a state_dict()"
            ) from None
        if array.dtype.name not in _DTYPES:
            raise DTypeError(f"save: cannot save an array of {array.dtype}{_at(path)}")
        name = path_name = ".".join(map(str, path)) or "data"
        count = 1
        while name in self.arrays or name == "__metadata__":
            count += 1
            name = f"{path_name}_{count}"
        entry = {tag: name}
        if not array.flags.c_contiguous:
            array = array.copy(order="C")
        if array.dtype.name == "complex128":
            array = array[..., None].view(array.real.dtype)
            entry["dtype"] = "complex128"
        self.arrays[name] = array
        return entry


def _at(path: tuple[Any, ...]) -> str:
    return f" at {'.'.join(map(str, path))}" if path else ""


def _write(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a temporary file in the same folder, flush and rename it; remove it on failure."""
    aside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    # Created here first, so that it gets the usual permissions of the user's files.
    os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        mode = (path if path.exists() else aside).stat().st_mode & 0o777
        save_file(arrays, aside, metadata)
        aside.chmod(mode)
        _flush(aside)
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def _flush(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    folder = path.is_dir()
    if folder and os.name == "nt":  # Windows cannot open folders, and writes renames itself
        return
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---------------------------------------------------------------- what is loaded


class _DamagedError(Exception):
    """The description of a file's contents is invalid."""


def _header(path: Path) -> dict[str, Any]:
    """The header, with every number checked by which memory would be allocated."""
    size = path.stat().st_size
    with path.open("rb") as file:
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
                f"load: {path} was cut off: its header alone has {length:,} bytes, the file "
                f"{size:,}"
            )
        text = first + file.read(length - 1)
    try:
        header = json.loads(text)
        ends = [0]
        ends += [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        expected = 8 + length + max(ends)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise FileFormatError(f"load: {path}: its header is damaged ({error})") from None
    if expected > size:
        raise FileFormatError(
            f"load: {path} was cut off: its header promises {expected:,} bytes, the file has "
            f"{size:,}"
        )
    return header


def _hint(start: bytes) -> str:
    """A hint at the format of a file that is not a safetensors file, by its first bytes."""
    if start[:2] == b"PK":
        return (
            ": it looks like one of PyTorch or NumPy (a zip archive). Convert it with the program "
            "that wrote it, for example by safetensors.torch.save_file"
        )
    if start[:1] == b"\x80":
        return ": it looks like a pickle, which gpugrad does not read because reading one runs it"
    if start[:6] == b"\x93NUMPY":
        return ": it looks like NumPy's .npy. Read it with numpy.load"
    return ""


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays by name, in the order of the file; safetensors checks shapes and offsets."""
    arrays: dict[str, np.ndarray] = {}
    try:
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118  (it is no dict)
                arrays[name] = file.get_tensor(name)
    except SafetensorError as error:
        raise FileFormatError(f"load: {path} is damaged: {error}") from None
    except (ImportError, AttributeError, TypeError) as error:
        raise FileFormatError(
            f"load: {path}: NumPy has no type for an array in it ({error}). For bfloat16, "
            "pip install ml_dtypes"
        ) from None
    return arrays


def _decoded(tree: Any, arrays: dict[str, np.ndarray], where: Device) -> Any:
    if not isinstance(tree, dict):
        if isinstance(tree, list):
            return [_decoded(item, arrays, where) for item in tree]
        return tree
    for tag, decode in _DECODERS.items():
        if tag in tree:
            return decode(tree, arrays, where)
    raise _DamagedError(f"an object with the keys {sorted(tree)}")


def _list(value: Any, problem: str, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise _DamagedError(problem)
    return value


def _dict(tree: Any, arrays: dict[str, np.ndarray], where: Device) -> Any:
    if not isinstance(tree["dict"], dict):
        raise _DamagedError("an invalid dict")
    return {key: _decoded(value, arrays, where) for key, value in tree["dict"].items()}


def _items(tree: Any, arrays: dict[str, np.ndarray], where: Device) -> Any:
    result = {}
    for item in _list(tree["items"], "items that are not a list"):
        key, value = _list(item, "an item that is not a pair", 2)
        decoded = _decoded(key, arrays, where)
        try:
            result[decoded] = _decoded(value, arrays, where)
        except TypeError:
            raise _DamagedError("an unhashable key") from None
    return result


def _tuple(tree: Any, arrays: dict[str, np.ndarray], where: Device) -> Any:
    return tuple(_decoded(i, arrays, where) for i in _list(tree["tuple"], "an invalid tuple"))


def _float(tree: Any, arrays: dict[str, np.ndarray], where: Device) -> Any:
    if tree["float"] not in ("nan", "inf", "-inf"):
        raise _DamagedError("an invalid number")
    return float(tree["float"])


def _complex(tree: Any, arrays: dict[str, np.ndarray], where: Device) -> Any:
    parts = [_decoded(i, arrays, where) for i in _list(tree["complex"], "a complex number", 2)]
    if not all(isinstance(part, int | float) for part in parts):
        raise _DamagedError("an invalid complex number")
    return complex(*parts)


def _array(tree: Any, arrays: dict[str, np.ndarray], where: Device, tag: str = "array") -> Any:
    name = tree[tag]
    if not isinstance(name, str) or name not in arrays:
        raise _DamagedError(f"the array {name!r} is not in it")
    array = arrays[name]
    if tree.get("dtype") == "complex128":
        if array.dtype != np.float64 or array.shape[-1:] != (2,):
            raise _DamagedError(f"the array {name!r} has no pairs of numbers")
        array = array.view(np.complex128)[..., 0]
    return where.send(array)


def _tensor(tree: Any, arrays: dict[str, np.ndarray], where: Device) -> Any:
    tensor = Tensor(_array(tree, arrays, where, "tensor"))
    if isinstance(name := tree.get("name"), str):
        tensor.name = name
    if tree.get("requires_grad") is True:
        if tensor.dtype.kind in "biu":
            raise _DamagedError(f"the array {tree['tensor']!r} of {tensor.dtype} has no gradient")
        tensor.requires_grad_()
    return tensor


_DECODERS: dict[str, Callable[[Any, dict[str, np.ndarray], Device], Any]] = {
    "dict": _dict,
    "items": _items,
    "tuple": _tuple,
    "float": _float,
    "complex": _complex,
    "tensor": _tensor,
    "array": _array,
}


def __dir__() -> list[str]:
    return sorted(__all__)
