"""The devices that the tests run on."""

import os

import gpugrad as gg

__all__ = ["DEVICES"]


def _devices() -> list[str]:
    named = os.environ.get("GPUGRAD_TEST_DEVICES")
    if named:
        return named.split(",")
    return ["cpu", "sim", *(["cuda"] if gg.cuda.is_available() else [])]


DEVICES = _devices()
