"""Finding the operation that made a NaN or an infinity. Imports engine and backend."""

import functools
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import observed
from gpugrad.engine.outputs import Bundle
from gpugrad.errors import AnomalyError
from gpugrad.inspect.lines import user_line

__all__ = ["detect_anomaly"]


class detect_anomaly:  # noqa: N801 - PyTorch's name
    """Inside this block the first operation that makes a NaN or an infinity raises AnomalyError.

    Both passes are watched. The error names the operation, what it was given, and the line of
    the program that called it, for a backward pass as well: compute the graph inside the block
    for that. Every operation waits for its result, so this is for finding an error, not for
    training. Operations on constants alone are not watched; what they hand on is.

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
        self._blocks: list[observed] = []

    def __enter__(self) -> Self:
        block = observed(_Observer())
        block.__enter__()
        self._blocks.append(block)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._blocks.pop().__exit__(kind, error, trace)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with detect_anomaly():
                return function(*args, **kwargs)

        return wrapped


class _Observer:
    """Sees each recorded operation and each gradient; raises at the first that is not finite."""

    def __call__(self, node: Any, raws: Sequence[Any], y: Any) -> None:
        node.where = user_line()
        for index, output in enumerate(y if isinstance(y, tuple) else (y,)):
            found = _not_finite(output)
            if found is None:
                continue
            which = f"output {index}" if isinstance(y, tuple) else "its result"
            given = [
                f"argument {position} was not finite when it came"
                for position, raw in enumerate(raws)
                if _not_finite(raw) is not None
            ]
            raise AnomalyError(
                f"{node.op.name} made {found} of {which}"
                f"{'; ' + ', '.join(given) if given else ''}. Called at {node.where}"
            )

    def gradient(self, node: Any, parent: Any, d: Any) -> None:
        """Look at the gradient that a node gives to the parent it has."""
        gradients = d.parts.values() if isinstance(d, Bundle) else (d,)
        for gradient in gradients:
            found = _not_finite(getattr(gradient, "_array", gradient))
            if found is None:
                continue
            position = next(i for i, p in enumerate(node.parents) if p is parent)
            where = getattr(node, "where", None)
            place = f"called at {where}" if where else "called outside detect_anomaly()"
            raise AnomalyError(
                f"the derivative of {node.op.name} for its argument {position} made {found} of "
                f"the gradient. {node.op.name} was {place}"
            )


def _not_finite(array: Any) -> str | None:
    """``nan at element (1, 2)``: the first element that is not finite; None where all are."""
    dtype = getattr(array, "dtype", None)
    if dtype is None or dtype.kind in "biu":
        return None
    xp = namespace_of(array)
    bad = ~xp.isfinite(array)
    if not bool(bad.any()):
        return None
    place = int(xp.argmax(bad))
    value = array.reshape(-1)[place].item()
    index = []
    for size in reversed(array.shape):
        index.append(place % size)
        place //= size
    return f"{value} at element {tuple(reversed(index))}"
