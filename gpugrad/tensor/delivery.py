"""Adds the gradients of a backward pass to ``grad`` of the tensors. Imports engine, backend."""

import threading
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from gpugrad.backend.interrupts import whole
from gpugrad.engine import versions
from gpugrad.engine.accumulate import steal_or_copy
from gpugrad.engine.modes import enable_grad

__all__ = ["deliver"]

# Two passes that meet in a leaf add one after the other: each begins with what it finds there.
_delivering = threading.RLock()


def deliver(cls: type[Any], gradients: dict[Any, Any], pairs: Iterable[tuple[Any, Any]]) -> None:
    """Add ``gradients[key]``, raw or a recorded Tensor, to ``grad`` of each tensor of the pairs.

    All memory is allocated first: if that fails, every ``grad`` is unchanged. An interrupt comes
    before the first is changed, or after the last.
    """
    with _delivering:
        calls: list[Any] = []
        arrays = []
        for tensor, key in pairs:
            grad = _next_grad(cls, tensor, gradients, key)
            if grad is not None:
                calls.append(partial(setattr, tensor, "_grad", grad))
                continue
            array = tensor._grad.data
            calls += versions.adding(array, gradients[key])
            arrays.append(array)
        if arrays:
            versions.change(calls, arrays)
        else:
            whole(calls)


def _next_grad(cls: type[Any], tensor: Any, gradients: dict[Any, Any], key: Any) -> Any:
    """The new ``grad``; None where the gradient can be added in place."""
    before = getattr(tensor, "_grad", None)
    if before is None and type(gradients[key]) is np.ndarray:  # mostly
        return cls(steal_or_copy(gradients, key))
    if isinstance(gradients[key], cls):
        # A copy: the same tensor may be the gradient of other leaves, or the user's own.
        with enable_grad():
            return gradients[key].copy() if before is None else before + gradients[key]
    if isinstance(gradients[key], np.generic):
        return cls(np.asarray(gradients[key] if before is None else before._array + gradients[key]))
    if before is None:
        return cls(steal_or_copy(gradients, key))
    return None if before._node is None else cls(before._array + gradients[key])
