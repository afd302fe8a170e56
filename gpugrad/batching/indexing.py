"""Rules of indices, also of those that are other ones for each element. Imports operands and ops.

An index array with the hidden axis selects beside one that counts the elements of the batch, so
NumPy's rules of several index arrays apply; where they put the axes that the arrays make, in front
or in the place of the first array, `_Places` knows.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.batching.operands import Operands, filled, inner_axis
from gpugrad.errors import BatchError, IndexingError
from gpugrad.ops.index import ARRAY, split

__all__ = ["RULES", "set_item"]


class _Places:
    """An index into an array with the hidden axis, and where the hidden axis of the result is.

    ``index`` selects from the whole array. What it selects has the axes that the index arrays make
    at ``start`` or in front of all; ``inner`` brings them in order, the hidden one first, and
    ``outer`` back.
    """

    def __init__(
        self, operands: Operands, first: int, pattern: Any, shape: tuple[int, ...], held: bool
    ) -> None:
        self.xp = operands.xp
        parts = list(_expanded(pattern, operands, first, shape))
        arrays = [(part, own) for part, own in parts if _is_array(part)]
        self.source = 0  # of the hidden axis, in what is selected
        self.between = 0  # axes of index arrays that stand in front of their place
        if not arrays:
            self.index: tuple[Any, ...] = (slice(None), *[part for part, _ in parts])
            return
        # Beside an array, a number selects as one.
        advanced = [number for number, (part, _) in enumerate(parts) if _selects(part)]
        together = advanced[-1] - advanced[0] == len(advanced) - 1
        start = sum(part is None or isinstance(part, slice) for part, _ in parts[: advanced[0]])
        count = max(part.ndim - own for part, own in arrays)
        index = [_wide(part, own, count) for part, own in parts]
        if not any(own for _, own in arrays):
            self.index = (slice(None), *index)
            self.source = 0 if together else count
            return
        if held:
            every = self.xp.arange_like(arrays[0][0], operands.size)
            index.insert(0, every.reshape((-1, *(1,) * count)))
            self.start, self.between = (start, count) if together else (0, count)
        else:
            self.source = start if together else 0
        self.index = tuple(index)

    def select(self, x: Any) -> Any:
        """What the index selects of an array with the hidden axis."""
        pattern, arrays = split(self.index)
        return self.inner(self.xp.getitem(x, *arrays, index=pattern))

    def inner(self, y: Any) -> Any:
        """What the index selects, with the hidden axis first and the logical ones in order."""
        if self.between:
            y = _moved(self.xp, y, range(1, 1 + self.between), self.start + 1)
        return _moved(self.xp, y, [self.source], 0)

    def outer(self, y: Any) -> Any:
        """The inverse of `inner`."""
        y = _moved(self.xp, y, [0], self.source)
        if self.between:
            y = _moved(self.xp, y, range(self.start + 1, self.start + 1 + self.between), 1)
        return y


def _moved(xp: Any, y: Any, source: Sequence[int], to: int) -> Any:
    """Neighbouring axes moved together, so that the first is ``to``."""
    if source[0] == to:
        return y
    rest = [axis for axis in range(len(y.shape)) if axis not in source]
    return xp.transpose(y, (*rest[:to], *source, *rest[to:]))


def _is_array(part: Any) -> bool:
    return hasattr(part, "dtype") and not isinstance(part, np.generic)


def _selects(part: Any) -> bool:
    return _is_array(part) or isinstance(part, int | np.integer)


def _wide(part: Any, own: bool, count: int) -> Any:
    """An index array with the hidden axis in front of ``count`` others."""
    if not own:
        return part
    return part.reshape((part.shape[0], *(1,) * (count + 1 - part.ndim), *part.shape[1:]))


def _expanded(
    pattern: Any, operands: Operands, first: int, shape: tuple[int, ...]
) -> list[tuple[Any, bool]]:
    """The parts of an index, for each axis and each None, and whether they have the hidden one.

    Masks that are the same for all elements become the numbers of what they hold for.
    """
    arrays = iter(zip(operands.arrays[first:], operands.held[first:]))
    parts: list[tuple[Any, bool]] = []
    masked: dict[int, int] = {}  # sizes of masks, by the number of the part
    for part in pattern if isinstance(pattern, tuple) else (pattern,):
        array, own = next(arrays) if part is ARRAY else (part, False)
        if not isinstance(array, bool | np.bool_) and getattr(array, "dtype", None) == np.bool_:
            if own:
                raise BatchError(
                    "vmap: a mask that is another one for each element selects as many numbers as "
                    "it happens to hold for. Write gg.where(mask, x, 0), or x.at[mask].set(number)"
                )
            masked.update(enumerate(array.shape, len(parts)))
            parts += [(places, False) for places in operands.xp.nonzero(array)]
        else:
            parts.append((array, own))
    missing = len(shape) - sum(part is not None and part is not Ellipsis for part, _ in parts)
    if missing < 0:
        raise IndexingError(f"too many indices for an array of {len(shape)} axes")
    if not any(part is Ellipsis for part, _ in parts):
        parts.append((Ellipsis, False))
    at, *more = [number for number, (part, _) in enumerate(parts) if part is Ellipsis]
    if more:
        raise IndexingError("an index can only have a single ellipsis ('...')")
    for number, size in masked.items():
        axis = sum(part is not None for part, _ in parts[:number]) + (number > at) * (missing - 1)
        if size != shape[axis]:
            raise IndexingError(f"a mask of size {size} for axis {axis} of size {shape[axis]}")
    parts[at : at + 1] = [(slice(None), False)] * missing
    return parts


def _getitem(operands: Operands, index: Any) -> Any:
    x, held = operands.arrays[0], operands.held[0]
    if held and not any(operands.held[1:]) and len(operands.arrays) == 1:
        plain = index if isinstance(index, tuple) else (index,)
        _check_count(plain, operands.ndim(0))
        return x[(slice(None), *plain)]
    places = _Places(operands, 1, index, operands.shape(0), held)
    return places.select(x)


def _check_count(index: tuple[Any, ...], ndim: int) -> None:
    """IndexingError where a basic index has more parts than an array has axes."""
    if sum(part is not None and part is not Ellipsis for part in index) > ndim:
        raise IndexingError(f"too many indices for an array of {ndim} axes")


def _scatter(operands: Operands, index: Any, shape: tuple[int, ...]) -> Any:
    g = operands.arrays[0]
    places = _Places(operands, 1, index, shape, True)
    pattern, arrays = split(places.index)
    xp, whole = operands.xp, (operands.size, *shape)
    # What is added to each may have fewer axes than there are selected.
    each = xp.broadcast_to(xp.zeros_like(g, shape=(1,)), whole)
    g = _spread(operands, g, places.select(each).shape, own=operands.held[0])
    return xp.scatter(places.outer(g), *arrays, index=pattern, shape=whole)


def _index_set(operands: Operands, index: Any, ordered: bool = False) -> Any:
    x, v = operands.arrays[:2]
    xp, size, shape = operands.xp, operands.size, operands.shape(0)
    if not operands.held[0]:
        x = xp.broadcast_to(x, (size, *x.shape))
    if index is ARRAY and operands.held[2] and operands.arrays[2].dtype == np.bool_:
        return _masked(operands, x, v)
    if ordered:
        v = _in_order(operands, v)
        operands.arrays, operands.held = operands.arrays[:-1], operands.held[:-1]
    places = _Places(operands, 2, index, shape, True)
    if getattr(v, "shape", ()) or operands.held[1] or ordered:
        own = operands.held[1] or ordered
        v = places.outer(_spread(operands, v, places.select(x).shape, own))
    pattern, arrays = split(places.index)
    return xp.index_set(x, v, *arrays, index=pattern)


def set_item(operands: Operands, index: Any) -> None:
    """Change an array with the hidden axis in place."""
    x, v = operands.arrays[:2]
    places = _Places(operands, 2, index, operands.shape(0), True)
    if getattr(v, "shape", ()) or operands.held[1]:
        own = operands.held[1]
        v = places.outer(_spread(operands, v, places.select(x).shape, own))
    x[places.index] = v


def _masked(operands: Operands, x: Any, v: Any) -> Any:
    """What a mask that is another one for each element holds for, replaced by one number."""
    xp, mask = operands.xp, operands.arrays[2]
    if operands.ndim(1):
        raise BatchError(
            "vmap: an assignment through a mask that is another one for each element takes one "
            f"number, got an array of shape {operands.shape(1)}. Write gg.where(mask, value, x)"
        )
    mask = mask.reshape((*mask.shape, *(1,) * (len(x.shape) - len(mask.shape))))
    if operands.held[1]:
        v = v.reshape((-1, *(1,) * (len(x.shape) - 1)))
    return xp.where(mask, v, x).astype(x.dtype)


def _spread(operands: Operands, v: Any, shape: tuple[int, ...], own: bool) -> Any:
    """A value with all axes of what it is assigned to; ``own``: it has the hidden one."""
    size, inner = (v.shape[:1], v.shape[1:]) if own else ((1,), v.shape)
    lead = (1,) * (len(shape) - 1 - len(inner))
    return operands.xp.broadcast_to(v.reshape((*size, *lead, *inner)), shape)


def _in_order(operands: Operands, v: Any) -> Any:
    """The values, each replaced by the one for its element that wins, with the hidden axis."""
    order, own = operands.arrays[-1], operands.held[-1]
    shape = order.shape[1:] if own else order.shape
    whole = (operands.size, *shape)
    if not hasattr(v, "shape"):
        return operands.xp.full_like(order, v, shape=whole, dtype=operands.arrays[0].dtype)
    v = _spread(operands, v, whole, own=operands.held[1])
    flat = v.reshape((operands.size, math.prod(shape)))
    if not own:
        return operands.xp.getitem(flat, order, index=(slice(None), ARRAY))
    rows = operands.xp.arange_like(order, operands.size).reshape((-1, *(1,) * len(shape)))
    return operands.xp.getitem(flat, rows, order, index=(ARRAY, ARRAY))


def _along(operands: Operands, axis: Any = None) -> Any:
    """take_along_axis, and the op behind it."""
    x, order, *given = operands.arrays
    axis = given[0] if given else axis
    xp, ndim = operands.xp, operands.ndim(0)
    if axis is None:
        x, ndim, axis = x.reshape((operands.size, -1)) if operands.held[0] else x.reshape(-1), 1, 0
    x, order = (
        array if own else xp.broadcast_to(array, (operands.size, *array.shape))
        for array, own in zip((x, order), operands.held)
    )
    return operands.compute(x, order, axis=inner_axis(axis, ndim))


def _take(operands: Operands, axis: Any = None) -> Any:
    x, places, *given = operands.arrays
    axis = given[0] if given else axis
    own = operands.held
    ndim = operands.ndim(0)
    if axis is None:
        x = x.reshape((operands.size, -1)) if own[0] else x.reshape(-1)
        ndim, axis = 1, 0
    inner = Operands(operands.xp, "getitem", [x, places], own[:2], operands.size, operands.level)
    return _getitem(inner, (*(slice(None),) * (inner_axis(axis, ndim) - 1), ARRAY))


def _last_alike(operands: Operands, size: int) -> Any:
    """As those of one array, in which the numbers of each element are other ones."""
    (places,) = operands.arrays
    xp, lead = operands.xp, (-1, *(1,) * operands.ndim(0))
    rows = xp.arange_like(places, operands.size).reshape(lead)
    last = xp.last_alike(places + rows * size, size=operands.size * size)
    return last - rows * math.prod(places.shape[1:])


def _searchsorted(operands: Operands, side: str = "left") -> Any:
    """By sorting both together: NumPy searches in one vector at a time."""
    xp, (a, v) = operands.xp, operands.arrays
    if not operands.held[0]:
        return xp.searchsorted(a, v, side=side)
    a, v = filled(operands)
    shape, count = v.shape, a.shape[1]
    v = v.reshape((operands.size, math.prod(shape[1:])))
    of_v = slice(None, v.shape[1]) if side == "left" else slice(count, None)
    both = xp.concatenate([v, a] if side == "left" else [a, v], axis=1)
    return (_ranks(xp, both)[:, of_v] - _ranks(xp, v)).reshape(shape)


def _ranks(xp: Any, x: Any) -> Any:
    """Where each number comes in its row when that is sorted, equal ones in their order."""
    return xp.argsort(xp.argsort(x, axis=1), axis=1)


RULES: dict[str, Callable[..., Any]] = {
    "getitem": _getitem,
    "scatter": _scatter,
    "index_set": _index_set,
    "last_alike": _last_alike,
    "searchsorted": _searchsorted,
    **dict.fromkeys(("permuted", "take_along_axis"), _along),
    "take": _take,
}
