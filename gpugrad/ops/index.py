"""Selecting elements by an index, and its transpose. Imports engine and ordered.

An index is what NumPy takes: integers, slices, Ellipsis, None, integer arrays, boolean masks, or a
tuple of these. An op takes the arrays of an index as operands, and as its parameter ``index`` the
pattern that is left, in which `ARRAY` stands for each of them: ``x[1:, i]`` is
``getitem(x, i, index=(slice(1, None), ARRAY))``.

An assignment through an index that comes up twice is undefined in CuPy. Here the last one
wins on every device: it is decided by positions (`last_of_each`), not by the order of writes.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.engine.modes import is_deterministic
from gpugrad.engine.op import Sample, op
from gpugrad.ops.ordered import sums_in_order


class _Array:
    """The type of `ARRAY`."""

    def __repr__(self) -> str:
        return "array"


ARRAY = _Array()
_BASIC = (slice, int, np.integer, type(None), type(Ellipsis))


def split(index: Any) -> tuple[Any, list[Any]]:
    """The pattern of an index and the arrays in it.

    >>> split((slice(1, None), np.array([0, 2])))
    ((slice(1, None, None), array), [array([0, 2])])
    """
    if not isinstance(index, tuple):
        return (ARRAY, [index]) if hasattr(index, "dtype") else (index, [])
    pattern, arrays = [], []
    for part in index:
        if hasattr(part, "dtype"):
            arrays.append(part)
            part = ARRAY
        pattern.append(part)
    return tuple(pattern), arrays


def joined(pattern: Any, arrays: Sequence[Any]) -> Any:
    """The index of a pattern and its arrays: the inverse of `split`."""
    if not arrays:
        return pattern
    if pattern is ARRAY:
        return arrays[0]
    rest = iter(arrays)
    return tuple([next(rest) if part is ARRAY else part for part in pattern])


def is_basic(index: Any) -> bool:
    """Whether an index has no arrays in it: then it selects each element once at most."""
    if not isinstance(index, tuple):
        return isinstance(index, _BASIC)
    for part in index:  # noqa: SIM110  a generator would take twice as long
        if not isinstance(part, _BASIC):
            return False
    return True


def _is_mask(part: Any) -> bool:
    return getattr(part, "dtype", None) == np.bool_ and part.ndim > 0


def may_repeat(index: Any) -> bool:
    """Whether an index may select an element twice: it has an integer array of two or more."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(
        getattr(part, "ndim", 0) > 0 and part.size > 1 and part.dtype != np.bool_ for part in parts
    )


def without_masks(xp: Any, index: Any) -> Any:
    """An equal index with integer arrays in place of masks."""
    parts = index if isinstance(index, tuple) else (index,)
    if not any(map(_is_mask, parts)):
        return index
    return tuple(one for part in parts for one in (xp.nonzero(part) if _is_mask(part) else (part,)))


def last_of_each(xp: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """For each position in x[index], the last position that selects the same element."""
    size = math.prod(shape)
    pattern, arrays = split(index)
    places = xp.getitem(xp.arange(size).reshape(shape), *arrays, index=pattern)
    return xp.last_alike(places, size=size)


def _last_alike(xp: Any, places: Any, /, size: int) -> Any:
    flat = places.reshape(-1)
    last = xp.full(size, -1)
    xp.maximum_at(last, flat, xp.arange(flat.size))
    return last[places]


def _wins(xp: Any, order: Any) -> Any:
    """Where a position is the last of its element."""
    return order == xp.arange_like(order, order.size).reshape(order.shape)


def _scatter(xp: Any, g: Any, /, *indices: Any, index: Any, shape: tuple[int, ...]) -> Any:
    index = joined(index, indices)
    if not may_repeat(index):
        out = xp.full_like(g, 0, shape=shape)
        out[index] = g
        return out
    # CuPy's add.at counts a repeated element once where there is a mask beside it.
    index = without_masks(xp, index)
    if xp.atomic is not None and (is_deterministic() or g.dtype.char not in xp.atomic):
        return sums_in_order(xp, g, index if isinstance(index, tuple) else (index,), shape)
    out = xp.full_like(g, 0, shape=shape)
    xp.add_at(out, index, g)
    return out


op("arange_like", lambda xp, x, /, count: xp.arange(count),
   samples=[Sample((2, 3), count=4), Sample((), count=0)], public="",
   doc="0, 1, ... count - 1, on the device of x. No gradient.")  # fmt: skip
op("last_alike", _last_alike, operands="whole", public="",
   samples=[Sample(np.array([[0, 2], [3, 0]]), size=4)],
   doc="Of each number, below ``size``, the last position of an equal one.")  # fmt: skip
MASK = np.array([True, False, True])

# fmt: off
op("scatter", _scatter,
   vjp=[lambda xp, g, y, x, *indices, index, shape: xp.getitem(g, *indices, index=index)],
   saves="indices", kind="linear", moves=True, fills=True, operands="real whole", public="",
   samples=[Sample((3,), index=slice(1, 4), shape=(5,)),
            Sample((2, 3), index=(slice(None), slice(0, 3)), shape=(2, 4)),
            Sample((3,), np.array([2, 0, -2]), index=ARRAY, shape=(4,)),
            Sample((2, 1, 3), MASK, np.array([1, 1]), index=(ARRAY, None, ARRAY), shape=(3, 2, 3))],
   doc="Zeros of a shape, to whose elements at an index g is added: the transpose of `getitem`.")
# fmt: on


def _getitem(xp: Any, x: Any, /, *indices: Any, index: Any) -> Any:
    if indices:
        index = joined(index, indices)
    y = x[index]
    if y.ndim == 0 and not xp.owns_buffer(y):
        # An element is a value of its own in NumPy, in CuPy a view of x.
        parts = index if isinstance(index, tuple) else (index,)
        if all(isinstance(part, int | np.integer) for part in parts) and parts:
            return xp.copy(y)
    return y


def _add_at(xp: Any, total: Any, g: Any, x: Any, *indices: Any, index: Any) -> bool:
    """Add to the elements at an index that selects none of them twice."""
    if indices or total.ndim == 0 or total.dtype != g.dtype:
        return False
    return bool(xp.add_slice(total, index, g))


# fmt: off
op("getitem", _getitem,
   vjp=[lambda xp, g, y, x, *indices, index: xp.scatter(g, *indices, index=index, shape=x.shape)],
   adds=[_add_at], saves="indices",
   kind="linear", moves=True, chooses=True, operands="real whole", public="",
   samples=[Sample((4,), index=1), Sample((2, 3), index=(slice(None), 1)),
            Sample((2, 3, 4), index=(Ellipsis, None, slice(None, None, -2))),
            Sample((4, 2), np.array([2, 0, 2]), index=ARRAY),
            Sample((3, 4), np.array([[1], [2]]), np.array([3, 3]), index=(ARRAY, ARRAY)),
            Sample((3, 2), MASK, index=(ARRAY, 1))],
   doc="x[index]. Arrays of the index are operands, and ``array`` stands for them in ``index``.")
# fmt: on


def _index_set(xp: Any, x: Any, v: Any, /, *indices: Any, index: Any, ordered: bool = False) -> Any:
    order = indices[-1] if ordered else None
    if ordered:
        indices = indices[:-1]
    out = xp.array(x)
    if order is not None and getattr(v, "ndim", 0) > 0:
        v = xp.broadcast_to(v, order.shape).reshape(-1)[order]
    out[joined(index, indices)] = v
    return out


def _index_set_x(
    xp: Any, g: Any, y: Any, x: Any, v: Any, *indices: Any, index: Any, ordered: bool
) -> Any:
    return xp.index_set(g, 0, *(indices[:-1] if ordered else indices), index=index)


def _index_set_v(
    xp: Any, g: Any, y: Any, x: Any, v: Any, *indices: Any, index: Any, ordered: bool
) -> Any:
    if not ordered:
        return xp.getitem(g, *indices, index=index)
    d = xp.getitem(g, *indices[:-1], index=index)
    return xp.where(_wins(xp, indices[-1]), d, xp.zeros_like(d))


op("index_set", _index_set, vjp=[_index_set_x, _index_set_v], saves="indices",
   kind="linear", moves=True, chooses=True, operands="real cast whole", public="",
   samples=[Sample((4,), (), index=1), Sample((5,), (2,), index=slice(None, None, -3)),
            Sample((2, 3), (2, 1), index=(slice(None), slice(0, 2))),
            Sample((2, 3), (3,), index=(Ellipsis, None, 1, slice(None))),
            Sample((3,), (2,), MASK, index=ARRAY),
            Sample((4,), (3,), np.array([2, 0, -2]), np.array([2, 1, 2]), index=ARRAY,
                   ordered=True),
            Sample((3, 2), (1,), np.array([2, 2]), np.array([[2, 3], [2, 3]]), index=ARRAY,
                   ordered=True)],
   doc="A copy of x with v at an index. With ``ordered`` the last of the arrays tells which of "
       "several values for one element wins: see `last_of_each`.")  # fmt: skip
