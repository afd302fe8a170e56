"""Arrays shared with other libraries: DLPack, and Tensor's move to a device by name.

Imports core, backend and errors. https://dmlc.github.io/dlpack/latest/ is the format, and
https://data-apis.org/array-api/latest/design_topics/data_interchange.html the protocol.
"""

from typing import Any

import numpy as np

from gpugrad.backend.device import Device
from gpugrad.errors import DeviceError, DTypeError, GradientError
from gpugrad.tensor.core import Tensor

__all__ = ["detached", "dlpack", "dlpack_device", "shared_array", "to_device"]

# DLPack's numbers of devices: memory of the host, and memory that CUDA reaches.
CPU = (1,)
CUDA = (2, 3, 13)


def shared_array(x: Any) -> Any:
    """A raw array over the memory of an object with DLPack."""
    if not (hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__")):
        raise DTypeError(
            f"from_dlpack: expected an object with __dlpack__ and __dlpack_device__, got "
            f"{type(x).__name__}"
        )
    kind, index = x.__dlpack_device__()
    try:
        if int(kind) in CPU:
            return np.from_dlpack(x)
        if int(kind) in CUDA:
            place = Device(f"cuda:{index}")
            with place.activate():
                return place.xp.from_dlpack(x)
    except (BufferError, RuntimeError) as error:
        if isinstance(error, DeviceError):
            raise
        raise DTypeError(f"from_dlpack: {type(x).__name__} does not share: {error}") from error
    raise DeviceError(
        f"from_dlpack: expected memory of the host or of CUDA, got DLPack's device type {int(kind)}"
    )


def detached(t: Tensor) -> Tensor:
    """A tensor that has no graph; GradientError for another."""
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
    """A DLPack capsule over the tensor's memory: what any library's ``from_dlpack`` calls.

    GradientError for a tensor that requires a gradient: share its ``detach()``. BufferError
    for what the array inside cannot do.
    """
    words = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
    array = detached(self).data
    return array.__dlpack__(**{word: given for word, given in words.items() if given is not None})


def dlpack_device(self: Tensor, /) -> tuple[Any, int]:
    """DLPack's type and number of the device that the tensor is on."""
    kind, index = self.data.__dlpack_device__()
    return kind, int(index)


def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor on a device, itself where it is there: `to`, as the standard names it.

    CuPy's current stream orders the copy; another cannot be given.
    """
    if stream is not None:
        raise DeviceError(
            f"to_device: expected no stream, got {stream!r}. The copy is made on CuPy's current "
            "stream: write `with stream:` around the call"
        )
    moved: Tensor = self.to(device=device)
    return moved
