"""Losses that depend on the phase of complex vectors, which is not unique. Imports engine.op.

An eigenvector v is one of all ``v * exp(i t)``; the library chooses one of them. A loss that
changes with t has no derivative, and a rule's result for it is meaningless. The gradient g shows
the change: dL/dt is the imaginary part of <v, g>.
"""

from typing import Any

import numpy as np

from gpugrad.engine.op import Sample, op
from gpugrad.errors import GradientError


def _unless(xp: Any, x: Any, wrong: Any, /, message: str) -> Any:
    if not xp.waits:
        if xp.any(wrong):
            raise GradientError(message)
        return x
    return xp.where(wrong, float("nan"), x)


# fmt: off
op("unless", _unless,
   vjp=[lambda xp, g, y, x, wrong, message: xp.unless(g, wrong, message=message), None],
   jvp=lambda xp, tangents, y, x, wrong, message: xp.unless(tangents[0], wrong, message=message),
   complex="same", support=lambda xp, mask, y, x, wrong, message: mask,
   samples=[Sample((2, 3), (2, 1), message="wrong"), Sample((0,), (0,), message="wrong")],
   prepare=lambda xp, x, wrong: (x, xp.not_equal(wrong, wrong)), public="", operands="real mask",
   doc="x, if nowhere wrong; else a GradientError, or NaN on a device where a look would wait.")
# fmt: on


def free_of_phases(xp: Any, who: str, d: Any, turns: Any, *scales: Any) -> Any:
    """d, unless the loss depends on a phase.

    The diagonals of ``turns`` hold <v, g>, for pairs of singular vectors the sum of both; each
    of ``scales`` is a pair of an array and its gradient, whose largest products bound it. Rounding
    leaves some 1e-16 of that (1e-8 in single precision), and of terms that cancelled before, of an
    assumed size of 1.
    """
    if turns.dtype.kind != "c" or 0 in turns.shape:
        return d
    eye = xp.real(xp.eye_like(turns))
    turns = xp.max(xp.abs(xp.imag(turns) * eye), axis=(-2, -1), keepdims=True)
    size = 0.5
    for a, b in scales:
        if b is None:  # an output that the loss does not use
            continue
        size = size + xp.max(xp.abs(a)) * xp.max(xp.abs(b))
    return xp.unless(
        d,
        turns > size * float(np.finfo(turns.dtype).eps) ** 0.5,
        message=f"{who}: the loss depends on the phase of complex vectors, which is not unique (v "
        "and v * exp(1j) are both right), so it has no gradient. Use what has no phase: abs(v), or "
        "the projector v * v.conj(), of a column as v[:, None] * v.conj()",
    )
