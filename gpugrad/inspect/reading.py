"""What a drawing says of each value of a graph: name, number or shape, and gradient, as text.

Imports the modules beside it. Nothing here holds a node's arrays once the texts are made.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpugrad.backend.device import device_of, to_numpy
from gpugrad.engine.node import Leaf, Node
from gpugrad.engine.outputs import OutputsNode
from gpugrad.errors import GradientError
from gpugrad.inspect import text
from gpugrad.inspect.graph import (
    Values,
    changed_since,
    derivatives,
    names_of,
    op_name,
    operands,
    reachable,
    size_of,
    source_of,
)
from gpugrad.inspect.rules import rule_text
from gpugrad.tensor import Tensor

__all__ = ["FACTS", "Reading"]

FACTS = ("name", "formula", "value", "gradient", "shape", "dtype", "device", "line")
SMALL = 6  # elements of an array that is written out
TOGETHER = 256 << 20  # bytes of gradients that are kept at a time


class Reading:
    """The graph of a tensor. ``nodes`` are all its values, ``shown`` the last ``max_nodes``."""

    def __init__(
        self,
        t: Tensor,
        values: bool,
        gradients: bool,
        max_nodes: int,
        known: Mapping[Any, str],
    ) -> None:
        self.t = t
        self.root = root = t._node
        everything = [] if root is None else reachable([root])
        self.nodes = [node for node in everything if not isinstance(node, OutputsNode)]
        self.names = names_of(self.nodes, known)
        self.numbers = {node: i for i, node in enumerate(self.nodes, 1)}
        self.shown = self.nodes[-max_nodes:]
        self.notes: list[str] = []
        if len(self.nodes) > len(self.shown):
            self.notes.append(left_out(len(self.shown), len(self.nodes)))
        self.freed = any(source_of(n).values is None for n in self.nodes if isinstance(n, Node))
        if self.freed:
            self.notes.append(
                "the graph was freed by backward(): pass retain_graph=True to it, or draw before "
                "it, to see what is missing here"
            )
        self._values = Values(everything, t)
        self._with_values = values
        self._fields: dict[Any, list[str]] = {}
        self._gradients: dict[Any, tuple[str, str, bool]] = {}
        if gradients and root is not None:
            self._differentiate()
        if values and changed_since(t, everything):
            self.notes.append(
                "a leaf was changed in place since this was computed: its value here is the new one"
            )

    def _differentiate(self) -> None:
        missing = []
        for node in self.shown:
            accumulated = self._accumulated(node)
            if accumulated is None:
                missing.append(node)
            else:
                self._gradients[node] = _gradient_text("grad", accumulated)
        if self.t.size != 1:
            self.notes.append(
                f"no derivatives: they are those of one number, and this has shape {self.t.shape}"
            )
        elif not self.freed and missing:
            root = text.short(self.names[self.root])
            try:
                for part in _parts(missing):
                    for node, g in derivatives(self.t, part).items():
                        symbol = f"∂{root}/∂{text.short(self.names[node])}"
                        self._gradients[node] = _gradient_text(symbol, g)
            except GradientError as error:
                self.notes.append(f"no derivatives: {error}")

    @staticmethod
    def _accumulated(node: Any) -> Any:
        """The ``grad`` of a leaf; None where there is none."""
        tensor = node.tensor() if isinstance(node, Leaf) else None
        return None if tensor is None or tensor.grad is None else tensor.grad.data

    def contents(self, value: Any, raw: Any) -> str:
        """The elements of a small array, each row on a line of its own; else shape and dtype."""
        elements = text.array_text(raw, SMALL) if self._with_values and raw is not None else None
        return _rows(elements) if elements else text.shape_text(value)

    def fields(self, node: Any) -> list[str]:
        """The name of a value, its contents, and its gradient if that is known."""
        if node in self._fields:
            return self._fields[node]
        raw = self._values[node] if self._with_values and size_of(node) <= SMALL else None
        raw = text.unbatched(raw)
        fields = [text.short(self.names[node], 60), self.contents(node, raw)]
        if node in self._gradients:
            symbol, shown, is_number = self._gradients[node]
            fields.append(f"{symbol} = {shown}" if is_number else f"{symbol} =\n{shown}")
        self._fields[node] = fields
        return fields

    def facts(self, node: Any) -> list[Any]:
        """All that is known of a value: as FACTS, of the op and the numbers of its operands.

        What is unknown is an empty text.
        """
        _, contents, *gradient = self.fields(node)
        raw = text.unbatched(self._values.saved(node))
        size = size_of(node)
        if self._with_values and raw is not None and size > SMALL:
            contents = f"{_beginning(raw)}\n({size:,} elements)"
        device = str(device_of(self.t.data if raw is None else raw))
        op = formula = line = ""
        parents: Sequence[Any] = ()
        if isinstance(node, Node):
            source, parents = source_of(node), operands(node)
            op = text.printable(op_name(node))
            line = text.printable(getattr(source, "where", ""))
            if source.values is not None:
                formula = text.expression(node, self.names, {})[0]
        return [
            self.names[node], formula, contents, "".join(gradient), str(tuple(node.shape)),
            str(node.dtype), device, line, op, [self.numbers[p] for p in parents if p is not None],
        ]  # fmt: skip

    def rules(self) -> dict[str, str]:
        """The rules of all operations that are shown, by the names of the ops."""
        ops = {source_of(node).op: op_name(node) for node in self.shown if isinstance(node, Node)}
        return {text.printable(name): rule_text(op) for op, name in ops.items()}

    def constant(self, value: Any) -> list[str]:
        """The fields of a constant operand: a number alone, or an array."""
        if getattr(value, "size", 1) == 1:
            return [text.constant(value)]
        return ["constant", self.contents(value, value)]

    def alone(self) -> list[str]:
        """The fields of a tensor that has no graph."""
        name = text.printable(self.t.name) if self.t.name else "tensor"
        return [text.short(name, 60), self.contents(self.t, self.t.data)]


def _beginning(raw: Any) -> str:
    """The first elements of a large array: those of its first row."""
    row = raw[(0,) * (raw.ndim - 1)]
    shown = ", ".join(map(text.number, to_numpy(row[:SMALL]).tolist()))
    return f"{'[' * raw.ndim}{shown}, …"


def left_out(shown: int, count: int) -> str:
    """The note of a drawing that shows the last values only."""
    return f"the last {shown:,} of {count:,} values; {count - shown:,} earlier ones are left out"


def _gradient_text(symbol: str, g: Any) -> tuple[str, str, bool]:
    """The symbol, the text, and whether both go on one line: for an array its norm does."""
    g = text.unbatched(g)
    shown = text.array_text(g, SMALL)
    if shown is None:
        return f"‖{symbol}‖", text.number(text.norm(g)), True
    return symbol, _rows(shown), g.size == 1


def _rows(elements: str) -> str:
    """The text of a small array, each row of a matrix on a line of its own."""
    return elements.replace("], [", "],\n[")


def _parts(nodes: Sequence[Any]) -> Iterable[list[Any]]:
    """The nodes in parts whose gradients are kept together."""
    part: list[Any] = []
    room = TOGETHER
    for node in nodes:
        room -= math.prod(node.shape) * node.dtype.itemsize
        if part and room < 0:
            yield part
            part, room = [], TOGETHER
        part.append(node)
    yield part
