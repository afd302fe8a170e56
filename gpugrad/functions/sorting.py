"""Sorting, ranking, searching, sets and counts. Imports functions, creation and core.

Only what moves elements has a gradient: sort, partition, topk, segment sums. Orders, indices,
counts and sets have none. A result whose size depends on values (`unique`, `flatnonzero`,
`bincount`, sets) waits for the device.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.record import record
from gpugrad.errors import DeviceError, DTypeError, ShapeError
from gpugrad.functions.manipulation import (
    TABLE,
    concat,
    getitem,
    ravel,
    reshape,
    take,
    take_along_axis,
)
from gpugrad.functions.operands import axis_number, together
from gpugrad.functions.type_check import real_only
from gpugrad.tensor import indices
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.creation import as_tensor, asarray
from gpugrad.tensor.table import OPS

__all__ = [
    "argpartition", "argsort", "argwhere", "bincount", "digitize", "flatnonzero", "intersect1d",
    "isin", "lexsort", "partition", "scatter_add", "searchsorted", "segment_sum", "setdiff1d",
    "setxor1d", "sort", "sort_complex", "topk", "union1d", "unique", "unique_all", "unique_counts",
    "unique_inverse", "unique_values",
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
    return OPS["permuted"](x, order=order._array, axis=axis_number(name, axis, x.ndim))


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
    a, v = _together("searchsorted", a, v)
    if a.ndim != 1:
        raise ShapeError(f"searchsorted: expected a sorted vector, got shape {a.shape}")
    if sorter is not None:
        a = take(a, sorter, 0)
    return Tensor(_module(a).searchsorted(a.data, v.data, side=side))


def digitize(x: Any, bins: Any, right: bool = False) -> Tensor:
    """The number of the bin of each element, between edges that rise or fall. No gradient.

    Whether the edges fall is seen from the first and the last of them, which waits for the
    device.
    """
    x, bins = _together("digitize", x, bins)
    x, bins = real_only("digitize", x), real_only("digitize", bins)
    if bins.ndim != 1:
        raise ShapeError(f"digitize: expected a vector of bins, got shape {bins.shape}")
    falls = bins.size > 1 and bool(bins.data[0] > bins.data[-1])
    module = _module(bins)
    if not falls:
        found = module.searchsorted(bins.data, x.data, side="left" if right else "right")
        return Tensor(found)
    turned = module.flip(bins.data)
    return Tensor(
        bins.size - module.searchsorted(turned, x.data, side="right" if right else "left")
    )


def _module(x: Tensor) -> Any:
    return namespace_of(x.data).module


def _together(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Two operands without a graph; lists and numbers go where the other one is."""
    one, other = (v.detach() for v in together(a, b))
    _one_device(name, one, other)
    return one, other


def _one_device(name: str, a: Tensor, b: Tensor) -> None:
    if a.device != b.device:
        raise DeviceError(
            f"{name}: operands are on two devices, {a.device} and {b.device}; move one with "
            f".to({str(a.device)!r})"
        )


def flatnonzero(x: Any, /) -> Tensor:
    """The indices of the elements of the raveled x that are not 0. Waits for the device."""
    x = ravel(as_tensor(x).detach())
    return Tensor(_module(x).nonzero(x.data)[0])


def argwhere(x: Any, /) -> Tensor:
    """The indices of the elements that are not 0, one row for each. Waits for the device."""
    x = as_tensor(x).detach()
    return Tensor(_module(x).argwhere(x.data))


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


# Sets. CuPy has what these are made of, and sorts on the device.


def unique(
    x: Any,
    /,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
) -> Any:
    """The different elements of x, sorted; on request where each was first, where each element
    of x is among them, and how often. No gradient. Waits for the device.
    """
    x = as_tensor(x).detach()
    found = _module(x).unique(
        x.data, return_index, return_inverse, return_counts, axis, equal_nan=equal_nan
    )
    return tuple(map(Tensor, found)) if isinstance(found, tuple) else Tensor(found)


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Any, /) -> UniqueAll:
    """The different elements, where each was first, where each element is among them, and counts.

    NaNs all differ. No gradient. Waits for the device.
    """
    x = as_tensor(x)
    values, indices, inverse, counts = unique(x, True, True, True, equal_nan=False)
    return UniqueAll(values, indices, reshape(inverse, x.shape), counts)


def unique_counts(x: Any, /) -> UniqueCounts:
    """The different elements and how often each occurs; NaNs all differ. No gradient."""
    return UniqueCounts(*unique(x, return_counts=True, equal_nan=False))


def unique_inverse(x: Any, /) -> UniqueInverse:
    """The different elements and where each element of x is among them. No gradient."""
    x = as_tensor(x)
    values, inverse = unique(x, return_inverse=True, equal_nan=False)
    return UniqueInverse(values, reshape(inverse, x.shape))


def unique_values(x: Any, /) -> Tensor:
    """The different elements, sorted; NaNs all differ. No gradient. Waits for the device."""
    return unique(x, equal_nan=False)


def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Whether each element is one of ``test_elements``. ``assume_unique`` makes no difference."""
    a, b = _together("isin", element, test_elements)
    b = ravel(b)
    if not b.size:
        found = OPS["not_equal"](a, a) & False
    else:
        ordered = OPS["permuted"](b, order=OPS["argsort"](b)._array, axis=0)
        place = _module(a).searchsorted(ordered.data, a.data)
        found = a == getitem(ordered, _module(a).minimum(place, b.size - 1))
    return OPS["logical_not"](found) if invert else found


def _set(name: str, doc: str, choose: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def function(a: Any, b: Any, /) -> Tensor:
        one, other = _together(name, a, b)
        return choose(unique(ravel(one)), unique(ravel(other)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc}, sorted. No gradient. Waits for the device."
    return function


def _joined(a: Tensor, b: Tensor) -> Tensor:
    return unique(concat([a, b]))


intersect1d = _set("intersect1d", "The elements of both a and b", lambda a, b: a[isin(a, b)])
setdiff1d = _set("setdiff1d", "The elements of a that are not in b", lambda a, b: a[~isin(a, b)])
setxor1d = _set(
    "setxor1d",
    "The elements of one of a and b, not both",
    lambda a, b: _joined(a[~isin(a, b)], b[~isin(b, a)]),
)
union1d = _set("union1d", "The elements of a and b", _joined)


# Counts and sums by number.


def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each whole number 0, 1, ... occurs in x, or the sum of its ``weights``.

    The gradient of a sum goes to its weights, whose dtype it has. ShapeError for negative
    numbers. Waits for the device, to know how many there are; `segment_sum` need not.

    >>> import gpugrad as gg
    >>> gg.bincount(gg.arange(3) % 2, weights=gg.tensor([0.5, 1.0, 2.0]))
    tensor([2.5, 1. ])
    """
    x = asarray(x).detach()
    if x.ndim != 1 or x.dtype.kind not in "iub":
        raise DTypeError(f"bincount: expected a vector of whole numbers, got {x.dtype}, {x.shape}")
    if minlength < 0:
        raise ShapeError(f"bincount: expected minlength of 0 or more, got {minlength}")
    low, high = (int(x.data.min()), int(x.data.max())) if x.size else (0, -1)
    if low < 0:
        raise ShapeError(f"bincount: expected no negative numbers, got {low}")
    if weights is None:
        return Tensor(_module(x).bincount(x.data, minlength=minlength))
    weights = (
        as_tensor(weights) if hasattr(weights, "dtype") else as_tensor(weights, device=x.device)
    )
    if weights.shape != x.shape:
        raise ShapeError(f"bincount: expected {x.size} weights, got shape {weights.shape}")
    weights = weights if weights.dtype.kind in "fc" else weights.astype("float64")
    return _summed(weights, x, max(high + 1, minlength))


def _summed(data: Tensor, numbers: Tensor, count: int) -> Tensor:
    _one_device("segment_sum", data, numbers)
    parameters = {"index": numbers.data, "shape": (count, *data.shape[numbers.ndim :])}
    return record(_scatter, (data,), parameters)


_scatter = TABLE["scatter"]


def segment_sum(data: Any, segment_ids: Any, /, num_segments: int | None = None) -> Tensor:
    """The sums of the rows of ``data`` that have the same number in ``segment_ids``.

    Numbers need no order. ``num_segments`` is how many sums there are; without it the largest
    number tells, for which the host waits. Numbers outside raise IndexingError; those that are on
    a GPU are looked for in `debug_mode` only, elsewhere they wrap around. The order of the sums on
    a GPU, hence their rounding, is the same in every run under `deterministic` only.

    >>> import gpugrad as gg
    >>> gg.segment_sum(gg.tensor([1.0, 2.0, 4.0]), gg.tensor([0, 2, 0], dtype="int64"), 3)
    tensor([5., 0., 2.])
    """
    data = as_tensor(data)
    numbers = indices.raw_part(segment_ids)
    if getattr(numbers, "dtype", np.dtype("O")).kind not in "iu":
        given = getattr(numbers, "dtype", type(numbers).__name__)
        raise DTypeError(f"segment_sum: expected whole numbers, got {given}")
    if numbers.shape != data.shape[: numbers.ndim]:
        raise ShapeError(
            f"segment_sum: expected a number for each row of {data.shape}, got {numbers.shape}"
        )
    if num_segments is None:
        num_segments = int(numbers.max()) + 1 if numbers.size else 0
    indices.check_numbers("segment_sum", numbers, 0, num_segments)
    if not isinstance(segment_ids, Tensor):
        numbers = indices.beside(numbers, data._array)
    return _summed(data, Tensor(numbers), num_segments)


def scatter_add(x: Any, index: Any, values: Any) -> Tensor:
    """A copy of x with ``values`` added to its elements at ``index``, to a repeated one each time.

    The same as ``x.at[index].add(values)``.
    """
    return as_tensor(x).at[index].add(values)
