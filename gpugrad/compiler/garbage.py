"""No search for cyclic garbage while a program is made. Imports nothing."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """Python does not search for cyclic garbage here: making programs leaves none.

    A search can take 25 ms, since it visits all that Python has. Programs have new objects enough
    for some.

    >>> with uncollected():
    ...     print(gc.isenabled())
    False
    >>> gc.isenabled()
    True
    """
    was_enabled = gc.isenabled()
    try:
        gc.disable()
        yield
    finally:
        if was_enabled:
            gc.enable()
