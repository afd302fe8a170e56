"""Functions over simulated arrays, from a CuPy signature and a NumPy function.

A call is first bound to CuPy's parameter list, so a keyword that only NumPy has fails as on CuPy.
The tables say which arguments CuPy refuses or converts, and when it waits. Imports core, creation
and device.
"""

import contextlib
import inspect
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy

from gpugrad.backend.sim import creation
from gpugrad.backend.sim.core import (
    SCALARS,
    check_dtype,
    ndarray,
    raw_of,
    same_device,
    unsupported,
    wrap,
)
from gpugrad.backend.sim.device import current_id, on_sync

__all__ = ["Parameters", "call_numpy", "check_argument", "delegate", "dressed"]

_NO_DEFAULT = object()
_NUMBERS = (ndarray, *SCALARS, numpy.generic)
_WARNING = frozenset("mean var std median".split())

# Parameters that CuPy reads on the host, so that an array on the device is refused.
HOST_PARAMETERS = frozenset(
    (
        "axis axes axis1 axis2 axisa axisb axisc shape newshape new_shape dims dimensions source "
        "destination ndim decimals reps pad_width k N num nin n ddof order dtype keepdims "
        "minlength start mode casting ord offset"
    ).split()
)

# Parameters that are arrays: CuPy refuses lists and other objects, except in the functions of
# TAKE_LISTS (found by calling CuPy with lists).
ARRAY_PARAMETERS = frozenset(
    (
        "a b x y x1 x2 arr ary m arr1 arr2 ar1 ar2 array z condition a1 a2 element keys "
        "seq_of_zeros filt ar xp fp p v xi M prototype dst"
    ).split()
)
TAKE_LISTS = frozenset(
    (
        "append apply_over_axes around asarray_chkfinite asfarray atleast_1d atleast_2d "
        "atleast_3d angle cross diag diff gradient iscomplex isneginf isposinf isreal "
        "logspace nan_to_num place real imag require resize round round_ tile tril triu "
        "unwrap vander fftshift ifftshift shape ndim iscomplexobj isrealobj isclose "
        "allclose array2string array_repr array_str min_scalar_type cond bartlett blackman hamming "
        "hanning kaiser eye tri"
    ).split()
)
# Further parameters that are arrays, by function.
MORE_ARRAYS = {"matmul": ("args",), "put_along_axis": ("indices",), "take_along_axis": ("indices",)}
# Parameters that are sequences of arrays, or one array.
SEQUENCES = frozenset(("tup", "sample"))
# Functions whose array parameters may be numbers, and such parameters of other functions.
TAKE_NUMBERS = frozenset("where interp outer polyval searchsorted".split())
OPERANDS = {"clip": ("a_min", "a_max"), "copyto": ("src",), "put_along_axis": ("values",)}
# Parameters whose lists and NumPy arrays CuPy copies to the device.
CONVERTED = {
    "average": ("a", "weights"),
    "choose": ("choices",),
    "compress": ("condition",),
    "full": ("fill_value",),
}

# Functions in which the host waits, by the documentation and source of CuPy.
SYNCS = frozenset(
    (
        "nonzero argwhere flatnonzero unique unique_all unique_counts unique_inverse unique_values "
        "union1d intersect1d setdiff1d setxor1d delete extract compress bincount histogram "
        "histogram2d histogramdd place asarray_chkfinite ravel_multi_index mask_indices trim_zeros "
        "tril_indices triu_indices tril_indices_from triu_indices_from nanmax nanmin ix_ roots "
        "poly lstsq array_repr array_str array2string save savez savez_compressed savetxt"
    ).split()
)
# Functions in which it waits for some arguments.
SYNCS_IF: dict[str, Callable[[dict[str, Any]], bool]] = {
    "average": lambda arguments: arguments.get("weights") is not None,
    "choose": lambda arguments: arguments.get("mode", "raise") == "raise",
    "percentile": lambda arguments: isinstance(arguments["q"], ndarray),
    "quantile": lambda arguments: isinstance(arguments["q"], ndarray),
    "repeat": lambda arguments: not isinstance(arguments["repeats"], (int, numpy.integer)),
}

# Functions that refuse every axis of a 0-d array.
REDUCTIONS = frozenset(
    "sum prod max min amax amin any all argmax argmin count_nonzero cumsum cumprod".split()
)

# Functions whose result is on the current device, not on that of their operands.
CREATING = frozenset(("copy", "zeros_like", "ones_like", "empty_like", "full_like"))


@cache
class Parameters:
    """A parameter list of CuPy. Called with arguments it returns them by name, without defaults.

    TypeError, with the name of CuPy's function, for arguments that CuPy refuses. ``required`` are
    the names of those without default, ``starred`` says whether there is ``*args``.
    """

    def __init__(self, name: str, parameters: str) -> None:
        scope: dict[str, Any] = {"float64": numpy.float64}
        exec(f"def {name}{parameters}:\n    return locals()", scope)
        self.function: Callable[..., dict[str, Any]] = scope[name]
        listed = inspect.signature(self.function).parameters.values()
        starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        self.starred = any(one.kind in starred for one in listed)
        plain = [one for one in listed if one.kind not in starred]
        self.required = [one.name for one in plain if one.default is one.empty]
        self._defaults = {one.name: one.default for one in plain if one.default is not one.empty}

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        named, defaults = self.function(*args, **kwargs), self._defaults
        # By identity, since comparing an array gives an array.
        return {k: v for k, v in named.items() if v is not defaults.get(k, _NO_DEFAULT)}


def call_numpy(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Run a NumPy function on the memory of the arguments, and wrap its result."""
    seen: list[ndarray] = []
    raw_args = [raw_of(arg, seen, name) for arg in args]
    raw_kwargs = {key: raw_of(value, seen, name) for key, value in kwargs.items()}
    device = current_id() if name in CREATING else same_device(seen, name)
    if name in SYNCS:
        on_sync(name)
    if name in REDUCTIONS and numpy.ndim(raw_args[0]) == 0:
        axis = raw_kwargs.get("axis")
        for one in axis if isinstance(axis, tuple) else () if axis is None else (axis,):
            raise numpy.exceptions.AxisError(one, 0)  # NumPy accepts 0 and -1
    with numpy.errstate(all="ignore"), _quiet(name):
        result = function(*raw_args, **raw_kwargs)
    if type(result) is bool and name in ("allclose", "array_equal", "array_equiv"):
        result = numpy.bool(result)
    elif type(result) is int and name in ("count_nonzero", "matrix_rank"):
        result = numpy.int64(result)
    elif isinstance(result, numpy.ndarray):
        check_dtype(result.dtype)
    return wrap(result, device, seen)


def _quiet(name: str) -> contextlib.AbstractContextManager[Any]:
    # NumPy warns of empty slices, CuPy returns NaN without a warning.
    if name.startswith("nan") or name in _WARNING:
        return warnings.catch_warnings(action="ignore", category=RuntimeWarning)
    return contextlib.nullcontext()


def check_argument(name: str, parameter: str, value: Any) -> None:
    """TypeError for a value that CuPy refuses for this parameter."""
    if parameter in HOST_PARAMETERS:
        items = value if isinstance(value, (tuple, list)) else (value,)
        if any(isinstance(item, ndarray) for item in items):
            raise TypeError(
                f"{name}: {parameter} is an array on the device, and 'ndarray' object cannot be "
                "interpreted as an integer; use .item() if the host may wait for it"
            )
        return
    items = (value,)
    if parameter in SEQUENCES:
        if not isinstance(value, (list, tuple, ndarray)):
            raise TypeError(f"{name}: expected a sequence of arrays, got {type(value)}")
        items = value if isinstance(value, (list, tuple)) else items
    for item in items:
        if not isinstance(item, _accepted(name, parameter)):
            raise unsupported(item, name)


@cache
def _accepted(name: str, parameter: str) -> Any:
    """The types that CuPy accepts for a parameter of a function."""
    if parameter in CONVERTED.get(name, ()):
        return object
    if parameter in OPERANDS.get(name, ()):
        return (*_NUMBERS, type(None))
    if parameter in SEQUENCES or parameter in MORE_ARRAYS.get(name, ()):
        return ndarray
    if parameter in ARRAY_PARAMETERS and name not in TAKE_LISTS:
        return _NUMBERS if name in TAKE_NUMBERS else ndarray
    return object


def delegate(name: str, parameters: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function with the name and parameters of CuPy's, computed by NumPy's ``function``.

    Parameters without default are passed by position, others by name and only if given. So the
    libraries may differ in the names of required parameters.
    """
    bound = Parameters(name, parameters)
    converted = CONVERTED.get(name, ())
    syncs = SYNCS_IF.get(name, lambda arguments: False)

    def run_starred(*args: Any, **kwargs: Any) -> Any:
        for parameter, value in bound(*args, **kwargs).items():
            for item in value if isinstance(value, tuple) else (value,):
                check_argument(name, parameter, item)
        return call_numpy(name, function, args, kwargs)

    def run(*args: Any, **kwargs: Any) -> Any:
        named = bound(*args, **kwargs)
        for parameter, value in named.items():
            check_argument(name, parameter, value)
            if parameter in converted and not isinstance(value, (*_NUMBERS, type(None))):
                named[parameter] = creation.array(value)
        if syncs(named):
            on_sync(name)
        leading = tuple(named.pop(parameter) for parameter in bound.required)
        return call_numpy(name, function, leading, named)

    return dressed(run_starred if bound.starred else run, name, parameters)


def dressed(run: Callable[..., Any], name: str, parameters: str) -> Callable[..., Any]:
    """``run`` with the name, signature and docstring of the CuPy function that it imitates."""
    run.__name__ = run.__qualname__ = name
    run.__module__ = "gpugrad.backend.sim"
    run.__doc__ = run.__doc__ or f"``cupy.{name}{parameters}`` over simulated arrays."
    run.__wrapped__ = Parameters(name, parameters).function  # type: ignore[attr-defined]  # for inspect
    return run
