"""NumPy's pad in all of its modes.

Imports manipulation, operands and tensor. As in NumPy each axis is padded in turn. The pieces are
slices that are joined, so the graph has slices only and no index is sent to a device.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.backend.precision import kind_of
from gpugrad.engine.messages import is_whole
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.manipulation import concat, slices
from gpugrad.functions.operands import along_axis, with_size
from gpugrad.tensor import OPS, TENSORS, Tensor, as_tensor

__all__ = ["pad"]

# The keywords of each mode.
MODES: dict[str, tuple[str, ...]] = {
    "constant": ("constant_values",), "edge": (), "empty": (), "linear_ramp": ("end_values",),
    "maximum": ("stat_length",), "mean": ("stat_length",), "median": ("stat_length",),
    "minimum": ("stat_length",), "reflect": ("reflect_type",), "symmetric": ("reflect_type",),
    "wrap": (),
}  # fmt: skip


def pad(x: Any, /, pad_width: Any, mode: str = "constant", **options: Any) -> Tensor:
    """x padded with ``pad_width`` elements before and after each axis, in NumPy's forms.

    ``mode`` is "constant" (``constant_values=0``), "edge", "reflect" and "symmetric"
    (``reflect_type="even"`` or "odd"), "wrap", "linear_ramp" (``end_values=0``), "maximum",
    "minimum", "mean" and "median" (``stat_length``) or "empty" (zeros here). The gradients of all
    copies of an element are added up. ``constant_values`` and ``end_values`` are numbers, in the
    forms of ``pad_width``, or one 0-d tensor. ShapeError for an unknown mode, for widths that do
    not fit, and for an empty axis, which has nothing to repeat.

    >>> import gpugrad as gg
    >>> gg.pad(gg.arange(3), (2, 1), mode="reflect")
    tensor([2, 1, 0, 1, 2, 1])
    """
    x = as_tensor(x)
    if mode not in MODES:
        raise ShapeError(f"pad: expected one of the modes {', '.join(MODES)}, got {mode!r}")
    for option in options:
        if option not in MODES[mode]:
            takes = ", ".join(MODES[mode]) or "no further argument"
            raise DTypeError(f"pad: mode {mode!r} takes {takes}, got {option!r}")
    widths = _widths(x.ndim, pad_width)
    if mode in ("constant", "empty"):
        return _constant(x, widths, options.get("constant_values", 0))
    if mode == "linear_ramp":
        ends = _pairs(x.ndim, "end_values", options.get("end_values", 0))
        return _each_axis(x, widths, lambda y, axis, w: _ramp(y, axis, w, ends[axis]))
    if mode in STATISTICS:
        lengths = _lengths(x, options.get("stat_length"))
        return _each_axis(x, widths, lambda y, axis, w: _statistic(y, axis, w, mode, lengths[axis]))
    reflect_type = options.get("reflect_type", "even")
    if reflect_type not in ("even", "odd"):
        raise ShapeError(f"pad: expected reflect_type 'even' or 'odd', got {reflect_type!r}")
    odd = reflect_type == "odd"
    return _each_axis(x, widths, lambda y, axis, w: _repeated(y, axis, w, mode, odd))


def _each_axis(
    x: Tensor, widths: tuple[tuple[int, int], ...], one: Callable[..., list[Tensor]]
) -> Tensor:
    """x padded axis by axis; ``one`` returns the pieces of a padded axis."""
    for axis, width in enumerate(widths):
        if width == (0, 0):
            continue
        if x.shape[axis] == 0:
            raise ShapeError(f"pad: axis {axis} of shape {x.shape} is empty: nothing to repeat")
        x = concat([piece for piece in one(x, axis, width) if piece.shape[axis]], axis=axis)
    return x


def _widths(ndim: int, pad_width: Any) -> tuple[tuple[int, int], ...]:
    """The number of elements to add before and after each axis."""
    if isinstance(pad_width, dict):  # by axis
        by_axis = {axis % max(ndim, 1): width for axis, width in pad_width.items()}
        pad_width = [np.broadcast_to(by_axis.get(axis, 0), 2).tolist() for axis in range(ndim)]
    widths = _pairs(ndim, "pad_width", pad_width)
    if any(not is_whole(width, 0) for pair in widths for width in pair):
        raise ShapeError(f"pad: expected whole numbers of 0 or more, got {pad_width!r}")
    return tuple(widths)


def _pairs(ndim: int, name: str, values: Any) -> list[tuple[Any, Any]]:
    """The values before and after each axis."""
    if isinstance(values, Tensor):
        if values.ndim:
            raise ShapeError(f"pad: expected {name} as numbers or a 0-d tensor, got {values.shape}")
        return [(values, values)] * ndim
    try:
        return [(a, b) for a, b in np.broadcast_to(np.asarray(values), (ndim, 2)).tolist()]
    except ValueError as error:
        raise ShapeError(
            f"pad: expected {name} as a number, a pair, or a pair for each of {ndim} axes, "
            f"got {values!r}"
        ) from error


def _constant(x: Tensor, widths: tuple[tuple[int, int], ...], values: Any) -> Tensor:
    if not isinstance(values, Tensor) and np.all(np.equal(values, 0)):
        return OPS["pad_zeros"](x, widths)
    for axis, (counts, ends) in enumerate(zip(widths, _pairs(x.ndim, "constant_values", values))):
        before, after = (
            TENSORS.full_like(x.detach(), end, shape=with_size(x.shape, axis, count))
            for count, end in zip(counts, ends)
        )
        x = concat([before, x, after], axis=axis) if any(counts) else x
    return x


def _repeated(x: Tensor, axis: int, width: tuple[int, int], mode: str, odd: bool) -> list[Tensor]:
    """The pieces of an axis that repeats or mirrors itself."""
    size = x.shape[axis]
    if odd and mode != "wrap" and mode != "edge" and (size > 1 or mode == "symmetric"):
        return _mirrored_odd(x, axis, width, mode)
    # NumPy gives the index of each element; runs of neighbours become slices.
    sources = np.pad(np.arange(size), width, mode=mode)  # type: ignore[call-overload]
    pieces = []
    start = 0
    while start < sources.size:
        stop = start + 1
        step = int(sources[stop] - sources[start]) if stop < sources.size else 0
        step = step if step in (-1, 1) else 0
        while stop < sources.size and sources[stop] - sources[stop - 1] == step:
            stop += 1
        first, count = int(sources[start]), stop - start
        if step == 0 or count == 1:
            one = slices(x, axis, first, first + 1)
            shape = with_size(x.shape, axis, count)
            pieces.append(one if count == 1 else OPS["broadcast_to"](one, shape))
        else:
            pieces.append(_neighbours(x, axis, first, count, step))
        start = stop
    return pieces


def _neighbours(x: Tensor, axis: int, first: int, count: int, step: int) -> Tensor:
    """``count`` neighbours from the position ``first`` on, downwards with step -1."""
    stop = first + step * count
    return slices(x, axis, first, None if stop < 0 else stop, step)


def _mirrored_odd(x: Tensor, axis: int, width: tuple[int, int], mode: str) -> list[Tensor]:
    """The pieces of an axis that is mirrored at its ends through the elements there.

    Each mirroring f(-k) = 2 f(0) - f(k) turns the sign; two of them add twice the difference of
    the ends. Reflection leaves the ends out of the mirror image, symmetry has them in it.
    """
    size = x.shape[axis]
    period = size - 1 if mode == "reflect" else size
    low, high = slices(x, axis, 0, 1), slices(x, axis, size - 1, size)
    pieces = []
    for turn in range(width[0] // -period, (size + width[1]) // period + 1):
        start, stop = max(turn * period, -width[0]), min((turn + 1) * period, size + width[1])
        if turn == 0:
            start, stop = 0, size  # whole, with the end that reflection shares
        elif turn > 0:
            start = max(start, size)
        if start >= stop:
            continue
        twice, odd = divmod(turn, 2)
        offset = 2.0 * twice if kind_of(x.dtype) == "f" else 2 * twice
        first = start - turn * period
        if odd:
            piece = 2 * high - _neighbours(x, axis, size - 1 - first, stop - start, -1)
        else:
            piece = _neighbours(x, axis, first, stop - start, 1)
        pieces.append(piece if not twice else piece + (high - low) * offset)
    return pieces


def _ramp(x: Tensor, axis: int, width: tuple[int, int], ends: tuple[Any, Any]) -> list[Tensor]:
    """The pieces of an axis with a straight line from its ends to the given values."""
    size = x.shape[axis]
    edges = slices(x, axis, 0, 1), slices(x, axis, size - 1, size)
    integer = x.dtype.kind in "iu"
    pieces = []
    for after, (edge, count, end) in enumerate(zip(edges, width, ends, strict=True)):
        share = np.arange(count) / max(count, 1)
        share = (share[::-1] if after else share).astype("float64" if integer else x.dtype)
        along = as_tensor(along_axis(share, axis, x.ndim), device=x.device)
        line = end + (edge - end) * along
        pieces.append(OPS["floor"](line).astype(x.dtype) if integer else line)
    return [pieces[0], x, pieces[1]]


STATISTICS = ("maximum", "mean", "median", "minimum")


def _lengths(x: Tensor, stat_length: Any) -> list[tuple[int, int]]:
    if stat_length is None:
        return [(size, size) for size in x.shape]
    pairs = _pairs(x.ndim, "stat_length", stat_length)
    if any(not isinstance(n, int) or n < 1 for pair in pairs for n in pair):
        raise ShapeError(f"pad: expected stat_length of 1 or more, got {stat_length!r}")
    return [(min(a, n), min(b, n)) for (a, b), n in zip(pairs, x.shape, strict=True)]


def _statistic(
    x: Tensor, axis: int, width: tuple[int, int], mode: str, lengths: tuple[int, int]
) -> list[Tensor]:
    """The pieces of an axis with a statistic of the elements at each end."""
    size = x.shape[axis]
    ends = slices(x, axis, 0, lengths[0]), slices(x, axis, size - lengths[1], size)
    pieces = []
    for end, count in zip(ends, width, strict=True):
        if mode == "median":
            value = TENSORS.median(end, axis=axis, keepdims=True)
        else:
            name = {"maximum": "max", "minimum": "min"}.get(mode, mode)
            value = OPS[name](end, axis=axis, keepdims=True)
        if value.dtype != x.dtype:
            value = (OPS["rint"](value) if x.dtype.kind in "iu" else value).astype(x.dtype)
        pieces.append(OPS["broadcast_to"](value, with_size(x.shape, axis, count)))
    return [pieces[0], x, pieces[1]]
