"""The part of ``cupy.cuda`` that array code calls: devices, streams, waits."""

from typing import Any

from gpugrad.backend.sim.device import DEVICE_COUNT, Device, on_sync

__all__ = ["Device", "Stream", "get_current_stream", "is_available", "runtime"]


class Stream:
    """A queue of work on the device. Here it is always empty: all work is done at once."""

    null: "Stream"

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.non_blocking = non_blocking

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def synchronize(self) -> None:
        on_sync("Stream.synchronize")


Stream.null = Stream(null=True)


def get_current_stream() -> Stream:
    """The stream of the current device: always the default one."""
    return Stream.null


def is_available() -> bool:
    """Whether the device can be used: always."""
    return True


class runtime:  # noqa: N801
    """The calls of the CUDA runtime that array code makes."""

    @staticmethod
    def getDeviceCount() -> int:  # noqa: N802
        return DEVICE_COUNT

    @staticmethod
    def deviceSynchronize() -> None:  # noqa: N802
        on_sync("Device.synchronize")


def __getattr__(name: str) -> Any:
    raise AttributeError(f"cupy.cuda.{name} is not imitated by the simulated device")
