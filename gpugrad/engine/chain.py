"""Two ops of which one kernel computes the result: the graph is that of the two. Imports record."""

from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.engine import record
from gpugrad.engine.modes import recording
from gpugrad.engine.node import Node
from gpugrad.engine.op import Op
from gpugrad.engine.refusals import explain

__all__ = ["record_chain"]


def record_chain(
    first: Op, second: Op, operands: Sequence[Any], compute: Callable[..., Any]
) -> Any:
    """The Tensor ``second(first(*operands))``, whose array ``compute(xp, *raws)`` makes at once.

    The nodes are those of two calls; no derivative of ``first`` may need its output, and one of
    ``second`` only its own. None, and nothing recorded, where compute gives None, and where
    someone watches what is recorded and would miss the value between the two.
    """
    mode = recording.get()
    if mode and mode is not True:
        return None
    raws, nodes, xp = record.unwrap(first, operands)
    if not xp.alone:
        compute = record.in_place_of(raws, compute)
    try:
        y = compute(xp, *raws)
    except Exception as error:
        explain(first, raws, None, error)
        raise
    if y is None:
        return None
    if not mode or not any(node is not None for node in nodes):
        return record.Tensor(y)
    keep, _ = first.keeps(tuple(node is not None for node in nodes))
    values = tuple(
        raw if kept or node is None else node
        for raw, kept, node in zip(raws, keep, nodes, strict=True)
    )
    between = Node(first, tuple(nodes), values, None, xp, y.shape, y.dtype, {})
    made = Node(second, (between,), (between,), y, xp, y.shape, y.dtype, None)
    return record.Tensor(y, made)
