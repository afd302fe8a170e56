"""Sums, products of elements and extremes in the loops of C. Imports items and codegen."""

from collections.abc import Sequence
from math import prod

from gpugrad.codegen.operations import c_type
from gpugrad.compiler.schedule.items import Array

__all__ = ["BLOCK", "EXTREMES", "Reduction"]

BLOCK = 512  # elements of a block, of which more are added up in a wider type


class Reduction:
    """How a sum, a product or an extreme is computed: along which loops, in which C types.

    ``depth`` is the number of loops around the accumulator; where it is that of all loops, the
    accumulators are in memory.
    """

    def __init__(self, array: Array, strides: tuple[int, ...], sizes: Sequence[int]) -> None:
        self.array = array
        self.strides = strides
        depth = len(sizes)
        while depth and not strides[depth - 1]:
            depth -= 1
        self.depth = depth
        outer = [size for size, stride in zip(sizes[:depth], strides) if not stride]
        self.repeats = prod(outer)  # how often an element is added to in memory
        self.in_memory = bool(outer)
        self.parts = 1
        self.elements = array.size  # of the accumulators in memory
        self.type = c_type(array.dtype)
        self.kind = array.step.name
        is_float = array.dtype.kind == "f"
        self.wide = "double" if is_float and self.kind == "sum" else self.type
        self.careful = self.in_memory and self.wide != self.type and self.repeats > BLOCK
        self.nan = is_float and self.kind in ("max", "min")

    def share(self, parts: int) -> None:
        """Have one result for each part of the outermost axis."""
        self.parts = parts
        self.careful = self.in_memory

    def tile(self, elements: int) -> None:
        """Have several accumulators in memory for each element of the result."""
        self.elements = elements
        self.careful = True

    @property
    def first(self) -> str:
        """The value to begin with."""
        if self.kind in _SIGNS:
            return "0" if self.kind == "sum" else "1"
        dtype = self.array.dtype
        if dtype.kind == "f":
            return "-INFINITY" if self.kind == "max" else "INFINITY"
        if dtype.kind == "b":
            return "0" if self.kind == "max" else "1"
        low, high = _LIMITS[dtype.name]
        return low if self.kind == "max" else high

    def into(self, target: str, value: str) -> str:
        """The statement that takes a further value; a NaN stays."""
        if self.kind in _SIGNS:
            return f"{target} {_SIGNS[self.kind]}= {value};"
        sign = ">" if self.kind == "max" else "<"
        other = f"({target} != {target} ? {target} : {value})" if self.nan else value
        return f"{target} = {target} {sign} {value} ? {target} : {other};"

    def clause(self, number: int) -> str:
        """The clause of OpenMP that lets the compiler add up in any order."""
        sign = _SIGNS.get(self.kind, self.kind)
        if self.nan:
            sign = {"max": "LARGEST", "min": "LEAST"}[self.kind]
        nan = f" reduction(|:n{number})" if self.nan else ""
        return f" reduction({sign}:s{number}){nan}"


_SIGNS = {"sum": "+", "prod": "*"}

# Clang begins an extreme of OpenMP with the largest finite number, where all may be infinite.
EXTREMES = """\
#ifdef __clang__
#pragma omp declare reduction(LARGEST : float, double : omp_out = omp_out > omp_in ? omp_out \\
    : omp_in) initializer(omp_priv = -INFINITY)
#pragma omp declare reduction(LEAST : float, double : omp_out = omp_out < omp_in ? omp_out \\
    : omp_in) initializer(omp_priv = INFINITY)
#else
#define LARGEST max
#define LEAST min
#endif
"""

_LIMITS = {  # by names that compilers know without headers
    f"{sign}int{bits}": (
        ("0" if sign else f"(-__INT{bits}_MAX__ - 1)"), f"__{sign.upper()}INT{bits}_MAX__"
    )
    for sign in ("", "u")
    for bits in (8, 16, 32, 64)
}  # fmt: skip
