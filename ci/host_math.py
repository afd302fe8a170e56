"""Errors and times of the C math functions (gpugrad/codegen/host_math.py), beside NumPy's.

    python ci/host_math.py [--numbers 2000000] [exp log ...]

Prints, of each function and dtype: the largest error in units in the last place against long double
and where it is, nanoseconds an element in cache, NumPy's or SciPy's, and whether gcc vectorised the
loop. The errors go into ERRORS of that module, rounded up.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests/helpers")]

from host_math_loops import Loops, arguments, errors, reference  # noqa: E402

from gpugrad.codegen.host_math import FUNCTIONS  # noqa: E402


def nanoseconds(call: Callable[[], Any], count: int) -> float:
    """The time of a call an element, the least of many."""
    times = []
    for _ in range(200):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times) / count * 1e9


def library(name: str) -> Any:
    """NumPy's function of the name, or SciPy's."""
    import scipy.special

    return getattr(np, name, None) or getattr(scipy.special, {"sigmoid": "expit"}.get(name, name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=[*FUNCTIONS], metavar="name")
    parser.add_argument("--numbers", type=int, default=2_000_000, help="random arguments")
    parser.add_argument("--flags", nargs="*", help="compiler flags beside -O3, without dashes")
    options = parser.parse_args()
    flags = None if options.flags is None else [f"-{flag}" for flag in options.flags]
    loops = Loops(options.names, flags)
    rng = np.random.default_rng()
    print(f"{'function':10} {'dtype':8} {'ulp':>6} {'ns':>6} {'NumPy':>6}  vectorised, worst at")
    for name in options.names:
        for dtype in (np.float32, np.float64):
            operands = arguments(name, dtype, options.numbers, rng)
            error = errors(name, operands, loops(name, *operands), reference(name, operands, loops))
            worst = int(error.argmax())
            at = ", ".join(float(x[worst]).hex() for x in operands)
            cached = [rng.uniform(1.1, 1.9, 8192).astype(dtype) for _ in operands]
            if name in ("arcsin", "arccos", "arctanh"):
                cached[0] -= dtype(1.0)
            out = np.empty_like(cached[0])
            ours = nanoseconds(loops.call(name, out, *cached), out.size)
            theirs = nanoseconds(partial(library(name), *cached, out), out.size)
            vectorised = "yes" if loops.vectorised(name, dtype) else "no"
            print(
                f"{name:10} {np.dtype(dtype).name:8} {error[worst]:6.3f} {ours:6.2f} {theirs:6.2f}"
                f"  {vectorised}, {at}",
                flush=True,
            )


if __name__ == "__main__":
    main()
