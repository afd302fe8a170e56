"""Looking at a graph: ``gg.draw`` and ``gg.explain``.

Imports tensor, engine, backend and errors. `graph` reads nodes, values and derivatives,
`paths` follows edges, `text` writes numbers and operations; `draw` and `explain` put them
together.
"""

from gpugrad.inspect.draw import Drawing, draw
from gpugrad.inspect.explain import Explanation, Path, explain

__all__ = ["Drawing", "Explanation", "Path", "draw", "explain"]
