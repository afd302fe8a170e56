"""Aliases of a tensor's memory, for recorded assignments. Imports backend and node.

In NumPy an assignment changes the base of a view too. A recorded assignment writes into a copy,
so that other holders of the old memory do not see it. It is refused where the user is one (with a
view, or the array that the tensor was made from), but not where the graph is (with a value saved
for a derivative). The garbage collector does not know NumPy's arrays, so holders are counted, not
listed: references beside those of the tensor and of nodes are the user's.
"""

import gc
from heapq import heappop, heappush
from sys import getrefcount
from types import SimpleNamespace
from typing import Any

from gpugrad.backend.namespace import NAMESPACES
from gpugrad.engine.node import Node

__all__ = ["alone", "is_temporary", "only_graphs_share"]


def alone(tensor: Any) -> bool:
    """Whether nothing else refers to a tensor's array, or to its base where it is a view."""
    if _held(tensor) > _ARRAY:
        return False
    array = tensor._array
    if _is_owner(array):
        return True
    if getattr(array, "base", None) is None:  # a type without `base`
        return False
    return _held_below(tensor) <= _BASE and _is_owner(array.base)


def only_graphs_share(tensor: Any, value: Any = None, newest: Any = None) -> bool:
    """Whether only the tensor itself and nodes of graphs hold its memory.

    ``newest`` is a node to search from first. ``value`` is another tensor, whose reference does
    not count.
    """
    users = _Users(tensor)
    if not users.known:
        return False
    if value is not None and value is not tensor:
        users.count(value._array)
        if users.explained():
            return True
    # Mostly, the nodes that saved the array came after the one that computed it.
    node = tensor._node
    first = 0 if node is None else node.serial
    seen = set()
    heap: list[tuple[int, Any]] = []
    for root in (node, newest):
        if root is not None and root not in seen:
            seen.add(root)
            heappush(heap, (-root.serial, root))
    while heap:
        node = heappop(heap)[1]
        if users.look(node) and users.explained():
            return True
        for parent in node.parents:
            if parent is not None and parent.serial >= first and parent not in seen:
                seen.add(parent)
                heappush(heap, (-parent.serial, parent))
    # Rare: a graph that the new value does not come from, or a view whose base was saved before.
    # Such nodes have to be searched for among all.
    for node in [node for node in gc.get_objects() if issubclass(type(node), Node)]:
        if node not in seen:
            users.look(node)
    return users.explained()


class _Users:
    """The known arrays over one memory, and the known references to each.

    Each array is in a list with one element, so that the references of this class are known too.
    """

    def __init__(self, tensor: Any) -> None:
        array = tensor._array
        owner = array if _is_owner(array) else getattr(array, "base", None)
        self.known = _is_owner(owner)
        self.owner = id(owner)
        self.boxes: dict[int, list[Any]] = {self.owner: [owner]}
        self.counts: dict[int, int] = {self.owner: 0}
        self.count(array)

    def count(self, array: Any) -> bool:
        """Explain one reference, if it is one to an array over the memory."""
        if NAMESPACES.get(type(array)) is None:
            return False
        if id(array) != self.owner and id(getattr(array, "base", None)) != self.owner:
            return False
        self.boxes.setdefault(id(array), [array])
        self.counts[id(array)] = self.counts.get(id(array), 0) + 1
        return True

    def look(self, node: Any) -> bool:
        """Explain the references that a node holds; whether there were any."""
        held = list(getattr(node, "values", None) or ())
        y = getattr(node, "y", None)
        held += y if type(y) is tuple else (y,)
        return sum(self.count(value) for value in held) > 0

    def explained(self) -> bool:
        """Whether all references to all of the arrays are explained."""
        for key, box in self.boxes.items():
            expected = self.counts[key]
            if key == self.owner:
                expected += len(self.boxes) - 1  # the views refer to it
            if _boxed(box) - _BOXED > expected:
                return False
        return True


def _is_owner(array: Any) -> bool:
    """Whether it is an array with memory of its own."""
    namespace = NAMESPACES.get(type(array))
    return namespace is not None and namespace.owns_buffer(array)


def is_temporary(references: int) -> bool:
    """Whether an assigned value is held by no name: ``getrefcount`` of it in ``__setitem__``."""
    return references <= _TEMPORARY < _NAMED


# The counts of getrefcount depend on the version of Python, so they are measured: for an array
# that only a tensor holds, one that only a view holds, and one that only a list holds.


def _held(tensor: Any) -> int:
    return getrefcount(tensor._array)


def _held_below(tensor: Any) -> int:
    return getrefcount(tensor._array.base)


def _boxed(box: list[Any]) -> int:
    return getrefcount(box[0])


class _Probe:
    references = 0

    def __setitem__(self, index: int, value: Any) -> None:
        self.references = getrefcount(value)


def _measure() -> tuple[int, int]:
    probe = _Probe()
    probe[0] = object()
    temporary = probe.references
    named = object()
    probe[0] = named
    return temporary, probe.references


_ARRAY = _held(SimpleNamespace(_array=object()))
_BASE = _held_below(SimpleNamespace(_array=SimpleNamespace(base=object())))
_BOXED = _boxed([object()])
_TEMPORARY, _NAMED = _measure()
