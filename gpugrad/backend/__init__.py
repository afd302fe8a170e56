"""Where arrays live: devices, the CUDA probe, and from an array's type to its functions.

Imports errors only. CuPy, and the simulated device, are imported when first needed.
"""

from gpugrad.backend import cuda, namespace
from gpugrad.backend.device import (
    Device,
    check_same_device,
    default_device,
    device_of,
    set_default_device,
    to_numpy,
    xp,
)
from gpugrad.backend.namespace import Namespace, namespace_of, register

__all__ = [
    "Device",
    "Namespace",
    "check_same_device",
    "cuda",
    "default_device",
    "device_of",
    "namespace",
    "namespace_of",
    "register",
    "set_default_device",
    "to_numpy",
    "xp",
]
