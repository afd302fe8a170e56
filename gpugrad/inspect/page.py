"""A drawing as a page of its own, in which a reader can click. Imports the modules beside it.

The page is one file without links. What comes from the user is JSON in it, which its script puts
into the page as text.
"""

import json
import os
import sys
import tempfile
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpugrad.inspect.scene import LINE, Scene
from gpugrad.inspect.svg import style

__all__ = ["html", "open_page"]


def html(
    title: str,
    scenes: Sequence[Scene],
    rankdir: str,
    notes: Sequence[str],
    values: Mapping[int, Sequence[Any]],
    rules: Mapping[str, str],
) -> str:
    """The page: the first scene, with the others inside of their boxes, and facts of each value.

    ``values`` are as of `Reading.facts` by their numbers, ``rules`` by the names of ops.
    """
    layouts: dict[Any, Any] = {}  # blocks that repeat have the same one
    data = {
        "title": title,
        "notes": notes,
        "upright": rankdir in ("TB", "BT"),
        "line": LINE,
        "scenes": [_scene(scene, rankdir, layouts) for scene in scenes],
        "values": values,
        "rules": rules,
    }
    # "</script>" in a name would end the script; "<" cannot stand in JSON but in a string.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    page = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    before, after = page.replace("{{style}}", style()).split("{{data}}")
    return f"{before}{text}{after}"


def _scene(scene: Scene, rankdir: str, layouts: dict[Any, Any]) -> dict[str, Any]:
    shape = (*(box.size for box in scene.boxes.values()), *scene.edges.items())
    if shape not in layouts:
        layouts[shape] = scene.placed(rankdir)
    layout, edges = layouts[shape]
    boxes = []
    for number, box in scene.boxes.items():
        (x, y), (w, h) = layout.centres[number], box.size
        boxes.append([box.kind, box.key, box.lines, *_short(x - w / 2, y - h / 2, w, h)])
    return {
        "size": _short(*layout.size),
        "boxes": boxes,
        "edges": [
            [a, b, _short(*(number for point in route for number in point))]
            for (a, b), route in zip(edges, layout.routes, strict=True)
        ],
    }


def _short(*numbers: float) -> list[float]:
    """Tenths of pixels, without a decimal point where there need be none."""
    return [int(tenths) if (tenths := round(n, 1)).is_integer() else tenths for n in numbers]


def open_page(page: bytes) -> Path:
    """Write the page to a new folder for temporary files and open it in a browser.

    Where none can be opened, as on a machine without a screen, the path is printed.
    """
    path = Path(tempfile.mkdtemp(prefix="gpugrad-")) / "graph.html"
    path.write_bytes(page)
    if not (_has_screen() and webbrowser.open(path.as_uri())):
        print(f"The drawing is in {path}")  # noqa: T201  asked for, where no window can show it
    return path


def _has_screen() -> bool:
    """Whether a browser would have a window; Python's module would start one of text, too."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
