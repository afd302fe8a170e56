"""A scene as SVG text, with no requirements. Imports the modules beside it."""

import itertools
from collections.abc import Sequence
from html import escape

from gpugrad.inspect.scene import LINE, PAD, Box, Scene

__all__ = ["COLORS", "curve", "svg"]

MARGIN = 10.0
# Fill, line and text of each kind of box, on a light page and on a dark one.
COLORS = {
    "value": ("#ffffff #70757c #1b1f24", "#22272e #8b949e #e6edf3"),
    "leaf": ("#e3f1e3 #5a8a5a #1b1f24", "#1e3325 #6fae7f #e6edf3"),
    "result": ("#e3ecf8 #5577aa #1b1f24", "#1c2d45 #79a6e8 #e6edf3"),
    "group": ("#fbf1dc #a9823a #1b1f24", "#3a2f1b #d0a85c #e6edf3"),
    "operation": ("#eeeeee #70757c #1b1f24", "#343a42 #8b949e #e6edf3"),
    "outside": ("#ffffff #9aa0a6 #57606a", "#22272e #70757c #aab2bb"),
    "constant": ("none none #57606a", "none none #aab2bb"),
}


# Where a page says that it is dark: CSS, with Jupyter's and Visual Studio Code's own ways.
DARK = '[data-jp-theme-light="false"] .gg-drawing,.vscode-dark .gg-drawing{color-scheme:dark}'


def style() -> str:
    """The rules of a drawing's style sheet: dark in a dark page, and in a file on a dark screen."""
    light, either = [], []
    for kind, colors in COLORS.items():
        pairs = list(zip(*(side.split() for side in colors), strict=True))
        (fill, _), (line, _), (ink, _) = pairs
        light.append(f".gg-{kind}{{fill:{fill};stroke:{line}}}.gg-{kind}-text{{fill:{ink}}}")
        fill, line, ink = (
            one if one == dark else f"light-dark({one},{dark})" for one, dark in pairs
        )
        either.append(f".gg-{kind}{{fill:{fill};stroke:{line}}}.gg-{kind}-text{{fill:{ink}}}")
    return (
        ".gg-drawing text{font:12px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
        "white-space:pre}.gg-drawing .gg-name{font-weight:bold}.gg-edge{fill:none}"
        f".gg-edge{{stroke:#80868e}}.gg-tip,.gg-note{{fill:#80868e}}{''.join(light)}"
        # In the older browsers and other programs that do not know this, a drawing is light.
        f"@supports(color:light-dark(#000,#fff)){{svg:root{{color-scheme:light dark}}{DARK}"
        f"{''.join(either)}}}"
    )


def svg(scene: Scene, rankdir: str, notes: Sequence[str]) -> str:
    """The picture of a scene, with notes below it."""
    layout, _ = scene.placed(rankdir)
    captions = [line for note in notes for line in _wrapped(f"Note: {note}")]
    width = max([layout.size[0], *(len(line) * 7.3 for line in captions)]) + 2 * MARGIN
    height = layout.size[1] + 2 * MARGIN + (LINE * len(captions) + PAD if captions else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="gg-drawing" role="img" '
        f'aria-label="A graph of {len(scene.boxes)} boxes" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="{-MARGIN:g} {-MARGIN:g} {width:.1f} {height:.1f}">',
        f"<style>{style()}</style>",
    ]
    upright = rankdir in ("TB", "BT")
    parts += [_edge(route, upright) for route in layout.routes]
    parts += [_box(box, *layout.centres[key]) for key, box in scene.boxes.items()]
    for i, line in enumerate(captions, 1):
        y = layout.size[1] + PAD + i * LINE
        parts.append(f'<text class="gg-note" x="0" y="{y:.1f}">{escape(line)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _box(box: Box, x: float, y: float) -> str:
    width, height = box.size
    left, top = x - width / 2, y - height / 2
    radius = height / 2 if box.kind == "operation" else 4
    dash = ' stroke-dasharray="4 3"' if box.kind == "outside" else ""
    shape = (
        f'<rect class="gg-{box.kind}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="{radius:.1f}"{dash}/>'
    )
    if box.kind == "group":  # a second sheet behind the first
        shape = (
            shape.replace(f'x="{left:.1f}" y="{top:.1f}"', f'x="{left + 4:.1f}" y="{top + 4:.1f}"')
            + shape
        )
    lines = []
    for i, line in enumerate(box.lines):
        name = " gg-name" if i == 0 and box.kind in ("value", "leaf", "result", "group") else ""
        baseline = y - LINE * len(box.lines) / 2 + LINE * (i + 0.75)
        lines.append(
            f'<text class="gg-{box.kind}-text{name}" x="{x:.1f}" y="{baseline:.1f}" '
            f'text-anchor="middle">{escape(line)}</text>'
        )
    return f'<g class="gg-box">{shape}{"".join(lines)}</g>'


def _edge(route: Sequence[tuple[float, float]], upright: bool) -> str:
    (x, y), (before_x, before_y) = route[-1], route[-2]
    if upright:
        d = 1 if y >= before_y else -1
        tip = f"{x:.1f},{y:.1f} {x - 3:.1f},{y - 7 * d:.1f} {x + 3:.1f},{y - 7 * d:.1f}"
    else:
        d = 1 if x >= before_x else -1
        tip = f"{x:.1f},{y:.1f} {x - 7 * d:.1f},{y - 3:.1f} {x - 7 * d:.1f},{y + 3:.1f}"
    path = f'<path class="gg-edge" d="{curve(route, upright)}"/>'
    return f'{path}<polygon class="gg-tip" points="{tip}"/>'


def curve(route: Sequence[tuple[float, float]], upright: bool) -> str:
    """The path of an edge: straight through layers, bent between them."""
    path = [f"M{route[0][0]:.1f},{route[0][1]:.1f}"]
    for (x0, y0), (x, y) in itertools.pairwise(route):
        if upright:
            middle = (y0 + y) / 2
            bend = f"{x0:.1f},{middle:.1f} {x:.1f},{middle:.1f}"
        else:
            middle = (x0 + x) / 2
            bend = f"{middle:.1f},{y0:.1f} {middle:.1f},{y:.1f}"
        straight = abs(x - x0) < 0.05 if upright else abs(y - y0) < 0.05
        path.append(f"L{x:.1f},{y:.1f}" if straight else f"C{bend} {x:.1f},{y:.1f}")
    return "".join(path)


def _wrapped(note: str, width: int = 90) -> list[str]:
    lines, line = [], ""
    for word in note.split():
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]
