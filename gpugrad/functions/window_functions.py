"""Sequences of numbers by a formula: at equal ratios, and the windows of spectra.

Imports creation, functions and core. Plain numbers are computed by NumPy in float64 on the host,
so that every device has the same; ends that are arrays may have a gradient.
"""

from typing import Any

import numpy as np

from gpugrad.backend.device import Device, default_device
from gpugrad.errors import ArgumentError, ShapeError
from gpugrad.functions.operands import together
from gpugrad.tensor import creation
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.creation import is_array, linspace
from gpugrad.tensor.table import OPS

__all__ = [
    "bartlett", "blackman", "geomspace", "hamming", "hanning", "kaiser", "logspace",
]  # fmt: skip


def _sent(array: np.ndarray, dtype: Any, device: Any) -> Tensor:
    """An array of the host on a device, in the default dtype or another."""
    kind = creation.complex_dtype() if array.dtype.kind == "c" else creation.get_default_dtype()
    place = default_device() if device is None else Device(device)
    return Tensor(place.send(array.astype(kind if dtype is None else dtype)))


def _typed(x: Tensor, dtype: Any) -> Tensor:
    return x if dtype is None or x.dtype == dtype else x.astype(dtype)


def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Tensor:
    """``base`` to the powers at equal distances from ``start`` to ``stop``, which is included.

    Ends and base may be arrays, and have a gradient.

    >>> import gpugrad as gg
    >>> gg.logspace(0, 3, 4)
    tensor([   1.,   10.,  100., 1000.])
    """
    if not any(map(is_array, (start, stop, base))):
        return _sent(np.logspace(start, stop, num, endpoint, base), dtype, device)
    start, stop, base = together(start, stop, base)
    shape = np.broadcast_shapes(start.shape, stop.shape, base.shape)
    start, stop = (OPS["broadcast_to"](x, shape) for x in (start, stop))
    powers = linspace(start, stop, num, endpoint=endpoint, device=device, axis=axis)
    if base.ndim:
        base = base[(None,) * (len(shape) - base.ndim)]
        base = base[(slice(None),) * (axis % (len(shape) + 1)) + (None,)]
    return _typed(OPS["power"](base, powers), dtype)


def geomspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Tensor:
    """``num`` numbers at equal ratios from ``start`` to ``stop``, which is included.

    The ends are not 0 and of one sign, which is not looked at in arrays: these give NaN. They
    may have a gradient.

    >>> import gpugrad as gg
    >>> gg.geomspace(1, 8, 4).round(4)
    tensor([1., 2., 4., 8.])
    """
    if not (is_array(start) or is_array(stop)):
        if start == 0 or stop == 0:
            raise ArgumentError(f"geomspace: expected ends other than 0, got {start} and {stop}")
        return _sent(np.geomspace(start, stop, num, endpoint), dtype, device)
    start, stop = (x if x.dtype.kind in "fc" else x.astype("float64") for x in
                   together(start, stop))  # fmt: skip
    logarithms = linspace(
        0.0, OPS["log"](stop / start), num, endpoint=endpoint, device=device, axis=axis
    )
    place = (slice(None),) * (axis % logarithms.ndim) + (None,)
    first, last = (
        OPS["broadcast_to"](x, np.broadcast_shapes(start.shape, stop.shape))[place]
        for x in (start, stop)
    )
    y = first * OPS["exp"](logarithms)
    if endpoint and num > 1:  # exact at the end, as it is at the start
        count = creation.arange(num, device=y.device) == num - 1
        shape = [num if i == axis % y.ndim else 1 for i in range(y.ndim)]
        y = OPS["where"](count.reshape(shape), last, y)
    return _typed(y, dtype)


def _window(name: str, m: Any, *parameters: float, dtype: Any, device: Any) -> Tensor:
    if isinstance(m, Tensor):
        m = m.item()
    if not isinstance(m, int | float | np.number) or int(m) != m:
        raise ShapeError(f"{name}: expected a whole number of points, got {m!r}")
    return _sent(getattr(np, name)(int(m), *parameters), dtype, device)


def bartlett(m: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points: a triangle whose ends are 0."""
    return _window("bartlett", m, dtype=dtype, device=device)


def blackman(m: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points: the sum of a constant and two cosines, nearly 0 at the ends."""
    return _window("blackman", m, dtype=dtype, device=device)


def hamming(m: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points: 0.54 less 0.46 of a cosine.

    >>> import gpugrad as gg
    >>> gg.hamming(3)
    tensor([0.08, 1.  , 0.08])
    """
    return _window("hamming", m, dtype=dtype, device=device)


def hanning(m: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points: half of one less a cosine, 0 at the ends."""
    return _window("hanning", m, dtype=dtype, device=device)


def kaiser(m: int, beta: float, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points by a Bessel function, the narrower the larger ``beta`` is.

    ``beta`` is a number without a gradient.
    """
    return _window("kaiser", m, float(beta), dtype=dtype, device=device)
