"""The gradients of one operation's arguments, by its rules. Imports op."""

from collections.abc import Sequence
from typing import Any

from gpugrad.engine.op import Op

__all__ = ["pull_back", "unbroadcast"]


def pull_back(
    op: Op,
    xp: Any,
    g: Any,
    y: Any,
    needs: Sequence[bool],
    values: Sequence[Any],
    parameters: dict[str, Any],
) -> Sequence[Any]:
    """The gradient of each argument, given that of the output; None where ``needs`` is False.

    Its shape may be any that `unbroadcast` takes.
    """
    if op.joint is not None:
        ds: Sequence[Any] = op.joint(xp, g, y, tuple(needs), *values, **parameters)
        return ds
    rules: Any = op.vjps if xp.rules is None else xp.rules(op)
    return [
        rule(xp, g, y, *values, **parameters) if need else None for rule, need in zip(rules, needs)
    ]


def unbroadcast(xp: Any, d: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Undo broadcasting (or do it) and promotion: a gradient has its data's shape and dtype.

    Real data takes the real part of a complex gradient.
    """
    own = d.shape
    if own != shape:
        lead = len(own) - len(shape)
        if lead >= 0:  # otherwise it has too few axes, as the gradient of a sum
            axes = [
                axis
                for axis, size in enumerate(own)
                if axis < lead or (size != 1 and shape[axis - lead] == 1)
            ]
            if axes:
                d = xp.sum(d, axis=tuple(axes), keepdims=True)
            if lead:
                d = d.reshape(d.shape[lead:])
            own = d.shape
        if own != shape:
            d = xp.expand(d, shape)
    if d.dtype == dtype:
        return d
    if d.dtype.kind == "c" and dtype.kind != "c":
        d = xp.real(d)  # a real number does not move in the imaginary direction
    return d.astype(dtype)
