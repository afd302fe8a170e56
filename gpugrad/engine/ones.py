"""Where a walk begins whose gradient is all ones. Imports the modules of the engine beside it.

Behind a sum the gradient is all ones again, of two factors each is that of the other, and of what
was added both have the gradient of the sum: no rule needs to run for that.
"""

from collections.abc import Collection, Sequence
from heapq import heappop, heappush
from typing import Any

from gpugrad.backend.namespace import namespace_of
from gpugrad.engine import versions
from gpugrad.engine.node import Leaf, Node
from gpugrad.engine.outputs import OutputGrads
from gpugrad.engine.pull import unbroadcast
from gpugrad.errors import GradientError

__all__ = ["freed", "own", "past_ones"]

Seeds = Sequence[tuple[Any, Any]]


def past_ones(
    seeds: Seeds, graph: Any, targets: Collection[Any], retain_graph: bool
) -> tuple[Seeds, int]:
    """The seeds of a walk behind those nodes whose gradient is all ones.

    Of a recorded walk the new seeds may be saved values; then also the serial number of the node
    that has saved the first of them, else 0. Nodes that a plain walk has passed are freed.
    """
    if len(seeds) > 1:
        return seeds, 0
    ((node, one),) = seeds
    while node.__class__ is Node and (others := node.op.at_ones) is not None:
        parents = node.parents
        if node in targets:
            break
        if node.values is None:
            raise freed(node)
        if others:
            ds = None if graph is None else _factors(node, graph, others)
            if ds is None:
                break
            return [pair for pair in zip(parents, ds) if pair[0] is not None], node.serial
        if len(parents) > 1:
            return _past_sums(node, one, graph, targets, graph is None and not retain_graph)
        if graph is None:  # by their rules, a sum and a product alone take no longer
            break
        (node,) = parents
    if node is seeds[0][0]:
        return seeds, 0
    return [(node, unbroadcast(graph.xp, one, node.shape, node.dtype))], 0


def _past_sums(
    first: Any, one: Any, graph: Any, targets: Collection[Any], free: bool
) -> tuple[Seeds, int]:
    """As `past_ones`, from a sum of two.

    It takes nodes as the walk does, the latest first. It ends where a node has no such rule, or
    may get more than one gradient: from another of these nodes, or from one of the new seeds.
    """
    waiting, seen, ones = [(-first.serial, first)], {first}, []
    behind: list[tuple[Any, Any]] = []
    # The serial numbers of the latest node that has another gradient, and of the first product.
    latest = lent = 0
    while waiting:
        node = waiting[0][1]
        if node.__class__ is not Node or node.serial <= latest or node in targets:
            break
        others, parents = node.op.at_ones, node.parents
        if others is None:
            break
        if node.values is None:
            raise freed(node)
        if others:
            ds = _factors(node, graph, others)
            if ds is None:
                break
            lent = lent or node.serial
            behind += [pair for pair in zip(parents, ds) if pair[0] is not None]
        elif len(parents) > 1 and not _are_alike(node, parents):
            break
        heappop(waiting)
        for parent in parents:
            if parent is None:
                continue
            if not others and parent not in seen and parent.__class__ is not Leaf:
                seen.add(parent)
                heappush(waiting, (-parent.serial, parent))
                continue
            if not others:
                ones.append(parent)
            if parent.serial > latest and parent.__class__ is not Leaf:
                latest = parent.serial
        if free:
            node.values = node.y = None
    xp = first.xp if graph is None else graph.xp
    spread = one
    for node in (*ones, *[node for _, node in waiting]):
        if spread.shape != node.shape or spread.dtype is not node.dtype:
            spread = unbroadcast(xp, one, node.shape, node.dtype)
        behind.append((node, spread))
    return behind, 0 if graph is None else lent


def _are_alike(node: Any, parents: Sequence[Any]) -> bool:
    """Whether nothing was broadcast."""
    shape = node.shape
    return all(parent is None or parent.shape == shape for parent in parents)


def _factors(node: Any, graph: Any, others: tuple[int, ...]) -> Sequence[Any] | None:
    """The gradient of each factor of a product, or None where it takes a rule."""
    parents, values, shape, dtype = node.parents, node.values, node.shape, node.dtype
    # A number, also one of NumPy, is nothing to begin a walk with on any device.
    if not shape or parents[0] is parents[1]:
        return None
    if not all(getattr(v, "shape", ()) == shape and v.dtype is dtype for v in values):
        return None
    if node.serial < versions.latest:
        versions.verify(node)
    if graph is not None:
        return [graph.wrap(values[other], parents[other]) for other in others]
    copy = node.xp.copy  # which a rule may change
    return [None if parent is None else copy(values[i]) for parent, i in zip(parents, others)]


def own(g: Any, since: int) -> Any:
    """A gradient of a recorded walk for others to keep: a copy where it may be a saved value.

    Nodes that were recorded have a higher serial number than ``since``, those of values a lower.
    """
    if g.__class__ is OutputGrads:
        return g
    node, array = g._node, g._array
    is_new = node is not None and node.serial > since
    return g if is_new and namespace_of(array).owns_buffer(array) else g.copy()


def freed(node: Any) -> GradientError:
    """The error for a walk through a graph whose saved values were freed."""
    return GradientError(
        f"backward: the graph was freed by an earlier backward pass (at {node.op.shown}). "
        "Pass retain_graph=True to the first pass, or compute the result again"
    )
