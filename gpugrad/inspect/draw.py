"""``gg.draw``: a graph as a picture. Imports the modules beside it.

The drawing is DOT source, which has no requirements. Rendering needs the Python package graphviz
and the program dot.
"""

import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpugrad.engine.messages import is_whole
from gpugrad.engine.node import Leaf, Node
from gpugrad.engine.outputs import OutputsNode
from gpugrad.errors import GpugradError, GradientError
from gpugrad.inspect import text
from gpugrad.inspect.graph import (
    Values,
    changed_since,
    checked,
    derivatives,
    names_of,
    op_name,
    operands,
    reachable,
    size_of,
    source_of,
)
from gpugrad.tensor import Tensor

__all__ = ["Drawing", "draw"]

DIRECTIONS = ("LR", "RL", "TB", "BT")
SOURCES = ("dot", "gv")
_SIGNS = {
    "add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "floor_divide": "//",
    "remainder": "%", "matmul": "@", "power": "**", "negative": "−",
}  # fmt: skip


@dataclass(repr=False, eq=False)
class Drawing:
    """A graph as DOT source, made by `gpugrad.draw`.

    ``source`` (or ``str()``) is the text, ``notes`` lists what the picture omits, and why.
    `save` writes a file, `render` returns the bytes of a picture. Notebooks show the picture
    where graphviz is installed.
    """

    source: str
    notes: tuple[str, ...]
    _counts: tuple[int, int]

    def __str__(self) -> str:
        return self.source

    def __repr__(self) -> str:
        return f"<Drawing of {self._counts[0]} values and {self._counts[1]} operations>"

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """Write a file: the source for .dot and .gv, else a picture in the format of its suffix.

        GpugradError where graphviz is needed and missing.
        """
        path = Path(path)
        suffix = self._format_of(path, format)
        if suffix in SOURCES:
            path.write_text(self.source, encoding="utf-8")
        else:
            path.write_bytes(self.picture(suffix))
        return path

    def render(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """Write a picture in ``format``, by default that of the file's suffix: svg, png, pdf."""
        path = Path(path)
        path.write_bytes(self.picture(self._format_of(path, format)))
        return path

    def picture(self, format: str = "svg") -> bytes:
        """The bytes of a picture. GpugradError where graphviz is missing or cannot draw it so."""
        try:
            graphviz = importlib.import_module("graphviz")
        except ImportError as error:
            raise GpugradError(
                "draw: a picture needs the Python package graphviz, which is not installed. "
                "Install it with `pip install gpugrad[viz]`, or save the source: .save('graph.dot')"
            ) from error
        if format not in graphviz.FORMATS:
            raise GpugradError(
                f"draw: expected a format that graphviz knows (svg, png, pdf, ...) or dot for the "
                f"source, got {format!r}"
            )
        try:
            return graphviz.Source(self.source).pipe(format=format, quiet=True)
        except graphviz.ExecutableNotFound as error:
            raise GpugradError(
                "draw: a picture needs the program dot of Graphviz, which is not on the PATH. "
                "Install it with `apt install graphviz`, `brew install graphviz`, `conda install "
                "graphviz` or from graphviz.org, or save the source: .save('graph.dot')"
            ) from error
        except graphviz.CalledProcessError as error:
            reason = (error.stderr or b"").decode("utf-8", "replace").strip()
            raise GpugradError(
                f"draw: dot could not make a picture of format {format!r}: {reason}"
            ) from error

    def _format_of(self, path: Path, format: str | None) -> str:
        suffix = (format or path.suffix.lstrip(".")).lower()
        if not suffix:
            raise GpugradError(
                f"draw: {str(path)!r} has no suffix that names a format. Add one (.dot, .svg, "
                ".png, .pdf) or pass format="
            )
        return suffix

    def _repr_svg_(self) -> str | None:
        # A notebook calls this and falls back to the repr, so a missing graphviz is no error.
        try:
            return self.picture("svg").decode("utf-8")
        except GpugradError:
            return None


def draw(
    t: Tensor,
    file: str | os.PathLike[str] | None = None,
    *,
    format: str | None = None,
    values: bool = True,
    gradients: bool = True,
    rankdir: str = "LR",
    max_nodes: int = 200,
) -> Drawing:
    """The graph that a tensor was computed by, as DOT source and, with ``file``, as a file.

    A value is a record with its name, its number (for arrays of more than six elements shape
    and dtype) and its gradient; an operation is a small ellipse. The gradient of a leaf is its
    ``grad`` if it has one. All other gradients are derivatives of ``t``. They are computed here
    where ``t`` has one element and the graph was not freed, without calling hooks or changing
    any ``grad``. Of more than ``max_nodes`` values the last ones are drawn.

    ``file`` has the suffix .dot or .gv for the source, or that of a format of graphviz.
    GpugradError where graphviz is needed and missing.

    >>> import gpugrad as gg
    >>> a = gg.tensor(2.0, requires_grad=True, name="a")
    >>> b = gg.tensor(-3.0, requires_grad=True, name="b")
    >>> e = a * b
    >>> e.name = "e"
    >>> print(gg.draw(e))
    digraph gpugrad {
    ...
      v1 [label="a | 2 | ∂e/∂a = -3", fillcolor="#e3f1e3"];
    ...
    """
    checked("draw", t)
    if rankdir not in DIRECTIONS:
        raise ValueError(f"draw: rankdir must be one of {DIRECTIONS}, got {rankdir!r}")
    if not is_whole(max_nodes, 1):
        raise ValueError(f"draw: max_nodes must be a whole number from 1, got {max_nodes!r}")
    drawing = _Drawer(t, values, gradients, max_nodes).drawing(rankdir)
    if file is not None:
        drawing.save(file, format)
    elif format is not None:
        raise ValueError(f"draw: format={format!r} says how to write a file; pass file= too")
    return drawing


class _Drawer:
    """Makes a drawing from the nodes, their names, values and gradients."""

    def __init__(self, t: Tensor, values: bool, gradients: bool, max_nodes: int) -> None:
        self.t = t
        root = t._node
        everything = [] if root is None else reachable([root])
        nodes = [node for node in everything if not isinstance(node, OutputsNode)]
        self.names = names_of(nodes)
        self.shown = nodes[-max_nodes:]
        self.numbers = {node: str(i) for i, node in enumerate(nodes, 1)}
        self.omitted: dict[Any, None] = {}  # operands beyond max_nodes that have a mark by now
        self.notes: list[str] = []
        if len(nodes) > max_nodes:
            self.notes.append(
                f"the last {max_nodes:,} of {len(nodes):,} values; "
                f"{len(nodes) - max_nodes:,} earlier ones are left out"
            )
        freed = any(source_of(n).values is None for n in nodes if isinstance(n, Node))
        if freed:
            self.notes.append(
                "the graph was freed by backward(): pass retain_graph=True to it, or draw before "
                "it, to see what is missing here"
            )
        self.values = Values(everything, t) if values else None
        self.with_gradients = gradients
        self.gradients: dict[Any, Any] = {}
        if gradients and root is not None:
            self._differentiate(freed)
        if values and changed_since(t, everything):
            self.notes.append(
                "a leaf was changed in place since this was computed: its value here is the new one"
            )

    def _differentiate(self, freed: bool) -> None:
        missing = [node for node in self.shown if self._accumulated(node) is None]
        if self.t.size != 1:
            self.notes.append(
                f"no derivatives: they are those of one number, and this has shape {self.t.shape}"
            )
        elif not freed and missing:
            try:
                self.gradients = derivatives(self.t, missing)
            except GradientError as error:
                self.notes.append(f"no derivatives: {error}")

    @staticmethod
    def _accumulated(node: Any) -> Any:
        """The ``grad`` of a leaf; None where there is none."""
        tensor = node.tensor() if isinstance(node, Leaf) else None
        return None if tensor is None or tensor.grad is None else tensor.grad.data

    def drawing(self, rankdir: str) -> Drawing:
        lines = [
            "digraph gpugrad {",
            f"  rankdir={rankdir};",
            '  graph [fontname="Helvetica", fontsize=11, nodesep=0.15, ranksep=0.3];',
            '  node [fontname="Helvetica", fontsize=11, shape=record, style=filled,'
            ' fillcolor="#ffffff", color="#666666", margin="0.1,0.05", height=0.3];',
            '  edge [color="#666666", arrowsize=0.6];',
        ]
        # In a top-to-bottom graph the fields of a label are drawn side by side, in a left-to-right
        # graph stacked; braces exchange the two.
        self.stacked = rankdir in ("LR", "RL")
        if self.t._node is None:
            lines.append(self._alone())
        operations: dict[Any, str] = {}
        for node in self.shown:
            lines.append(self._record(node))
            if isinstance(node, Leaf):
                continue
            source = source_of(node)  # several outputs share an operation
            if source not in operations:
                operations[source] = f"o{self.numbers[node]}"
                lines += self._operation(operations[source], node)
            lines.append(f"  {operations[source]} -> v{self.numbers[node]};")
        if self.notes:
            caption = escaped("\n".join(f"Note: {note}" for note in self.notes), record=False)
            lines.append(f'  label="{caption}";')
        lines.append("}")
        counts = max(1, len(self.shown)), len(operations)
        return Drawing("\n".join(lines) + "\n", tuple(self.notes), counts)

    def _operation(self, op: str, node: Any) -> list[str]:
        """The ellipse of an operation, and the edges from its operands."""
        source = source_of(node)
        sign = _SIGNS.get(source.op.name)
        size = 'fontsize=14, width=0.35, height=0.35, margin="0.02"' if sign else 'margin="0.05"'
        lines = [
            f'  {op} [label="{escaped(sign or op_name(node), record=False)}", shape=ellipse,'
            f' fillcolor="#eeeeee", {size}];'
        ]
        shown = self.numbers[self.shown[0]]
        for index, parent in enumerate(operands(node)):
            if parent is None:
                if source.values is not None and source.values[index] is not None:
                    lines += self._constant(f"c{op[1:]}_{index}", op, source.values[index])
                continue
            number = self.numbers[parent]
            if int(number) >= int(shown):
                lines.append(f"  v{number} -> {op};")
                continue
            if parent not in self.omitted:
                self.omitted[parent] = None
                label = escaped(f"{text.short(self.names[parent])} …", record=True)
                lines.append(f'  m{number} [label="{label}", style="filled,dashed"];')
            lines.append(f"  m{number} -> {op};")
        return lines

    def _constant(self, name: str, op: str, value: Any) -> list[str]:
        """A constant operand: a number as text, an array as a record."""
        if getattr(value, "size", 1) == 1:
            label = escaped(text.constant(value), record=False)
            look = "shape=plaintext, width=0.3, "
        else:
            label, look = self._fields(["constant", self._contents(value, value)]), ""
        return [f'  {name} [{look}label="{label}"];', f"  {name} -> {op};"]

    def _alone(self) -> str:
        """The record of a tensor that has no graph."""
        name = text.printable(self.t.name) if self.t.name else "tensor"
        contents = self._contents(self.t, self.t.data)
        return f'  v1 [label="{self._fields([text.short(name, 60), contents])}"];'

    def _contents(self, value: Any, raw: Any) -> str:
        """The elements of a small array, each row on a line of its own; else shape and dtype."""
        elements = None if self.values is None or raw is None else text.array_text(raw)
        return _rows(elements) if elements else text.shape_text(value)

    def _record(self, node: Any) -> str:
        raw = self.values[node] if self.values is not None and size_of(node) <= 6 else None
        name, contents = text.short(self.names[node], 60), self._contents(node, raw)
        fields = [name, contents, *self._gradient(node)]
        look = ""
        if isinstance(node, Leaf):
            look = ', fillcolor="#e3f1e3"'
        elif node is self.t._node:
            look = ', fillcolor="#e3ecf8"'
        return f'  v{self.numbers[node]} [label="{self._fields(fields)}"{look}];'

    def _gradient(self, node: Any) -> list[str]:
        if not self.with_gradients:
            return []
        accumulated = self._accumulated(node)
        if accumulated is not None:
            g, symbol = accumulated, "grad"
        elif node in self.gradients:
            g = self.gradients[node]
            symbol = f"∂{text.short(self.names[self.t._node])}/∂{text.short(self.names[node])}"
        else:
            return []
        shown = text.array_text(g)
        if shown is None:
            return [f"‖{symbol}‖ = {text.number(text.norm(g))}"]
        return [f"{symbol} = {shown}" if g.size == 1 else f"{symbol} =\n{_rows(shown)}"]

    def _fields(self, fields: list[str]) -> str:
        label = " | ".join(escaped(field, record=True) for field in fields)
        return label if self.stacked else f"{{{label}}}"


def _rows(elements: str) -> str:
    """The text of a small array, each row of a matrix on a line of its own."""
    return elements.replace("], [", "],\n[")


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
