"""Finding changes of memory that gpugrad does not see. Imports engine, backend and errors."""

import zlib
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from gpugrad.backend.namespace import NAMESPACES
from gpugrad.engine import versions
from gpugrad.engine.modes import observed
from gpugrad.errors import GradientError
from gpugrad.inspect.lines import called_at, user_line

__all__ = ["debug_mode"]

# For each node recorded in a block that lives: the checksums of what it saved, in the order of
# `changes.saved`, None for what cannot change.
_checksums: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()


class debug_mode(observed):  # noqa: N801 - a block, like detect_anomaly
    """Inside this block a change of memory that a derivative still needs is found by checksums.

    Indices and class numbers that are on a GPU are looked at, too: outside, those that are out of
    range select another element or make a loss NaN, where on the CPU they raise.

    gpugrad notices its own in-place changes everywhere. What NumPy or CuPy does to ``t.data``,
    or to the array that a tensor was made from, it cannot see: in this block every value that
    an operation saves is summed up when it is saved and again when a backward pass uses it,
    and a difference raises GradientError, with the operation, the tensor and the line. All of
    it, forward and backward, has to happen in a block. Every value is read twice more, so this
    is for finding an error; outside, it costs nothing. A function can be decorated with
    ``@gg.debug_mode()``.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, 2.0], requires_grad=True, name="w")
    >>> with gg.debug_mode():
    ...     loss = (w * w).sum()
    ...     w.data[0] = 5.0
    ...     loss.backward()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    gpugrad.errors.GradientError: backward: multiply needs its argument 'a' (the tensor 'w')...
    """

    def __init__(self) -> None:
        super().__init__(_Watch())


class _Watch:
    """Takes checksums of what is saved, and compares them when it is used."""

    checks_indices = True  # see `gpugrad.engine.modes.indices_are_checked`

    def __call__(self, node: Any, raws: Sequence[Any], y: Any) -> None:
        node.where = user_line()
        _checksums[node] = [checksum(value) for _, value in versions.saved(node)]

    def visit(self, node: Any, g: Any) -> None:
        """Compare what a node saved with what is there now."""
        before = _checksums.get(node)
        if before is None or node.values is None:
            return
        versions.verify(node)  # what gpugrad saw is told as such
        for (what, value), then in zip(versions.saved(node), before, strict=True):
            if then is not None and bool(checksum(value) != then):
                raise GradientError(
                    f"backward: {node.op.shown} needs {what}, {versions.describe(value)}, as it "
                    "was when the operation was recorded, but its memory has been changed by code "
                    "that gpugrad does not see: an edit of t.data, or of the array that a tensor "
                    "was made from. Change a copy, or change it after the backward pass. "
                    f"{node.op.shown} was {called_at(node)}"
                )

    def gradient(self, node: Any, parent: Any, d: Any) -> None:
        """Nothing is known of the gradients themselves."""


def checksum(array: Any) -> Any:
    """A number that changes with the array's bits; None for what has no memory to change.

    For an array on a device a 0-d array there: nothing waits until it is looked at.
    """
    xp = NAMESPACES.get(type(array))
    if xp is None or isinstance(array, np.generic):
        return None
    if not xp.waits:
        host = xp.to_numpy(array)
        return zlib.crc32(np.ascontiguousarray(host).reshape(-1).view(np.uint8).data)
    size = min(array.dtype.itemsize, 8)
    bits = xp.ascontiguousarray(array).reshape(-1).view(f"u{size}").astype(np.uint64)
    # Odd weights have an inverse modulo 2**64: no change of one element goes unseen, and
    # elements that changed places do not either.
    weights = 2 * xp.arange(bits.size, dtype=np.uint64) + 1
    return xp.sum(bits * weights)
