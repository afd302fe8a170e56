"""Many processes that compute together: ``gg.parallel``. Imports autodiff and below.

>>> import gpugrad as gg
>>> gg.parallel.rank(), gg.parallel.size()
(0, 1)
"""

from gpugrad.parallel.collectives import (
    all_gather,
    all_reduce,
    any_rank,
    broadcast,
    recv,
    reduce_scatter,
    send,
)
from gpugrad.parallel.group import barrier, init, local_rank, rank, size

__all__ = [
    "all_gather", "all_reduce", "any_rank", "barrier", "broadcast", "init", "local_rank", "rank",
    "recv", "reduce_scatter", "send", "size",
]  # fmt: skip
