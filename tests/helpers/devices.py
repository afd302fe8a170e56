"""The devices that the tests run on."""

import os
import zlib
from collections.abc import Sequence
from typing import TypeVar

import gpugrad as gg

__all__ = ["DEVICES", "in_turn"]

T = TypeVar("T")


def _devices() -> list[str]:
    named = os.environ.get("GPUGRAD_TEST_DEVICES")
    if named:
        return named.split(",")
    return ["cpu", "sim", *(["cuda"] if gg.cuda.is_available() else [])]


DEVICES = _devices()


def in_turn(values: Sequence[T], device: object, subject: str) -> Sequence[T]:
    """All values on the CPU; on another device one of them, another one for another subject.

    For formulas that are the same on every device, so that each value meets the device in some
    test: a kernel for each value of each op would cost more than all other tests.
    """
    if str(device) == "cpu" or not values:
        return values
    return [values[zlib.crc32(subject.encode()) % len(values)]]
