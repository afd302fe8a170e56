"""A gradient that comes with the sum of its rows. Imports nothing.

It goes from the second op of a chain to the first (`gpugrad.engine.chain`), where both come out of
one kernel: the sum of its rows is the gradient of a layer's bias.
"""

from typing import Any

__all__ = ["Summed"]


class Summed:
    """A gradient, and the sum of its rows: of all axes but the last."""

    __slots__ = ("array", "dtype", "shape", "sums")

    def __init__(self, array: Any, sums: Any) -> None:
        self.array = array
        self.sums = sums
        self.shape = array.shape
        self.dtype = array.dtype

    def copy(self) -> Any:
        """The gradient as an array of its own, which is what hooks ask for."""
        return self.array.copy()
