"""From a CuPy signature and a NumPy function to a function over simulated arrays.

The call is bound to CuPy's parameter list first, so a keyword that only NumPy has fails as
on CuPy. Imports core, device, signatures.
"""

import inspect
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy

from gpugrad.backend.sim.core import SCALARS, ndarray, raw_of, same_device, unsupported, words, wrap
from gpugrad.backend.sim.device import on_sync

__all__ = ["bind", "call_numpy", "check_argument", "delegate", "dressed"]

_NO_DEFAULT = object()
_WARNING = frozenset(words("mean var std median"))

# Parameters that CuPy reads on the host: an array there would have to be copied back first.
HOST_PARAMETERS = frozenset(
    words(
        "axis axes axis1 axis2 axisa axisb axisc shape newshape new_shape dims dimensions source "
        "destination ndim decimals reps pad_width k N num nin n ddof order dtype keepdims "
        "minlength start mode casting ord offset"
    )
)

# Parameters that stand for an array: CuPy takes no list and no other object there. The
# functions in TAKE_LISTS are the exceptions (seen by calling the real ones with lists).
ARRAY_PARAMETERS = frozenset(
    words(
        "a b x y x1 x2 arr ary m arr1 arr2 ar1 ar2 array z condition a1 a2 element keys "
        "seq_of_zeros filt ar xp fp p v xi M"
    )
)
TAKE_LISTS = frozenset(
    words(
        "append average apply_over_axes around asarray_chkfinite asfarray atleast_1d atleast_2d "
        "atleast_3d angle cross diag diff gradient iscomplex isneginf isposinf isreal "
        "linspace logspace nan_to_num place real imag require resize round round_ tile tril triu "
        "unwrap vander fftshift ifftshift compress shape ndim iscomplexobj isrealobj isclose "
        "allclose array2string array_repr array_str min_scalar_type cond bartlett blackman hamming "
        "hanning kaiser"
    )
)

# Functions that make the host wait, by CuPy's documentation and sources.
SYNCS = frozenset(
    words(
        "nonzero argwhere flatnonzero unique unique_all unique_counts unique_inverse unique_values "
        "union1d intersect1d setdiff1d setxor1d delete extract compress bincount histogram "
        "histogram2d histogramdd place asarray_chkfinite ravel_multi_index mask_indices trim_zeros "
        "tril_indices triu_indices tril_indices_from triu_indices_from nanmax nanmin ix_ roots "
        "poly lstsq array_repr array_str array2string save savez savez_compressed savetxt"
    )
)


# Those for which a 0-d array has no axis.
REDUCTIONS = frozenset(words("sum prod max min amax amin any all argmax argmin count_nonzero"))


def _axes(axis: Any) -> tuple[Any, ...]:
    return axis if isinstance(axis, tuple) else () if axis is None else (axis,)


@cache
def _binder(name: str, parameters: str) -> Callable[..., dict[str, Any]]:
    """A function of that name and parameter list that returns its arguments by name."""
    scope: dict[str, Any] = {"float64": numpy.float64}
    exec(f"def {name}{parameters}:\n    return locals()", scope)
    made: Callable[..., dict[str, Any]] = scope[name]
    return made


def _required_and_defaults(binder: Any) -> tuple[tuple[str, ...], dict[str, Any], bool]:
    """Of a parameter list: those without default, the defaults, and whether it has ``*args``."""
    code = binder.__code__
    last = code.co_argcount
    names = code.co_varnames[:last]
    positional = binder.__defaults__ or ()
    first = last - len(positional)
    defaults = dict(zip(names[first:], positional, strict=True)) | (binder.__kwdefaults__ or {})
    starred = bool(code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS))
    return names[:first], defaults, starred


def bind(name: str, parameters: str) -> Callable[..., dict[str, Any]]:
    """``bind(...)(*args, **kwargs)`` gives the arguments by name, without unchanged defaults.

    Raises TypeError, with CuPy's name of the function, for what CuPy's would not accept.
    """
    whole = _binder(name, parameters)
    _, defaults, _ = _required_and_defaults(whole)

    def bound(*args: Any, **kwargs: Any) -> dict[str, Any]:
        named = whole(*args, **kwargs)
        # By identity: an array as an argument must not be compared with anything.
        return {k: v for k, v in named.items() if v is not defaults.get(k, _NO_DEFAULT)}

    return bound


def call_numpy(
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    device: int | None = None,
) -> Any:
    """Run a NumPy function on the memory behind the arguments and wrap what it returns."""
    seen: list[ndarray] = []
    raw_args = [raw_of(arg, seen, name) for arg in args]
    raw_kwargs = {key: raw_of(value, seen, name) for key, value in kwargs.items()}
    place = same_device(seen, name) if device is None else device
    if name in SYNCS:
        on_sync(name)
    if name in REDUCTIONS and numpy.ndim(raw_args[0]) == 0:
        for axis in _axes(raw_kwargs.get("axis")):  # NumPy lets 0 and -1 pass
            raise numpy.exceptions.AxisError(axis, 0)
    with numpy.errstate(all="ignore"):
        if name.startswith("nan") or name in _WARNING:
            # NumPy warns of empty slices, CuPy gives NaN without a word.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                result = function(*raw_args, **raw_kwargs)
        else:
            result = function(*raw_args, **raw_kwargs)
    if type(result) is bool and name in ("allclose", "array_equal", "array_equiv"):
        result = numpy.bool(result)
    elif type(result) is int and name in ("count_nonzero", "matrix_rank"):
        result = numpy.int64(result)
    return wrap(result, place, seen)


def check_argument(name: str, parameter: str, value: Any) -> None:
    """Refuse what CuPy would not take for this parameter (TypeError)."""
    if parameter in HOST_PARAMETERS:
        inside = value if isinstance(value, (tuple, list)) else (value,)
        if any(isinstance(item, ndarray) for item in inside):
            raise TypeError(
                f"{name}: {parameter} is an array on the device, and 'ndarray' object cannot be "
                "interpreted as an integer; use .item() if the host may wait for it"
            )
    elif parameter in ARRAY_PARAMETERS and name not in TAKE_LISTS:
        taken = (ndarray, *SCALARS, numpy.generic) if name in TAKE_SCALARS else ndarray
        if not isinstance(value, taken):
            raise unsupported(value, name)


# Functions whose array parameters may be scalars.
TAKE_SCALARS = frozenset(words("where interp outer polyval searchsorted"))


def delegate(name: str, parameters: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of CuPy's name and parameter list that NumPy's ``function`` computes.

    Parameters without default are passed by position, the others by name and only where the
    call changes them; so the two libraries may differ in names and order of the required ones.
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
    """``run`` with the name, signature and a docstring of the CuPy function it stands for."""
    run.__name__ = run.__qualname__ = name
    run.__module__ = "gpugrad.backend.sim"
    run.__doc__ = run.__doc__ or f"``cupy.{name}{parameters}`` over simulated arrays."
    run.__wrapped__ = _binder(name, parameters)  # type: ignore[attr-defined]  # for inspect
    return run
