"""What the stand-in counts and can be told, for tests that run under ci/fakecuda/run.

>>> with fakecuda.count() as counts:
...     step()
>>> counts.total_launches, counts.library, counts.waits
(10, {'cublasGemmEx': 8}, {})
"""

import contextlib
import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field

from fakecuda.loader import libraries, messages, modes

__all__ = ["Counts", "count", "idle", "messages", "modes"]


@dataclass
class Counts:
    """What was asked of the stand-in in a `with` block; empty until the block is left."""

    launches: dict[str, int] = field(default_factory=dict)  # by the kernel's name
    library: dict[str, int] = field(default_factory=dict)  # by the function's name
    copies: dict[str, tuple[int, int]] = field(default_factory=dict)  # number and bytes
    waits: dict[str, int] = field(default_factory=dict)  # by the function that waited
    allocations: tuple[int, int] = (0, 0)  # number and bytes, past CuPy's pool

    @property
    def total_launches(self) -> int:
        return sum(self.launches.values())

    @property
    def total_library(self) -> int:
        return sum(self.library.values())

    @property
    def total_copies(self) -> int:
        return sum(number for number, _ in self.copies.values())

    @property
    def total_waits(self) -> int:
        return sum(self.waits.values())


@contextlib.contextmanager
def count() -> Iterator[Counts]:
    """Counts launches, library calls, copies, waits and allocations of all threads in the block."""
    counts, before = Counts(), _totals()
    try:
        yield counts
    finally:
        _fill(counts, before, _totals())


@contextlib.contextmanager
def idle() -> Iterator[None]:
    """Launches and library calls are counted and do nothing: what remains is the host's time."""
    set_idle = libraries()["libcuda.so.1"].fakecuda_set_idle
    set_idle(1)
    try:
        yield
    finally:
        set_idle(0)


def _totals() -> dict[tuple[str, str], tuple[int, int]]:
    """All counters since the start of the process: number and bytes by kind and name."""
    function = libraries()["libcuda.so.1"].fakecuda_counters
    function.restype = ctypes.c_size_t
    function.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
    size = 1 << 14
    while True:
        buffer = ctypes.create_string_buffer(size)
        needed = function(buffer, size)
        if needed <= size:
            break
        size = needed + (1 << 12)
    totals = {}
    for line in buffer.value.decode().splitlines():
        kind, *rest = line.split(" ")
        numbers = 2 if kind in ("copy", "allocation") else 1
        name, values = " ".join(rest[:-numbers]), [int(text) for text in rest[-numbers:]]
        totals[kind, name] = (values[0], values[1] if numbers == 2 else 0)
    return totals


def _fill(counts: Counts, before: dict, after: dict) -> None:
    for (kind, name), (number, size) in after.items():
        old_number, old_size = before.get((kind, name), (0, 0))
        number, size = number - old_number, size - old_size
        if not number:
            continue
        if kind == "launch":
            counts.launches[name] = number
        elif kind == "library":
            counts.library[name] = number
        elif kind == "copy":
            counts.copies[name] = (number, size)
        elif kind == "wait":
            counts.waits[name] = number
        elif kind == "allocation":
            counts.allocations = (number, size)
