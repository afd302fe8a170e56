"""What a file holds beside its arrays: a JSON text, and back. Imports tensor and `safetensors`.

In that text a list, a number, a string, true, false and null stand for themselves. Everything
else is an object with one key that names its type: {"dict": {...}}, {"items":
[[key, value], ...]} for a dict with other keys than strings, {"tuple": [...]}, {"float":
"inf"}, {"complex": [re, im]}, {"array": name} and {"tensor": name}.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gpugrad.backend.device import Device, to_numpy
from gpugrad.errors import DTypeError, GpugradError
from gpugrad.io import safetensors
from gpugrad.tensor import Tensor

__all__ = ["DamagedError", "Writer", "decoded", "parsed"]

FORMAT = 1
DEPTH = 100  # lists, tuples and dicts in each other: reading needs three calls for each
DIGITS = 4300  # of a whole number: Python reads no longer one
# Bytes that the objects of a text may take, if they take more than ten times its size.
ALLOWED = 64 << 20


def cost(text: str) -> int:
    """An estimate of the bytes that ``json.loads`` needs, by the objects that it makes.

    A list of empty lists takes twenty times its text.
    """
    commas, quotes, lists, dicts = map(text.count, ',"[{')
    return len(text) + 36 * commas + 30 * quotes + 96 * lists + 192 * dicts


def is_too_costly(text: str) -> bool:
    """Whether a text would take more memory than its size justifies."""
    return cost(text) > max(ALLOWED, 10 * len(text))


# ---------------------------------------------------------------- what is saved


class Writer:
    """Converts an object to the JSON tree of the module's docstring, and collects its arrays."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def text(self, obj: Any) -> str:
        """The JSON text of an object; ValueError for more nesting or text than `parsed` takes."""
        try:
            tree = self.encoded(obj, ())
        except RecursionError:
            raise _nested() from None
        text = json.dumps({"format": FORMAT, "tree": tree}, allow_nan=False, separators=(",", ":"))
        if len(text) > safetensors.LIMIT * 0.8 or is_too_costly(text):
            raise ValueError(
                f"save: {len(text):,} characters of numbers and strings are more than a file's "
                "header holds. Make arrays of long lists"
            )
        return text

    def encoded(self, obj: Any, path: tuple[Any, ...]) -> Any:
        """The tree of one object, which is at ``path``."""
        if len(path) > DEPTH:
            raise _nested()
        if obj is None or isinstance(obj, str | bool):
            return obj
        if isinstance(obj, int):
            if obj.bit_length() > DIGITS * 3:
                raise ValueError(f"save: the whole number{_at(path)} has over {DIGITS:,} digits")
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

    def _key(self, key: Any, path: tuple[Any, ...], depth: int = 0) -> Any:
        if key is None or isinstance(key, str | bool | int | float):
            return self.encoded(key, path)
        if isinstance(key, tuple):
            if len(path) + depth > DEPTH:
                raise _nested()
            return {"tuple": [self._key(part, path, depth + 1) for part in key]}
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
        if not safetensors.is_known(array.dtype) and array.dtype.name != "complex128":
            raise DTypeError(f"save: cannot save an array of {array.dtype}{_at(path)}")
        name = path_name = ".".join(map(str, path)) or "data"
        count = 1
        while name in self.arrays or name == safetensors.METADATA:
            count += 1
            name = f"{path_name}_{count}"
        entry = {tag: name}
        if not array.flags.c_contiguous:
            array = array.copy(order="C")
        if array.dtype.name == "complex128":  # which safetensors has not: pairs of float64
            array = array[..., None].view(array.real.dtype)
            entry["dtype"] = "complex128"
        self.arrays[name] = array
        return entry


def _nested() -> ValueError:
    return ValueError(
        f"save: the object is nested too deeply, over {DEPTH} levels, or contains itself"
    )


def _at(path: tuple[Any, ...]) -> str:
    return f" at {'.'.join(map(str, path))}" if path else ""


# ---------------------------------------------------------------- what is loaded


class DamagedError(Exception):
    """The description of a file's contents is invalid."""


def parsed(text: str) -> tuple[Any, Any]:
    """The format's number and the tree of a text of `Writer`, both unchecked."""
    if is_too_costly(text):
        raise DamagedError(f"{len(text):,} characters with too many objects")
    try:
        content = json.loads(text, parse_constant=_refused)
        return content["format"], content["tree"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedError(str(error)) from None


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def decoded(tree: Any, arrays: dict[str, np.ndarray], where: Device) -> Any:
    """The object of a tree; its arrays are taken out of ``arrays``, and sent to a device."""
    if not isinstance(tree, dict):
        if isinstance(tree, list):
            return [decoded(item, arrays, where) for item in tree]
        return tree
    for tag, decode in _DECODERS.items():
        if tag in tree:
            return decode(tree, arrays, where)
    raise DamagedError(f"an object with the keys {sorted(tree)}")


def _list(value: Any, problem: str, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise DamagedError(problem)
    return value


def _dict(tree: Any, arrays: dict[str, np.ndarray], where: Device) -> Any:
    if not isinstance(tree["dict"], dict):
        raise DamagedError("an invalid dict")
    return {key: decoded(value, arrays, where) for key, value in tree["dict"].items()}


def _items(tree: Any, arrays: dict[str, np.ndarray], where: Device) -> Any:
    result = {}
    for item in _list(tree["items"], "items that are not a list"):
        key, value = _list(item, "an item that is not a pair", 2)
        name = decoded(key, arrays, where)
        if not _is_key(name):
            raise DamagedError("an unhashable key")
        result[name] = decoded(value, arrays, where)
    return result


def _is_key(key: Any) -> bool:
    if isinstance(key, tuple):
        return all(map(_is_key, key))
    return key is None or isinstance(key, str | bool | int | float)


def _tuple(tree: Any, arrays: dict[str, np.ndarray], where: Device) -> Any:
    return tuple(decoded(i, arrays, where) for i in _list(tree["tuple"], "an invalid tuple"))


def _float(tree: Any, arrays: dict[str, np.ndarray], where: Device) -> Any:
    if tree["float"] not in ("nan", "inf", "-inf"):
        raise DamagedError("an invalid number")
    return float(tree["float"])


def _complex(tree: Any, arrays: dict[str, np.ndarray], where: Device) -> Any:
    parts = [decoded(i, arrays, where) for i in _list(tree["complex"], "a complex number", 2)]
    if not all(isinstance(part, float) for part in parts):
        raise DamagedError("an invalid complex number")
    return complex(*parts)


def _array(tree: Any, arrays: dict[str, np.ndarray], where: Device, tag: str = "array") -> Any:
    name = tree[tag]
    if not isinstance(name, str) or name not in arrays:
        raise DamagedError(f"the array {name!r} is not in it, or is there twice")
    array = arrays.pop(name)  # a second one would take memory that the file has not
    if tree.get("dtype") == "complex128":
        if array.dtype != np.float64 or array.shape[-1:] != (2,):
            raise DamagedError(f"the array {name!r} has no pairs of numbers")
        array = array.view(np.complex128)[..., 0]
    return where.send(array)


def _tensor(tree: Any, arrays: dict[str, np.ndarray], where: Device) -> Any:
    tensor = Tensor(_array(tree, arrays, where, "tensor"))
    if isinstance(name := tree.get("name"), str):
        tensor.name = name
    if tree.get("requires_grad") is True:
        try:
            tensor.requires_grad_()
        except GpugradError as error:
            raise DamagedError(f"the array {tree['tensor']!r} has no gradient: {error}") from None
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
