"""Equality of tensors where Python looks for one object: in lists and weak dictionaries.

Imports errors, core and instructions.
"""

import sys
from collections.abc import Callable
from typing import Any

from gpugrad.errors import DeviceError, ShapeError
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.instructions import searches

__all__ = ["equality"]


class _Itself(Tensor):
    """The comparison of a tensor of several elements with itself, which as a whole is true."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


def equality(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The operator ``==``: elementwise, and by identity where its truth as a whole is asked.

    Python's lists and weak dictionaries compare what they hold with ``==``, and ask whether that
    is true. ``t in tensors`` is true where t itself is there, and `Tensor.__bool__` says that
    another tensor of several elements is not it. A weak dictionary compares a key with those of its
    hash, which is itself.
    """

    def equal(self: Tensor, other: Any) -> Tensor:
        try:
            result: Tensor = compare(self, other)
        except (DeviceError, ShapeError):
            if isinstance(other, Tensor) and searches(sys._getframe(1)):
                return False  # type: ignore[return-value]
            raise
        return _Itself(result._array) if other is self and self.size != 1 else result

    equal.__name__ = equal.__qualname__ = "__eq__"
    equal.__doc__ = "Elementwise equality; `t in tensors` looks for t itself."
    return equal
