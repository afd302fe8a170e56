"""Indexing by CuPy's rules: views for basic indices, silent wrap-around for index arrays.

Sets ``__getitem__`` and ``__setitem__`` of the array. Imports core and device.
"""

from typing import Any

import numpy

from gpugrad.backend.sim.core import SCALARS, ndarray, raw_of, same_device, unsupported, wrap
from gpugrad.backend.sim.device import on_sync

__all__ = ["index_array", "key_of", "scatter_at", "wrapped"]


def wrapped(index: numpy.ndarray, size: int) -> numpy.ndarray:
    """Integer indices modulo ``size``, as in CuPy's kernels."""
    if size == 0:
        if index.size:
            raise IndexError("cannot do a non-empty take from an empty axis.")
        return index
    fits = size <= numpy.iinfo(index.dtype).max
    return index % index.dtype.type(size) if fits else index.astype("l") % size


def index_array(item: Any, seen: list[ndarray]) -> numpy.ndarray:
    """One array-like part of an index as NumPy memory; a list or NumPy array counts as a copy."""
    if isinstance(item, ndarray):
        seen.append(item)
        raw = item._data
    else:
        on_sync("index from host")
        raw = numpy.asarray(raw_of(item, seen) if isinstance(item, (list, tuple)) else item)
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
    parts: list[Any] = []
    mode = "view"
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, (ndarray, list, tuple, numpy.ndarray, bool, numpy.bool)):
            part = index_array(part, seen)
            mode = "mask" if part.dtype.kind == "b" else "take" if mode == "view" else mode
        elif not (numpy.isscalar(part) or part is None or part is Ellipsis or type(part) is slice):
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and "
                "integer or boolean arrays are valid indices"
            )
        parts.append(part)
    ndim = array._data.ndim
    axes = [_axes_of(part) for part in parts]
    used = sum(axes)
    if used > ndim:
        raise IndexError(
            f"too many indices for array: array is {ndim}-dimensional, but {used} were indexed"
        )
    axis = 0
    for position, part in enumerate(parts):
        if isinstance(part, numpy.ndarray) and part.dtype.kind != "b":
            parts[position] = wrapped(part, array._data.shape[axis])
        elif numpy.isscalar(part):
            parts[position] = int(part)  # type: ignore[arg-type]  # as CuPy: 1.0 is 1, "a" no number
        axis += ndim - used if part is Ellipsis else axes[position]
    if mode == "take":
        numpy.broadcast_shapes(*(p.shape for p in parts if isinstance(p, numpy.ndarray)))
    if not any(part is Ellipsis for part in parts):
        parts.append(Ellipsis)
    return tuple(parts), mode


def _axes_of(part: Any) -> int:
    """How many axes a part of an index takes, the Ellipsis apart."""
    if isinstance(part, numpy.ndarray):
        return part.ndim if part.dtype.kind == "b" else 1
    return int(part is not None and part is not Ellipsis)


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
