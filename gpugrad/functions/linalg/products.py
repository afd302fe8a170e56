"""Products and powers of matrices, and the standard's other functions of ``linalg``.

Imports decompositions, manipulation, operands, solvers, tensor_contractions, type_check and tensor.
"""

import operator
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.linalg.decompositions import matrices
from gpugrad.functions.linalg.solvers import inv
from gpugrad.functions.manipulation import moveaxis, squeeze
from gpugrad.functions.operands import axis_number, cast, together
from gpugrad.functions.tensor_contractions import outer as _outer
from gpugrad.functions.type_check import conjugated
from gpugrad.tensor import OPS, Tensor

__all__ = [
    "cross", "diagonal", "expm", "matmul", "matrix_power", "multi_dot", "outer", "trace", "vecdot",
]  # fmt: skip


matmul = OPS["matmul"]


def matrix_power(x: Any, n: int) -> Tensor:
    """Each matrix to the power n; that of its inverse for n below 0.

    >>> import gpugrad as gg
    >>> gg.linalg.matrix_power(gg.tensor([[1.0, 1.0], [0.0, 1.0]]), 5)
    tensor([[1., 5.],
            [0., 1.]])
    """
    x = matrices("matrix_power", x)
    try:
        times = operator.index(n)
    except TypeError as error:
        raise DTypeError(
            f"matrix_power: expected a whole number, got {type(n).__name__}"
        ) from error
    if times < 0:
        x, times = inv(x), -times
    if times == 0:
        return OPS["broadcast_to"](OPS["eye_like"](x), x.shape)
    result = None
    while True:
        if times % 2:
            result = x if result is None else matmul(result, x)
        times //= 2
        if times == 0:
            return x if result is None else result
        x = matmul(x, x)


def expm(x: Any, /) -> Tensor:
    """The exponential of each matrix: the sum of ``x ** k / k!`` with matrix powers.

    >>> import gpugrad as gg
    >>> gg.linalg.expm(gg.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([[1., 1.],
            [0., 1.]])
    """
    return OPS["expm"](matrices("expm", x))


def multi_dot(arrays: Sequence[Any], /) -> Tensor:
    """The product of two or more matrices, in the order that takes the fewest multiplications.

    The first operand may be a row vector of one axis, the last a column vector. The order comes
    from the algorithm of T. Cormen et al., "Introduction to Algorithms", section 15.2.
    """
    tensors = together(*arrays)
    if len(tensors) < 2:
        raise ShapeError(f"multi_dot: expected two matrices or more, got {len(tensors)}")
    row, column = tensors[0].ndim == 1, tensors[-1].ndim == 1
    if row:
        tensors[0] = tensors[0][None, :]
    if column:
        tensors[-1] = tensors[-1][:, None]
    shapes = [tensor.shape for tensor in tensors]
    if any(len(shape) < 2 for shape in shapes) or any(a[-1] != b[-2] for a, b in pairwise(shapes)):
        raise ShapeError(
            "multi_dot: expected matrices whose inner sizes agree, got shapes "
            f"{', '.join(map(str, shapes))}"
        )
    cuts = _cuts([*(shape[-2] for shape in shapes), shapes[-1][-1]])

    def product(first: int, last: int) -> Tensor:
        if first == last:
            return tensors[first]
        cut = cuts[first, last]
        return matmul(product(first, cut), product(cut + 1, last))

    result = product(0, len(tensors) - 1)
    return squeeze(result, (-2,) * row + (-1,) * column)


def _cuts(sizes: list[int]) -> dict[tuple[int, int], int]:
    """For each run of matrices, the position at which the cheapest product splits it."""
    count = len(sizes) - 1
    costs = {(i, i): 0 for i in range(count)}
    cuts = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            costs[i, j], cuts[i, j] = min(
                (costs[i, k] + costs[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )
    return cuts


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The vector product of three-dimensional vectors along an axis."""
    x1, x2 = together(x1, x2)
    for x in (x1, x2):
        if x.ndim == 0 or x.shape[axis_number("cross", axis, x.ndim)] != 3:
            raise ShapeError(f"cross: expected 3 elements along axis {axis}, got shape {x.shape}")
    roll = OPS["roll"]
    return roll(x1, -1, axis) * roll(x2, -2, axis) - roll(x1, -2, axis) * roll(x2, -1, axis)


def outer(x1: Any, x2: Any, /) -> Tensor:
    """Every element of one vector times every element of another."""
    x1, x2 = together(x1, x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ShapeError(
            f"outer: expected two vectors, got shapes {x1.shape} and {x2.shape}. gg.outer ravels"
        )
    return _outer(x1, x2)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The inner product of the vectors along an axis of each operand, before they broadcast.

    Complex x1 are conjugated.
    """
    x1, x2 = together(x1, x2)
    sizes = [x.shape[axis_number("vecdot", axis, x.ndim)] for x in (x1, x2)]
    if sizes[0] != sizes[1]:
        raise ShapeError(
            f"vecdot: expected vectors of one size along axis {axis}, got {x1.shape} and {x2.shape}"
        )
    x1 = conjugated(x1)
    # A product of matrices keeps the dtype of small integers, where a sum would widen it.
    x1, x2 = moveaxis(x1, axis, -1), moveaxis(x2, axis, -1)
    return matmul(x1[..., None, :], x2[..., None])[..., 0, 0]


def diagonal(x: Any, /, *, offset: int = 0) -> Tensor:
    """The diagonal of each matrix, or the ``offset``-th above it (below it, if negative)."""
    return OPS["diagonal"](matrices("diagonal", x, square=False), offset, -2, -1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sum of the diagonal of each matrix, or of the ``offset``-th above it.

    >>> import gpugrad as gg
    >>> gg.linalg.trace(gg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(5.)
    """
    return cast(OPS["sum"](cast(diagonal(x, offset=offset), dtype), axis=-1), dtype)
