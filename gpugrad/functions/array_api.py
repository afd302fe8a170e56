"""The Array API standard's view of the namespace: its versions and its capabilities.

Imports dtypes and tensor. The standard: https://data-apis.org/array-api/latest/
"""

import sys
from typing import Any

import numpy as np

from gpugrad.backend import cuda
from gpugrad.backend.device import Device, default_device
from gpugrad.errors import ArgumentError
from gpugrad.functions.dtypes import isdtype
from gpugrad.tensor import creation
from gpugrad.tensor.core import Tensor

__all__ = ["__array_namespace_info__"]


VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32",
    "float64", "complex64", "complex128",
)  # fmt: skip


def array_namespace(self: Tensor, /, *, api_version: str | None = None) -> Any:
    """The functions for this array, by the Array API standard: the module ``gpugrad``.

    ArgumentError, a ValueError, for an unknown version of the standard.
    """
    if api_version is not None and api_version not in VERSIONS:
        raise ArgumentError(
            f"__array_namespace__: expected a version of the Array API standard, one of "
            f"{', '.join(VERSIONS)}, got {api_version!r}"
        )
    return sys.modules["gpugrad"]  # there since before the first tensor was made


class Info:
    """Capabilities of this namespace by the standard's names; see `__array_namespace_info__`."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean masks and data-dependent shapes are supported; the largest number of axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        """The device of arrays that are created without ``device``."""
        return default_device()

    def devices(self) -> tuple[Device, ...]:
        """The devices that work here; the simulated one only where it is the default."""
        devices = [Device("cpu"), *(Device(f"cuda:{i}") for i in range(cuda.device_count()))]
        if default_device() not in devices:
            devices.append(default_device())
        return tuple(devices)

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype[Any]]:
        """The dtypes of new arrays, by kind: the same on every device."""
        if device is not None:
            Device(device)
        integer = np.dtype(np.int64)
        return {
            "real floating": creation.get_default_dtype(),
            "complex floating": creation.complex_dtype(),
            "integral": integer,
            "indexing": integer,
        }

    def dtypes(
        self, *, device: Any = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, np.dtype[Any]]:
        """The standard's dtypes by name, all or those of a kind: the same on every device."""
        if device is not None:
            Device(device)
        dtypes = {name: np.dtype(name) for name in DTYPES}
        if kind is None:
            return dtypes
        return {name: dtype for name, dtype in dtypes.items() if isdtype(dtype, kind)}

    def __repr__(self) -> str:
        return "<Array API information about gpugrad>"


def __array_namespace_info__() -> Info:  # noqa: N807  the standard's name
    """The capabilities, devices, dtypes and default dtypes of gpugrad on this machine.

    >>> import gpugrad as gg
    >>> gg.__array_namespace_info__().default_dtypes()["real floating"]
    dtype('float32')
    """
    return Info()
