"""Loops over the C math functions of gpugrad.codegen.host_math, their arguments and references.

For tests/codegen/test_host_math.py and ci/host_math.py.
"""

import ctypes
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpugrad.codegen.host_math import FUNCTIONS, source

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
LONG = np.longdouble
BINARY = ("arctan2", "hypot", "logaddexp", "power")
NATIVE = ("-march=native",)
C_TYPES = {"float32": "float", "float64": "double"}
DTYPES = (np.float32, np.float64)
# Functions that NumPy has not in long double: C's.
LONG_C = {"erf": "erfl", "erfc": "erfcl", "cbrt": "cbrtl"}

LOOP = """
void loop_{name}({type} *restrict out, const {type} *restrict a, const {type} *restrict b, long n)
{{ for (long i = 0; i < n; i++) out[i] = {call}; }}
"""


class Loops:
    """The functions of some names over arrays, compiled with flags."""

    def __init__(self, names: Iterable[str], flags: Sequence[str] | None = None) -> None:
        names = list(names)
        pairs = [(name, np.dtype(dtype).name) for name in names for dtype in DTYPES]
        text = source(pairs)
        for name, dtype in pairs:
            function = FUNCTIONS[name][dtype]
            call = f"{function}(a[i], b[i])" if name in BINARY else f"{function}(a[i])"
            text += LOOP.format(name=function, type=C_TYPES[dtype], call=call)
        for name, function in LONG_C.items():
            text += LOOP.format(name=name, type="long double", call=f"{function}(a[i])")
        self._lines = text.splitlines()
        with tempfile.TemporaryDirectory() as folder:
            path, library = Path(folder) / "loops.c", Path(folder) / "loops.so"
            path.write_text(text)
            made = subprocess.run(
                [str(COMPILER), "-O3", *(NATIVE if flags is None else flags), "-shared", "-fPIC",
                 "-fno-math-errno", "-fno-trapping-math", "-fopt-info-vec-optimized", "-Wall",
                 "-Wextra", "-Wno-unused-parameter", "-o", str(library), str(path), "-lm"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if made.returncode:
                raise RuntimeError(made.stderr)
            self.messages = made.stderr
            self._library = ctypes.CDLL(str(library))

    def __call__(self, name: str, *operands: Any) -> Any:
        """The results for arrays of one dtype; of long double with C's function of the name."""
        out = np.empty_like(operands[0])
        self.call(name, out, *operands)()
        return out

    def call(self, name: str, out: Any, *operands: Any) -> Callable[[], None]:
        """What computes the function into ``out``; the caller keeps the arrays."""
        dtype = out.dtype
        function = name if dtype == LONG else FUNCTIONS[name][dtype.name]
        pointers = [ctypes.c_void_p(x.ctypes.data) for x in (out, operands[0], operands[-1])]
        loop = getattr(self._library, f"loop_{function}")
        return partial(loop, *pointers, ctypes.c_long(out.size))

    def vectorised(self, name: str, dtype: Any) -> bool:
        """Whether gcc says so."""
        head = f"loop_{FUNCTIONS[name][np.dtype(dtype).name]}("
        line = next(i for i, text in enumerate(self._lines, 1) if head in text) + 1
        return re.search(rf":{line}:\d+: .*loop vectorized", self.messages) is not None


def arguments(name: str, dtype: Any, count: int, rng: np.random.Generator) -> list[Any]:
    """Arrays of arguments: special values, neighbours of thresholds, random ones of all sizes."""
    limits = np.finfo(dtype)
    wide = dtype == np.float64
    edges = [0.25, 0.5, 0.5625, 0.6, 0.95, 1, 1.5, 2, 3, 4, 6, 9.01, 10, 11, 20, 27.2, 28, 40,
             88.7228, 89.4, 100, 103.97, 104, 126, 127, 128, 149, 150, 700, 709.78, 710.47, 745.13,
             1022, 1023, 1024, 1074, 1075, 1e10, *(2.0**n for n in (-54, -27, -20, 23, 24, 25, 28,
             35, 36, 37, 51, 52, 53)), limits.max, limits.tiny, limits.smallest_subnormal,
             limits.eps, 0.70710678, 1.41421356, 1.57079633, np.inf, np.nan, 0,
             6381956970095103 * 2.0**797 if wide else 16367173.0 * 2.0**72]  # fmt: skip
    with np.errstate(over="ignore"):
        special = np.array(edges, dtype)
        near = [special]
        for _ in range(2):
            near += [np.nextafter(near[-1], dtype(np.inf)), np.nextafter(near[0], dtype(-np.inf))]
    special = np.concatenate([*near, *(-x for x in near)])
    part = count // 8
    bits = rng.integers(0, 256, (part, np.dtype(dtype).itemsize), np.uint8)
    quarter_turns = rng.integers(-(10**6), 10**6, part) * (LONG(np.pi) / 2 + LONG(6.123234e-17))
    logs = np.log(float(limits.max))
    random = [
        bits.view(dtype).ravel(),
        rng.standard_normal(part),
        rng.uniform(-1, 1, part),
        np.exp(rng.uniform(-20, 8, part)) * rng.choice([-1, 1], part),
        rng.uniform(-30, 30, part),
        1 + rng.standard_normal(part) * np.exp(rng.uniform(-20, 0, part)),
        rng.uniform(-1.06 * logs, 1.01 * logs, part),
        quarter_turns,
    ]
    x = np.concatenate([special, *(one.astype(dtype) for one in random)])
    if name not in BINARY:
        return [x]
    pairs = np.meshgrid(special[::5], special[1::5])
    # Bases and exponents whose power is neither zero nor infinite.
    base = np.exp(rng.uniform(-5, 5, x.size)).astype(dtype)
    exponent = rng.uniform(-1.06 * logs, 1.01 * logs, x.size) / np.log(base.astype(np.float64))
    with np.errstate(over="ignore"):
        exponent = exponent.astype(dtype)
    return [
        np.concatenate([pairs[0].ravel(), special, x, base]),
        np.concatenate([pairs[1].ravel(), special[::-1], rng.permutation(x), exponent]),
    ]


def reference(name: str, operands: Sequence[Any], loops: Loops) -> Any:
    """The function of long doubles."""
    with np.errstate(all="ignore"):
        wide = [x.astype(LONG) for x in operands]
        if name == "sigmoid":
            e = np.exp(-np.abs(wide[0]))
            return np.where(wide[0] < 0, e, LONG(1)) / (1 + e)
        return loops(name, wide[0]) if name in LONG_C else getattr(np, name)(*wide)


def errors(name: str, operands: Sequence[Any], result: Any, exact: Any) -> Any:
    """Errors in units in the last place of the exact value; infinite for a wrong special value."""
    dtype = result.dtype.type
    with np.errstate(all="ignore"):
        rounded = exact.astype(dtype)
        size = np.abs(exact)
        if name == "logaddexp":  # the sum of the larger operand and log(1 + e^-d), which may cancel
            high = np.maximum(*(x.astype(LONG) for x in operands))
            size = np.fmax(size, np.fmax(np.abs(high), np.abs(exact - high)))
        unit = np.spacing(np.minimum(size, LONG(np.finfo(dtype).max)).astype(dtype)).astype(LONG)
        error = np.abs(result.astype(LONG) - exact) / unit
    same = (result == rounded) & (np.signbit(result) == np.signbit(rounded))
    same |= np.isnan(result) & np.isnan(rounded)
    if name == "logaddexp":  # nor is the sign of zero exact there
        same |= result == rounded
    # At infinity, zero and NaN the value is exact, its sign too.
    exactly = ~np.isfinite(rounded) | (exact == 0)
    error = np.where(exactly, np.where(same, 0, np.inf), error)
    error = np.where((result == 0) & (rounded == 0) & ~same, np.inf, error)
    return np.where(np.isfinite(error) | np.isinf(error), error, np.inf).astype(float)
