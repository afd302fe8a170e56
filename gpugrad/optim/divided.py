"""Gradients of which each process has some, and what joins them. Imports tensor and below.

With an optimizer that `gpugrad.parallel.shard` has divided, the mean of a gradient arrives on the
process that updates the parameter, as `Own`; on the others an `Elsewhere` stands for it. What
concerns all gradients, as their norm, is computed of one's own, and joined.
"""

import copy
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np

from gpugrad.backend.device import device_of
from gpugrad.backend.namespace import namespace_of
from gpugrad.errors import GradientError
from gpugrad.tensor import Tensor

__all__ = ["Elsewhere", "Own", "Parts", "parts_of", "refuse_another_pass"]


class Own(Tensor):
    """The mean of a gradient that this process alone has; ``group`` are the processes."""

    __slots__ = ("group",)

    group: Any

    def __init__(self, array: Any, group: Any) -> None:
        super().__init__(array)
        self.group = group

    def __repr__(self) -> str:
        return repr(Tensor(self._array))

    # A copy is a tensor like others.

    def __copy__(self) -> Any:
        return Tensor(self._array)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(Tensor(self._array), memo)

    def __reduce__(self) -> Any:
        return Tensor(self._array).__reduce__()


class Elsewhere(Tensor):
    """Stands for a gradient that the process of rank ``rank`` has: who reads it gets an error.

    ``like`` is the parameter's array, ``what`` names the parameter.
    """

    __slots__ = ("group", "like", "rank", "what")

    group: Any
    like: Any
    rank: int
    what: str

    def __init__(self, like: Any, what: str, rank: int, group: Any) -> None:
        self._node = None
        self.like, self.what, self.rank, self.group = like, what, rank, group

    def _refuse(self) -> NoReturn:
        raise GradientError(
            f"the gradient of {self.what} is on rank {self.rank}, and not on rank "
            f"{self.group.rank}: its optimizer is divided (gg.parallel.shard). Norms, clipping and "
            "GradScaler take all parts together; read a single gradient on its rank. Before "
            "another pass call zero_grad(), or add up passes inside model.no_sync()"
        )

    _array = property(_refuse)

    def __repr__(self) -> str:
        return f"<the gradient of {self.what}, on rank {self.rank}>"


def refuse_another_pass(what: str) -> NoReturn:
    """The error for a pass that would add to a gradient which is a mean already."""
    raise GradientError(
        f"DataParallel: the gradient of {what} is the mean of all processes' already, on this one "
        "alone, since its optimizer is divided (gg.parallel.shard). Call zero_grad() before "
        "another pass, or add up passes inside model.no_sync()"
    )


class Parts:
    """The gradients among some that lie on several processes; each of them has `Parts` of its own.

    ``own`` are the raw ones of this process, and ``whole`` those that all have.
    """

    def __init__(self, group: Any, own: list[Any], whole: list[Any], likes: list[Any]) -> None:
        self._group, self.own, self.whole = group, own, whole
        self.devices = list(dict.fromkeys(map(device_of, likes)))
        self.device, self.namespace = self.devices[0], namespace_of(likes[0])
        self.dtype = np.result_type(*(array.dtype for array in (*likes, *whole)))

    def join(self, number: Any, op: str) -> Any:
        """The reduction of each process's number, as a 0-d array on the number's device.

        A Python number is taken to be on the first of ``devices``.
        """
        device, namespace = self.device, self.namespace
        if hasattr(number, "dtype") and not isinstance(number, np.generic):
            device, namespace = device_of(number), namespace_of(number)
        with device.activate():
            array = namespace.module.array(number)
            self._group.engine(array).all_reduce(array, op, note="a number of divided gradients")
        return array


def parts_of(gradients: Iterable[Tensor]) -> Parts | None:
    """The parts of gradients, of which some are divided; None where all are whole."""
    listed = list(gradients)
    divided = [g for g in listed if isinstance(g, Own | Elsewhere)]
    if not divided:
        return None
    likes = [g.like if isinstance(g, Elsewhere) else g._array for g in divided]
    own = [g._array for g in divided if isinstance(g, Own)]
    whole = [g.data for g in listed if not isinstance(g, Own | Elsewhere)]
    return Parts(divided[0].group, own, whole, likes)
