"""What a rule gets: the arrays of one level, and which have its hidden axis. Imports nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["Operands", "aligned", "filled", "inner_axis", "one_of_zeros"]


class Operands:
    """The operands of a call, without the level that a rule is to carry along.

    ``arrays`` are arrays, numbers and None; those with ``held`` have the hidden axis in front, of
    ``size`` elements. ``xp`` is the namespace of the arrays, ``name`` that of the function.
    """

    __slots__ = ("arrays", "held", "level", "name", "size", "xp")

    def __init__(
        self, xp: Any, name: str, arrays: Sequence[Any], held: Sequence[bool], size: int, level: int
    ) -> None:
        self.xp = xp
        self.name = name
        self.arrays = arrays
        self.held = held
        self.size = size
        self.level = level

    def ndim(self, index: int) -> int:
        """The number of axes of an operand, without the hidden one."""
        return len(getattr(self.arrays[index], "shape", ())) - self.held[index]

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of an operand, without the hidden axis."""
        shape: tuple[int, ...] = getattr(self.arrays[index], "shape", ())
        return shape[1:] if self.held[index] else shape

    def compute(self, *arrays: Any, **parameters: Any) -> Any:
        """The function itself, of arrays with the hidden axis."""
        return getattr(self.xp, self.name)(*arrays, **parameters)


def aligned(operands: Operands, ndim: int = 0) -> list[Any]:
    """The arrays as they broadcast to each other, the hidden axes in front."""
    arrays, held = operands.arrays, operands.held
    ndims = [len(getattr(array, "shape", ())) - own for array, own in zip(arrays, held)]
    most = max(ndim, *ndims)
    return [
        array.reshape((array.shape[0], *(1,) * (most - own), *array.shape[1:]))
        if hold and own < most
        else array
        for array, hold, own in zip(arrays, held, ndims)
    ]


def filled(operands: Operands) -> list[Any]:
    """The arrays, each with the hidden axis; None stays None."""
    size, xp = operands.size, operands.xp
    return [
        array if held or array is None else xp.broadcast_to(array, (size, *array.shape))
        for array, held in zip(operands.arrays, operands.held)
    ]


def inner_axis(axis: Any, ndim: int) -> int:
    """An axis of an array with the hidden one, for one of ``ndim`` without it."""
    own = int(axis)
    if not -ndim <= own < ndim:
        raise np.exceptions.AxisError(own, ndim)
    return own % ndim + 1


def one_of_zeros(operands: Operands) -> Operands:
    """Of no elements: the same for one element, of zeros."""
    arrays = [
        operands.xp.sum(array, axis=0, keepdims=True).astype(array.dtype) if held else array
        for array, held in zip(operands.arrays, operands.held)
    ]
    return Operands(operands.xp, operands.name, arrays, operands.held, 1, operands.level)
