"""In-place changes in recorded code of tensors that share memory. Imports core, table and hooks.

A tensor in a graph is an array and a node. An in-place change gives it another node, and where
other tensors look at the same elements (a view, the tensor that it is a view of) it writes into
the shared memory and gives them other nodes too. What a graph has saved keeps its old value, as a
copy where it lies in the memory that changes. So a gradient is that of the values that NumPy's code
would have computed.
"""

import contextlib
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np

from gpugrad.backend.device import beside, device_of
from gpugrad.backend.interrupts import whole
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine import versions
from gpugrad.engine.aliasing import Memory, alone, sharers
from gpugrad.engine.backward import reachable
from gpugrad.engine.modes import levels, recording
from gpugrad.engine.node import HookedNode, Leaf, Node, next_serial
from gpugrad.engine.op import TABLE
from gpugrad.engine.windows import (
    Window,
    apart,
    check_writable,
    index_within,
    is_same,
    meet,
    overlap,
)  # fmt: skip
from gpugrad.errors import DTypeError, GradientError, ShapeError
from gpugrad.ops.index import is_basic, split
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.hooks import move_retained
from gpugrad.tensor.table import OPS

__all__ = ["Change", "change_in_place", "changes_of_older", "check_fits", "is_assigned", "unshared"]


class Change:
    """An in-place change of a tensor in recorded code, in two steps.

    The first, making it, finds who else looks at the memory, before the new value is computed. The
    elements change at ``index`` alone, an index without arrays, if there is one. ``value`` is the
    assigned tensor and ``newest`` its node; with ``passing`` it is not to be told of the change,
    since nobody has it. GradientError where an array beside the tensors and nodes has the memory
    too.
    """

    __slots__ = ("index", "memory", "nodes", "others", "start", "tensor", "who", "window")

    def __init__(
        self,
        who: str,
        tensor: Tensor,
        index: Any = None,
        value: Any = None,
        newest: Any = None,
        passing: bool = False,
    ) -> None:
        self.who, self.tensor, self.index = who, tensor, index
        self.memory: Memory | None = None
        node = tensor._node
        if node is None or node.op.name in _READ_ONLY:
            check_writable(who, tensor._array)
        if alone(tensor):
            return
        known = (value,) if isinstance(value, Tensor) and value is not tensor else ()
        memory, holders = self._found(known, newest)
        tensors = [one for one in holders if isinstance(one, Tensor) and one is not tensor]
        self.others = [one for one in tensors if not (passing and one is value)]
        if not self.others and memory.is_of_nodes((tensor, value) if passing else (tensor,)):
            memory.forget()
            return
        self.memory, self.start = memory, next_serial()
        self.nodes = [one for one in holders if isinstance(one, Node)]
        check_writable(who, tensor._array)

    def _found(self, known: tuple[Tensor, ...], newest: Any) -> tuple[Memory, list[Any]]:
        """The memory, and all tensors and nodes that the change may concern."""
        tensor = self.tensor
        extent = None if self.index is None else Window(self._part()).extent
        while True:
            found = sharers(tensor, extent, Tensor, known, newest)
            if found is None:
                raise self._refused("array (that it was made of, its .data, a view of these)")
            if tensor._node is not None:
                return found
            # A tensor without a graph brings into one what it meets, and what these meet.
            memory, holders = found
            drawn = [one for one in holders if isinstance(one, Tensor) and one._node is None]
            windows = [memory.window(one._array) for one in (tensor, *drawn)]
            before = extent
            extent = min(one.low for one in windows), max(one.high for one in windows), 1, 1
            if extent == before:
                return found

    def _part(self) -> Any:
        """The part of the array that changes."""
        array = self.tensor.data
        return array if self.index is None else array[_of_a_view(self.index)]

    def done(self, result: Tensor) -> None:
        """The second step: ``result`` is the new value."""
        tensor = self.tensor
        if self.memory is None:
            _bind(tensor, result._array, result._node)
            return
        if self._window(tensor).address is None:
            raise self._refused("tensor, and nothing is known of its place in memory")
        with device_of(tensor._array).activate():
            part, piece = self._part(), result
            if self.index is not None:
                piece = OPS["getitem"](result, index=_of_a_view(self.index))
            self.window = self.memory.window(part)
            changed = [(one, self._node_of(one, piece)) for one in self._concerned()]
            made = [result._node, *(node for _, node in changed)]
            recent = reachable([node for node in made if node is not None], self.start)
            for node in (*self.nodes, *recent):
                _keep(node, self.memory, self.window)
        for _, node in changed:
            if node is not None:
                node.tensor = weakref.ref(tensor)
        bound = [(tensor, result._node), *changed]
        before = [one._node for one, _ in bound]
        calls = [partial(setattr, one, "_node", node) for one, node in bound]
        whole([*versions.writing(part, piece._array), *calls])
        for (one, _), node in zip(bound, before, strict=True):
            _follow(one, node)

    def _concerned(self) -> list[Tensor]:
        """The other tensors that get a new node."""
        if self.tensor._node is None:
            return self._drawn_in()
        met = [one for one in self.others if meet(self._window(one), self.window)]
        for one in met:
            self._check(one)
        # One without a graph is a detached one, to which the new numbers alone matter.
        return [one for one in met if one._node is not None]

    def _drawn_in(self) -> list[Tensor]:
        """The other tensors without a graph that have elements of this one, or of each other.

        They belong to the graph from now on: a later change of one is a change of the others.
        """
        drawn, rest = [self.tensor], self.others
        for one in drawn:  # which grows
            met = [other for other in rest if meet(self._window(other), self._window(one))]
            if not met:
                continue
            rest = [other for other in rest if not any(other is before for before in met)]
            for other in met:
                if not isinstance(other._node, Leaf) or meet(self._window(other), self.window):
                    self._check(other)
                    drawn.append(other)
        return drawn[1:]

    def _window(self, tensor: Tensor) -> Window:
        assert self.memory is not None
        return self.memory.window(tensor._array)

    def _node_of(self, other: Tensor, piece: Tensor) -> Any:
        """The new node of a tensor, where the elements that change get the value ``piece``."""
        window, part = self._window(other), self.window
        index = self._index_in(other)
        if index is None:
            index = index_within(window, part)
        if index is not None:
            return _node_of_part(other, piece, index)
        if (index := index_within(part, window)) is not None:
            return OPS["getitem"](piece, index=index)._node
        nothing = np.zeros(0, int)
        pair = overlap(window, part) or (nothing, nothing)
        own, places = (beside(numbers, piece._array, asked=True) for numbers in pair)
        picked = OPS["getitem"](OPS["reshape"](piece, -1), places, index=_ARRAY)
        if own.size < other.size:
            picked = OPS["index_set"](OPS["reshape"](other, -1), picked, own, index=_ARRAY)
        return OPS["reshape"](picked, other.shape)._node

    def _index_in(self, other: Tensor) -> Any:
        """The index by which the tensor was made of another, where neither has changed since.

        `index_within` would find an equal one.
        """
        node = self.tensor._node
        if self.index is not None or node is None or node.op.name != "getitem":
            return None
        if node.parents[0] is not other._node or not _is_near(node, other):
            return None
        return node.parameters["index"]

    def _check(self, other: Tensor) -> None:
        if isinstance(other._node, Leaf):
            raise GradientError(
                f"{self.who}: this tensor of shape {self.tensor.shape} is a view of a leaf that "
                "requires a gradient, which cannot be changed in place while operations are "
                "recorded. Make a new tensor (`v = v + d` or `v = v.at[index].set(value)`), or "
                "copy the view first (`v = w[0].copy()`)"
            )
        if self.tensor._node is None and other._node is not None:
            raise GradientError(
                f"{self.who}: this tensor of shape {self.tensor.shape} is no part of the graph of "
                "another that has the same memory, as a .detach() of it or a view made under "
                "no_grad. Write `t = t.copy()` first, or make a new tensor with "
                "`t = t.at[index].set(value)` or `t = t + d`"
            )
        if other.dtype != self.tensor.dtype and other._node is not self.tensor._node:
            raise self._refused(f"tensor of dtype {other.dtype}, such as its .real")

    def _refused(self, whom: str) -> GradientError:
        return GradientError(
            f"{self.who}: the memory of this tensor of shape {self.tensor.shape} is shared with "
            f"another {whom}, which a recorded change would not reach, as NumPy's would. Write "
            "`t = t.copy()` first, or make a new tensor with `t = t.at[index].set(value)` or "
            "`t = t + d`"
        )


_ARRAY, _ = split(np.zeros(1, int))  # the pattern of an index that is one array
_INDEX_SET = TABLE["index_set"]
_READ_ONLY = {"broadcast_to", "diagonal", "windows"}  # ops to whose results NumPy does not write


def change_in_place(who: str, tensor: Tensor, other: Any, operator: Any) -> Any:
    """``tensor += other`` and the like in recorded code; the tensor, or NotImplemented."""
    node = tensor._node
    change = None  # mostly nobody else looks at the memory
    newest = getattr(other, "_node", None)
    if node is None or node.op.name in _READ_ONLY or not alone(tensor, newest):
        change = Change(who, tensor, newest=newest)
    result = operator(tensor, other)
    if result is NotImplemented:
        return result
    array, before = result._array, tensor._array
    if array.dtype is not before.dtype or array.shape != before.shape:
        check_fits(who, tensor, result)
        result = OPS["astype"](result, before.dtype)
    if change is None:
        _bind(tensor, result._array, result._node)
    else:
        change.done(result)
    return tensor


# Where recorded changes are noted: a weak reference to each tensor, and the serial number of its
# node before the change.
_noted: ContextVar[list[tuple[Any, int]] | None] = ContextVar("gpugrad_changes", default=None)


@contextlib.contextmanager
def changes_of_older() -> Iterator[list[Tensor]]:
    """A block; at its end the list has the tensors from before it that it changed, recorded.

    A tensor without a graph may be one that the block made: it counts if it is alive at the end.
    """
    found: list[Tensor] = []
    start = next_serial()
    outer = _noted.get()
    noted: list[Any] = []
    try:
        _noted.set(noted)
        yield found
    finally:
        _noted.set(outer)
    living = [reference() for reference, serial in noted if serial < start]
    found += [tensor for tensor in living if tensor is not None]


def unshared(result: Tensor, x: Tensor) -> Tensor:
    """The result of a function that copies in NumPy: a copy of it where it is a view of x."""
    own = result._array
    xp = namespace_of(own)
    if isinstance(own, np.generic) or xp.owner_of(own) is not xp.owner_of(x._array):
        return result
    copy: Tensor = OPS["astype"](result, own.dtype)
    return copy


def check_fits(who: str, tensor: Tensor, result: Tensor) -> None:
    """ShapeError or DTypeError for a result that does not go into a tensor in place."""
    if result.shape != tensor.shape:
        raise ShapeError(
            f"{who}: the result has shape {result.shape}, which does not fit in place "
            f"of {tensor.shape}"
        )
    if not np.can_cast(result.dtype, tensor.dtype, "same_kind"):
        raise DTypeError(
            f"{who}: the result has dtype {result.dtype}, which does not fit in place "
            f"of {tensor.dtype}"
        )


def _bind(tensor: Tensor, array: Any, node: Any) -> None:
    """Give a tensor another array and node; its name and its retained gradient go with it."""
    before = tensor._node
    tensor._array, tensor._node = array, node
    _follow(tensor, before)


def _follow(tensor: Tensor, before: Any) -> None:
    """What goes with a tensor that had another node before."""
    node = tensor._node
    if (changes := _noted.get()) is not None:
        changes.append((weakref.ref(tensor), 0 if before is None else before.serial))
    if node is not None and (name := getattr(tensor, "_name", None)) is not None:
        node.name = name
    if isinstance(before, HookedNode):
        move_retained(tensor, before)


def _node_of_part(other: Tensor, piece: Tensor, index: Any) -> Any:
    """The node of ``index_set(other, piece, index=index)``.

    Its value is written to the memory that is shared. So mostly it is not computed: it would be a
    copy of all of ``other`` for a change of one row.
    """
    parents = other._node, piece._node
    is_seen = recording.get() is not True or levels.get()  # somebody wants to see the operation
    if is_seen or None in parents:
        return OPS["index_set"](other, piece, index=index)._node
    x = other._array
    op = _INDEX_SET if x.dtype.kind != "c" else _INDEX_SET.over_complex()
    parameters = {"index": index, "ordered": False}
    return Node(op, parents, parents, None, namespace_of(x), x.shape, x.dtype, parameters)


def is_assigned(tensor: Tensor, index: Any, value: Any) -> bool:
    """Whether the tensor's last change was one of this very view of it, at this index."""
    node = tensor._node
    if node is None or not isinstance(value, Tensor) or value._node is None:
        return False
    if not _is_near(node, value) or node.op.name != "index_set" or not is_basic(index):
        return False
    if node.parents[1] is not value._node:
        return False
    if node.parameters["index"] == index:
        return True
    return is_same(Window(tensor.data[_of_a_view(index)]), Window(value.data))


def _is_near(node: Any, tensor: Tensor) -> bool:
    """Whether a node's output is known to share its memory with a tensor: see `Node.tensor`."""
    reference = getattr(node, "tensor", None)
    return reference is not None and reference() is tensor


def _of_a_view(index: Any) -> Any:
    """The same index, by which an array gives a view of one element too, and no number."""
    parts = index if isinstance(index, tuple) else (index,)
    for part in parts:
        if part is Ellipsis:
            return parts
    return (*parts, Ellipsis)


def _keep(node: Any, memory: Memory, part: Window) -> None:
    """Copy what a node saved of the part of a memory that is about to change."""

    def kept(value: Any) -> Any:
        if memory.has(value) and not apart(memory.window(value), part):
            return versions.copied(value)
        return value

    if node.values is not None:
        node.values = tuple([kept(value) for value in node.values])
    if node.y is not None:
        node.y = tuple(map(kept, node.y)) if type(node.y) is tuple else kept(node.y)
