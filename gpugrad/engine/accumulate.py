"""Gradients that add up: in a walk, and in a leaf's ``grad``. Imports backend and op.

A gradient may be shared: a rule may give its own ``g`` to two arguments, or a saved array. So a
buffer is added to in place only where the walk has made it by an addition itself, and a leaf keeps
a gradient without a copy only where nothing else refers to it.
"""

from collections.abc import Iterable, Sequence
from sys import getrefcount
from typing import Any, NamedTuple

from gpugrad.backend.device import copied
from gpugrad.backend.namespace import NAMESPACES

__all__ = ["Gradients", "Into", "steal_or_copy"]


class Gradients:
    """The gradients of the nodes that a walk has yet to visit.

    ``by_node`` has them. ``in_place`` says that they are raw arrays, which can be added to; Tensors
    can not, as the graph remembers them.
    """

    def __init__(self, in_place: bool) -> None:
        self.by_node: dict[Any, Any] = {}
        self.in_place = in_place
        self.results: dict[Any, Any] = {}  # those of nodes that were asked for, as they come
        self.owned: set[Any] = set()  # nodes whose gradient is a buffer that this walk made
        # Where gradients may be other than zero, of nodes where that is known; None: anywhere.
        self.supports: dict[Any, Any] = {}
        self.matters: dict[Any, bool] = {}  # of nodes that were asked, see support

    def accumulate(self, node: Any, d: Any) -> None:
        """Add to the gradient that a node has."""
        before = self.by_node[node]
        if node in self.owned:
            before += d
            self.by_node[node] = before
        else:
            self.by_node[node] = before + d
            if self.in_place:
                self.owned.add(node)

    def of_leaves(self, watch: Any) -> dict[Any, Any]:
        """The results, with what is left at the end of the walk: the gradients of leaves."""
        if watch is not None:
            for leaf, gradient in self.by_node.items():
                watch.visit(leaf, gradient)
        self.results.update(self.by_node)
        return self.results

    def can_add(self, nodes: Iterable[Any]) -> bool:
        """Whether there is a buffer for one of the nodes that can be added to."""
        return not self.owned.isdisjoint(nodes)

    def needs(self, node: Any, g: Any, parents: Sequence[Any]) -> list[Any]:
        """Which gradients a rule has to give, where the op may add to some in place.

        False for those that it has added already; for a joint rule an `Into` for those that it may
        add itself.
        """
        needs: list[Any] = [parent is not None for parent in parents]
        parameters = node.parameters or {}
        for index, parent in enumerate(parents):
            if parent not in self.owned:
                continue
            if node.op.joint is not None:
                needs[index] = Into(self.by_node[parent])
            elif (add := node.op.adds[index]) is not None:
                total = self.by_node[parent]
                needs[index] = not add(node.xp, total, g, *node.values, **parameters)
        return needs


class Into(NamedTuple):
    """What a joint rule finds in ``needs`` where it may add to the gradient that is there.

    It adds to ``total`` in place and gives None, or gives its gradient as ever.
    """

    total: Any


def steal_or_copy(array: Any) -> Any:
    """A raw gradient for a leaf to keep, which nothing else may refer to.

    To be called with an expression, not with a variable: an array that a rule has just made
    is taken as it is, one that is also held elsewhere (a saved value, another leaf, the
    user's own gradient) or is a view is copied.
    """
    if getrefcount(array) > _ALONE or not NAMESPACES[type(array)].owns_buffer(array):
        return copied(array)
    return array


def _references(array: Any) -> int:
    return getrefcount(array)


# What getrefcount says, in a function, of an argument that nothing else refers to: it
# differs between versions of Python.
_ALONE = _references(object())
