"""How many threads each of the processes on a machine takes. Imports backend.

Each process would give BLAS a thread for every core, and the threads of several processes would
wait for each other: two processes on two cores take eight times as long for a step.
"""

import os
import socket
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from gpugrad.backend.blas import limit_threads
from gpugrad.backend.threads import VARIABLES, own_cores

__all__ = ["own_share", "share_cores"]


def share_cores(watch: Any) -> None:
    """Take this process's share of the cores that it and others of its machine may use.

    Not where the environment says how many threads there are. Else BLAS, where it is loaded, takes
    no more; what reads ``OMP_NUM_THREADS`` later finds the share there. Rank 0 says so in a line.
    """
    is_said = any(name in os.environ for name in VARIABLES)
    own = [socket.gethostname(), sum(1 << core for core in own_cores()), is_said]
    machines = [(name, cores) for name, cores, _ in watch.exchange(own)]
    share = own_share(machines, watch.rank)
    if is_said or share >= len(own_cores()):
        return
    os.environ["OMP_NUM_THREADS"] = str(share)
    is_known = limit_threads(share)
    if watch.rank:
        return
    sharing = sum(name == own[0] for name, _ in machines)
    line = (
        f"{sharing} processes share this machine's cores, so each takes {share} thread"
        f"{'s' * (share > 1)}. OMP_NUM_THREADS sets another number"
    )
    if is_known:
        sys.stderr.write(f"gpugrad.parallel: {line}\n")
        sys.stderr.flush()
    else:
        warnings.warn(
            f"gg.parallel: {line}. It must be set before Python starts: NumPy's BLAS, which is "
            "loaded, is none that can be told",
            stacklevel=4,
        )


def own_share(machines: Sequence[tuple[str, int]], rank: int) -> int:
    """The number of cores for one of some processes, at least 1.

    ``machines`` has the name of each process's machine, and a bit for each core that it may use. A
    core that several may use is divided among them; one that a launcher has bound to a process
    is its own.

    >>> own_share([("a", 0b1111), ("a", 0b1111), ("b", 0b1111)], 0)
    2
    >>> own_share([("a", 0b0011), ("a", 0b1100)], 1)
    2
    """
    name, own = machines[rank]
    beside = [cores for other, cores in machines if other == name]
    share = 0.0
    while own:
        core = own & -own
        share += 1 / sum(bool(cores & core) for cores in beside)
        own ^= core
    return max(1, int(share + 1e-9))
