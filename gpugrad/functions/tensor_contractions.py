"""Products of vectors, matrices and arrays of more axes: compositions.

Imports manipulation, operands, type_check and tensor.
"""

import math
from typing import Any

from gpugrad.errors import ShapeError
from gpugrad.functions.manipulation import moveaxis, ravel, reshape, stack, transpose
from gpugrad.functions.operands import axis_numbers, together
from gpugrad.functions.type_check import conjugated
from gpugrad.tensor import OPS, Tensor

__all__ = ["cross", "dot", "inner", "kron", "matvec", "outer", "tensordot", "vdot", "vecmat"]
METHODS = ("dot", "outer")


def dot(a: Any, b: Any, /) -> Tensor:
    """NumPy's dot: a product of numbers, vectors or matrices; of more axes, a tensordot."""
    a, b = together(a, b)
    if a.ndim == 0 or b.ndim == 0:
        return OPS["multiply"](a, b)
    if b.ndim > 2:
        return tensordot(a, b, axes=((-1,), (-2,)))
    return OPS["matmul"](a, b)


def outer(a: Any, b: Any, /) -> Tensor:
    """Every element of a times every element of b, as a matrix."""
    a, b = together(a, b)
    return OPS["multiply"](reshape(a, (-1, 1)), ravel(b))


def tensordot(a: Any, b: Any, /, axes: Any = 2) -> Tensor:
    """The sum of products over axes: the last ``axes`` of a with the first of b, or as listed."""
    a, b = together(a, b)
    if isinstance(axes, int):
        left, right = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
        if axes > min(a.ndim, b.ndim):
            raise ShapeError(f"tensordot: {axes} axes of {a.shape} and {b.shape}")
    else:
        left, right = (
            axis_numbers("tensordot", part, x.ndim) for part, x in zip(axes, (a, b), strict=True)
        )
    sizes = [a.shape[i] for i in left]
    if sizes != [b.shape[i] for i in right]:
        raise ShapeError(
            f"tensordot: the summed axes differ in size: {left} of {a.shape} and "
            f"{right} of {b.shape}"
        )
    rest_a = [i for i in range(a.ndim) if i not in left]
    rest_b = [i for i in range(b.ndim) if i not in right]
    shape_a, shape_b = [a.shape[i] for i in rest_a], [b.shape[i] for i in rest_b]
    n = math.prod(sizes)
    flat_a = reshape(transpose(a, [*rest_a, *left]), (math.prod(shape_a), n))
    flat_b = reshape(transpose(b, [*right, *rest_b]), (n, math.prod(shape_b)))
    return reshape(OPS["matmul"](flat_a, flat_b), shape_a + shape_b)


def inner(a: Any, b: Any, /) -> Tensor:
    """The sums of products over the last axes of a and of b."""
    a, b = together(a, b)
    if a.ndim == 0 or b.ndim == 0:
        return OPS["multiply"](a, b)
    if a.shape[-1] != b.shape[-1]:
        raise ShapeError(
            f"inner: the last axes differ in size: {a.shape} and {b.shape}. For a matrix "
            "product use matmul"
        )
    return tensordot(a, b, axes=((-1,), (-1,)))


def vdot(a: Any, b: Any, /) -> Tensor:
    """The sum of products of all elements, a conjugated; both are raveled."""
    a, b = map(ravel, together(a, b))
    if a.shape != b.shape:
        raise ShapeError(f"vdot: expected as many elements, got {a.size} and {b.size}")
    return OPS["matmul"](conjugated(a), b)


def matvec(a: Any, b: Any, /) -> Tensor:
    """Each matrix of a stack times a vector: of shapes (..., m, n) and (..., n)."""
    a, b = together(a, b)
    if a.ndim < 2 or not b.ndim or a.shape[-1] != b.shape[-1]:
        raise ShapeError(
            f"matvec: expected shapes (..., m, n) and (..., n), got {a.shape} and {b.shape}"
        )
    return OPS["matmul"](a, b[..., None])[..., 0]


def vecmat(a: Any, b: Any, /) -> Tensor:
    """A vector, conjugated, times each matrix of a stack: of shapes (..., n) and (..., n, m)."""
    a, b = together(a, b)
    if b.ndim < 2 or not a.ndim or a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"vecmat: expected shapes (..., n) and (..., n, m), got {a.shape} and {b.shape}"
        )
    return OPS["matmul"](conjugated(a)[..., None, :], b)[..., 0, :]


def kron(a: Any, b: Any) -> Tensor:
    """Kronecker's product: every element of a times the whole of b, as blocks.

    >>> import gpugrad as gg
    >>> gg.kron(gg.tensor([1.0, 10.0]), gg.tensor([1.0, 2.0, 3.0]))
    tensor([ 1.,  2.,  3., 10., 20., 30.])
    """
    a, b = together(a, b)
    rank = max(a.ndim, b.ndim)
    shape_a = (1,) * (rank - a.ndim) + a.shape
    shape_b = (1,) * (rank - b.ndim) + b.shape
    apart_a = reshape(a, [size for n in shape_a for size in (n, 1)])
    apart_b = reshape(b, [size for n in shape_b for size in (1, n)])
    product = OPS["multiply"](apart_a, apart_b)
    return reshape(product, [n * m for n, m in zip(shape_a, shape_b, strict=True)])


def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Tensor:
    """The cross product of vectors of 3 elements along an axis; the other axes broadcast.

    A vector of 2 elements lies in the plane; of two such, the result is the third component.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = together(a, b)
    for name, x in (("a", a), ("b", b)):
        if not x.ndim:
            raise ShapeError(f"cross: expected vectors, got {name} of shape ()")
    a, b = moveaxis(a, axisa, -1), moveaxis(b, axisb, -1)
    if a.shape[-1] not in (2, 3) or b.shape[-1] not in (2, 3):
        raise ShapeError(
            f"cross: expected vectors of 2 or 3 elements, got {a.shape[-1]} and {b.shape[-1]}"
        )
    ax, ay = a[..., 0], a[..., 1]
    bx, by = b[..., 0], b[..., 1]
    z = ax * by - ay * bx
    if a.shape[-1] == b.shape[-1] == 2:
        return z
    if a.shape[-1] == 2:
        bz = b[..., 2]
        parts = [ay * bz, -(ax * bz), z]
    elif b.shape[-1] == 2:
        az = a[..., 2]
        parts = [-(az * by), az * bx, z]
    else:
        az, bz = a[..., 2], b[..., 2]
        parts = [ay * bz - az * by, az * bx - ax * bz, z]
    return moveaxis(stack(parts, axis=-1), -1, axisc)
