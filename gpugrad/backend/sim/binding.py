"""Functions over simulated arrays, from a CuPy signature and a NumPy function.

A call is first bound to CuPy's parameter list, so a keyword that only NumPy has fails as on CuPy.
Imports core and device.
"""

import inspect
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy

from gpugrad.backend.sim.core import SCALARS, ndarray, raw_of, same_device, unsupported, wrap
from gpugrad.backend.sim.device import on_sync

__all__ = ["bind", "call_numpy", "check_argument", "delegate", "dressed"]

_NO_DEFAULT = object()
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
        "seq_of_zeros filt ar xp fp p v xi M"
    ).split()
)
TAKE_LISTS = frozenset(
    (
        "append average apply_over_axes around asarray_chkfinite asfarray atleast_1d atleast_2d "
        "atleast_3d angle cross diag diff gradient iscomplex isneginf isposinf isreal "
        "linspace logspace nan_to_num place real imag require resize round round_ tile tril triu "
        "unwrap vander fftshift ifftshift compress shape ndim iscomplexobj isrealobj isclose "
        "allclose array2string array_repr array_str min_scalar_type cond bartlett blackman hamming "
        "hanning kaiser"
    ).split()
)

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


# Functions that refuse every axis of a 0-d array.
REDUCTIONS = frozenset("sum prod max min amax amin any all argmax argmin count_nonzero".split())


def _axes(axis: Any) -> tuple[Any, ...]:
    return axis if isinstance(axis, tuple) else () if axis is None else (axis,)


@cache
def _binder(name: str, parameters: str) -> Callable[..., dict[str, Any]]:
    """A function of that name and parameter list that returns its arguments by name."""
    scope: dict[str, Any] = {"float64": numpy.float64}
    exec(f"def {name}{parameters}:\n    return locals()", scope)
    binder: Callable[..., dict[str, Any]] = scope[name]
    return binder


def _required_and_defaults(binder: Any) -> tuple[tuple[str, ...], dict[str, Any], bool]:
    """The parameters without default, the defaults, and whether there is ``*args``."""
    code = binder.__code__
    last = code.co_argcount
    names = code.co_varnames[:last]
    positional = binder.__defaults__ or ()
    first = last - len(positional)
    defaults = dict(zip(names[first:], positional, strict=True)) | (binder.__kwdefaults__ or {})
    starred = bool(code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS))
    return names[:first], defaults, starred


def bind(name: str, parameters: str) -> Callable[..., dict[str, Any]]:
    """``bind(...)(*args, **kwargs)`` returns the arguments by name, without default values.

    TypeError, with the name of CuPy's function, for arguments that CuPy refuses.
    """
    whole = _binder(name, parameters)
    _, defaults, _ = _required_and_defaults(whole)

    def bound(*args: Any, **kwargs: Any) -> dict[str, Any]:
        named = whole(*args, **kwargs)
        # By identity, since comparing an array gives an array.
        return {k: v for k, v in named.items() if v is not defaults.get(k, _NO_DEFAULT)}

    return bound


def call_numpy(
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    device: int | None = None,
) -> Any:
    """Run a NumPy function on the memory of the arguments, and wrap its result."""
    seen: list[ndarray] = []
    raw_args = [raw_of(arg, seen, name) for arg in args]
    raw_kwargs = {key: raw_of(value, seen, name) for key, value in kwargs.items()}
    result_device = same_device(seen, name) if device is None else device
    if name in SYNCS:
        on_sync(name)
    if name in REDUCTIONS and numpy.ndim(raw_args[0]) == 0:
        for axis in _axes(raw_kwargs.get("axis")):  # NumPy accepts 0 and -1
            raise numpy.exceptions.AxisError(axis, 0)
    with numpy.errstate(all="ignore"):
        if name.startswith("nan") or name in _WARNING:
            # NumPy warns of empty slices, CuPy returns NaN without a warning.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                result = function(*raw_args, **raw_kwargs)
        else:
            result = function(*raw_args, **raw_kwargs)
    if type(result) is bool and name in ("allclose", "array_equal", "array_equiv"):
        result = numpy.bool(result)
    elif type(result) is int and name in ("count_nonzero", "matrix_rank"):
        result = numpy.int64(result)
    return wrap(result, result_device, seen)


def check_argument(name: str, parameter: str, value: Any) -> None:
    """TypeError for a value that CuPy refuses for this parameter."""
    if parameter in HOST_PARAMETERS:
        items = value if isinstance(value, (tuple, list)) else (value,)
        if any(isinstance(item, ndarray) for item in items):
            raise TypeError(
                f"{name}: {parameter} is an array on the device, and 'ndarray' object cannot be "
                "interpreted as an integer; use .item() if the host may wait for it"
            )
    elif parameter in ARRAY_PARAMETERS and name not in TAKE_LISTS:
        accepted = (ndarray, *SCALARS, numpy.generic) if name in TAKE_SCALARS else ndarray
        if not isinstance(value, accepted):
            raise unsupported(value, name)


# Functions whose array parameters may be scalars.
TAKE_SCALARS = frozenset("where interp outer polyval searchsorted".split())


def delegate(name: str, parameters: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function with the name and parameters of CuPy's, computed by NumPy's ``function``.

    Parameters without default are passed by position, others by name and only if given. So the
    libraries may differ in the names of required parameters.
    """
    required, _, starred = _required_and_defaults(_binder(name, parameters))
    bound = bind(name, parameters)

    if starred:

        def run(*args: Any, **kwargs: Any) -> Any:
            for parameter, value in bound(*args, **kwargs).items():
                for item in value if isinstance(value, tuple) else (value,):
                    check_argument(name, parameter, item)
            return call_numpy(name, function, args, kwargs)

    else:

        def run(*args: Any, **kwargs: Any) -> Any:
            named = bound(*args, **kwargs)
            for parameter, value in named.items():
                check_argument(name, parameter, value)
            leading = tuple(named.pop(parameter) for parameter in required)
            return call_numpy(name, function, leading, named)

    return dressed(run, name, parameters)


def dressed(run: Callable[..., Any], name: str, parameters: str) -> Callable[..., Any]:
    """``run`` with the name, signature and docstring of the CuPy function that it imitates."""
    run.__name__ = run.__qualname__ = name
    run.__module__ = "gpugrad.backend.sim"
    run.__doc__ = run.__doc__ or f"``cupy.{name}{parameters}`` over simulated arrays."
    run.__wrapped__ = _binder(name, parameters)  # type: ignore[attr-defined]  # for inspect
    return run
