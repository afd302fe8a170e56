"""Many processes that compute together: ``gg.parallel``. Imports nn, optim and below.

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
from gpugrad.tensor.hints import homes, members

_LAZY = homes({"parallel.data_parallel": "DataParallel", "parallel.sharding": "shard"})

__all__ = [  # noqa: PLE0604  names of the table
    "all_gather", "all_reduce", "any_rank", "barrier", "broadcast", "init", "local_rank", "rank",
    "recv", "reduce_scatter", "send", "size", *_LAZY,
]  # fmt: skip
__getattr__, __dir__ = members("parallel", __all__, _LAZY)
