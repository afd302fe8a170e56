"""Two ops of which one kernel computes the result: the graph is that of the two. Imports record."""

from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.engine import record
from gpugrad.engine.messages import explain
from gpugrad.engine.modes import recording
from gpugrad.engine.node import Node
from gpugrad.engine.op import Op

__all__ = ["record_chain"]


def record_chain(
    first: Op,
    second: Op,
    operands: Sequence[Any],
    parameters: dict[str, Any] | None,
    compute: Callable[..., Any],
) -> Any:
    """The Tensor ``second(first(*operands), **parameters)``, whose array is made at once.

    ``compute(xp, keep, *raws)`` gives two arrays, that between the two ops, which only matters
    where ``keep`` says so, and the result. The nodes are those of two calls; no derivative of
    ``first`` may need its output. None, and nothing recorded, where compute gives None, and
    where someone watches what is recorded and would miss the value between the two.
    """
    mode = recording.get()
    if mode and mode is not True:
        return None
    raws, nodes, xp = record.unwrap(first, operands)
    if not xp.alone:
        compute = record.in_place_of(raws, compute)
    recorded = mode and nodes.count(None) < len(nodes)
    (keep_between,), keep_y = second.keeps((True,))
    try:
        made = compute(xp, recorded and keep_between, *raws)
    except Exception as error:
        explain(first, raws, None, error)
        raise
    if made is None:
        return None
    between, y = made
    if not recorded:
        return record.Tensor(y)
    keep, _ = first.keeps(tuple(node is not None for node in nodes))
    values = [raw if kept or n is None else n for raw, kept, n in zip(raws, keep, nodes)]
    node = Node(first, tuple(nodes), tuple(values), None, xp, y.shape, y.dtype, {})
    kept = (between if keep_between else node,)
    y_kept = y if keep_y else None
    own = second.as_second()
    return record.Tensor(y, Node(own, (node,), kept, y_kept, xp, y.shape, y.dtype, parameters))
