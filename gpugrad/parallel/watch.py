"""Where each process is, and whether one of them is lost. Imports errors."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from gpugrad.errors import ParallelError

__all__ = ["Watch"]


class Watch:
    """What this process waits for and since when; raises in it where the others are lost."""

    def __init__(self, rank: int, size: int, timeout: float) -> None:
        self.rank, self.size, self.timeout = rank, size, timeout
        self.calls = 0  # that have begun
        self._what = ""
        self._since = 0.0

    @contextlib.contextmanager
    def at(self, what: str) -> Iterator[None]:
        """A block in which this process is at a call."""
        self.calls += 1
        self._what, self._since = what, time.monotonic()
        try:
            yield
        finally:
            self._what = ""

    def look(self) -> None:
        """Raise where there is no use in waiting on."""
        if time.monotonic() - self._since > self.timeout:
            raise ParallelError(
                f"rank {self.rank} has waited for {self.timeout} s at {self._what}; another "
                "process has not come there"
            )

    def different(self, calls: Sequence[str]) -> str:
        """The sentence that says who is at which call."""
        common = Counter(calls).most_common()
        parts = []
        for what, _ in common:
            ranks = [str(rank) for rank, call in enumerate(calls) if call == what]
            parts.append(f"rank{'s' * (len(ranks) > 1)} {', '.join(ranks)}: {what}")
        return (
            f"the processes do different things at call {self.calls} of gg.parallel: "
            f"{'; '.join(parts)}. All must make the same calls in the same order, with equal "
            "shapes and dtypes"
        )
