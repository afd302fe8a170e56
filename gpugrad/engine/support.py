"""Zeros by choice: where a gradient may be anything but zero. Imports modules of the engine.

The gradient of ``where(c, f(x), 0)`` by f(x) is zero wherever c is False, and stays so behind f,
even where the derivative of f is infinite: nothing was chosen there. Such a zero is structural; a
zero that is a value is a number like any other, and zero times infinity is NaN. No array can tell
the two apart, so a walk carries the *support* of a gradient beside it: the mask outside which it
is structurally zero. It is made only where a rule asks whose derivative can be infinite; a walk
over a graph without choices carries none.

What an op does with a support stands in its entry, see `gpugrad.engine.op.Op`:

- a rule with a ``mask`` chooses: its gradient's support is that mask;
- an elementwise op hands the support on, and asks for it unless its derivative is ``finite``;
- a linear op that ``moves`` elements moves the mask as it moves a gradient, by its own rule;
- an op with a ``support`` formula says itself; a reduction spreads the mask along its axes;
- behind any other op the gradient has no support, and all its zeros are numbers.

Two gradients of one node add up to one that is zero only where both are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.engine.accumulate import Gradients
from gpugrad.engine.node import Leaf
from gpugrad.engine.outputs import PICK, OutputsNode
from gpugrad.engine.pull import pull_back, unbroadcast

__all__ = ["OutputSupports", "Support", "carry", "nonzero", "push_support"]


class Support:
    """The mask of one gradient (or tangent), made when it is first asked for.

    ``parts`` are pairs: the supports that it is made from, and ``add(counts, masks)``, which adds
    what the masks of those come to. ``counts`` is a float32 array, or None for zeros: how often
    each element was chosen.
    """

    __slots__ = ("_mask", "parts")

    def __init__(self, sources: Sequence["Support"], add: Callable[[Any, list[Any]], Any]) -> None:
        self.parts = [(sources, add)]
        self._mask: Any = None

    def union(self, other: "Support") -> "Support":
        """The support of a sum. This object becomes it."""
        self.parts += other.parts if other._mask is None else [((), _given(other._mask))]
        return self

    def mask(self) -> Any:
        """True where the gradient is a number, False where it is zero by choice."""
        waiting = [self]  # no recursion: a support may come from thousands of others
        while waiting:
            last = waiting[-1]
            missing = [s for sources, _ in last.parts for s in sources if s._mask is None]
            if missing and last._mask is None:
                waiting += missing
                continue
            waiting.pop()
            if last._mask is None:
                counts = None
                for sources, add in last.parts:
                    counts = add(counts, [source._mask for source in sources])
                last._mask, last.parts = counts != 0, []
        return self._mask


class OutputSupports:
    """The supports of the outputs of one operation, by index; None for one without."""

    __slots__ = ("outputs",)

    def __init__(self, outputs: dict[int, Support | None]) -> None:
        self.outputs = outputs

    def union(self, other: "OutputSupports") -> "OutputSupports":
        """The supports of a sum."""
        for index, support in other.outputs.items():
            before = self.outputs.get(index, support)
            both = before is not None and support is not None and before is not support
            self.outputs[index] = before.union(support) if both else before and support  # type: ignore[union-attr, arg-type]
        return self


_FLOAT = np.dtype(np.float32)


def nonzero(gradient: Any) -> Support:
    """The support of a raw gradient of which all zeros are by choice."""
    return Support((), lambda counts, masks: _plus(counts, (gradient != 0).astype("float32")))


def _given(mask: Any) -> Callable[[Any, list[Any]], Any]:
    return lambda counts, masks: _plus(counts, mask.astype("float32"))


def _plus(counts: Any, more: Any) -> Any:
    return more if counts is None else counts + more


def carries(node: Any) -> bool:
    """Whether a support matters to a node: not to a leaf, nor before an op that drops it."""
    if isinstance(node, Leaf):
        return False
    op = node.op
    return op.kind == "elementwise" or op.moves or op.support is not None or op is PICK


def carry(
    gradients: Gradients, node: Any, parents: Sequence[Any], xp: Any, ds: Sequence[Any]
) -> list[Any]:
    """The gradients that a node gives to its parents, zero by choice where they have to be.

    Takes the node's support out of those of ``gradients`` and enters its parents'. ``xp`` is the
    namespace of ``ds``.
    """
    supports = gradients.supports
    own = supports.pop(node, None)
    op = node.op
    if own is None and not op.chooses:
        for parent in parents:
            supports.pop(parent, None)
        return list(ds)
    results = []
    made: list[Support | OutputSupports | None] = []
    for index, (parent, d) in enumerate(zip(parents, ds)):
        support = None
        if parent is not None:
            support = _of_argument(node, index, own)
            if own is not None and support is not None and asks(node, index):
                # In the argument's own shape, but for elementwise ops, whose d may be larger.
                mask = own.mask() if op.kind == "elementwise" else support.mask()
                d = xp.where(mask, d, 0)
            if not carries(parent):
                support = None
        results.append(d)
        made.append(support)
    _enter(gradients, parents, made)
    return results


def asks(node: Any, index: int) -> bool:
    """Whether a zero by choice could become something else in the rule of an argument."""
    op = node.op
    if op.moves or op is PICK or (op.kind != "elementwise" and op.support is None):
        return False
    finite = op.finite
    return not (finite(index, *node.values) if callable(finite) else finite)


def _enter(gradients: Gradients, parents: Sequence[Any], made: Sequence[Any]) -> None:
    """Note the supports of what the parents get now, beside what they have."""
    supports = gradients.supports
    mixed = any(support is not None for support in made)
    for parent, support in zip(parents, made):
        if parent is None:
            continue
        if support is None:
            supports.pop(parent, None)
            if mixed:  # the same parent may come again with a support
                supports[parent] = None
        elif parent in supports:
            before = supports[parent]
            supports[parent] = None if before is None else before.union(support)
        elif parent not in gradients.by_node:
            supports[parent] = support


def _of_argument(node: Any, index: int, own: Any) -> Any:
    """The support of the gradient of one argument; None where it has none."""
    op, xp, values, y = node.op, node.xp, node.values, node.y
    parameters = node.parameters or {}
    parent = node.parents[index]
    y = node if y is None else y
    if op is PICK:
        whole = parent.op
        return OutputSupports({parameters["index"]: own}) if whole.moves else None
    if op.kind == "elementwise":
        mask = op.masks[index] if op.masks else None
        if mask is None:
            if own is None or parent.shape == node.shape:
                return own and Support((own,), _same)
            return Support((own,), lambda counts, masks: _fitted(xp, counts, masks[0], parent))

        def chosen(counts: Any, masks: list[Any]) -> Any:
            found = mask(xp, y, *values, **parameters)
            if masks:
                found = found & masks[0]
            return _fitted(xp, counts, xp.broadcast_to(found, node.shape), parent)

        return Support(() if own is None else (own,), chosen)
    if op.moves:
        return _moved(node, index, own, y)
    if op.support is None:
        return None

    def spread(counts: Any, masks: list[Any]) -> Any:
        ones = masks[0] if masks else xp.ones(node.shape, dtype="bool")
        found = op.support(xp, ones, y, *values, **parameters)
        if op.masks and (chooses := op.masks[index]) is not None:
            found = found & chooses(xp, y, *values, **parameters)
        return _fitted(xp, counts, found, parent)

    return Support(() if own is None else (own,), spread)


def _same(counts: Any, masks: list[Any]) -> Any:
    return _plus(counts, masks[0].astype("float32"))


def _fitted(xp: Any, counts: Any, mask: Any, parent: Any) -> Any:
    """Counts of a mask that broadcasting relates to the parent's shape."""
    return _plus(counts, unbroadcast(xp, mask.astype("float32"), parent.shape, _FLOAT))


def _moved(node: Any, index: int, own: Any, y: Any) -> Support | None:
    """The support behind a linear op, whose rule moves a mask as it moves a gradient."""
    op, xp, values, parent = node.op, node.xp, node.values, node.parents[index]
    parameters = node.parameters or {}
    needs = tuple(place == index for place in range(len(values)))
    several = isinstance(node, OutputsNode)
    shapes = [output.shape for output in node.shape] if several else [node.shape]
    outputs = own.outputs if several and own is not None else {0: own}
    if several and own is None:
        return None
    if len(outputs) == len(shapes) and not any(outputs.values()) and not op.chooses:
        return None

    def moved(counts: Any, masks: list[Any]) -> Any:
        known = iter(masks)
        g = [
            xp.zeros(shape, dtype="float32")
            if place not in outputs
            else xp.ones(shape, dtype="float32")
            if outputs[place] is None
            else next(known).astype("float32")
            for place, shape in enumerate(shapes)
        ]
        add = None if counts is None or op.adds is None else op.adds[index]
        if add is not None and add(xp, counts, g[0], *values, **parameters):
            return counts
        found = pull_back(op, xp, tuple(g) if several else g[0], y, needs, values, parameters)[
            index
        ]
        return _plus(counts, unbroadcast(xp, found, parent.shape, _FLOAT))

    sources = [outputs[place] for place in sorted(outputs) if outputs[place] is not None]
    return Support(sources, moved)


def push_support(supports: dict[Any, Any], node: Any, tangents: Sequence[Any]) -> None:
    """Enter the support of a node's tangent, given those of its arguments, where it has one.

    A tangent that is None is zero by choice: the argument is a constant.
    """
    op = node.op
    if not (op.kind == "elementwise" or op.moves) or isinstance(node, OutputsNode):
        return
    xp, values = node.xp, node.values
    parameters = node.parameters or {}
    y = node if node.y is None else node.y
    owns = [supports.get(parent) for parent in node.parents]
    moved = [index for index, tangent in enumerate(tangents) if tangent is not None]
    sources = [own for index in moved if (own := owns[index]) is not None]
    if op.moves:
        if not sources and len(moved) == len(tangents) and not op.chooses:
            return

        def push(counts: Any, masks: list[Any]) -> Any:
            known = iter(masks)
            full = [
                xp.zeros(value.shape, dtype="float32")
                if index not in moved
                else xp.ones(value.shape, dtype="float32")
                if owns[index] is None
                else next(known).astype("float32")
                for index, value in enumerate(values)
            ]
            return _plus(counts, getattr(xp, op.name)(*full, **parameters))

        supports[node] = Support(sources, push)
        return
    masks = [op.masks[index] if op.masks else None for index in moved]
    if any(owns[index] is None and mask is None for index, mask in zip(moved, masks)):
        return

    def choose(counts: Any, known: list[Any]) -> Any:
        rest = iter(known)
        for index, mask in zip(moved, masks):
            found: Any = True
            if owns[index] is not None:
                found = next(rest)
            if mask is not None:
                found = found & mask(xp, y, *values, **parameters)
            counts = _fitted(xp, counts, xp.broadcast_to(found, node.shape), node)
        return counts

    supports[node] = Support(sources, choose)
