"""A loop as a step of a program: a program of its own, run many times. Imports backends.

The operands of the step "scan" are the first carries, the arrays whose slices each turn gets, and
what is the same in all turns; its results the last carries, and the other outputs of all turns,
stacked.
"""

from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.backend.namespace import namespace_of
from gpugrad.compiler.backends import built
from gpugrad.compiler.c.loop_calls import turns_in_c
from gpugrad.compiler.c.native import Native
from gpugrad.compiler.programs.program import FUNCTIONS, Program

__all__ = ["Loop"]


class Loop:
    """``length`` turns of a program, the parameter of a step "scan".

    ``body`` takes ``carries`` values that the turn before has given, ``slices`` that are slices of
    arrays, and more that are always the same; it gives the next carries, and ys. With ``reverse``
    the last slices come first.
    """

    def __init__(
        self, body: Program, carries: int, slices: int, length: int, reverse: bool
    ) -> None:
        self.body = body
        self.carries = carries
        self.slices = slices
        self.length = length
        self.reverse = reverse
        self._backends: dict[Any, Any] = {}  # by namespace

    def __repr__(self) -> str:
        return f"<{self.length} turns of {len(self.body.steps)} steps>"

    def __call__(self, *operands: Any) -> Any:
        """The results for some operands: a tuple, or one array."""
        home = next((one for one in operands if namespace_of(one) is not None), None)
        xp: Any = namespace_of(home)
        backend = self._backends.get(xp)
        if backend is None:
            backend = self._backends[xp] = built(self.body, xp, (self.carries, self.slices))
        in_c = isinstance(backend, Native) and turns_in_c(backend, self, operands)
        if in_c:
            return in_c if len(in_c) != 1 else in_c[0]
        return self.turns(backend.run, operands)

    def turns(self, run: Callable[[Sequence[Any]], list[Any]], operands: Sequence[Any]) -> Any:
        """The results, where ``run`` runs the body."""
        count, first = self.carries, self.carries + self.slices
        carries, slices, rest = operands[:count], operands[count:first], operands[first:]
        columns: list[Any] = []
        order = range(self.length)
        for index in reversed(order) if self.reverse else order:
            made = run([*carries, *(one[index, ...] for one in slices), *rest])
            carries = made[:count]
            if not columns:
                columns = [self._column(y) for y in made[count:]]
            for column, y in zip(columns, made[count:]):
                column[index] = y
        results = (*(namespace_of(one).copy(one) for one in carries), *columns)
        return results if len(results) != 1 else results[0]

    def _column(self, y: Any) -> Any:
        return namespace_of(y).empty_like(y, shape=(self.length, *y.shape))


FUNCTIONS["scan"] = lambda *operands, loop: loop(*operands)
