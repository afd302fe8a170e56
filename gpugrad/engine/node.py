"""The graph: nodes that hold raw arrays and parent nodes, never a Tensor. Imports only `op`.

A node is made for each recorded operation, a leaf for each tensor that the user asked a
gradient for. A tensor points at its node and no node points at its tensor (a leaf keeps a
weak reference, to hand the gradient over), so a graph is freed by reference counting as
soon as the last tensor that needs it is gone.
"""

import itertools
import weakref
from collections.abc import Callable
from typing import Any

from gpugrad.engine.op import Op

__all__ = ["Leaf", "Node", "next_serial"]

# Serial numbers are a clock: they order nodes topologically (parents come first), and an
# in-place change is stamped with one, which tells whether it came after a node was made.
next_serial: Callable[[], int] = itertools.count(1).__next__


class Node:
    """One recorded operation.

    ``parents[i]`` is the node of array argument ``i``, None where it needs no gradient.
    ``values[i]`` is its raw array where a derivative needs it or where it is a constant,
    else a stand-in (the parent node: it has ``shape`` and ``dtype``). ``values`` is None
    once the graph was freed. ``y`` is the raw output, None where no derivative needs it.
    ``xp`` is the namespace that computed it; ``shape`` and ``dtype`` are the output's.

    ``name``, ``hooks`` and ``where`` (the line of the user's code that made it) are unset on
    most nodes: a slot never filled costs nothing.
    """

    __slots__ = (
        "__weakref__",
        "dtype",
        "hooks",
        "name",
        "op",
        "parameters",
        "parents",
        "serial",
        "shape",
        "tensor",
        "values",
        "where",
        "xp",
        "y",
    )

    def __init__(
        self,
        op: Op,
        parents: tuple[Any, ...],
        values: tuple[Any, ...],
        y: Any,
        xp: Any,
        shape: Any,
        dtype: Any,
        parameters: dict[str, Any] | None,
    ) -> None:
        self.serial = next_serial()
        self.op = op
        self.parents = parents
        self.values: tuple[Any, ...] | None = values
        self.y = y
        self.xp = xp
        self.shape: Any = shape
        self.dtype = dtype
        self.parameters = parameters

    def register_prehook(self, hook: Callable[[Any], Any]) -> Any:
        """Call ``hook(gradient)`` when the gradient of the output arrives; it may return another.

        Returns a handle whose ``remove()`` takes the hook away.
        """
        from gpugrad.engine.hooks import CHANGES, add_hook

        return add_hook(self, CHANGES, hook)

    def register_hook(self, hook: Callable[[tuple[Any, ...], Any], Any]) -> Any:
        """Call ``hook(argument_gradients, gradient)`` after the node was differentiated.

        For looking: what it returns is not used. An argument that needs no gradient has None.
        Returns a handle whose ``remove()`` takes the hook away.
        """
        from gpugrad.engine.hooks import FOLLOWS, add_hook

        return add_hook(self, FOLLOWS, hook)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.op.shown} {tuple(self.shape)} {self.dtype}>"


class Leaf:
    """The end of a path: a tensor that the user asked a gradient for.

    ``tensor`` is a weak reference to it: a leaf that nobody holds needs no gradient.
    """

    __slots__ = ("__weakref__", "dtype", "hooks", "name", "serial", "shape", "tensor")

    parents: tuple[Any, ...] = ()

    def __init__(self, tensor: Any, shape: tuple[int, ...], dtype: Any) -> None:
        self.serial = next_serial()
        self.tensor = weakref.ref(tensor)
        self.shape = shape
        self.dtype = dtype

    def __repr__(self) -> str:
        return f"<Leaf {tuple(self.shape)} {self.dtype}>"
