"""Diagonals and matrices of powers. Imports manipulation, operands and tensor."""

from collections.abc import Sequence
from typing import Any

from gpugrad.errors import ShapeError
from gpugrad.functions.manipulation import ravel, stack
from gpugrad.functions.operands import axis_number, cast, with_axes
from gpugrad.tensor import OPS, Tensor, creation

__all__ = ["diag", "diagflat", "make_diagonal", "trace", "vander"]
METHODS = ("trace",)


def diag(x: Any, /, k: int = 0) -> Tensor:
    """The diagonal ``k`` of a matrix, or the matrix with a vector on it and zeros elsewhere."""
    x = with_axes("diag", x, "a vector or a matrix", 1, 2)
    if x.ndim == 2:
        return OPS["diagonal"](x, k)
    size = x.size + abs(k)
    return OPS["from_diagonal"](x, offset=k, axis1=0, axis2=1, shape=(size, size))


def diagflat(x: Any, /, k: int = 0) -> Tensor:
    """The matrix with the elements of x on its diagonal ``k`` and zeros elsewhere."""
    return diag(ravel(x), k)


def make_diagonal(x: Any, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Matrices with the vectors of x's last axis on a diagonal, and zeros elsewhere.

    The inverse of `diagonal`, under HIPS autograd's name; `diag` for one vector.

    >>> import gpugrad as gg
    >>> gg.make_diagonal(gg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis1=1, axis2=2)[1]
    tensor([[3., 0.],
            [0., 4.]])
    """
    x = with_axes("make_diagonal", x, "vectors", 1)
    first, second = (axis_number("make_diagonal", axis, x.ndim + 1) for axis in (axis1, axis2))
    if first == second:
        raise ShapeError(f"make_diagonal: expected two different axes, got {axis1} and {axis2}")
    others = iter(x.shape[:-1])
    size = x.shape[-1] + abs(offset)
    shape = tuple(size if i in (first, second) else next(others) for i in range(x.ndim + 1))
    return OPS["from_diagonal"](x, offset=offset, axis1=first, axis2=second, shape=shape)


def trace(x: Any, /, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Tensor:
    """The sum of a diagonal of the matrices that two axes make."""
    d = OPS["diagonal"](x, offset, axis1, axis2)
    return cast(OPS["sum"](cast(d, dtype), axis=-1), dtype)


def vander(x: Any, /, N: int | None = None, increasing: bool = False) -> Tensor:
    """The matrix of the powers of a vector's elements, descending unless ``increasing``."""
    x = with_axes("vander", x, "a vector", 1, 1)
    count = x.size if N is None else N
    powers: Sequence[int] = range(count) if increasing else range(count - 1, -1, -1)
    if not count:
        return creation.zeros((x.size, 0), dtype=x.dtype, device=x.device)
    return stack([OPS["power"](x, power) for power in powers], axis=-1)
