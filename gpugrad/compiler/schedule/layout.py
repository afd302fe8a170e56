"""Which elements of an array a view reads, and in which order. Imports program.

A layout is a shape, strides and an offset, counted in elements of a C-contiguous array. NumPy
computes it: a step that makes a view is applied to an array of the layout's shape and strides whose
memory nobody reads.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gpugrad.compiler.programs.arena import result_layout
from gpugrad.compiler.programs.program import Step, Value, function_of

__all__ = [
    "Layout", "broadcast", "contiguous", "in_order", "is_even", "is_for_blas", "layout_of",
    "matrices_of", "order_of", "parts_of", "permuted", "reduced", "result_order", "squeezed",
    "strides_in", "transposed", "view_of", "with_axes",
]  # fmt: skip

# Steps that always give a view of a real array; others copy for some operands.
_VIEWS = frozenset((
    "broadcast_to", "diagonal", "expand", "expand_dims", "flip", "fliplr", "flipud", "get_item",
    "matrix_transpose", "moveaxis", "permute_dims", "ravel", "real", "reshape", "rollaxis",
    "squeeze", "swapaxes", "transpose", "windows",
))  # fmt: skip
# Those of which the shape of the result says all, so that NumPy need not copy.
_BY_SHAPE = ("reshape", "ravel")
_BROADCASTS = ("broadcast_to", "expand")


class Layout(NamedTuple):
    """Element (i, j) of a view is element ``offset + i * strides[0] + j * strides[1]``."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def is_contiguous(self) -> bool:
        """Whether the view has the first elements of the array, in their order."""
        return self.offset == 0 and squeezed(self) == _of_squeezed(self.shape)


def contiguous(shape: Sequence[int]) -> Layout:
    """The layout of a C-contiguous array.

    >>> contiguous((2, 3)).strides
    (3, 1)
    """
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return Layout(tuple(shape), tuple(reversed(strides)), 0)


# The order of axes in memory: of the outermost first.


def in_order(shape: Sequence[int], order: Sequence[int]) -> Layout:
    """The layout of an array without gaps whose axes are in an order in memory.

    >>> in_order((2, 3), (1, 0)).strides
    (1, 2)
    """
    strides = dict(zip(order, contiguous([shape[axis] for axis in order]).strides))
    return Layout(tuple(shape), tuple(strides[axis] for axis in range(len(shape))), 0)


def order_of(layout: Layout) -> tuple[int, ...] | None:
    """The order of the axes in memory; None of a layout that is not all of an array.

    >>> order_of(Layout((4, 2, 3), (3, 12, 1), 0))
    (1, 0, 2)
    """
    order = _by_stride(layout.shape, layout.strides)
    same = squeezed(in_order(layout.shape, order)) == squeezed(layout)
    return order if same and not layout.offset else None


def _by_stride(shape: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """The axes by their strides, the largest first; those of length 1 come before."""
    axes = [axis for axis, size in enumerate(shape) if size != 1]
    longer = sorted(axes, key=lambda axis: -strides[axis])
    if longer == axes:
        return tuple(range(len(shape)))
    return (*(axis for axis, size in enumerate(shape) if size == 1), *longer)


def permuted(layout: Layout, order: Sequence[int]) -> Layout:
    """A layout with its axes in another order."""
    shape, strides = ([one[axis] for axis in order] for one in (layout.shape, layout.strides))
    return Layout(tuple(shape), tuple(strides), layout.offset)


def layout_of(value: Value) -> Layout:
    """The layout of an array that is given, or that NumPy computes; without gaps, or C-contiguous.

    It is that of the array that was recorded; one that lies otherwise is copied.
    """
    if value.strides is None:
        return contiguous(value.shape)
    size = np.dtype(value.dtype).itemsize
    strides = tuple(stride // size for stride in value.strides)
    layout = Layout(value.shape, strides, 0)
    return layout if order_of(layout) is not None else contiguous(value.shape)


def result_order(layouts: Sequence[Layout], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The order that NumPy gives to the result of a ufunc of arrays with some layouts."""
    arrays: list[Any] = [
        as_strided(np.empty(1, np.int8), one.shape, one.strides) for one in layouts if one.shape
    ]
    return _by_stride(shape, result_layout(arrays, shape, np.dtype(np.int8)).strides)


def squeezed(layout: Layout) -> tuple[int, ...]:
    """The strides of the axes that are longer than 1."""
    return tuple(stride for size, stride in zip(layout.shape, layout.strides) if size != 1)


def _of_squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return contiguous([size for size in shape if size != 1]).strides


def strides_in(layout: Layout, shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of a layout broadcast to a shape, for the axes of it that are longer than 1.

    >>> strides_in(contiguous((3, 1)), (2, 3, 4))
    (0, 1, 0)
    """
    own = [0 if size == 1 else stride for size, stride in zip(layout.shape, layout.strides)]
    more = len(own) - len(shape)  # an assigned value may have more axes, of length 1
    strides = own[more:] if more > 0 else [0] * -more + own
    return tuple(stride for size, stride in zip(shape, strides) if size != 1)


def with_axes(layout: Layout, shape: Sequence[int]) -> Layout:
    """The layout in a shape that has other axes of length 1."""
    strides = iter(squeezed(layout))
    return Layout(tuple(shape), tuple(0 if n == 1 else next(strides) for n in shape), layout.offset)


def view_of(layout: Layout, step: Step) -> Layout | None:
    """The layout of what a step gives, if that is a view; None where it is a copy, or no view."""
    name, operands = step.name, step.operands[1:]
    if name not in _VIEWS or prod(layout.shape) == 0:
        return None
    if any(isinstance(one, Value) for one in step.values() if one is not step.operands[0]):
        return None
    array: Any = as_strided(np.empty(1, np.int8), layout.shape, layout.strides)
    shape = step.results[0].shape
    if name in _BY_SHAPE:
        if step.parameters.get("order", "C") != "C" or (name == "ravel" and operands):
            return None
        view = _reshaped(array, shape)
        if view is None:
            return None
    elif name in _BROADCASTS:
        view = np.broadcast_to(array, shape)
    elif name == "get_item":
        index = operands[0] if isinstance(operands[0], tuple) else (operands[0],)
        if not all(map(_is_basic, index)):
            return None
        # With an ellipsis the element of a full index is a view, too.
        view = array[index if any(part is Ellipsis for part in index) else (*index, ...)]
    else:
        view = function_of(array, name)(array, *operands, **step.parameters)
    if not isinstance(view, np.ndarray):
        return layout  # flip gives the number in an array without axes
    if view.shape != shape:
        return None
    moved = view.__array_interface__["data"][0] - array.__array_interface__["data"][0]
    return Layout(shape, view.strides, layout.offset + moved)


def _reshaped(array: Any, shape: tuple[int, ...]) -> Any:
    """A view of an array in another shape; None where it takes a copy."""
    try:
        return np.reshape(array, shape, copy=False)
    except ValueError:
        return None


def _is_basic(part: Any) -> bool:
    """Whether a part of an index selects without a copy."""
    if isinstance(part, bool | np.bool_):
        return False
    return part is None or part is Ellipsis or isinstance(part, int | np.integer | slice)


# Products.


def transposed(layout: Layout) -> Layout:
    """A matrix, transposed."""
    return Layout(layout.shape[::-1], layout.strides[::-1], layout.offset)


def matrices_of(a: Layout, b: Layout) -> tuple[Layout, Layout]:
    """The operands of a product as matrices, or as stacks of matrices of one batch shape."""
    if len(a.shape) == 1:
        a = Layout((1, *a.shape), (0, *a.strides), a.offset)
    if len(b.shape) == 1:
        b = Layout((*b.shape, 1), (*b.strides, 0), b.offset)
    if len(a.shape) > 2 == len(b.shape):  # a stack of rows times one matrix
        rows = (prod(a.shape[:-1]), a.shape[-1])
        given, flat = Value(a.shape, None), Value(rows, None)
        view = view_of(a, Step("reshape", (given, rows), {}, (flat,)))
        if view is not None:
            return view, b
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return broadcast(a, (*batch, *a.shape[-2:])), broadcast(b, (*batch, *b.shape[-2:]))


def broadcast(layout: Layout, shape: tuple[int, ...]) -> Layout:
    """A layout broadcast to a shape."""
    ahead = len(shape) - len(layout.shape)
    strides = (0,) * ahead + tuple(
        0 if own == 1 != size else stride
        for size, own, stride in zip(shape[ahead:], layout.shape, layout.strides)
    )
    return Layout(shape, strides, layout.offset)


def is_for_blas(layout: Layout) -> bool:
    """Whether BLAS takes a matrix as it is: its rows or its columns lie side by side."""
    (rows, columns), (down, along) = layout.shape[-2:], layout.strides[-2:]
    by_rows = (along == 1 or columns == 1) and (down >= columns or rows == 1)
    by_columns = (down == 1 or rows == 1) and (along >= rows or columns == 1)
    return by_rows or by_columns


def is_even(layout: Layout) -> bool:
    """Whether the matrices of a stack are evenly apart, as cuBLAS takes them in one call.

    >>> is_even(contiguous((2, 3, 4, 5))), is_even(Layout((2, 3, 4, 5), (60, 5, 15, 1), 0))
    (True, False)
    """
    steps = [(n, step) for n, step in zip(layout.shape[:-2], layout.strides[:-2]) if n != 1]
    return all(outer == n * inner for (_, outer), (n, inner) in pairwise(steps))


# Arrays that are put together.


def parts_of(step: Step) -> list[tuple[Layout, Any]] | None:
    """Layouts of the result of a step, and the operand that is copied to each, later ones on top.

    None for other steps than item assignment at a basic index, its transpose, concatenation and
    padding.
    """
    whole = contiguous(step.results[0].shape)
    if step.name == "scatter" and len(step.operands) == 1:
        layout = _through(whole, [("get_item", (step.parameters["index"],), {})])
        return None if layout is None else [(whole, 0), (layout, step.operands[0])]
    if step.name == "pad":
        return _inside(step, whole)
    if step.parameters.keys() - {"axis"}:
        return None
    if step.name in ("set_item", "set_view"):
        array, place, value = step.operands
        views = [("get_item", (place,), {})] if step.name == "set_item" else place
        if not isinstance(array, Value) or isinstance(value, tuple | list):
            return None
        layout = _through(whole, views)
        return None if layout is None else [(whole, array), (layout, value)]
    if step.name in ("concat", "concatenate", "stack") and isinstance(
        step.operands[0], tuple | list
    ):
        return _joined(step, whole)
    return None


def _through(layout: Layout, views: Any) -> Layout | None:
    """The layout of a view of a view of an array."""
    for name, operands, parameters in views:
        stand_in = np.broadcast_to(np.int8(0), layout.shape)
        try:
            shape = function_of(stand_in, name)(stand_in, *operands, **parameters).shape
        except (TypeError, IndexError):  # an index that holds values
            return None
        given, result = Value(layout.shape, None), Value(shape, None)
        viewed = view_of(layout, Step(name, (given, *operands), parameters, (result,)))
        if viewed is None or 0 in shape:
            return None
        layout = viewed
    return layout


def _inside(step: Step, whole: Layout) -> list[tuple[Layout, Any]] | None:
    """The parts of an array with one number around it."""
    array, width, *mode = step.operands
    number = step.parameters.get("constant_values", 0)
    others = step.parameters.keys() - {"constant_values", "mode"}
    constant = {*mode, step.parameters.get("mode", "constant")} == {"constant"}
    if others or not constant or not isinstance(number, int | float):
        return None
    pairs = np.broadcast_to(width, (len(whole.shape), 2))
    index = tuple(slice(low, low + n) for (low, _), n in zip(pairs.tolist(), array.shape))
    layout = _through(whole, [("get_item", (index,), {})])
    return None if layout is None else [(whole, number), (layout, array)]


def _joined(step: Step, whole: Layout) -> list[tuple[Layout, Any]] | None:
    axis = step.parameters.get("axis", (*step.operands[1:], 0)[0])
    if len(step.operands) > 2 or not isinstance(axis, int):
        return None
    axis %= len(whole.shape)
    parts, start = [], 0
    for operand in step.operands[0]:
        if not isinstance(operand, Value):
            return None
        size = 1 if step.name == "stack" else operand.shape[axis]
        shape, strides = list(whole.shape), list(whole.strides)
        shape[axis] = size
        if step.name == "stack":
            del shape[axis], strides[axis]
        offset = start * whole.strides[axis]
        parts.append((Layout(tuple(shape), tuple(strides), offset), operand))
        start += size
    return parts


def reduced(
    shape: tuple[int, ...], axes: tuple[int, ...], order: Sequence[int]
) -> tuple[tuple[int, ...], Layout]:
    """The axes of a sum in an order, and the layout of its result: among the longer axes."""
    longer = [axis for axis, size in enumerate(shape) if size != 1]
    places = [longer.index(axis) for axis in order if shape[axis] != 1]
    sizes = [shape[axis] for axis in longer]
    outside = [axis for axis in places if axis not in axes]
    layout = permuted(
        in_order(sizes, [*axes, *outside]), [i for i in range(len(sizes)) if i not in axes]
    )
    return tuple(sorted(map(places.index, axes))), layout
