"""Looking at a graph: ``gg.draw`` and ``gg.explain``; finding where it goes wrong or waits.

Imports tensor, engine, backend and errors. `graph` reads nodes, values and derivatives,
`paths` follows edges, `text` writes numbers and operations; `draw` and `explain` put them
together. `anomaly`, `debug` and `sync` watch a program run.
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
