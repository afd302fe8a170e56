"""Forward mode: tangents pushed through a recorded graph. Imports the modules beside it.

There is no second table of derivatives. An elementwise op reuses its vjps, since its Jacobian
is diagonal; a linear op is applied to the tangents; the vjp of any other, which is linear in
``g``, is transposed by a reverse pass of its own.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

from gpugrad.backend.namespace import namespace_of
from gpugrad.engine import versions
from gpugrad.engine.backward import GraphMode, freed, reachable, run_backward
from gpugrad.engine.follow import on_device_of
from gpugrad.engine.modes import in_rules
from gpugrad.engine.node import Leaf
from gpugrad.engine.op import TABLE
from gpugrad.engine.outputs import PICK, OutputsNode, zeros
from gpugrad.engine.pull import pull_back, unbroadcast
from gpugrad.engine.support import OutputSupports, asks, nonzero, push_support

__all__ = ["push", "push_raw", "transpose"]


def push(
    tangents: dict[Any, Any],
    outputs: Sequence[Any],
    graph: GraphMode,
    by_choice: bool | None = False,
) -> list[Any]:
    """The tangents of the output nodes, given those of some nodes before them.

    All tangents are Tensors, and operations on them are recorded, so that tangents can be
    differentiated again. None stands for a tangent of zero. ``by_choice`` says that zeros in
    ``tangents`` are by choice: see `gpugrad.engine.support`. With None nothing is masked, not
    even behind a choice, which is right where all tangents turn out finite.
    """
    known = dict(tangents)
    supports: dict[Any, Any] | None = None
    if by_choice is not None:
        supports = {node: nonzero(t.data) for node, t in tangents.items()} if by_choice else {}
    nodes = [node for node in outputs if node is not None]
    first = min((node.serial for node in known), default=0)
    _push(known, supports, reachable(nodes, first), graph)
    return [None if node is None else known.get(node) for node in outputs]


def _push(
    known: dict[Any, Any], supports: dict[Any, Any] | None, nodes: Sequence[Any], graph: GraphMode
) -> None:
    """Enter the tangents of nodes, parents first, into those that are known, and the supports."""
    for node in nodes:
        if node in known or isinstance(node, Leaf):
            continue
        own = [None if parent is None else known.get(parent) for parent in node.parents]
        some = next((tangent for tangent in own if tangent is not None), None)
        if some is None:
            continue
        before = in_rules.get()
        try:
            in_rules.set(True)
            with on_device_of(some):
                known[node] = _tangent(node, own, graph, supports)
        finally:
            in_rules.set(before)


def _tangent(
    node: Any, tangents: list[Any], graph: GraphMode, supports: dict[Any, Any] | None
) -> Any:
    if node.values is None:
        raise freed(node)
    if node.serial < versions.latest:
        versions.verify(node)
    op = node.op
    if op.expand is not None:
        return _expanded(node, tangents, graph, supports)
    values, y = graph.values(node)
    if supports is not None:
        push_support(supports, node, tangents)
    result = _by_rule(node, tangents, graph.xp, values, y, supports)
    if result is NotImplemented:
        result = _transposed(node, tangents, values, y, graph)
    if isinstance(node, OutputsNode) or result is None:
        return result
    return unbroadcast(graph.xp, result, node.shape, node.dtype)


def _by_rule(
    node: Any, tangents: Sequence[Any], xp: Any, values: Sequence[Any], y: Any,
    supports: dict[Any, Any] | None,
) -> Any:  # fmt: skip
    """The tangent of a node whose op says how; NotImplemented for others."""
    op, parameters = node.op, node.parameters or {}
    if op.jvp is not None:
        return op.jvp(xp, tangents, y, *values, **parameters)
    if op.kind == "linear":
        some = next(t for t in tangents if t is not None)
        # The tangent of a number, as in an assignment to elements, is a number.
        full = [
            tangent
            if tangent is not None
            else value
            if op.is_constant(index)
            else zeros(xp, some, value)
            if hasattr(value, "dtype")
            else 0
            for index, (tangent, value) in enumerate(zip(tangents, values, strict=True))
        ]
        return getattr(xp, op.name)(*full, **parameters)
    if op.kind == "elementwise" and op.vjps is not None:
        rules = op.vjps
        terms = (
            _masked(node, index, supports, xp, rules[index](xp, t, y, *values, **parameters))
            for index, t in enumerate(tangents)
            if t is not None
        )
        return reduce(add, terms)
    if op.kind == "multilinear":
        terms = (
            getattr(xp, op.name)(*values[:index], t, *values[index + 1 :], **parameters)
            for index, t in enumerate(tangents)
            if t is not None
        )
        return reduce(add, terms)
    return NotImplemented


def push_raw(tangents: dict[Any, Any], outputs: Sequence[Any], graph: GraphMode) -> list[Any]:
    """As `push` with ``by_choice=None``, of raw arrays of one device: nothing is recorded.

    Rules of the table run over these arrays. For any other op they are Tensors in between.
    """
    known = dict(tangents)
    nodes = [node for node in outputs if node is not None]
    xp = namespace_of(next(iter(known.values())))
    before = in_rules.get()
    try:
        in_rules.set(True)
        for node in reachable(nodes, min(node.serial for node in known)):
            if node in known or isinstance(node, Leaf):
                continue
            own = [None if parent is None else known.get(parent) for parent in node.parents]
            if any(tangent is not None for tangent in own):
                known[node] = _raw_tangent(node, own, xp, graph)
    finally:
        in_rules.set(before)
    return [None if node is None else known.get(node) for node in outputs]


def _raw_tangent(node: Any, tangents: list[Any], xp: Any, graph: GraphMode) -> Any:
    op, values = node.op, node.values
    if op is PICK:
        return tangents[0][node.parameters["index"]]
    if values is not None and TABLE.get(op.name) is op and not isinstance(node, OutputsNode):
        if node.serial < versions.latest:
            versions.verify(node)
        y = node if node.y is None else node.y
        result = _by_rule(node, tangents, xp, values, y, None)
        if result is not NotImplemented:
            return None if result is None else unbroadcast(xp, result, node.shape, node.dtype)
    wrapped = [_converted(one, lambda array: graph.wrap(array, None)) for one in tangents]
    return _converted(_tangent(node, wrapped, graph, None), lambda tensor: tensor.data)


def _converted(tangent: Any, convert: Callable[[Any], Any]) -> Any:
    """A tangent, or those of several outputs, as raw arrays or as Tensors."""
    if isinstance(tangent, tuple | list):
        return tuple([_converted(one, convert) for one in tangent])
    return None if tangent is None else convert(tangent)


def _expanded(
    node: Any, tangents: list[Any], graph: GraphMode, supports: dict[Any, Any] | None
) -> tuple[Any, ...] | None:
    """The tangents of a node's outputs, pushed through the graph that it stands for.

    None for an output that does not depend on what moves, or for all of them.
    """
    # Of their own, so that what lies between is freed.
    known = {parent: t for parent, t in zip(node.parents, tangents) if t is not None}
    inner = None
    if supports is not None:
        inner = {parent: supports[parent] for parent in known if parent in supports}
    roots = node.op.expand(node)
    _push(known, inner, reachable(roots, node.serial), graph)
    if supports is not None and inner is not None:
        supports[node] = OutputSupports({i: inner.get(root) for i, root in enumerate(roots)})
    results = tuple(known.get(root) for root in roots)
    return results if any(t is not None for t in results) else None


def _masked(node: Any, index: int, supports: dict[Any, Any] | None, xp: Any, d: Any) -> Any:
    """An argument's part of a tangent, zero where the argument's tangent is zero by choice."""
    support = None if supports is None else supports.get(node.parents[index])
    return d if support is None or not asks(node, index) else xp.where(support.mask(), d, 0)


def _transposed(
    node: Any, tangents: list[Any], values: Sequence[Any], y: Any, graph: GraphMode
) -> Any:
    """The tangent of a node by the transpose of its vjp."""
    op, xp = node.op, graph.xp
    several = isinstance(node, OutputsNode)
    needs = [tangent is not None for tangent in tangents]

    def vjp(us: list[Any]) -> list[Any]:
        g = tuple(us) if several else us[0]
        ds = pull_back(op, xp, g, y, needs, values, node.parameters or {})
        return [
            None if d is None or t is None else unbroadcast(xp, d, t.shape, t.dtype)
            for d, t in zip(ds, tangents)
        ]

    some = next(t for t in tangents if t is not None)
    outputs = node.shape if several else (node,)
    us = [zeros(xp, some, output) for output in outputs]
    results = transpose(vjp, us, tangents, graph)
    return tuple(results) if several else results[0]


def transpose(
    linear: Callable[[list[Any]], Sequence[Any]],
    us: Sequence[Any],
    cotangents: Sequence[Any],
    graph: GraphMode,
) -> list[Any]:
    """A^T c for a linear function A of Tensors: the derivative of u -> <A u, c>.

    It is the same at every u; ``us`` are zeros. None among the cotangents stands for zero.
    """
    us = [u if u.dtype.kind in "biu" else u.requires_grad_() for u in us]
    seeds = [
        (d._node, unbroadcast(graph.xp, c, d.shape, d.dtype))
        for d, c in zip(linear(us), cotangents, strict=True)
        if d is not None and c is not None and d._node is not None
    ]
    targets = [u._node for u in us if u._node is not None]
    gradients = run_backward(seeds, graph=graph, targets=targets)
    return [gradients[u._node] if u._node in gradients else u.detach() for u in us]
