"""Diagonals, triangles and products of vectors and matrices: compositions.

Imports functions, joining, creation and core.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.backend.device import Device, default_device
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.manipulation import moveaxis, ravel, reshape, stack, tensordot
from gpugrad.functions.operands import axis_number, together
from gpugrad.functions.type_check import conjugated
from gpugrad.tensor import creation
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.creation import as_tensor
from gpugrad.tensor.table import OPS

__all__ = [
    "cross", "diag", "diagflat", "einsum_path", "inner", "kron", "make_diagonal", "matvec",
    "trace", "tri", "vander", "vdot", "vecmat",
]  # fmt: skip
METHODS = ("trace",)


def diag(x: Any, /, k: int = 0) -> Tensor:
    """The diagonal ``k`` of a matrix, or the matrix that has a vector there and else zeros."""
    x = as_tensor(x)
    if x.ndim == 2:
        return OPS["diagonal"](x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag: expected a vector or a matrix, got shape {x.shape}")
    size = x.size + abs(k)
    return OPS["from_diagonal"](x, offset=k, axis1=0, axis2=1, shape=(size, size))


def diagflat(x: Any, /, k: int = 0) -> Tensor:
    """The matrix that has the elements of x on its diagonal ``k`` and else zeros."""
    return diag(ravel(x), k)


def make_diagonal(x: Any, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Matrices along two axes, with the vectors of x's last axis on a diagonal and else zeros.

    The opposite of `diagonal`, of HIPS autograd's name; `diag` for one vector.

    >>> import gpugrad as gg
    >>> gg.make_diagonal(gg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis1=1, axis2=2)[1]
    tensor([[3., 0.],
            [0., 4.]])
    """
    x = as_tensor(x)
    if not x.ndim:
        raise ShapeError("make_diagonal: expected vectors, got shape ()")
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
    y = OPS["sum"](d if dtype is None else d.astype(dtype), axis=-1)
    return y if dtype is None or y.dtype == dtype else y.astype(dtype)


def tri(
    n: int, m: int | None = None, k: int = 0, dtype: Any = None, *, device: Any = None
) -> Tensor:
    """A matrix with ones at and below its diagonal ``k`` and zeros above it."""
    kind = creation.get_default_dtype() if dtype is None else dtype
    place = Device(device) if device is not None else default_device()
    with place.activate():
        return Tensor(place.xp.tri(n, m, k, dtype=kind))


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


def einsum_path(subscripts: str, /, *operands: Any, optimize: Any = "greedy") -> tuple[Any, str]:
    """The order in which `einsum` would best join its operands: NumPy's answer, from shapes alone.

    A list to be read by people and by NumPy, with a text that says what each step costs.
    """
    if not isinstance(subscripts, str):
        raise DTypeError(
            f"einsum_path: expected subscripts such as 'ij,jk->ik', got {type(subscripts).__name__}"
        )
    # One element with the strides of many: the search looks at shapes only.
    one = np.zeros(())
    shaped = [np.broadcast_to(one, as_tensor(x).shape) for x in operands]
    found: tuple[Any, str] = np.einsum_path(subscripts, *shaped, optimize=optimize)
    return found


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


def vander(x: Any, /, N: int | None = None, increasing: bool = False) -> Tensor:
    """The matrix of the powers of a vector's elements, falling unless ``increasing``."""
    x = as_tensor(x)
    if x.ndim != 1:
        raise ShapeError(f"vander: expected a vector, got shape {x.shape}")
    count = x.size if N is None else N
    powers: Sequence[int] = range(count) if increasing else range(count - 1, -1, -1)
    if not count:
        return creation.zeros((x.size, 0), dtype=x.dtype, device=x.device)
    return stack([OPS["power"](x, power) for power in powers], axis=-1)
