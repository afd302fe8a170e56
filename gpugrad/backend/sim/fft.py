"""``cupy.fft`` over simulated arrays. Imports functions and signatures."""

import numpy

from gpugrad.backend.sim.functions import module_of
from gpugrad.backend.sim.signatures import FFT

__getattr__, __dir__ = module_of("cupy.fft", FFT, numpy.fft)
