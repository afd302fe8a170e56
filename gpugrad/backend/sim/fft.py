"""``cupy.fft`` over simulated arrays. Imports binding and signatures."""

from typing import Any

import numpy

from gpugrad.backend.sim.binding import delegate
from gpugrad.backend.sim.signatures import FFT


def __getattr__(name: str) -> Any:
    from gpugrad.backend.sim.functions import absent

    if name in FFT:
        function = globals()[name] = delegate(name, FFT[name], getattr(numpy.fft, name))
        return function
    raise AttributeError(absent(name, "cupy.fft", numpy.fft))


def __dir__() -> list[str]:
    return sorted({*FFT, *globals()})
