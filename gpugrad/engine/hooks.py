"""Functions that are called when a gradient passes. Imports the modules of the engine beside it.

A node or leaf with hooks changes its class, so that the walk has no work for nodes without hooks.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from heapq import heappush
from typing import Any
from weakref import ref

from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.precision import DOUBLE, SINGLE
from gpugrad.engine import record
from gpugrad.engine.accumulate import Gradients
from gpugrad.engine.messages import check_gradient
from gpugrad.engine.modes import enable_grad, no_grad, observer
from gpugrad.engine.node import (
    CHANGES,
    COMPLETES,
    FOLLOWS,
    LENDS,
    RETAINS,
    HookedLeaf,
    HookedNode,
    eager,
)
from gpugrad.errors import DTypeError

__all__ = [
    "HookedLeaf", "HookedNode", "borrow", "call_after_node", "call_on_gradient", "deliver_eagerly",
    "eager", "first_uses", "silenced",
]  # fmt: skip


_silent: ContextVar[bool] = ContextVar("gpugrad_silent", default=False)


@contextmanager
def silenced() -> Iterator[None]:
    """A block in which a walk calls no hook and no observer, for tools that look at a graph."""
    silent, watch = _silent.get(), observer.get()
    try:
        _silent.set(True)
        observer.set(None)
        yield
    finally:
        _silent.set(silent)
        observer.set(watch)


def _hooks(node: Any, order: int) -> Iterator[Callable[..., Any]]:
    """The hooks of a node, without those that another of them removes meanwhile."""
    if _silent.get():
        return
    for key in sorted(key for key in node.hooks if key[0] == order):
        hook = node.hooks.get(key)
        if hook is not None:
            yield hook


def call_on_gradient(node: Any, g: Any) -> Any:
    """The gradient after the hooks that may change it: raw for a raw one, else a Tensor.

    A hook gets a copy, since a gradient may share its memory with others, or with a value of the
    graph; a change of the copy in place changes the gradient.
    """
    recorded = isinstance(g, record.Tensor)
    with enable_grad() if recorded else no_grad():
        if recorded:
            g = g.copy()
        for hook in _hooks(node, CHANGES):
            shown = g if recorded else record.Tensor(g.copy())
            changed = hook(shown)
            after = shown if changed is None else _replacement(hook, changed, shown)
            g = after if recorded else after._array
            del shown, changed, after  # a reference would force a copy when the leaf gets it
        for hook in _hooks(node, RETAINS):
            hook(g)
    return g


def _replacement(hook: Callable[..., Any], changed: Any, g: Any) -> Any:
    """The gradient that a hook returned in place of ``g``, as a Tensor with its dtype."""
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
    check_gradient(f"hook {name}", changed._array, g._array)
    return changed if changed.dtype == g.dtype else changed.astype(g.dtype)


def deliver_eagerly(leaf: Any, sums: Gradients, deliver: Callable[..., None] | None) -> None:
    """Add a leaf's gradient to its ``grad`` and call the hooks that wait for it, if any.

    A function that a hook returns is called once at the end of the walk, whatever the number of
    hooks that return it.
    """
    if deliver is None or ref(leaf) not in eager:
        return
    memory, tensor = sums.borrowed.get(leaf), leaf.tensor()
    is_first = tensor is not None and getattr(tensor, "_grad", None) is None
    if memory is not None and sums.results[leaf] is memory and is_first:
        tensor._grad = record.Tensor(sums.results.pop(leaf))
    else:
        deliver(sums.results, leaf)
    with no_grad():
        for hook in _hooks(leaf, COMPLETES):
            function = hook()
            if function is not None:
                sums.at_end = {**dict.fromkeys(sums.at_end), function: None}


def call_after_node(node: Any, g: Any, ds: Sequence[Any]) -> None:
    """Call the hooks that follow an operation, with its arguments' gradients and its own."""
    for hook in _hooks(node, FOLLOWS):
        if isinstance(g, record.Tensor):
            with enable_grad():
                hook(tuple(ds), g)
            continue
        with no_grad():  # copies, since gradients may share memory
            shown = [None if d is None else record.Tensor(d.copy()) for d in (*ds, g)]
            hook(tuple(shown[:-1]), shown[-1])


def borrow(uses: dict[Any, int], sums: Gradients, ready: list[tuple[float, Any]]) -> None:
    """Begin the gradients of leaves in memory that hooks lend for them, with zeros or a seed."""
    for leaf, serial in uses.items():
        if leaf.dtype not in (SINGLE, DOUBLE):
            continue  # halves are added up in single precision
        for hook in _hooks(leaf, LENDS):
            memory = hook()
            if memory is None:
                continue
            memory[...] = sums.by_node.get(leaf, 0)
            if leaf not in sums.by_node:
                heappush(ready, (0.5 - serial, leaf))
            sums.by_node[leaf] = sums.borrowed[leaf] = memory
            sums.owned.add(leaf)
            break


def first_uses(nodes: Iterable[Any]) -> dict[Any, int]:
    """For each leaf of ``eager`` the serial of the first node that used it, the last visited."""
    uses: dict[Any, int] = {}
    for node in nodes:  # parents first
        for parent in node.parents:
            if parent.__class__ is HookedLeaf and ref(parent) in eager:
                uses.setdefault(parent, node.serial)
    return uses
