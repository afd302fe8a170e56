"""A graph as DOT source, the language of Graphviz. Imports the modules beside it."""

import re
from typing import Any

from gpugrad.engine.node import Leaf
from gpugrad.inspect import text
from gpugrad.inspect.graph import op_name, operands, source_of
from gpugrad.inspect.reading import Reading, left_out

__all__ = ["SIGNS", "dot_source"]

SIGNS = {
    "add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "floor_divide": "//",
    "remainder": "%", "matmul": "@", "power": "**", "negative": "−",
}  # fmt: skip


def dot_source(reading: Reading, rankdir: str, most: int) -> str:
    """The source of a picture of the values that a reading shows, of the last ``most`` of them."""
    return _Writer(reading, rankdir, most).source()


class _Writer:
    def __init__(self, reading: Reading, rankdir: str, most: int) -> None:
        self.reading = reading
        self.rankdir = rankdir
        # In a top-to-bottom graph the fields of a label are drawn side by side, in a left-to-right
        # graph stacked; braces exchange the two.
        self.stacked = rankdir in ("LR", "RL")
        self.shown = reading.shown[-most:]
        self.notes = list(reading.notes)
        if len(reading.shown) > most:
            is_part = len(reading.shown) < len(reading.nodes)
            self.notes[:is_part] = [left_out(most, len(reading.nodes))]
        self.omitted: dict[Any, None] = {}  # operands that are not shown and have a mark by now

    def source(self) -> str:
        lines = [
            "digraph gpugrad {",
            f"  rankdir={self.rankdir};",
            '  graph [fontname="Helvetica", fontsize=11, nodesep=0.15, ranksep=0.3];',
            '  node [fontname="Helvetica", fontsize=11, shape=record, style=filled,'
            ' fillcolor="#ffffff", color="#666666", margin="0.1,0.05", height=0.3];',
            '  edge [color="#666666", arrowsize=0.6];',
        ]
        if self.reading.root is None:
            lines.append(f'  v1 [label="{self._label(self.reading.alone())}"];')
        operations: dict[Any, str] = {}
        for node in self.shown:
            number = self.reading.numbers[node]
            lines.append(self._record(node))
            if isinstance(node, Leaf):
                continue
            source = source_of(node)  # several outputs share an operation
            if source not in operations:
                operations[source] = f"o{number}"
                lines += self._operation(operations[source], node)
            lines.append(f"  {operations[source]} -> v{number};")
        if self.notes:
            caption = escaped("\n".join(f"Note: {note}" for note in self.notes), record=False)
            lines.append(f'  label="{caption}";')
        lines.append("}")
        return "\n".join(lines) + "\n"

    def _record(self, node: Any) -> str:
        look = ""
        if isinstance(node, Leaf):
            look = ', fillcolor="#e3f1e3"'
        elif node is self.reading.root:
            look = ', fillcolor="#e3ecf8"'
        label = self._label(self.reading.fields(node))
        return f'  v{self.reading.numbers[node]} [label="{label}"{look}];'

    def _operation(self, op: str, node: Any) -> list[str]:
        """The ellipse of an operation, and the edges from its operands."""
        source = source_of(node)
        sign = SIGNS.get(source.op.name)
        size = 'fontsize=14, width=0.35, height=0.35, margin="0.02"' if sign else 'margin="0.05"'
        lines = [
            f'  {op} [label="{escaped(sign or op_name(node), record=False)}", shape=ellipse,'
            f' fillcolor="#eeeeee", {size}];'
        ]
        first = self.reading.numbers[self.shown[0]]
        for index, parent in enumerate(operands(node)):
            if parent is None:
                if source.values is not None and source.values[index] is not None:
                    lines += self._constant(f"c{op[1:]}_{index}", op, source.values[index])
                continue
            number = self.reading.numbers[parent]
            if number >= first:
                lines.append(f"  v{number} -> {op};")
                continue
            if parent not in self.omitted:
                self.omitted[parent] = None
                label = escaped(f"{text.short(self.reading.names[parent])} …", record=True)
                lines.append(f'  m{number} [label="{label}", style="filled,dashed"];')
            lines.append(f"  m{number} -> {op};")
        return lines

    def _constant(self, name: str, op: str, value: Any) -> list[str]:
        """A constant operand: a number as text, an array as a record."""
        fields = self.reading.constant(value)
        if len(fields) == 1:
            label = escaped(fields[0], record=False)
            look = "shape=plaintext, width=0.3, "
        else:
            label, look = self._label(fields), ""
        return [f'  {name} [{look}label="{label}"];', f"  {name} -> {op};"]

    def _label(self, fields: list[str]) -> str:
        label = " | ".join(escaped(field, record=True) for field in fields)
        return label if self.stacked else f"{{{label}}}"


def escaped(label: str, *, record: bool) -> str:
    """A text for a quoted DOT label; with ``record`` separators of fields are escaped as well.

    Graphviz reads HTML entities in labels and swallows repeated spaces in records.
    """
    label = label.replace("\\", "\\\\").replace("&", "&amp;").replace('"', '\\"')
    if record:
        for mark in "{}|<>":
            label = label.replace(mark, f"\\{mark}")
        label = re.sub("(?<= ) |^ | $", "&#160;", label)
    return label.replace("\n", "\\n")
