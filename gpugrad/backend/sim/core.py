"""The simulated array, and conversions to and from NumPy memory. Imports only `device`.

``ndarray`` holds a NumPy array that is private to this package.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import numpy

from gpugrad.backend.sim.device import Device, current_id

__all__ = [
    "SCALARS",
    "check_dtype",
    "ndarray",
    "raw_of",
    "same_device",
    "unsupported",
    "wrap",
]

# Python scalars, which are weak in promotion; NumPy scalars (numpy.generic) have a dtype.
SCALARS = (bool, int, float, complex)

_KINDS = "biufc"


def check_dtype(dtype: numpy.dtype[Any]) -> None:
    """Refuse dtypes that have no counterpart on a GPU, as CuPy does (ValueError)."""
    extension = dtype.kind == "V" and dtype.type.__module__.startswith("ml_dtypes")
    if not (extension or (dtype.kind in _KINDS and dtype.char not in "gG")):
        raise ValueError(f"Unsupported dtype {dtype}")


def unsupported(value: Any, name: str = "") -> TypeError:
    """The TypeError for an operand that CuPy refuses, with a hint."""
    text = f"Unsupported type {type(value)}"
    if name:
        text = f"{name}: {text}"
    if isinstance(value, (numpy.ndarray, list, tuple)):
        text += ". Nothing moves to the device by itself: use asarray() on it first"
    return TypeError(text)


def same_device(arrays: Iterable["ndarray"], name: str = "") -> int:
    """The index of the common device of arrays; of the current device if there are none.

    ValueError for arrays on two devices, where CuPy uses peer access with a warning if the hardware
    allows it, and else raises.
    """
    common = -1
    for array in arrays:
        if common < 0:
            common = array._device
        elif array._device != common:
            raise ValueError(
                f"{name or 'operation'}: operands are on two devices, sim:{common} and "
                f"sim:{array._device}; move one of them first"
            )
    return current_id() if common < 0 else common


def wrap(value: Any, device: int, sources: Iterable["ndarray"] = ()) -> Any:
    """A result of NumPy as CuPy returns it: arrays and scalars become arrays of ``device``.

    A view of one of ``sources`` has that source as its base; the memory of a source itself (of
    ``out=``) becomes that source.
    """
    if isinstance(value, numpy.ndarray):
        array = ndarray.__new__(ndarray)
        array._data = value
        array._device = device
        array._base = None
        below = value.base
        for source in sources:
            data = source._data
            if value is data:
                return source
            if below is not None and (below is data or below is data.base):
                array._base = source if source._base is None else source._base
                break
        if below is not None:
            # CuPy has no read-only arrays: broadcast_to and diagonal return writable views.
            value.flags.writeable = True
        return array
    if isinstance(value, numpy.generic):
        return wrap(numpy.asarray(value), device)
    if type(value) is tuple or type(value) is list:
        return type(value)(wrap(item, device, sources) for item in value)
    if isinstance(value, tuple):  # a named tuple, such as the result of linalg.eigh
        return type(value)(*(wrap(item, device, sources) for item in value))
    return value


def raw_of(value: Any, seen: list["ndarray"], name: str = "") -> Any:
    """``value`` with NumPy memory in place of simulated arrays, also inside sequences.

    Appends the simulated arrays to ``seen``. TypeError for NumPy arrays.
    """
    cls = type(value)
    if cls is ndarray:
        seen.append(value)
        return value._data
    if cls is list or cls is tuple:
        return cls(raw_of(item, seen, name) for item in value)
    if isinstance(value, numpy.ndarray):
        raise unsupported(value, name)
    if isinstance(value, ndarray):
        seen.append(value)
        return value._data
    return value


class Flags:
    """Memory layout of an array, as ``cupy.ndarray.flags``: no ``writeable`` among them."""

    __slots__ = ("c_contiguous", "f_contiguous", "owndata")

    def __init__(self, data: numpy.ndarray, owns: bool) -> None:
        self.c_contiguous = data.flags.c_contiguous
        self.f_contiguous = data.flags.f_contiguous
        self.owndata = owns

    fnc = property(lambda self: self.f_contiguous and not self.c_contiguous)
    forc = property(lambda self: self.f_contiguous or self.c_contiguous)

    def __getitem__(self, name: str) -> bool:
        for flag in self.__slots__:
            if name == flag.upper():
                return bool(getattr(self, flag))
        raise KeyError(f"{name} is not defined for simulated CuPy arrays")

    def __repr__(self) -> str:
        return "\n".join(f"  {n.upper()} : {getattr(self, n)}" for n in self.__slots__)


class MemoryPointer:
    """The address of an array, as ``cupy.cuda.MemoryPointer``; for comparisons only."""

    __slots__ = ("device_id", "ptr")

    def __init__(self, ptr: int, device_id: int) -> None:
        self.ptr = ptr
        self.device_id = device_id

    @property
    def device(self) -> Device:
        return Device(self.device_id)


class flatiter:  # noqa: N801
    """One-dimensional access to an array of any shape, as ``cupy.flatiter``."""

    __slots__ = ("base",)

    def __init__(self, array: "ndarray") -> None:
        self.base = array

    def __len__(self) -> int:
        return self.base.size

    def __iter__(self) -> Iterator["ndarray"]:
        return iter(self.base.ravel())

    def __getitem__(self, key: Any) -> "ndarray":
        return self.base.flatten()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(value, ndarray) and not isinstance(value, (*SCALARS, numpy.generic)):
            raise unsupported(value, "flat")
        seen = [self.base]
        raw = raw_of(value, seen, "flat")
        same_device(seen, "flat")
        self.base._data.flat[key] = raw

    def copy(self) -> "ndarray":
        return self.base.flatten()


class ndarray:  # noqa: N801
    """An array over NumPy memory that behaves as ``cupy.ndarray`` does.

    There is no implicit conversion to NumPy: ``.get()`` copies it to a NumPy array, ``.set()``
    copies one into it. The functions of ``gpugrad.backend.sim`` create it.

    >>> import gpugrad.backend.sim as xp
    >>> a = xp.arange(6.0).reshape(2, 3)
    >>> a.sum(axis=1)
    array([ 3., 12.])
    >>> a.get().__class__.__name__, a[1, 2].shape
    ('ndarray', ())
    """

    __slots__ = ("__weakref__", "_base", "_data", "_device")

    _data: numpy.ndarray
    _device: int
    _base: "ndarray | None"

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        shape: Any,
        dtype: Any = float,
        memptr: Any = None,
        strides: Any = None,
        order: str = "C",
    ) -> None:
        if memptr is not None or strides is not None:
            raise NotImplementedError(
                "sim: ndarray(memptr=, strides=) needs device memory; use empty() and views"
            )
        check_dtype(numpy.dtype(dtype))
        self._data = numpy.empty(shape, dtype, order)  # type: ignore[call-overload]
        self._device = current_id()
        self._base = None

    # Attributes

    dtype = property(lambda self: self._data.dtype)
    ndim = property(lambda self: self._data.ndim)
    size = property(lambda self: self._data.size)
    itemsize = property(lambda self: self._data.itemsize)
    nbytes = property(lambda self: self._data.nbytes)
    strides = property(lambda self: self._data.strides)
    device = property(lambda self: Device(self._device))
    base = property(lambda self: self._base)
    flat = property(flatiter)
    flags = property(lambda self: Flags(self._data, self._base is None))
    T = property(lambda self: wrap(self._data.T, self._device, (self,)))
    mT = property(lambda self: wrap(self._data.mT, self._device, (self,)))  # noqa: N815
    data = property(lambda self: MemoryPointer(self._data.ctypes.data, self._device))

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        # A view, never a copy. NumPy has deprecated its own setter.
        view = self._data.reshape(shape)
        if not numpy.may_share_memory(view, self._data):
            raise AttributeError("incompatible shape: it would need a copy; use reshape()")
        self._data = view

    @property
    def real(self) -> "ndarray":
        return wrap(self._data.real, self._device, (self,))

    @real.setter
    def real(self, value: Any) -> None:
        self.real[...] = value

    @property
    def imag(self) -> "ndarray":
        return wrap(self._data.imag, self._device, (self,))

    @imag.setter
    def imag(self, value: Any) -> None:
        if self.dtype.kind != "c":
            raise TypeError("cupy.ndarray does not have imaginary part to set")
        self.imag[...] = value

    def __dir__(self) -> list[str]:
        return sorted(set(object.__dir__(self)))

    def __class_getitem__(cls, item: tuple[Any, Any]) -> Any:
        from types import GenericAlias

        return GenericAlias(cls, item)

    def __getattr__(self, name: str) -> Any:
        # Called for names that neither the class nor the instance has.
        if hasattr(numpy.ndarray, name) and not name.startswith("__"):
            raise AttributeError(f"cupy.ndarray has no attribute {name!r}, numpy.ndarray has one")
        raise AttributeError(f"cupy.ndarray has no attribute {name!r}")

    # Set by other modules of sim, which import this one.
    __getitem__: ClassVar[Callable[..., Any]]
    __setitem__: ClassVar[Callable[..., None]]
    __matmul__: ClassVar[Callable[..., Any]]
    __rmatmul__: ClassVar[Callable[..., Any]]

    def __len__(self) -> int:
        if not self._data.ndim:
            raise TypeError("len() of unsized object")
        return len(self._data)

    def __iter__(self) -> Iterator["ndarray"]:
        if not self._data.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self._data)))
