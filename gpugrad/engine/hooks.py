"""Functions that are called when a gradient passes. Imports the modules of the engine beside it.

A node or leaf with hooks changes its class, so that the walk needs to look at the hooks of
those alone: the others pay nothing.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gpugrad.engine import record
from gpugrad.engine.node import Leaf, Node
from gpugrad.errors import GradientError, ShapeError

__all__ = ["Handle", "HookedLeaf", "HookedNode", "add_hook", "first_uses", "passed", "through"]

# In which order the hooks of one gradient are called, whatever order they came in.
CHANGES, RETAINS, COMPLETES, FOLLOWS = range(4)

_numbers = itertools.count()
# Living leaves to be told as soon as their gradient is complete: the walk has to find out
# when that is only where there are any.
eager = 0


class HookedNode(Node):
    """A node whose gradient is shown to hooks."""

    __slots__ = ()


class HookedLeaf(Leaf):
    """A leaf whose gradient is shown to hooks."""

    __slots__ = ()


class Handle:
    """What registering a hook returns; ``remove()`` takes the hook away again.

    As a context manager it takes the hook away at the end of the block.
    """

    def __init__(self, node: Any, key: tuple[int, int]) -> None:
        self._node = node
        self._key = key

    def remove(self) -> None:
        """Take the hook away; nothing happens where it is gone already."""
        global eager
        hooks = getattr(self._node, "hooks", {})
        if hooks.pop(self._key, None) is None:
            return
        if self._key[0] == COMPLETES:
            eager -= 1
        if not hooks:
            self._node.__class__ = Leaf if isinstance(self._node, Leaf) else Node

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def add_hook(node: Any, order: int, hook: Callable[..., Any]) -> Handle:
    """Let ``hook`` be called when a walk passes the node; ``order`` is CHANGES, ...

    CHANGES hooks get the gradient that arrives and may return another; RETAINS hooks get the
    one that results. COMPLETES hooks, of a leaf, are called after it was added to the leaf's
    ``grad``. FOLLOWS hooks, of an operation, get the gradients of its arguments and its own.
    """
    global eager
    if not callable(hook):
        raise GradientError(f"hook: expected a function, got {type(hook).__name__}")
    if type(node) not in (Node, Leaf, HookedNode, HookedLeaf):
        raise GradientError("hook: the outputs of an operation take hooks, the operation does not")
    if type(node) in (Node, Leaf):
        node.hooks = {}
        node.__class__ = HookedLeaf if isinstance(node, Leaf) else HookedNode
    key = (order, next(_numbers))
    node.hooks[key] = hook
    if order == COMPLETES:
        eager += 1
    return Handle(node, key)


def _called(node: Any, order: int) -> list[Callable[..., Any]]:
    return [hook for key, hook in sorted(node.hooks.items()) if key[0] == order]


def through(node: Any, g: Any) -> Any:
    """The gradient after the hooks that may change it: raw for a raw one, else a Tensor."""
    Tensor = record.Tensor
    raw = not isinstance(g, Tensor)
    for hook in _called(node, CHANGES):
        changed = hook(Tensor(g) if raw else g)
        if changed is None:
            continue
        if not isinstance(changed, Tensor):
            changed = Tensor(changed)
        if changed.shape != g.shape:
            raise ShapeError(
                f"hook: expected a gradient of shape {tuple(g.shape)}, got {changed.shape}"
            )
        if changed.dtype != g.dtype:
            changed = changed.astype(g.dtype)
        g = changed._array if raw else changed
    for hook in _called(node, RETAINS):
        hook(g)
    return g


def completed(leaf: HookedLeaf) -> None:
    """Tell those who wait for a leaf's gradient that it is there."""
    for hook in _called(leaf, COMPLETES):
        hook()


def passed(node: Any, g: Any, ds: Sequence[Any]) -> Sequence[Any]:
    """Show the hooks that follow an operation what came in and what goes on, ``ds``."""
    Tensor = record.Tensor
    for hook in _called(node, FOLLOWS):
        shown = [d if d is None or isinstance(d, Tensor) else Tensor(d) for d in (*ds, g)]
        hook(tuple(shown[:-1]), shown[-1])
    return ds


def first_uses(nodes: Iterable[Any]) -> dict[Any, int]:
    """For each hooked leaf, the serial of the first node that used it: the last to be visited."""
    uses: dict[Any, int] = {}
    for node in nodes:  # parents first
        for parent in node.parents:
            if parent.__class__ is HookedLeaf:
                uses.setdefault(parent, node.serial)
    return uses
