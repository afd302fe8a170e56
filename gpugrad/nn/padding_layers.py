"""Layers that pad the last one to three axes of their input. Imports `module` and `padding`.

The classes are made from a table: ``ZeroPad1d``, ``ReflectionPad2d`` and so on.
"""

from typing import Any

from gpugrad.engine.messages import is_whole
from gpugrad.errors import ShapeError
from gpugrad.nn.module import Module
from gpugrad.nn.padding import pad
from gpugrad.tensor import Tensor

__all__ = ["LAYERS", "Pad"]


class Pad(Module):
    """``padding`` is a number for all ends, or lists them as `gpugrad.nn.functional.pad` does."""

    _axes: int
    _mode: str
    _shown: tuple[str, ...] = ("padding",)
    value: Any = None

    def __init__(self, padding: Any) -> None:
        count = 2 * self._axes
        ends = tuple(padding) if isinstance(padding, tuple | list) else (padding,) * count
        if len(ends) != count or not all(map(is_whole, ends)):
            raise ShapeError(
                f"{type(self).__name__}: padding must be a whole number, or {count} of them, "
                f"before and after each axis, the last axis first, got {padding!r}"
            )
        self.padding = tuple([int(n) for n in ends])

    def forward(self, input: Any) -> Tensor:
        return pad(input, self.padding, self._mode, self.value)


class _ConstantPad(Pad):
    _shown = ("padding", "value")

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value


_DOC = """The last {axes} padded with {what}: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.{name}({example})(gg.ones((1, 2, {before}))).shape
    (1, 2, {after})
    """

# The mode of each family, and what the axes are padded with.
_FAMILIES = {
    "ZeroPad": ("constant", "zeros"),
    "ConstantPad": ("constant", "a number"),
    "ReflectionPad": ("reflect", "{their} mirror image"),
    "ReplicationPad": ("replicate", "the elements at {their} ends"),
    "CircularPad": ("circular", "{their} elements, repeated"),
}


def _layer(family: str, mode: str, what: str, axes: int) -> type[Pad]:
    name, base = f"{family}{axes}d", _ConstantPad if family == "ConstantPad" else Pad
    doc = _DOC.format(
        name=name,
        what=what.format(their="its" if axes == 1 else "their"),
        axes=("axis", "two axes", "three axes")[axes - 1],
        example="1, 0.5" if base is _ConstantPad else "1",
        before=", ".join("4" * axes),
        after=", ".join("6" * axes),
    )
    members = {"__doc__": doc, "__module__": __name__, "_axes": axes, "_mode": mode}
    return type(name, (base,), members)


LAYERS = {
    f"{family}{axes}d": _layer(family, mode, what, axes)
    for family, (mode, what) in _FAMILIES.items()
    for axes in (1, 2, 3)
}
globals().update(LAYERS)  # under their own names, by which pickle finds them
