"""Sorting, partitioning and searching: compositions.

Imports indexing, manipulation, operands, type_check and tensor. Indices have no gradient; sorted
elements do.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.backend.namespace import common_namespace
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.indexing import take, take_along_axis
from gpugrad.functions.manipulation import raveled_or_along, slices
from gpugrad.functions.operands import axis_number, with_axes, without_graph, xp_of
from gpugrad.functions.type_check import real_only
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = [
    "argpartition", "argsort", "digitize", "lexsort", "partition", "searchsorted", "sort",
    "sort_complex", "topk",
]  # fmt: skip
METHODS = ("argpartition", "partition", "searchsorted", "sort", "topk")


KINDS = (None, "quicksort", "mergesort", "heapsort", "stable")


def _order(name: str, x: Tensor, axis: int | None, kind: Any, descending: bool) -> Tensor:
    if kind not in KINDS:
        raise DTypeError(f"{name}: expected kind None or one of {KINDS[1:]}, got {kind!r}")
    if axis is not None:
        axis = axis_number(name, axis, max(x.ndim, 1))  # a number counts as a row of one
    return OPS["argsort"](x.detach(), axis=axis, descending=descending)


def argsort(
    x: Any, /, axis: int | None = -1, kind: str | None = None, *, descending: bool = False,
    stable: bool = True,
) -> Tensor:  # fmt: skip
    """The indices that sort x along an axis, or the raveled x for None. No gradient.

    The sort is stable for every ``kind`` and ``stable``: equal elements keep their order, with
    ``descending`` too. NaN comes last, with ``descending`` first.
    """
    return _order("argsort", as_tensor(x), axis, kind, descending)


def sort(
    x: Any, /, axis: int | None = -1, kind: str | None = None, *, descending: bool = False,
    stable: bool = True,
) -> Tensor:  # fmt: skip
    """x sorted along an axis, the raveled x for None; NaN last. A new tensor, as a method too.

    The gradient of an element goes to its origin; equal elements keep their order, whatever
    ``kind`` and ``stable`` are. ``ndarray.sort`` sorts in place, ``Tensor.sort`` does not.

    >>> import gpugrad as gg
    >>> x = gg.tensor([3.0, 1.0, 2.0], requires_grad=True)
    >>> gg.gradients(gg.sort(x)[0], x)
    tensor([0., 1., 0.])
    """
    x = as_tensor(x)
    return _permuted("sort", x, _order("sort", x, axis, kind, descending), axis)


def sort_complex(x: Any, /) -> Tensor:
    """x sorted along its last axis, as complex numbers: by their real parts, then the others."""
    x = as_tensor(x)
    if x.dtype.kind == "c":
        return sort(x)
    return sort(x).astype("complex64" if x.dtype.char in "bhBH" else "complex128")


def _permuted(name: str, x: Tensor, order: Tensor, axis: int | None) -> Tensor:
    if axis is not None:
        with_axes(name, x, "one axis or more", 1)
    x, axis = raveled_or_along(name, x, axis)
    return OPS["permuted"](x, order, axis=axis)


def argpartition(x: Any, /, kth: Any, axis: int | None = -1) -> Tensor:
    """Indices that put the element ``kth`` where sorting would, and smaller ones before it.

    The order on both sides of it is undefined, and differs between devices. No gradient.
    """
    x, axis = raveled_or_along("argpartition", as_tensor(x).detach(), axis)
    positions = tuple(kth) if isinstance(kth, Sequence | np.ndarray) else (kth,)
    size = x.shape[axis]
    for position in positions:
        if not -size <= position < size:
            raise ShapeError(f"argpartition: kth {position} is out of range for {size} elements")
    chosen = tuple(int(position) % size for position in positions)
    one = chosen[0] if len(chosen) == 1 else list(chosen)
    return OPS["argpartition_order"](x, kth=one, axis=axis)


def partition(x: Any, /, kth: Any, axis: int | None = -1) -> Tensor:
    """x with its element ``kth`` where sorting would put it, smaller ones before it.

    A new tensor; the gradient of an element goes to its origin. See `argpartition`.
    """
    x = as_tensor(x)
    return _permuted("partition", x, argpartition(x, kth, axis), axis)


def topk(x: Any, /, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The ``k`` largest elements along an axis, or smallest, in order, and their indices.

    Of equal elements the first ones win. A NaN counts as the largest of all.

    >>> import gpugrad as gg
    >>> values, indices = gg.topk(gg.tensor([1.0, 5.0, 3.0]), 2)
    >>> values, indices
    (tensor([5., 3.]), tensor([1, 2]))
    """
    x = as_tensor(x)
    axis = axis_number("topk", axis, x.ndim)
    if not 0 <= k <= x.shape[axis]:
        raise ShapeError(f"topk: expected k between 0 and {x.shape[axis]}, got {k}")
    order = OPS["argsort"](x.detach(), axis=axis, descending=largest)
    first = slices(order, axis, 0, k)
    return take_along_axis(x, first, axis), first


def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Tensor:
    """The indices that insert ``v`` into a sorted vector ``a``, before or after equal elements.

    No gradient."""
    if side not in ("left", "right"):
        raise ShapeError(f"searchsorted: expected side 'left' or 'right', got {side!r}")
    a, v = without_graph("searchsorted", a, v)
    with_axes("searchsorted", a, "a sorted vector", 1, 1)
    if sorter is not None:
        a = take(a, sorter, 0)
    a, v = a.data, v.data
    return Tensor(common_namespace(a, v).searchsorted(a, v, side=side))


def digitize(x: Any, bins: Any, right: bool = False) -> Tensor:
    """The number of the bin of each element, between edges that rise or fall. No gradient.

    The first and the last edge tell whether they fall, for which the host waits.
    """
    x, bins = without_graph("digitize", x, bins)
    x, bins = real_only("digitize", x), real_only("digitize", bins)
    with_axes("digitize", bins, "a vector of bins", 1, 1)
    if bins.size > 1 and bool(bins.data[0] > bins.data[-1]):
        rising = xp_of(bins).flip(bins.data)
        return bins.size - searchsorted(rising, x, "right" if right else "left")
    return searchsorted(bins, x, "left" if right else "right")


def lexsort(keys: Any, /, axis: int = -1) -> Tensor:
    """The indices that sort by several keys, the last of which is the primary one. No gradient."""
    rows = [as_tensor(key).detach() for key in keys]
    if not rows:
        raise ShapeError("lexsort: expected at least one key, got none")
    if len(shapes := {row.shape for row in rows}) > 1:
        raise ShapeError(f"lexsort: expected keys of one shape, got {sorted(shapes)}")
    order = OPS["argsort"](rows[0], axis=axis)
    for row in rows[1:]:  # stable: the last sort is by the primary key
        again = OPS["argsort"](take_along_axis(row, order, axis), axis=axis)
        order = take_along_axis(order, again, axis)
    return order
