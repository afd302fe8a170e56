"""Norms of vectors and matrices, and the condition number: compositions.

Imports decompositions, manipulation, operands, type_check and tensor. At a point without a
derivative, such as a vector of zeros, the gradient is that of `abs` and `max`: 0, and shared among
ties. A second derivative there is NaN, except for sums and extremes of `abs`, which are piecewise
linear.
"""

import math
from typing import Any

from gpugrad.errors import ArgumentError, ShapeError
from gpugrad.functions.linalg.decompositions import svdvals
from gpugrad.functions.manipulation import expand_dims, moveaxis
from gpugrad.functions.operands import axis_number, in_single
from gpugrad.functions.type_check import square_size
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = ["cond", "matrix_norm", "norm", "vector_norm"]

MATRIX_ORDERS = "'fro', 'nuc', 1, -1, 2, -2, inf or -inf"


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """A norm of vectors or matrices, by NumPy's rules.

    ``axis`` is one axis for vectors, two for matrices, or None for all of x, which is raveled
    where ``ord`` is None. ``ord`` is as in `vector_norm` and `matrix_norm`. ShapeError where
    ``ord`` is given and x has more than two axes to reduce.

    >>> import gpugrad as gg
    >>> gg.linalg.norm(gg.tensor([3.0, 4.0]))
    tensor(5.)
    """
    x = as_tensor(x)
    if axis is None:
        if ord is None:
            return vector_norm(x, keepdims=keepdims)
        axes = tuple(range(x.ndim))
    else:
        axes = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
        axes = tuple(axis_number("norm", one, x.ndim) for one in axes)
    if len(axes) == 1:
        return vector_norm(x, axis=axes, keepdims=keepdims, ord=2 if ord is None else ord)
    if len(axes) != 2 or axes[0] == axes[1]:
        raise ShapeError(
            f"norm: expected one axis, for vectors, or two, for matrices; got axis={axis} for "
            f"shape {x.shape} and ord={ord!r}"
        )
    if axes != (x.ndim - 2, x.ndim - 1):
        x = moveaxis(x, axes, (-2, -1))
    result = matrix_norm(x, ord="fro" if ord is None else ord)
    return expand_dims(result, axes) if keepdims else result


@in_single
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Tensor:
    """The norm of the vectors along an axis, or along several at once; of all elements for None.

    ``ord`` p gives (sum of ``|x| ** p``) ** (1 / p); inf and -inf the largest and smallest of
    ``|x|``; 0 the number of elements that are not 0, without a gradient. ArgumentError for
    any other ``ord``.

    >>> import gpugrad as gg
    >>> gg.linalg.vector_norm(gg.tensor([[3.0, -4.0], [0.0, 1.0]]), ord=1, axis=1)
    tensor([7., 1.])
    """
    x = _floating(x)
    if isinstance(ord, str) or not hasattr(ord, "__float__"):
        raise ArgumentError(f"vector_norm: expected a number as ord, got {ord!r}")
    kwargs: Any = {"axis": tuple(axis) if isinstance(axis, list) else axis, "keepdims": keepdims}
    if ord == 2:
        return OPS["root"](OPS["sum"](square_size(x), **kwargs))
    if ord == 0:
        return OPS["sum"]((x != 0).astype(x.data.real.dtype), **kwargs)
    size = OPS["abs"](x)
    if ord == 1:
        return OPS["sum"](size, **kwargs)
    if ord == math.inf:
        return OPS["max"](size, **kwargs)
    if ord == -math.inf:
        return OPS["min"](size, **kwargs)
    order = float(ord)
    # An even power needs no absolute value, which has a kink at 0.
    powers = x**order if order % 2 == 0 and x.dtype.kind != "c" else size**order
    return OPS["root"](OPS["sum"](powers, **kwargs), order=order)


@in_single
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """The norm of each matrix of a stack.

    ``ord`` is 'fro' (root of the sum of squares), 'nuc' (sum of the singular values), 2 or -2
    (largest, smallest singular value), 1 or -1 (largest, smallest sum of ``|x|`` down a column),
    inf or -inf (along a row). ArgumentError for another.

    >>> import gpugrad as gg
    >>> gg.linalg.matrix_norm(gg.tensor([[1.0, -2.0], [3.0, 4.0]]), ord=1)
    tensor(6.)
    """
    x = _floating(x)
    if x.ndim < 2:
        raise ShapeError(f"matrix_norm: expected two axes or more, got shape {x.shape}")
    if ord in ("fro", "f"):
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord == "nuc" or ord in (2, -2):
        values = svdvals(x)
        reduce = "sum" if ord == "nuc" else "max" if ord == 2 else "min"
        result = OPS[reduce](values, axis=-1)
    elif ord in (1, -1, math.inf, -math.inf):
        sums = OPS["sum"](OPS["abs"](x), axis=-2 if abs(ord) == 1 else -1)
        result = OPS["max" if ord > 0 else "min"](sums, axis=-1)
    else:
        raise ArgumentError(f"matrix_norm: expected ord {MATRIX_ORDERS}, got {ord!r}")
    return expand_dims(result, (-2, -1)) if keepdims else result


def cond(x: Any, p: Any = None) -> Tensor:
    """The condition number: the norm of x times that of its inverse.

    For ``p`` None and 2, and -2, the ratio of the largest and the smallest singular value, also
    of matrices that are not square; else ``p`` is as in `matrix_norm`.

    >>> import gpugrad as gg
    >>> gg.linalg.cond(gg.tensor([[4.0, 0.0], [0.0, 2.0]]))
    tensor(2.)
    """
    x = _floating(x)
    if x.ndim < 2 or 0 in x.shape[-2:]:
        raise ShapeError(f"cond: expected matrices with elements, got shape {x.shape}")
    if p is None or p in (2, -2):
        values = svdvals(x)
        ends = values[..., 0], values[..., -1]
        return ends[0] / ends[1] if p != -2 else ends[1] / ends[0]
    if x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"cond: p={p!r} needs square matrices, got shape {x.shape}")
    return matrix_norm(x, ord=p) * matrix_norm(OPS["inv"](x), ord=p)


def _floating(x: Any) -> Tensor:
    """x as a Tensor; integers are cast to a floating-point dtype, as in NumPy's norms."""
    x = as_tensor(x)
    return x.astype("float64") if x.dtype.kind in "biu" else x
