"""Who holds a tensor's memory, for in-place changes in recorded code. Imports backend and node.

In NumPy a change of a tensor is one of its views, and of the array that it is a view of. Other
tensors over the memory have to be told, and nodes that saved a part of it must keep the old value.
Nothing is noted when a view is made. The garbage collector knows tensors and nodes, but not NumPy's
arrays, so references are counted: those beside the references of tensors and nodes are an array's
of the user, which belongs to no graph.
"""

import gc
import sys
import weakref
from collections.abc import Iterable
from heapq import heappop, heappush
from sys import getrefcount
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpugrad.backend.namespace import NAMESPACES, namespace_of
from gpugrad.engine.node import Node
from gpugrad.errors import ArgumentError

__all__ = [
    "Sharers", "alone", "apart", "bounds", "check_writable", "is_temporary", "overlap", "repeats",
    "sharers",
]  # fmt: skip


def alone(tensor: Any, newest: Any = None) -> bool:
    """Whether nobody else refers to a tensor's array, or to its base where it is a view.

    A node may have saved it that is near ``newest``, a node.
    """
    if isinstance(tensor._array, np.generic):  # a value, which nothing can change
        return True
    array = tensor._array
    node = tensor._node
    # One reference is that of this variable, and one may be that of the node, for its derivative.
    saved = node is not None and getattr(node, "y", None) is array
    others = _held(tensor) - (_ARRAY + 1 + saved)
    if others > 0:
        return newest is not None and _is_owner(array) and _saved_near(newest, node, array, others)
    if _is_owner(array):
        return True
    if saved:
        return False
    if getattr(array, "base", None) is None:  # a type without `base`
        return False
    return _held_below(tensor) <= _BASE and _is_owner(array.base)


def _saved_near(newest: Any, own: Any, array: Any, count: int) -> bool:
    """Whether a few nodes before ``newest`` refer to an array, the output of ``own``, so often.

    The output of ``own`` itself is not counted.
    """
    near = [newest]
    for one in near:
        for value in getattr(one, "values", None) or ():
            count -= value is array
        count -= one is not own and getattr(one, "y", None) is array
        if count <= 0:
            return True
        if len(near) > 8:
            return False
        near += [parent for parent in one.parents if parent is not None and parent not in near]
    return False


class Sharers:
    """Whoever refers to the memory of a tensor: other ``tensors``, and ``nodes`` of graphs.

    Each array over the memory is in a list with one element, so that the references of this class
    are known too.
    """

    def __init__(self, tensor: Any) -> None:
        array = tensor._array
        owner = array if _is_owner(array) else getattr(array, "base", None)
        self.known = _is_owner(owner)
        self._type = type(array)
        self.tensors: list[Any] = []
        self.nodes: list[Any] = []
        self._seen = {id(tensor)}
        self._owner = id(owner)
        self._boxes: dict[int, list[Any]] = {self._owner: [owner]}
        self._counts: dict[int, int] = {self._owner: 0}
        self._count(array)

    def look(self, holder: Any) -> bool:
        """Explain the references that a tensor or a node holds; whether there were new ones."""
        if id(holder) in self._seen:
            return False
        self._seen.add(id(holder))
        is_new = False
        if isinstance(holder, Node):
            y = getattr(holder, "y", None)
            for held in (getattr(holder, "values", None) or (), y if type(y) is tuple else (y,)):
                for value in held:
                    if type(value) is self._type and self.has(value):
                        self._count(value)
                        is_new = True
            if is_new:
                self.nodes.append(holder)
        elif self.has(array := getattr(holder, "_array", None)):
            self._count(array)
            self.tensors.append(holder)
            is_new = True
        return is_new

    def _count(self, array: Any) -> None:
        """Explain one reference to an array over the memory."""
        self._boxes.setdefault(id(array), [array])
        self._counts[id(array)] = self._counts.get(id(array), 0) + 1

    def has(self, array: Any) -> bool:
        """Whether an array is one over the memory."""
        if type(array) is not self._type:
            return False
        return id(array) == self._owner or id(getattr(array, "base", None)) == self._owner

    def seen_before(self) -> list[Any]:
        """The living tensors over the memory that the last search found."""
        _, references = _last_found.get(self._owner, (None, ()))
        return [tensor for reference in references if (tensor := reference()) is not None]

    def remember(self, tensor: Any) -> None:
        """Keep the tensors that were found for the next change of the memory."""
        key = self._owner
        watch, _ = _last_found.get(key, (None, ()))
        if watch is None:
            watch = weakref.ref(self._boxes[key][0], lambda _: _last_found.pop(key, None))
        _last_found[key] = watch, [weakref.ref(one) for one in (tensor, *self.tensors)]

    def explained(self) -> bool:
        """Whether all references to all of the arrays are explained."""
        for key, box in self._boxes.items():
            expected = self._counts[key]
            if key == self._owner:
                expected += len(self._boxes) - 1  # the views refer to it
            if _boxed(box) - _BOXED > expected:
                return False
        return True


# By the identity of the array that owns the memory: a weak reference that removes the entry when
# the memory is freed, and weak references to the tensors that a search through all objects found.
_last_found: dict[int, tuple[Any, list[Any]]] = {}


def sharers(tensor: Any, cls: type, known: Iterable[Any] = (), newest: Any = None) -> Any:
    """The `Sharers` of a tensor's memory; None where something else holds it as well.

    ``cls`` is the class of tensors, ``known`` are some that may share the memory, and ``newest``
    is a node to search from first.
    """
    users = Sharers(tensor)
    if not users.known:
        return None
    for other in (*known, *_near(tensor), *users.seen_before()):
        users.look(other)
    node = tensor._node
    if node is not None:
        users.look(node)
    if users.explained() or _explained_by_graph(users, node, newest):
        return users
    # Views of a tensor without a graph, and graphs that neither value comes from, have to be
    # searched for among all objects, the youngest first.
    for generation in range(3):
        for kinds in (_with_subclasses(cls), _with_subclasses(Node)):
            for holder in [o for o in gc.get_objects(generation) if type(o) in kinds]:
                users.look(holder)
            if users.explained():
                users.remember(tensor)
                return users
    return None


def _near(tensor: Any) -> list[Any]:
    """Tensors over the same memory that can be reached from a tensor: see `Node.tensor`."""
    reached = [tensor]
    for one in reached:
        reference = None if one._node is None else getattr(one._node, "tensor", None)
        other = None if reference is None else reference()
        if other is not None and not any(other is before for before in reached):
            reached.append(other)
    return reached[1:]


def _explained_by_graph(users: Sharers, node: Any, newest: Any) -> bool:
    """Whether a search of the graphs behind two nodes is enough."""
    # Mostly, the nodes that saved the array came after the one that computed it.
    first = 0 if node is None else node.serial
    seen = set()
    heap: list[tuple[int, Any]] = []
    for root in (node, newest):
        if root is not None and root not in seen:
            seen.add(root)
            heappush(heap, (-root.serial, root))
    while heap:
        one = heappop(heap)[1]
        if isinstance(one, Node) and users.look(one) and users.explained():
            return True
        for parent in one.parents:
            if parent is not None and parent.serial >= first and parent not in seen:
                seen.add(parent)
                heappush(heap, (-parent.serial, parent))
    return False


def _with_subclasses(cls: Any) -> set[Any]:
    classes = {cls}
    for below in cls.__subclasses__():
        classes |= _with_subclasses(below)
    return classes


# Where two arrays over one memory meet.


def repeats(array: Any) -> bool:
    """Whether several elements are one in memory, as after broadcasting."""
    strides = getattr(array, "strides", ())
    return (
        0 in strides
        and array.size > 0
        and any(stride == 0 and size > 1 for size, stride in zip(array.shape, strides, strict=True))
    )


def check_writable(who: str, array: Any) -> None:
    """ArgumentError where a change of one element would be a change of others, or is forbidden."""
    if repeats(array):
        raise ArgumentError(
            f"{who}: the tensor of shape {tuple(array.shape)} was made by broadcasting: several of "
            "its elements are one in memory, and would all change. Write `t = t.copy()` first"
        )
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        raise ArgumentError(
            f"{who}: the tensor of shape {array.shape} is over memory that NumPy does not write "
            "to, such as that of diagonal, sliding_window_view or a constant array. Write "
            "`t = t.copy()` first"
        )


def overlap(array: Any, window: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """The elements of an array that lie in a window: their numbers in both; None if there are none.

    The elements of the window are distinct. Addresses alone are looked at, on the host.
    """
    if apart(array, bounds(window)):
        return None
    places, of_window = _places(array), _places(window)
    order = np.argsort(of_window)
    nearest = np.searchsorted(of_window, places, sorter=order)
    nearest = order[np.minimum(nearest, order.size - 1)]
    own = np.flatnonzero(of_window[nearest] == places)
    return (own, nearest[own]) if own.size else None


def apart(array: Any, other: tuple[int, int]) -> bool:
    """Whether an array ends before another begins, or begins after its end, given its `bounds`.

    If not, they may have no common element all the same.
    """
    low, high = bounds(array)
    return bool(high <= other[0] or other[1] <= low)


def _steps(array: Any) -> list[tuple[int, int]]:
    return list(zip(array.shape, array.strides, strict=True))


def bounds(array: Any) -> tuple[int, int]:
    """The addresses of the first byte of an array and after the last; all where it is unknown."""
    low = namespace_of(array).address(array)
    if low is None:
        return 0, sys.maxsize
    if array.size == 0:
        return low, low
    high = low + array.dtype.itemsize
    for size, stride in _steps(array):
        low += min((size - 1) * stride, 0)
        high += max((size - 1) * stride, 0)
    return low, high


def _places(array: Any) -> np.ndarray:
    """The address of each element, in the order of the elements."""
    places = np.asarray(NAMESPACES[type(array)].address(array), np.int64)
    for size, stride in _steps(array):
        places = places[..., None] + np.arange(size) * stride
    return places.reshape(-1)


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
