"""Memory shared with other libraries by DLPack, and the standard's `to_device`.

Imports core, backend and errors. https://dmlc.github.io/dlpack/latest/ is the format, and
https://data-apis.org/array-api/latest/design_topics/data_interchange.html the protocol.
"""

from typing import Any

import numpy as np

from gpugrad.backend.device import Device
from gpugrad.errors import DeviceError, DTypeError, GradientError
from gpugrad.tensor.core import Tensor

__all__ = ["detached", "dlpack", "dlpack_device", "shared_array", "to_device"]

# DLPack's device types: the host's memory, and memory that CUDA can access.
CPU = (1,)
CUDA = (2, 3, 13)


def shared_array(x: Any) -> Any:
    """A raw array over the memory of an object with DLPack."""
    if not (hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__")):
        raise DTypeError(
            f"from_dlpack: expected an object with __dlpack__ and __dlpack_device__, got "
            f"{type(x).__name__}"
        )
    device_type, index = x.__dlpack_device__()
    try:
        if int(device_type) in CPU:
            return np.from_dlpack(x)
        if int(device_type) in CUDA:
            device = Device(f"cuda:{index}")
            with device.activate():
                return device.xp.from_dlpack(x)
    except (BufferError, RuntimeError) as error:
        if isinstance(error, DeviceError):
            raise
        raise DTypeError(f"from_dlpack: {type(x).__name__} does not share: {error}") from error
    raise DeviceError(
        f"from_dlpack: expected memory of the host or of CUDA, got DLPack's device type "
        f"{int(device_type)}"
    )


def detached(t: Tensor) -> Tensor:
    """The tensor itself; GradientError for one that requires a gradient."""
    if t._node is not None:
        raise GradientError(
            "dlpack: this tensor requires a gradient, which another library's array cannot "
            "carry. Share its .detach()"
        )
    return t


def dlpack(
    self: Tensor,
    /,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[Any, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """A DLPack capsule over the tensor's memory, for the ``from_dlpack`` of another library.

    GradientError for a tensor that requires a gradient: share its ``detach()``. BufferError
    where the array cannot be exported as asked.
    """
    kwargs = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
    array = detached(self).data
    return array.__dlpack__(**{key: value for key, value in kwargs.items() if value is not None})


def dlpack_device(self: Tensor, /) -> tuple[Any, int]:
    """DLPack's device type and the device's number."""
    device_type, index = self.data.__dlpack_device__()
    return device_type, int(index)


def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor on a device; itself if it is there. The Array API standard's name of `to`.

    The copy runs on CuPy's current stream; no other can be given.
    """
    if stream is not None:
        raise DeviceError(
            f"to_device: expected no stream, got {stream!r}. The copy is made on CuPy's current "
            "stream: write `with stream:` around the call"
        )
    moved: Tensor = self.to(device=device)
    return moved
