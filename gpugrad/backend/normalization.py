"""Layer normalization of arrays in host memory. Imports namespace, precision and sums.

The sums along rows and down columns are products with ones or with the weight, by BLAS, and what
is elementwise writes into memory that is there.
"""

from typing import Any

import numpy as np

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.backend.precision import DOUBLE, SINGLE
from gpugrad.backend.sums import sum_of_rows

__all__ = ["layer_norm", "layer_norm_and_residuals", "layer_norm_vjp"]


def layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """The formula of this name in `gpugrad.ops.normalization`."""
    return layer_norm_and_residuals(x, weight, bias, eps)[0]


def layer_norm_and_residuals(
    x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> tuple[Any, Any, Any]:
    """The same, with the mean and the rate of each row."""
    if not _fit(x, weight, bias):
        formula: Any = FORMULAS["layer_norm_and_residuals"]
        results: tuple[Any, Any, Any] = formula(namespace_of(x), x, weight, bias, eps)
        return results
    y, length = np.empty(x.shape, x.dtype), x.shape[-1]
    rows, out = x.reshape((-1, length)), y.reshape((-1, length))
    mean = np.dot(rows, np.ones(length, x.dtype))
    mean /= length
    np.subtract(rows, mean[:, None], out)
    rate = np.vecdot(out, out)
    rate /= length
    rate += eps
    np.reciprocal(np.sqrt(rate, rate), rate)
    np.multiply(out, rate[:, None], out)
    if weight is not None:
        np.multiply(out, weight, out)
    if bias is not None:
        np.add(out, bias, out)
    shape = (*x.shape[:-1], 1)
    return y, mean.reshape(shape), rate.reshape(shape)


def layer_norm_vjp(
    g: Any, needs: tuple[bool, ...], x: Any, weight: Any, mean: Any, rate: Any
) -> tuple[Any, Any, Any]:
    """The formula of this name in `gpugrad.ops.normalization`."""
    wanted = needs[0] or needs[1]
    if not wanted or not _fit(x, weight) or g.dtype is not x.dtype or g.shape != x.shape:
        formula: Any = FORMULAS["layer_norm_vjp"]
        results: tuple[Any, Any, Any] = formula(namespace_of(x), g, needs, x, weight, mean, rate)
        return results
    length = x.shape[-1]
    rows, g, mean, rate = (a.reshape((-1, a.shape[-1])) for a in (x, g, mean, rate))
    normal = np.subtract(rows, mean)
    np.multiply(normal, rate, normal)
    product = np.multiply(g, normal)
    d_x = d_weight = d_bias = None
    if needs[1]:
        d_weight = sum_of_rows(product)
    if needs[2]:
        d_bias = sum_of_rows(g)
    if needs[0]:
        scale = np.ones(length, x.dtype) if weight is None else weight
        along, across = np.dot(g, scale), np.dot(product, scale)
        across /= length
        along /= length
        np.multiply(normal, across[:, None], normal)
        np.add(normal, along[:, None], normal)
        d_x = np.empty(x.shape, x.dtype)
        out = d_x.reshape((-1, length))
        np.multiply(g, scale, out)
        np.subtract(out, normal, out)
        np.multiply(out, rate, out)
    return d_x, d_weight, d_bias


def _fit(x: Any, *rows: Any) -> bool:
    """Whether x is not empty and all are of its dtype, single or double; None is left out."""
    dtype = x.dtype
    if (dtype is not SINGLE and dtype is not DOUBLE) or not x.size or not x.ndim:
        return False
    shape = x.shape[-1:]
    return all(row is None or (row.dtype is dtype and row.shape == shape) for row in rows)
