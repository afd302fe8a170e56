"""Windows of spectra. Imports array_creation and tensor.

They are computed by NumPy in float64 on the host, so that every device has the same.
"""

from typing import Any

import numpy as np

from gpugrad.errors import ShapeError
from gpugrad.functions.array_creation import in_default_dtype
from gpugrad.tensor.core import Tensor

__all__ = ["bartlett", "blackman", "hamming", "hanning", "kaiser"]


def _window(name: str, m: Any, *parameters: float, dtype: Any, device: Any) -> Tensor:
    if isinstance(m, Tensor):
        m = m.item()
    if not isinstance(m, int | float | np.number) or int(m) != m:
        raise ShapeError(f"{name}: expected a whole number of points, got {m!r}")
    return in_default_dtype(getattr(np, name)(int(m), *parameters), dtype, device)


def bartlett(m: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points: a triangle whose ends are 0."""
    return _window("bartlett", m, dtype=dtype, device=device)


def blackman(m: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points: the sum of a constant and two cosines, nearly 0 at the ends."""
    return _window("blackman", m, dtype=dtype, device=device)


def hamming(m: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points: 0.54 - 0.46 cos.

    >>> import gpugrad as gg
    >>> gg.hamming(3)
    tensor([0.08, 1.  , 0.08])
    """
    return _window("hamming", m, dtype=dtype, device=device)


def hanning(m: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points: 0.5 - 0.5 cos, 0 at the ends."""
    return _window("hanning", m, dtype=dtype, device=device)


def kaiser(m: int, beta: float, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points by a Bessel function, the narrower the larger ``beta`` is.

    ``beta`` is a number without a gradient.
    """
    return _window("kaiser", m, float(beta), dtype=dtype, device=device)
