"""Running products, and the convolution of sequences. Imports engine, dtypes and ordered."""

from typing import Any

import numpy as np

from gpugrad.engine.op import Sample, op
from gpugrad.ops.dtypes import widened
from gpugrad.ops.ordered import running


def _shifted_products(xp: Any, x: Any, axis: int) -> Any:
    """For each element, the product of all those before it: 1 for the first."""
    ahead = (slice(None),) * axis
    ones = xp.ones_like(x[(*ahead, slice(0, 1))])
    return xp.concat([ones, xp.cumprod(x[(*ahead, slice(0, -1))], axis=axis)], axis=axis)


def _weighted_tails(xp: Any, g: Any, x: Any, axis: int) -> Any:
    """S[k] = g[k] + x[k+1] * S[k+1], in log2(n) steps without a division.

    After each step, ``sums[k]`` has the terms of ``step`` elements and ``factors[k]`` is the
    product of those that lead to the next ones.
    """
    n = x.shape[axis]
    ahead = (slice(None),) * axis
    sums, factors = g, x[(*ahead, slice(1, None))]
    step = 1
    while step < n:
        more = factors * sums[(*ahead, slice(step, None))]
        done = sums[(*ahead, slice(n - step, None))]
        sums = xp.concat([sums[(*ahead, slice(0, n - step))] + more, done], axis=axis)
        if 2 * step < n:
            left = factors[(*ahead, slice(0, n - 2 * step))]
            factors = left * factors[(*ahead, slice(step, None))]
        step *= 2
    return sums


def _cumprod_vjp(xp: Any, g: Any, y: Any, x: Any, axis: Any) -> Any:
    shape = x.shape
    if axis is None or not shape:
        x, axis = x.reshape(-1), 0
    axis %= len(x.shape)
    if x.shape[axis] == 0:
        return xp.zeros_like(x).reshape(shape)
    g, x = widened(g), widened(x)
    before = _shifted_products(xp, x, axis)
    return (before * _weighted_tails(xp, g, x, axis)).reshape(shape)


def _before(xp: Any, mask: Any, y: Any, x: Any, axis: Any) -> Any:
    """The support of the gradient: all that stands before an element of the mask, and itself."""
    places = xp.cumsum(xp.flip(mask, axis=axis), axis=axis)
    return xp.flip(places, axis=axis).reshape(x.shape) != 0


# fmt: off
op("cumprod", lambda xp, x, /, axis=None: running(xp, "cumprod", x, axis), vjp=[_cumprod_vjp],
   saves="x", complex="conjugate", support=_before, method=True,
   samples=[Sample((5,)), Sample((2, 3)), Sample((2, 4, 2), axis=1), Sample((1, 3), axis=0),
            Sample((2, 0), axis=-1)], autocast="float32",
   doc="The running product along an axis; its derivatives are exact where elements are 0.")
# fmt: on


def _convolve(mode: str) -> Any:
    def forward(xp: Any, a: Any, v: Any, /) -> Any:
        if a.dtype != v.dtype:  # CuPy transforms each in its own precision
            dtype = np.result_type(a.dtype, v.dtype)
            a, v = a.astype(dtype), v.astype(dtype)
        return xp.convolve(a, v, mode)

    return forward


# The two are each other's derivatives, of which none costs more than the product of the lengths.
op("convolve_full", _convolve("full"),
   vjp=[lambda xp, g, y, a, v: xp.convolve_valid(g, xp.flip(v)),
        lambda xp, g, y, a, v: xp.convolve_valid(g, xp.flip(a))],
   saves=("v", "a"), kind="multilinear",
   samples=[Sample((4,), (3,)), Sample((2,), (5,)), Sample((1,), (1,))], public="",
   doc="The whole convolution of two sequences, of n + m - 1 elements.")  # fmt: skip
op("convolve_valid", _convolve("valid"),
   vjp=[lambda xp, g, y, a, v: xp.convolve_full(g, xp.flip(v)),
        lambda xp, g, y, a, v: xp.flip(xp.convolve_valid(a, xp.flip(g)))],
   saves=("v", "a"), kind="multilinear",
   samples=[Sample((5,), (3,)), Sample((4,), (4,)), Sample((1,), (1,))], public="",
   doc="The part of a convolution in which v, no longer than a, lies within it.")  # fmt: skip
