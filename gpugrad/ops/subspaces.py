"""Vectors of equal values, which are not unique: rotations among them. Imports dtypes.

The gradient of a loss by eigenvectors says how the loss changes when two of them rotate into each
other. The matrix rotates them by its own change divided by the gap between their values. A gap
that is not zero is taken as it is, however small. Where it is zero, or no more than the rounding
errors of the values, a loss that changes with the rotation has no derivative: a GradientError, or
NaN on a device where a look would wait. One that does not change gets nothing from the rotation.

That last is right for losses of the values alone and of the vectors alone, such as the projector
onto the whole space. A loss of both, such as ``V * f(w) @ V.T``, can have a derivative, but the
gradients by w and V at equal w do not determine it: that is refused too.
"""

import math
from typing import Any

import numpy as np

from gpugrad.ops.dtypes import HALF

DEPENDENT = (
    "the loss depends on the choice of the vectors of equal values, which is not unique, so it has "
    "no gradient. Use what does not depend on it: the values alone, or the projector onto the "
    "whole space of one value, as v @ v.mT.conj() of all its columns v"
)
UNDETERMINED = (
    "some values are equal, and the loss depends on values and vectors. Its derivative does not "
    "follow from theirs. For a function of the matrix, such as V * f(w) @ V.mT, use linalg.funm, "
    "sqrtm, logm, expm or polar; else take the values from a call of their own"
)


def nearness(xp: Any, values: Any) -> Any:
    """The gap up to which computed values may be equal: some rounding errors of the largest."""
    largest = xp.max(xp.abs(values), axis=-1, keepdims=True)[..., None]
    # Half precision is computed in single, and has the last digit rounded.
    count = 1 if values.dtype == HALF else 2 * math.sqrt(values.shape[-1])
    return largest * (count * _eps(values))


def _eps(values: Any) -> float:
    return float(np.finfo(values.dtype).eps)


class Rotations:
    """The rotations of the vectors of one decomposition, for its reverse rule.

    ``g`` is the gradient by the values, None where the loss does not use them; ``vectors`` are
    those by the vectors, in columns. What is refused is collected, and ``checked`` looks at it.
    """

    def __init__(self, xp: Any, values: Any, g: Any, *vectors: Any) -> None:
        self.xp = xp
        self.eps = _eps(values)
        self.near = nearness(xp, values)
        # Rounding errors of a product of vectors and their gradients are measured by the columns,
        # some of which may be small; a dependence by the largest.
        self.sizes = sum(xp.max(xp.abs(gv), axis=-2) for gv in vectors)
        self.noise = self.sizes * (4 * math.sqrt(values.shape[-1]) * self.eps)
        largest = xp.max(self.sizes, axis=-1)[..., None, None]
        self.by_value = None
        if g is not None:
            self.by_value = xp.abs(g)
            of_values = xp.max(self.by_value * xp.abs(values), axis=-1)
            largest = largest + of_values[..., None, None]
            self.slope = xp.max(self.by_value, axis=-1)[..., None, None]
        self.size = largest
        self.dependent: Any = None
        self.undetermined: Any = None

    def over(self, change: Any, gap: Any, both: Any, among: Any = True) -> Any:
        """``change / gap``, the gradient by the change of the matrix that rotates each pair.

        ``change`` is that of the loss by the rotation, ``among`` a mask of what counts as one.
        ``both`` is the size of the gradients of the two vectors along each other: where it is zero,
        though they have gradients, a function of values and vectors needs no quotient. It is None
        where these do not tell.
        """
        xp = self.xp
        amount, distance = xp.abs(change), xp.abs(gap)
        exact = distance == 0
        close = (distance <= self.near) & among
        limit = self.size * math.sqrt(self.eps) + 8 * self.eps
        # Vectors alone: what is no dependence is rounding. With the values, a small change over a
        # small gap is a number, if the rounding errors over that gap are small beside the others.
        small, large = amount <= limit, amount > limit
        if self.by_value is not None:
            pairs = change.shape[-1] == change.shape[-2]
            rough = self.eps**0.25
            noise = self._of_pairs(self.noise, pairs)
            over = xp.where(exact, 1.0, distance)
            known = xp.where(exact | (amount <= noise), 0.0, amount) / over
            largest = xp.max(known, axis=(-2, -1), keepdims=True) + self.slope
            small = amount <= xp.where(exact, limit, noise)
            small = small & (exact | (noise / over > 8 * rough * largest))
            large = amount > xp.where(exact, limit, 4 * rough * self.size)
            used = self._of_pairs(self.by_value, pairs) > 0
            if both is not None:
                used = (both > limit) | used & (self._of_pairs(self.sizes, pairs) <= limit)
            self.undetermined = self._or(self.undetermined, close & small & used)
        self.dependent = self._or(self.dependent, close & large)
        return _over(xp, change, gap, close & small, exact, among)

    def _of_pairs(self, numbers: Any, pairs: bool) -> Any:
        column = numbers[..., None, :]
        return column + numbers[..., :, None] if pairs else column

    def _or(self, before: Any, mask: Any) -> Any:
        mask = self.xp.any(mask, axis=(-2, -1), keepdims=True)
        return mask if before is None else before | mask

    def checked(self, who: str, d: Any) -> Any:
        """d, unless a rotation was refused."""
        d = self.xp.unless(d, self.dependent, message=f"{who}: {DEPENDENT}")
        if self.undetermined is None:
            return d
        return self.xp.unless(d, self.undetermined, message=f"{who}: {UNDETERMINED}")


def _over(xp: Any, change: Any, gap: Any, none: Any, no_gap: Any, among: Any) -> Any:
    """``change / gap``; zero where there is ``none``, and where the two are no pair ``among``."""
    if among is not True:
        none = none | xp.logical_not(among)
    return xp.where(none, 0.0, change) / xp.where(none | no_gap, 1.0, gap)


def rotated(xp: Any, change: Any, gap: Any, near: Any, among: Any = True) -> Any:
    """``change / gap`` of the matrix's change between two vectors, for forward mode.

    A rotation by a change over no gap has no derivative: NaN.
    """
    size = xp.max(xp.abs(change), axis=(-2, -1), keepdims=True)
    amount = xp.abs(change)
    none = amount <= size * (4 * math.sqrt(change.shape[-1]) * _eps(change))
    close = (xp.abs(gap) <= near) & among
    result = _over(xp, change, gap, close & none, close, among)
    return xp.where(close & xp.logical_not(none), float("nan"), result)
