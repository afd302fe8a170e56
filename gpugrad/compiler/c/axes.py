"""Over which axes a loop of C goes, and where its arrays lie along them. Imports items, layout."""

from collections.abc import Sequence
from math import prod

from gpugrad.compiler.c.reductions import BLOCK, Reduction
from gpugrad.compiler.schedule.items import Loop, Ref

__all__ = ["Axes"]

SHORT = 64  # elements of a vector loop over bytes and wider numbers


class Axes:
    """The axes of item ``index``, a loop, those that all arrays run through alike as one.

    ``sizes`` are their lengths, and ``accesses`` the strides of what a step reads, by its number
    and the operand's position, and of what it writes, by its number and -1. The first ``rows`` are
    those of a row that some steps read the sum of.
    """

    def __init__(self, loop: Loop, index: int) -> None:
        self.loop = loop
        self.index = index
        self._arrange()

    def _arrange(self) -> None:
        """Order the axes by stride, and make one of those that all arrays run through alike."""
        loop, count = self.loop, len(self.loop.shape)
        self.accesses: dict[tuple[int, int], tuple[int, ...]] = {}
        vectors, weights = [], []
        for array in loop.arrays:
            for position, ref in enumerate(array.operands):
                if isinstance(ref, Ref) and ref.array.made != self.index:
                    strides = self.loop.strides_read(ref, array)
                    self.accesses[array.number, position] = strides
                    vectors.append(strides)
                    weights.append(ref.array.dtype.itemsize)
            if array.stored or array.axes is not None:
                self.accesses[array.number, -1] = self.loop.strides_stored(array)
                vectors.append(self.loop.strides_stored(array))
                weights.append(array.dtype.itemsize)
        rows = loop.rows or 0
        order = list(range(count))
        if not rows:
            order.sort(key=lambda d: -sum(abs(v[d]) * w for v, w in zip(vectors, weights)))
        groups: list[list[int]] = []
        for position, axis in enumerate(order):
            last = groups[-1][-1] if groups and position != rows else None
            if last is not None and all(v[last] == v[axis] * loop.shape[axis] for v in vectors):
                groups[-1].append(axis)
            else:
                groups.append([axis])
        self.groups = groups or [[]]
        self.sizes = [prod(loop.shape[axis] for axis in group) for group in self.groups]
        self.rows = sum(group[0] < rows for group in groups) if rows else 0
        self.accesses = {
            key: tuple(v[group[-1]] if group else 0 for group in self.groups)
            for key, v in self.accesses.items()
        }
        self.period = self._tile()
        self.reductions = {
            array.number: Reduction(array, self.accesses[array.number, -1], self.sizes)
            for array in loop.arrays
            if array.axes is not None
        }
        for r in self.reductions.values():
            if self.is_periodic(r.strides):
                r.tile(self.sizes[-1])

    def _tile(self) -> int:
        """Make a short innermost axis longer by a part of the next; its length before, or 0.

        That goes where arrays run on from one axis to the other, or are the same all along the
        other axes: these are read from, or added up in, an array of several periods.
        """
        if len(self.sizes) < 2 or self.loop.rows or self.sizes[-1] >= SHORT:
            return 0
        *_, outer, inner = self.sizes
        strides = self.accesses.values()
        count = max(n for n in range(1, BLOCK // inner + 1) if outer % n == 0)
        fits = all(v[-2] == v[-1] * inner or not any(v[:-1]) for v in strides)
        if not fits or count * inner < SHORT:
            return 0
        self.sizes[-2:] = [outer // count, count * inner]
        self.accesses = {key: (*v[:-2], v[-2] * count, v[-1]) for key, v in self.accesses.items()}
        return inner

    def is_periodic(self, strides: Sequence[int]) -> bool:
        """Whether an array is the same along all but the innermost axis, which is a tiled one."""
        return bool(self.period and strides[-1] and not any(strides[:-1]))
