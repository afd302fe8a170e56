"""Pieces of the source for NumPy: calls as text, and what makes the arrays of a scope.

Imports NumPy alone.
"""

from typing import Any, NamedTuple

import numpy as np

__all__ = ["CallText", "make_array", "make_number", "make_view"]


class CallText(NamedTuple):
    """A call of the tail: of a ufunc with an array for its result, or with arguments alone.

    ``shape`` is there where it goes block by block.
    """

    at: int
    function: str
    operands: list[str]
    out: str = ""
    shape: Any = None

    @property
    def given(self) -> str:
        """Its operands."""
        return ", ".join(self.operands)

    def line(self) -> str:
        """The call as a statement."""
        if self.function == "setitem":
            array, _, value = self.operands
            return f"{array}[...] = {value}"
        return f"{self.function}({self._arguments()})"

    def __str__(self) -> str:
        return f"partial({self.function}, {self._arguments()})"

    def _arguments(self) -> str:
        # NumPy wants the name for these two.
        by_name = "out=" if self.function in ("u_maximum", "u_minimum") else ""
        return ", ".join([*self.operands, *([by_name + self.out] if self.out else [])])


Scope = dict[str, Any]
Memory = np.ndarray


def make_array(
    name: str, shape: Any, dtype: Any, block: int, strides: Any,
    names: Scope, memory: Memory, offsets: list[int],
) -> None:  # fmt: skip
    names[name] = np.ndarray(shape, dtype, memory, offsets[block], strides)


def make_view(
    name: str, make: Any, base: str, operands: Any,
    names: Scope, memory: Memory, offsets: list[int],
) -> None:  # fmt: skip
    names[name] = make(names[base], *operands)


def make_number(name: str, dtype: Any, names: Scope, memory: Memory, offsets: list[int]) -> None:
    names[name] = np.empty((), dtype)
