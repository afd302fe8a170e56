"""The parts of complex numbers, sizes and directions; of real ones too. Imports engine.op.

The gradient of a real loss by a complex z = a + bi is dL/da + i dL/db: the direction in which
the loss rises fastest, as in PyTorch.
"""

from typing import Any

from gpugrad.engine.op import SAME, Checks, choosing, op

# fmt: off
op("real", "x, /", vjp=[lambda xp, g, y, x: g],  # the engine makes it complex
   kind="linear", moves=True, doc="The real part, elementwise.")
op("imag", "x, /", vjp=[lambda xp, g, y, x: g * 1j if x.dtype.kind == "c" else xp.zeros_like(g)],
   kind="linear", support=lambda xp, mask, y, x: mask,
   doc="The imaginary part, elementwise; 0 for real numbers.")
op("conj", "x, /", vjp=[lambda xp, g, y, x: xp.conj(g)],
   kind="linear", moves=True, aliases="conjugate", method="conj conjugate",
   doc="The complex conjugate, elementwise; x for real numbers.")

# Size and direction.
op("abs", "x, /", vjp=[lambda xp, g, y, x: g * xp.sign(x)],
   jvp=lambda xp, tangents, y, x: along(xp, tangents[0], xp.sign(x)), saves="x",
   **SAME, aliases="absolute", method=True, operator="abs",
   doc="The absolute value, elementwise; its derivative at 0 is 0.")
# fmt: on


def along(xp: Any, t: Any, unit: Any) -> Any:
    """The part of t in the direction of a complex (or real) number of size 1, or of zero."""
    return xp.real(t * xp.conj(unit)) if unit.dtype.kind == "c" else t * unit


def _sign_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    """A complex sign is x / abs(x): it only turns, at right angles to itself."""
    if x.dtype.kind != "c":
        return xp.zeros_like(g)
    return (g - y * along(xp, g, y)) / xp.abs(x)


def _turns(xp: Any, y: Any, x: Any) -> Any:
    """Where a sign, or an angle, is no step function: where x is complex."""
    return xp.full(x.shape, x.dtype.kind == "c")


op("sign", "x, /", vjp=[choosing(_turns, _sign_vjp)],
   jvp=lambda xp, tangents, y, x: _sign_vjp(xp, tangents[0], y, x), saves="x y",
   **SAME, checks=Checks(refused="?"), method=True,
   doc="-1, 0 or 1, as x is negative, zero or positive, elementwise; its derivative is 0. Of "
       "complex x, x / abs(x), and 0 at 0.")  # fmt: skip


def _angle_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    return 1j * g * xp.sign(x) / xp.abs(x) if x.dtype.kind == "c" else xp.zeros_like(g)


def _angle_jvp(xp: Any, tangents: Any, y: Any, x: Any) -> Any:
    (t,) = tangents
    if x.dtype.kind != "c":
        return xp.zeros_like(t)
    return xp.imag(t * xp.conj(xp.sign(x))) / xp.abs(x)


op("angle", "x, /", vjp=[choosing(_turns, _angle_vjp)], jvp=_angle_jvp, saves="x", **SAME,
   doc="The angle of complex numbers in [-π, π]; of real ones 0 or π. Its derivative at a "
       "complex 0 is NaN.")  # fmt: skip
