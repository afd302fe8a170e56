"""Inspects a graph, ``gg.draw`` and ``gg.explain``, and finds NaN, changed memory and waits.

Imports tensor, engine, backend and errors. `graph` reads nodes, values and derivatives,
`paths` follows edges, `text` formats numbers and operations, `rules` reads derivatives; `explain`
combines them, in `latex` too. `draw` puts what `reading` says into the boxes of `scene`, after
`folding`; `layout` gives them places, and `svg`, `page` and `dot` write them.
`anomaly`, `debug` and `sync` observe a running program.
"""

from gpugrad.inspect.anomaly import detect_anomaly
from gpugrad.inspect.debug import debug_mode
from gpugrad.inspect.draw import Drawing, draw
from gpugrad.inspect.explain import Explanation, Path, explain
from gpugrad.inspect.sync import sync_guard

__all__ = [
    "Drawing", "Explanation", "Path", "debug_mode", "detect_anomaly", "draw", "explain",
    "sync_guard",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)
