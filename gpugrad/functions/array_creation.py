"""New arrays by a formula: at equal ratios, of the indices.

Imports index_tricks, manipulation, operands, stride_tricks and tensor. Plain numbers are computed
by NumPy in float64 on the host, so that every device has the same; ends that are arrays may have a
gradient.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.errors import ArgumentError
from gpugrad.functions.index_tricks import from_host, indices
from gpugrad.functions.manipulation import expand_dims
from gpugrad.functions.operands import along_axis, cast, floating, together
from gpugrad.functions.stride_tricks import broadcast_arrays
from gpugrad.tensor import OPS, Tensor, creation, linspace
from gpugrad.tensor.creation import is_array

__all__ = ["fromfunction", "geomspace", "identity", "logspace", "tri"]


def identity(n: int, dtype: Any = None, *, device: Any = None) -> Tensor:
    """A square matrix with ones on its diagonal and zeros elsewhere."""
    return creation.eye(n, dtype=dtype, device=device)


def fromfunction(
    function: Callable[..., Any], shape: Sequence[int], *, dtype: Any = None, **kwargs: Any
) -> Any:
    """A function evaluated at the coordinates of an array, one tensor of them for each axis.

    It is called once, with whole arrays. The coordinates have the default dtype unless ``dtype``
    is given.

    >>> import gpugrad as gg
    >>> gg.fromfunction(lambda i, j: i - j, (2, 3))
    tensor([[ 0., -1., -2.],
            [ 1.,  0., -1.]])
    """
    chosen = creation.get_default_dtype() if dtype is None else dtype
    return function(*indices(shape, dtype=chosen), **kwargs)


def in_default_dtype(array: np.ndarray, dtype: Any, device: Any) -> Tensor:
    """A host array sent to a device, in the default dtype or another."""
    default = creation.complex_dtype() if array.dtype.kind == "c" else creation.get_default_dtype()
    return from_host([array.astype(default if dtype is None else dtype)], device)[0]


def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0,
    dtype: Any = None, axis: int = 0, *, device: Any = None,
) -> Tensor:  # fmt: skip
    """``base`` to the powers at equal distances from ``start`` to ``stop``, which is included.

    Ends and base may be arrays, and have a gradient.

    >>> import gpugrad as gg
    >>> gg.logspace(0, 3, 4)
    tensor([   1.,   10.,  100., 1000.])
    """
    if not any(map(is_array, (start, stop, base))):
        return in_default_dtype(np.logspace(start, stop, num, endpoint, base), dtype, device)
    start, stop, base = broadcast_arrays(*together(start, stop, base))
    powers = linspace(start, stop, num, endpoint=endpoint, device=device, axis=axis)
    return cast(OPS["power"](expand_dims(base, axis), powers), dtype)


def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0,
    *, device: Any = None,
) -> Tensor:  # fmt: skip
    """``num`` numbers at equal ratios from ``start`` to ``stop``, which is included.

    The ends have one sign and are not 0. Arrays are not checked: other ends give NaN there. The
    ends may have a gradient.

    >>> import gpugrad as gg
    >>> gg.geomspace(1, 8, 4).round(4)
    tensor([1., 2., 4., 8.])
    """
    if not (is_array(start) or is_array(stop)):
        if start == 0 or stop == 0:
            raise ArgumentError(f"geomspace: expected ends other than 0, got {start} and {stop}")
        return in_default_dtype(np.geomspace(start, stop, num, endpoint), dtype, device)
    start, stop = broadcast_arrays(*map(floating, together(start, stop)))
    logarithms = linspace(
        0.0, OPS["log"](stop / start), num, endpoint=endpoint, device=device, axis=axis
    )
    y = expand_dims(start, axis) * OPS["exp"](logarithms)
    if endpoint and num > 1:  # exact at the end, as it is at the start
        at_end = creation.arange(num, device=y.device) == num - 1
        at_end = along_axis(at_end, axis % y.ndim, y.ndim)
        y = OPS["where"](at_end, expand_dims(stop, axis), y)
    return cast(y, dtype)


def tri(
    n: int, m: int | None = None, k: int = 0, dtype: Any = None, *, device: Any = None
) -> Tensor:
    """A matrix with ones at and below its diagonal ``k`` and zeros above it."""
    return OPS["tril"](creation.ones((n, n if m is None else m), dtype=dtype, device=device), k)
