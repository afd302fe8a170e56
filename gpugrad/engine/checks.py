"""Data of an op for its generated tests: inputs, and where results may differ.

Imports nothing of gpugrad.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Checks", "Sample"]


class Sample:
    """Inputs to try an op on: its arrays, or the shapes of those to draw, and its parameters."""

    __slots__ = ("parameters", "shapes")

    def __init__(self, *shapes: Any, **parameters: Any) -> None:
        self.shapes = shapes
        self.parameters = parameters

    def __repr__(self) -> str:
        # A function has an address in its repr, which would differ from process to process.
        keywords = [
            f"{name}={getattr(value, '__name__', repr(value))}"
            for name, value in self.parameters.items()
        ]
        return f"Sample({', '.join([*map(str, self.shapes), *keywords])})"


class Checks(NamedTuple):
    """How the generated tests treat an op."""

    # The operands allow no other value of these parameters, such as the size of a result.
    fixed: str = ""
    # The forward takes a thousand operations: tests try few inputs.
    slow: bool = False
    # The op looks at the bits of numbers, for which there is no kernel of a formula.
    bits: bool = False
    # The least dtype that the op computes in: NumPy has no complex numbers of half precision.
    least: str = "float16"
    # The formula is a difference of nearly equal terms, of which the last digits are rounding.
    cancels: bool = False
    # Whether a zero is 0.0 or -0.0 is open: NumPy does not say which of the two is larger.
    either_zero: bool = False
    # The dtypes, by their characters, that NumPy refuses. CuPy computes something: to look at the
    # values would make the host wait.
    refused: str = ""
    # The operands at which devices or libraries give different values: a function of arrays that
    # gives a mask, and whose docstring is the reason.
    differs: Callable[..., Any] | None = None
