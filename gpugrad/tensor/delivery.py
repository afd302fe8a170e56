"""The gradients that a walk found, added to those of the tensors. Imports engine and backend."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from gpugrad.backend.device import device_of
from gpugrad.engine import versions
from gpugrad.engine.accumulate import steal_or_copy
from gpugrad.engine.modes import enable_grad

__all__ = ["deliver"]


def deliver(kind: type[Any], found: dict[Any, Any], pairs: Iterable[tuple[Any, Any]]) -> None:
    """Add to ``grad`` of each tensor what ``found`` has at its key: raw, or a Tensor in a graph.

    All that needs memory comes first: where there is none left, every ``grad`` is as it was.
    """
    made = [(tensor, key, _made(kind, tensor, found, key)) for tensor, key in pairs]
    for tensor, key, grad in made:
        if grad is not None:
            tensor._grad = grad
        else:
            array = tensor._grad.data
            with device_of(array).activate():
                array += found[key]
            versions.changed(array)


def _made(kind: type[Any], tensor: Any, found: dict[Any, Any], key: Any) -> Any:
    """What ``grad`` becomes; None where it is added to in place."""
    before = getattr(tensor, "_grad", None)
    if isinstance(found[key], kind):
        # A copy: the same tensor may be the gradient of other leaves, or the user's own.
        with enable_grad():
            return found[key].copy() if before is None else before + found[key]
    if isinstance(found[key], np.generic):
        return kind(np.asarray(found[key] if before is None else before._array + found[key]))
    if before is None:
        return kind(steal_or_copy(found.pop(key)))
    return None if before._node is None else kind(before._array + found[key])
