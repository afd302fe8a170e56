"""Fourier transforms, of real and of complex arrays. Imports engine.op and dtypes.

``axes`` are counted from the front or the back; ``norm`` is "backward" (the inverse divides by
the number of elements), "forward" (the other one does) or "ortho" (both do, by its root). The
public functions in gpugrad.fft give arrays their sizes first.

A transform is a linear map, and its rule is the adjoint: the sums that run the other way, with
the division at the other end. Of a real array only half of the spectrum is kept. Going back, each
number of it but the first, and the last of an even size, counts twice: for itself and for its
conjugate, which was left out.
"""

from typing import Any

from gpugrad.engine.op import Checks, Sample, op
from gpugrad.ops.dtypes import widened

ADJOINT = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _fourier(
    xp: Any, x: Any, /, axes: tuple[int, ...], inverse: bool = False, norm: str = "backward"
) -> Any:
    transform = xp.fft.ifftn if inverse else xp.fft.fftn
    # In single precision a GPU has transforms for every size.
    return transform(widened(x), axes=axes, norm=norm)


op("fourier", _fourier,
   vjp=[lambda xp, g, y, x, axes, inverse, norm: xp.fourier(
            g, axes, inverse=not inverse, norm=ADJOINT[norm])],
   kind="linear", public="", shown="fft", checks=Checks(least="float32"),
   samples=[Sample((4,), axes=(0,)), Sample((3, 2), axes=(0,), inverse=True),
            Sample((2, 3), axes=(1, 0), norm="ortho"),
            Sample((2, 2, 2), axes=(-1, 0), inverse=True, norm="forward")],
   observe=lambda xp, y: (xp.real(y), xp.imag(y)),
   doc="The discrete Fourier transform along axes, or its inverse.")  # fmt: skip


def _counted(xp: Any, x: Any, /, axis: int, size: int, factor: float) -> Any:
    weights = xp.full(x.shape[axis], factor, dtype=x.dtype.char.lower())
    weights[0] = 1
    if size % 2 == 0:
        weights[-1] = 1
    return x * weights.reshape((-1,) + (1,) * ((-axis if axis < 0 else x.ndim - axis) - 1))


op("spectrum_counted", _counted,
   vjp=[lambda xp, g, y, x, axis, size, factor: xp.spectrum_counted(
            g, axis=axis, size=size, factor=factor)],
   kind="linear", public="",
   samples=[Sample((3, 2), axis=0, size=4, factor=2.0), Sample((2, 3), axis=-1, size=5, factor=0.5),
            Sample((1,), axis=0, size=1, factor=2.0)],
   doc="Half of a spectrum along an axis, times a factor where a number stands for two of "
       "``size``.")  # fmt: skip


def _fourier_real_vjp(xp: Any, g: Any, y: Any, x: Any, axes: tuple[int, ...], norm: str) -> Any:
    size = x.shape[axes[-1]]
    g = xp.spectrum_counted(g, axis=axes[-1], size=size, factor=0.5)
    return xp.fourier_to_real(g, axes, size=size, norm=ADJOINT[norm])


# fmt: off
op("fourier_of_real",
   lambda xp, x, /, axes, norm="backward": xp.fft.rfftn(widened(x), axes=axes, norm=norm),
   vjp=[_fourier_real_vjp],
   kind="linear", public="", shown="rfft", checks=Checks(least="float32"),
   samples=[Sample((4,), axes=(0,)), Sample((5,), axes=(0,), norm="ortho"),
            Sample((1, 2), axes=(0,)), Sample((2, 3), axes=(1, 0), norm="forward"),
            Sample((3, 2, 2), axes=(0, -1))],
   prepare=lambda xp, x: (xp.real(x),), observe=lambda xp, y: (xp.real(y), xp.imag(y)),
   doc="The first half of the Fourier transform of real arrays, along the last of the axes.")
# fmt: on


def _fourier_to_real(
    xp: Any, x: Any, /, axes: tuple[int, ...], size: int, norm: str = "backward"
) -> Any:
    x = widened(x)
    # Axis by axis, as NumPy does it: what stands for no real array counts the same everywhere.
    if len(axes) > 1:
        x = xp.fft.ifftn(x, axes=axes[:-1], norm=norm)
    return xp.fft.irfft(x, size, axis=axes[-1], norm=norm)


# fmt: off
op("fourier_to_real", _fourier_to_real,
   vjp=[lambda xp, g, y, x, axes, size, norm: xp.spectrum_counted(
            xp.fourier_of_real(g, axes, norm=ADJOINT[norm]), axis=axes[-1], size=size, factor=2.0)],
   kind="linear", public="", shown="irfft", checks=Checks(fixed="size", least="float32"),
   samples=[Sample((3,), axes=(0,), size=4), Sample((3,), axes=(0,), size=5, norm="ortho"),
            Sample((1, 2), axes=(0,), size=1), Sample((2, 3), axes=(1, 0), size=2, norm="forward"),
            Sample((2, 2, 2), axes=(0, -1), size=3)],
   doc="The real array of ``size`` along the last of the axes that half of a spectrum belongs to.")
# fmt: on
