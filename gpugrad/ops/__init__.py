"""The tables: what every op computes and how it is differentiated. Imports engine.

A rule uses only names that are in the tables, so that it runs over every namespace. Each
module holds one family of ops; importing this package fills the table.

An entry reads as a line of a table of derivatives: the op's name, its operands, the derivative by
each of them, and what these need of the forward; then its properties, names and description. `Op`
documents all that it can say.
"""

from gpugrad.ops import (
    activations,
    attention,
    bessel,
    complex_parts,
    convolution,
    decompositions,
    device,
    diagonals,
    elementwise,
    fft,
    incomplete,
    index,
    linalg,
    linear,
    losses,
    matrix_functions,
    normalization,
    phases,
    pooling,
    recurrent,
    reduce,
    resampling,
    scan,
    shape,
    solvers,
    sorting,
    special,
    steps,
    ufuncs,
    windows,
)

__all__ = [
    "activations", "attention", "bessel", "complex_parts", "convolution", "decompositions",
    "device", "diagonals", "elementwise", "fft", "incomplete", "index", "linalg", "linear",
    "losses", "matrix_functions", "normalization", "phases", "pooling", "recurrent", "reduce",
    "resampling", "scan", "shape", "solvers", "sorting", "special", "steps", "ufuncs", "windows",
]  # fmt: skip
