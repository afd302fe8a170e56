"""The graph: nodes that hold raw arrays and parent nodes, never a Tensor. Imports op and errors.

There is a node for each recorded operation and a leaf for each tensor made with
``requires_grad=True``. A tensor points at its node and no node points at its tensor (a leaf has a
weak reference, for delivering the gradient), so a graph is freed by reference counting as soon as
the last tensor that needs it is gone.
"""

import itertools
import weakref
from collections.abc import Callable
from typing import Any

from gpugrad.engine.op import Op
from gpugrad.errors import GradientError

__all__ = [
    "CHANGES", "COMPLETES", "FOLLOWS", "RETAINS", "Handle", "HookedLeaf", "HookedNode", "Leaf",
    "Node", "add_hook", "eager", "new_node", "next_serial", "retains",
]  # fmt: skip

# Serial numbers are a clock: they order nodes topologically (parents come first), and they
# stamp in-place changes, which orders those among the nodes.
next_serial: Callable[[], int] = itertools.count(1).__next__


class Node:
    """One recorded operation.

    ``parents[i]`` is the node of array argument ``i``, None where it needs no gradient.
    ``values[i]`` is its raw array where a derivative needs it or where it is a constant,
    else the parent node, which has ``shape`` and ``dtype``. ``values`` is None once the
    graph was freed. ``y`` is the raw output, None where no derivative needs it.
    ``xp`` is the namespace that computed it; ``shape`` and ``dtype`` are the output's.
    ``leaf`` is the serial number of the one leaf that it was computed from, 0 where there may be
    several.

    ``name``, ``hooks``, ``where`` (the line of the user's code that called the operation),
    ``tensor`` (a weak reference to a tensor over the same memory, where the output is a view) and
    ``since`` are unset on most nodes. A recorded walk makes nodes for outputs and residuals of
    others: ``since`` has the serial number of these, which stand outside of what began later.
    """

    __slots__ = (
        "__weakref__", "dtype", "hooks", "leaf", "name", "op", "parameters", "parents", "serial",
        "shape", "since", "tensor", "values", "where", "xp", "y",
    )  # fmt: skip

    def __init__(
        self,
        op: Op,
        parents: tuple[Any, ...],
        values: tuple[Any, ...],
        y: Any,
        xp: Any,
        shape: Any,
        dtype: Any,
        parameters: dict[str, Any] | None,
        leaf: int = 0,
    ) -> None:
        self.serial = next_serial()
        self.leaf = leaf
        self.op = op
        self.parents = parents
        self.values: tuple[Any, ...] | None = values
        self.y = y
        self.xp = xp
        self.shape: Any = shape
        self.dtype = dtype
        self.parameters = parameters

    def register_prehook(self, hook: Callable[[Any], Any]) -> Any:
        """Call ``hook(gradient)`` when the gradient of the output arrives; it may return another.

        Returns a handle whose ``remove()`` removes the hook.
        """
        return add_hook(self, CHANGES, hook)

    def register_hook(self, hook: Callable[[tuple[Any, ...], Any], Any]) -> Any:
        """Call ``hook(argument_gradients, gradient)`` after the node was differentiated.

        Its return value is ignored. The gradient is None for an argument that needs none.
        Returns a handle whose ``remove()`` removes the hook.
        """
        return add_hook(self, FOLLOWS, hook)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.op.shown} {tuple(self.shape)} {self.dtype}>"


_new: Callable[[Any], Any] = object.__new__


def new_node(
    op: Op, parents: tuple[Any, ...], values: tuple[Any, ...], y: Any, xp: Any, shape: Any,
    dtype: Any, parameters: dict[str, Any] | None, leaf: int,
) -> Node:  # fmt: skip
    """A Node, on the path of every op: a call of its class takes half as long again."""
    node: Node = _new(Node)
    node.serial = next_serial()
    node.leaf = leaf
    node.op = op
    node.parents = parents
    node.values = values
    node.y = y
    node.xp = xp
    node.shape = shape
    node.dtype = dtype
    node.parameters = parameters
    return node


class Leaf:
    """The node of a tensor made with ``requires_grad=True``, where paths end.

    ``tensor`` is a weak reference to it: once the tensor is gone, its gradient is not needed.
    ``argument`` is set for an argument of a function that is being differentiated: a copy of that
    is no leaf of its own.
    """

    __slots__ = (
        "__weakref__", "argument", "dtype", "hooks", "leaf", "name", "serial", "shape", "tensor",
    )  # fmt: skip

    op = None
    parents: tuple[Any, ...] = ()

    def __init__(self, tensor: Any, shape: tuple[int, ...], dtype: Any) -> None:
        self.serial = self.leaf = next_serial()
        self.tensor = weakref.ref(tensor)
        self.shape = shape
        self.dtype = dtype

    def __repr__(self) -> str:
        return f"<Leaf {tuple(self.shape)} {self.dtype}>"


# ---------------------------------------------------------------- hooks

# The order in which the hooks of one gradient are called, whenever they were registered.
CHANGES, RETAINS, COMPLETES, FOLLOWS, LENDS = range(5)

_hook_numbers = itertools.count()

# Weak references to leaves with hooks for a complete gradient: only for these does the walk find
# out when it is. No WeakSet, since every walk asks whether there are any.
eager: set[weakref.ref[Any]] = set()


def retains(node: Any) -> bool:
    """Whether ``retain_grad`` was called for the tensor of a node."""
    return any(order == RETAINS for order, _ in getattr(node, "hooks", ()))


class HookedNode(Node):
    """A node whose gradient is shown to hooks."""

    __slots__ = ()


class HookedLeaf(Leaf):
    """A leaf whose gradient is shown to hooks."""

    __slots__ = ()

    def __lt__(self, other: Any) -> bool:
        # Leaves with the same first use wait at the same place of the walk's heap.
        return bool(self.serial < other.serial)


class Handle:
    """A registered hook; ``remove()`` removes it, and so does the end of a ``with`` block."""

    def __init__(self, node: Any, key: tuple[int, int]) -> None:
        self._node = weakref.ref(node)  # so that a handle keeps no graph alive
        self._key = key

    def remove(self) -> None:
        """Remove the hook; nothing happens where it is gone already."""
        node = self._node()
        hooks = getattr(node, "hooks", {})
        if hooks.pop(self._key, None) is None:
            return
        if not any(order == COMPLETES for order, _ in hooks):
            eager.discard(weakref.ref(node))
        if not hooks:
            node.__class__ = Leaf if isinstance(node, Leaf) else Node

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def add_hook(node: Any, order: int, hook: Callable[..., Any]) -> Handle:
    """Register a hook for a walk that passes the node; ``order`` is CHANGES, ...

    CHANGES hooks get the gradient and may return another; RETAINS hooks get the final one.
    COMPLETES hooks, of a leaf, are called after it was added to the leaf's ``grad``; a function
    that they return is called at the end of the walk. LENDS hooks, of such a leaf, return memory in
    which a walk adds up its gradient, or None; the leaf's ``grad`` has it then. FOLLOWS hooks, of
    an operation, get the gradients of its arguments and its own.
    """
    if not callable(hook):
        raise GradientError(f"hook: expected a function, got {type(hook).__name__}")
    if type(node) not in (Node, Leaf, HookedNode, HookedLeaf):
        raise GradientError(
            f"hook: {node.op.shown} gives several outputs; each of them takes hooks "
            "(register_hook), the operation does not"
        )
    whole = node.parents[0] if order == FOLLOWS else None
    if isinstance(whole, Node) and whole.op.outputs:
        raise GradientError(
            f"hook: {whole.op.shown} gives several outputs, which are differentiated together. "
            "Use register_prehook, which gets the gradient of this one"
        )
    if type(node) in (Node, Leaf):
        node.hooks = {}
        node.__class__ = HookedLeaf if isinstance(node, Leaf) else HookedNode
    key = (order, next(_hook_numbers))
    node.hooks[key] = hook
    if order == COMPLETES:
        eager.add(weakref.ref(node, eager.discard))
    return Handle(node, key)
