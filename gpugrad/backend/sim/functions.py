"""The functions by public name: a ufunc, one of `overrides`, or NumPy's behind checks.

They are built at first use, so that the import stays fast. Imports binding, overrides and ufunc.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy

from gpugrad.backend.sim.binding import Parameters, check_argument, delegate, dressed
from gpugrad.backend.sim.core import ndarray, wrap
from gpugrad.backend.sim.device import current_id
from gpugrad.backend.sim.overrides import HOST, NUMPY, OWN
from gpugrad.backend.sim.signatures import FFT, FUNCTIONS, LINALG, OTHERS, UFUNCS
from gpugrad.backend.sim.ufunc import ufunc_named

__all__ = ["function_named", "module_of", "names_of"]

# Names that NumPy 2 has removed and CuPy still has, with their replacements.
_RENAMED = {
    "alltrue": "all",
    "sometrue": "any",
    "product": "prod",
    "cumproduct": "cumprod",
    "round_": "round",
    "row_stack": "vstack",
    "trapz": "trapezoid",
}

# Names of CuPy that are not imitated: they need a GPU, files or types of CuPy.
_NOT_IMITATED = (
    "clear_memo disp find_common_type fromDlpack fuse get_array_wrap get_default_memory_pool "
    "get_default_pinned_memory_pool issctype issubclass_ issubsctype make_aligned_dtype memoize "
    "obj2sctype safe_eval sctype2char set_string_function show_config who piecewise load "
    "polyadd polymul polysub require"
).split()

_CONSTANTS = {
    "Inf": numpy.inf,
    "Infinity": numpy.inf,
    "NAN": numpy.nan,
    "NINF": -numpy.inf,
    "NZERO": -0.0,
    "NaN": numpy.nan,
    "PINF": numpy.inf,
    "PZERO": 0.0,
    "infty": numpy.inf,
    "cfloat": numpy.complex128,
    "complex_": numpy.complex128,
    "float_": numpy.float64,
    "singlecomplex": numpy.complex64,
}

_FROM_NUMPY = (
    "bool bool_ byte cdouble complex128 complex64 complexfloating csingle double dtype e "
    "euler_gamma exceptions finfo float16 float32 float64 floating generic half iinfo index_exp "
    "inexact inf int16 int32 int64 int8 int_ intc integer intp long longlong nan ndindex newaxis "
    "number pi s_ short signedinteger single ubyte uint uint16 uint32 uint64 uint8 uintc uintp "
    "ulong ulonglong unsignedinteger ushort"
).split()


def _numpys(name: str) -> Callable[..., Any] | None:
    """The function of NumPy memory behind a function of CuPy; None if there is none."""
    return NUMPY.get(name) or getattr(numpy, _RENAMED.get(name, name), None)


def function_named(name: str) -> Any:
    """The value of ``gpugrad.backend.sim.<name>``; AttributeError, with the reason, without one."""
    if name in UFUNCS and hasattr(numpy, name):
        return ufunc_named(name)
    if name in FUNCTIONS and name not in _NOT_IMITATED:
        parameters = FUNCTIONS[name]
        if name in HOST:
            return _host(name, parameters)
        if name in OWN:
            return _own(name, parameters, OWN[name])
        function = _numpys(name)
        if function is not None:
            return delegate(name, parameters, function)
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    if name in _FROM_NUMPY:
        return getattr(numpy, name)
    if name in ("mgrid", "ogrid"):
        return Grid(getattr(numpy, name))
    raise AttributeError(absent(name, "cupy", numpy))


class Grid:
    """``mgrid`` and ``ogrid``: indexed by slices they return arrays of coordinates."""

    def __init__(self, grid: Any) -> None:
        self._grid = grid

    def __getitem__(self, key: Any) -> Any:
        return wrap(self._grid[key], current_id())


def _host(name: str, parameters: str) -> Callable[..., Any]:
    function = getattr(numpy, name)

    def run(*args: Any, **kwargs: Any) -> Any:
        args = tuple(arg._data if isinstance(arg, ndarray) else arg for arg in args)
        return function(*args, **kwargs)

    return dressed(run, name, parameters)


def _own(name: str, parameters: str, implementation: Callable[..., Any]) -> Callable[..., Any]:
    bound = Parameters(name, parameters)

    def run(*args: Any, **kwargs: Any) -> Any:
        for parameter, value in bound(*args, **kwargs).items():
            if isinstance(value, ndarray):
                check_argument(name, parameter, value)
        return implementation(*args, **kwargs)

    run.__doc__ = implementation.__doc__
    return dressed(run, name, parameters)


def absent(name: str, module: str, numpy_module: Any) -> str:
    """The message of the AttributeError for a missing name."""
    names = {"cupy": {*FUNCTIONS, *OTHERS, *UFUNCS}, "cupy.linalg": LINALG, "cupy.fft": FFT}
    if name in names[module]:
        hint = "; gpugrad.random draws the same numbers on every device" if name == "random" else ""
        return f"{module}.{name} exists, but the simulated device does not imitate it{hint}"
    if hasattr(numpy_module, name):
        return f"{module} has no attribute {name!r}, though {numpy_module.__name__} has one"
    return f"{module} has no attribute {name!r}"


def module_of(
    name: str,
    signatures: dict[str, str],
    numpy_module: Any,
    own: dict[str, Callable[..., Any]] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a module of CuPy; ``own`` replaces NumPy's functions."""

    @cache
    def function(public: str) -> Any:
        if public not in signatures:
            raise AttributeError(absent(public, name, numpy_module))
        function = (own or {}).get(public) or getattr(numpy_module, public)
        return delegate(public, signatures[public], function)

    return function, lambda: sorted(signatures)


def names_of() -> list[str]:
    """All names that ``function_named`` knows."""
    ufuncs = {n for n in UFUNCS if hasattr(numpy, n)}
    functions = {n for n in FUNCTIONS if n in OWN or n in HOST or _numpys(n) is not None}
    others = {*_CONSTANTS, *_FROM_NUMPY, "mgrid", "ogrid"}
    return sorted(ufuncs | functions - set(_NOT_IMITATED) | others)
