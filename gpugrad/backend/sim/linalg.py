"""``cupy.linalg`` over simulated arrays. Imports binding, core, signatures.

CuPy does not look at the error codes of its solvers unless told to: where NumPy raises
LinAlgError for a singular matrix, these give NaN, as a GPU's result is unusable too.
"""

from collections.abc import Callable
from typing import Any

import numpy
from numpy.linalg import LinAlgError

from gpugrad.backend.sim.binding import delegate
from gpugrad.backend.sim.core import unsupported
from gpugrad.backend.sim.signatures import LINALG

__all__ = ["LinAlgError"]


def _lenient(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with NaN in place of the results of matrices that it refuses."""

    def solve(a: Any, *others: Any) -> Any:
        try:
            return function(a, *others)
        except LinAlgError:
            if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
                raise
        if a.ndim == 2:
            like = others[0] if others else a
            return numpy.full(like.shape, numpy.nan, numpy.result_type(a, like, numpy.float32))
        stacked = numpy.broadcast_shapes(a.shape[:-2], *(b.shape[:-2] for b in others))
        wide = [numpy.broadcast_to(x, (*stacked, *x.shape[-2:])) for x in (a, *others)]
        made = [solve(*(x[i] for x in wide)) for i in numpy.ndindex(*stacked)]
        return numpy.stack(made).reshape(*stacked, *made[0].shape)

    return solve


def _cross(x1: Any, x2: Any, **words: Any) -> Any:
    """``numpy.linalg.cross`` without lists, which ``cupy.cross`` takes."""
    for x in (x1, x2):
        if not isinstance(x, numpy.ndarray):
            raise unsupported(x, "cross")
    return numpy.linalg.cross(x1, x2, **words)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: _lenient(getattr(numpy.linalg, name)) for name in ("cholesky", "inv", "solve")
} | {"cross": _cross}


def __getattr__(name: str) -> Any:
    from gpugrad.backend.sim.functions import absent

    if name in LINALG:
        function = _FUNCTIONS.get(name) or getattr(numpy.linalg, name)
        made = globals()[name] = delegate(name, LINALG[name], function)
        return made
    raise AttributeError(absent(name, "cupy.linalg", numpy.linalg))


def __dir__() -> list[str]:
    return sorted({*LINALG, *globals()})
