"""The paths through a graph: the values on them, and the edges between these.

Imports the modules beside it and the engine. Everything is iterative. Paths are counted without
being listed, and listed lazily.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gpugrad.batching.batched import Batched
from gpugrad.engine.node import Leaf, Node
from gpugrad.inspect import text
from gpugrad.inspect.graph import operands, pull, size_of, source_of

__all__ = ["SATURATED", "Edge", "Edges", "counts_of", "edges_of", "heads_of", "ways"]

GROUP = 12  # operations written as one expression, at most
SATURATED = 10**15  # the largest count of paths


@dataclass(slots=True, eq=False)
class Edge:
    """A value and one of the values that it was computed from, with the steps between them.

    ``steps`` are pairs of a node and the number of its operand. There are several where unnamed
    operations in between are part of the formula of ``child``.
    """

    child: Any
    parent: Any
    steps: tuple[tuple[Any, int], ...]
    index: int = 0  # the number, from 1, among several edges between the same two values
    factor: float | complex | None = None

    @property
    def is_number(self) -> bool:
        return size_of(self.child) == 1 == size_of(self.parent)

    @property
    def chooses(self) -> bool:
        """Whether an operation on it selects elements."""
        return any(node.op.chooses for node, _ in self.steps)

    def pull(self, g: Any) -> Any:
        """The child's gradient ``g`` pulled back to the parent."""
        for node, index in self.steps:
            g = pull(node, index, g)
        return g

    def number(self, ones: Callable[[Any], Any]) -> float | complex | None:
        """The partial derivative if it is a number; it is cached.

        None inside of `vmap`, where it is another number for each element.
        """
        if self.factor is None and self.is_number:
            factor = self.pull(ones(self.child))
            self.factor = None if isinstance(factor, Batched) else text.one(factor)
        return self.factor


Edges = dict[Any, list[Edge]]


def heads_of(nodes: list[Any], root: Any, asked: list[Any]) -> dict[Any, Any]:
    """For each value the one whose formula it is part of: for most, itself."""
    heads = {node: node for node in nodes}
    chosen = dict.fromkeys(asked)
    named = [
        node
        for node in nodes
        if node is not root
        and isinstance(node, Node)
        and (getattr(node, "name", None) or node in chosen)
    ]
    if not named:
        return heads
    users: dict[Any, Any] = {}
    uses = Counter(p for node in nodes for p in operands(node) if p is not None)
    for node in nodes:
        users.update((parent, node) for parent in operands(node) if parent is not None)
    sizes: dict[Any, int] = {}
    for node in reversed(nodes):
        if isinstance(node, Leaf) or node is root or node in chosen or uses[node] > 1:
            continue
        # Other values may share the operation of one of several outputs, which is shown itself.
        if getattr(node, "name", None) or source_of(node) is not node:
            continue
        if source_of(users[node]) is not users[node]:
            continue
        head = heads[users[node]]
        if sizes.get(head, 1) < GROUP:
            sizes[head] = sizes.get(head, 1) + 1
            heads[node] = head
    return heads


def edges_of(shown: list[Any], heads: dict[Any, Any]) -> Edges:
    """The edges from each shown value to those that it was computed from, in order."""
    by_child: Edges = {}
    for child in shown:
        edges: list[Edge] = []
        stack: list[tuple[Any, tuple[tuple[Any, int], ...]]] = [(child, ())]
        while stack:
            node, steps = stack.pop()
            if node is not child and heads[node] is node:
                edges.append(Edge(child, node, steps))
                continue
            stack.extend(
                (parent, (*steps, (node, index)))
                for index, parent in reversed(list(enumerate(operands(node))))
                if parent is not None
            )
        seen: dict[Any, list[Edge]] = {}
        for edge in edges:
            seen.setdefault(edge.parent, []).append(edge)
        for parallel in seen.values():
            if len(parallel) > 1:
                for number, edge in enumerate(parallel, 1):
                    edge.index = number
        by_child[child] = edges
    return by_child


def counts_of(shown: list[Any], edges: Edges, target: Any) -> dict[Any, int]:
    """The number of paths from each value to the target, up to SATURATED."""
    counts = {target: 1}
    for node in shown:  # parents come first
        if node is not target:
            total = sum(counts.get(edge.parent, 0) for edge in edges[node])
            if total:
                counts[node] = min(total, SATURATED)
    return counts


def ways(
    root: Any, edges: Edges, target: Any, counts: dict[Any, int]
) -> Iterator[tuple[Edge, ...]]:
    """All paths from the root to the target, one after the other."""
    # A node, and the way to it: its last edge and the way before that.
    stack: list[tuple[Any, Any]] = [(root, None)]
    while stack:
        node, way = stack.pop()
        if node is not target:
            onward = [edge for edge in edges[node] if edge.parent in counts]
            stack += [(edge.parent, (edge, way)) for edge in reversed(onward)]
            continue
        path = []
        while way is not None:
            edge, way = way
            path.append(edge)
        yield tuple(reversed(path))
