"""The functions of ``scipy.special`` for a kind of array. Imports errors and mended.

``xp.special`` of a namespace: SciPy's own for NumPy's arrays, ``cupyx.scipy.special`` for CuPy's,
which has the same names for all that the table uses. Whichever loops the two libraries have for a
function, the dtype of its result follows one rule here: that of the operands together, float64
for whole numbers. Where a library computes no float16, float32 is computed and rounded.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from gpugrad.backend.mended import MENDED
from gpugrad.errors import DTypeError, GpugradError

__all__ = ["HALF", "Special", "computed_in"]

HALF = np.dtype(np.float16)
_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


def computed_in(kind: np.dtype) -> np.dtype:
    """The dtype that the functions of real numbers are computed in, for operands of ``kind``.

    >>> computed_in(np.dtype("int8")), computed_in(np.dtype("float16"))
    (dtype('float64'), dtype('float32'))
    """
    return _SINGLE if kind == HALF else kind if kind.kind == "f" else _DOUBLE


class Special:
    """A module with the names of ``scipy.special``, imported when a function is first asked for.

    GpugradError where it is not installed, with what installs it. ``mending`` is the namespace in
    which the formulas of `mended` stand in for the module's own functions, None where they do not.
    """

    def __init__(self, module: str, mending: Any = None) -> None:
        self._module = module
        self._mending = mending

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):  # asked by those who look at any object
            raise AttributeError(name)
        try:
            module = import_module(self._module)
        except ImportError as error:
            raise GpugradError(
                f"special.{name}: SciPy, which computes it, is not installed. Install it with "
                "`pip install 'gpugrad[special]'`"
            ) from error
        function = getattr(module, name)
        if self._mending is not None and name in MENDED:
            function = partial(MENDED[name], self._mending, module)
        found = _with_one_dtype(name, function)
        setattr(self, name, found)
        return found


def _with_one_dtype(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*operands: Any) -> Any:
        first = operands[0].dtype if hasattr(operands[0], "dtype") else None
        if len(operands) == 1 and first in (_SINGLE, _DOUBLE):
            return function(operands[0])
        kind = np.result_type(*(x.dtype if hasattr(x, "dtype") else x for x in operands))
        if kind.kind not in "biuf":
            raise DTypeError(f"special.{name}: expected real numbers, got dtype {kind}")
        wide = computed_in(kind)
        # A number gets the dtype as well: not all loops of SciPy's take it for a weak one.
        y = function(*(x.astype(wide) if hasattr(x, "dtype") else wide.type(x) for x in operands))
        return y.astype(kind) if kind == HALF else y

    return call
