"""What moves arrays between processes: the interface, and the engine of one process alone.

Imports errors and backend. An engine takes raw contiguous arrays and works in place. Each call
returns a `Handle`; with ``block=False`` before the bytes have moved, and the array must not be
touched before the handle's ``wait()``. All processes make the same calls in the same order;
``note`` is what they must agree on beside the call itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.backend.precision import kind_of
from gpugrad.errors import ArgumentError, DTypeError, ShapeError

__all__ = [
    "DONE",
    "OPS",
    "Engine",
    "Handle",
    "check_reduction",
    "contents",
    "described",
    "described_all",
]

OPS = ("sum", "mean", "max", "min")


class Handle:
    """An operation that has begun."""

    def __init__(self, finish: Callable[[], None] | None = None) -> None:
        self._finish = finish

    def wait(self) -> None:
        """Return when the result is in the array, on a GPU: for what is queued from now on."""
        finish, self._finish = self._finish, None
        if finish is not None:
            finish()


DONE = Handle()


def check_reduction(who: str, op: str, dtype: Any) -> None:
    """Raise where there is no such reduction, or none for numbers of a dtype."""
    if op not in OPS:
        raise ArgumentError(f"{who}: expected op to be one of {', '.join(OPS)}, got {op!r}")
    kind = kind_of(dtype)
    if op == "mean" and kind not in "fc":
        raise DTypeError(
            f"{who}: a mean of {dtype} is no {dtype}. Convert it first, with .astype(gg.float32), "
            'or take the "sum"'
        )
    if (op in ("max", "min") and kind == "c") or (op == "sum" and kind == "b"):
        raise DTypeError(f'{who}: there is no "{op}" of {dtype} numbers')


def described(who: str, array: Any, note: str = "") -> str:
    """A call in words, which must be the same on all processes."""
    return f"{who} of {contents(array, note)}"


def contents(array: Any, note: str = "") -> str:
    """What travels, in words."""
    return f"{array.dtype} {tuple(array.shape)}{note and ', '}{note}"


def described_all(who: str, arrays: Sequence[Any], note: str = "") -> str:
    """A call with several arrays of one dtype in words."""
    numbers = sum(array.size for array in arrays)
    count = f"{len(arrays)} array{'s' * (len(arrays) > 1)}"
    return f"{who} of {count} with {numbers} numbers of {arrays[0].dtype}{note and ', '}{note}"


class Engine:
    """The engine of one process, and what the others are made after.

    ``rank`` and ``size`` say which of how many processes this is, ``joins`` whether several arrays
    travel together as they lie, by `reduce_each` and `broadcast_each`.
    """

    rank = 0
    size = 1
    joins = True

    def own_part(self, who: str, array: Any, lengths: Sequence[int] | None = None) -> Any:
        """This process's part of an array that is cut along its first axis."""
        if lengths is not None:
            start = sum(lengths[: self.rank])
            return array[start : start + lengths[self.rank]]
        if array.ndim == 0 or array.shape[0] % self.size:
            raise ShapeError(
                f"{who}: expected an array whose first axis can be cut into {self.size} equal "
                f"parts, one for each process, got shape {tuple(array.shape)}"
            )
        length = array.shape[0] // self.size
        return array[self.rank * length : (self.rank + 1) * length]

    def all_reduce(
        self, array: Any, op: str = "sum", *, block: bool = True, note: str = ""
    ) -> Handle:
        """Replace the array by the reduction of all processes' arrays."""
        check_reduction("all_reduce", op, array.dtype)
        return DONE

    def reduce(
        self, array: Any, root: int, op: str = "sum", *, block: bool = True, note: str = ""
    ) -> Handle:
        """Replace the array of process ``root`` by the reduction; those of the others stay."""
        check_reduction("reduce", op, array.dtype)
        return DONE

    def reduce_scatter(
        self, array: Any, op: str = "sum", *, lengths: Sequence[int] | None = None,
        block: bool = True, note: str = "",
    ) -> Handle:  # fmt: skip
        """Replace one part of the array by that part's reduction.

        Its first axis is cut into ``size`` parts, equal ones or of the ``lengths``; the part is
        that of this process's rank. What is in the others afterwards is not said.
        """
        check_reduction("reduce_scatter", op, array.dtype)
        return DONE

    def all_gather(
        self, array: Any, *, lengths: Sequence[int] | None = None, block: bool = True,
        note: str = "",
    ) -> Handle:  # fmt: skip
        """Fill in the other processes' parts of the array.

        Its first axis is cut into parts as in `reduce_scatter`; each process gives the one of its
        rank.
        """
        return DONE

    def broadcast(self, array: Any, root: int = 0, *, block: bool = True, note: str = "") -> Handle:
        """Replace the array by that of process ``root``."""
        return DONE

    def reduce_each(
        self, arrays: Sequence[Any], roots: Sequence[int | None], op: str = "sum", *,
        block: bool = True, note: str = "",
    ) -> Handle:  # fmt: skip
        """Reduce each of some arrays of one dtype at a process of its own, or at all for None."""
        check_reduction("reduce_each", op, arrays[0].dtype)
        return DONE

    def broadcast_each(
        self, arrays: Sequence[Any], roots: Sequence[int], *, block: bool = True, note: str = ""
    ) -> Handle:
        """Replace each of some arrays of one dtype by that of a process of its own."""
        return DONE

    def send(self, array: Any, to: int, *, note: str = "") -> None:
        """Send the array to process ``to``."""
        raise ArgumentError(f"send: there is no process {to}: this one is alone")

    def recv(self, array: Any, source: int, *, note: str = "") -> None:
        """Replace the array by the one that process ``source`` sends."""
        raise ArgumentError(f"recv: there is no process {source}: this one is alone")

    def exchange(self, value: Any) -> list[Any]:
        """The values of all processes, small objects that JSON has, by rank."""
        return [value]

    def barrier(self) -> None:
        """Return when all processes have come here."""
