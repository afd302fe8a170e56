"""Selecting elements by an index, and its transpose. Imports engine and ordered.

An index is what NumPy takes: integers, slices, Ellipsis, None, integer arrays, boolean
masks, or a tuple of these, all of them raw arrays.

An assignment through an index that comes up twice is undefined in CuPy. Here the last one
wins on every device: it is decided by positions (`last_of_each`), not by the order of writes.
"""

from typing import Any

import numpy as np

from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import is_deterministic
from gpugrad.engine.op import Sample, op
from gpugrad.ops.ordered import sums_in_order


def is_basic(index: Any) -> bool:
    """Whether an index selects each element once at most: no arrays in it."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or isinstance(part, slice | int | np.integer)
        for part in parts
    )


def _is_mask(part: Any) -> bool:
    return getattr(part, "dtype", None) == np.bool_ and part.ndim > 0


def may_repeat(index: Any) -> bool:
    """Whether an index may select an element twice: it has an integer array of two or more."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(
        getattr(part, "ndim", 0) > 0 and part.size > 1 and part.dtype != np.bool_ for part in parts
    )


def without_masks(index: Any) -> Any:
    """An equal index with integer arrays in the place of masks."""
    parts = index if isinstance(index, tuple) else (index,)
    if not any(map(_is_mask, parts)):
        return index
    return tuple(one for part in parts for one in (part.nonzero() if _is_mask(part) else (part,)))


def last_of_each(xp: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """For each place of x[index], the number of the last place that selects the same element."""
    size = 1
    for length in shape:
        size *= length
    places = xp.arange(size).reshape(shape)[index]
    flat = places.reshape(-1)
    last = xp.full(size, -1)
    xp.maximum_at(last, flat, xp.arange(flat.size))
    return last[places]


def _wins(order: Any) -> Any:
    """Where the number of a place is its own."""
    own = namespace_of(order).arange(order.size)
    return order == own.reshape(order.shape)


def _scatter(xp: Any, g: Any, /, index: Any, shape: tuple[int, ...]) -> Any:
    if not may_repeat(index):
        out = xp.full_like(g, 0, shape=shape)
        out[index] = g
        return out
    # CuPy's add.at counts a repeated element once where there is a mask beside it.
    index = without_masks(index)
    if xp.atomic is not None and (is_deterministic() or g.dtype.char not in xp.atomic):
        return sums_in_order(xp, g, index if isinstance(index, tuple) else (index,), shape)
    out = xp.full_like(g, 0, shape=shape)
    xp.add_at(out, index, g)
    return out


op(
    "scatter",
    _scatter,
    vjp=[lambda xp, g, y, x, index, shape: g[index]],
    kind="linear",
    moves=True,
    samples=[
        Sample((3,), index=slice(1, 4), shape=(5,)),
        Sample((2, 3), index=(slice(None), slice(0, 3)), shape=(2, 4)),
    ],
    public="",
    doc="Zeros of a shape, to whose elements at ``index`` g is added: the transpose of indexing.",
)


def _getitem(xp: Any, x: Any, /, index: Any) -> Any:
    y = x[index]
    if y.ndim == 0 and not xp.owns_buffer(y):
        # An element is a value of its own in NumPy, in CuPy a view of x.
        parts = index if isinstance(index, tuple) else (index,)
        if all(isinstance(part, int | np.integer) for part in parts) and parts:
            return xp.copy(y)
    return y


def _add_at(xp: Any, total: Any, g: Any, x: Any, index: Any) -> bool:
    """Add to the elements at an index that selects none of them twice."""
    if total.ndim == 0 or total.dtype != g.dtype or not is_basic(index):
        return False
    total[index] += g
    return True


op(
    "getitem",
    _getitem,
    vjp=[lambda xp, g, y, x, index: xp.scatter(g, index=index, shape=x.shape)],
    adds=[_add_at],
    kind="linear",
    moves=True,
    chooses=True,
    samples=[
        Sample((4,), index=1),
        Sample((2, 3), index=(slice(None), 1)),
        Sample((2, 3, 4), index=(Ellipsis, None, slice(None, None, -2))),
    ],
    public="",
    doc="x[index].",
)


def _index_set(xp: Any, x: Any, v: Any, /, index: Any, order: Any = None) -> Any:
    out = xp.array(x)
    if order is not None and getattr(v, "ndim", 0) > 0:
        v = xp.broadcast_to(v, order.shape).reshape(-1)[order]
    out[index] = v
    return out


def _selected(xp: Any, g: Any, index: Any, order: Any) -> Any:
    d = g[index]
    return d if order is None else xp.where(_wins(order), d, xp.zeros_like(d))


op(
    "index_set",
    _index_set,
    vjp=[
        lambda xp, g, y, x, v, index, order: xp.index_set(g, 0, index=index),
        lambda xp, g, y, x, v, index, order: _selected(xp, g, index, order),
    ],
    kind="linear",
    moves=True,
    chooses=True,
    samples=[
        Sample((4,), (), index=1),
        Sample((5,), (2,), index=slice(None, None, -3)),
        Sample((2, 3), (2, 1), index=(slice(None), slice(0, 2))),
        Sample((2, 3), (3,), index=(Ellipsis, None, 1, slice(None))),
        Sample((4,), (2,), index=np.array([True, False, True, False])),
        Sample((4,), (3,), index=np.array([2, 0, -2]), order=np.array([2, 1, 2])),
        Sample((3, 2), (1,), index=np.array([2, 2]), order=np.array([[2, 3], [2, 3]])),
    ],
    operands="real cast",
    public="",
    doc="A copy of x with v at ``index``, ``order`` telling (`last_of_each`) which of many wins.",
)
