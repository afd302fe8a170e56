"""Who holds a tensor's memory, for in-place changes in recorded code. Imports backend and node.

In NumPy a change of a tensor is one of its views, and of the array that it is a view of. Other
tensors over the memory have to be told, and nodes that saved a part of it must keep the old value.
Nothing is noted when a view is made. A change that meets memory which somebody else holds looks for
the holders among tensors and nodes, and the memory keeps a list of those that were found. The list
is complete where it explains all references to the array that owns the memory, to which every view
refers, and to the arrays that the change meets. Further references are an array's of the user,
which belongs to no graph.
"""

import gc
import weakref
from collections.abc import Iterable, Iterator
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import chain
from sys import getrefcount
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpugrad.backend.namespace import NAMESPACES
from gpugrad.engine.node import Node
from gpugrad.engine.windows import Window

__all__ = ["Memory", "alone", "is_temporary", "sharers"]


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
        for parent in one.parents:  # of which two may be one node
            if parent is not None and parent not in near:
                near.append(parent)
    return False


# ---------------------------------------------------------------- memory and its holders


class _Held:
    """An array over a memory, and the tensors and nodes that hold it; all references are weak."""

    __slots__ = ("holders", "key", "reference", "window")

    def __init__(self, array: Any, reference: Any) -> None:
        self.key = id(array)
        self.reference = reference
        self.window = Window(array)
        self.holders: dict[int, Any] = {}  # by identity

    def add(self, holder: Any) -> bool:
        """Note a holder; whether it was new."""
        reference = self.holders.get(id(holder))
        if reference is not None and reference() is holder:
            return False
        self.holders[id(holder)] = weakref.ref(holder)
        return True

    def survey(self) -> tuple[list[Any], int]:
        """Those that hold the array still, and the number of further references to it."""
        array = self.reference()
        living = []
        count = getattr(array, "kept", 0)  # by the recording of a compiled function
        for key, reference in list(self.holders.items()):
            holder = reference()
            own = 0 if holder is None else _count(holder, array)
            if own:
                living.append(holder)
                count += own
            else:
                del self.holders[key]
        del array
        return living, _referred(self.reference) - _REFERRED - count


class Memory:
    """The known arrays over one memory: that which owns it, and views."""

    __slots__ = ("_arrays", "_extents", "_held", "_owner", "_owner_key", "_type")

    def __init__(self, owner: Any) -> None:
        self._type = type(owner)
        self._owner_key = key = id(owner)
        self._arrays: dict[int, _Held] = {}  # by identity
        self._held: list[_Held] = []  # the same and some that are gone, oldest first
        self._extents: Any = np.zeros((4, 0), np.int64)  # of the first of these
        self._owner = self._enter(owner, partial(_memories.pop, key))

    def _enter(self, array: Any, forget: Any = None) -> _Held:
        # A function in C: what arrives in one of Python's that is called back is dropped.
        forget = forget or partial(self._arrays.pop, id(array))
        held = _Held(array, weakref.ref(array, forget))
        if len(self._held) > 2 * len(self._arrays) + 8:
            self._held = [one for one in self._held if self._arrays.get(one.key) is one]
            self._extents = self._extents[:, :0]
        self._held.append(held)
        self._arrays[held.key] = held  # an interrupt before this leaves the array to be found
        return held

    def has(self, array: Any) -> bool:
        """Whether an array is one over the memory."""
        if type(array) is not self._type:
            return False
        return self._owner_key in (id(array), id(getattr(array, "base", None)))

    def window(self, array: Any) -> Window:
        """The window of an array over the memory."""
        held = self._arrays.get(id(array))
        return Window(array) if held is None else held.window

    def look(self, holder: Any) -> bool:
        """Note the arrays over the memory that a tensor or a node holds; whether it is new."""
        is_new = False
        for array in _arrays_of(holder):
            if self.has(array):
                held = self._arrays.get(id(array)) or self._enter(array)
                is_new |= held.add(holder)
        return is_new

    def holders(self, extent: tuple[int, int, int, int]) -> list[Any] | None:
        """All tensors and nodes with an array that may meet a window, given its extent.

        None where others may have one, too.
        """
        living, others = self._owner.survey()
        views = len(self._arrays) - 1  # each refers to the owner
        if others > views:
            return None
        for held in self._meeting(extent):
            if held is not self._owner:
                more, others = held.survey()
                if others > 0:
                    return None
                living += more
        return list(dict.fromkeys(living))

    def _meeting(self, extent: tuple[int, int, int, int]) -> list[_Held]:
        low, high, *_ = extent
        held, arrays = self._held, self._arrays
        if len(held) > 16:
            held = [held[number] for number in self._among_many(*extent)]
        return [
            one
            for one in held
            if one.window.low < high and one.window.high > low and arrays.get(one.key) is one
        ]

    def _among_many(self, low: int, high: int, step: int, size: int) -> list[int]:
        """The numbers in ``_held`` of arrays that may meet a window, by `windows.meet`."""
        rest = self._held[self._extents.shape[1] :]
        if rest:
            more = np.array([one.window.extent for one in rest], np.int64).T
            self._extents = np.concatenate([self._extents, more], axis=1)
        lows, highs, steps, sizes = self._extents
        numbers = np.flatnonzero((lows < high) & (highs > low))
        steps = np.gcd(steps[numbers], step)
        distance = (low - lows[numbers]) % np.maximum(steps, 1)
        between = (sizes[numbers] <= distance) & (distance <= steps - size)
        return numbers[~between].tolist()

    def is_of_nodes(self, known: tuple[Any, ...]) -> bool:
        """Whether nodes alone hold the memory, beside some tensors."""
        for held in reversed(list(self._arrays.values())):  # the last is the likeliest not to be
            living, others = held.survey()
            if others > (len(self._arrays) - 1 if held is self._owner else 0):
                return False
            for holder in living:
                if not isinstance(holder, Node) and not any(holder is one for one in known):
                    return False
        return True

    def forget(self) -> None:
        """Drop the list: the one tensor over the memory leaves it to nodes."""
        _memories.pop(self._owner_key, None)


# By the identity of the array that owns it. A memory that is freed removes its entry.
_memories: dict[int, Memory] = {}


def _arrays_of(holder: Any) -> Iterable[Any]:
    """The raw arrays that a tensor or a node refers to, and other values of a node."""
    if not isinstance(holder, Node):
        return (holder._array,)
    y = getattr(holder, "y", None)
    return (*(getattr(holder, "values", None) or ()), *(y if type(y) is tuple else (y,)))


def _count(holder: Any, array: Any) -> int:
    """How often a tensor or a node refers to an array."""
    count = 0
    for own in _arrays_of(holder):
        count += own is array
    return count


def sharers(
    tensor: Any, extent: Any, cls: type, known: Iterable[Any] = (), newest: Any = None
) -> tuple[Memory, list[Any]] | None:
    """A tensor's memory, and the tensors and nodes that hold a part of it.

    The part is given by its extent, None for that of the tensor. None where others may hold it as
    well. ``cls`` is the class of tensors, ``known`` are some that may share the memory, and
    ``newest`` is a node to search from first.
    """
    owner = tensor._array if _is_owner(tensor._array) else getattr(tensor._array, "base", None)
    if not _is_owner(owner):
        return None
    key = id(owner)
    memory = _memories.get(key)
    if memory is None:
        memory = _memories.setdefault(key, Memory(owner))
    del owner  # which would be a reference
    for holder in (tensor, *known):
        memory.look(holder)
    extent = extent or memory.window(tensor._array).extent
    found = memory.holders(extent)
    if found is not None:
        return memory, found
    for holder in chain(_near(tensor), _behind(tensor._node, newest), _living(cls, key)):
        if memory.look(holder):
            found = memory.holders(extent)
            if found is not None:
                return memory, found
    return None


def _near(tensor: Any) -> list[Any]:
    """The tensor that one was made of as a view, and so on: see `Node.tensor`."""
    found: list[Any] = []
    one = tensor
    while (reference := getattr(one._node, "tensor", None)) is not None:
        one = reference()
        if one is None or one is tensor or any(one is before for before in found):
            break
        found.append(one)
    return found


def _behind(node: Any, newest: Any) -> Iterator[Node]:
    """The nodes of the graphs behind two nodes that may have saved the output of the first.

    These came after it. What saved a tensor without a graph may be anywhere.
    """
    if node is None:
        return
    seen = {node} if newest is None else {node, newest}
    heap = [(-root.serial, root) for root in seen]
    heapify(heap)
    while heap:
        one = heappop(heap)[1]
        if isinstance(one, Node):
            yield one
        for parent in one.parents:
            if parent is not None and parent.serial >= node.serial and parent not in seen:
                seen.add(parent)
                heappush(heap, (-parent.serial, parent))


# Holders that no search of a graph reaches: views of a tensor without a graph, and nodes of graphs
# that neither value comes from. They are searched for among all objects, the youngest first. All
# that are old are looked at together, and filed by memory until garbage is next collected among
# them. Another look is due only after so many objects have grown old that it costs little beside
# making these.

_filed: dict[int, list[Any]] = {}
_filed_at = 0  # the number of collections among old objects when they were filed


def _living(cls: type, key: int) -> Iterator[Any]:
    """Tensors and nodes that may hold a memory, given the identity of its owner."""
    global _filed, _filed_at
    kinds = _with_subclasses(cls) | _with_subclasses(Node)
    if _filed_at != _collections():
        _filed = {}
    yield from _taken(_filed, key)
    # The lists of all objects are gone before one is looked at: they would be references.
    yield from _of_kinds(gc.get_objects(0)[-64:], kinds)
    for generation in (0, 1):
        yield from _of_kinds(gc.get_objects(generation), kinds)
    filed = _by_memory(_of_kinds(gc.get_objects(2), kinds))
    _filed, _filed_at = filed, _collections()
    yield from _taken(filed, key)


def _taken(filed: dict[int, list[Any]], key: int) -> list[Any]:
    """The holders of a memory that are filed, once: its own list has them from then on."""
    return [holder for one in filed.pop(key, ()) if (holder := one()) is not None]


def _collections() -> int:
    """How often garbage was collected among old objects.

    It is asked for: what arrives in a function of Python that the collector calls is dropped.
    """
    return int(gc.get_stats()[2]["collections"])


def _of_kinds(objects: list[Any], kinds: set[Any]) -> list[Any]:
    """The objects of some classes, the last first."""
    return [one for one in reversed(objects) if type(one) in kinds]


def _by_memory(holders: list[Any]) -> dict[int, list[Any]]:
    """Weak references to tensors and nodes, by the identity of the array that owns a memory."""
    filed: dict[int, list[Any]] = {}
    for holder in holders:
        keys = {
            id(array if (base := getattr(array, "base", None)) is None else base)
            for array in _arrays_of(holder)
            if NAMESPACES.get(type(array)) is not None and not isinstance(array, np.generic)
        }
        for key in keys:
            filed.setdefault(key, []).append(weakref.ref(holder))
    return filed


def _with_subclasses(cls: Any) -> set[Any]:
    classes = {cls}
    for below in cls.__subclasses__():
        classes |= _with_subclasses(below)
    return classes


def _is_owner(array: Any) -> bool:
    """Whether it is an array with memory of its own."""
    namespace = NAMESPACES.get(type(array))
    return namespace is not None and namespace.owns_buffer(array)


def is_temporary(references: int) -> bool:
    """Whether an assigned value is held by no name: ``getrefcount`` of it in ``__setitem__``."""
    return references <= _TEMPORARY < _NAMED


# The counts of getrefcount depend on the version of Python, so they are measured: for an array
# that only a tensor holds, one that only a view holds, and one that a weak reference leads to.


def _held(tensor: Any) -> int:
    return getrefcount(tensor._array)


def _held_below(tensor: Any) -> int:
    return getrefcount(tensor._array.base)


def _referred(reference: Any) -> int:
    return getrefcount(reference())


class _Probe:
    references = 0

    def __setitem__(self, index: int, value: Any) -> None:
        self.references = getrefcount(value)


def _measure() -> tuple[int, int, int]:
    probe = _Probe()
    probe[0] = object()
    temporary = probe.references
    named = object()
    probe[0] = named
    held = [_Probe()]
    referred = _referred(weakref.ref(held[0])) - 1  # that of the list
    return temporary, probe.references, referred


_ARRAY = _held(SimpleNamespace(_array=object()))
_BASE = _held_below(SimpleNamespace(_array=SimpleNamespace(base=object())))
_TEMPORARY, _NAMED, _REFERRED = _measure()
