"""New arrays, and copies between host and device. Imports core and device."""

from typing import Any

import numpy

from gpugrad.backend.sim.core import check_dtype, ndarray, raw_of, same_device, wrap
from gpugrad.backend.sim.device import current_id, on_sync

__all__ = ["array", "asarray", "asnumpy", "new"]


def new(data: numpy.ndarray) -> ndarray:
    """An array of the current device over NumPy memory that nothing else refers to."""
    check_dtype(data.dtype)
    result: ndarray = wrap(data, current_id())
    return result


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_holds_arrays(item) for item in value)
    return isinstance(value, ndarray)


def array(
    obj: Any,
    dtype: Any = None,
    copy: bool | None = True,
    order: str | None = "K",
    subok: bool = False,
    ndmin: int = 0,
    *,
    blocking: bool = False,
) -> ndarray:
    """A simulated array on the current device from an array, NumPy array, number or list.

    NumPy memory is always copied. ValueError for dtypes that GPUs lack.

    >>> import numpy, gpugrad.backend.sim as xp
    >>> xp.array(numpy.ones(2, "f4")).dtype
    dtype('float32')
    """
    if subok:
        raise NotImplementedError("subok is not supported by CuPy")
    order = "K" if order is None else order
    layout: Any = "F" if order == "F" else "C"
    if isinstance(obj, ndarray):
        return _from_ndarray(obj, dtype, copy, order, ndmin)
    if isinstance(obj, (list, tuple)) and _holds_arrays(obj):
        seen: list[ndarray] = []
        raw = raw_of(obj, seen, "array")
        same_device(seen, "array")
        return new(numpy.array(raw, dtype, order=layout, ndmin=ndmin))
    data = obj
    if not isinstance(data, numpy.ndarray):
        data = numpy.array(data, dtype)
    elif order in "KA":
        layout = "F" if data.flags.fnc else "C"
    check_dtype(data.dtype)
    on_sync("host to device")
    copied = numpy.array(data, dtype, copy=True, order=layout, ndmin=ndmin)
    if not copied.dtype.isnative:
        copied = copied.astype(copied.dtype.newbyteorder("="))
    return new(copied)


def _from_ndarray(
    source: ndarray, dtype: Any, copy: bool | None, order: str, ndmin: int
) -> ndarray:
    raw = source._data
    if source._device != current_id():
        if copy is False:
            raise ValueError("Unable to avoid copy between devices")
        copy = True
    data = numpy.array(raw, dtype, copy=copy, order=order, ndmin=ndmin)  # type: ignore[call-overload]
    check_dtype(data.dtype)
    result: ndarray = wrap(data, current_id(), (source,))
    return result


def asarray(
    a: Any,
    dtype: Any = None,
    order: str | None = None,
    *,
    copy: bool | None = None,
    blocking: bool = False,
) -> ndarray:
    """As ``array``, without a copy of a simulated array that is on the current device."""
    plain = dtype is None and order is None and not copy
    if plain and isinstance(a, ndarray) and a._device == current_id():
        return a
    return array(a, dtype, copy, order, blocking=blocking)


def asnumpy(
    a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True
) -> numpy.ndarray:
    """A NumPy copy, as ``cupy.asnumpy``; NumPy arrays and lists pass through."""
    if isinstance(a, ndarray):
        return a.get(stream=stream, order=order, out=out, blocking=blocking)
    host = numpy.asarray(a, order=order)  # type: ignore[call-overload]
    if out is None:
        return host
    out[...] = host
    return out
