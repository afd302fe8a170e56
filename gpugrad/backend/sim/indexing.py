"""Indexing by CuPy's rules: views for basic indices, silent wrap-around for index arrays.

Sets ``__getitem__`` and ``__setitem__`` of the array. Imports core and device.
"""

from typing import Any

import numpy

from gpugrad.backend.sim.core import SCALARS, ndarray, same_device, unsupported, wrap
from gpugrad.backend.sim.device import on_sync

__all__ = ["index_array", "key_of", "scatter_at", "wrapped"]

_AXIS_KEYS = (int, slice, numpy.integer)


def wrapped(index: numpy.ndarray, size: int) -> numpy.ndarray:
    """Integer indices modulo ``size``, as in CuPy's kernels."""
    if size == 0:
        if index.size:
            raise IndexError("cannot do a non-empty take from an empty axis.")
        return index
    return index % index.dtype.type(size) if _fits(index, size) else index.astype("l") % size


def _fits(index: numpy.ndarray, size: int) -> bool:
    return size <= numpy.iinfo(index.dtype).max


def index_array(item: Any, seen: list[ndarray]) -> numpy.ndarray:
    """One array-like part of an index as NumPy memory; a list or NumPy array counts as a copy."""
    if isinstance(item, ndarray):
        seen.append(item)
        raw = item._data
    else:
        on_sync("index from host")
        if isinstance(item, (list, tuple)) and any(isinstance(i, ndarray) for i in item):
            seen += [i for i in item if isinstance(i, ndarray)]
            item = [i._data if isinstance(i, ndarray) else i for i in item]
        raw = numpy.asarray(item)
        if not raw.size and isinstance(item, (list, tuple)):
            raw = raw.astype(numpy.int32)
    if raw.dtype.kind not in "biu":
        raise IndexError(
            f"arrays used as indices must be of integer or boolean type. (actual: {raw.dtype.type})"
        )
    return raw


def key_of(array: ndarray, key: Any, seen: list[ndarray]) -> tuple[tuple[Any, ...], str]:
    """The index for NumPy, and its mode: "view", "take" (index arrays) or "mask".

    Appends the arrays in it to ``seen``. The index ends in an Ellipsis, so that a single element is
    a view and not a scalar.
    """
    parts = list(key) if isinstance(key, tuple) else [key]
    mode = "view"
    used = 0
    ellipsis = False
    masks = 0
    for position, part in enumerate(parts):
        if isinstance(part, _AXIS_KEYS) and not isinstance(part, bool):
            used += 1
        elif part is Ellipsis:
            ellipsis = True
        elif numpy.isscalar(part) and not isinstance(part, (bool, numpy.bool)):
            used += 1
        elif part is not None:
            if not (isinstance(part, (ndarray, list, tuple, numpy.ndarray, bool, numpy.bool))):
                raise IndexError(
                    "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and "
                    "integer or boolean arrays are valid indices"
                )
            raw = index_array(part, seen)
            parts[position] = raw
            if raw.dtype.kind == "b":
                masks += 1
                mode = "mask"
                used += raw.ndim
            else:
                mode = "take" if mode == "view" else mode
                used += 1
    ndim = array._data.ndim
    if used > ndim:
        raise IndexError(
            f"too many indices for array: array is {ndim}-dimensional, but {used} were indexed"
        )
    # CuPy converts scalars with int(): 1.0 is 1, "a" a ValueError.
    scalars: list[Any] = [
        p if numpy.isscalar(p) and not isinstance(p, bool) else None for p in parts
    ]
    parts = [p if s is None else int(s) for p, s in zip(parts, scalars, strict=True)]
    if mode == "take" or (masks and len(parts) > 1):
        axis = 0
        for position, part in enumerate(parts):
            if part is Ellipsis:
                axis += ndim - used
            elif isinstance(part, numpy.ndarray):
                if part.dtype.kind == "b":
                    axis += part.ndim
                else:
                    parts[position] = wrapped(part, array._data.shape[axis])
                    axis += 1
            elif part is not None:
                axis += 1
    if mode == "take":
        numpy.broadcast_shapes(*(p.shape for p in parts if isinstance(p, numpy.ndarray)))
    if not ellipsis:
        parts.append(Ellipsis)
    return tuple(parts), mode


def _getitem(self: ndarray, key: Any) -> ndarray:
    seen = [self]
    parts, mode = key_of(self, key, seen)
    device = same_device(seen, "getitem") if len(seen) > 1 else self._device
    result = self._data[parts]
    if mode == "view":
        return wrap(result, device, (self,))
    if mode == "mask":
        on_sync("boolean mask")
    if numpy.may_share_memory(result, self._data):
        result = result.copy()
    return wrap(result, device)


def _assigned(self: ndarray, value: Any, seen: list[ndarray], mode: str) -> Any:
    if isinstance(value, ndarray):
        seen.append(value)
        return value._data
    if isinstance(value, (*SCALARS, numpy.generic)):
        return value
    if mode != "view":
        # CuPy converts values for index arrays and masks, but not for slices.
        on_sync("host to device")
        return numpy.asarray(value, self._data.dtype)
    raw = numpy.asarray(value, self._data.dtype)
    if raw.ndim:
        raise ValueError(
            f"a non-scalar {type(value).__name__} cannot be used for fill: assignment does not "
            "copy to the device. Use arr.set(numpy_array), or asarray() on it first"
        )
    return raw[()]


def _setitem(self: ndarray, key: Any, value: Any) -> None:
    seen = [self]
    parts, mode = key_of(self, key, seen)
    if mode == "view":
        _ = self._data[parts]  # raises for a wrong index before a wrong value
    raw = _assigned(self, value, seen, mode)
    if len(seen) > 1:
        same_device(seen, "setitem")
    with numpy.errstate(all="ignore"):
        if isinstance(raw, numpy.ndarray):
            raw = raw.astype(self._data.dtype, copy=False)
        self._data[parts] = raw


# The dtypes of each scatter of ufunc.at, from cupy/_core/_routines_indexing.pyx (14.2).
_SCATTER_DTYPES = {
    "add": "int32 int64 float16 float32 float64 uint32 uint64",
    "sub": "int32 uint32",
    "max": "int32 int64 float32 float64 uint32 uint64",
    "min": "int32 int64 float32 float64 uint32 uint64",
    "and": "int32 int64 uint32 uint64",
    "or": "int32 int64 uint32 uint64",
    "xor": "int32 int64 uint32 uint64",
}


def scatter_at(
    ufunc: numpy.ufunc, name: str, operation: str, array: Any, indices: Any, values: Any
) -> None:
    """``ufunc.at(array, indices, values)`` for the dtypes with atomic operations in CuPy."""
    if not isinstance(array, ndarray):
        raise unsupported(array, name)
    seen = [array]
    parts, mode = key_of(array, indices, seen)
    if mode == "view" and not isinstance(values, (ndarray, *SCALARS, numpy.generic)):
        raise unsupported(values)
    raw = _assigned(array, values, seen, mode)
    same_device(seen, f"{name}.at")
    if mode == "take" and array.dtype.name not in _SCATTER_DTYPES[operation].split():
        raise TypeError(
            f"cupy.{name}.at only supports "
            f"{', '.join(_SCATTER_DTYPES[operation].split())} as data type, not {array.dtype}"
        )
    with numpy.errstate(all="ignore"):
        if mode == "take":
            ufunc.at(array._data, parts, numpy.asarray(raw).astype(array.dtype, copy=False))
        else:
            array._data[parts] = ufunc(array._data[parts], raw).astype(array.dtype, copy=False)


ndarray.__getitem__ = _getitem
ndarray.__setitem__ = _setitem
