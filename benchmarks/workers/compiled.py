"""gpugrad's side of the benchmark once more: each step is compiled by ``gg.compile``."""

from collections.abc import Callable
from typing import Any

from cases import Case
from worker import load

import gpugrad as gg

_eager = load("gpugrad")
VERSIONS = _eager.VERSIONS
prepare, synchronize, release = _eager.prepare, _eager.synchronize, _eager.release
to_numpy = _eager.to_numpy
idle, counted = _eager.idle, _eager.counted


def _compiled(kind: str) -> Callable[[Case, str], Callable[[], Any]]:
    return lambda case, device: gg.compile(getattr(_eager, kind)(case, device))


step, convolution, sequence = map(_compiled, ("step", "convolution", "sequence"))
fit, batched = _compiled("fit"), _compiled("batched")
chain, hvp, derivative, op = map(_compiled, ("chain", "hvp", "derivative", "op"))
forward = _compiled("forward")
