"""The device `cuda` for tests: a GPU's, or that of the stand-in which `ci/fakecuda/run` offers.

`launches` counts gpugrad's own kernels, those that are written by hand or for large arrays; what
CuPy launches besides is none of its business.
"""

import os
from typing import Any

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.backend.namespace import FORMULAS, NAMESPACES, namespace_of
from gpugrad.kernels import elementwise, source, wide

STAND_IN = "FAKECUDA" in os.environ  # under ci/fakecuda/run

HINT = "or the stand-in for one: ci/fakecuda/run python -m pytest"

needs_gpu = pytest.mark.skipif(not gg.cuda.is_available(), reason=f"needs a GPU, {HINT}")

needs_two_gpus = pytest.mark.skipif(gg.cuda.device_count() < 2, reason=f"needs two GPUs, {HINT}")

needs_stand_in = pytest.mark.skipif(
    not STAND_IN, reason="needs what only the stand-in can do: ci/fakecuda/run python -m pytest"
)

if STAND_IN:
    import fakecuda

needs_lazy = pytest.mark.skipif(
    not STAND_IN or "lazy" not in fakecuda.modes(),
    reason="needs FAKECUDA_MODE=lazy ci/fakecuda/run python -m pytest",
)

# Late work makes the host wait for a flag; without the pools of CuPy each array is freed by a wait.
needs_usual_stand_in = pytest.mark.skipif(
    not STAND_IN or not {"lazy", "strict"}.isdisjoint(fakecuda.modes()),
    reason="counts waits as a GPU has them: ci/fakecuda/run without FAKECUDA_MODE",
)

if gg.cuda.is_available():
    import cupy

    class _Counted(cupy.RawKernel):
        launched = 0

        def __call__(self, *args: Any, **words: Any) -> None:
            _Counted.launched += 1
            super().__call__(*args, **words)

    cupy.RawKernel = _Counted
    source.cupy_kernel.cache_clear()  # of those that were made without it


def launches(function, *args, **words):
    """What a function gives, and how many of gpugrad's kernels it launched."""
    before = _Counted.launched
    return function(*args, **words), _Counted.launched - before


def send(*operands):
    """Operands with what are NumPy arrays among them on the GPU."""
    return [cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in operands]


def run(kernel, *operands):
    """What an elementwise kernel gives, launched as CuPy launches it."""
    made = elementwise.cupy_kernel(kernel)
    plain = made.plain if isinstance(made, wide.Wide) else made
    return plain(*send(*operands)).get()


def waits(function):
    """How often the host waited for the device while a function ran, by the API's function."""
    with fakecuda.count() as counts:
        function()
    return counts.waits


def kernel(name, *operands):
    """What the namespace of CuPy's arrays has in the formula's place."""
    raws = send(*operands)
    return getattr(namespace_of(raws[0]), name)(*raws)


def over_numpy(name, *operands):
    """The formula, in float32 for float16."""
    wide = [
        a.astype(np.float32) if getattr(a, "dtype", None) == np.float16 else a for a in operands
    ]
    with np.errstate(all="ignore"):
        return FORMULAS[name](NAMESPACES[np.ndarray], *wide)
