"""The boxes of a drawing and the edges between them, for a whole graph and for each group in it.

Imports the modules beside it. A scene holds texts and places only, nothing of the graph.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from gpugrad.engine.node import Leaf, Node
from gpugrad.inspect import text
from gpugrad.inspect.dot import SIGNS
from gpugrad.inspect.folding import FEW, Group, divided, summary
from gpugrad.inspect.graph import op_name, operands, source_of
from gpugrad.inspect.layout import Layout, layered
from gpugrad.inspect.reading import Reading

__all__ = ["CHARACTER", "LINE", "PAD", "Box", "Scene", "scenes_of"]

CHARACTER, LINE, PAD = 7.3, 16.0, 8.0  # of 12-pixel monospaced text, and around it
MOST = 12  # constants of an operation, leaves and outer values of a group, that have a box each
WIDEST = 40  # characters


class Box:
    """A rectangle with lines of text.

    ``kind`` is value, leaf, result, operation, constant, outside or group; ``key`` is the number of
    the value or of the group's scene, where it is one.
    """

    __slots__ = ("key", "kind", "lines")

    def __init__(self, kind: str, lines: Sequence[str], key: int | None = None) -> None:
        self.kind = kind
        self.lines = [_shortened(line) for line in lines]
        self.key = key

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, so that the text fits."""
        widest = max(columns(line) for line in self.lines) * CHARACTER
        height = LINE * len(self.lines)
        if self.kind == "operation":
            return max(30.0, widest + 2 * PAD), height + PAD + 6
        return widest + 2 * PAD, height + PAD


def _shortened(line: str) -> str:
    """A line of few characters; of ``∂loss/∂weight = 3`` the number stays."""
    left, sign, right = line.rpartition(" = ")
    if sign and len(line) > WIDEST > len(right) + 10:
        return f"{text.short(left, WIDEST - len(right) - 3)} = {right}"
    return text.short(line, WIDEST)


def columns(line: str) -> int:
    """The columns of a text in a monospaced font: wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


class Scene:
    """What is drawn of one group: its boxes, predecessors first, and the edges between them."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.boxes: dict[Any, Box] = {}
        self.edges: dict[tuple[Any, Any], int] = {}
        self._outside: dict[Any, Any] = {}

    def connect(self, a: Any, b: Any) -> None:
        """Add an edge; a second one between the same operands of an operation is drawn as well."""
        again = self.boxes[b].kind == "operation" and self.boxes[a].kind != "group"
        self.edges[a, b] = self.edges.get((a, b), 0) + 1 if again else 1

    def outside(self, node: Any, name: str) -> Any:
        """The box of a value that is no part of the group; many share one."""
        if node not in self._outside:
            if len(self._outside) < MOST:
                key: Any = ("outside", node)
                self.boxes[key] = Box("outside", [f"{text.short(name, WIDEST - 2)} …"])
            else:
                key = ("outside", None)
                more = len(self._outside) - MOST + 1
                self.boxes[key] = Box("outside", [f"… {more:,} more"])
            self._outside[node] = key
        return self._outside[node]

    def finish(self) -> None:
        """Forget the graph: boxes and edges get numbers, what is outside comes first."""
        keys = sorted(self.boxes, key=lambda key: self.boxes[key].kind != "outside")
        number = {key: i for i, key in enumerate(keys)}
        self.boxes = {number[key]: self.boxes[key] for key in keys}
        self.edges = {(number[a], number[b]): n for (a, b), n in self.edges.items()}

    def placed(self, rankdir: str = "LR") -> tuple[Layout, list[tuple[int, int]]]:
        """The layout, and the edges that its routes belong to."""
        is_upright = rankdir in ("TB", "BT")
        sizes = {key: box.size[::-1] if is_upright else box.size for key, box in self.boxes.items()}
        edges = [pair for pair, count in self.edges.items() for _ in range(min(count, 3))]
        layout = layered(sizes, edges)
        _part_parallels(layout, edges)
        width, height = layout.size

        def turned(point: tuple[float, float]) -> tuple[float, float]:
            x, y = (width - point[0] if rankdir in ("RL", "BT") else point[0]), point[1]
            return (y, x) if is_upright else (x, y)

        return Layout(
            {key: turned(point) for key, point in layout.centres.items()},
            [[turned(point) for point in route] for route in layout.routes],
            (height, width) if is_upright else (width, height),
        ), edges


def _part_parallels(layout: Layout, edges: Sequence[tuple[int, int]]) -> None:
    """Move edges between the same two boxes apart."""
    together: dict[tuple[int, int], list[int]] = {}
    for i, pair in enumerate(edges):
        together.setdefault(pair, []).append(i)
    for same in together.values():
        for place, i in enumerate(same):
            shift = 6.0 * (place - (len(same) - 1) / 2)
            layout.routes[i][:] = [(x, y + shift) for x, y in layout.routes[i]]


def scenes_of(reading: Reading, top: Group, fold: bool) -> list[Scene]:
    """The scenes of a tree of groups: the first is that of the whole, others by their box's key.

    With ``fold`` many leaves become a group as well.
    """
    if reading.root is None:
        scene = Scene("")
        scene.boxes[0] = Box("value", _lines(reading.alone()))
        return [scene]
    return _Stage(reading, top, fold).scenes


class _Stage:
    """Puts the values of a graph into the scenes of the groups that they are in."""

    def __init__(self, reading: Reading, top: Group, fold: bool) -> None:
        self.reading = reading
        self.shown = dict.fromkeys(reading.shown)
        self.chains: dict[Any, tuple[Any, ...]] = {}  # the groups that a value or a group is in
        self._enter(top)
        self._house_leaves(top, fold)
        groups = self._enter(top)
        self.keys = {group: i for i, group in enumerate(groups)}
        self.scenes = [Scene(group.title) for group in groups]
        self.scene = dict(zip(groups, self.scenes))
        for group in groups:
            for item in group.items:
                self._place(group, item)
        for node in reading.shown:
            if isinstance(node, Node):
                self._connect(node)
        for scene in self.scenes:
            scene.finish()

    def _enter(self, top: Group) -> list[Group]:
        """All groups; notes where each value is."""
        groups = [top]
        self.chains[top] = ()
        for group in groups:
            chain = (*self.chains[group], group)
            for item in group.items:
                self.chains[item] = chain
                if isinstance(item, Group):
                    groups.append(item)
        return groups

    def _house_leaves(self, top: Group, fold: bool) -> None:
        """Put each leaf into the innermost group that has all of its uses."""
        homes: dict[Any, tuple[Any, ...]] = {
            node: (top,)
            for node in self.shown
            if isinstance(node, Leaf) and node is self.reading.root
        }
        for node in self.shown:
            for parent in operands(node) if isinstance(node, Node) else ():
                if isinstance(parent, Leaf) and parent in self.shown:
                    chain = self.chains[node]
                    homes[parent] = _shared(homes.get(parent, chain), chain)
        inside: dict[Any, list[Any]] = {}
        for leaf, chain in homes.items():
            inside.setdefault(chain[-1], []).append(leaf)
        is_folded = any(isinstance(item, Group) for item in top.items)
        most = MOST if is_folded else FEW
        for group, leaves in inside.items():
            if fold and len(leaves) > most:
                leaves = [Group(f"{len(leaves):,} leaves", divided(leaves, _count_of_leaves))]
            group.items[:0] = leaves

    def _place(self, group: Group, item: Any) -> None:
        """Add the box of a value or of a group, and that of the value's operation."""
        scene, reading = self.scene[group], self.reading
        if isinstance(item, Group):
            scene.boxes[item] = Box("group", _summary(item), self.keys[item])
            return
        kind = "leaf" if isinstance(item, Leaf) else "value"
        if isinstance(item, Node):
            self._operation(scene, item)
        kind = "result" if item is reading.root and kind == "value" else kind
        scene.boxes[item] = Box(kind, _lines(reading.fields(item)), reading.numbers[item])
        if isinstance(item, Node):
            scene.connect(("op", source_of(item)), item)

    def _operation(self, scene: Scene, node: Any) -> None:
        """Add the operation of a value, after its constants."""
        source = source_of(node)
        key = ("op", source)
        if key in scene.boxes:
            return
        constants = [
            source.values[i]
            for i, parent in enumerate(source.parents)
            if parent is None and source.values is not None and source.values[i] is not None
        ]
        fields = [self.reading.constant(value) for value in constants[:MOST]]
        if len(constants) > MOST:
            fields.append([f"… {len(constants) - MOST:,} more"])
        for i, field in enumerate(fields):
            scene.boxes["constant", source, i] = Box("constant", _lines(field))
        sign = SIGNS.get(source.op.name) or text.printable(op_name(node))
        scene.boxes[key] = Box("operation", [sign], self.reading.numbers[node])
        for i in range(len(fields)):
            scene.connect(("constant", source, i), key)

    def _connect(self, node: Any) -> None:
        """Add the edges that end at a value's operation, to each scene that shows a part."""
        chain = self.chains[node]
        source = source_of(node)
        op = ("op", source)
        if node is not source and self.scene[chain[-1]].boxes[op].key != self.reading.numbers[node]:
            return  # another output of the same operation was connected
        for parent in operands(node):
            if parent is None:
                continue
            outer = self.chains.get(parent, ()) if parent in self.shown else ()
            shared = len(_shared(outer, chain))
            for depth in range(max(shared - 1, 0), len(chain)):
                scene = self.scene[chain[depth]]
                target = chain[depth + 1] if depth + 1 < len(chain) else op
                if depth == shared - 1:
                    start = outer[shared] if shared < len(outer) else parent
                else:
                    start = scene.outside(parent, self.reading.names[parent])
                if start is not target:
                    scene.connect(start, target)


def _summary(group: Group) -> list[str]:
    """The lines of a closed group."""
    lines = [f"{group.title} ×{group.count:,}" if group.count else group.title]
    count = sum(isinstance(node, Node) for node in group.nodes())
    if count:
        lines.append(f"{count:,} operations")
        operations = summary(group.nodes())
        lines += [] if group.count or operations == group.title else [operations]
    return lines


def _count_of_leaves(group: Group) -> str:
    return f"{sum(1 for _ in group.nodes()):,} leaves"


def _shared(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
    """The groups that two values are both in."""
    count = 0
    for one, other in zip(a, b):
        if one is not other:
            break
        count += 1
    return a[:count]


def _lines(fields: Iterable[str]) -> list[str]:
    """The lines of the fields of a value."""
    return [line for field in fields for line in field.split("\n")]
