"""Functions of dtypes and casts, by the Array API standard's names.

Imports tensor. Dtypes are NumPy's own, on every device. They promote as in NumPy 2, where Python
numbers are weak. https://data-apis.org/array-api/latest/API_specification/type_promotion.html
"""

from functools import cache
from typing import Any

import numpy as np

from gpugrad.backend.device import Device
from gpugrad.backend.namespace import NAMESPACES
from gpugrad.backend.precision import limits_of, named
from gpugrad.errors import DTypeError
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = [
    "astype", "can_cast", "finfo", "iinfo", "isdtype", "isscalar", "iterable", "promote_types",
    "result_type",
]  # fmt: skip
METHODS = ("to",)


def to(x: Any, target: Any = None, /, *, device: Any = None, dtype: Any = None) -> Tensor:
    """x on another device, in another dtype, or both; x itself if nothing changes.

    >>> import gpugrad as gg
    >>> gg.ones(2).to("float64").to("cpu").dtype
    dtype('float64')
    """
    x = as_tensor(x)
    if target is not None:
        if is_device(target):
            device = target
        else:
            dtype = target
    dtype = named(dtype)
    try:
        dtype = None if dtype is None else np.dtype(dtype)
    except TypeError:
        raise DTypeError(
            f"to: expected a dtype or a device, such as 'cpu' or 'cuda:1', got {dtype!r}"
        ) from None
    if dtype is not None and x.dtype != dtype:
        x = OPS["astype"](x, dtype)
    if device is not None and x.device != (home := Device(device)):
        x = OPS["to_device"](x, device=str(home), source=str(x.device))
    return x


def is_device(target: Any) -> bool:
    """Whether this is a device or a device's name, and not a dtype."""
    name = target.partition(":")[0] if isinstance(target, str) else ""
    return isinstance(target, Device) or name in ("cpu", "cuda", "sim", "auto")


class FloatInfo:
    """The limits of a floating-point dtype, as Python floats; see `finfo`."""

    __slots__ = ("bits", "dtype", "eps", "max", "min", "smallest_normal")

    def __init__(self, dtype: np.dtype[Any]) -> None:
        info: Any = limits_of(dtype)
        self.bits = int(info.bits)
        self.eps = float(info.eps)
        self.max = float(info.max)
        self.min = float(info.min)
        self.smallest_normal = float(info.smallest_normal)
        self.dtype = np.dtype(info.dtype)

    @property
    def tiny(self) -> float:
        """NumPy's other name for the smallest normal number."""
        return self.smallest_normal

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"finfo({fields})"


class WholeInfo:
    """The limits of an integer dtype, as Python ints; see `iinfo`."""

    __slots__ = ("bits", "dtype", "max", "min")

    def __init__(self, dtype: np.dtype[Any]) -> None:
        info: Any = np.iinfo(dtype)
        self.bits = int(info.bits)
        self.max = int(info.max)
        self.min = int(info.min)
        self.dtype = np.dtype(dtype)

    __repr__ = FloatInfo.__repr__


_float_info = cache(FloatInfo)

_whole_info = cache(WholeInfo)


def dtype_of(who: str, value: Any) -> np.dtype[Any]:
    """The dtype of a Tensor or an array, or of a name or type that NumPy knows."""
    if isinstance(value, Tensor) or NAMESPACES.get(type(value)) is not None:
        return np.dtype(value.dtype)
    if isinstance(value, bool | int | float | complex | list | tuple | None):
        raise DTypeError(f"{who}: expected a dtype or an array, got {value!r}")
    value = named(value)
    try:
        return np.dtype(value)
    except TypeError as error:
        raise DTypeError(f"{who}: expected a dtype or an array, got {value!r}") from error


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating-point dtype, or of an array's: bits, eps, max, min, smallest_normal.

    A complex dtype's are those of its parts. DTypeError for any other.

    >>> import gpugrad as gg
    >>> gg.finfo(gg.float32).eps
    1.1920928955078125e-07
    """
    dtype = dtype_of("finfo", type)
    try:
        return _float_info(dtype)
    except ValueError:
        raise DTypeError(f"finfo: expected a floating-point dtype, got {dtype}") from None


def iinfo(type: Any, /) -> WholeInfo:
    """The limits of an integer dtype, or of an array's: bits, max, min. DTypeError for any other.

    >>> import gpugrad as gg
    >>> gg.iinfo(gg.int8).max
    127
    """
    dtype = dtype_of("iinfo", type)
    if dtype.kind not in "iu":
        raise DTypeError(f"iinfo: expected an integer dtype, got {dtype}")
    return _whole_info(dtype)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is another, or of a kind, or one of a tuple of these.

    Kinds are "bool", "signed integer", "unsigned integer", "integral", "real floating",
    "complex floating" and "numeric". DTypeError for anything else.

    >>> import gpugrad as gg
    >>> gg.isdtype(gg.float32, ("integral", "real floating"))
    True
    """
    asked = dtype_of("isdtype", dtype)
    try:
        return bool(np.isdtype(asked, kind))
    except (TypeError, ValueError) as error:
        raise DTypeError(f"isdtype: expected a dtype or a kind of dtypes: {error}") from error


def can_cast(from_: Any, to: Any, /, casting: str = "safe") -> bool:
    """Whether a dtype, or an array's, can be cast to another by NumPy's rule ``casting``.

    >>> import gpugrad as gg
    >>> gg.can_cast(gg.int32, gg.float64), gg.can_cast(gg.int32, gg.int8)
    (True, False)
    """
    source, target = dtype_of("can_cast", from_), dtype_of("can_cast", to)
    return bool(np.can_cast(source, target, casting))  # type: ignore[arg-type]


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype to which arrays, dtypes and Python numbers promote, as in NumPy 2.

    Python numbers are weak. DTypeError for Python numbers alone, and where no dtype fits.

    >>> import gpugrad as gg
    >>> gg.result_type(gg.ones(2), gg.float16, 1.0)
    dtype('float32')
    """
    numbers = (bool, int, float, complex)
    operands = [x if type(x) in numbers else dtype_of("result_type", x) for x in arrays_and_dtypes]
    if all(type(x) in numbers for x in operands):
        raise DTypeError(
            f"result_type: expected an array or a dtype among the arguments, got "
            f"{arrays_and_dtypes}"
        )
    try:
        return np.result_type(*operands)
    except TypeError as error:
        raise DTypeError(f"result_type: {error}") from error


def promote_types(type1: Any, type2: Any) -> np.dtype[Any]:
    """The smallest dtype to which both can be cast safely, as in NumPy; DTypeError if none is.

    >>> import gpugrad as gg
    >>> gg.promote_types("int8", gg.float16)
    dtype('float16')
    """
    one, other = dtype_of("promote_types", type1), dtype_of("promote_types", type2)
    try:
        return np.promote_types(one, other)
    except TypeError as error:
        raise DTypeError(f"promote_types: {error}") from error


def isscalar(element: Any) -> bool:
    """Whether an object is a number or a string; a 0-d Tensor is neither, as a 0-d array."""
    return bool(np.isscalar(element))


def iterable(y: Any) -> bool:
    """Whether an object can be iterated over, as a Tensor with axes can."""
    return np.iterable(y)


def astype(x: Any, /, dtype: Any, *, copy: bool = True, device: Any = None) -> Tensor:
    """x in another dtype (and on another device): a copy, or x itself if ``copy`` is False.

    The gradient has the dtype of x. Integers and booleans have none.

    >>> import gpugrad as gg
    >>> gg.astype(gg.ones(2), gg.int8)
    tensor([1, 1], dtype=int8)
    """
    x, dtype = as_tensor(x), named(dtype)
    if device is not None and x.device != Device(device):
        x, copy = x.to(device=device), False
    if not copy and x.dtype == dtype:
        return x
    return OPS["astype"](x, dtype)
