"""Folds a long graph into boxes: layers of a model, repeated blocks, and ranges of what is left.

Imports the modules beside it. The result is a tree of groups whose lists are short enough to read.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gpugrad.engine.node import Leaf
from gpugrad.inspect.graph import op_name, operands, printable, source_of

__all__ = ["FEW", "Group", "divided", "folded", "layers_of", "summary"]

FEW = 60  # operations, or leaves, of a graph that is drawn as it is
LENGTH = 24  # things in a group, at most
SMALL = 4  # operations of a layer that has a box
LONGEST = 512  # operations of a block that repeats


class Group:
    """Values that a drawing shows as one box. ``count`` is how often its block repeats, or 0."""

    __slots__ = ("count", "items", "title")

    def __init__(self, title: str, items: list[Any], count: int = 0) -> None:
        self.title = title
        self.items = items
        self.count = count

    def nodes(self) -> Iterator[Any]:
        """All values in it."""
        stack = [self]
        while stack:
            for item in stack.pop().items:
                if isinstance(item, Group):
                    stack.append(item)
                else:
                    yield item


def summary(nodes: Iterable[Any]) -> str:
    """Operations, the most frequent first: ``matmul ×3, add ×3, tanh``."""
    counts = Counter(printable(op_name(node)) for node in nodes if not isinstance(node, Leaf))
    shown = [f"{name} ×{n:,}" if n > 1 else name for name, n in counts.most_common(3)]
    return ", ".join([*shown, "…"] if len(counts) > 3 else shown)


def folded(nodes: Sequence[Any], layers: Mapping[Any, str] | None = None) -> Group:
    """The tree of groups of operations in the order they ran in; ``layers`` as of `layers_of`."""
    if layers is not None:
        return Group("", _folded(_layers(nodes, layers)))
    return Group("", list(nodes) if len(nodes) <= FEW else _folded(list(nodes)))


def layers_of(parameters: Mapping[Any, str], nodes: Sequence[Any]) -> dict[Any, str]:
    """The dotted name of the module that each operation ran in, "" for the model itself.

    An operation belongs to the module whose parameter it uses. One without parameters runs between
    two that have some, so inside of the module that both are in.
    """
    owners = {leaf: name.rpartition(".")[0] for leaf, name in parameters.items()}
    found: list[list[str] | None] = []
    for node in nodes:
        names = [owners[parent] for parent in operands(node) if parent in owners]
        found.append(_common([_path(name) for name in names]) if names else None)
    before = _carried(found)
    after = _carried(found[::-1])[::-1]
    return {
        node: ".".join(_common([own]) if own is not None else _common([left, right]))
        for node, own, left, right in zip(nodes, found, before, after)
    }


def _path(name: str) -> list[str]:
    return name.split(".") if name else []


def _carried(paths: Sequence[list[str] | None]) -> list[list[str]]:
    """Each path that is missing is the one before it."""
    last: list[str] = []
    return [last := (path if path is not None else last) for path in paths]


def _common(paths: Sequence[list[str]]) -> list[str]:
    """The longest path that all begin with."""
    common = []
    for parts in zip(*paths):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return common


def _layers(nodes: Sequence[Any], layers: Mapping[Any, str]) -> list[Any]:
    """The operations, those of one call of a module as a group, with the groups inside of it."""
    top: list[Any] = []
    stack: list[tuple[list[str], list[Any]]] = [([], top)]
    for node in nodes:
        path = _path(layers[node])
        while len(_common([path, stack[-1][0]])) < len(stack[-1][0]):
            stack.pop()
        for depth in range(len(stack[-1][0]), len(path)):
            group = Group(".".join(path[: depth + 1]), [])
            stack[-1][1].append(group)
            stack.append((path[: depth + 1], group.items))
        stack[-1][1].append(node)
    return [part for item in top for part in _closed(item)]


def _closed(item: Any) -> list[Any]:
    """The things in a layer's place: the layer, folded inside, or what is in a small one."""
    if not isinstance(item, Group):
        return [item]
    items = _folded([part for one in item.items for part in _closed(one)])
    if len(items) == 1 or _weight(item) < SMALL:
        return items
    item.items[:] = items
    return [item]


def _folded(items: list[Any]) -> list[Any]:
    """The items, with repeated blocks as groups, divided until every list is short."""
    weights = np.array([_weight(item) for item in items])
    total = int(weights.sum())
    if total <= LENGTH // 2:
        return items
    kinds: dict[Hashable, int] = {}
    tokens = np.array([kinds.setdefault(_token(item), len(kinds)) for item in items])
    least = max(6, total // 20)
    result: list[Any] = []
    parts: list[Any] = [(0, len(items))]
    while parts:
        part = parts.pop()
        if isinstance(part, Group):
            result.append(part)
            continue
        low, high = part
        repeat = _repeat(tokens[low:high], weights[low:high], least)
        if repeat is None:
            result += items[low:high]
            continue
        start, period, count = low + repeat[0], repeat[1], repeat[2]
        end = start + period * count
        parts += [(end, high), _repeated(items[start:end], period, count), (low, start)]
    return divided(result, lambda group: summary(group.nodes()))


def _weight(item: Any) -> int:
    return sum(1 for _ in item.nodes()) if isinstance(item, Group) else 1


def _token(item: Any) -> Hashable:
    """What items have in common where a block repeats: operations, shapes and dtypes."""
    if isinstance(item, Group):
        return "group", item.count, tuple(_token(part) for part in item.items)
    source = source_of(item)
    return source.op.name, tuple(item.shape), str(item.dtype), len(source.parents)


def _repeat(tokens: Any, weights: Any, least: int) -> tuple[int, int, int] | None:
    """The start, the period and the count of the repetition of most operations; at least three."""
    best, covered = None, least - 1
    before = np.concatenate(([0], np.cumsum(weights)))
    for period in range(1, min(len(tokens) // 3, LONGEST) + 1):
        same = np.concatenate(([False], tokens[period:] == tokens[:-period], [False]))
        jumps = np.flatnonzero(same[1:] != same[:-1])
        if not len(jumps):
            continue
        counts = (jumps[1::2] - jumps[::2]) // period + 1
        longest = int(np.argmax(counts))
        start, count = int(jumps[2 * longest]), int(counts[longest])
        weight = int(before[start + count * period] - before[start])
        if count >= 3 and weight > covered:
            best, covered = (start, period, count), weight
    return best


def _repeated(items: list[Any], period: int, count: int) -> Group:
    """A group of the turns of a block: of the first ones, the last ones and those between."""
    turns: list[Any] = items
    if period > 1:
        blocks = [items[i : i + period] for i in range(0, len(items), period)]
        turns = [Group(f"block {i:,}", _folded(block)) for i, block in enumerate(blocks, 1)]
    number = {id(turn): i for i, turn in enumerate(turns, 1)}

    def ends(group: Group) -> str:
        first = last = group
        while id(first) not in number:
            first = first.items[0]
        while id(last) not in number:
            last = last.items[-1]
        return f"blocks {number[id(first)]:,} to {number[id(last)]:,}"

    title = summary(Group("", items[:period]).nodes())
    if period == 1 and isinstance(items[0], Group):
        title = f"{items[0].title} to {items[-1].title}"
    return Group(title, divided(turns, ends), count)


def divided(items: list[Any], title: Callable[[Group], str]) -> list[Any]:
    """The items themselves if they are few, else groups of consecutive ones, and of those."""
    if len(items) <= LENGTH:
        return items
    size = LENGTH
    while size * LENGTH < len(items):
        size *= LENGTH
    size = -(-len(items) // -(-len(items) // size))  # groups of one size
    groups = []
    for i in range(0, len(items), size):
        group = Group("", divided(items[i : i + size], title))
        group.title = title(group)
        groups.append(group)
    return groups
