"""The walk from outputs to leaves. Imports the modules of the engine beside it.

Nodes wait in a heap and leave it in descending order of their serial number, so a node is
visited once, after everything that used its value; there is no recursion. The same walk
serves raw arrays, where the rules run over numpy or cupy, and Tensors (``create_graph``),
where they run over gpugrad itself and are recorded again.
"""

from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from operator import attrgetter
from sys import getrefcount
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.device import copied
from gpugrad.backend.namespace import Namespace, namespace_of
from gpugrad.backend.summed import Summed
from gpugrad.engine import hooks, versions
from gpugrad.engine.messages import names_what_was_visited
from gpugrad.engine.modes import observer
from gpugrad.engine.node import Leaf, Node
from gpugrad.engine.outputs import OutputsNode, ShapeDtype, pick
from gpugrad.errors import GradientError

__all__ = ["Lift", "run_backward", "steal_or_copy", "unbroadcast"]


class Lift(NamedTuple):
    """How a walk computes with Tensors in place of raw arrays: in which namespace, and made how."""

    xp: Any
    wrap: Callable[[Any, Any], Any]

    def values(self, node: Node) -> tuple[tuple[Any, ...], Any]:
        """A node's saved arrays and output, as Tensors that are part of the graph."""
        values = tuple(map(self._tensor, node.values or (), node.parents))
        if node.y is None:
            return values, node
        if isinstance(node, OutputsNode):
            return values, tuple(
                y if isinstance(y, ShapeDtype) else self.wrap(y, pick(node, index, y))
                for index, y in enumerate(node.y)
            )
        return values, self.wrap(node.y, node)

    def _tensor(self, value: Any, parent: Any) -> Any:
        # A stand-in is its own parent; a Python number stays one, so that it stays weak, and
        # so does a constant of NumPy, which goes to any device.
        if value is parent or namespace_of(value) is None:
            return value
        if parent is None and isinstance(value, np.generic):
            return value
        return self.wrap(value, parent)


def unbroadcast(xp: Any, d: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Undo broadcasting (or do it) and promotion: a gradient has its data's shape and dtype.

    Real data takes the real part of a complex gradient.
    """
    if d.shape != shape:
        lead = d.ndim - len(shape)
        if lead >= 0:
            axes = [
                axis
                for axis, size in enumerate(d.shape)
                if axis < lead or (size != 1 and shape[axis - lead] == 1)
            ]
            if axes:
                d = xp.sum(d, axis=tuple(axes), keepdims=True)
            if lead:
                d = d.reshape(d.shape[lead:])
        if d.shape != shape:
            d = xp.broadcast_to(d, shape)
    if d.dtype == dtype:
        return d
    if d.dtype.kind == "c" and dtype.kind != "c":
        d = xp.real(d)  # what moves a real number moves nothing in the imaginary direction
    return d.astype(dtype)


@names_what_was_visited
def run_backward(
    seeds: Sequence[tuple[Any, Any]],
    *,
    retain_graph: bool = False,
    lift: Lift | None = None,
    targets: Iterable[Any] | None = None,
    accumulate: Callable[[dict[Any, Any], Any], None] | None = None,
    follow: Callable[[Any], Any] | None = None,
) -> dict[Any, Any]:
    """Gradients by node: of every leaf reached, or of the nodes in ``targets`` alone.

    ``seeds`` are pairs of a node and the gradient to start it with. With ``lift``, gradients
    are Tensors and the walk itself is recorded. ``accumulate(found, leaf)`` adds a gradient
    to its leaf's own and takes it out of ``found``: it is called for leaves that have hooks for
    it, as soon as their gradient is complete. ``follow(gradient)`` is called where the next
    step may be on another device. GradientError where the graph was freed, or where a value
    that a derivative needs has changed since.
    """
    wanted = None if targets is None else _needed([node for node, _ in seeds], targets)
    uses = hooks.first_uses(reachable(node for node, _ in seeds)) if hooks.eager else {}
    watch = observer.get()
    fusing = lift is None and Namespace.fusing
    results: dict[Any, Any] = {}
    gradients: dict[Any, Any] = {}
    owned: set[Any] = set()  # nodes whose gradient is a buffer that this walk made
    # The next node to visit is `latest`, or where that is None the first of the heap.
    heap: list[tuple[float, Any]] = []
    for node, gradient in seeds:
        if wanted is not None and node not in wanted:
            continue
        if node in gradients:
            gradients[node] = gradients[node] + gradient
        else:
            gradients[node] = gradient
            if node.__class__ is not Leaf:
                heappush(heap, (-node.serial, node))
    latest = None
    while heap or latest is not None:
        if latest is None:
            node = heappop(heap)[1]
        else:
            node, latest = latest, None
        g = gradients.pop(node)
        kind = node.__class__
        if follow is not None:
            follow(g)
        if kind is not Node:
            if kind is OutputsNode:
                g = node.filled(g, lift.xp if lift else node.xp)
            else:
                g = hooks.through(node, g)
                if kind is not hooks.HookedNode:  # a leaf: Leaf if its hooks were removed meanwhile
                    if watch is not None:
                        watch.visit(node, g)
                    results[node] = g
                    g = None
                    # Told at once. All other leaves wait for the end of the walk, so that an
                    # error on the way leaves their gradients as they were.
                    if accumulate is not None and node in hooks.eager:
                        accumulate(results, node)
                        hooks.completed(node)
                    continue
        if watch is not None:
            watch.visit(node, g)
        if wanted is not None and node in wanted.targets:
            results[node] = g
        values = node.values
        if values is None:
            raise freed(node)
        if node.serial < versions.latest:
            versions.verify(node)
        op = node.op
        if lift is None:
            xp = node.xp
            y = node.y
            if y is None:
                y = node
        else:
            xp = lift.xp
            values, y = lift.values(node)
        parents = node.parents
        if wanted is not None:
            parents = [parent if parent in wanted else None for parent in parents]
        if owned and fusing and watch is None and kind is Node and op.factors is not None:
            parents = _without_added(node, g, parents, gradients, owned)
        parameters = node.parameters
        joint = op.joint
        if joint is None:
            if fusing and xp.rules is not None:
                # Of the first op's gradient, where there is nothing yet that it is added to.
                rules = xp.rules(op, watch is None and parents[0] not in gradients)
            else:
                rules = op.vjps
        else:
            needs = tuple([parent is not None for parent in parents])
            rules = joint(xp, g, y, needs, *values, **(parameters or {}))
        if kind is hooks.HookedNode:
            if joint is None:
                rules = [
                    None if parent is None else rule(xp, g, y, *values, **(parameters or {}))
                    for parent, rule in zip(parents, rules)
                ]
                joint = op  # what follows takes the gradients as they are
            rules = [
                None if parent is None else unbroadcast(xp, d, parent.shape, parent.dtype)
                for parent, d in zip(parents, rules)
            ]
            hooks.passed(node, g, rules)
        count = len(values)
        for parent, rule in zip(parents, rules):
            if parent is None:
                continue
            if joint is not None:
                d = rule
            elif parameters:
                d = rule(xp, g, y, *values, **parameters)
            elif count == 2:  # written out: a call with a star costs three times as much
                d = rule(xp, g, y, values[0], values[1])
            elif count == 1:
                d = rule(xp, g, y, values[0])
            else:
                d = rule(xp, g, y, *values)
            if follow is not None:
                follow(d)  # to where it meets the parent's other gradients
            if watch is not None:
                watch.gradient(node, parent, d)
            if d.shape != parent.shape or d.dtype is not parent.dtype:
                d = unbroadcast(xp, d, parent.shape, parent.dtype)
            before = gradients.get(parent)
            if before is not None:
                if parent in owned and lift is None:
                    before += d
                    gradients[parent] = before
                else:
                    gradients[parent] = before + d
                    owned.add(parent)
                continue
            gradients[parent] = d
            if parent.__class__ is Leaf:
                continue  # nothing follows: its gradient is complete when the walk ends
            if parent in uses:  # to be told as soon as its first use has been visited
                heappush(heap, (0.5 - uses[parent], parent))
                if latest is not None:
                    heappush(heap, (-latest.serial, latest))
                    latest = None
            elif latest is None:
                if not heap or parent.serial > -heap[0][0]:
                    latest = parent
                else:
                    heappush(heap, (-parent.serial, parent))
            elif parent.serial > latest.serial:
                heappush(heap, (-latest.serial, latest))
                latest = parent
            else:
                heappush(heap, (-parent.serial, parent))
        if not retain_graph:
            node.values = node.y = None
        d = rules = before = None  # let go of a gradient as soon as the walk has passed it
    if watch is not None:
        for leaf, g in gradients.items():
            watch.visit(leaf, g)
    results.update(gradients)  # what is left belongs to leaves
    return results


def _without_added(
    node: Node, g: Any, parents: Sequence[Any], gradients: dict[Any, Any], owned: set[Any]
) -> list[Any]:
    """The parents, None for those to whose gradient a product of matrices has added itself."""
    add_product = node.xp.add_product
    if add_product is None:
        return list(parents)
    if g.__class__ is Summed:
        g = g.array
    left = []
    for parent, factors in zip(parents, node.op.factors or ()):
        if factors is not None and parent in owned:
            pair = factors(node.xp, g, *node.values or ())
            if pair is not None and add_product(gradients[parent], *pair):
                parent = None
        left.append(parent)
    return left


class _Needed(set[Any]):
    """The nodes on a path to a target, targets included."""

    targets: dict[Any, None]


def _needed(roots: list[Any], targets: Iterable[Any]) -> _Needed | None:
    """The nodes on a path to a target; None where no path ends elsewhere than at a target."""
    needed = _Needed(targets)
    needed.targets = dict.fromkeys(needed)
    first = min((node.serial for node in needed), default=0)
    nodes, all_of_them = _reached(roots, first)
    for node in nodes:  # parents before children
        if not needed.isdisjoint(node.parents):
            needed.add(node)
        elif node not in needed:
            all_of_them = False
    if all_of_them and not any(target.parents for target in needed.targets):
        return None
    return needed


def reachable(roots: Iterable[Any], since: int = 0) -> list[Any]:
    """The nodes that the roots were computed from, themselves included, parents first.

    Those with a serial number below ``since`` are left out, and so is all that lies behind them:
    a path to a node never leads through an older one.
    """
    return _reached(roots, since)[0]


def _reached(roots: Iterable[Any], since: int) -> tuple[list[Any], bool]:
    """As `reachable`, and whether none were left out."""
    found = dict.fromkeys(roots)
    stack = list(found)
    all_of_them = True
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent not in found:
                if parent.serial >= since:
                    found[parent] = None
                    stack.append(parent)
                else:
                    all_of_them = False
    return sorted(found, key=attrgetter("serial")), all_of_them


def freed(node: Node) -> GradientError:
    """The error for a walk through a graph whose saved values are gone."""
    return GradientError(
        f"backward: the graph was freed by an earlier backward pass (at {node.op.shown}). "
        "Pass retain_graph=True to the first pass, or compute the result again"
    )


def steal_or_copy(array: Any) -> Any:
    """A raw gradient for a leaf to keep, which nothing else may refer to.

    To be called with an expression, not with a variable: an array that a rule has just made
    is handed over as it is, one that is also held elsewhere (a saved value, another leaf, the
    user's own gradient) or is a view is copied.
    """
    if getrefcount(array) > _ALONE or array.base is not None:
        return copied(array)
    return array


def _references(array: Any) -> int:
    return getrefcount(array)


# What getrefcount says, in a function, of an argument that nothing else refers to: it
# differs between versions of Python.
_ALONE = _references(object())
