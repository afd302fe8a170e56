"""Writes host_polynomials.c and host_turns.c of gpugrad/codegen, for the host's math functions.

    python ci/minimax.py            # needs mpmath; prints the error of each

Each polynomial is a minimax one by the exchange algorithm of Remez (1934), with a weight that makes
the error one of the function it is part of, computed with 70 digits and then rounded to its type.
"""

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "ci")]

from generated import replace_text  # noqa: E402

mp.mp.dps = 70
CODEGEN = ROOT / "gpugrad/codegen"
TARGET, TABLES = CODEGEN / "host_polynomials.c", CODEGEN / "host_turns.c"
GRID = 1500  # points on which the extrema of an error are looked for


class Fit(NamedTuple):
    """A polynomial to find: of a function on an interval, the error times a weight being least."""

    name: str
    formula: str
    function: Callable[[Any], Any]
    interval: tuple[Any, Any]
    weight: Callable[[Any], Any]
    degrees: dict[str, int]  # "f32", "f64", or "mid": float64 whose result is rounded to float32


def value(coefficients: list[Any], x: Any) -> Any:
    """The polynomial at x."""
    total = mp.mpf(0)
    for one in reversed(coefficients):
        total = total * x + one
    return total


def remez(fit: Fit, degree: int) -> list[Any]:
    """The coefficients, lowest first, of the best polynomial of a degree."""
    low, high = map(mp.mpf, fit.interval)
    middle, half = (low + high) / 2, (high - low) / 2
    # Chebyshev's points. The ends are moved by a hair: many functions are 0/0 at zero.
    grid = [middle - half * mp.cos(mp.pi * (i + mp.mpf("1e-6")) / GRID) for i in range(GRID)]
    grid.append(high)
    exact = [fit.function(x) for x in grid]
    weights = [fit.weight(x) for x in grid]
    count = degree + 2
    chosen = [round(GRID * i / (count - 1)) for i in range(count)]
    for _ in range(12):
        rows = [
            [grid[i] ** power for power in range(degree + 1)] + [(-1) ** row / weights[i]]
            for row, i in enumerate(chosen)
        ]
        solved = mp.lu_solve(mp.matrix(rows), mp.matrix([exact[i] for i in chosen]))
        coefficients = list(solved[: degree + 1])
        errors = [w * (f - value(coefficients, x)) for x, f, w in zip(grid, exact, weights)]
        previous, chosen = chosen, extrema(errors, count)
        if previous == chosen:
            break
    return coefficients


def extrema(errors: list[Any], count: int) -> list[int]:
    """Indices of ``count`` extrema of alternating sign, the largest."""
    best: list[int] = []
    for i, error in enumerate(errors):
        if best and (error > 0) == (errors[best[-1]] > 0):
            if abs(error) > abs(errors[best[-1]]):
                best[-1] = i
        else:
            best.append(i)
    while len(best) > count:
        best.pop(0 if abs(errors[best[0]]) < abs(errors[best[-1]]) else -1)
    if len(best) < count:
        raise ValueError(f"the error has {len(best)} extrema, {count} expected: lower the degree")
    return best


def odd(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Of an odd function f(x) = x + x^3 p(x^2), p of z = x^2."""

    def p(z: Any) -> Any:
        x = mp.sqrt(z)
        return (function(x) / x - 1) / z

    return p


def relative(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The weight of p in x + x^3 p(x^2): errors relative to the function."""
    return lambda z: z * mp.sqrt(z) / function(mp.sqrt(z))


def atanh_tail(z: Any) -> Any:
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) / s - 2) / z


def pow_tail(z: Any) -> Any:
    s = mp.sqrt(z)
    return (mp.atanh(s) / s - 1 - z / 3) / z**2


QUARTER = mp.pi / 4
ROOT = mp.sqrt(2)
FITS = [
    Fit(
        "exp", "(exp(x) - 1 - x) / x^2, |x| <= 0.35",
        lambda x: (mp.expm1(x) - x) / x**2, (-0.35, 0.35), lambda x: x**2 / mp.exp(x),
        {"f32": 4, "f64": 10},
    ),
    Fit(
        "log", "(log((1 + s) / (1 - s)) / s - 2) / s^2 in x = s^2, 0 <= s <= 0.1716",
        atanh_tail, (0, 0.02946), lambda z: z / 2, {"f32": 2, "f64": 6},
    ),
    Fit(
        "sin", "(sin(r) - r) / r^3 in x = r^2, r <= pi / 4",
        odd(mp.sin), (0, QUARTER**2 + 1e-3), relative(mp.sin), {"f64": 5},
    ),
    Fit(
        "cos", "(cos(r) - 1 + r^2 / 2) / r^4 in x = r^2, r <= pi / 4",
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, (0, QUARTER**2 + 1e-3),
        lambda z: z**2 / mp.cos(mp.sqrt(z)), {"f64": 5},
    ),
    Fit(
        "sinpi", "sin(pi r) / r in x = r^2, r <= 0.51",
        lambda z: mp.sin(mp.pi * mp.sqrt(z)) / mp.sqrt(z), (0, 0.26),
        lambda z: mp.sqrt(z) / mp.sin(mp.pi * mp.sqrt(z)), {"mid": 6},
    ),
    Fit(
        "exp2", "(2^x - 1) / x, |x| <= 1/2",
        lambda x: mp.expm1(x * mp.log(2)) / x, (-0.5, 0.5), lambda x: x / mp.mpf(2) ** x,
        {"f32": 5, "mid": 6},
    ),
    Fit(
        "log2", "log2(1 + x) / x, sqrt(1/2) <= 1 + x <= sqrt(2)",
        lambda x: mp.log1p(x) / mp.log(2) / x, (1 / ROOT - 1, ROOT - 1),
        lambda x: x / mp.log1p(x), {"mid": 12},
    ),
    Fit(
        "erf", "erf(r) / r - 1 in x = r^2, r <= 1",
        lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1, (0, 1),
        lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)), {"f32": 6, "mid": 9, "f64": 14},
    ),
    Fit(
        "erfcx", "(1 + 2 y) exp(y^2) erfc(y) - 5 / 4 in x = (y - 4) / (y + 4), 1 / 2 <= y <= 28",
        lambda t: scaled_erfc(4 * (1 + t) / (1 - t)) - 1.25, (-3.5 / 4.5, 0.75),
        lambda t: mp.mpf(1), {"mid": 12, "f64": 21},
    ),
    Fit(
        "tanh", "(tanh(r) - r) / r^3 in x = r^2, r <= 0.6",
        odd(mp.tanh), (0, 0.36), relative(mp.tanh), {"f32": 4},
    ),
    Fit(
        "sinh", "(sinh(r) - r) / r^3 in x = r^2, r <= 1",
        odd(mp.sinh), (0, 1), relative(mp.sinh), {"f32": 3, "f64": 6},
    ),
    Fit(
        "atan", "(atan(r) - r) / r^3 in x = r^2, r <= 1",
        odd(mp.atan), (0, 1), relative(mp.atan), {"f32": 8, "f64": 20},
    ),
    Fit(
        "asin", "(asin(r) - r) / r^3 in x = r^2, r <= 9 / 16",
        odd(mp.asin), (0, 0.3165), relative(mp.asin), {"f32": 5, "f64": 13},
    ),
    Fit(
        "cbrt", "the cube root of x, sqrt(1/2) <= x <= sqrt(2)",
        mp.cbrt, (1 / ROOT, ROOT), lambda x: 1 / mp.cbrt(x), {"mid": 9, "f64": 6},
    ),
    Fit(
        "pow", "(log((1 + s) / (1 - s)) / (2 s) - 1 - s^2 / 3) / s^4 in x = s^2, s <= 0.1716",
        pow_tail, (0, 0.02946), lambda z: z**2, {"f64": 7},
    ),
    Fit(
        "erfc", "log(erfc(x)), 0.9 <= x <= 4",
        lambda x: mp.log(mp.erfc(x)), (0.9, 4), lambda x: mp.erfc(x) / mp.erf(x), {"f32": 7},
    ),
]  # fmt: skip


# Large terms of alternating sign, which lose digits if the even ones are added up apart.
CANCELLING = {"atan"}


def scaled_erfc(y: Any) -> Any:
    """(1 + 2 y) exp(y^2) erfc(y), which is close to 1 and smooth: Shepherd and Laframboise."""
    return (1 + 2 * y) * mp.exp(y * y) * mp.erfc(y)


def rounded(number: Any, kind: str) -> Any:
    """The number as a float of the kind, exactly."""
    return mp.mpf(float(np.float32(float(number)) if kind == "f32" else float(number)))


def largest_error(fit: Fit, coefficients: list[Any]) -> float:
    """The binary logarithm of the largest weighted error."""
    low, high = map(mp.mpf, fit.interval)
    points = [low + (high - low) * (mp.mpf(i) + 0.01) / 700 for i in range(700)]
    worst = max(abs(fit.weight(x) * (fit.function(x) - value(coefficients, x))) for x in points)
    return float(mp.log(worst, 2))


def literal(number: Any, kind: str) -> str:
    """The shortest decimal that reads as the number."""
    if kind == "f32":
        return f"{np.format_float_scientific(np.float32(float(number)), trim='0')}f"
    return repr(float(number))


def horner(coefficients: list[str], name: str, variable: str, kind: str) -> list[str]:
    """C statements that make a variable ``name`` the polynomial, by Horner's rule."""
    scalar, suffix = ("float", "f32") if kind == "f32" else ("double", "f64")
    *rest, last = coefficients
    return [
        f"    {scalar} {name} = {last};",
        *(f"    {name} = gg_muladd_{suffix}({name}, {variable}, {one});" for one in rest[::-1]),
    ]


def definition(fit: Fit, kind: str, degree: int) -> str:
    """The C function of a fit."""
    coefficients = [rounded(one, kind) for one in remez(fit, degree)]
    error = largest_error(fit, coefficients)
    print(f"{fit.name}_{kind}: degree {degree}, error 2^{error:.1f}", flush=True)
    scalar, suffix = ("float", "f32") if kind == "f32" else ("double", "f64")
    texts = [literal(one, kind) for one in coefficients]
    if fit.name in CANCELLING:
        lines = [*horner(texts, "y", "x", kind), "    return y;"]
    else:  # even and odd powers run side by side
        lines = [
            f"    const {scalar} z = x * x;",
            *horner(texts[::2], "even", "z", kind),
            *horner(texts[1::2], "odd", "z", kind),
            f"    return gg_muladd_{suffix}(odd, x, even);",
        ]
    body = "\n".join(lines)
    return f"""/* {fit.formula}: error 2^{error:.1f} */
static inline {scalar} gg_poly_{fit.name}_{kind}({scalar} x) {{
{body}
}}
"""


def turns(
    kind: str, parts_of_turn: int, rows: int, step: int, bits_below: int, digits: list[int]
) -> str:
    """Tables of 2^(step k) in parts of a turn, as sums of numbers of ``digits`` bits.

    They are less multiples of 2^bits_below turns: a number X whose last bit is worth 2^-bits_below
    times such a multiple is whole turns.
    """
    parts: list[list[str]] = [[] for _ in digits]
    modulus = mp.mpf(parts_of_turn << bits_below)
    with mp.workdps(400):
        for k in range(rows):
            rest = mp.fmod(parts_of_turn / (2 * mp.pi) * mp.mpf(2) ** (step * k), modulus)
            rest -= modulus if rest > modulus / 2 else 0
            for part, bits in zip(parts, digits):
                with mp.workprec(bits):
                    number = +rest
                part.append(f"{float(number)!r},")
                rest -= number

    def indented(words: list[str]) -> str:
        return textwrap.fill(" ".join(words), 96, initial_indent="    ", subsequent_indent="    ")

    return "\n".join(
        f"static const double gg_turns_{index}_{kind}[{rows}] = {{\n{indented(part)}\n}};\n"
        for index, part in enumerate(parts)
    )


def main() -> None:
    """Write the file."""
    parts = [
        "/* Written by ci/minimax.py, which says how. Errors are those of the function that\n"
        "   the polynomial is a part of. */\n"
    ]
    parts += [definition(fit, kind, degree) for fit in FITS for kind, degree in fit.degrees.items()]
    tables = [turns("f32", 2, 54, 2, 1, [29, 53]), turns("f64", 4, 63, 16, 32, [53] * 4)]
    head = "/* Written by ci/minimax.py: see gg_reduce_f64. */\n"
    replace_text(TABLES, "\n".join([head, *tables]))
    replace_text(TARGET, "\n".join(parts))


if __name__ == "__main__":
    main()
