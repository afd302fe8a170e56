"""An array type with a hidden axis, over which every op of the table computes: for `gpugrad.vmap`.

`batched` has the type, `namespace` its namespace, the other modules say by families how an op takes
the hidden axis along. Imports backend, engine and ops.
"""

from gpugrad.batching.batched import Batched, enter, innermost, leave, level_of, wrapped
from gpugrad.batching.namespace import batched_type

__all__ = ["Batched", "batched_type", "enter", "innermost", "leave", "level_of", "wrapped"]
