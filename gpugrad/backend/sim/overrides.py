"""Functions that differ in CuPy from NumPy's function of that name.

``NUMPY`` maps a public name to a function of NumPy memory, for `binding.delegate`, which checks the
arguments. ``OWN`` maps a name to a function of simulated arrays, for what depends on where an
argument lives. Imports binding, core, creation, device, indexing and sums.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy

from gpugrad.backend.sim import creation
from gpugrad.backend.sim.binding import call_numpy
from gpugrad.backend.sim.core import SCALARS, ndarray, raw_of, same_device, unsupported, wrap
from gpugrad.backend.sim.device import on_sync
from gpugrad.backend.sim.indexing import index_array, wrapped
from gpugrad.backend.sums import (
    careful_cumsum,
    careful_einsum,
    careful_matmul,
    careful_sum,
)

__all__ = ["HOST", "NUMPY", "OWN"]


# ---------------------------------------------------------------- functions of NumPy memory


def _like(name: str) -> Callable[..., Any]:
    function = getattr(numpy, name)

    def make(a: Any, *args: Any, subok: Any = None, **kwargs: Any) -> Any:
        if subok is not None:
            raise TypeError("subok is not supported yet")
        return function(a, *args, **kwargs)

    return make


def _nonzero(a: Any) -> Any:
    if not a.ndim:
        raise ValueError(
            "Calling nonzero on 0d arrays is not allowed. Use cp.atleast_1d(scalar).nonzero() "
            "instead."
        )
    return numpy.nonzero(a)


def _along(name: str) -> Callable[..., Any]:
    """take_along_axis and put_along_axis, whose indices wrap around as in CuPy's kernels."""
    function = getattr(numpy, name)

    def run(arr: Any, indices: Any, *args: Any) -> Any:
        if indices.dtype.kind not in "iu":
            raise IndexError("`indices` must be an integer array")
        axis = args[-1]
        index = wrapped(indices, arr.size if axis is None else arr.shape[axis])
        return function(arr, index, *args)

    return run


def _choose(a: Any, choices: Any, **kwargs: Any) -> Any:
    # Unpacked, so that more than 32 choices work as on CuPy.
    return numpy.choose(a, list(choices), **kwargs)


def _arg_reduction(name: str) -> Callable[..., Any]:
    function = getattr(numpy, name)

    def reduce(
        a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        result = numpy.asarray(function(a, axis=axis, keepdims=keepdims))
        if dtype is not None:
            result = result.astype(dtype)
        if out is None:
            return result
        out[...] = result
        return out

    return reduce


def _clip(a: Any, a_min: Any, a_max: Any, out: Any = None) -> Any:
    # CuPy allows two times None, and clips nothing.
    return numpy.clip(a, a if a_min is a_max is None else a_min, a_max, out)


def _quantile(name: str) -> Callable[..., Any]:
    function = getattr(numpy, name)

    def compute(a: Any, q: Any, *, interpolation: str | None = None, **kwargs: Any) -> Any:
        if interpolation is not None:
            kwargs["method"] = interpolation
        return function(a, q, **kwargs)

    return compute


def _corrcoef(
    a: Any, y: Any = None, rowvar: bool = True, bias: Any = None, ddof: Any = None, **kwargs: Any
) -> Any:
    return numpy.corrcoef(a, y, rowvar, **kwargs)  # which has no bias and ddof


def _sorting(name: str) -> Callable[..., Any]:
    # CuPy uses radix and merge sorts, which are stable whatever ``kind`` is.
    function = getattr(numpy, name)
    return lambda a, axis=-1, kind=None: function(a, axis=axis, kind="stable")


def _einsum(*operands: Any, **kwargs: Any) -> Any:
    extra = set(kwargs) - {"dtype", "optimize"}
    if extra:
        raise TypeError(f"Did not understand the following kwargs: {sorted(extra)}")
    if isinstance(operands[0], str) and "dtype" not in kwargs:
        return careful_einsum(*operands, **kwargs)
    return numpy.einsum(*operands, **kwargs)


def _matmul(*operands: Any, **kwargs: Any) -> Any:
    if kwargs or len(operands) != 2:
        return numpy.matmul(*operands, **kwargs)
    return careful_matmul(*operands)  # cuBLAS adds in blocks


def _cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    if dtype is not None or out is not None:
        return numpy.cumsum(a, axis, dtype, out)
    return careful_cumsum(a, axis)  # a GPU adds in blocks


def _sum(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    if dtype is not None or out is not None:
        return numpy.sum(a, axis, dtype, out, keepdims)
    return careful_sum(a, axis, keepdims)  # a GPU adds in blocks, and float16 in float32


NUMPY: dict[str, Callable[..., Any]] = {
    **{n: _like(n) for n in ("zeros_like", "ones_like", "empty_like", "full_like")},
    **{n: _along(n) for n in ("take_along_axis", "put_along_axis")},
    **{n: _arg_reduction(n) for n in ("argmax", "argmin", "nanargmax", "nanargmin")},
    **{n: _quantile(n) for n in ("percentile", "quantile")},
    **{n: _sorting(n) for n in ("sort", "argsort")},
    # Unlike NumPy's ascontiguousarray, CuPy's keeps 0-d arrays 0-d.
    "ascontiguousarray": lambda a, dtype=None: numpy.asarray(a, dtype, "C"),
    "asfortranarray": lambda a, dtype=None: numpy.asarray(a, dtype, "F"),
    "byte_bounds": numpy.lib.array_utils.byte_bounds,
    "choose": _choose,
    "clip": _clip,
    "corrcoef": _corrcoef,
    "cumsum": _cumsum,
    "einsum": _einsum,
    "in1d": lambda ar1, ar2, **kwargs: numpy.isin(ar1.ravel(), ar2, **kwargs),
    "matmul": _matmul,
    "msort": lambda a: numpy.sort(a, axis=0),
    "nonzero": _nonzero,
    "sum": _sum,
}


# ---------------------------------------------------------------- functions of simulated arrays


def _array(value: Any, name: str) -> ndarray:
    if not isinstance(value, ndarray):
        raise unsupported(value, name)
    return value


def _calling(name: str) -> Callable[..., Any]:
    """A function that calls a function of the user, which gets and returns simulated arrays."""
    function = getattr(numpy, name)

    def run(*args: Any, **kwargs: Any) -> Any:
        device = same_device([arg for arg in args if isinstance(arg, ndarray)], name)

        def on_device(call: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *raws, **options: raw_of(call(*wrap(raws, device), **options), [], name)

        args = tuple(on_device(arg) if callable(arg) else arg for arg in args)
        return call_numpy(name, function, args, kwargs)

    return run


def _writing(name: str) -> Callable[..., Any]:
    """array_repr and the like, which copy to the host first."""
    function = getattr(numpy, name)
    return lambda a, *args, **kwargs: function(creation.asnumpy(a), *args, **kwargs)


def _file_reading(name: str) -> Callable[..., Any]:
    """fromfile and the like: NumPy reads, then the result is copied to the device."""
    function = getattr(numpy, name)
    return lambda *args, **kwargs: creation.array(function(*args, **kwargs))


def _linspace(start: Any, stop: Any, *args: Any, **kwargs: Any) -> Any:
    start, stop = (creation.array(x) if isinstance(x, list) else x for x in (start, stop))
    return call_numpy("linspace", numpy.linspace, (start, stop, *args), kwargs)


def _asfarray(a: Any, dtype: Any = float) -> Any:
    dtype = numpy.dtype(dtype)
    return creation.asarray(a, dtype if dtype.kind in "fc" else numpy.dtype(float))


def _from_dlpack(array: Any, *, device: Any = None, copy: bool | None = None) -> Any:
    if isinstance(array, ndarray):
        return array.copy() if copy else array.view()
    if device is None and copy is None:
        raise BufferError(
            f"from_dlpack: {type(array)} is in host memory; use asarray() to copy it to the device"
        )
    on_sync("host to device")
    return creation.new(numpy.array(numpy.from_dlpack(array), copy=True))


_WHERE = SimpleNamespace(name="cupy_where", nin=3)  # in CuPy the function calls a ufunc


def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if (x is None) != (y is None):
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    for value in (condition, x, y):
        override = getattr(value, "__cupy_override_elementwise_kernel__", None)
        if override is not None and x is not None:
            return override(_WHERE, condition.astype("?"), x, y)
    if x is None:
        return call_numpy("nonzero", _nonzero, (_array(condition, "where: condition"),), {})
    if not hasattr(condition, "astype"):  # CuPy calls it; NumPy scalars have it
        raise AttributeError(f"{type(condition).__name__!r} object has no attribute 'astype'")
    if isinstance(condition, numpy.ndarray):
        raise unsupported(condition, "where: condition")
    for value in (x, y):
        if not isinstance(value, (ndarray, *SCALARS, numpy.generic)):
            raise unsupported(value, "where")
    # A ufunc in CuPy, so Python scalars are weak, and two of them have their own dtype.
    return call_numpy("where", numpy.where, (condition.astype("?", copy=False), x, y), {})


def _take(a: Any, indices: Any, axis: int | None = None, out: Any = None) -> Any:
    seen = [_array(a, "take")]
    if isinstance(indices, (int, numpy.integer)) and not isinstance(indices, bool):
        index = numpy.asarray(indices)
    else:
        index = index_array(indices, seen)
    data = a._data if a._data.ndim or axis is None else a._data.reshape(1)
    if axis is not None and not -data.ndim <= axis < data.ndim:
        raise numpy.exceptions.AxisError(axis, data.ndim)
    index = wrapped(index, data.size if axis is None else data.shape[axis])
    if out is not None:
        seen.append(_array(out, "take: out"))
    device = same_device(seen, "take")
    result = numpy.take(data, index, axis)
    if out is None:
        return wrap(result, device)
    if out.shape != numpy.shape(result):
        raise ValueError("Output shape mismatch")
    out._data[...] = result
    return out


def _put(a: Any, ind: Any, v: Any, mode: str = "wrap") -> None:
    dtype = _array(a, "put").dtype
    if mode == "raise":
        on_sync("put")
    indices = ind if isinstance(ind, ndarray) else creation.array(ind)
    values = v if isinstance(v, ndarray) else creation.array(v, dtype)
    call_numpy("put", numpy.put, (a, indices, values.astype(dtype)), {"mode": mode})


# Functions that CuPy evaluates on the host for all arguments.
HOST = frozenset(
    (
        "base_repr binary_repr broadcast_shapes can_cast common_type get_printoptions isdtype "
        "isscalar issubdtype iterable min_scalar_type mintypecode printoptions promote_types "
        "set_printoptions typename format_float_positional format_float_scientific result_type "
        "ndim shape iscomplexobj isrealobj"
    ).split()
)

_READING = "frombuffer fromfile fromfunction fromiter fromstring genfromtxt loadtxt"

OWN: dict[str, Callable[..., Any]] = {
    **{n: _calling(n) for n in ("apply_along_axis", "apply_over_axes", "mask_indices")},
    **{n: _writing(n) for n in ("array_repr", "array_str", "array2string")},
    **{n: _file_reading(n) for n in _READING.split()},
    "array": creation.array,
    "asanyarray": creation.asarray,
    "asarray": creation.asarray,
    "asfarray": _asfarray,
    "asnumpy": creation.asnumpy,
    "from_dlpack": _from_dlpack,
    "is_available": lambda: True,
    "linspace": _linspace,
    "put": _put,
    "take": _take,
    "where": _where,
}
