"""``cupyx.scipy.special`` over simulated arrays: CuPy's ufuncs, computed by SciPy.

Imports signatures and ufunc, and SciPy at the first function.
"""

from typing import Any

from gpugrad.backend.sim.signatures import SPECIAL
from gpugrad.backend.sim.ufunc import ufunc_named


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    import scipy.special

    if name in SPECIAL and hasattr(scipy.special, name):
        function = globals()[name] = ufunc_named(name, SPECIAL, scipy.special)
        return function
    raise AttributeError(f"cupyx.scipy.special has no ufunc {name!r}")


def __dir__() -> list[str]:
    return sorted({*SPECIAL, *globals()})
