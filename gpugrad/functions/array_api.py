"""What the Array API standard asks of a namespace beyond its array functions, and its signatures.

Imports the modules beside it. https://data-apis.org/array-api/2025.12/
"""

import sys
from collections.abc import Sequence
from typing import Any, SupportsIndex, TypeAlias

import numpy as np

from gpugrad.backend import cuda
from gpugrad.backend.device import Device, default_device
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.op import TABLE
from gpugrad.engine.record import bind
from gpugrad.errors import ArgumentError, ShapeError
from gpugrad.functions import manipulation
from gpugrad.functions.dtypes import astype, isdtype
from gpugrad.tensor import creation
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.creation import as_tensor

__all__ = [
    "__array_namespace_info__", "broadcast_arrays", "broadcast_shapes", "nonzero", "prod",
    "reshape", "sum",
]  # fmt: skip
METHODS = ("nonzero",)

Axis: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | None

VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32",
    "float64", "complex64", "complex128",
)  # fmt: skip


def array_namespace(self: Tensor, /, *, api_version: str | None = None) -> Any:
    """The functions for this array, by the Array API standard: the module ``gpugrad``.

    ArgumentError, a ValueError, for what is no version of the standard.
    """
    if api_version is not None and api_version not in VERSIONS:
        raise ArgumentError(
            f"__array_namespace__: expected a version of the Array API standard, one of "
            f"{', '.join(VERSIONS)}, got {api_version!r}"
        )
    return sys.modules["gpugrad"]  # there since before the first tensor was made


class Info:
    """What this namespace can do here, by the standard's names; see `__array_namespace_info__`."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean masks and shapes that depend on data: yes; at most so many axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        """The device of new arrays that name none."""
        return default_device()

    def devices(self) -> tuple[Device, ...]:
        """The devices that work here; the simulated one only where it is the default."""
        found = [Device("cpu"), *(Device(f"cuda:{i}") for i in range(cuda.device_count()))]
        if default_device() not in found:
            found.append(default_device())
        return tuple(found)

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype[Any]]:
        """The dtypes that new arrays have, by kind: the same on every device."""
        if device is not None:
            Device(device)
        whole = np.dtype(np.int64)
        return {
            "real floating": creation.get_default_dtype(),
            "complex floating": creation.complex_dtype(),
            "integral": whole,
            "indexing": whole,
        }

    def dtypes(
        self, *, device: Any = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, np.dtype[Any]]:
        """The standard's dtypes by name, all or those of a kind: the same on every device."""
        if device is not None:
            Device(device)
        found = {name: np.dtype(name) for name in DTYPES}
        if kind is None:
            return found
        return {name: dtype for name, dtype in found.items() if isdtype(dtype, kind)}

    def __repr__(self) -> str:
        return "<Array API information about gpugrad>"


def __array_namespace_info__() -> Info:  # noqa: N807  the standard's name
    """What gpugrad can do here: capabilities, devices, dtypes and their defaults.

    >>> import gpugrad as gg
    >>> gg.__array_namespace_info__().default_dtypes()["real floating"]
    dtype('float32')
    """
    return Info()


# Broadcasting.


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that shapes broadcast to together; ShapeError where they do not.

    >>> import gpugrad as gg
    >>> gg.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise ShapeError(
            f"broadcast_shapes: {', '.join(map(str, shapes))} do not broadcast: each axis, "
            "counted from the last, must have one size, or 1"
        ) from error


def broadcast_arrays(*arrays: Any) -> tuple[Tensor, ...]:
    """Arrays repeated along new axes and those of size 1 until all have the same shape."""
    tensors = [as_tensor(array) for array in arrays]
    shape = broadcast_shapes(*(x.shape for x in tensors))
    return tuple(x if x.shape == shape else _repeated(x, shape) for x in tensors)


# Table functions with more arguments.

_sum, _prod, _repeated = (bind(TABLE[name]) for name in ("sum", "prod", "broadcast_to"))


def sum(x: Any, /, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum along axes; float16 is accumulated in float32.

    Small integers and booleans are summed up in int64 or uint64, all else in its own dtype,
    unless ``dtype`` names another.
    """
    if dtype is not None:
        x = astype(x, dtype, copy=False)
    total: Tensor = _sum(x, axis, keepdims)
    return total if dtype is None else astype(total, dtype, copy=False)


def prod(x: Any, /, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """The product along axes; its derivatives are exact where elements are 0.

    Small integers and booleans are multiplied in int64 or uint64, all else in its own dtype,
    unless ``dtype`` names another.
    """
    if dtype is not None:
        x = astype(x, dtype, copy=False)
    total: Tensor = _prod(x, axis, keepdims)
    return total if dtype is None else astype(total, dtype, copy=False)


def reshape(
    x: Any, /, shape: int | Sequence[int], order: str = "C", *, copy: bool | None = None
) -> Tensor:
    """The same elements in another shape, one size of which may be -1.

    They are taken and put with the last axis running quickest; with ``order="F"`` the first.

    With ``copy`` None memory is shared where it can be, with True it never is; with False
    ArgumentError, a ValueError, is raised where it cannot be.

    >>> import gpugrad as gg
    >>> gg.reshape(gg.arange(6), (2, -1)).shape
    (2, 3)
    """
    x = as_tensor(x)
    if copy is not None:
        x.data  # noqa: B018  a NumPy scalar inside becomes an array, which has memory to share
    made = manipulation.reshape(x, shape, order)
    if copy is None:
        return made
    shares = namespace_of(x.data).module.may_share_memory(x.data, made.data) or made.size == 0
    if copy:
        return made.copy() if shares else made
    if not shares:
        raise ArgumentError(
            f"reshape: copy=False, but elements of shape {x.shape} that are not in order in "
            f"memory take a copy to have shape {made.shape}"
        )
    return made


def nonzero(x: Any, /) -> tuple[Tensor, ...]:
    """For each axis, the indices of the elements that are not zero. Waits for the device.

    >>> import gpugrad as gg
    >>> gg.nonzero(gg.asarray([0.0, 2.0, 3.0]))
    (tensor([1, 2]),)
    """
    x = as_tensor(x)
    if x.ndim == 0:
        raise ShapeError("nonzero: expected axes, got a tensor with none")
    return tuple(Tensor(places) for places in x.data.nonzero())
