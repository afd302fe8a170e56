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
from typing import Any

import numpy as np

from gpugrad.backend.device import beside, device_of
from gpugrad.backend.namespace import NAMESPACES, namespace_of
from gpugrad.engine import versions
from gpugrad.engine.aliasing import Sharers, alone, apart, bounds, check_writable, overlap, sharers
from gpugrad.engine.backward import reachable
from gpugrad.engine.modes import recording
from gpugrad.engine.node import HookedNode, Leaf, Node, next_serial
from gpugrad.engine.op import TABLE
from gpugrad.errors import DTypeError, GradientError, ShapeError
from gpugrad.ops.index import is_basic, split
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.hooks import move_retained
from gpugrad.tensor.table import OPS

__all__ = ["Change", "change_in_place", "changes_of_older", "check_fits", "is_assigned", "unshared"]


class Change:
    """An in-place change of a tensor in recorded code, in two steps.

    The first, making it, finds who else looks at the memory, before the new value is computed.
    ``value`` is the assigned tensor and ``newest`` its node; with ``passing`` it is not to be told
    of the change, since nobody has it. GradientError where an array beside the tensors and nodes
    has the memory too.
    """

    __slots__ = ("others", "start", "tensor", "users", "who")

    def __init__(
        self, who: str, tensor: Tensor, value: Any = None, newest: Any = None, passing: bool = False
    ) -> None:
        self.who = who
        self.tensor = tensor
        self.users: Sharers | None = None
        node = tensor._node
        if node is None or node.op.name in _READ_ONLY:
            check_writable(who, tensor._array)
        if alone(tensor):
            return
        known = (value,) if isinstance(value, Tensor) and value is not tensor else ()
        users = sharers(tensor, Tensor, known, newest)
        if users is None:
            raise self._refused("array (that it was made of, its .data, a view of these)")
        self.others = [one for one in users.tensors if not (passing and one is value)]
        if not self.others:
            return
        self.users, self.start = users, next_serial()
        check_writable(who, tensor._array)

    def done(self, result: Tensor, index: Any = None) -> None:
        """The second step: ``result`` is the new value.

        It differs from the old one at ``index`` alone, an index without arrays, if there is one.
        """
        tensor = self.tensor
        if self.users is None:
            _bind(tensor, result._array, result._node)
            return
        if NAMESPACES[type(tensor._array)].address(tensor._array) is None:
            raise self._refused("tensor, and nothing is known of its place in memory")
        with device_of(tensor._array).activate():
            if index is None:
                part, piece = tensor.data, result
            else:
                index = _of_a_view(index)
                part, piece = tensor.data[index], OPS["getitem"](result, index=index)
            ends = bounds(part)
            nodes = [(one, self._node_of(one, piece, part, ends)) for one in self.others]
            changed = [(one, node) for one, node in nodes if node is not None]
            made = [result._node, *(node for _, node in changed)]
            recent = reachable([node for node in made if node is not None], self.start)
            for node in (*self.users.nodes, *recent):
                _keep(node, self.users)
            part[...] = piece._array
        _bind(tensor, tensor._array, result._node)
        for one, node in changed:
            _bind(one, one._array, node)
            node.tensor = weakref.ref(tensor)
            if tensor._node is not None:
                tensor._node.tensor = weakref.ref(one)

    def _node_of(self, other: Tensor, piece: Tensor, part: Any, ends: tuple[int, int]) -> Any:
        """The new node of another tensor; None where it does not look at the changed elements."""
        if part is self.tensor._array and (view := self._as_view_of(other)) is not None:
            return _node_of_part(other, piece, view)
        if other._array.size == 0 or part.size == 0 or apart(other.data, ends):
            return None
        if other.dtype != self.tensor.dtype:
            self._check(other)  # parts of elements are not told apart
        pair = overlap(other.data, part)
        if pair is None:
            return None
        self._check(other)
        own, places = (beside(numbers, part, asked=True) for numbers in pair)
        picked = OPS["getitem"](OPS["reshape"](piece, -1), places, index=_ARRAY)
        if own.size < other.size:
            flat = OPS["reshape"](other, -1)
            picked = OPS["index_set"](flat, picked, own, index=_ARRAY)
        return OPS["reshape"](picked, other.shape)._node

    def _as_view_of(self, other: Tensor) -> Any:
        """The index that made the tensor a view of another, where neither has changed since."""
        node = self.tensor._node
        if node is None or node.op.name != "getitem" or isinstance(other._node, Leaf):
            return None
        if node.parents[0] is not other._node or not _near(node, other):
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
        if (other._node is None) != (self.tensor._node is None):
            raise self._refused("tensor that is no part of the graph, such as its .detach()")
        if other.dtype != self.tensor.dtype:
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
    if (changes := _noted.get()) is not None:
        changes.append((weakref.ref(tensor), 0 if before is None else before.serial))
    tensor._array, tensor._node = array, node
    if node is not None and (name := getattr(tensor, "_name", None)) is not None:
        node.name = name
    if isinstance(before, HookedNode):
        move_retained(tensor, before)


def _node_of_part(other: Tensor, piece: Tensor, index: Any) -> Any:
    """The node of ``index_set(other, piece, index=index)``.

    Its value is written to the memory that is shared. So mostly it is not computed: it would be a
    copy of all of ``other`` for a change of one row.
    """
    if recording.get() is not True:  # somebody wants to see the operation
        return OPS["index_set"](other, piece, index=index)._node
    x, v = other._array, piece._array
    op = _INDEX_SET if x.dtype.kind != "c" else _INDEX_SET.over_complex()
    parents = other._node, piece._node
    values = other._node, v if piece._node is None else piece._node
    parameters = {"index": index, "ordered": False}
    return Node(op, parents, values, None, namespace_of(x), x.shape, x.dtype, parameters)


def is_assigned(tensor: Tensor, index: Any, value: Any) -> bool:
    """Whether the tensor's last change was one of this very view of it, at this index."""
    node = tensor._node
    if not isinstance(value, Tensor) or value._node is None or not is_basic(index):
        return False
    if node is None or node.parents[1] is not value._node or not _near(node, value):
        return False
    return bool(node.parameters["index"] == index)


def _near(node: Any, tensor: Tensor) -> bool:
    """Whether a node's output is known to share its memory with a tensor."""
    reference = getattr(node, "tensor", None)
    return reference is not None and reference() is tensor


def _of_a_view(index: Any) -> Any:
    """The same index, by which an array gives a view of one element too, and no number."""
    parts = index if isinstance(index, tuple) else (index,)
    for part in parts:
        if part is Ellipsis:
            return parts
    return (*parts, Ellipsis)


def _keep(node: Any, users: Sharers) -> None:
    """Copy what a node saved of the memory that is about to change.

    All of it, so that no later change has to search for the node.
    """

    def kept(value: Any) -> Any:
        return versions.copied(value) if users.has(value) else value

    if node.values is not None and any(map(users.has, node.values)):
        node.values = tuple(map(kept, node.values))
    if type(node.y) is tuple:
        node.y = tuple(map(kept, node.y))
    elif users.has(node.y):
        node.y = kept(node.y)
