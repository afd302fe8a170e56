"""Math functions for host compilers, as C99 source. Loops over them vectorise.

They have no branches and call nothing of libm but sqrt, fabs, copysign and fma, which are
instructions. Sine, cosine and tangent load from tables: their loops need AVX2's gathers. Special
values, infinities, signed zeros and subnormal numbers are those of C99's Annex F, as NumPy's. The
methods are published ones, which ``host_math_f32.c`` and ``host_math_f64.c`` name;
``ci/minimax.py`` writes the other C files.

Compile with ``-O3 -fno-math-errno -fno-trapping-math`` and for the processor at hand; with AVX-512,
``-mprefer-vector-width=512`` takes a third off their time. Fused multiply-adds are written out, so
``-ffp-contract`` does not matter. ``-ffast-math`` breaks them. Floating-point flags mean nothing
afterwards.

Sine, cosine and tangent reduce arguments of any size exactly. The largest error that
``ci/host_math.py`` saw is 1.62 units in the last place; that of each function stands in `ERRORS`.
Where the larger operand of logaddexp and log(1 + e^-d) cancel, the unit is that of the larger of
the two.

Imports operations.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gpugrad.codegen.operations import NotFusibleError

__all__ = ["ERRORS", "FUNCTIONS", "source"]

# The largest error measured, in units in the last place: of float32, of float64.
ERRORS = {
    "arccos": (1.11, 1.12),
    "arccosh": (0.51, 1.00),
    "arcsin": (1.36, 1.12),
    "arcsinh": (0.51, 1.25),
    "arctan": (1.60, 1.37),
    "arctan2": (1.53, 1.50),
    "arctanh": (0.51, 1.55),
    "cbrt": (0.51, 0.51),
    "cos": (0.51, 1.03),
    "cosh": (1.33, 1.33),
    "erf": (1.44, 1.38),
    "erfc": (0.51, 1.31),
    "exp": (0.90, 0.89),
    "exp2": (1.00, 1.04),
    "expm1": (1.27, 1.31),
    "hypot": (0.51, 1.21),
    "log": (0.88, 0.90),
    "log10": (1.00, 1.00),
    "log1p": (0.88, 0.88),
    "log2": (1.07, 1.09),
    "logaddexp": (0.51, 1.54),
    "power": (0.52, 1.45),
    "sigmoid": (1.37, 1.38),
    "sin": (0.51, 1.05),
    "sinh": (1.60, 1.62),
    "tan": (0.51, 1.38),
    "tanh": (1.62, 1.40),
}

# C functions by NumPy's name, or SciPy's where NumPy has none, and by dtype.
FUNCTIONS = {name: {"float32": f"gg_{name}_f32", "float64": f"gg_{name}_f64"} for name in ERRORS}

HEADER = r"""#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(_M_ARM64) \
    || (defined(_MSC_VER) && defined(__AVX2__)) /* MSVC has no macro of its own for it */
#define GG_FMA
#endif
"""
_FILES = ("host_polynomials.c", "host_turns.c", "host_math_f64.c", "host_math_f32.c")
_DEFINED = re.compile(r"^(?:static [\w ]+ |\} )(gg_\w+)[(\[;]", re.MULTILINE)
_NAMES = re.compile(r"\bgg_\w+")


def source(functions: Iterable[tuple[str, Any]]) -> str:
    """C text that defines functions, given as names with dtypes, and what they use.

    NotFusibleError for a function that is not in `FUNCTIONS`.

    >>> text = source([("exp", "float32"), ("exp", "float64")])
    >>> text.count("float gg_exp_f32(float x)"), "gg_log" in text
    (1, False)
    """
    definitions = _definitions()
    needed: dict[str, None] = {}

    def need(name: str) -> None:
        if name not in needed:
            for other in _NAMES.findall(definitions[name]):
                if other != name:
                    need(other)
            needed[name] = None

    for name, dtype in functions:
        function = FUNCTIONS.get(name, {}).get(np.dtype(dtype).name)
        if function is None:
            raise NotFusibleError(f"no C function computes {name} of {np.dtype(dtype).name}")
        need(function)
    return "\n".join([HEADER, *(definitions[name] for name in needed)])


@cache
def _definitions() -> dict[str, str]:
    """The text of each function, table and type, with the comment before it, by name."""
    found = {}
    for file in _FILES:
        text = Path(__file__).with_name(file).read_text(encoding="utf-8")
        for part in re.split(r"\n\n(?=\S)", text):
            match = _DEFINED.search(part)
            if match is not None:
                found[match[1]] = f"{part.rstrip()}\n"
    return found
