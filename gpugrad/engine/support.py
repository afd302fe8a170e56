"""Zeros by choice: where a gradient may be anything but zero. Imports modules of the engine.

The gradient of ``where(c, f(x), 0)`` by f(x) is structurally zero where c is False, even where the
derivative of f is infinite. A zero that is a value is a number, and zero times infinity is NaN. An
array cannot tell the two apart, so a walk carries the *support* of a gradient beside it: the mask
outside which it is structurally zero. The mask is computed only for a rule whose derivative can be
infinite; a walk over a graph without choices carries none (docs/engine.md, "Two kinds of zero").

What an op does with a support stands in its entry, see `gpugrad.engine.op.Op`:

- a rule with a ``mask`` chooses: its gradient's support is that mask;
- an elementwise op hands the support on, and asks for it unless its derivative is ``finite``;
- a linear op that ``moves`` elements moves the mask as it moves a gradient, by its own rule;
- an op with a ``support`` formula says itself; a reduction spreads the mask along its axes;
- the outputs of an op that expands hand theirs to the graph that is computed again;
- behind any other op the gradient has no support, and all its zeros are numbers.

Two gradients of one node add up to one that is zero only where both are.
"""

from collections.abc import Sequence
from functools import reduce
from operator import and_, or_
from typing import Any, Self

import numpy as np

from gpugrad.backend.namespace import widest
from gpugrad.engine.accumulate import Gradients
from gpugrad.engine.follow import has_moved, on_device_of
from gpugrad.engine.outputs import PICK, OutputsNode
from gpugrad.engine.pull import pull_back, unbroadcast

__all__ = [
    "OutputSupports", "Support", "asks", "asks_within", "carry", "hand_over", "matters_to_any",
    "nonzero", "push_support",
]  # fmt: skip

BOOL = np.dtype(np.bool_)


class Support:
    """The mask of one gradient (or tangent), computed when it is first needed.

    It is the union of ``makes``: pairs of the supports that a mask depends on and a function
    ``make(masks, total)``, which computes it from theirs. ``total`` is the union so far, or None: a
    function that adds to it in place returns None.
    """

    __slots__ = ("_closed", "_grows", "_mask", "makes")

    def __init__(self, makes: list[Any], grows: bool = False) -> None:
        self.makes = makes
        self._mask: Any = None
        self._grows = grows  # whether it is a union that only a walk's next node refers to
        self._closed = False  # whether others may refer to it

    def union(self, other: "Support") -> "Support":
        """The support of the sum of two gradients."""
        if not self._grows:
            return Support([*self._parts(), *other._parts()], grows=True)
        self.makes += other._parts()
        return self

    def close(self) -> None:
        """Mark a union as complete: from now on others refer to it."""
        self._grows, self._closed = False, True

    def _parts(self) -> list[Any]:
        mask = self._mask
        if mask is not None:
            return [((), lambda masks, total: mask)]
        # What others refer to is computed once for all: copies of its parts would have all parts of
        # the supports behind it, whose count is the square of that of the steps of a loop.
        return [((self,), lambda masks, total: masks[0])] if self._closed else self.makes

    def mask(self) -> Any:
        """True where the gradient is a number, False where it is zero by choice."""
        waiting = [self]  # no recursion: a support may come from thousands of others
        while waiting:
            last = waiting[-1]
            if last._mask is None:
                missing = [s for sources, _ in last.makes for s in sources if s._mask is None]
                if missing:
                    waiting += missing
                    continue
                last._make()
            waiting.pop()
        return self._mask

    def _make(self) -> None:
        total = None
        for sources, make in self.makes:
            mask = make([source._mask for source in sources], total)
            if mask is None:
                continue
            with on_device_of(mask):
                if total is not None:
                    total = total | mask
                else:  # copied, where what follows may add to it in place
                    total = mask if len(self.makes) == 1 else mask.copy()
        self._mask, self.makes = total, []


class OutputSupports:
    """The supports of the outputs of one operation, by index; None for one without."""

    __slots__ = ("outputs",)

    def __init__(self, outputs: dict[int, Support | None]) -> None:
        self.outputs = outputs

    def close(self) -> None:
        """Mark all unions as complete."""
        for support in self.outputs.values():
            if support is not None:
                support.close()

    def mask(self) -> None:
        """Compute all masks."""
        for support in self.outputs.values():
            if support is not None:
                support.mask()

    def union(self, other: Self) -> Self:
        """The supports of the sums of two gradients."""
        for index, support in other.outputs.items():
            if index in self.outputs:
                before = self.outputs[index]
                support = None if before is None or support is None else before.union(support)
            self.outputs[index] = support
        return self


def nonzero(gradient: Any) -> Support:
    """The support of a raw gradient whose zeros are all by choice."""
    support = Support([((), lambda masks, total: gradient != 0)])
    if has_moved():
        with on_device_of(gradient):
            support.mask()
    return support


def carry(
    gradients: Gradients, node: Any, parents: Sequence[Any], xp: Any, ds: Sequence[Any]
) -> Sequence[Any]:
    """The gradients of a node's parents, masked where they are zero by choice.

    Replaces the node's support in ``gradients`` by those of its parents. ``xp`` is the namespace
    of ``ds``.
    """
    own = gradients.supports.pop(node, None)
    if own is not None:
        own.close()
    op = node.op
    if own is None and not op.chooses:
        for parent in parents:
            gradients.supports.pop(parent, None)
        return ds
    results = list(ds)
    supports: list[Any] = []
    for index, (parent, d) in enumerate(zip(parents, ds)):
        support = None
        masked = own is not None and parent is not None and asks(node, index)
        if masked or matters_to_any(gradients.matters, (parent,)):
            support = _of_argument(node, index, own)
        if masked and d is not None:
            # In the argument's own shape, but for elementwise ops, whose d may be larger.
            mask: Any = own if op.kind == "elementwise" else support
            results[index] = xp.where(mask.mask(), d, 0)
        if support is not None and has_moved():
            support.mask()  # now, where the node's device is the current one
        supports.append(support)
    _enter(gradients, parents, supports)
    return results


def hand_over(gradients: Gradients, node: Any, roots: Sequence[Any]) -> None:
    """Hand the supports of an operation's outputs to the nodes that a walk takes for them."""
    own = gradients.supports.pop(node, None)
    if own is not None:
        own.close()
    if own is not None or gradients.supports:
        outputs = {} if own is None else own.outputs
        _enter(gradients, roots, [outputs.get(index) for index in range(len(roots))])


def asks_within(roots: Sequence[Any], older: Sequence[Any]) -> bool:
    """Whether the support of a root matters in the graph between the roots and older nodes."""
    return matters_to_any(dict.fromkeys(older, False), roots)


def matters_to_any(known: dict[Any, bool], nodes: Sequence[Any]) -> bool:
    """Whether a support matters to one of the nodes: see `matters`."""
    for node in nodes:
        if node is None or node.op is None:
            continue
        if known[node] if node in known else matters(known, node):
            return True
    return False


def matters(known: dict[Any, bool], node: Any) -> bool:
    """Whether a node, or one behind it that its support is carried to, needs a mask.

    ``known`` are the answers so far: each node is visited once in a walk.
    """
    waiting = [node]
    while waiting:
        last = waiting[-1]
        op = last.op
        if last in known:
            waiting.pop()
        elif op is None or not op.carries:
            known[last] = False
        elif op.finite is not True and _asks_at_all(last):
            known[last] = True
        else:
            behind = [known.get(parent) for parent in last.parents if parent is not None]
            if True in behind or None not in behind:
                known[last] = True in behind
            else:
                waiting += [p for p in last.parents if p is not None and p not in known]
    return known[node]


def _asks_at_all(node: Any) -> bool:
    return any(
        parent is not None and asks(node, index) for index, parent in enumerate(node.parents)
    )


def asks(node: Any, index: int) -> bool:
    """Whether the rule of an argument could turn a zero by choice into another number."""
    op = node.op
    if op.moves or not op.carries:
        return False
    finite = op.finite
    return not (finite(index, *node.values) if callable(finite) else finite)


def _enter(gradients: Gradients, parents: Sequence[Any], supports: Sequence[Any]) -> None:
    """Enter the supports of the parents' new gradients, joined to those of earlier ones."""
    known = gradients.supports
    several = len(parents) > 1
    for parent, support in zip(parents, supports):
        if parent is None:
            continue
        if support is None:
            if several:  # the same parent may come again, with a support
                known[parent] = None
            else:
                known.pop(parent, None)
        elif parent in known:
            before = known[parent]
            known[parent] = None if before is None else before.union(support)
        elif parent not in gradients.by_node:
            known[parent] = support


def _of_argument(node: Any, index: int, own: Any) -> Any:
    """The support of the gradient of one argument; None where it has none."""
    op = node.op
    if op is PICK:
        (whole,) = node.parents
        hands_on = whole.op.moves or whole.op.expand is not None
        return OutputSupports({node.parameters["index"]: own}) if hands_on else None
    if op.moves:
        return _moved(node, index, own)
    values, shape = node.values, node.parents[index].shape
    y = node if node.y is None else node.y
    parameters = node.parameters or {}
    choose = op.masks[index] if op.masks else None
    elementwise = op.kind == "elementwise"
    if elementwise and choose is None and (own is None or shape == node.shape):
        return own
    if not elementwise and op.support is None:
        return None

    def make(masks: list[Any], total: Any) -> Any:
        xp = widest(node.xp, masks)
        if elementwise:
            results = masks
        else:
            whole = masks[0] if masks else xp.ones(node.shape, dtype="bool")
            results = [op.support(xp, whole, y, *values, **parameters)]
        if choose is not None:
            results = [*results, choose(xp, y, *values, **parameters)]
        result = reduce(and_, results)
        if elementwise and result.shape != node.shape:
            result = xp.broadcast_to(result, node.shape)
        return _fit(xp, result, shape)

    return Support([(() if own is None else (own,), make)])


def _fit(xp: Any, mask: Any, shape: Any) -> Any:
    """A mask, unbroadcast to a shape."""
    return mask if mask.shape == shape else unbroadcast(xp, mask, shape, BOOL)


def _moved(node: Any, index: int, own: Any) -> Support | None:
    """The support behind a linear op, by its rule run on the mask."""
    op, values, parent = node.op, node.values, node.parents[index]
    y = node if node.y is None else node.y
    parameters = node.parameters or {}
    several = isinstance(node, OutputsNode)
    if several:
        shapes = [output.shape for output in node.shape]
        outputs = own.outputs if own is not None else dict.fromkeys(range(len(shapes)))
    else:
        shapes, outputs = [node.shape], {0: own}
    if len(outputs) == len(shapes) and not any(outputs.values()) and not op.chooses:
        return None

    def moved(masks: list[Any], total: Any) -> Any:
        xp, known = widest(node.xp, masks), iter(masks)
        whole = [
            next(known) if outputs.get(position) else xp.full(shape, position in outputs)
            for position, shape in enumerate(shapes)
        ]
        # While a function is recorded, one of the two may be the same in each call, and not record.
        alike = total is not None and type(total) is type(whole[0])
        add = op.adds[index] if alike and op.adds is not None else None
        if add is not None and add(xp, total, whole[0], *values, **parameters):
            return None
        g = [mask.astype("float32") for mask in whole]
        needs = [position == index for position in range(len(values))]
        d = pull_back(op, xp, tuple(g) if several else g[0], y, needs, values, parameters)[index]
        with on_device_of(d):
            return _fit(xp, d != 0, parent.shape)

    sources = [own for position in sorted(outputs) if (own := outputs[position])]
    return Support([(sources, moved)])


def push_support(supports: dict[Any, Any], node: Any, tangents: Sequence[Any]) -> None:
    """Enter the support of a node's tangent, if it has one, given those of its arguments.

    A tangent of None is zero by choice: the argument is a constant.
    """
    op, values = node.op, node.values
    if op is PICK and (whole := supports.get(node.parents[0])) is not None:
        supports[node] = whole.outputs.get(node.parameters["index"])
    if op is PICK or isinstance(node, OutputsNode):
        return
    if not (op.kind == "elementwise" or op.moves):
        return
    parameters = node.parameters or {}
    y = node if node.y is None else node.y
    moved = [index for index, tangent in enumerate(tangents) if tangent is not None]
    owns = {index: supports.get(node.parents[index]) for index in moved}
    chooses = {index: op.masks[index] if op.masks else None for index in moved}
    sources = [own for own in owns.values() if own is not None]

    def push(masks: list[Any], total: Any) -> Any:
        xp, known = widest(node.xp, masks), iter(masks)
        full = {
            index: next(known) if owns.get(index) else xp.full(value.shape, index in owns)
            for index, value in enumerate(values)
            if index in owns or (op.moves and hasattr(value, "shape") and not op.is_constant(index))
        }
        if op.moves:
            # A number that is assigned to elements is a constant: its tangent is zero by choice.
            whole = [
                full[index].astype("float32")
                if index in full
                else value
                if op.is_constant(index)
                else 0
                for index, value in enumerate(values)
            ]
            function = getattr(xp, op.name, None)
            if function is not None:
                result = function(*whole, **parameters)
            else:  # an op that no namespace has, as those at the ends of a level of vmap
                result = op.jvp(xp, whole, y, *values, **parameters)
            with on_device_of(result):
                return result != 0
        for index, choose in chooses.items():
            if choose is not None:
                full[index] = full[index] & choose(xp, y, *values, **parameters)
        return reduce(or_, [xp.broadcast_to(part, node.shape) for part in full.values()])

    if op.moves:
        constants = sum(map(op.is_constant, range(len(values))))
        still = len(moved) + constants < len(tangents)  # an argument that does not move
        known = sources or still or op.chooses or op.fills
    else:
        known = all(owns[index] or chooses[index] for index in moved)
    if known:
        supports[node] = Support([(sources, push)])
        if has_moved():
            with on_device_of(tangents[moved[0]]):
                supports[node].mask()
