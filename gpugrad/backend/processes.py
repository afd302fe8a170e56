"""Which of several processes this one is, for all that lies below `parallel`. Imports nothing.

`gpugrad.parallel.init` sets ``joined``; until then this process is alone.
"""

from typing import Any

__all__ = ["from_first", "rank", "size", "wait_for_all"]

joined: Any = None  # a `gpugrad.parallel.group.Group`


def rank() -> int:
    """Which of the processes this is, from 0."""
    return 0 if joined is None else int(joined.rank)


def size() -> int:
    """The number of processes."""
    return 1 if joined is None else int(joined.size)


def from_first(array: Any, note: str) -> Any:
    """The array with the values that it has on rank 0, in place; ``note`` is for errors."""
    if size() > 1:
        joined.engine(array).broadcast(array, 0, note=note)
    return array


def wait_for_all() -> None:
    """Return when all processes have come here."""
    if size() > 1:
        joined.engine().barrier()
