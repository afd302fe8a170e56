"""Raw arrays from numbers, lists and array subclasses, in the default dtype.

Imports engine and backend.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.backend.device import Device, default_device
from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.precision import named
from gpugrad.engine import record
from gpugrad.engine.messages import instead_of
from gpugrad.errors import DTypeError, GradientError, ShapeError
from gpugrad.tensor.lost import check_kept

__all__ = [
    "complex_dtype", "data_for", "get_default_dtype", "holds_tensors", "host_array", "raw_array",
    "set_default_dtype", "weak_array",
]  # fmt: skip

_default_dtype = np.dtype(np.float32)


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype that Python numbers and lists become; it is float32 at first.

    >>> import gpugrad as gg
    >>> gg.set_default_dtype(gg.float64)
    >>> gg.tensor(1.0).dtype
    dtype('float64')
    >>> gg.set_default_dtype("float32")
    """
    global _default_dtype
    chosen = np.dtype(named(dtype))
    if chosen.kind != "f":
        raise DTypeError(f"set_default_dtype: expected a floating-point dtype, got {chosen}")
    _default_dtype = chosen


def get_default_dtype() -> np.dtype[Any]:
    """The dtype that Python numbers and lists become."""
    return _default_dtype


def complex_dtype() -> np.dtype[Any]:
    """The dtype that complex Python numbers become: of twice the default dtype's size."""
    return np.dtype(np.complex64 if _default_dtype.itemsize <= 4 else np.complex128)


def host_array(data: Any, dtype: Any, who: str = "tensor") -> np.ndarray:
    """A NumPy array of Python numbers and (nested) lists of them.

    Made for ``asarray``, whole numbers stay whole.
    """
    array = _numbers(data, dtype, who)
    if dtype is None and array.dtype.kind in ("f" if who == "asarray" else "iuf"):
        array = array.astype(_default_dtype)
    elif dtype is None and array.dtype.kind == "c":
        array = array.astype(complex_dtype())
    return array


def weak_array(data: Any, dtypes: Sequence[np.dtype[Any]]) -> np.ndarray:
    """A NumPy array of numbers beside arrays of these dtypes: they promote as Python's numbers do.

    Beside float64 they are float64, beside float32 float32; whole numbers beside whole ones keep
    their digits. Truth values stay what they are, and so do numbers beside truth values alone.
    """
    array = _numbers(data, None, "tensor")
    beside = [dtype for dtype in dtypes if dtype.kind in "iufc"]
    if not beside or array.dtype.kind == "b":
        return host_array(data, None)
    common = np.result_type(*beside)
    dtype = np.result_type(common, array.dtype.type(0).item())
    if dtype.kind in "iu" and not _fits(array, dtype):
        dtype = np.result_type(common, array.dtype)
    return array if array.dtype == dtype else array.astype(dtype)


def _fits(array: np.ndarray, dtype: np.dtype[Any]) -> bool:
    limits = np.iinfo(dtype)
    return not array.size or (int(array.min()) >= limits.min and int(array.max()) <= limits.max)


def _numbers(data: Any, dtype: Any, who: str) -> np.ndarray:
    """A NumPy array of Python's numbers, in NumPy's dtype for them unless it is given."""
    if holds_tensors(data):
        raise _list_of_tensors()
    try:
        array = np.array(data, dtype=named(dtype))
    except GradientError as error:
        raise _list_of_tensors() from error
    except ValueError as error:
        raise ShapeError(
            f"{who}: expected lists of equal lengths at each depth: {error}"
        ) from error
    except TypeError as error:
        raise DTypeError(
            f"{who}: cannot make an array of {type(data).__name__}: {error}"
        ) from error
    if array.dtype.kind not in "biufcV":
        raise DTypeError(
            f"{who}: expected numbers, got {type(data).__name__} that makes an array of dtype "
            f"{array.dtype}"
        )
    return array


def _list_of_tensors() -> DTypeError:
    return DTypeError(
        "tensor: a list of tensors is not data. Join them with gg.stack, which keeps "
        "their gradients"
    )


def data_for(tensor: Any, data: Any) -> Any:
    """The raw array that becomes the data of a tensor, if it has its shape and dtype."""
    if isinstance(data, record.Tensor):
        check_kept("data", data, "Write t.detach()")
        data = data.data
    if namespace_of(data) is None:
        raise DTypeError(f"data: expected an array, got {type(data).__name__}")
    if data.shape != tensor.shape or data.dtype != tensor.dtype:
        raise ShapeError(
            f"data: expected shape {tensor.shape} and dtype {tensor.dtype}, got {data.shape} and "
            f"{data.dtype}. Make a new tensor for another shape"
        )
    return data


def holds_tensors(data: Any) -> bool:
    """Whether the first element of (nested) lists is a Tensor."""
    while isinstance(data, list | tuple) and data:
        data = data[0]
    return isinstance(data, record.Tensor)


def raw_array(data: Any, dtype: Any = None, device: Any = None, asked: bool = True) -> Any:
    """A raw array from numbers, lists or an array subclass; a raw array is returned itself.

    ``asked`` is that of ``Device.send``.
    """
    place = getattr(type(data), "on_device", None)
    if place is not None:  # a number of a compiled function
        return place(data, Device(device or default_device()), dtype or _default_dtype)
    # numpy.float64 is a subclass of float, but has a dtype to keep.
    number = isinstance(data, bool | int | float | complex) and not isinstance(data, np.generic)
    if not number and not isinstance(data, list | tuple):
        try:
            if namespace_of(data) is not None:
                return data
        except DTypeError:
            if isinstance(data, np.ma.MaskedArray):
                raise
            if not hasattr(data, "__array__"):
                raise DTypeError(
                    f"tensor: expected an array, a number or lists of numbers, got "
                    f"{type(data).__name__}. {instead_of(data)}"
                ) from None
            return Device(device or default_device()).send(np.asarray(data), asked=asked)
    return Device(device or default_device()).send(host_array(data, dtype), asked=asked)
