"""`gpugrad.scan` while a function is recorded: a step "scan", and its derivative, another one.

Imports loop, tape, autodiff and the engine.

The function runs once, over the first slices, on a tape of its own: that is the body of the loop.
What is the same in all turns is recorded on the tape around it. The graph gets one node, which has
the carries of all turns. Its rule is a scan the other way, whose function calls the user's function
again on a turn's carry and slices, and pulls the gradient of its results back to these and to what
it uses from outside. That is recorded as any function is, also over Tensors: so there are
derivatives of every order. Forward mode has a scan the same way.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

from gpugrad.autodiff import tree
from gpugrad.autodiff.checkpoint import arrays_of
from gpugrad.autodiff.levels import (
    Level,
    has_level,
    is_inside,
    levels_with,
    only,
    outwards,
    running,
    with_levels,
    without_levels,
)
from gpugrad.autodiff.run import PLAIN, connect, inside_since
from gpugrad.autodiff.scan import check_carry
from gpugrad.backend.device import default_device
from gpugrad.backend.device import device as home
from gpugrad.backend.namespace import namespace_of
from gpugrad.compiler.recording.one_turn import (
    Call,
    Leaves,
    Turn,
    emitted,
    is_number,
    known,
    node_of,
    raw,
    settled,
)
from gpugrad.engine import autocast
from gpugrad.engine.backward import run_backward
from gpugrad.engine.forward import push
from gpugrad.engine.hooks import silenced
from gpugrad.engine.modes import enable_grad, in_rules, levels, recording, running_again
from gpugrad.engine.op import Op
from gpugrad.engine.outputs import OutputsNode, ShapeDtype, pick, zeros
from gpugrad.errors import CompileError
from gpugrad.tensor import GRAPH_MODE, Tensor

__all__ = ["scan"]


def scan(
    session: Any, f: Any, init: Any, leaves: Leaves, structure: tree.Tree, count: int,
    reverse: bool, levels: Sequence[Level] = (),
) -> tuple[Any, Any]:  # fmt: skip
    """`gpugrad.scan`, recorded: over ``leaves`` in a ``structure``, in ``count`` turns.

    ``f`` enters ``levels``, those of `vmap` in which the user has called it.
    """
    carries, own = tree.flatten(init)
    ys_structure: Any = None

    def call(carries: Leaves, slices: Leaves) -> tuple[list[Any], list[Any]]:
        nonlocal ys_structure
        after, y = f(tree.unflatten(own, carries), tree.unflatten(structure, slices))
        ys, ys_structure = tree.flatten(y)
        return tree.flatten(after)[0], ys

    slices = [known(session, leaf, ()) for leaf in leaves]
    turn, carries = settled(session, call, carries, slices)
    check_carry(tree.unflatten(own, turn.carries), tree.unflatten(own, turn.after), True)
    moving = _moving(turn, carries, slices) if recording.get() else None
    results = emitted(session, turn, carries, slices, count, reverse, moving is not None)
    if moving is not None:
        rule = _Rule(session, call, turn, moving, count, reverse, levels)
        results = rule.tensors(carries, slices, results)
    first = len(carries)
    finals, ys = map(_like, turn.after, results), map(_like, turn.ys, results[first:])
    return tree.unflatten(own, finals), tree.unflatten(ys_structure, ys)


def _like(leaf: Any, result: Any) -> Any:
    """A result of all turns as one turn gave it: a Tensor, a raw array or a number."""
    if isinstance(leaf, Tensor):
        return result if isinstance(result, Tensor) else Tensor(result)
    array = result._array if isinstance(result, Tensor) else result
    return array.item() if namespace_of(leaf) is None and not array.ndim else array


# The graph.


class _Moving(NamedTuple):
    """What depends on something that has a gradient.

    The numbers of such carries, slices and ys, the nodes of the turn behind them, and those outside
    that it reaches.
    """

    carries: list[int]
    slices: list[int]
    ys: list[int]
    inside: list[Any]
    older: list[Any]


def _moving(turn: Turn, carries: Leaves, slices: Leaves) -> _Moving | None:
    """What moves in a turn; None where nothing does."""
    inputs = [*map(node_of, turn.carries), *map(node_of, turn.slices)]
    stop = dict.fromkeys(node for node in inputs if node is not None)
    moved = {own for own, leaf in zip(inputs, (*carries, *slices)) if node_of(leaf) is not None}
    after, ys = [*map(node_of, turn.after)], [*map(node_of, turn.ys)]
    behind = {
        root: inside_since([root], turn.start, stop) for root in (*after, *ys) if root is not None
    }

    def depends(root: Any) -> bool:
        inside, older = behind.get(root, ((), ()))
        return bool(older) or not moved.isdisjoint(inside)

    count = -1
    while count < len(moved):  # until no carry moves because another one does
        count = len(moved)
        moved |= {own for own, root in zip(inputs, after) if own is not None and depends(root)}
    moving = [i for i, own in enumerate(inputs[: len(carries)]) if own in moved]
    given = [i for i, root in enumerate(ys) if depends(root)]
    if not moving and not given:
        return None
    roots = [*(after[i] for i in moving), *(ys[i] for i in given)]
    found = inside_since([root for root in roots if root is not None], turn.start, stop)
    sliced = [i for i, leaf in enumerate(slices) if node_of(leaf) is not None]
    return _Moving(moving, sliced, given, *found)


# What the function got again, its carries and slices, and what it returned: the carries and ys.
_Again = tuple[list[Any], list[Any], list[Any], list[Any]]


def _again(xp: Any, *arrays: Any) -> Any:
    raise CompileError("compile: a tool asks for the values of a loop that was recorded")


_again.__signature__ = inspect.signature(lambda xp, /, *arrays: None)  # type: ignore[attr-defined]


def _mapped(convert: Callable[[Any], Any], whole: Any) -> Any:
    """A tree with its leaves converted."""
    leaves, structure = tree.flatten(whole)
    return tree.unflatten(structure, map(convert, leaves))


def _some(chosen: Sequence[bool], leaves: Leaves, convert: Callable[[Any], Any]) -> list[Any]:
    """The leaves, with those converted that are chosen."""
    return [convert(leaf) if own else leaf for own, leaf in zip(chosen, leaves)]


def _is_batched(leaf: Any, own: Sequence[Level]) -> bool:
    """Whether a leaf, or its gradient, has hidden axes of some levels."""
    node = node_of(leaf)
    return any(
        has_level(raw(leaf), level.number) or (node is not None and is_inside(node, level))
        for level in own
    )


class _Rule:
    """The derivative of a loop: a loop the other way."""

    def __init__(
        self, session: Any, call: Call, turn: Turn, moving: _Moving, count: int, reverse: bool,
        levels: Sequence[Level],
    ) -> None:  # fmt: skip
        self.session = session
        self.levels = levels
        self.call = call
        self.count = count
        self.reverse = reverse
        self.device, self.autocast = default_device(), autocast.state()
        self.moving, self.sliced, self.given, self.inside, self.older = moving
        self.still = [i for i in range(len(turn.carries)) if i not in self.moving]
        self.whole = [i for i in range(len(turn.slices)) if i not in self.sliced]
        # The kinds of what the function takes: Tensors, arrays or numbers.
        self.kinds = [[_kind(leaf) for leaf in one] for one in (turn.carries, turn.slices)]
        self.op = Op(
            "scan", _again, vjp_all=self.pull, jvp=self.push, saves="arrays y", partial=True,
            public="", outputs=True, doc="A loop of a program.",
        )  # fmt: skip

    def tensors(self, carries: Leaves, slices: Leaves, results: list[Any]) -> list[Any]:
        """The results, those with a gradient as Tensors; ``results`` end with all carries."""
        first = len(results) - len(carries)
        stacks = results[first:]
        moving = [carries[i] for i in self.moving]
        sliced = [slices[i] for i in self.sliced]
        constants = [raw(slices[i]) for i in self.whole] + [stacks[i] for i in self.still]
        parents = [
            *map(node_of, moving),
            *map(node_of, sliced),
            *self.older,
            *[None] * len(constants),
        ]
        # What the rule does not read has its node in place of its array.
        values = [raw(leaf) if node_of(leaf) is None else node_of(leaf) for leaf in moving]
        values += [*map(raw, sliced), *arrays_of(self.inside, self.older), *constants]
        self.inside = []
        ys = (*results[:first], *(stacks[i] for i in self.moving))
        xp = namespace_of(raw(ys[0]))
        node = OutputsNode(self.op, tuple(parents), tuple(values), ys, xp, None)
        chosen = {*self.moving, *(len(carries) + i for i in self.given)}
        return [Tensor(y, pick(node, i, y)) if i in chosen else y for i, y in enumerate(ys[:first])]

    def pull(self, xp: Any, g: Any, y: Any, needs: Any, *values: Any) -> list[Any]:
        """The gradients of the arguments, as a loop: of raw arrays, or of Tensors."""
        some = next(one for one in g if one is not None)
        in_graph = isinstance(some, Tensor)
        count = len(self.moving) + len(self.still)
        first, sums = len(y) - len(self.moving), len(self.moving) + len(self.sliced)
        reached = [node for node, need in zip(self.older, needs[sums:]) if need]
        start = [zeros(xp, some, y[i]) if g[i] is None else g[i] for i in self.moving]
        levels = [[one for one in self.levels if one.number < node.serial] for node in reached]
        totals = [zeros(xp, some, _outside(*one)) for one in zip(reached, levels)]
        parts = self.parts(y, values, in_graph) | {
            "ys": {i: g[count + i] for i in self.given if g[count + i] is not None},
            "stacks": {n: one for n, one in enumerate(g[first:]) if one is not None},
        }

        def turn(done: _Again, carry: Any, part: Any, _: Any) -> Any:
            ds, totals = carry
            d_carries, d_slices, d_older = self.pulled(xp, done, ds, part["ys"], reached, in_graph)
            d_carries = [
                d + part["stacks"][n] if n in part["stacks"] else d for n, d in enumerate(d_carries)
            ]
            totals = [
                total if d is None else total + without_levels(d, own)
                for total, d, own in zip(totals, d_older, levels)
            ]
            return (d_carries, totals), d_slices

        (ds, totals), d_slices = self.turns(turn, (start, totals), parts, not self.reverse)
        rest = dict(zip(reached, map(with_levels, totals, levels)))
        constants = len(values) - sums - len(self.older)
        return [*ds, *d_slices, *(rest.get(node) for node in self.older), *[None] * constants]

    def push(self, xp: Any, tangents: Any, y: Any, *values: Any) -> list[Any]:
        """The tangents of the results, as a loop the same way."""
        first, sums = len(self.moving), len(self.moving) + len(self.sliced)
        some = next((one for one in tangents[:sums] if one is not None), Tensor(raw(y[0])))
        start = [zeros(xp, some, y[i]) if t is None else t for i, t in zip(self.moving, tangents)]
        sliced = zip(self.sliced, tangents[first:sums])
        parts = self.parts(y, values, True) | {
            "tangents": {i: t for i, t in sliced if t is not None}
        }
        pairs = [(n, t) for n, t in zip(self.older, tangents[sums:]) if t is not None]
        reached, older = [n for n, _ in pairs], [t for _, t in pairs]
        is_recorded = any(node_of(one) is not None for one in (*tangents, *values, *y))
        graph = GRAPH_MODE if is_recorded else PLAIN

        def turn(done: _Again, ts: Any, part: Any, older: Any) -> Any:
            carries, slices, after, ys = done
            known = dict(zip(reached, older)) | {
                node_of(carries[i]): t for i, t in zip(self.moving, ts)
            }
            known |= {node_of(slices[i]): t for i, t in part["tangents"].items()}
            leaves = [*(after[i] for i in self.moving), *(ys[i] for i in self.given)]
            pushed = push(known, [*map(node_of, leaves)], graph)
            results = [
                xp.zeros_like(leaf.detach()) if t is None else t for leaf, t in zip(leaves, pushed)
            ]
            return results[:first], (results[first:], ts)

        ts, (d_ys, stacks) = self.turns(turn, start, parts, self.reverse, older)
        results: list[Any] = [None] * (len(y) - first)
        for i, t in zip(self.moving, ts):
            results[i] = t
        for i, t in zip(self.given, d_ys):
            results[first + len(self.still) + i] = t
        return results + stacks

    def turns(
        self, turn: Any, start: Any, parts: Any, reverse: bool, fixed: Leaves = ()
    ) -> tuple[Any, Any]:
        """A scan of ``turn(self.again(part), carry, part, fixed)``.

        Levels of `vmap` that run over the derivative alone are left outside of the loop. Each turn
        runs again without them, and then enters levels that are younger than its graph, in which
        the gradient of what all elements share is a sum.
        """
        leaves, structure = tree.flatten(parts)
        with only(self.levels, others=True):
            arrays = [*map(raw, (*tree.flatten(start)[0], *leaves, *fixed))]
            newer = [
                level
                for level in levels_with(levels.get(), arrays)
                if level.number not in [one.number for one in self.levels]
            ]
            moves, fixed_moves = ([_is_batched(x, newer) for x in part] for part in (leaves, fixed))
            start = _mapped(partial(outwards, own=newer), start)
            leaves = _some(moves, leaves, partial(outwards, own=newer, axis=1))
            fixed = _some(fixed_moves, fixed, partial(outwards, own=newer))

            def whole(carry: Any, part: Any) -> Any:
                done = self.again(part)
                with ExitStack() as stack:
                    own = [stack.enter_context(running(level.size)) for level in newer]
                    into = partial(with_levels, own=own)
                    part = tree.unflatten(structure, _some(moves, tree.flatten(part)[0], into))
                    result = turn(done, _mapped(into, carry), part, _some(fixed_moves, fixed, into))
                    return _mapped(partial(outwards, own=own), result)

            with only(()):
                last, ys = scan(
                    self.session, whole, start, leaves, structure, self.count, reverse, self.levels
                )
            into = partial(with_levels, own=newer)
            return _mapped(into, last), _mapped(partial(into, axis=1), ys)

    def parts(self, y: Any, values: Any, in_graph: bool) -> dict[str, Any]:
        """The carries and slices of all turns, by their numbers."""

        def alike(array: Any) -> Any:
            return Tensor(array) if in_graph and not isinstance(array, Tensor) else array

        first = len(self.moving)
        constants = [*map(alike, values[first + len(self.sliced) + len(self.older) :])]
        carries = dict(zip(self.moving, y[len(y) - first :]))
        carries |= dict(zip(self.still, constants[len(self.whole) :]))
        slices = dict(zip(self.sliced, values[first:])) | dict(zip(self.whole, constants))
        return {"carries": carries, "slices": slices}

    def again(self, part: Any) -> _Again:
        """Call the function on a turn's carries and slices; these, and what it returns."""
        kinds = zip(self.kinds, (part["carries"], part["slices"]), (self.moving, self.sliced))
        again = only(self.levels), _running_again()
        with again[0], again[1], home(self.device), autocast.state_again(self.autocast):
            carries, slices = (
                [_as_kind(own[i], leaves[i], i in moves) for i in range(len(own))]
                for own, leaves, moves in kinds
            )
            return carries, slices, *self.call(carries, slices)

    def pulled(
        self, xp: Any, done: _Again, ds: list[Any], d_ys: dict[int, Any], reached: list[Any],
        in_graph: bool,
    ) -> tuple[list[Any], list[Any], list[Any]]:  # fmt: skip
        """The gradients of a turn's carries and slices, and of the nodes outside."""
        carries, slices, after, ys = done
        pairs = [(after[i], d) for i, d in zip(self.moving, ds)]
        pairs += [(ys[i], d) for i, d in d_ys.items()]
        seeds = [(node_of(leaf), d) for leaf, d in pairs if node_of(leaf) is not None]
        inputs = [carries[i] for i in self.moving], [slices[i] for i in self.sliced]
        targets = dict.fromkeys([*map(node_of, (*inputs[0], *inputs[1])), *reached])
        graph = GRAPH_MODE if in_graph else None
        with silenced():
            gradients = run_backward(seeds, retain_graph=True, graph=graph, targets=targets)

        def of(leaf: Any) -> Any:
            found = gradients.get(node_of(leaf))
            return xp.zeros_like(leaf if in_graph else raw(leaf)) if found is None else found

        return (
            [*map(of, inputs[0])],
            [*map(of, inputs[1])],
            [gradients.get(node) for node in reached],
        )


@contextmanager
def _running_again() -> Iterator[None]:
    """A block in which the function runs once more, for its graph."""
    again, rules = running_again.get(), in_rules.get()
    try:
        running_again.set(True)
        try:  # apart, so that no interrupt comes between the ends of the two
            in_rules.set(False)
            with enable_grad():
                yield
        finally:
            in_rules.set(rules)
    finally:
        running_again.set(again)


def _outside(node: Any, levels: Sequence[Level]) -> ShapeDtype:
    """What a node has for all elements of levels in which it was made."""
    return ShapeDtype((*(level.size for level in levels), *node.shape), node.dtype)


def _kind(leaf: Any) -> str:
    return "tensor" if isinstance(leaf, Tensor) else "number" if is_number(leaf) else "array"


def _as_kind(kind: str, leaf: Any, moves: bool) -> Any:
    """What the function gets again, from a slice of what it got: connected, where it moves."""
    if kind == "number":
        return raw(leaf).item()
    if kind == "array":
        return raw(leaf)
    tensor = leaf if isinstance(leaf, Tensor) else Tensor(leaf)
    return connect(tensor) if moves else tensor.detach()
