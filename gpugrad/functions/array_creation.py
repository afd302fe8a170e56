"""New arrays by a formula: at equal ratios, of the indices.

Imports index_tricks, operands and tensor. Plain numbers are computed by NumPy in float64 on the
host, so that every device has the same; ends that are arrays may have a gradient.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.backend.device import Device, default_device
from gpugrad.errors import ArgumentError
from gpugrad.functions.index_tricks import indices
from gpugrad.functions.operands import together
from gpugrad.tensor import creation
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.creation import is_array, linspace
from gpugrad.tensor.table import OPS

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


def _from_host(array: np.ndarray, dtype: Any, device: Any) -> Tensor:
    """A host array sent to a device, in the default dtype or another."""
    default = creation.complex_dtype() if array.dtype.kind == "c" else creation.get_default_dtype()
    target = default_device() if device is None else Device(device)
    return Tensor(target.send(array.astype(default if dtype is None else dtype)))


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
        return _from_host(np.logspace(start, stop, num, endpoint, base), dtype, device)
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

    The ends have one sign and are not 0. Arrays are not checked: other ends give NaN there. The
    ends may have a gradient.

    >>> import gpugrad as gg
    >>> gg.geomspace(1, 8, 4).round(4)
    tensor([1., 2., 4., 8.])
    """
    if not (is_array(start) or is_array(stop)):
        if start == 0 or stop == 0:
            raise ArgumentError(f"geomspace: expected ends other than 0, got {start} and {stop}")
        return _from_host(np.geomspace(start, stop, num, endpoint), dtype, device)
    start, stop = (x if x.dtype.kind in "fc" else x.astype("float64") for x in
                   together(start, stop))  # fmt: skip
    logarithms = linspace(
        0.0, OPS["log"](stop / start), num, endpoint=endpoint, device=device, axis=axis
    )
    new_axis = (slice(None),) * (axis % logarithms.ndim) + (None,)
    first, last = (
        OPS["broadcast_to"](x, np.broadcast_shapes(start.shape, stop.shape))[new_axis]
        for x in (start, stop)
    )
    y = first * OPS["exp"](logarithms)
    if endpoint and num > 1:  # exact at the end, as it is at the start
        count = creation.arange(num, device=y.device) == num - 1
        shape = [num if i == axis % y.ndim else 1 for i in range(y.ndim)]
        y = OPS["where"](count.reshape(shape), last, y)
    return _typed(y, dtype)


def tri(
    n: int, m: int | None = None, k: int = 0, dtype: Any = None, *, device: Any = None
) -> Tensor:
    """A matrix with ones at and below its diagonal ``k`` and zeros above it."""
    chosen = creation.get_default_dtype() if dtype is None else dtype
    target = Device(device) if device is not None else default_device()
    with target.activate():
        return Tensor(target.xp.tri(n, m, k, dtype=chosen))
