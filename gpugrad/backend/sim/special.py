"""Functions that differ in CuPy from NumPy's function of that name.

``OWN`` maps a public name to its implementation, which runs after ``binding.bind`` has checked the
keywords against CuPy's parameter list. Imports binding, core, creation, device and indexing.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy

from gpugrad.backend.sim import creation
from gpugrad.backend.sim.binding import call_numpy
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
from gpugrad.backend.sim.indexing import index_array, wrapped

__all__ = ["HOST", "OWN"]


def _array(value: Any, name: str) -> ndarray:
    if not isinstance(value, ndarray):
        raise unsupported(value, name)
    return value


# Creation


def _making(name: str) -> Callable[..., Any]:
    """A creation function of NumPy, with a check of the dtype, on the current device."""
    function = getattr(numpy, name)

    def make(*args: Any, **kwargs: Any) -> Any:
        result = call_numpy(name, function, args, kwargs)
        if isinstance(result, ndarray):
            check_dtype(result.dtype)
        return result

    return make


def _like(name: str) -> Callable[..., Any]:
    function = getattr(numpy, f"{name}_like")

    def make(a: Any, *args: Any, subok: Any = None, **kwargs: Any) -> Any:
        if subok is not None:
            raise TypeError("subok is not supported yet")
        source = _array(a, f"{name}_like")
        return call_numpy(f"{name}_like", function, (source, *args), kwargs, current_id())

    return make


def _full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> Any:
    if not isinstance(fill_value, (ndarray, *SCALARS, numpy.generic)):
        fill_value = creation.array(fill_value, dtype)
    return call_numpy("full", numpy.full, (shape, fill_value, dtype, order), {})


def _linspace(start: Any, stop: Any, *args: Any, **kwargs: Any) -> Any:
    if isinstance(start, list):
        start = creation.array(start)
    if isinstance(stop, list):
        stop = creation.array(stop)
    return call_numpy("linspace", numpy.linspace, (start, stop, *args), kwargs)


def _ascontiguousarray(a: Any, dtype: Any = None) -> Any:
    return call_numpy("ascontiguousarray", _contiguous("C"), (_array(a, "array"), dtype), {})


def _asfortranarray(a: Any, dtype: Any = None) -> Any:
    return call_numpy("asfortranarray", _contiguous("F"), (_array(a, "array"), dtype), {})


def _contiguous(order: str) -> Callable[..., Any]:
    # Unlike NumPy's ascontiguousarray, CuPy's keeps 0-d arrays 0-d.
    return lambda a, dtype: numpy.asarray(a, dtype, order)  # type: ignore[call-overload]


def _asfarray(a: Any, dtype: Any = float) -> Any:
    dtype = numpy.dtype(dtype)
    return creation.asarray(a, dtype if dtype.kind in "fc" else numpy.dtype(float))


def _copy(a: Any, order: str = "K") -> Any:
    return _array(a, "copy").copy(order=order)


def _from_dlpack(array: Any, *, device: Any = None, copy: bool | None = None) -> Any:
    if isinstance(array, ndarray):
        return array.copy() if copy else array.view()
    if device is None and copy is None:
        raise BufferError(
            f"from_dlpack: {type(array)} is in host memory; use asarray() to copy it to the device"
        )
    on_sync("host to device")
    return creation.new(numpy.array(numpy.from_dlpack(array), copy=True))


# Indexing


_WHERE = SimpleNamespace(name="cupy_where", nin=3)  # in CuPy the function calls a ufunc


def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if (x is None) != (y is None):
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    for value in (condition, x, y):
        override = getattr(value, "__cupy_override_elementwise_kernel__", None)
        if override is not None and x is not None:
            return override(_WHERE, condition.astype("?"), x, y)
    if x is None:
        return _nonzero(_array(condition, "where: condition"))
    if not hasattr(condition, "astype"):  # CuPy calls it; NumPy scalars have it
        raise AttributeError(f"{type(condition).__name__!r} object has no attribute 'astype'")
    if isinstance(condition, numpy.ndarray):
        raise unsupported(condition, "where: condition")
    for value in (x, y):
        if not isinstance(value, (ndarray, *SCALARS, numpy.generic)):
            raise unsupported(value, "where")
    # A ufunc in CuPy, so Python scalars are weak, and two of them have their own dtype.
    return call_numpy("where", numpy.where, (condition.astype("?", copy=False), x, y), {})


def _nonzero(a: Any) -> Any:
    if not _array(a, "nonzero").ndim:
        raise ValueError(
            "Calling nonzero on 0d arrays is not allowed. Use cp.atleast_1d(scalar).nonzero() "
            "instead."
        )
    return call_numpy("nonzero", numpy.nonzero, (a,), {})


def _take(a: Any, indices: Any, axis: int | None = None, out: Any = None) -> Any:
    source = _array(a, "take")
    seen = [source]
    if isinstance(indices, (int, numpy.integer)) and not isinstance(indices, bool):
        index = numpy.asarray(indices)
    else:
        index = index_array(indices, seen)
    data = source._data if source._data.ndim or axis is None else source._data.reshape(1)
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
    target = _array(a, "put")
    indices = ind if isinstance(ind, ndarray) else creation.array(ind)
    values = v if isinstance(v, ndarray) else creation.array(v, target.dtype)
    if mode == "raise":
        on_sync("put")
    call_numpy("put", numpy.put, (target, indices, values.astype(target.dtype)), {"mode": mode})


def _along(arr: ndarray, indices: Any, axis: int | None) -> ndarray:
    """The indices of take_along_axis, wrapped around as in CuPy's kernels."""
    index = _array(indices, "take_along_axis")
    if index.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    size = arr.size if axis is None else arr.shape[axis]
    result: ndarray = wrap(wrapped(index._data, size), index._device)
    return result


def _take_along_axis(a: Any, indices: Any, axis: int | None) -> Any:
    source = _array(a, "take_along_axis")
    index = _along(source, indices, axis)
    return call_numpy("take_along_axis", numpy.take_along_axis, (source, index, axis), {})


def _put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None) -> None:
    target = _array(arr, "put_along_axis")
    index = _along(target, indices, axis)
    if not isinstance(values, (ndarray, *SCALARS, numpy.generic)):
        raise unsupported(values, "put_along_axis")
    call_numpy("put_along_axis", numpy.put_along_axis, (target, index, values, axis), {})


def _choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    picked = choices if isinstance(choices, ndarray) else creation.array(choices)
    if mode == "raise":
        on_sync("choose")
    args = (_array(a, "choose"), picked)
    # Unpacked, so that more than 32 choices work as on CuPy.
    return call_numpy(
        "choose",
        lambda i, c, **kw: numpy.choose(i, list(c), **kw),
        args,
        {"out": out, "mode": mode},
    )


def _compress(condition: Any, a: Any, axis: int | None = None, out: Any = None) -> Any:
    mask = condition if isinstance(condition, ndarray) else creation.array(condition)
    kwargs = {"axis": axis} if out is None else {"axis": axis, "out": out}
    return call_numpy("compress", numpy.compress, (mask, _array(a, "compress")), kwargs)


def _copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    target = _array(dst, "copyto")
    if not isinstance(src, (ndarray, *SCALARS, numpy.generic)):
        raise unsupported(src, "copyto")
    kwargs = {"casting": casting}
    if where is not None:
        kwargs["where"] = where
    call_numpy("copyto", numpy.copyto, (target, src), kwargs)


# Reductions and the like


def _arg_reduction(name: str) -> Callable[..., Any]:
    function = getattr(numpy, name)

    def reduce(
        a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        kwargs = {"axis": axis, "keepdims": keepdims}
        result = call_numpy(name, function, (_array(a, name),), kwargs)
        if dtype is not None:
            result = result.astype(dtype)
        if out is None:
            return result
        out[...] = result
        return out

    return reduce


def _clip(a: Any, a_min: Any, a_max: Any, out: Any = None) -> Any:
    if a_min is None and a_max is None:
        a_min = _array(a, "clip")  # CuPy allows it, and clips nothing
    for bound in (a_min, a_max):
        if bound is not None and not isinstance(bound, (ndarray, *SCALARS, numpy.generic)):
            raise unsupported(bound, "clip")
    kwargs = {} if out is None else {"out": out}
    return call_numpy("clip", numpy.clip, (_array(a, "clip"), a_min, a_max), kwargs)


def _repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    if not isinstance(repeats, (int, numpy.integer)):
        on_sync("repeat")
    return call_numpy("repeat", numpy.repeat, (_array(a, "repeat"), repeats), {"axis": axis})


def _quantile(name: str) -> Callable[..., Any]:
    function = getattr(numpy, name)

    def compute(a: Any, q: Any, *args: Any, interpolation: str | None = None, **kwargs: Any) -> Any:
        if isinstance(q, ndarray):
            on_sync(name)
        if interpolation is not None:
            kwargs["method"] = interpolation
        return call_numpy(name, function, (_array(a, name), q, *args), kwargs)

    return compute


def _average(a: Any, axis: Any = None, weights: Any = None, *args: Any, **kwargs: Any) -> Any:
    source = creation.asarray(a)
    if weights is not None:
        on_sync("average")
        weights = creation.asarray(weights)
    return call_numpy("average", numpy.average, (source, axis, weights, *args), kwargs)


def _bincount(x: Any, weights: Any = None, minlength: int | None = None) -> Any:
    args = (_array(x, "bincount"), weights, minlength or 0)
    return call_numpy("bincount", numpy.bincount, args, {})


def _corrcoef(a: Any, y: Any = None, rowvar: bool = True, *_: Any, dtype: Any = None) -> Any:
    return call_numpy(
        "corrcoef", numpy.corrcoef, (_array(a, "corrcoef"), y, rowvar), {"dtype": dtype}
    )


def _histogram(
    x: Any, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None
) -> Any:
    kwargs = {"bins": bins, "range": range, "density": density, "weights": weights}
    return call_numpy("histogram", numpy.histogram, (_array(x, "histogram"),), kwargs)


def _histogramdd(sample: Any, *args: Any, **kwargs: Any) -> Any:
    for part in sample if isinstance(sample, (list, tuple)) else (sample,):
        _array(part, "histogramdd")
    return call_numpy("histogramdd", numpy.histogramdd, (sample, *args), kwargs)


def _sorting(name: str) -> Callable[..., Any]:
    function = getattr(numpy, name)

    def run(a: Any, axis: int | None = -1, kind: str | None = None) -> Any:
        # CuPy uses radix and merge sorts, which are stable whatever ``kind`` is.
        return call_numpy(name, function, (_array(a, name),), {"axis": axis, "kind": "stable"})

    return run


def _msort(a: Any) -> Any:
    return call_numpy("msort", numpy.sort, (_array(a, "msort"),), {"axis": 0})


def _in1d(ar1: Any, ar2: Any, assume_unique: bool = False, invert: bool = False) -> Any:
    kwargs = {"assume_unique": assume_unique, "invert": invert}
    return call_numpy("in1d", numpy.isin, (_array(ar1, "in1d").ravel(), ar2), kwargs)


def _broadcast_to(array: Any, shape: Any) -> Any:
    return call_numpy(
        "broadcast_to", numpy.broadcast_to, (_array(array, "broadcast_to"), shape), {}
    )


def _einsum(*operands: Any, **kwargs: Any) -> Any:
    extra = set(kwargs) - {"dtype", "optimize"}
    if extra:
        raise TypeError(f"Did not understand the following kwargs: {sorted(extra)}")
    return call_numpy("einsum", numpy.einsum, operands, kwargs)


def _matmul(*args: Any, **kwargs: Any) -> Any:
    for arg in args:
        if not isinstance(arg, ndarray):
            raise unsupported(arg, "matmul")
    return call_numpy("matmul", numpy.matmul, args, kwargs)


def _joining(name: str) -> Callable[..., Any]:
    """concatenate and the like, for which CuPy accepts only a sequence of arrays."""
    function = getattr(numpy, {"row_stack": "vstack"}.get(name, name))

    def join(tup: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(tup, (list, tuple)):
            for part in tup:
                _array(part, name)
        elif not isinstance(tup, ndarray):
            raise TypeError(f"{name}: expected a sequence of arrays, got {type(tup)}")
        if len(args) > 1:
            kwargs["out"] = args[1]
        parts = list(tup) if isinstance(tup, ndarray) else tup
        return call_numpy(name, function, (parts, *args[:1]), kwargs)

    return join


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


def _size(a: Any, axis: int | None = None) -> int:
    source = _array(a, "size")
    return source.size if axis is None else source.shape[axis]


def _byte_bounds(a: Any) -> tuple[int, int]:
    bounds: tuple[int, int] = numpy.lib.array_utils.byte_bounds(_array(a, "byte_bounds")._data)
    return bounds


def _is_available() -> bool:
    return True


def _min_scalar_type(a: Any) -> Any:
    return numpy.min_scalar_type(a._data if isinstance(a, ndarray) else a)


def _put_mask(a: Any, mask: Any, values: Any) -> None:
    call_numpy("putmask", numpy.putmask, (_array(a, "putmask"), mask, values), {})


def _writing(name: str) -> Callable[..., Any]:
    """array_repr and the like, which copy to the host first."""
    function = getattr(numpy, name)

    def write(a: Any, *args: Any, **kwargs: Any) -> Any:
        return function(creation.asnumpy(a), *args, **kwargs)

    return write


def _file_reading(name: str) -> Callable[..., Any]:
    """fromfile and the like: NumPy reads, then the result is copied to the device."""
    function = getattr(numpy, name)

    def read(*args: Any, **kwargs: Any) -> Any:
        return creation.array(function(*args, **kwargs))

    return read


# Functions that CuPy evaluates on the host for all arguments.
HOST = frozenset(
    (
        "base_repr binary_repr broadcast_shapes can_cast common_type get_printoptions isdtype "
        "isscalar issubdtype iterable mintypecode printoptions promote_types set_printoptions "
        "typename format_float_positional format_float_scientific result_type ndim shape "
        "iscomplexobj isrealobj"
    ).split()
)

OWN: dict[str, Callable[..., Any]] = {
    **{n: _making(n) for n in "zeros ones empty eye arange identity tri indices".split()},
    **{f"{n}_like": _like(n) for n in ("zeros", "ones", "empty", "full")},
    **{n: _arg_reduction(n) for n in "argmax argmin nanargmax nanargmin".split()},
    **{
        n: _joining(n)
        for n in "concatenate concat stack hstack vstack dstack row_stack column_stack".split()
    },
    **{n: _writing(n) for n in "array_repr array_str array2string".split()},
    **{
        n: _file_reading(n)
        for n in "frombuffer fromfile fromfunction fromiter fromstring genfromtxt loadtxt".split()
    },
    **{n: _calling(n) for n in "apply_along_axis apply_over_axes mask_indices".split()},
    **{n: _quantile(n) for n in ("percentile", "quantile")},
    **{n: _sorting(n) for n in ("sort", "argsort")},
    "array": creation.array,
    "asanyarray": creation.asarray,
    "asarray": creation.asarray,
    "ascontiguousarray": _ascontiguousarray,
    "asfarray": _asfarray,
    "asfortranarray": _asfortranarray,
    "asnumpy": creation.asnumpy,
    "average": _average,
    "bincount": _bincount,
    "broadcast_to": _broadcast_to,
    "byte_bounds": _byte_bounds,
    "choose": _choose,
    "clip": _clip,
    "compress": _compress,
    "copy": _copy,
    "copyto": _copyto,
    "corrcoef": _corrcoef,
    "einsum": _einsum,
    "from_dlpack": _from_dlpack,
    "full": _full,
    "histogram": _histogram,
    "histogramdd": _histogramdd,
    "in1d": _in1d,
    "is_available": _is_available,
    "linspace": _linspace,
    "matmul": _matmul,
    "min_scalar_type": _min_scalar_type,
    "msort": _msort,
    "nonzero": _nonzero,
    "put": _put,
    "put_along_axis": _put_along_axis,
    "putmask": _put_mask,
    "repeat": _repeat,
    "size": _size,
    "take": _take,
    "take_along_axis": _take_along_axis,
    "where": _where,
}
