"""``gg.draw``: a graph as a picture. Imports the modules beside it, and `io` to replace files.

A picture is SVG, laid out here, with no requirements. PNG, PDF and other formats are Graphviz's, of
DOT source: they need the Python package graphviz and the program dot.
"""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpugrad.backend.requirements import pip_install
from gpugrad.engine.messages import is_whole
from gpugrad.engine.node import Node
from gpugrad.errors import GpugradError
from gpugrad.inspect.dot import dot_source
from gpugrad.inspect.folding import Group, folded, layers_of
from gpugrad.inspect.graph import checked
from gpugrad.inspect.page import html, open_page
from gpugrad.inspect.reading import Reading
from gpugrad.inspect.scene import Scene, scenes_of
from gpugrad.inspect.svg import svg
from gpugrad.io import aside
from gpugrad.tensor import Tensor

__all__ = ["Drawing", "draw"]

DIRECTIONS = ("LR", "RL", "TB", "BT")
SOURCES = ("dot", "gv")
# Values, where nobody says how many: 2 seconds of work, and as many as Graphviz lays out well.
MOST, MOST_IN_DOT = 20_000, 200


class Drawing:
    """A picture of a graph, made by `gpugrad.draw`. Notebooks show it.

    `save` writes a file: .svg, .html, .dot, or a format of Graphviz; `show` opens the HTML page.
    ``source`` (or ``str()``) is the graph as DOT source, ``notes`` lists what the picture omits,
    and why.
    """

    def __init__(self, reading: Reading, scenes: list[Scene], rankdir: str, in_dot: int) -> None:
        self.source = dot_source(reading, rankdir, in_dot)
        self.notes = tuple(reading.notes)
        self._scenes = scenes
        self._rankdir = rankdir
        # Texts, not the graph: a notebook keeps its results, and their graphs would stay with them.
        self._title = "a tensor" if reading.root is None else reading.names[reading.root]
        self._values = {reading.numbers[node]: reading.facts(node) for node in reading.shown}
        self._rules = reading.rules()
        operations = sum(isinstance(node, Node) for node in reading.shown)
        self._repr = f"<Drawing of {max(1, len(reading.shown))} values and {operations} operations>"

    def __str__(self) -> str:
        return self.source

    def __repr__(self) -> str:
        return self._repr

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """Write a file in ``format``, by default that of the file's suffix.

        svg and html need nothing, dot and gv are the source, and others need Graphviz: GpugradError
        where that is missing. An old file is replaced whole or stays.
        """
        path = Path(path)
        suffix = self._format_of(path, format)
        source = suffix in SOURCES
        aside.write(path, self.source.encode() if source else self.picture(suffix))
        return path

    def render(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """Write a picture in ``format``, by default the file's suffix: svg, html, png, pdf."""
        path = Path(path)
        aside.write(path, self.picture(self._format_of(path, format)))
        return path

    def picture(self, format: str = "svg") -> bytes:
        """The bytes of a picture. GpugradError where Graphviz is needed and cannot draw it so."""
        if format == "svg":
            return svg(self._scenes[0], self._rankdir, self.notes).encode()
        if format == "html":
            page = html(
                self._title, self._scenes, self._rankdir, self.notes, self._values, self._rules
            )
            return page.encode()
        try:
            graphviz = importlib.import_module("graphviz")
        except ImportError as error:
            raise GpugradError(
                f"draw: a picture of format {format!r} needs the Python package graphviz, which is "
                f"not installed. Install it with `{pip_install('viz')}`, or save what needs "
                "nothing: .save('graph.svg')"
            ) from error
        if format not in graphviz.FORMATS:
            raise GpugradError(
                f"draw: expected a format that graphviz knows (png, pdf, ...), svg, html, or dot "
                f"for the source, got {format!r}"
            )
        try:
            return graphviz.Source(self.source).pipe(format=format, quiet=True)
        except graphviz.ExecutableNotFound as error:
            raise GpugradError(
                f"draw: a picture of format {format!r} needs the program dot of Graphviz, which is "
                "not on the PATH. Install it with `apt install graphviz`, `brew install graphviz`, "
                "`conda install graphviz` or from graphviz.org, or save what needs nothing: "
                ".save('graph.svg')"
            ) from error
        except graphviz.CalledProcessError as error:
            reason = (error.stderr or b"").decode("utf-8", "replace").strip()
            raise GpugradError(
                f"draw: dot could not make a picture of format {format!r}: {reason}"
            ) from error

    def show(self) -> Path:
        """Open a page in a browser, in which a click tells all of a value and opens a box.

        The page is one file in a new folder for temporary files, whose path is returned, and
        printed where there is no screen. It shows the value, the gradient, shape, dtype and device,
        the formula and its rule, and the line where the graph was computed inside of `debug_mode`
        or `detect_anomaly`. Keys do all that a click does.
        """
        return open_page(self.picture("html"))

    def _format_of(self, path: Path, format: str | None) -> str:
        suffix = (format or path.suffix.lstrip(".")).lower()
        if not suffix:
            raise GpugradError(
                f"draw: {str(path)!r} has no suffix that names a format. Add one (.svg, .dot, "
                ".png, .pdf) or pass format="
            )
        return suffix

    def _repr_svg_(self) -> str:
        return self.picture("svg").decode()


def draw(
    t: Tensor,
    file: str | os.PathLike[str] | None = None,
    *,
    format: str | None = None,
    values: bool = True,
    gradients: bool = True,
    rankdir: str = "LR",
    max_nodes: int | None = None,
    fold: bool = True,
    model: Any = None,
) -> Drawing:
    """The graph that a tensor was computed by, as a picture and, with ``file``, as a file.

    A value is a box with its name, its number (for arrays of more than six elements shape
    and dtype) and its gradient; an operation is a small ellipse. The gradient of a leaf is its
    ``grad`` if it has one. All other gradients are derivatives of ``t``. They are computed here
    where ``t`` has one element and the graph was not freed, without calling hooks or changing
    any ``grad``.

    Of more than 60 operations blocks that repeat become one box, and so do ranges of what is left,
    and many leaves of one operation; ``fold=False`` draws all. ``model``, a `gpugrad.nn.Module`,
    names its parameters and puts the operations of each of its modules in a box. With
    ``max_nodes`` (by default 20,000) the last values alone are drawn.

    ``file`` has the suffix .svg, .html (the page that ``gg.draw(t).show()`` opens), .dot or .gv
    (DOT source, of the last 200 values), or that of a format of Graphviz, .png or .pdf.
    GpugradError where Graphviz is needed and missing.

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
    if max_nodes is not None and not is_whole(max_nodes, 1):
        raise ValueError(f"draw: max_nodes must be a whole number from 1, got {max_nodes!r}")
    reading = Reading(t, values, gradients, max_nodes or MOST, _names_in(model))
    scenes = scenes_of(reading, _grouped(reading, fold, model), fold)
    drawing = Drawing(reading, scenes, rankdir, max_nodes or MOST_IN_DOT)
    if file is not None:
        drawing.save(file, format)
    elif format is not None:
        raise ValueError(f"draw: format={format!r} says how to write a file; pass file= too")
    return drawing


def _names_in(model: Any) -> dict[Any, str]:
    """The names of a model's parameters, by their leaves."""
    if model is None:
        return {}
    if not hasattr(model, "named_parameters"):
        raise TypeError(f"draw: expected a gg.nn.Module in model, got {type(model).__name__}")
    return {p._node: name for name, p in model.named_parameters() if p._node is not None}


def _grouped(reading: Reading, fold: bool, model: Any) -> Group:
    operations: Sequence[Any] = [node for node in reading.shown if isinstance(node, Node)]
    if not fold:
        return Group("", list(operations))
    layers = None if model is None else layers_of(_names_in(model), operations)
    return folded(operations, layers)
