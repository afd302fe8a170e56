"""Indices that are arrays: gathered, added up and assigned elements. Imports layout.

An element of the result of ``x[index]`` is at an offset in x that is the sum of two parts: one by
strides, for slices and new axes, and one by the numbers of the arrays.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gpugrad.compiler.programs.program import Step, Value
from gpugrad.compiler.schedule.layout import Layout, broadcast

__all__ = ["Places", "index_of", "places_of"]


class Places(NamedTuple):
    """Where the elements of ``x[index]`` are in x: by strides, and by numbers in arrays.

    ``numbers`` has an operand, the layout in which it is read, the length of the axis and its
    stride in x.
    """

    layout: Layout
    numbers: tuple[tuple[Value, Layout, int, int], ...]


def index_of(step: Step) -> Any:
    """The index of a step whose index has arrays; None of another step."""
    if (step.name, len(step.operands)) in (("get_item", 2), ("set_item", 3)):
        index = step.operands[1]
    elif step.name == "scatter" and len(step.operands) > 1:
        rest = iter(step.operands[1:])
        index = step.parameters["index"]
        parts = index if isinstance(index, tuple) else (index,)
        index = tuple(next(rest) if _is_pattern(part) else part for part in parts)
    else:
        return None
    parts = index if isinstance(index, tuple) else (index,)
    arrays = [part for part in parts if isinstance(part, Value)]
    whole = all(np.dtype(part.dtype).kind in "iu" and not part.weak for part in arrays)
    return parts if arrays and whole else None


def _is_pattern(part: Any) -> bool:
    return not isinstance(part, slice | int | np.integer | type(None) | type(Ellipsis))


def places_of(x: Layout, index: Sequence[Any], layouts: dict[Value, Layout]) -> Places | None:
    """The places of the elements of ``x[index]``; ``layouts`` has those of the arrays.

    None for an index that is no valid one of whole numbers, slices, new axes and arrays.
    """
    taken = sum(part is not None and part is not Ellipsis for part in index)
    if Ellipsis not in [part for part in index if not isinstance(part, Value)]:
        index = (*index, Ellipsis)
    axis, offset = 0, x.offset
    axes: list[tuple[int, int]] = []  # the size and the stride of each
    found: list[tuple[Value, int, int]] = []
    places: list[tuple[int, int]] = []  # of arrays and numbers: among the parts, and the axes
    for number, part in enumerate(index):
        if part is None:
            axes.append((1, 0))
            continue
        if part is Ellipsis:
            rest = len(x.shape) - taken
            axes += zip(x.shape[axis : axis + rest], x.strides[axis : axis + rest])
            axis += rest
            continue
        size, stride = x.shape[axis], x.strides[axis]
        axis += 1
        if isinstance(part, slice):
            start, stop, step = part.indices(size)
            offset += start * stride
            axes.append((len(range(start, stop, step)), step * stride))
            continue
        places.append((number, len(axes)))
        if isinstance(part, Value):
            found.append((part, size, stride))
        elif isinstance(part, int | np.integer) and -size <= part < size:
            offset += int(part) % size * stride
        else:
            return None
    together = np.broadcast_shapes(*(layouts[part].shape for part, _, _ in found))
    beside = places[-1][0] - places[0][0] == len(places) - 1
    at = places[0][1] if beside else 0
    new = [(size, 0) for size in together]
    axes[at:at] = new
    shape = tuple(size for size, _ in axes)
    behind = (1,) * (len(shape) - at - len(together))
    numbers = []
    for part, size, stride in found:
        own = broadcast(layouts[part], together)
        own = Layout((*own.shape, *behind), (*own.strides, *(0,) * len(behind)), own.offset)
        numbers.append((part, broadcast(own, shape), size, stride))
    layout = Layout(shape, tuple(stride for _, stride in axes), offset)
    return Places(layout, tuple(numbers))
