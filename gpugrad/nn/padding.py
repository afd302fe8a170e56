"""Padding in PyTorch's order, the last axis first. Imports functions.arraypad and tensor."""

from typing import Any

from gpugrad.engine.messages import is_whole
from gpugrad.errors import ArgumentError, ShapeError
from gpugrad.functions import arraypad
from gpugrad.functions.operands import check_numbers
from gpugrad.tensor import Tensor, as_tensor

__all__ = ["MODES", "pad"]

MODES = ("constant", "reflect", "replicate", "circular")
_NUMPY = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> Tensor:
    """``input`` with elements before and after its last axes.

    ``pad`` lists how many: before and after the last axis, then the one in front of it, and so on;
    with negative numbers the input is cut. ``mode`` is "constant" (``value``, 0 by default),
    "reflect" (the axis mirrored at its ends, which are not repeated), "replicate" (the ends
    repeated) or "circular" (the axis repeated). The gradients of all copies are added up.
    `gpugrad.pad` takes the widths as NumPy does, and its modes. ShapeError where ``pad`` does not
    fit the shape, ArgumentError for another mode.

    >>> import gpugrad as gg
    >>> x = gg.tensor([[1.0, 2.0, 3.0]])
    >>> gg.nn.functional.pad(x, (1, 0))
    tensor([[0., 1., 2., 3.]])
    >>> gg.nn.functional.pad(x, (1, 2), mode="circular")
    tensor([[3., 1., 2., 3., 1., 2.]])
    """
    x = as_tensor(input)
    check_numbers("pad", value=0 if value is None else value)
    if mode not in MODES:
        listed = ", ".join(map(repr, MODES))
        raise ArgumentError(f"pad: mode must be one of {listed}, got {mode!r}")
    if value is not None and mode != "constant":
        raise ArgumentError(f"pad: mode {mode!r} takes no value, got {value!r}")
    widths = _widths(x, pad)
    if mode != "constant":
        _check_fit(x.shape, widths, mode)
    elif min(map(min, widths), default=0) < 0:
        x = x[tuple([_cut(size, *pair) for size, pair in zip(x.shape, widths)])]
        widths = [(max(low, 0), max(high, 0)) for low, high in widths]
    if not any(map(any, widths)):
        return x
    options = {"constant_values": 0 if value is None else value} if mode == "constant" else {}
    return arraypad.pad(x, tuple(widths), _NUMPY[mode], **options)


def _widths(x: Tensor, pad: Any) -> list[tuple[int, int]]:
    """The widths before and after each axis, the first one first."""
    listed = list(pad) if isinstance(pad, tuple | list) else [pad]
    if not all(map(is_whole, listed)) or len(listed) % 2 or len(listed) > 2 * x.ndim:
        raise ShapeError(
            "pad: pad must list two whole numbers for each of the last axes, before and after the "
            f"last one first, got {pad!r} for shape {x.shape}"
        )
    pairs = [(int(low), int(high)) for low, high in zip(listed[::2], listed[1::2])]
    return [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]


def _cut(size: int, low: int, high: int) -> slice:
    if size + low + high < 0 or size + min(low, 0) + min(high, 0) < 0:
        raise ShapeError(f"pad: an axis of {size} elements cannot be cut by {low} and {high}")
    return slice(max(-low, 0), size - max(-high, 0))


def _check_fit(shape: tuple[int, ...], widths: list[tuple[int, int]], mode: str) -> None:
    """ShapeError for widths that a mode has no elements for."""
    for axis, (size, pair) in enumerate(zip(shape, widths)):
        most = {"reflect": size - 1, "circular": size}.get(mode, max(pair) if size else 0)
        if any(pair) and not 0 <= min(pair) <= max(pair) <= most:
            raise ShapeError(
                f"pad: mode {mode!r} adds 0 to {most} elements at each end of axis {axis} of "
                f"shape {shape}, got {pair}"
            )
