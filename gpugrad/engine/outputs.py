"""Operations with several outputs. Imports the modules of the engine beside it.

The operation has one node, an `OutputsNode`, and each of its outputs a node of the op `PICK`
that selects it. The vjp of a pick wraps its gradient in an `OutputGrads`, with the index of the
output. These add up as arrays do, so the walk needs no case for them.
"""

from typing import Any, Self

from gpugrad.engine.node import Node
from gpugrad.engine.op import Op

__all__ = ["PICK", "OutputGrads", "OutputsNode", "ShapeDtype", "pick", "pick_again", "zeros"]


class ShapeDtype:
    """Shape and dtype of an array that was not saved."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape = shape
        self.dtype = dtype


def zeros(xp: Any, like: Any, value: Any) -> Any:
    """A gradient or tangent of zeros for a value, on the device of ``like``."""
    return xp.full_like(like, 0, dtype=value.dtype, shape=tuple(value.shape))


class OutputsNode(Node):
    """A recorded operation with several outputs.

    ``y`` holds the array of each output or its `ShapeDtype`; ``shape`` and ``dtype`` are the
    tuple of `ShapeDtype`, as those of its `OutputGrads` are.
    """

    __slots__ = ()

    def __init__(
        self,
        op: Op,
        parents: tuple[Any, ...],
        values: tuple[Any, ...],
        ys: tuple[Any, ...],
        xp: Any,
        parameters: dict[str, Any] | None,
    ) -> None:
        outputs: Any = tuple(ShapeDtype(y.shape, y.dtype) for y in ys)
        _, saves_y = op.keeps(tuple(parent is not None for parent in parents))
        reads = op.outputs if isinstance(op.outputs, tuple) else range(len(ys))
        y = tuple(
            own if saves_y and index in reads else shape
            for index, (own, shape) in enumerate(zip(ys, outputs))
        )
        super().__init__(op, parents, values, y, xp, outputs, outputs, parameters)

    def filled(self, gradients: "OutputGrads", xp: Any) -> tuple[Any, ...]:
        """A gradient for each output: for those that had none, zeros or, if `partial`, None."""
        parts = gradients.parts
        if self.op.partial:
            return tuple(parts.get(index) for index in range(len(self.shape)))
        some = next(iter(parts.values()))
        return tuple(
            parts[index] if index in parts else zeros(xp, some, output)
            for index, output in enumerate(self.shape)
        )


class OutputGrads:
    """The gradients of some outputs of one operation, by index."""

    __slots__ = ("dtype", "parts", "shape")

    def __init__(self, shape: Any, parts: dict[int, Any]) -> None:
        self.shape = self.dtype = shape
        self.parts = parts

    def __add__(self, other: "OutputGrads") -> "OutputGrads":
        parts = dict(self.parts)
        for index, gradient in other.parts.items():
            parts[index] = parts[index] + gradient if index in parts else gradient
        return OutputGrads(self.shape, parts)

    def __iadd__(self, other: "OutputGrads") -> Self:
        self.parts = (self + other).parts
        return self


PICK = Op(
    "pick",
    lambda xp, outputs, /, index: outputs[index],
    vjp=[lambda xp, g, y, outputs, index: OutputGrads(outputs.shape, {index: g})],
    jvp=lambda xp, tangents, y, outputs, index: tangents[0][index],
    moves=True,
    chooses=True,
    doc="One output of an operation that has several.",
)


def pick_again(whole: OutputsNode, index: int, y: Any) -> Node:
    """As `pick`, for a recorded walk: as much outside of anything as the operation is."""
    made: Any = pick(whole, index, y)
    made.since = getattr(whole, "since", whole.serial)
    return made


def pick(whole: OutputsNode, index: int, y: Any) -> Node:
    """The node of one output ``y``, an array."""
    return Node(PICK, (whole,), (whole,), None, whole.xp, y.shape, y.dtype, {"index": index})
