"""``cupyx.scipy.special`` over simulated arrays: CuPy's ufuncs, computed by SciPy.

Imports core, signatures and ufunc; SciPy when a function is first asked for.
"""

from typing import Any

from gpugrad.backend.sim.signatures import SPECIAL
from gpugrad.backend.sim.ufunc import ufunc

_made: dict[str, ufunc] = {}


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    import scipy.special

    if name in SPECIAL and hasattr(scipy.special, name):
        own = SPECIAL[name][0]  # psi and digamma are one ufunc
        if own not in _made:
            _made[own] = ufunc(name, SPECIAL, scipy.special)
        found = globals()[name] = _made[own]
        return found
    raise AttributeError(f"cupyx.scipy.special has no ufunc {name!r}")


def __dir__() -> list[str]:
    return sorted({*SPECIAL, *globals()})
