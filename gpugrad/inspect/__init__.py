"""Inspects a graph, ``gg.draw`` and ``gg.explain``, and finds NaN, changed memory and waits.

Imports tensor, engine, backend and errors. `graph` reads nodes, values and derivatives,
`paths` follows edges, `text` formats numbers and operations; `draw` and `explain` combine them.
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
