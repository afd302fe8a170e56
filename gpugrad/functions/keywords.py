"""Keywords of NumPy and PyTorch that a function of gpugrad does not name.

NumPy's own default says nothing, and is dropped. ``dtype``, ``where`` and ``initial`` are applied
here, for all functions at once. Anything else is refused with what to write. Imports manipulation,
operands, type_check and tensor.
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gpugrad.backend.precision import kind_of
from gpugrad.engine.op import TABLE
from gpugrad.errors import ArgumentError, DTypeError, ShapeError
from gpugrad.functions.manipulation import reshape, squeeze
from gpugrad.functions.operands import beside, cast, check_one_device, floating
from gpugrad.functions.type_check import square_size
from gpugrad.tensor import OPS, Tensor, as_tensor
from gpugrad.tensor.hints import KEYWORDS, fits, not_fitting, watched

__all__ = [
    "apply",
    "by_name",
    "explained",
    "freedom",
    "mask_of",
    "masked_mean",
    "masked_variance",
    "open_ended",
    "shaped",
]

Function = Callable[..., Any]

# Keywords with another name here.
RENAMED = {"a_min": "min", "a_max": "max", "newshape": "shape"}
# For reductions the element that changes nothing, and the function that joins a result and an
# ``initial`` one. None: what is joined is the initial one itself.
NEUTRAL: dict[str, Any] = {
    "sum": 0, "prod": 1, "any": False, "all": True, "max": None, "min": None,
    "nansum": 0, "nanprod": 1, "nanmax": None, "nanmin": None,
}  # fmt: skip
JOINS = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}
MOMENTS = ("mean", "var", "std", "nanmean", "nanvar", "nanstd")
# Parameters of NumPy's functions that may stand without a name where those here have others.
MOVED = {
    "assume_unique", "compute_uv", "dtype", "hermitian", "initial", "keepdims", "mode", "order",
    "out", "overwrite_input",
}  # fmt: skip
# Who has one of these is called with the names that other libraries give them.
WATCHED = frozenset({"axes", "axis", "axis1", "dtype", "keepdims", "min"})
# The values that a keyword of NumPy's ufuncs has by itself.
PLAIN = {"casting": "same_kind", "dtype": None, "order": "K", "out": None, "subok": True,
         "where": True}  # fmt: skip


@functools.lru_cache(1024)
def accepted(function: Function) -> Mapping[str, Any] | None:
    """The parameters that can be given by keyword; None for a function that takes any keyword."""
    parameters = inspect.signature(function).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return None
    return {
        name: one
        for name, one in parameters.items()
        if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    }


@functools.lru_cache(1024)  # aliases stay one function
def explained(function: Function, module: str = "gpugrad") -> Function:
    """The function, with `apply` for calls whose keywords are none of its parameters."""
    name = getattr(function, "__name__", "")
    if not inspect.isfunction(function) or "__signature__" in vars(function):
        return function
    code = inspect.unwrap(function).__code__  # a signature takes ten times as long
    last = code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames[code.co_posonlyargcount : last]
    watches = not WATCHED.isdisjoint(names) or f"{name}()" in KEYWORDS
    if code.co_flags & inspect.CO_VARKEYWORDS or not watches:
        return function

    def otherwise(error: TypeError, args: Any, kwargs: Any) -> Any:
        known = accepted(function) or {}
        if kwargs.keys() <= known.keys():
            raise not_fitting(name, error) from None
        return apply(name, function, args, kwargs)

    call = watched(function, otherwise)
    call.__module__ = module
    return call


def by_name(
    theirs: Any, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of NumPy's function, by name where the function here has others in their place.

    ``np.mean(t, 0, "float32")``: NumPy's third is dtype, where that here is keepdims.
    """
    start, names = _others_from(theirs, function)
    if len(args) <= start or len(args) - start > len(names):
        return args, kwargs
    return args[:start], dict(zip(names, args[start:])) | kwargs


@functools.lru_cache(1024)
def _others_from(theirs: Any, function: Function) -> tuple[int, tuple[str, ...]]:
    """The first position of a `MOVED` parameter of NumPy's that is another here, and the names."""
    lists = []
    for one in (theirs, function):
        try:
            parameters = inspect.signature(one).parameters.values()
        except (TypeError, ValueError):  # written in C, without a signature
            return 0, ()
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        lists.append([one.name for one in parameters if one.kind in positional])
        if any(one.kind is one.VAR_POSITIONAL for one in parameters):
            return 0, ()
    names, own = lists
    for position, name in enumerate(names):
        if name in MOVED and own[position : position + 1] != [name]:
            return position, tuple(names[position:])
    return len(names), ()


def attempt(
    name: str, function: Function, args: Any, kwargs: dict[str, Any], theirs: Any, called: str
) -> Any:
    """The call as it stands, which is quick; `apply` where the keywords do not fit."""
    try:
        return function(*args, **kwargs)
    except TypeError as error:
        known = accepted(function)
        if known is None or fits(known.keys(), kwargs, error):
            raise
    return apply(name, function, args, kwargs, theirs, called)


def open_ended(function: Function) -> Function:
    """For a function with ``**more`` that hands it to `apply`: the signature does not show it."""
    whole = inspect.signature(function)
    shown = [one for one in whole.parameters.values() if one.kind is not one.VAR_KEYWORD]
    function.__signature__ = whole.replace(parameters=shown)  # type: ignore[attr-defined]
    return function


def apply(
    name: str,
    function: Function,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    theirs: Any = None,
    called: str = "",
) -> Any:
    """``function(*args, **kwargs)``, of which some keywords are none of the function's.

    ``theirs`` is NumPy's function, by default that of the name; DTypeError for a keyword without a
    meaning here, in which the function is ``called``.
    """
    known = accepted(function)
    if known is None or kwargs.keys() <= known.keys():
        return function(*args, **kwargs)
    kwargs = {
        RENAMED[key] if key not in known and RENAMED.get(key) in known else key: value
        for key, value in kwargs.items()
    }
    if "dim" in kwargs and _is_layer(name, function):
        kwargs = _with_axis(name, known["axis"].default, **kwargs)
    theirs = getattr(np, name, None) if theirs is None else theirs
    more = {
        key: value
        for key, value in kwargs.items()
        if key not in known and not _is_default(theirs, key, value)
    }
    kwargs = {key: value for key, value in kwargs.items() if key in known}
    dtype = more.pop("dtype", None)
    applied = ("initial", "where") if name in NEUTRAL else ("where",) if name in MOMENTS else ()
    reduction = {key: more.pop(key) for key in applied if key in more and args}
    if more:
        raise refused(called or name, function, next(iter(more)))
    if dtype is not None and args and isinstance(args[0], Tensor):
        args = (cast(args[0], dtype), *args[1:])
    if reduction:
        result = _reduced(name, function, args, kwargs, **reduction)
    else:
        result = function(*args, **kwargs)
    return cast(result, dtype) if isinstance(result, Tensor) else result


def _is_layer(name: str, function: Function) -> bool:
    """Whether this is an op of `nn.functional` with an axis, which PyTorch calls ``dim``."""
    return (
        OPS.get(name) is function
        and "nn.functional" in TABLE[name].public
        and "axis" in TABLE[name].parameters
    )


def _with_axis(name: str, default: Any, axis: Any, dim: Any, **kwargs: Any) -> dict[str, Any]:
    """The keywords of an op, of which ``axis`` is ``dim``; ValueError for both."""
    if axis != default:
        raise ArgumentError(f"{name}: axis and dim are the same parameter; pass one of them")
    return kwargs | {"axis": default if dim is None else dim}


def _is_default(theirs: Any, key: str, value: Any) -> bool:
    """Whether this is what NumPy's function takes where the keyword is not given."""
    if isinstance(theirs, np.ufunc):
        return key in PLAIN and (value is PLAIN[key] or value == PLAIN[key])
    if key == "where" and value is True:
        return True
    try:
        parameter = inspect.signature(theirs).parameters.get(key)
    except (TypeError, ValueError):  # written in C, without a signature
        return key in PLAIN and value is PLAIN[key]
    simple = isinstance(value, bool | int | float | str | None)
    return parameter is not None and simple and value == parameter.default


def refused(called: str, function: Function, keyword: str) -> DTypeError:
    """The error for a keyword that the function does not have."""
    instead = KEYWORDS.get(keyword)
    parameters = inspect.signature(function).parameters
    if instead == "axis=" and "axis" not in parameters and "axes" in parameters:
        instead = "axes="
    if instead is None:
        name = called.rpartition(".")[2]
        instead = f"what gg.{name} takes: {', '.join(parameters)}"
    return DTypeError(f"{called}: {keyword}= is not supported for tensors. Write {instead}")


# ---------------------------------------------------------------- where= and initial=


def _reduced(
    name: str,
    function: Function,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    initial: Any = None,
    where: Any = True,
) -> Any:
    """A reduction of the elements where a mask holds, joined with an initial result."""
    x, *rest = args
    x = as_tensor(x)
    mask = None if where is True else mask_of(name, where, x)
    if mask is not None and name.startswith("nan") and kind_of(x.dtype) in "fc":
        x, mask = OPS["where"](mask, x, math.nan), None  # which the function leaves out
    if name in MOMENTS:
        return _moment(name, function, x, rest, kwargs, mask)
    neutral = NEUTRAL[name] if NEUTRAL[name] is not None else initial
    if mask is not None:
        if neutral is None:
            raise ArgumentError(
                f"{name}: with where= no element may be left. Pass initial=, the result of none"
            )
        x = OPS["where"](mask, x, neutral)
    given = inspect.signature(function).bind(x, *rest, **kwargs)
    given.apply_defaults()
    axis, keepdims = given.arguments["axis"], given.arguments["keepdims"]
    joins = JOINS.get(name.removeprefix("nan"))
    if initial is None or joins is None:
        return function(x, *rest, **kwargs)
    if joins in ("maximum", "minimum") and not x.size:
        shape = np.empty(x.shape).sum(axis=axis, keepdims=keepdims).shape
        return OPS["broadcast_to"](beside(initial, x), shape)
    y = function(x, *rest, **kwargs)
    return cast(OPS[joins](y, initial), y.dtype)


def mask_of(name: str, where: Any, x: Tensor) -> Tensor:
    """A mask of the shape of x, or one that broadcasts to it."""
    mask = beside(where, x).detach()
    if mask.dtype != np.bool_:
        raise DTypeError(f"{name}: expected where= to be a mask of dtype bool, got {mask.dtype}")
    check_one_device(name, x, mask)
    try:
        if np.broadcast_shapes(mask.shape, x.shape) == x.shape:
            return OPS["broadcast_to"](mask, x.shape)
    except ValueError:
        pass  # they do not fit, either
    raise ShapeError(f"{name}: where= of shape {mask.shape} does not broadcast to {x.shape}")


def _moment(
    name: str, function: Function, x: Tensor, rest: Any, kwargs: Any, mask: Tensor | None
) -> Tensor:
    if mask is None:
        result: Tensor = function(x, *rest, **kwargs)
        return result
    given = inspect.signature(function).bind(x, *rest, **kwargs).arguments
    axis, keepdims = given.get("axis"), given.get("keepdims", False)
    x = floating(x)
    missing = OPS["logical_not"](mask)
    filled = OPS["where"](mask, x, 0)
    if name.endswith("mean"):
        y = masked_mean(filled, missing, axis)[0]
    else:
        less = freedom(name, given.get("correction", 0), given.get("ddof"))
        y = masked_variance(filled, missing, axis, less)
        y = OPS["root"](y) if name.endswith("std") else y
    return shaped(y, filled, axis, keepdims)


def freedom(name: str, correction: Any, ddof: Any) -> Any:
    """What is subtracted from the count, under either of its names; ArgumentError for two."""
    correction = 0 if correction is None else correction
    if ddof is None or (not isinstance(ddof, Tensor) and ddof == 0):
        return correction
    if isinstance(correction, Tensor) or correction != 0:
        raise ArgumentError(f"{name}: correction and ddof are the same parameter; pass one of them")
    return ddof


def masked_mean(x: Tensor, missing: Tensor, axis: Any) -> tuple[Tensor, Tensor]:
    """The mean of x, which is 0 where elements are missing, and their number; with keepdims."""
    dtype = "float32" if x.dtype.itemsize == 2 else x.dtype.char.lower()  # of complex parts
    n = OPS["sum"](OPS["logical_not"](missing).astype(dtype), axis=axis, keepdims=True)
    wide = x.astype("float32") if x.dtype.itemsize == 2 else x
    total = OPS["sum"](wide, axis=axis, keepdims=True)
    return OPS["where"](n == 0, math.nan, total / OPS["maximum"](n, 1)), n


def masked_variance(x: Tensor, missing: Tensor, axis: Any, freedom: float) -> Tensor:
    """The variance of x, which is 0 where elements are missing; with keepdims."""
    mean, n = masked_mean(x, missing, axis)
    d = OPS["where"](missing, 0, x - mean)
    divisor = OPS["where"](n - freedom > 0, n - freedom, math.nan)
    return OPS["sum"](square_size(d), axis=axis, keepdims=True) / divisor


def shaped(y: Tensor, like: Tensor, axis: Any, keepdims: bool) -> Tensor:
    """A result with keepdims, without them unless they are asked for, in the dtype of ``like``."""
    if not keepdims:
        y = reshape(y, ()) if axis is None else squeeze(y, axis)
    return y if y.dtype == like.dtype or like.dtype.kind == "c" else y.astype(like.dtype)
