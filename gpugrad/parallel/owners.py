"""Which process updates which parameter of a divided optimizer. Imports tensor and below."""

import weakref
from collections.abc import Iterable

from gpugrad.tensor import Tensor

__all__ = ["Owners", "owner_of"]

_all: list["weakref.ref[Owners]"] = []  # those of the optimizers that are alive


class Owners:
    """The parameters of one optimizer, dealt out to so many processes."""

    def __init__(self, size: int) -> None:
        self._ranks: dict[Tensor, int] = {}
        self._loads = [0] * size
        _all[:] = [one for one in _all if one() is not None] + [weakref.ref(self)]

    def deal(self, parameters: Iterable[Tensor]) -> None:
        """Give each new parameter an owner: the largest first, to the one who has least.

        One that another optimizer has dealt out already stays where it is.
        """
        new = [p for p in parameters if p not in self._ranks]
        known = {p: rank for p in new if (rank := owner_of(p)) is not None}
        for p in sorted(new, key=lambda p: -p.data.nbytes):
            rank = known.get(p, self._loads.index(min(self._loads)))
            self._ranks[p] = rank
            self._loads[rank] += p.data.nbytes

    def get(self, parameter: Tensor) -> int | None:
        """The owner's rank; None for a parameter that was not dealt out."""
        return self._ranks.get(parameter)


def owner_of(parameter: Tensor) -> int | None:
    """The rank of the process that updates a parameter; None where each does so itself."""
    for reference in _all:
        owners = reference()
        if owners is not None and (rank := owners.get(parameter)) is not None:
            return rank
    return None
