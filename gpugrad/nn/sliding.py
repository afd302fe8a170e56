"""Arguments of layers whose windows slide over one to three axes. Imports `module`.

Such a layer takes (samples, channels, *sizes), or one sample without the first axis. Its numbers
are given for each axis, or one for all.
"""

from typing import Any

from gpugrad.engine.messages import is_whole
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.nn.module import Module
from gpugrad.tensor import Tensor, as_tensor

__all__ = ["AXES", "OverAxes", "batch_of", "per_axis", "refuse_whole", "shown"]


class OverAxes(Module):
    """A layer over the last axes of its input; ``class Conv2d(..., axes=2)`` says how many."""

    _axes: int

    def __init_subclass__(cls, *, axes: int | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if axes is not None:
            cls._axes = axes


AXES = {1: "length", 2: "height, width", 3: "depth, height, width"}


def per_axis(who: str, name: str, value: Any, axes: int, least: int = 1) -> tuple[int, ...]:
    """A whole number for each axis, given one or one for all; ShapeError for anything else."""
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    if len(values) == 1:
        values *= axes
    if len(values) != axes or not all(is_whole(n, least) for n in values):
        each = "" if axes == 1 else f", or {axes} of them for {AXES[axes]}"
        raise ShapeError(
            f"{who}: {name} must be a whole number of {least} or more{each}, got {value!r}"
        )
    return tuple([int(n) for n in values])


def batch_of(who: str, x: Any, axes: int) -> tuple[Tensor, bool]:
    """The input as a Tensor with samples, and whether it came as one sample without that axis."""
    x = as_tensor(x)
    if x.ndim == axes + 2:
        return x, False
    if x.ndim == axes + 1:
        return x.reshape((1, *x.shape)), True
    raise ShapeError(
        f"{who}: expected an input (samples, channels, {AXES[axes]}), or one sample (channels, "
        f"{AXES[axes]}), got shape {x.shape}"
    )


def refuse_whole(who: str, x: Tensor) -> None:
    """DTypeError for whole numbers, of which a layer would make others."""
    if x.dtype.kind in "biu":
        raise DTypeError(
            f"{who}: expected floating-point numbers, got {x.dtype}. Write x.astype('float32')"
        )


def shown(values: tuple[int, ...]) -> str:
    """Numbers as in an error: ``3`` or ``3 × 3``."""
    return " × ".join(map(str, values))
