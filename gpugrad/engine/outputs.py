"""Operations with several outputs. Imports the modules of the engine beside it.

The operation has one node, an `OutputsNode`, and each of its results a node of the op
`PICK` that selects it. Going backward, a pick turns its gradient into a `OutputGrads`, which
says whose gradient it is; bundles add up like arrays do, so the walk treats them like any
gradient.
"""

from typing import Any, Self

from gpugrad.engine.node import Node
from gpugrad.engine.op import Op

__all__ = ["PICK", "OutputGrads", "OutputsNode", "ShapeDtype", "pick"]


class ShapeDtype:
    """What is left of an array that was not kept: its shape and dtype."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape = shape
        self.dtype = dtype

    def zeros(self, xp: Any, like: Any) -> Any:
        """The gradient of an output that nothing was computed from."""
        return xp.full_like(like, 0, dtype=self.dtype, shape=self.shape)


class OutputsNode(Node):
    """A recorded operation with several outputs.

    ``y`` holds, for each output, the array or a stand-in; ``shape`` and ``dtype`` are the
    tuple of stand-ins, so that a `OutputGrads` fits it.
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
        kept = op.keeps(tuple(parent is not None for parent in parents))[1]
        super().__init__(
            op, parents, values, ys if kept else outputs, xp, outputs, outputs, parameters
        )

    def filled(self, bundle: "OutputGrads", xp: Any) -> tuple[Any, ...]:
        """A gradient for each output: zeros for those that had none."""
        some = next(iter(bundle.parts.values()))
        return tuple(
            bundle.parts[index] if index in bundle.parts else output.zeros(xp, some)
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


def pick(whole: OutputsNode, index: int, y: Any) -> Node:
    """The node of one output ``y``, an array."""
    return Node(PICK, (whole,), (whole,), None, whole.xp, y.shape, y.dtype, {"index": index})
