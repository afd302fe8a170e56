"""Who else can see a tensor's memory: asked before a recorded assignment gives it new memory.

NumPy's views see an assignment to what they are views of. A recorded one writes into a copy,
which nobody sees who holds the old memory: where that is the user (a view, the array that the
tensor was made from), the assignment has to be refused, where it is the graph (a value saved
for a derivative) it has not. Arrays of NumPy are unknown to the garbage collector, so holders
are counted, not listed: references that the tensor and the graph's nodes do not explain are
somebody's. Imports backend and the modules beside it.
"""

import gc
from heapq import heappop, heappush
from sys import getrefcount
from typing import Any

from gpugrad.backend.namespace import NAMESPACES
from gpugrad.engine.node import Node

__all__ = ["alone", "is_temporary", "only_graphs_share"]


def alone(tensor: Any) -> bool:
    """Whether a tensor's array, and what it is a view of, are held by nothing else at all."""
    if _held(tensor) > _ARRAY:
        return False
    array = tensor._array
    if _is_owner(array):
        return True
    if getattr(array, "base", None) is None:  # a type that does not say whose memory it has
        return False
    return _held_below(tensor) <= _BASE and _is_owner(array.base)


def only_graphs_share(tensor: Any, value: Any = None, newest: Any = None) -> bool:
    """Whether nodes of graphs alone, beside a tensor itself, hold its memory.

    ``newest`` is a node that is looked at early, with what it came from. ``value`` is another
    tensor whose hold does not count.
    """
    users = _Users(tensor)
    if not users.known:
        return False
    if value is not None and value is not tensor:
        users.count(value._array)
        if users.explained():
            return True
    # Mostly, what was saved of the present array was saved by the nodes that came after it.
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
    # Rare: a graph that the new value does not come from, or the array is a view and what it
    # is a view of was saved before. Such nodes have to be searched for among all.
    rest = [node for node in gc.get_objects() if issubclass(type(node), Node)]
    for node in rest:
        if node not in seen:
            users.look(node)
    return users.explained()


class _Users:
    """The arrays over one memory that are known, and how many references to each are.

    An array is kept in a list with one element, so that how often this class itself refers to
    it is known as well.
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
    """Whether it is an array that has its memory from nothing else."""
    namespace = NAMESPACES.get(type(array))
    return namespace is not None and namespace.owns_buffer(array)


def is_temporary(references: int) -> bool:
    """Whether an assigned value is held by no name: ``getrefcount`` of it in ``__setitem__``."""
    return references <= _TEMPORARY < _NAMED


# What getrefcount says depends on the version of Python, so that it is measured: for an array
# that only a tensor holds, one that only a view of it holds, and what only a list holds.


def _held(tensor: Any) -> int:
    return getrefcount(tensor._array)


def _held_below(tensor: Any) -> int:
    return getrefcount(tensor._array.base)


def _boxed(box: list[Any]) -> int:
    return getrefcount(box[0])


class _Holder:
    def __init__(self, array: Any) -> None:
        self._array = array


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


class _View:
    def __init__(self, base: Any) -> None:
        self.base = base


_ARRAY = _held(_Holder(object()))
_BASE = _held_below(_Holder(_View(object())))
_BOXED = _boxed([object()])
_TEMPORARY, _NAMED = _measure()
