"""One recorded operation by itself, for tools that show or check a graph. Imports the engine."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.engine.op import TABLE
from gpugrad.engine.pull import pull_back, unbroadcast

__all__ = ["compute_again", "gradient_by"]


def compute_again(node: Any, arguments: Sequence[Any]) -> Any:
    """The raw output of a node's operation, for arguments in the place of its own."""
    op, parameters = node.op, node.parameters or {}
    with np.errstate(all="ignore"):
        if op.forward is None or TABLE.get(op.name) is op:  # also as it is over complex numbers
            return getattr(node.xp, op.name)(*arguments, **parameters)
        return op.forward(node.xp, *arguments, **parameters)


def gradient_by(node: Any, index: int, g: Any) -> Any:
    """The raw gradient of one argument of a node, for a gradient ``g`` of its output."""
    op, xp, parent = node.op, node.xp, node.parents[index]
    needs = [position == index for position in range(len(node.parents))]
    y = node if node.y is None else node.y
    with np.errstate(all="ignore"):
        d = pull_back(op, xp, g, y, needs, node.values, node.parameters or {})[index]
        return unbroadcast(xp, d, parent.shape, parent.dtype)
