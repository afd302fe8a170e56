"""sim: CuPy's rules over NumPy memory, so that machines with no GPU catch GPU-only mistakes.

Use it in place of ``cupy``: ``import gpugrad.backend.sim as xp``. It has the names and keywords of
CuPy, and refuses what CuPy refuses: NumPy arrays as operands, implicit conversion to NumPy,
operands on two devices. docs/sim.md says what it checks and what it cannot. Imports errors and, of
the backend, cupy_namespace, device, namespace and special.

>>> import gpugrad.backend.sim as xp
>>> a = xp.asarray([[1.0, 2.0], [3.0, 4.0]])
>>> a.sum(axis=0) * 2
array([ 8., 12.])
>>> a.sum(where=a > 1)
Traceback (most recent call last):
TypeError: sum() got an unexpected keyword argument 'where'
"""

import builtins
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy

from gpugrad.backend.cupy_namespace import CupyNamespace
from gpugrad.backend.device import check_same_device
from gpugrad.backend.namespace import register
from gpugrad.backend.sim.core import flatiter, ndarray
from gpugrad.backend.sim.device import DEVICE_COUNT, Device, on_sync, sync_callbacks
from gpugrad.backend.sim.functions import function_named, names_of
from gpugrad.backend.sim.methods import bind_methods
from gpugrad.backend.sim.ufunc import ufunc
from gpugrad.backend.special import Special

__all__ = [
    "DEVICE_COUNT",
    "Device",
    "flatiter",
    "get_array_module",
    "ndarray",
    "on_sync",
    "sync_callbacks",
    "ufunc",
]


def __getattr__(name: str) -> Any:
    if name in ("cuda", "fft", "linalg"):
        from importlib import import_module

        return import_module(f"gpugrad.backend.sim.{name}")
    if name.startswith("__"):
        raise AttributeError(name)
    # Stored for later lookups. CuPy's names hide builtins in this file: nothing below may use all,
    # any, max, min, sum, abs, pow, round, bool or divmod.
    value = globals()[name] = function_named(name)
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *names_of(), "cuda", "fft", "linalg"})


def get_array_module(*args: Any) -> Any:
    """This module if one of the arguments is a simulated array, else ``numpy``."""
    simulated = builtins.any(isinstance(arg, ndarray) for arg in args)
    return sys.modules[__name__] if simulated else numpy


def _check_operands(op: str, raws: tuple[Any, ...]) -> None:
    """Raise DeviceError for operands on two devices, the host among them."""
    arrays = [raw for raw in raws if isinstance(raw, (ndarray, numpy.ndarray))]
    # On one device, the usual case, is seen without a look at the namespaces.
    if len({getattr(array, "_device", None) for array in arrays}) > 1:
        check_same_device(op, raws)


class _SimNamespace(CupyNamespace):
    """The namespace of simulated arrays."""

    def device_id(self, array: Any) -> tuple[str, int]:
        """The index of a simulated device."""
        return "sim", array._device

    def listen(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call ``callback(cause)`` where CuPy would wait or copy."""
        sync_callbacks.append(callback)
        return partial(sync_callbacks.remove, callback)

    def _device(self, array: Any) -> Any:
        return array.device


bind_methods()
_NAMESPACE: Any = _SimNamespace(sys.modules[__name__], checks=_check_operands)
_NAMESPACE.special = Special("gpugrad.backend.sim.scipy_special", replacing=_NAMESPACE)
register(ndarray, _NAMESPACE)
