"""Tensors that enter and leave a level of `vmap`, with their place in the graph.

Imports batching, tensor and engine. A graph that is recorded outside of a level has gradients
without its hidden axis, one that is recorded inside has them with it. Three ops stand where they
meet: what enters, what leaves, and what is used inside without an axis of its own, whose gradient
is the sum over the elements. Nodes older than a level are outside of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from gpugrad.backend.namespace import namespace_of
from gpugrad.batching import Batched, enter, leave
from gpugrad.engine import detours
from gpugrad.engine.modes import levels, recording
from gpugrad.engine.node import Node, next_serial
from gpugrad.engine.op import Op
from gpugrad.engine.record import directly
from gpugrad.functions import FUNCTIONS
from gpugrad.tensor import Tensor

__all__ = [
    "Level", "are_running", "as_before", "begun_anew", "entered", "has_level", "inside",
    "is_inside", "left", "levels_with", "only", "outwards", "running", "shared",
    "taken_out", "with_levels", "without_levels",
]  # fmt: skip


class Level:
    """One running call of a function that `vmap` has made: its number, and the number of elements.

    ``shared`` has what is used inside without an axis of its own, by its node outside.
    ``randomness`` says whether random numbers are "different" for each element, the "same", or an
    "error".
    """

    __slots__ = ("__weakref__", "number", "randomness", "shared", "size")

    def __init__(self, size: int, randomness: str = "same", number: int | None = None) -> None:
        self.number = next_serial() if number is None else number
        self.size = size
        self.randomness = randomness
        self.shared: dict[Any, Tensor] = {}


@contextmanager
def running(size: int, randomness: str = "same") -> Iterator[Level]:
    """A block that runs inside a new level."""
    level, before = Level(size, randomness), levels.get()
    try:  # an interrupt may come anywhere, so that each end is right without its beginning, too
        levels.set((*before, level))
        detours.hold(_sharing, level, rank=2)
        yield level
    finally:
        levels.set(before)
        detours.release(_sharing, level)


@contextmanager
def inside(own: Sequence[Level]) -> Iterator[None]:
    """A block inside of levels, which may have ended, beside those that are running."""
    before, holder = levels.get(), Level(0)
    try:
        merged = {level.number: level for level in (*before, *own)}
        levels.set(tuple([merged[number] for number in sorted(merged)]))
        detours.hold(_sharing, holder, rank=2)
        yield
    finally:
        levels.set(before)
        detours.release(_sharing, holder)


def begun_anew(own: Sequence[Level]) -> AbstractContextManager[None]:
    """A block inside of levels in which nothing is shared yet; as it is where there are none."""
    if not own:
        return nullcontext()
    return inside([Level(level.size, level.randomness, level.number) for level in own])


@contextmanager
def only(own: Sequence[Level], others: bool = False) -> Iterator[None]:
    """A block inside of those running levels alone that are among some; or with all ``others``."""
    before, numbers = levels.get(), [level.number for level in own]
    try:
        levels.set(tuple([one for one in before if (one.number in numbers) != others]))
        yield
    finally:
        levels.set(before)


def are_running() -> bool:
    """Whether this thread or task is inside of a function that `vmap` has made."""
    return bool(levels.get())


@contextmanager
def as_before(serial: int) -> Iterator[None]:
    """A block inside of those levels alone that were running when a node was made."""
    running_now = levels.get()
    try:
        levels.set(tuple([one for one in running_now if one.number < serial]))
        yield
    finally:
        levels.set(running_now)


def _sharing(op: Op, operands: Sequence[Any], parameters: dict[str, Any] | None) -> Any:
    """The detour of recorded ops inside of a level: operands from outside are shared."""
    if not levels.get():
        return detours.settle()
    if not recording.get():
        return None
    if all(getattr(operand, "_node", None) is None for operand in operands):
        return None
    return directly(op, [shared(operand) for operand in operands], parameters)


def shared(operand: Any) -> Any:
    """A tensor from outside, as it is used inside of the levels that are running."""
    node = getattr(operand, "_node", None)
    if node is None or not recording.get():
        return operand
    tensor = operand
    for level in levels.get():
        if not is_inside(node, level):
            if node not in level.shared:
                parameters = {"level": level.number, "size": level.size}
                level.shared[node] = _linked(SHARE, tensor, tensor._array, parameters)
            tensor = level.shared[node]
    return tensor


def is_inside(node: Any, level: Level) -> bool:
    """Whether a node was made inside of a level: its gradient has the hidden axis."""
    return bool(getattr(node, "since", node.serial) > level.number)


def entered(tensor: Tensor, level: int, axis: int, size: int) -> Tensor:
    """A tensor, one axis of which becomes the hidden one of a level."""
    parameters = {"level": level, "axis": axis, "size": size}
    return _linked(ENTER, tensor, enter(tensor.data, level, axis), parameters)


def left(tensor: Tensor, level: int, axis: int, size: int) -> Tensor:
    """A tensor whose hidden axis becomes one of its own; repeated where it has none."""
    parameters = {"level": level, "axis": axis, "size": size}
    if has_level(tensor._array, level):
        return _linked(LEAVE, tensor, leave(tensor._array, level, axis, size), parameters)
    shape = tensor.shape
    whole = FUNCTIONS["broadcast_to"](tensor, (size, *shape))
    return FUNCTIONS["moveaxis"](whole, 0, axis) if axis else whole


def taken_out(tensor: Tensor, level: int, axis: int, size: int) -> Tensor:
    """As `left`, for a tensor that goes on inside, too: its gradient has the hidden axis."""
    parameters = {"level": level, "axis": axis, "size": size}
    return _linked(LEAVE, tensor, leave(tensor._array, level, axis, size), parameters)


def levels_with(own: Sequence[Level], arrays: Sequence[Any]) -> list[Level]:
    """Some levels and those of the hidden axes of raw arrays, in order."""
    known = {level.number: level for level in own}
    for array in arrays:
        while isinstance(array, Batched):
            number, array = array.level, array.array
            if number not in known:
                known[number] = Level(array.shape[0], number=number)
    return [known[number] for number in sorted(known)]


def has_level(array: Any, level: int) -> bool:
    """Whether an array has a hidden axis of a level."""
    while isinstance(array, Batched):
        if array.level == level:
            return True
        array = array.array
    return False


def _linked(op: Op, tensor: Tensor, array: Any, parameters: dict[str, Any]) -> Tensor:
    """An array made of a tensor's by one of the ops of this module, with its node."""
    node = tensor._node
    if node is None or not recording.get():
        return Tensor(array)
    xp = namespace_of(array)
    return Tensor(array, Node(op, (node,), (node,), None, xp, array.shape, array.dtype, parameters))


def without_levels(x: Any, own: Sequence[Level], axis: int = 0) -> Any:
    """A Tensor or a raw array; hidden axes of some levels become its own, from ``axis`` on."""
    for level in reversed(own):
        x = _leave_any(x, level.number, axis, level.size)
    return x


def with_levels(x: Any, own: Sequence[Level], axis: int = 0) -> Any:
    """The inverse of `without_levels`."""
    for level in own:
        x = _enter_any(x, level.number, axis, level.size)
    return x


def outwards(x: Any, own: Sequence[Level], axis: int = 0) -> Any:
    """As `without_levels`, inside of the levels, for what goes on there: see `taken_out`."""
    if not isinstance(x, Tensor):
        return without_levels(x, own, axis)
    x = shared(x)
    for level in reversed(own):
        x = taken_out(x, level.number, axis, level.size)
    return x


# Rules over Tensors and over raw arrays: these ops are no functions of a namespace.


def _enter_any(x: Any, level: int, axis: int, size: int) -> Any:
    if isinstance(x, Tensor):
        return entered(x, level, axis, size)
    return enter(x, level, axis)


def _leave_any(x: Any, level: int, axis: int, size: int) -> Any:
    if isinstance(x, Tensor):
        return left(x, level, axis, size)
    return leave(x, level, axis, size)


def _sum_any(g: Any, level: int, size: int) -> Any:
    if isinstance(g, Tensor):
        if not has_level(g._array, level):
            return g
        return FUNCTIONS["sum"](left(g, level, 0, size), axis=0)
    if not has_level(g, level):
        return g
    whole = leave(g, level, 0, size)
    return namespace_of(whole).sum(whole, axis=0)


ENTER = Op(
    "vmap_in", "x, /, level, axis, size",
    vjp=[lambda xp, g, y, x, **parameters: _leave_any(g, **parameters)],
    jvp=lambda xp, tangents, y, x, **parameters: _enter_any(tangents[0], **parameters),
    kind="linear", moves=True, shown="vmap",
)  # fmt: skip
LEAVE = Op(
    "vmap_out", "x, /, level, axis, size",
    vjp=[lambda xp, g, y, x, **parameters: _enter_any(g, **parameters)],
    jvp=lambda xp, tangents, y, x, **parameters: _leave_any(tangents[0], **parameters),
    kind="linear", moves=True, lifts=True, shown="vmap",
)  # fmt: skip
SHARE = Op(
    "vmap_share", "x, /, level, size",
    vjp=[lambda xp, g, y, x, **parameters: _sum_any(g, **parameters)],
    jvp=lambda xp, tangents, y, x, **parameters: tangents[0],
    kind="linear", moves=True, shown="vmap",
)  # fmt: skip
