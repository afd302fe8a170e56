"""The walk from outputs to leaves. Imports backend and the modules of the engine beside it.

Nodes wait in a heap and leave it in descending order of their serial number, so a node is
visited once, after all its uses; there is no recursion. The gradients are raw arrays, and the
rules run over numpy or cupy; or with a `GraphMode` they are Tensors, and the rules run over
gpugrad itself and are recorded.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from heapq import heappop, heappush, heappushpop
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.device import device_of
from gpugrad.backend.namespace import namespace_of, widest
from gpugrad.engine import hooks, versions
from gpugrad.engine.accumulate import Gradients
from gpugrad.engine.follow import Follower, has_moved, on_device_of
from gpugrad.engine.messages import explain_no_memory
from gpugrad.engine.modes import Observers, enable_grad, in_rules, recording, watching
from gpugrad.engine.node import Leaf, Node
from gpugrad.engine.ones import freed, own, past_ones
from gpugrad.engine.op import Op
from gpugrad.engine.outputs import OutputGrads, OutputsNode, ShapeDtype, pick_again
from gpugrad.engine.pull import pull_back, unbroadcast
from gpugrad.engine.residuals import residual_nodes
from gpugrad.engine.support import carry, hand_over, matters_to_any, nonzero

__all__ = ["GraphMode", "reachable", "run_backward"]


class GraphMode(NamedTuple):
    """How a walk records itself: the namespace of Tensors, and how a raw array becomes one."""

    xp: Any
    wrap: Callable[[Any, Any], Any]

    @property
    def is_raw(self) -> bool:
        """Whether gradients are arrays, no Tensors."""
        return False

    def at(self, node: Node, g: Any) -> tuple[Any, Sequence[Any], Any]:
        """What a rule gets beside the gradient: the namespace, saved arrays and the output."""
        return self.xp, *self.values(node)

    def values(self, node: Node) -> tuple[Sequence[Any], Any]:
        """A node's saved arrays and output, as Tensors that are part of the graph."""
        wrap = self.wrap
        saved, y = node.values or (), node.y
        values: list[Any] = []
        for parent in node.parents[: len(saved)]:
            value = saved[len(values)]
            if value is not parent:  # which stands for an array that was not saved
                value = self._constant(value) if parent is None else wrap(value, parent)
            values.append(value)
        if len(saved) > len(values):
            residuals = saved[len(values) :]
            values += [
                r if isinstance(r, ShapeDtype) else wrap(r, own)
                for r, own in zip(residuals, residual_nodes(node))
            ]
        if y is None:
            return values, node
        if isinstance(node, OutputsNode):
            return values, tuple(
                [
                    one if isinstance(one, ShapeDtype) else wrap(one, pick_again(node, index, one))
                    for index, one in enumerate(y)
                ]
            )
        return values, wrap(y, node)

    def _constant(self, value: Any) -> Any:
        # A Python number stays one, and weak; so does a NumPy scalar, which goes to any device.
        if namespace_of(value) is None or isinstance(value, np.generic):
            return value
        return self.wrap(value, None)


class _Lifted:
    """How a walk with raw gradients of another array type goes through a graph, or a part of it.

    Rules run over the namespace of the gradients, which takes the arrays of the graph beside them.
    """

    __slots__ = ("xp",)

    is_raw = True

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def at(self, node: Node, g: Any) -> tuple[Any, Sequence[Any], Any]:
        """As in `GraphMode`."""
        gs = [one for one in g if one is not None] if isinstance(g, tuple) else (g,)
        xp = widest(node.xp, gs)
        return xp, node.values or (), node if node.y is None else node.y


def run_backward(
    seeds: Sequence[tuple[Any, Any]],
    *,
    retain_graph: bool = False,
    graph: GraphMode | None = None,
    targets: Collection[Any] | None = None,
    deliver: Callable[[dict[Any, Any], Any], None] | None = None,
    by_choice: bool = False,
    ones: bool = False,
) -> dict[Any, Any]:
    """Gradients by node: of every leaf reached, or of the nodes in ``targets`` alone.

    ``seeds`` are pairs of a node and its gradient; ``by_choice`` says that their zeros are by
    choice (see `gpugrad.engine.support`), ``ones`` that each gradient is all ones: not both.
    With ``graph``, gradients are Tensors, the walk is recorded, and the graph that is walked is
    kept. ``deliver(gradients, leaf)`` adds a gradient to its leaf's ``grad`` and removes it from
    ``gradients``: it is called for leaves with hooks for that, as soon as their gradient is
    complete. NumPy's warnings are off during the walk: an infinite derivative shows in the result.

    GradientError where the graph was freed, or where a value that a derivative needs has changed
    since; OutOfMemoryError says at which operation there was no memory.
    """
    if not seeds:
        return {}
    start = seeds[0][1] if graph is None else seeds[0][1].data
    if len(seeds) > 1 and graph is None:  # of batched ones, whose namespace takes all others
        start = next((g for _, g in seeds if namespace_of(g).batched), start)
    watch = watching()
    xp = namespace_of(start)
    if xp.alone and not has_moved():
        return _walk_from(seeds, retain_graph, graph, targets, deliver, by_choice, ones, watch, xp)
    with contextlib.ExitStack() as entered:
        entered.enter_context(device_of(start).activate())
        watch = _following(entered, watch)
        return _walk_from(seeds, retain_graph, graph, targets, deliver, by_choice, ones, watch, xp)


@np.errstate(divide="ignore", over="ignore", invalid="ignore")
def _walk_from(
    seeds: Sequence[tuple[Any, Any]], retain_graph: bool, graph: GraphMode | None,
    targets: Collection[Any] | None, deliver: Any, by_choice: bool, ones: bool, watch: Any, xp: Any,
) -> dict[Any, Any]:  # fmt: skip
    """Begin the walk at the seeds, where the current device and the observer are set.

    ``xp`` is the namespace of the seeds.
    """
    wanted, lent = None, 0
    walk: Callable[..., dict[Any, Any]] = _walk if graph is None else _walk_recorded
    mode = _Lifted(xp) if graph is None and getattr(xp, "lifts", None) else graph
    try:
        if ones and watch is None and getattr(seeds[0][0].op, "at_ones", None) is not None:
            seeds, lent = past_ones(seeds, graph, targets or (), retain_graph)
        if targets is not None and not _is_only_leaf(targets, seeds):
            wanted = _needed([node for node, _ in seeds], targets)
        sums = Gradients(in_place=graph is None, wanted=wanted)
        sums.lent = lent
        ready = _begun(seeds, by_choice, sums)
        del seeds  # or a gradient that was made here would be shared
        results = walk(ready, sums, mode, retain_graph, deliver, watch)
    except (MemoryError, RuntimeError) as error:
        explain_no_memory(error, _walk.__code__)
        raise
    for function in sums.at_end:
        function()
    return results


def _following(entered: contextlib.ExitStack, watch: Any) -> Any:
    """The observer of a walk, which follows gradients where they may be on several devices."""
    if not has_moved():
        return watch
    follower = Follower(entered)
    return follower if watch is None else Observers((follower, watch))


def _walk_recorded(
    ready: list[tuple[float, Any]], sums: Gradients, graph: GraphMode, retain_graph: bool,
    deliver: Any, watch: Any,
) -> dict[Any, Any]:  # fmt: skip
    """The walk over Tensors, which records itself and keeps the graph that it walks."""
    before = in_rules.get()
    try:
        in_rules.set(True)
        if recording.get():
            results = _walk(ready, sums, graph, True, deliver, watch)
        else:
            with enable_grad():
                results = _walk(ready, sums, graph, True, deliver, watch)
        if sums.lent:
            results = {node: own(g, sums.lent) for node, g in results.items()}
    finally:
        in_rules.set(before)
    return results


def _walk(
    ready: list[tuple[float, Any]], sums: Gradients, graph: GraphMode | _Lifted | None,
    retain_graph: bool, deliver: Callable[..., None] | None, watch: Any,
) -> dict[Any, Any]:  # fmt: skip
    """The walk itself, from the nodes in the heap ``ready``, the latest first."""
    gradients, supports, wanted, wide = sums.by_node, sums.supports, sums.wanted, sums.wide
    raw = graph is None or graph.is_raw
    uses = hooks.first_uses(reachable(gradients)) if hooks.eager else {}
    if uses and graph is None and deliver is not None:
        hooks.borrow(uses, sums, ready)
    rules: Any
    latest: Any = None  # waits beside the heap, so that a chain does without the heap
    while ready or latest is not None:
        node, latest = latest, None
        if ready:
            first = heappop(ready) if node is None else heappushpop(ready, (-node.serial, node))
            node = first[1]
        g = sums.take(node) if wide else gradients.pop(node)
        if node.__class__ is not Node:
            g = _arrived(node, g, graph, supports)
        if watch is not None:
            watch.visit(node, g)
        op = node.op
        if op is None:  # a leaf, which has hooks
            sums.results[node] = g
            g = own = rule = None  # or it could not be given to the leaf without a copy
            hooks.deliver_eagerly(node, sums, deliver)
            continue
        values, parents, xp, y = node.values, node.parents, node.xp, node.y
        if values is None:
            raise freed(node)
        if node.serial < versions.latest:
            versions.verify(node)
        if wanted is not None:
            parents = wanted.parents(node, g, sums.results)
        if graph is not None:
            xp, values, y = graph.at(node, g)
        elif y is None:
            y = node
        plain = node.__class__ is Node and not supports and (op.simple or _plain(op, parents, sums))
        if not plain:
            parents, rules = _pulled(node, xp, g, y, parents, values, sums, watch)
            if op.lifts and graph is None:
                graph = _Lifted(xp)
        elif op.joint is None:
            rules = op.vjps if xp.rules is None else xp.rules(op)
            if op.same is not None and parents[0] is parents[1]:  # as in x * x
                parents, rules = parents[:1], (op.same,)
        else:
            plain, needs = False, tuple([parent is not None for parent in parents])
            rules = op.joint(xp, g, y, needs, *values, **node.parameters or {})
        count = len(values) if plain and not node.parameters else 0
        index = -1
        for parent in parents:  # a zip costs as much as all else in this loop
            index += 1
            if parent is None:
                continue
            rule = rules[index]
            if count == 2:  # written out: a call with a star costs three times as much
                d = rule(xp, g, y, values[0], values[1])
            elif count == 1:
                d = rule(xp, g, y, values[0])
            elif plain:
                d = rule(xp, g, y, *values, **node.parameters or {})
            else:
                d = rule
            if d is None:  # the op has added it to the parent's already
                continue
            if watch is not None:
                watch.gradient(node, parent, d)
            own = d if raw or d.__class__ is OutputGrads else d._array
            if own.shape != parent.shape or own.dtype is not parent.dtype:
                d = unbroadcast(xp, d, parent.shape, parent.dtype)
            if parent in gradients:
                sums.accumulate(parent, d)
                continue
            gradients[parent] = d
            if uses and parent in uses:  # a leaf to deliver eagerly, right after its first use
                heappush(ready, (0.5 - uses[parent], parent))
            elif parent.__class__ is not Leaf:  # which is complete when the walk ends
                if latest is not None:
                    heappush(ready, (-latest.serial, latest))
                latest = parent
        if not retain_graph or (raw and node.serial > sums.recomputed):
            node.values = node.y = None
        d = rules = None  # free a gradient as soon as the walk has passed it
    return sums.of_leaves(watch)


def _begun(
    seeds: Sequence[tuple[Any, Any]], by_choice: bool, gradients: Gradients
) -> list[tuple[float, Any]]:
    """Enter the seeds into the gradients, and return the heap of their nodes."""
    ready: list[tuple[float, Any]] = []
    wanted = gradients.wanted
    for node, gradient in seeds:
        if wanted is not None and node not in wanted:
            continue
        if node in gradients.by_node:
            gradient = gradients.by_node[node] + gradient
        elif node.__class__ is not Leaf:
            heappush(ready, (-node.serial, node))
        gradients.by_node[node] = gradient
        if by_choice:
            raw = gradient if gradients.in_place else gradient.data
            gradients.supports[node] = nonzero(raw)
    return ready


def _arrived(node: Any, g: Any, graph: GraphMode | _Lifted | None, supports: dict[Any, Any]) -> Any:
    """The gradient of a node or leaf with hooks, or one for each of several outputs."""
    with on_device_of(g):
        if isinstance(node, OutputsNode):
            return node.filled(g, node.xp if graph is None else graph.xp)
        if node.__class__ is Leaf:  # its hooks were removed meanwhile
            return g
        after = hooks.call_on_gradient(node, g)
    if after is not g and supports.get(node) is not None:  # a hook may have filled zeros
        filled = nonzero(after if graph is None or graph.is_raw else after.data)
        supports[node] = supports[node].union(filled)
    return after


def _plain(op: Op, parents: Sequence[Any], sums: Gradients) -> bool:
    """Whether an op that adds or chooses has to do neither, for this node."""
    if op.adds and sums.can_add(parents):
        return False
    return not op.lifts and not (op.chooses and matters_to_any(sums.matters, parents))


def _pulled(
    node: Any,
    xp: Any,
    g: Any,
    y: Any,
    parents: Sequence[Any],
    values: Sequence[Any],
    gradients: Gradients,
    watch: Any,
) -> tuple[Sequence[Any], Sequence[Any]]:
    """The parents and the gradient of each, in the cases that the walk has not inline."""
    op = node.op
    if op.expand is not None:
        return _expanded(node, g, gradients)
    # Those who watch see each gradient of an argument; a Follower only asks where it is.
    unseen = watch is None or isinstance(watch, Follower)
    if op.adds and gradients.in_place and unseen and node.__class__ is Node:
        needs = gradients.needs(node, xp, g, parents)
    else:
        needs = [parent is not None for parent in parents]
    if op.same is not None and parents[0] is parents[1] is not None:
        ds: Sequence[Any] = [op.same(xp, g, y, *values), None]
    else:
        ds = pull_back(op, xp, g, y, needs, values, node.parameters or {})
    if gradients.supports or op.chooses:
        ds = carry(gradients, node, parents, xp, ds)
    if node.__class__ is hooks.HookedNode:
        ds = [
            None if d is None else unbroadcast(xp, d, parent.shape, parent.dtype)
            for parent, d in zip(parents, ds)
        ]
        hooks.call_after_node(node, g, ds)
    return parents, ds


def _expanded(
    node: Any, g: Sequence[Any], gradients: Gradients
) -> tuple[Sequence[Any], Sequence[Any]]:
    """The roots of the graph that a node stands for, as its parents, and their gradients."""
    roots = [None if d is None else root for root, d in zip(node.op.expand(node), g)]
    wanted = gradients.wanted
    if wanted is not None:
        wanted.extend(reachable([root for root in roots if root is not None], node.serial))
        roots = [root if root in wanted else None for root in roots]
    if gradients.in_place:
        gradients.recomputed = min(gradients.recomputed, node.serial)
    hand_over(gradients, node, roots)
    return roots, g


_SERIAL, _PARENTS = attrgetter("serial"), attrgetter("parents")


class _Needed(set[Any]):
    """The nodes on a path to a target, targets included."""

    targets: dict[Any, None]

    def parents(self, node: Any, g: Any, results: dict[Any, Any]) -> list[Any]:
        """The parents of a node, None for those on no path; a target's gradient is a result."""
        if node in self.targets:
            results[node] = g
        return [parent if parent in self else None for parent in node.parents]

    def extend(self, nodes: Iterable[Any]) -> None:
        """Add those of the nodes, parents first, that lead to a node which is needed."""
        for node in nodes:
            if not self.isdisjoint(node.parents):
                self.add(node)


def _is_only_leaf(targets: Collection[Any], seeds: Sequence[tuple[Any, Any]]) -> bool:
    """Whether there is one target, a leaf, and everything recorded was computed from it alone."""
    if len(targets) != 1:
        return False
    (target,) = targets
    return not [node for node, _ in seeds if node.leaf != target.serial]


def _needed(roots: Iterable[Any], targets: Iterable[Any]) -> _Needed | None:
    """The nodes on a path to a target; None where no path ends elsewhere than at a target."""
    ends = dict.fromkeys(targets)
    since = min(map(_SERIAL, ends)) if ends else 0
    nodes, others = _reached(roots, since, ends)
    if not others and not any(map(_PARENTS, ends)):
        return None
    needed = _Needed(ends)
    needed.targets = ends
    needed.extend(sorted(nodes, key=_SERIAL))
    return needed


def reachable(roots: Iterable[Any], since: int = 0) -> list[Any]:
    """The nodes that the roots were computed from, themselves included, parents first.

    Those with a serial number below ``since`` are left out, and so is all that lies behind them:
    a path to a node never leads through an older one.
    """
    return sorted(_reached(roots, since, {})[0], key=_SERIAL)


def _reached(roots: Iterable[Any], since: int, ends: dict[Any, None]) -> tuple[list[Any], bool]:
    """As `reachable`, in no order, and whether there are ends beside ``ends``."""
    nodes = list(dict.fromkeys(roots))
    seen = {None, *nodes}
    others = False
    for node in nodes:  # which grows
        parents = node.parents
        if not parents and node not in ends:
            others = True
        for parent in parents:
            if parent not in seen:
                seen.add(parent)
                if parent.serial < since:
                    others = True
                else:
                    nodes.append(parent)
    return nodes, others
