"""Simulated devices, the current device, and a hook for waits. Imports errors only."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from gpugrad.errors import DeviceError

__all__ = ["DEVICE_COUNT", "Device", "current_id", "on_sync", "sync_callbacks"]

# The number of simulated devices: enough for mistakes with several of them.
DEVICE_COUNT = 8

# Called with the cause of each wait of the host, or copy, that CuPy would make.
sync_callbacks: list[Callable[[str], None]] = []


def on_sync(cause: str) -> None:
    """Report that with CuPy the host would wait for the device here, or copy from or to it."""
    for callback in tuple(sync_callbacks):
        callback(cause)


# The devices entered by `with`, the innermost last. A tuple: threads and tasks share nothing.
_entered: ContextVar[tuple[int, ...]] = ContextVar("gpugrad_sim_devices", default=(0,))


def current_id() -> int:
    """The index of the device on which new arrays are created."""
    return _entered.get()[-1]


class Device:
    """A simulated device, as ``cupy.cuda.Device``; ``with`` makes it the current one.

    DeviceError for an index that does not exist.

    >>> import gpugrad.backend.sim as xp
    >>> with xp.Device(1):
    ...     a = xp.zeros(3)
    >>> a.device
    <sim Device 1>
    """

    __slots__ = ("id",)

    def __init__(self, device: "int | Device | None" = None) -> None:
        number = current_id() if device is None else int(device)
        if not 0 <= number < DEVICE_COUNT:
            raise DeviceError(
                f"sim: there is no device {number}, only 0 to {DEVICE_COUNT - 1}; "
                "the simulated devices are numbered as GPUs are"
            )
        self.id = number

    def __enter__(self) -> "Device":
        _entered.set((*_entered.get(), self.id))
        return self

    def __exit__(self, *exception: object) -> None:
        _entered.set(_entered.get()[:-1])

    def use(self) -> None:
        """Make this device the current one, without a ``with``."""
        _entered.set((*_entered.get()[:-1], self.id))

    def synchronize(self) -> None:
        """Wait for the device: a report to the hook, since all work is done at once."""
        on_sync("Device.synchronize")

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: Any) -> bool:
        if isinstance(other, Device):
            return self.id == other.id
        return NotImplemented

    def __hash__(self) -> int:
        return hash(("gpugrad.backend.sim", self.id))

    def __repr__(self) -> str:
        return f"<sim Device {self.id}>"
