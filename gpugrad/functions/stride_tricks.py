"""Windows of an array, and arrays broadcast to one shape. Imports operands and tensor."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.operands import all_or_numbers
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = ["broadcast_arrays", "broadcast_shapes", "sliding_window_view"]


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape to which shapes broadcast; ShapeError where they do not.

    >>> import gpugrad as gg
    >>> gg.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise ShapeError(
            f"broadcast_shapes: {', '.join(map(str, shapes))} do not broadcast: each axis, "
            "counted from the last, must have one size, or 1"
        ) from error


def broadcast_arrays(*arrays: Any) -> tuple[Tensor, ...]:
    """Arrays broadcast to a common shape."""
    tensors = [as_tensor(array) for array in arrays]
    shape = broadcast_shapes(*(x.shape for x in tensors))
    return tuple(x if x.shape == shape else OPS["broadcast_to"](x, shape) for x in tensors)


def sliding_window_view(x: Any, window_shape: Any, axis: Any = None) -> Tensor:
    """All windows of a shape that fit into x, their elements along new axes at the end.

    ``window_shape`` is a size, or one for each axis that ``axis`` names; without ``axis`` one
    for every axis. The windows serve a convolution or a moving mean, say.

    >>> import gpugrad as gg
    >>> gg.sliding_window_view(gg.arange(5), 3).tolist()
    [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    """
    x = as_tensor(x)
    window_sizes = window_shape if isinstance(window_shape, tuple | list) else (window_shape,)
    if not all(isinstance(size, int | np.integer) for size in window_sizes):
        raise DTypeError(f"sliding_window_view: expected whole numbers, got {window_shape!r}")
    sizes = tuple(int(size) for size in window_sizes)
    axes = all_or_numbers("sliding_window_view", axis, x.ndim)
    if len(sizes) != len(axes):
        raise ShapeError(
            f"sliding_window_view: expected a size for each of {len(axes)} axes, got {sizes}. "
            "Name the axes that the windows slide along with axis="
        )
    left = list(x.shape)
    for number, size in zip(axes, sizes, strict=True):
        left[number] -= size - 1
    if min(sizes, default=0) < 0 or min(left, default=1) < 1:
        raise ShapeError(
            f"sliding_window_view: a window of shape {sizes} does not fit along the axes {axes} "
            f"of shape {x.shape}"
        )
    result: Tensor = OPS["windows"](x, sizes=sizes, axes=axes)
    return result
