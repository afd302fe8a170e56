"""Stacks of arrays and their pieces, as NumPy's ``shape_base`` has them.

Imports manipulation, operands and tensor. Where NumPy returns a list, these return a tuple.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.manipulation import concat, pieces, reshape
from gpugrad.functions.operands import axis_number, together, with_axes
from gpugrad.tensor import OPS, Tensor, as_tensor
from gpugrad.tensor.views import unshared

__all__ = [
    "array_split", "atleast_1d", "atleast_2d", "atleast_3d", "block", "column_stack", "dsplit",
    "dstack", "hsplit", "hstack", "row_stack", "vsplit", "vstack",
]  # fmt: skip


def _map(arrays: tuple[Any, ...], one: Any) -> Any:
    results = tuple(one(as_tensor(array)) for array in arrays)
    return results[0] if len(results) == 1 else results


def atleast_1d(*arrays: Any) -> Any:
    """x with one axis if it has none; a tuple for several arrays."""
    return _map(arrays, lambda x: x if x.ndim else reshape(x, 1))


def atleast_2d(*arrays: Any) -> Any:
    """x with new axes before its own until it has two; a tuple for several arrays."""
    return _map(arrays, lambda x: x if x.ndim > 1 else reshape(x, (1,) * (2 - x.ndim) + x.shape))


def atleast_3d(*arrays: Any) -> Any:
    """x with three axes or more; a tuple for several arrays.

    As in NumPy a vector becomes (1, n, 1) and a matrix (m, n, 1).

    >>> import gpugrad as gg
    >>> gg.atleast_3d(gg.ones(2)).shape, gg.atleast_3d(gg.ones((2, 3))).shape
    ((1, 2, 1), (2, 3, 1))
    """

    def one(x: Tensor) -> Tensor:
        if x.ndim > 2:
            return x
        return reshape(x, (*x.shape, 1) if x.ndim == 2 else (1, *(x.shape or (1,)), 1))

    return _map(arrays, one)


def hstack(tup: Sequence[Any]) -> Tensor:
    """Arrays joined along their second axis; along the first where they have one."""
    arrays = [atleast_1d(piece) for piece in pieces("hstack", tup)]
    return concat(arrays, axis=0 if arrays[0].ndim == 1 else 1)


def vstack(tup: Sequence[Any]) -> Tensor:
    """Arrays joined along their first axis; vectors become rows."""
    return concat([atleast_2d(piece) for piece in pieces("vstack", tup)], axis=0)


row_stack = vstack


def dstack(tup: Sequence[Any]) -> Tensor:
    """Arrays joined along their third axis, made by `atleast_3d`."""
    return concat([atleast_3d(piece) for piece in pieces("dstack", tup)], axis=2)


def column_stack(tup: Sequence[Any]) -> Tensor:
    """Vectors, as columns, and matrices joined along the second axis."""
    arrays = pieces("column_stack", tup)
    return concat([x if x.ndim > 1 else reshape(x, (x.size, 1)) for x in arrays], axis=1)


def block(arrays: Any) -> Tensor:
    """An array of blocks: nested lists of them, the innermost joined along the last axis.

    >>> import gpugrad as gg
    >>> gg.block([[gg.ones((2, 2)), gg.zeros((2, 1))], [gg.zeros((1, 2)), gg.full((1, 1), 5.0)]])
    tensor([[1., 1., 0.],
            [1., 1., 0.],
            [0., 0., 5.]])
    """
    leaf_arrays: list[Any] = []
    depth = _depth(arrays, leaf_arrays)
    leaves = together(*leaf_arrays)
    rank = max(depth, *(leaf.ndim for leaf in leaves))
    rest = iter(leaves)

    def joined(part: Any, level: int) -> Tensor:
        if level:
            return concat([joined(one, level - 1) for one in part], axis=-level)
        leaf = next(rest)
        return reshape(leaf, (1,) * (rank - leaf.ndim) + leaf.shape)

    result = joined(arrays, depth)
    return result if depth else unshared(result, leaves[0])


def _depth(part: Any, arrays: list[Any]) -> int:
    """The depth of nested lists; their arrays are appended to ``arrays``."""
    if isinstance(part, tuple):
        raise DTypeError("block: expected lists of arrays, got a tuple")
    if not isinstance(part, list):
        arrays.append(part)
        return 0
    depths = {_depth(one, arrays) for one in part}
    if len(depths) != 1:
        expected = "lists nested to one depth" if depths else "lists with arrays in them"
        raise ShapeError(f"block: expected {expected}, got depths {sorted(depths)}")
    return depths.pop() + 1


def array_split(x: Any, /, indices_or_sections: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """x split along an axis into a number of nearly equal pieces, the first longer, or at indices.

    >>> import gpugrad as gg
    >>> [len(piece) for piece in gg.array_split(gg.arange(5), 3)]
    [2, 2, 1]
    """
    x = as_tensor(x)
    axis = axis_number("array_split", axis, x.ndim)
    if not np.ndim(indices_or_sections):
        count = int(indices_or_sections)
        if count < 1:
            raise ShapeError(f"array_split: expected one piece or more, got {count}")
        least, longer = divmod(x.shape[axis], count)
        sizes = [least + (i < longer) for i in range(count)]
        indices_or_sections = np.cumsum(sizes)[:-1]
    return _split(x, indices_or_sections, axis)


def _split(x: Tensor, sections: Any, axis: int) -> tuple[Tensor, ...]:
    """x split into a number of pieces, or at indices: a list or an array of them."""
    cuts = tuple(map(int, sections)) if np.ndim(sections) else int(sections)
    return OPS["split"](x, cuts, axis=axis)


def hsplit(x: Any, /, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x split along its second axis, or its only one; see `split`."""
    x = with_axes("hsplit", x, "1 axis or more", 1)
    return _split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


def vsplit(x: Any, /, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x, of two axes or more, split along its first axis; see `split`."""
    return _split(with_axes("vsplit", x, "2 axes or more", 2), indices_or_sections, 0)


def dsplit(x: Any, /, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x, of three axes or more, split along its third axis; see `split`."""
    return _split(with_axes("dsplit", x, "3 axes or more", 3), indices_or_sections, 2)
