"""Functions that are called when a gradient passes. Imports the modules of the engine beside it.

A node or leaf with hooks changes its class, so that the walk needs to look at the hooks of
those alone: the others pay nothing.
"""

import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from gpugrad.backend.device import device_of
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine import record
from gpugrad.engine.messages import check_real
from gpugrad.engine.modes import enable_grad, no_grad
from gpugrad.engine.node import Leaf, Node
from gpugrad.engine.outputs import PICK
from gpugrad.errors import DeviceError, DTypeError, GradientError, ShapeError

__all__ = [
    "Handle", "HookedLeaf", "HookedNode", "add_hook", "completed", "eager", "first_uses",
    "passed", "through",
]  # fmt: skip

# In which order the hooks of one gradient are called, whatever order they came in.
CHANGES, RETAINS, COMPLETES, FOLLOWS = range(4)

_numbers = itertools.count()
# Living leaves to be told as soon as their gradient is complete: the walk has to find out
# when that is only where there are any.
eager: weakref.WeakSet[Any] = weakref.WeakSet()


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
    """What registering a hook returns; ``remove()`` takes the hook away again.

    As a context manager it takes the hook away at the end of the block.
    """

    def __init__(self, node: Any, key: tuple[int, int]) -> None:
        self._node = weakref.ref(node)  # a handle that is kept keeps no graph
        self._key = key

    def remove(self) -> None:
        """Take the hook away; nothing happens where it is gone already."""
        node = self._node()
        hooks = getattr(node, "hooks", {})
        if hooks.pop(self._key, None) is None:
            return
        if not any(order == COMPLETES for order, _ in hooks):
            eager.discard(node)
        if not hooks:
            node.__class__ = Leaf if isinstance(node, Leaf) else Node

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
    if not callable(hook):
        raise GradientError(f"hook: expected a function, got {type(hook).__name__}")
    if type(node) not in (Node, Leaf, HookedNode, HookedLeaf):
        raise GradientError(
            f"hook: {node.op.shown} gives several outputs; each of them takes hooks "
            "(register_hook), the operation does not"
        )
    if order == FOLLOWS and node.op is PICK:
        raise GradientError(
            f"hook: {node.parents[0].op.shown} gives several outputs, which are differentiated "
            "together. Use register_prehook, which gets the gradient of this one"
        )
    if type(node) in (Node, Leaf):
        node.hooks = {}
        node.__class__ = HookedLeaf if isinstance(node, Leaf) else HookedNode
    key = (order, next(_numbers))
    node.hooks[key] = hook
    if order == COMPLETES:
        eager.add(node)
    return Handle(node, key)


def _called(node: Any, order: int) -> Iterator[Callable[..., Any]]:
    """The hooks there are now, in order; one that another of them takes away is not called."""
    for key in sorted(key for key in node.hooks if key[0] == order):
        hook = node.hooks.get(key)
        if hook is not None:
            yield hook


def through(node: Any, g: Any) -> Any:
    """The gradient after the hooks that may change it: raw for a raw one, else a Tensor.

    A hook gets memory of its own, since a gradient may share its memory with others; what it
    changes there counts.
    """
    if isinstance(g, record.Tensor):
        with enable_grad():
            for hook in _called(node, CHANGES):
                shown = g if g._node is not None else record.Tensor(g.data.copy())
                changed = hook(shown)
                g = shown if changed is None else _replacement(hook, changed, g)
            for hook in _called(node, RETAINS):
                hook(g)
        return g
    with no_grad():
        for hook in _called(node, CHANGES):
            shown = record.Tensor(g.copy())
            changed = hook(shown)
            g = (shown if changed is None else _replacement(hook, changed, shown))._array
            del shown, changed  # or the gradient could not be handed to a leaf without a copy
        for hook in _called(node, RETAINS):
            hook(g)
    return g


def _replacement(hook: Callable[..., Any], changed: Any, g: Any) -> Any:
    """What a hook returned in place of ``g``, as a Tensor that is like it."""
    name = getattr(hook, "__qualname__", type(hook).__name__)
    if not isinstance(changed, record.Tensor):
        try:
            known = namespace_of(changed)
        except DTypeError:
            known = None
        if known is None:
            raise DTypeError(
                f"hook {name}: expected a gradient (a Tensor or an array) or None to be returned, "
                f"got {type(changed).__name__}"
            )
        changed = record.Tensor(changed)
    if changed.shape != g.shape:
        raise ShapeError(
            f"hook {name}: expected a gradient of shape {tuple(g.shape)}, got {changed.shape}"
        )
    if device_of(changed._array) != device_of(g._array):
        raise DeviceError(
            f"hook {name}: expected a gradient on {device_of(g._array)}, got one on "
            f"{device_of(changed._array)}"
        )
    if changed.dtype == g.dtype:
        return changed
    check_real(f"hook {name}", changed, g)
    return changed.astype(g.dtype)


def completed(leaf: Any) -> None:
    """Tell those who wait for a leaf's gradient that it is there."""
    with no_grad():
        for hook in _called(leaf, COMPLETES):
            hook()


def passed(node: Any, g: Any, ds: Sequence[Any]) -> None:
    """Show the hooks that follow an operation what goes on to its arguments, and what came in."""
    for hook in _called(node, FOLLOWS):
        if isinstance(g, record.Tensor):
            with enable_grad():
                hook(tuple(ds), g)
            continue
        with no_grad():  # copies, as what is shown may share memory with other gradients
            shown = [None if d is None else record.Tensor(d.copy()) for d in (*ds, g)]
            hook(tuple(shown[:-1]), shown[-1])


def first_uses(nodes: Iterable[Any]) -> dict[Any, int]:
    """For each leaf of ``eager``, the first node that used it, by serial: the last visited."""
    uses: dict[Any, int] = {}
    for node in nodes:  # parents first
        for parent in node.parents:
            if parent.__class__ is HookedLeaf and parent in eager:
                uses.setdefault(parent, node.serial)
    return uses
