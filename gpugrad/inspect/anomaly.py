"""Finds the operation that produced a NaN or an infinity. Imports engine and backend."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.backend.lines import called_at, user_line
from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.precision import kind_of
from gpugrad.engine.modes import observed
from gpugrad.engine.outputs import OutputGrads
from gpugrad.errors import AnomalyError

__all__ = ["detect_anomaly"]

_WHOLE = np.dtype(np.int64)


class detect_anomaly(observed):  # noqa: N801 - PyTorch's name
    """Inside this block the first operation that produces a NaN or an infinity raises AnomalyError.

    A -inf is none where an operand of the operation has one: a mask of scores goes on to a softmax.

    Both passes are checked. The error names the operation, its operands and the line of the
    program that called it. For lines in a backward pass, compute the graph inside the block as
    well. Every operation waits for its result, so use it to find an error, not in training.
    Operations on constants alone are not checked, only operations that use their results. A
    function can be decorated with ``@gg.detect_anomaly()``.

    >>> import numpy as np
    >>> import gpugrad as gg
    >>> x = gg.tensor([1.0, 0.0], requires_grad=True)
    >>> with gg.detect_anomaly(), np.errstate(divide="ignore"):
    ...     gg.log(x)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    gpugrad.errors.AnomalyError: log made -inf at element (1,) of its result...
    """

    def __init__(self) -> None:
        super().__init__(_Watch())


class _Watch:
    """Checks each recorded operation and each gradient; raises at the first non-finite one."""

    def __call__(self, node: Any, raws: Sequence[Any], y: Any) -> None:
        node.where = user_line()
        masked = None
        for index, output in enumerate(y if isinstance(y, tuple) else (y,)):
            finding = _not_finite(output)
            if finding is not None:
                masked = any(map(_has_mask, raws)) if masked is None else masked
                finding = _not_finite(output, masked)
            if finding is None:
                continue
            which = f"output {index}" if isinstance(y, tuple) else "its result"
            operands = [
                f"{_argument(node, position)} was not finite when it came"
                for position, raw in enumerate(raws)
                if _not_finite(raw) is not None
            ]
            raise AnomalyError(
                f"{node.op.shown} made {finding} of {which}"
                f"{'; ' + ', '.join(operands) if operands else ''}. Called at {node.where}"
            )

    def visit(self, node: Any, g: Any) -> None:
        """Check the gradient that arrives at a node or leaf."""
        for gradient in g if isinstance(g, tuple) else (g,):
            finding = _not_finite(gradient)
            if finding is None:
                continue
            name, leaf = getattr(node, "name", None), f"a leaf of shape {tuple(node.shape)}"
            subject = leaf if node.op is None else f"{node.op.name}, {called_at(node)}"
            raise AnomalyError(
                f"the gradient of {f'{name!r}, ' if name else ''}{subject}, is {finding}. No "
                "derivative made it: the backward pass was started with it, a hook returned it, or "
                "it is a sum of gradients, each of them finite"
            )

    def gradient(self, node: Any, parent: Any, d: Any) -> None:
        """Check the gradient that a node passes to one of its parents."""
        gradients = d.parts.values() if isinstance(d, OutputGrads) else (d,)
        for gradient in gradients:
            finding = _not_finite(gradient)
            if finding is None:
                continue
            which = " or ".join(
                _argument(node, position)
                for position, other in enumerate(node.parents)
                if other is parent
            )
            raise AnomalyError(
                f"the derivative of {node.op.shown} for {which} made {finding} of "
                f"the gradient. {node.op.shown} was {called_at(node)}"
            )


def _argument(node: Any, position: int) -> str:
    """``argument 1``, with the name of the tensor if it has one."""
    name = getattr(node.parents[position], "name", None)
    return f"argument {position}" + (f" ({name!r})" if name else "")


def _has_mask(array: Any) -> bool:
    """Whether -inf is among the elements of an operand."""
    if isinstance(array, float):
        return array == -math.inf
    if kind_of(getattr(array, "dtype", _WHOLE)) != "f":
        return False
    return bool(namespace_of(array).any(array == -math.inf))


def _not_finite(array: Any, masked: bool = False) -> str | None:
    """``nan at element (1, 2)``: the first element that is not finite; None where all are.

    ``masked``: -inf is as good as a finite number.
    """
    array = getattr(array, "_array", array)
    if isinstance(array, float):
        fine = math.isfinite(array) or (masked and array == -math.inf)
        return None if fine else str(float(array))
    dtype = getattr(array, "dtype", None)
    if dtype is None or dtype.kind in "biu":
        return None
    xp = namespace_of(array)
    bad = ~xp.isfinite(array)
    if masked:
        bad = bad & (array != -math.inf)
    if not xp.any(bad):
        return None
    position = int(xp.argmax(bad))
    index = tuple(map(int, np.unravel_index(position, array.shape)))
    return f"{array[index].item()} at element {index}"
