"""Equality of tensors where Python looks for one object: in lists and weak dictionaries.

Imports core and callers.
"""

import sys
from collections.abc import Callable
from typing import Any

from gpugrad.tensor.callers import searches
from gpugrad.tensor.core import Tensor

__all__ = ["equality"]


class _Itself(Tensor):
    """The comparison of a tensor of several elements with itself, which as a whole is true."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


def equality(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The operator ``==``: elementwise, and by identity where its truth as a whole is asked.

    Python's lists and weak dictionaries compare what they hold with ``==``, and ask whether that
    is true. ``t in tensors`` is true where t itself is there. A weak dictionary compares a key of
    one hash, which is the key itself.
    """

    def equal(self: Tensor, other: Any) -> Tensor:
        if isinstance(other, Tensor) and not self.size == other.size == 1:
            if other is self:
                return _Itself(compare(self, other)._array)
            if searches(sys._getframe(1)):
                return False  # type: ignore[return-value]
        result: Tensor = compare(self, other)
        return result

    equal.__name__ = equal.__qualname__ = "__eq__"
    equal.__doc__ = "Elementwise equality; `t in tensors` looks for t itself."
    return equal
