"""``cupy.linalg`` over simulated arrays. Imports core, functions and signatures.

By default CuPy ignores the error codes of its solvers. Where NumPy raises LinAlgError for a
singular matrix, these functions return NaN, since the result on a GPU is unusable as well.
"""

from collections.abc import Callable
from typing import Any

import numpy
from numpy.linalg import LinAlgError

from gpugrad.backend.sim.core import unsupported
from gpugrad.backend.sim.functions import module_of
from gpugrad.backend.sim.signatures import LINALG

__all__ = ["LinAlgError"]


def _lenient(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with NaN for matrices for which it raises LinAlgError."""

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
        results = [solve(*(x[i] for x in wide)) for i in numpy.ndindex(*stacked)]
        return numpy.stack(results).reshape(*stacked, *results[0].shape)

    return solve


def _cross(x1: Any, x2: Any, **kwargs: Any) -> Any:
    """``numpy.linalg.cross`` without lists, which only ``cupy.cross`` accepts."""
    for x in (x1, x2):
        if not isinstance(x, numpy.ndarray):
            raise unsupported(x, "cross")
    return numpy.linalg.cross(x1, x2, **kwargs)


__getattr__, __dir__ = module_of(
    "cupy.linalg",
    LINALG,
    numpy.linalg,
    {name: _lenient(getattr(numpy.linalg, name)) for name in ("cholesky", "inv", "solve")}
    | {"cross": _cross},
)
