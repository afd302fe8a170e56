"""Sorting, partitioning and searching: compositions.

Imports indexing, manipulation, operands, type_check and tensor. Orders have no gradient; elements
that are put in order do.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.indexing import take, take_along_axis
from gpugrad.functions.manipulation import ravel
from gpugrad.functions.operands import axis_number, without_graph, xp_of
from gpugrad.functions.type_check import real_only
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.creation import as_tensor
from gpugrad.tensor.indices import getitem
from gpugrad.tensor.table import OPS

__all__ = [
    "argpartition", "argsort", "digitize", "lexsort", "partition", "searchsorted", "sort",
    "sort_complex", "topk",
]  # fmt: skip
METHODS = ("argpartition", "partition", "searchsorted", "sort", "topk")


KINDS = (None, "quicksort", "mergesort", "heapsort", "stable")


def _order(name: str, x: Tensor, axis: int | None, kind: Any, descending: bool) -> Tensor:
    if kind not in KINDS:
        raise DTypeError(f"{name}: expected kind None or one of {KINDS[1:]}, got {kind!r}")
    if axis is not None and x.ndim:
        axis = axis_number(name, axis, x.ndim)
    return OPS["argsort"](x.detach(), axis=axis, descending=descending)


def argsort(
    x: Any,
    /,
    axis: int | None = -1,
    kind: str | None = None,
    *,
    descending: bool = False,
    stable: bool = True,
) -> Tensor:
    """The order that sorts x along an axis, of the raveled x for None. No gradient.

    Every ``kind`` and either ``stable`` is the stable sort: equal elements keep their order, with
    ``descending`` too. NaN comes last, with ``descending`` first.
    """
    return _order("argsort", as_tensor(x), axis, kind, descending)


def sort(
    x: Any,
    /,
    axis: int | None = -1,
    kind: str | None = None,
    *,
    descending: bool = False,
    stable: bool = True,
) -> Tensor:
    """x sorted along an axis, the raveled x for None; NaN last. A new tensor, as a method too.

    The gradient of an element goes to where it came from; among equal ones that is their stable
    order, whatever ``kind`` and ``stable`` say. ``ndarray.sort`` sorts in place, ``Tensor.sort``
    does not.

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
    kind = x.dtype.kind
    wanted = x.dtype if kind == "c" else "complex64" if x.dtype.char in "bhBH" else "complex128"
    return sort(x).astype(wanted)


def _permuted(name: str, x: Tensor, order: Tensor, axis: int | None) -> Tensor:
    if axis is None:
        x, axis = ravel(x), 0
    if not x.ndim:
        raise ShapeError(f"{name}: expected one axis or more, got shape ()")
    return OPS["permuted"](x, order, axis=axis_number(name, axis, x.ndim))


def argpartition(x: Any, /, kth: Any, axis: int | None = -1) -> Tensor:
    """An order that puts the element ``kth`` where sorting would, smaller ones before it.

    On both sides of it the order is any, and another on another device. No gradient.
    """
    x = as_tensor(x).detach()
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_number("argpartition", axis, x.ndim)
    places = tuple(kth) if isinstance(kth, Sequence | np.ndarray) else (kth,)
    size = x.shape[axis]
    for place in places:
        if not -size <= place < size:
            raise ShapeError(f"argpartition: kth {place} is out of range for {size} elements")
    chosen = tuple(int(place) % size for place in places)
    one = chosen[0] if len(chosen) == 1 else list(chosen)
    return OPS["argpartition_order"](x, kth=one, axis=axis)


def partition(x: Any, /, kth: Any, axis: int | None = -1) -> Tensor:
    """x with its element ``kth`` where sorting would put it, smaller ones before it.

    A new tensor; the gradients go to where the elements came from. See `argpartition`.
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
    first = getitem(order, (slice(None),) * axis + (slice(0, k),))
    return take_along_axis(x, first, axis), first


def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Tensor:
    """Where elements ``v`` go in a sorted vector ``a``, before or after equal ones. No gradient."""
    if side not in ("left", "right"):
        raise ShapeError(f"searchsorted: expected side 'left' or 'right', got {side!r}")
    a, v = without_graph("searchsorted", a, v)
    if a.ndim != 1:
        raise ShapeError(f"searchsorted: expected a sorted vector, got shape {a.shape}")
    if sorter is not None:
        a = take(a, sorter, 0)
    return Tensor(xp_of(a).searchsorted(a.data, v.data, side=side))


def digitize(x: Any, bins: Any, right: bool = False) -> Tensor:
    """The number of the bin of each element, between edges that rise or fall. No gradient.

    Whether the edges fall is seen from the first and the last of them, which waits for the
    device.
    """
    x, bins = without_graph("digitize", x, bins)
    x, bins = real_only("digitize", x), real_only("digitize", bins)
    if bins.ndim != 1:
        raise ShapeError(f"digitize: expected a vector of bins, got shape {bins.shape}")
    falls = bins.size > 1 and bool(bins.data[0] > bins.data[-1])
    xp = xp_of(bins)
    if not falls:
        found = xp.searchsorted(bins.data, x.data, side="left" if right else "right")
        return Tensor(found)
    turned = xp.flip(bins.data)
    return Tensor(bins.size - xp.searchsorted(turned, x.data, side="right" if right else "left"))


def lexsort(keys: Any, /, axis: int = -1) -> Tensor:
    """The order that sorts by several keys, the last of them first. No gradient."""
    rows = [as_tensor(key).detach() for key in keys]
    if not rows:
        raise ShapeError("lexsort: expected at least one key, got none")
    order = None
    for row in rows:  # stable: what sorts last counts most
        if order is None:
            order = OPS["argsort"](row, axis=axis)
        else:
            again = OPS["argsort"](take_along_axis(row, order, axis), axis=axis)
            order = take_along_axis(order, again, axis)
    assert order is not None
    return order
