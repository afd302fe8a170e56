"""Layers that pad the last one to three axes of their input. Imports `module` and `padding`."""

from typing import Any

from gpugrad.engine.messages import is_whole
from gpugrad.errors import ShapeError
from gpugrad.nn.module import Module
from gpugrad.nn.padding import pad
from gpugrad.tensor import Tensor

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d",
    "ConstantPad3d", "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d",
    "ReplicationPad2d", "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class _Pad(Module):
    """``padding`` is a number for all ends, or lists them as `gpugrad.nn.functional.pad` does."""

    _axes: int
    _mode: str
    _shown: tuple[str, ...] = ("padding",)
    value: Any = None

    def __init__(self, padding: Any) -> None:
        self.padding = self._ends(padding)

    def _ends(self, padding: Any) -> tuple[int, ...]:
        count = 2 * self._axes
        ends = tuple(padding) if isinstance(padding, tuple | list) else (padding,) * count
        if len(ends) != count or not all(map(is_whole, ends)):
            raise ShapeError(
                f"{type(self).__name__}: padding must be a whole number, or {count} of them, "
                f"before and after each axis, the last axis first, got {padding!r}"
            )
        return tuple([int(n) for n in ends])

    def forward(self, input: Any) -> Tensor:
        return pad(input, self.padding, self._mode, self.value)


class _ConstantPad(_Pad):
    _mode = "constant"
    _shown = ("padding", "value")

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value


class ZeroPad1d(_Pad):
    """The last axis padded with zeros: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.ZeroPad1d(1)(gg.ones((1, 2, 4))).shape
    (1, 2, 6)
    """

    _axes = 1
    _mode = "constant"


class ZeroPad2d(_Pad):
    """The last two axes padded with zeros: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.ZeroPad2d(1)(gg.ones((1, 2, 4, 4))).shape
    (1, 2, 6, 6)
    """

    _axes = 2
    _mode = "constant"


class ZeroPad3d(_Pad):
    """The last three axes padded with zeros: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.ZeroPad3d(1)(gg.ones((1, 2, 4, 4, 4))).shape
    (1, 2, 6, 6, 6)
    """

    _axes = 3
    _mode = "constant"


class ConstantPad1d(_ConstantPad):
    """The last axis padded with a number: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.ConstantPad1d(1, 0.5)(gg.ones((1, 2, 4))).shape
    (1, 2, 6)
    """

    _axes = 1


class ConstantPad2d(_ConstantPad):
    """The last two axes padded with a number: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.ConstantPad2d(1, 0.5)(gg.ones((1, 2, 4, 4))).shape
    (1, 2, 6, 6)
    """

    _axes = 2


class ConstantPad3d(_ConstantPad):
    """The last three axes padded with a number: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.ConstantPad3d(1, 0.5)(gg.ones((1, 2, 4, 4, 4))).shape
    (1, 2, 6, 6, 6)
    """

    _axes = 3


class ReflectionPad1d(_Pad):
    """The last axis padded with its mirror image: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.ReflectionPad1d(1)(gg.ones((1, 2, 4))).shape
    (1, 2, 6)
    """

    _axes = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """The last two axes padded with their mirror images: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.ReflectionPad2d(1)(gg.ones((1, 2, 4, 4))).shape
    (1, 2, 6, 6)
    """

    _axes = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """The last three axes padded with their mirror images: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.ReflectionPad3d(1)(gg.ones((1, 2, 4, 4, 4))).shape
    (1, 2, 6, 6, 6)
    """

    _axes = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """The last axis padded with the elements at its ends: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.ReplicationPad1d(1)(gg.ones((1, 2, 4))).shape
    (1, 2, 6)
    """

    _axes = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """The last two axes padded with the elements at their ends: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.ReplicationPad2d(1)(gg.ones((1, 2, 4, 4))).shape
    (1, 2, 6, 6)
    """

    _axes = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """The last three axes padded with the elements at their ends: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.ReplicationPad3d(1)(gg.ones((1, 2, 4, 4, 4))).shape
    (1, 2, 6, 6, 6)
    """

    _axes = 3
    _mode = "replicate"


class CircularPad1d(_Pad):
    """The last axis padded with the axis, repeated: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.CircularPad1d(1)(gg.ones((1, 2, 4))).shape
    (1, 2, 6)
    """

    _axes = 1
    _mode = "circular"


class CircularPad2d(_Pad):
    """The last two axes padded with themselves, repeated: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.CircularPad2d(1)(gg.ones((1, 2, 4, 4))).shape
    (1, 2, 6, 6)
    """

    _axes = 2
    _mode = "circular"


class CircularPad3d(_Pad):
    """The last three axes padded with themselves, repeated: see `gpugrad.nn.functional.pad`.

    >>> import gpugrad as gg
    >>> gg.nn.CircularPad3d(1)(gg.ones((1, 2, 4, 4, 4))).shape
    (1, 2, 6, 6, 6)
    """

    _axes = 3
    _mode = "circular"
