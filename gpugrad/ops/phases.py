"""Losses that depend on the phase of complex vectors, which is not unique. Imports engine.op.

An eigenvector v is one of all ``v * exp(i t)``; which of them comes is the library's choice. A
loss that moves with t has no derivative, and what a rule makes of its gradient means nothing.
How it moves is seen in the gradient g that arrives: dL/dt is the imaginary part of <v, g>.
"""

from typing import Any

import numpy as np

from gpugrad.engine.op import Sample, op
from gpugrad.errors import GradientError


def _unless(xp: Any, x: Any, wrong: Any, /, said: str) -> Any:
    if not xp.waits:
        if xp.any(wrong):
            raise GradientError(said)
        return x
    return xp.where(wrong, float("nan"), x)


op(
    "unless",
    _unless,
    vjp=[lambda xp, g, y, x, wrong, said: xp.unless(g, wrong, said=said), None],
    jvp=lambda xp, tangents, y, x, wrong, said: xp.unless(tangents[0], wrong, said=said),
    complex="same",
    support=lambda xp, mask, y, x, wrong, said: mask,
    samples=[Sample((2, 3), (2, 1), said="wrong"), Sample((0,), (0,), said="wrong")],
    prepare=lambda xp, x, wrong: (x, xp.not_equal(wrong, wrong)),  # nowhere wrong
    public="",
    operands="real mask",
    doc="x, if nowhere wrong; else a GradientError, or, on a device that one would wait for, NaN.",
)


def free_of_phases(xp: Any, who: str, d: Any, turns: Any, *scales: Any) -> Any:
    """d, unless the loss depends on a phase.

    The diagonals of ``turns`` hold <v, g>, for pairs of singular vectors the sum of both; each
    of ``scales`` is a pair of arrays whose largest products say how large it could be. Rounding
    leaves some 1e-16 of that (1e-8 in single precision), and of what cancelled before: this is
    taken to be of the size of 1.
    """
    if turns.dtype.kind != "c" or 0 in turns.shape:
        return d
    eye = xp.real(xp.eye_like(turns))
    turns = xp.max(xp.abs(xp.imag(turns) * eye), axis=(-2, -1), keepdims=True)
    size = 0.5
    for a, b in scales:
        size = size + xp.max(xp.abs(a)) * xp.max(xp.abs(b))
    return xp.unless(
        d,
        turns > size * float(np.finfo(turns.dtype).eps) ** 0.5,
        said=f"{who}: the loss depends on the phase of complex vectors, which is not unique (v and "
        "v * exp(1j) are both right), so it has no gradient. Use what has no phase: abs(v), or "
        "the projector v * v.conj(), of a column as v[:, None] * v.conj()",
    )
