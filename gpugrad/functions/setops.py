"""Sets of elements: unique ones, and those of two arrays.

Imports manipulation, operands, sorting and tensor. The size of the result depends on values, so all
but `isin` wait for the device. A gradient goes to the first of equal elements.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gpugrad.functions.manipulation import concat, ravel, reshape
from gpugrad.functions.operands import check_one_device, together, without_graph, xp_of
from gpugrad.functions.sorting import sort
from gpugrad.tensor import TENSORS, Tensor, as_tensor, getitem

__all__ = [
    "intersect1d", "isin", "setdiff1d", "setxor1d", "union1d", "unique", "unique_all",
    "unique_counts", "unique_inverse", "unique_values",
]  # fmt: skip


def unique(
    x: Any, /, return_index: bool = False, return_inverse: bool = False,
    return_counts: bool = False, axis: int | None = None, *, equal_nan: bool = True,
) -> Any:  # fmt: skip
    """The unique elements of x, sorted; on request their first indices, the inverse and counts.

    The gradient of an element goes to its first occurrence in x. Waits for the device.
    """
    x = as_tensor(x)
    first = return_index or x.requires_grad
    parts = xp_of(x).unique(x.data, first, return_inverse, return_counts, axis, equal_nan=equal_nan)
    if not isinstance(parts, tuple):
        return Tensor(parts)
    values, *others = map(Tensor, parts)
    if x.requires_grad:
        where = (slice(None),) * ((axis or 0) % max(x.ndim, 1))
        values = getitem(ravel(x) if axis is None else x, (*where, others[0]))
        others = others[not return_index :]
    return (values, *others) if others else values


class UniqueAll(NamedTuple):
    """The results of `unique_all`."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """The results of `unique_counts`."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """The results of `unique_inverse`."""

    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Any, /) -> UniqueAll:
    """The unique elements, their first indices, the inverse and their counts.

    NaNs all differ. The gradient is that of `unique`. Waits for the device.
    """
    values, indices, inverse, counts = unique(x, True, True, True, equal_nan=False)
    return UniqueAll(values, indices, reshape(inverse, as_tensor(x).shape), counts)


def unique_counts(x: Any, /) -> UniqueCounts:
    """The unique elements and their counts; NaNs all differ. The gradient is that of `unique`."""
    return UniqueCounts(*unique(x, return_counts=True, equal_nan=False))


def unique_inverse(x: Any, /) -> UniqueInverse:
    """The unique elements, and the index among them of each element of x.

    The gradient is that of `unique`.
    """
    values, inverse = unique(x, return_inverse=True, equal_nan=False)
    return UniqueInverse(values, reshape(inverse, as_tensor(x).shape))


def unique_values(x: Any, /) -> Tensor:
    """The unique elements, sorted; NaNs all differ. The gradient is that of `unique`."""
    return unique(x, equal_nan=False)


def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Whether each element is one of ``test_elements``. ``assume_unique`` has no effect."""
    a, b = without_graph("isin", element, test_elements)
    if not b.size:
        return TENSORS.full_like(a, invert, dtype=np.bool_)
    ordered = sort(b, axis=None)
    position = xp_of(a).searchsorted(ordered.data, a.data)
    nearest = getitem(ordered, xp_of(a).minimum(position, b.size - 1))
    return a != nearest if invert else a == nearest


def _set(name: str, doc: str, choose: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def function(a: Any, b: Any, /) -> Tensor:
        one, other = together(a, b)
        check_one_device(name, one, other)
        return choose(unique(ravel(one)), unique(ravel(other)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc}, sorted. The gradient is that of `unique`. Waits for the device."
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
