"""Gradients that add up: in a walk, and in a leaf's ``grad``. Imports backend.

A gradient may be shared: a rule may return its own ``g`` for two arguments, or a saved array. So
the walk adds in place only to buffers that it made by an addition, and a leaf keeps a gradient
without a copy only where nothing else refers to it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from sys import getrefcount
from typing import Any, NamedTuple

from gpugrad.backend.device import copied
from gpugrad.backend.namespace import NAMESPACES, namespace_of
from gpugrad.backend.precision import DOUBLE, SINGLE

__all__ = ["Gradients", "Into", "steal_or_copy"]


class Gradients:
    """The gradients of the nodes that a walk has yet to visit.

    ``by_node`` has them. ``in_place`` says that they are raw arrays, so that sums can be made in
    place; Tensors are part of a graph. ``wanted`` are the nodes that the walk goes to, where it
    does not go everywhere.
    """

    def __init__(self, in_place: bool, wanted: Any = None) -> None:
        self.by_node: dict[Any, Any] = {}
        self.in_place = in_place
        self.wanted = wanted
        # The serial number above which nodes were made by this walk alone, which frees them.
        self.recomputed: float = math.inf
        # The serial number of the node whose saved values are the seeds of a recorded walk, or 0.
        self.lent = 0
        self.results: dict[Any, Any] = {}  # those of targets, and of leaves
        self.owned: set[Any] = set()  # nodes whose gradient is a buffer of this walk
        self.borrowed: dict[Any, Any] = {}  # memory that hooks have lent for gradients of leaves
        # Nodes in half precision whose gradient is a sum: False for one of two, which are rounded
        # once; True for more, added up in single precision until the walk takes the gradient.
        self.wide: dict[Any, bool] = {}
        # Of nodes where it is known, the mask outside which the gradient is zero by choice.
        self.supports: dict[Any, Any] = {}
        self.matters: dict[Any, bool] = {}  # a cache, see support

    # What hooks have asked to be called when the walk has ended, each once.
    at_end: dict[Callable[[], Any], None] | tuple[()] = ()

    def accumulate(self, node: Any, d: Any) -> None:
        """Add to the gradient of a node."""
        before = self.by_node[node]
        if node in self.owned:
            before += d
            self.by_node[node] = before
            return
        dtype = node.dtype
        if dtype is not SINGLE and dtype is not DOUBLE and getattr(dtype, "itemsize", 0) == 2:
            if node not in self.wide:
                self.by_node[node] = before + d
                self.wide[node] = False
                return
            if not self.wide[node]:
                before = before.astype(SINGLE)
                self.wide[node] = True
        self.by_node[node] = before + d
        if self.in_place and getattr(NAMESPACES.get(type(d)), "in_place", True):
            self.owned.add(node)

    def take(self, node: Any) -> Any:
        """Remove the gradient of a node and return it, in the dtype of its data."""
        gradient = self.by_node.pop(node)
        return gradient.astype(node.dtype) if self.wide.get(node) else gradient

    def of_leaves(self, watch: Any) -> dict[Any, Any]:
        """The results, with the gradients of leaves, which are left at the end of the walk."""
        for leaf, is_wide in self.wide.items():
            if is_wide and leaf in self.by_node:
                self.by_node[leaf] = self.by_node[leaf].astype(leaf.dtype)
        if watch is not None:
            for leaf, gradient in self.by_node.items():
                watch.visit(leaf, gradient)
        self.results.update(self.by_node)
        return self.results

    def can_add(self, nodes: Iterable[Any]) -> bool:
        """Whether one of the nodes has a gradient that can be added to in place."""
        return not self.owned.isdisjoint(nodes)

    def needs(self, node: Any, xp: Any, g: Any, parents: Sequence[Any]) -> list[Any]:
        """The gradients that a rule has to give, after the op has added some in place.

        False for those that are added already; for a joint rule an `Into` for those that it may
        add itself. ``xp`` is the namespace of ``g``.
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
                needs[index] = not add(xp, total, g, *node.values, **parameters)
        return needs


class Into(NamedTuple):
    """In ``needs``, for a joint rule: the gradient of the argument so far.

    The rule adds to ``total`` in place and returns None, or returns its gradient as usual.
    """

    total: Any


def steal_or_copy(gradients: dict[Any, Any], key: Any) -> Any:
    """Remove a raw gradient for a leaf to keep, which nothing else may refer to.

    An array without another reference is taken as it is. A view is copied, and so is an array that
    is also a saved value, another leaf's gradient or the user's own.
    """
    array = gradients.pop(key)
    if getrefcount(array) > _ALONE or not namespace_of(array).owns_buffer(array):
        return copied(array)
    return array


def _references(gradients: dict[Any, Any], key: Any) -> int:
    array = gradients.pop(key)
    return getrefcount(array)


_ALONE = _references({0: object()}, 0)  # depends on the version of Python
