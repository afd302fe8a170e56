"""The parts of complex numbers; of real ones too. Imports engine.op.

The gradient of a real loss by a complex z = a + bi is dL/da + i dL/db: the direction in which
the loss rises fastest, as in PyTorch.
"""

from typing import Any

from gpugrad.engine.op import op

LINEAR: Any = {"kind": "linear"}

op(
    "real",
    "x, /",
    vjp=[lambda xp, g, y, x: g],  # the engine makes it complex
    doc="The real part, elementwise.",
    **LINEAR,
)
op(
    "imag",
    "x, /",
    vjp=[lambda xp, g, y, x: g * 1j if x.dtype.kind == "c" else xp.zeros_like(g)],
    doc="The imaginary part, elementwise; 0 for real numbers.",
    **LINEAR,
)
op(
    "conj",
    "x, /",
    vjp=[lambda xp, g, y, x: xp.conj(g)],
    doc="The complex conjugate, elementwise; x for real numbers.",
    **LINEAR,
)
