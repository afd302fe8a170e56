"""Reads a graph: its nodes, their names and values, and local derivatives.

Imports engine, backend and the Tensor. Nothing here changes a graph or a ``grad``, and nothing
recurses, so that the depth of a graph is unlimited.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from gpugrad.backend.namespace import namespace_of
from gpugrad.batching.batched import Batched
from gpugrad.engine import versions
from gpugrad.engine.again import compute_again, gradient_by
from gpugrad.engine.backward import reachable, run_backward
from gpugrad.engine.hooks import silenced
from gpugrad.engine.node import Leaf, Node
from gpugrad.engine.outputs import PICK, OutputGrads, OutputsNode, ShapeDtype
from gpugrad.errors import DTypeError
from gpugrad.tensor import Tensor

__all__ = [
    "Values",
    "changed_since",
    "checked",
    "derivatives",
    "names_of",
    "operands",
    "pull",
    "reachable",
    "size_of",
    "source_of",
]


def checked(who: str, t: Any) -> Tensor:
    """The argument itself; DTypeError for anything but a Tensor."""
    if not isinstance(t, Tensor):
        raise DTypeError(
            f"{who}: expected a Tensor, got {type(t).__name__}. Only what was computed with "
            "gpugrad has a graph; make its inputs with gg.tensor(..., requires_grad=True)"
        )
    return t


def size_of(node: Any) -> int:
    """The number of elements of a node's value."""
    return math.prod(node.shape)


def source_of(node: Any) -> Any:
    """The node of the operation behind a value: for one of several outputs the node of all."""
    return node.parents[0] if isinstance(node, Node) and node.op is PICK else node


def operands(node: Any) -> tuple[Any, ...]:
    """The parents of the operation behind a value, by argument; None for a constant."""
    return source_of(node).parents


def names_of(nodes: Iterable[Any], known: Mapping[Any, str] | None = None) -> dict[Any, str]:
    """A unique name for each node: the tensor's own, else the op's with a number.

    ``known`` names tensors that have no name of their own.
    A single ``tanh`` is "tanh"; the second of several is "tanh_2". Control characters in a name
    are escaped, so a name is always one line.
    """
    nodes = list(nodes)
    known = known or {}
    used: dict[str, int] = {}
    names = {
        node: _free(printable(str(name)), used)
        for node in nodes
        if (name := getattr(node, "name", None) or known.get(node))
    }
    labels = {
        node: "leaf" if isinstance(node, Leaf) else op_name(node)
        for node in nodes
        if node not in names
    }
    totals, counts = Counter(labels.values()), Counter[str]()
    for node, label in labels.items():
        counts[label] += 1
        numbered = totals[label] > 1 or label == "leaf"
        names[node] = _free(f"{label}_{counts[label]}" if numbered else label, used)
    return names


def printable(text: str) -> str:
    """A text on one line that every encoding can represent: other characters are escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in text
    )


def op_name(node: Any) -> str:
    """The op that computed a value, under its public name."""
    name: str = source_of(node).op.shown
    return name


def _free(name: str, used: dict[str, int]) -> str:
    """The name, with a number appended where it is in use."""
    number = used.get(name, 0) + 1
    used[name] = number
    if number == 1:
        return name
    while (other := f"{name}_{number}") in used:
        number += 1
    used[name] = number
    used[other] = 1
    return other


class Values:
    """The raw forward values of a graph's nodes: saved, or recomputed.

    ``values[node]`` is None where the graph was freed, a leaf's tensor is gone, or it was computed
    inside of `vmap` and not saved. Recomputed values are cached.
    """

    def __init__(self, nodes: Sequence[Any], tensor: Tensor, *, from_leaves: bool = False) -> None:
        self._known: dict[Any, Any] = {}
        if tensor._node is not None and not from_leaves:
            self._known[tensor._node] = tensor.data
        for node in nodes:
            if isinstance(node, Leaf):
                leaf = node.tensor()
                if leaf is not None:
                    self._known.setdefault(node, leaf.data)
            elif not from_leaves:
                self._keep(node)

    def _keep(self, node: Any) -> None:
        y = node.y
        if y is not None and not (
            isinstance(node, OutputsNode) and any(isinstance(part, ShapeDtype) for part in y)
        ):
            self._known[node] = y
        for value, parent in zip(node.values or (), node.parents):
            if parent is not None and value is not parent:
                self._known[parent] = value

    def saved(self, node: Any) -> Any:
        """The value if it need not be computed for this; else None."""
        return self._known.get(node)

    def __getitem__(self, node: Any) -> Any:
        cache = self._known
        stack = [node]
        while stack:
            top = stack[-1]
            if top in cache:
                stack.pop()
                continue
            if isinstance(top, Leaf) or top.values is None:
                cache[top] = None
                continue
            missing = [p for p in top.parents if p is not None and p not in cache]
            if missing:
                stack.extend(missing)
            else:
                cache[top] = self._compute(top)
        return cache[node]

    def _compute(self, node: Any) -> Any:
        arguments = []
        for value, parent in zip(node.values, node.parents):
            if parent is not None:
                value = self._known[parent]
                if value is None:
                    return None
            arguments.append(value)
        if node.op.name.startswith("vmap_") or any(isinstance(a, Batched) for a in arguments):
            return None  # the level is over, and there is no computing inside of it
        return compute_again(node, arguments)


def changed_since(tensor: Tensor, nodes: Sequence[Any]) -> bool:
    """Whether in-place changes of leaves make the value of the graph differ from ``tensor``."""
    root = tensor._node
    if root is None or versions.latest < root.serial:
        return False
    again = Values(nodes, tensor, from_leaves=True)[root]
    if again is None:
        return False
    xp = namespace_of(tensor.data)
    same = (again == tensor.data) | ((again != again) & (tensor.data != tensor.data))
    return not bool(xp.all(same))


def pull(node: Any, index: int, g: Any) -> Any:
    """The gradient of one operand of a value, for the value's own gradient ``g``."""
    source = source_of(node)
    if source is not node:
        g = source.filled(OutputGrads(source.shape, {node.parameters["index"]: g}), node.xp)
    return gradient_by(source, index, g)


def derivatives(t: Tensor, targets: Collection[Any]) -> dict[Any, Any]:
    """The raw derivatives of a one-element tensor by nodes; the graph and ``grad`` are unchanged.

    GradientError where the graph was freed or a needed value was changed.
    """
    with silenced():  # hooks may have effects: that of `retain_grad` sets ``grad``
        seed = namespace_of(t.data).ones_like(t.data)
        return run_backward([(t._node, seed)], retain_graph=True, targets=targets)
