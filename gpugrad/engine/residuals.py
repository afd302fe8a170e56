"""Residuals in derivatives of higher order. Imports the modules of the engine beside it.

A rule over raw arrays takes a node's residuals as they are. In a recorded walk each residual
depends on the op's arguments: it is the result of an operation of its own, whose op stands beside
the residual's name in the entry.
"""

from typing import Any

from gpugrad.engine.node import Node
from gpugrad.engine.op import Op
from gpugrad.engine.outputs import ShapeDtype

__all__ = ["residual_nodes"]


def residual_nodes(node: Any) -> list[Node | None]:
    """For each residual of a node, the node that computes it; None for a constant."""
    residuals = node.values[len(node.parents) :]
    return [_node(node, *pair) for pair in zip(node.op.residuals.values(), residuals, strict=True)]


def _node(node: Any, source: Op, residual: Any) -> Node | None:
    if isinstance(residual, ShapeDtype) or residual.dtype.kind in "biu":
        return None
    parents, parameters = node.parents, node.parameters or {}
    if source.signature != node.op.signature:
        parents = parents[: len(source.arrays)]
        parameters = {
            name: parameters.get(name, parameter.default)
            for name, parameter in source.parameters.items()
        }
    if parents.count(None) == len(parents):
        return None
    shape, dtype = residual.shape, residual.dtype
    entry = source.over_complex() if dtype.kind == "c" else source
    values = node.values[: len(parents)]
    made: Any = Node(entry, parents, values, residual, node.xp, shape, dtype, parameters)
    made.since = getattr(node, "since", node.serial)
    return made
