"""Sums of elements by bin, segment or position.

Imports manipulation, operands and tensor.
"""

from typing import Any

import numpy as np

from gpugrad.errors import DTypeError, IndexingError, ShapeError
from gpugrad.functions.operands import check_one_device, floating, without_lists, xp_of
from gpugrad.ops.index import ARRAY
from gpugrad.tensor import OPS, Tensor, as_tensor, asarray, indices
from gpugrad.tensor.creation import ones_like

__all__ = ["bincount", "scatter_add", "segment_sum"]


def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Tensor:
    """The count of each whole number 0, 1, ... in x, or the sum of its ``weights``.

    The gradient of a sum goes to its weights, whose dtype it has. ShapeError for negative
    numbers. Waits for the device, as the size of the result depends on values; `segment_sum`
    can do without. Inside of `vmap` all results have ``minlength`` numbers.

    >>> import gpugrad as gg
    >>> gg.bincount(gg.arange(3) % 2, weights=gg.tensor([0.5, 1.0, 2.0]))
    tensor([2.5, 1. ])
    """
    x = asarray(x).detach()
    if x.dtype == bool:
        x = x.astype("int64")  # as an index it would be a mask
    if x.ndim != 1 or x.dtype.kind not in "iub":
        raise DTypeError(f"bincount: expected a vector of whole numbers, got {x.dtype}, {x.shape}")
    if minlength < 0:
        raise ShapeError(f"bincount: expected minlength of 0 or more, got {minlength}")
    if getattr(xp_of(x), "batched", False):
        return _batched_counts(x, weights, minlength)
    low, high = (x.min().item(), x.max().item()) if x.size else (0, -1)
    if low < 0:
        raise ShapeError(f"bincount: expected no negative numbers, got {low}")
    if weights is None:
        return Tensor(xp_of(x).bincount(x.data, minlength=minlength))
    weights = as_tensor(weights, device=None if hasattr(weights, "dtype") else x.device)
    if weights.shape != x.shape:
        raise ShapeError(f"bincount: expected {x.size} weights, got shape {weights.shape}")
    return _summed(floating(weights), x, max(high + 1, minlength))


def _batched_counts(x: Tensor, weights: Any, size: int) -> Tensor:
    """`bincount` of other numbers for each element of a batch, with results of one size.

    On a device, which is not waited for, numbers out of range are not counted.
    """
    message = (
        f"bincount: inside of vmap all results have minlength= numbers, got {size}, and a number "
        "that is not counted so. Pass one larger than every number, of which none is negative"
    )
    if x.size and not size:
        raise ShapeError(message)
    weights = ones_like(x, dtype="int64") if weights is None else floating(as_tensor(weights))
    if weights.shape != x.shape:
        raise ShapeError(f"bincount: expected {x.size} weights, got shape {weights.shape}")
    # There is one count more for what is out of range, and on the host none for that.
    aside = size + (x.device.kind == "cpu")
    inside = (x >= 0) & (x < size)
    try:
        return _summed(weights, OPS["where"](inside, x, aside), size + 1)[:-1]
    except IndexingError as error:
        raise ShapeError(message) from error


def _summed(data: Tensor, numbers: Tensor, count: int) -> Tensor:
    check_one_device("segment_sum", data, numbers)
    shape = (count, *data.shape[numbers.ndim :])
    return OPS["scatter"](data, numbers, index=ARRAY, shape=shape)


def segment_sum(data: Any, segment_ids: Any, /, num_segments: int | None = None) -> Tensor:
    """The sums of the rows of ``data`` that have the same number in ``segment_ids``.

    Numbers may have any order. ``num_segments`` is the number of sums; without it the largest
    number gives it, for which the host waits. Numbers out of range raise IndexingError; those on
    a GPU are checked in `debug_mode` only, and wrap around elsewhere. On a GPU the order of the
    sums, and so their rounding, is the same in every run under `deterministic` only.

    >>> import gpugrad as gg
    >>> gg.segment_sum(gg.tensor([1.0, 2.0, 4.0]), gg.tensor([0, 2, 0], dtype="int64"), 3)
    tensor([5., 0., 2.])
    """
    data = as_tensor(data)
    numbers = indices.raw_part(segment_ids)
    if getattr(numbers, "dtype", np.dtype("O")).kind not in "iu":
        dtype = getattr(numbers, "dtype", type(numbers).__name__)
        raise DTypeError(f"segment_sum: expected whole numbers, got {dtype}")
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
    """A copy of x with ``values`` added to its elements at ``index``; repeated indices accumulate.

    The same as ``x.at[index].add(values)``.
    """
    return as_tensor(without_lists(x, values)[0]).at[index].add(values)
