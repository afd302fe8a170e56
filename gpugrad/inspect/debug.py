"""Finds changes of memory that gpugrad cannot see, and of dtypes that nobody asked for.

Imports engine, backend and errors.
"""

import zlib
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from gpugrad.backend.lines import called_at, user_line, warn
from gpugrad.backend.namespace import NAMESPACES
from gpugrad.engine import versions
from gpugrad.engine.modes import in_rules, observed
from gpugrad.errors import DTypeWarning, GradientError

__all__ = ["debug_mode"]

# For each live node that was recorded in a block: the checksums of its saved values, in the order
# of `versions.saved`; None for values that cannot change.
_checksums: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()


class debug_mode(observed):  # noqa: N801 - a block, like detect_anomaly
    """Inside this block checksums find changes of memory that a derivative still needs.

    gpugrad notices its own in-place changes everywhere. It cannot see changes of ``t.data``, or
    of the array that a tensor was made from, by NumPy or CuPy. In this block a checksum of every
    saved value is computed when an operation saves it, and again when a backward pass uses it. A
    difference raises GradientError, with the operation, the tensor and the line. Both passes must
    run in a block. Every value is read twice more, so use it to find an error; outside of the
    block it costs nothing. A function can be decorated with ``@gg.debug_mode()``.

    The values that a `checkpoint` computes a second time are compared with the first: they differ
    where its function draws from NumPy's generator, say, and then the gradient would be wrong.

    A warning, `DTypeWarning`, says where a recorded number changed its precision without a cast: a
    float32 model that met a float64 array or NumPy scalar, a float64 value that was written into
    float32 zeros.

    Indices and class numbers on a GPU are checked as well. Elsewhere those that are out of range
    select another element or give a loss of NaN, where they raise on the CPU.

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
    """Computes checksums of saved values, and compares them when the values are used."""

    is_debug_mode = True  # see `gpugrad.engine.modes.is_debugging`

    def __call__(self, node: Any, raws: Sequence[Any], y: Any) -> None:
        node.where = user_line()
        _compare_dtypes(node, raws, y)
        _checksums[node] = [checksum(value) for _, value in versions.saved(node)]

    def visit(self, node: Any, g: Any) -> None:
        """Compare the values that a node saved with their checksums."""
        before = _checksums.get(node)
        if before is None or node.values is None:
            return
        versions.verify(node)  # raises for changes that gpugrad has seen
        for (label, value), then in zip(versions.saved(node), before, strict=True):
            if then is not None and bool(checksum(value) != then):
                raise GradientError(
                    f"backward: {node.op.shown} needs {label}, {versions.describe(value)}, as it "
                    "was when the operation was recorded, but its memory has been changed by code "
                    "that gpugrad does not see: an edit of t.data, or of the array that a tensor "
                    "was made from. Change a copy, or change it after the backward pass. "
                    f"{node.op.shown} was {called_at(node)}"
                )

    def gradient(self, node: Any, parent: Any, d: Any) -> None:
        """Gradients are not checked."""


def _compare_dtypes(node: Any, raws: Sequence[Any], y: Any) -> None:
    """Warn where a recorded operand has another precision than the result."""
    if in_rules.get() or "dtype" in (node.parameters or {}):
        return
    outputs = y if isinstance(y, tuple) else (y,)
    results = {bits: one.dtype for one in outputs if (bits := _bits(one))}
    for position, (raw, parent) in enumerate(zip(raws, node.parents)):
        bits = _bits(raw)
        if parent is None or not results or not bits or bits in results:
            continue
        operands = node.op.operands
        if operands[min(position, len(operands) - 1)] == "cast" and bits < max(results):
            continue  # a value that is written into a tensor of more digits loses none
        others = [
            f"argument {number}, {f'of shape {one.shape}' if one.shape else 'a number'}, is "
            f"{one.dtype}"
            for number, one in enumerate(raws)
            if not node.op.is_constant(number) and getattr(one, "dtype", raw.dtype) != raw.dtype
        ]
        warn(
            f"{node.op.shown}: argument {position} is {raw.dtype}, but the result is "
            f"{next(iter(results.values()))}: {'; '.join(others) or 'the operation computes so'}. "
            "Cast one of them with .astype, or use Python numbers, which promote nothing",
            DTypeWarning,
        )
        return


def _bits(raw: Any) -> int:
    """The bits of a floating-point number, of a complex one those of a part; 0 for others."""
    dtype = getattr(raw, "dtype", None)
    return np.finfo(dtype).bits if dtype is not None and dtype.kind in "fc" else 0


def checksum(array: Any) -> Any:
    """A checksum of the array's bits; None for a value without memory that could change.

    For an array on a device it is a 0-d array there, so that nothing waits until it is read.
    """
    xp = NAMESPACES.get(type(array))
    if xp is None or isinstance(array, np.generic):
        return None
    if not xp.waits:
        host = xp.to_numpy(array)
        return zlib.crc32(np.ascontiguousarray(host).reshape(-1).view(np.uint8).data)
    size = min(array.dtype.itemsize, 8)
    bits = xp.ascontiguousarray(array).reshape(-1).view(f"u{size}").astype(np.uint64)
    # Odd weights have an inverse modulo 2**64: a change of one element is always seen, and so is
    # an exchange of two.
    weights = 2 * xp.arange(bits.size, dtype=np.uint64) + 1
    return xp.sum(bits * weights)
