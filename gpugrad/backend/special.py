"""The functions of ``scipy.special`` for an array type. Imports cupy_special, precision and errors.

``xp.special`` of a namespace is SciPy's module for NumPy arrays and ``cupyx.scipy.special`` for
CuPy arrays, which has the same names for all that the table uses. The dtype of a result follows one
rule, whichever loops the library has: the result dtype of the operands, float64 for integers.
float16 is computed in float32 and rounded.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from gpugrad.backend.cupy_special import REPLACEMENTS
from gpugrad.backend.precision import DOUBLE, HALF, SINGLE
from gpugrad.backend.requirements import pip_install
from gpugrad.errors import DTypeError, GpugradError

__all__ = ["Special", "computed_in"]


def computed_in(dtype: np.dtype) -> np.dtype:
    """The dtype of the computation for real operands of a dtype.

    >>> computed_in(np.dtype("int8")), computed_in(np.dtype("float16"))
    (dtype('float64'), dtype('float32'))
    """
    return SINGLE if dtype == HALF else dtype if dtype.kind == "f" else DOUBLE


class Special:
    """A module with the names of ``scipy.special``, imported at the first function.

    GpugradError if it is not installed, with the command that installs it. ``formulas``, by default
    those of `cupy_special`, replace functions of the module in the namespace ``replacing``.
    """

    def __init__(
        self, module: str, replacing: Any, formulas: Mapping[str, Any] = REPLACEMENTS
    ) -> None:
        self._module = module
        self._replacing = replacing
        self._formulas = formulas

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):  # doctest and others ask any object for these
            raise AttributeError(name)
        try:
            module = import_module(self._module)
        except ImportError as error:
            raise GpugradError(
                f"special.{name}: SciPy, which computes it, is not installed. Install it with "
                f"`{pip_install('special')}`"
            ) from error
        if name in self._formulas:
            function = partial(self._formulas[name], self._replacing, module)
        else:
            function = getattr(module, name)
        converting = _with_one_dtype(name, function)
        setattr(self, name, converting)
        return converting


def _with_one_dtype(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*operands: Any) -> Any:
        first = operands[0].dtype if hasattr(operands[0], "dtype") else None
        if len(operands) == 1 and first in (SINGLE, DOUBLE):
            return function(operands[0])
        dtype = np.result_type(*(x.dtype if hasattr(x, "dtype") else x for x in operands))
        if dtype.kind not in "biuf":
            raise DTypeError(f"special.{name}: expected real numbers, got dtype {dtype}")
        wide = computed_in(dtype)
        # Numbers are cast as well: not all loops of SciPy treat them as weak.
        y = function(*(x.astype(wide) if hasattr(x, "dtype") else wide.type(x) for x in operands))
        return y.astype(dtype) if dtype == HALF else y

    return call
