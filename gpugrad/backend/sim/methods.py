"""Operators and methods of the array.

Imports operators and, of sim, binding, core, creation, device and ufunc.

An operator defers to its right operand by the rules of CuPy 14 (``_should_use_rop`` in
cupy/_core/core.pyx).
"""

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy

from gpugrad.backend.operators import BINARY, COMPARISONS, UNARY
from gpugrad.backend.sim.binding import Parameters, call_numpy, check_argument, dressed
from gpugrad.backend.sim.core import SCALARS, check_dtype, ndarray, unsupported, wrap
from gpugrad.backend.sim.creation import array
from gpugrad.backend.sim.device import current_id, on_sync
from gpugrad.backend.sim.signatures import METHODS
from gpugrad.backend.sim.ufunc import ufunc, ufunc_named

_ABSENT = object()
_PLAIN = (*SCALARS, numpy.generic)


def _namespace() -> Any:
    """The package, whose functions the methods call."""
    return sys.modules["gpugrad.backend.sim"]


def _right_decides(left: Any, right: Any) -> bool:
    """Whether the reflected operator of the right operand runs."""
    protocol = getattr(right, "__array_ufunc__", _ABSENT)
    if protocol is not _ABSENT:
        return protocol is None
    return bool(left.__array_priority__ < getattr(right, "__array_priority__", 0))


def _by_numpy(function: Any, *operands: Any) -> Any:
    """NumPy's function, which asks the protocols of an operand of another type."""
    for operand in operands:
        if isinstance(operand, (list, tuple, numpy.ndarray)):
            raise unsupported(operand)
    return function(*operands)


def _binary(function: Any, numpy_function: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(self: ndarray, other: Any) -> Any:
        if isinstance(other, (ndarray, *_PLAIN)):
            return function(self, other)
        if _right_decides(self, other):
            return NotImplemented
        return _by_numpy(numpy_function, self, other)

    def reflected(self: ndarray, other: Any) -> Any:
        if isinstance(other, _PLAIN):
            return function(other, self)
        return _by_numpy(numpy_function, other, self)

    return forward, reflected


def _comparison(function: ufunc, numpy_function: Any, otherwise: bool | None) -> Any:
    def compare(self: ndarray, other: Any) -> Any:
        if isinstance(other, (ndarray, *_PLAIN)):
            return function(self, other)
        if _right_decides(self, other):
            return NotImplemented
        if isinstance(other, numpy.ndarray) and other.ndim == 0:
            return function(self, other.item())
        equality: Any = type(other).__eq__
        if otherwise is not None and (other is None or equality is object.__eq__):
            # No element equals such an object.
            return wrap(numpy.full(self.shape, otherwise), self._device)
        return _by_numpy(numpy_function, self, other)

    return compare


_OBJECTS = {"equal": False, "not_equal": True}  # what comparisons with other objects give


def _bind_operators() -> None:
    for symbol, name in BINARY.items():
        function = ufunc_named(name)
        forward, reflected = _binary(function, getattr(numpy, name))
        setattr(ndarray, f"__{symbol}__", forward)
        setattr(ndarray, f"__r{symbol}__", reflected)
        if symbol != "divmod":
            update = lambda self, other, run=function: run(self, other, self)  # noqa: E731
            setattr(ndarray, f"__i{symbol}__", update)
    for symbol, name in COMPARISONS.items():
        compare = _comparison(ufunc_named(name), getattr(numpy, name), _OBJECTS.get(name))
        setattr(ndarray, f"__{symbol}__", compare)
    for symbol, name in UNARY.items():
        function = ufunc_named(name)
        setattr(ndarray, f"__{symbol}__", lambda self, run=function: run(self))
    ndarray.__matmul__, ndarray.__rmatmul__ = _binary(
        lambda *operands: call_numpy("matmul", numpy.matmul, operands, {}), numpy.matmul
    )


def _pos(self: ndarray) -> Any:
    if self.dtype == numpy.bool:
        warnings.warn(
            "Applying '+' to a non-numerical array is ill-defined. Returning a copy, but in the "
            "future this will error.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.copy()
    return ufunc_named("positive")(self)


# From device to host


def _get(
    self: ndarray, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True
) -> numpy.ndarray:
    if out is not None:
        _check_host(self, out, "obtained from", "Expected shape: {}, actual shape: {}")
    on_sync("get")
    if out is None:
        return numpy.array(self._data, order=order.upper())  # type: ignore[call-overload]
    out[...] = self._data
    return out


def _check_host(array: ndarray, host: Any, verb: str, shapes: str) -> None:
    """Refuse what ``get(out=)`` and ``set()`` cannot copy to or from, as CuPy does."""
    if not isinstance(host, numpy.ndarray):
        raise TypeError(f"Only numpy.ndarray can be {verb} cupy.ndarray")
    if array.dtype != host.dtype:
        raise TypeError(f"{host.dtype} array cannot be {verb} {array.dtype} array")
    if array.shape != host.shape:
        raise ValueError(f"Shape mismatch. {shapes.format(array.shape, host.shape)}")


def _set(self: ndarray, arr: Any, stream: Any = None) -> None:
    _check_host(self, arr, "set to", "Old shape: {}, new shape: {}")
    if not (self._data.flags.c_contiguous or self._data.flags.f_contiguous):
        raise RuntimeError("Cannot set to non-contiguous array")
    on_sync("host to device")
    self._data[...] = arr


def _to_host(cause: str, convert: Callable[[numpy.ndarray], Any]) -> Callable[[ndarray], Any]:
    def conversion(self: ndarray) -> Any:
        on_sync(cause)
        return convert(self._data)

    conversion.__name__ = cause
    return conversion


def _bool(self: ndarray) -> bool:
    if self.size == 0:
        warnings.warn(
            "The truth value of an empty array is ambiguous. Returning False, but in future this "
            "will result in an error. Use `array.size > 0` to check that an array is not empty.",
            DeprecationWarning,
            stacklevel=2,
        )
        return False
    if self.size > 1:
        raise ValueError(
            "The truth value of an array with more than one element is ambiguous. "
            "Use a.any() or a.all()"
        )
    on_sync("bool")
    return bool(self._data.item())


def _array(self: ndarray, dtype: Any = None, copy: Any = None) -> Any:
    raise TypeError(
        "Implicit conversion to a NumPy array is not allowed. "
        "Please use `.get()` to construct a NumPy array explicitly."
    )


def _format(self: ndarray, spec: str) -> str:
    on_sync("format")
    return format(self._data if self._data.ndim else self._data[()], spec)


# NumPy's protocols


def _array_ufunc(self: ndarray, function: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    arrays = inputs
    if "out" in kwargs:
        out = kwargs["out"]
        if len(out) != 1:
            raise ValueError("The 'out' parameter must have exactly one array value")
        arrays += out
        kwargs["out"] = out[0]
    try:
        own = getattr(_namespace(), function.__name__)
        if method != "__call__":
            own = getattr(own, method)
    except AttributeError:
        return NotImplemented
    for value in arrays:
        if not isinstance(value, (ndarray, numpy.ndarray, *_PLAIN)):
            return NotImplemented
    if method == "__call__" and function.__name__ in COMPARISONS.values():
        inputs = tuple(
            x.item() if isinstance(x, numpy.ndarray) and x.ndim == 0 else x for x in inputs
        )
    return own(*inputs, **kwargs)


def _array_function(self: ndarray, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    own = _namespace()
    try:
        for part in [*func.__module__.split(".")[1:], func.__name__]:
            own = getattr(own, part)
    except AttributeError:
        return NotImplemented
    if own is func or not all(issubclass(t, (ndarray, numpy.ndarray)) for t in types):
        return NotImplemented
    return own(*args, **kwargs)


def _dlpack(
    self: ndarray,
    *,
    stream: Any = None,
    max_version: Any = None,
    dl_device: Any = None,
    copy: bool | None = None,
) -> Any:
    if dl_device is None or tuple(dl_device) != (1, 0):
        raise BufferError(
            "sim: the array is on a simulated device, which DLPack does not know; ask for the "
            "CPU (dl_device=(1, 0)), or use .get()"
        )
    on_sync("dlpack")
    return self._data.copy().__dlpack__(max_version=max_version)


# Methods


def _reshape(self: ndarray, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
    target = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    for size in target:
        check_argument("reshape", "shape", size)
    data = self._data.reshape(target, order=order)  # type: ignore[call-overload]
    if copy is False and not numpy.may_share_memory(data, self._data):
        raise ValueError("Unable to avoid creating a copy while reshaping.")
    if copy:
        data = data.copy()
    return wrap(data, self._device, (self,))


def _astype(
    self: ndarray,
    dtype: Any,
    order: str = "K",
    casting: str | None = None,
    subok: Any = None,
    copy: bool = True,
) -> Any:
    if casting is not None or subok is not None:
        raise TypeError("casting and subok are not supported yet by CuPy's astype")
    dtype = numpy.dtype(dtype)
    check_dtype(dtype)
    with numpy.errstate(all="ignore"):
        data = self._data.astype(dtype, order=order, copy=copy)  # type: ignore[call-overload]
    return wrap(data, self._device, (self,))


def _fill(self: ndarray, value: Any) -> None:
    if not isinstance(value, (ndarray, *_PLAIN)):
        raise unsupported(value, "fill")
    self[...] = value


def _view(self: ndarray, dtype: Any = None, type: Any = None) -> Any:
    if type is not None and type is not ndarray:
        raise NotImplementedError("sim: view(type=) is not supported, there are no subclasses")
    if dtype is None or dtype is ndarray:
        data = self._data.view()
    else:
        check_dtype(numpy.dtype(dtype))
        data = self._data.view(dtype)
    return wrap(data, self._device, (self,))


def _reduced_view(self: ndarray, dtype: Any = None) -> ndarray:
    flat = self._data.flags.c_contiguous
    return self.view(dtype).reshape(-1) if flat else self.view(dtype)


def _sort(self: ndarray, axis: int = -1, kind: str | None = None) -> None:
    if kind is not None and kind not in ("quicksort", "heapsort", "mergesort", "stable"):
        raise ValueError(f"sort kind must be one of CuPy's, not {kind!r}")
    if not self._data.ndim:
        raise numpy.exceptions.AxisError("Sorting arrays with the rank of zero is not supported")
    self._data.sort(axis=axis, kind="stable")


def _scatter(name: str, function: str) -> Callable[..., None]:
    def scatter(self: ndarray, slices: Any, value: Any) -> None:
        warnings.warn(
            f"`ndarray.{name}` is deprecated. Please use `cupy.ufunc.at` instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        ufunc_named(function).at(self, slices, value)

    return scatter


def _forward(name: str) -> Callable[..., Any]:
    """A method that calls the function of its name with the array first."""
    bound = Parameters(name, METHODS[name])

    def method(*args: Any, **kwargs: Any) -> Any:
        named = bound(*args, **kwargs)
        leading = [named.pop(parameter) for parameter in bound.required]
        return getattr(_namespace(), name)(*leading, **named)

    return dressed(method, name, METHODS[name])


_FORWARDED = (
    "all any argmax argmin argpartition argsort choose cumprod cumsum diagonal dot "
    "max mean min nonzero prod ptp put ravel repeat round searchsorted squeeze std sum swapaxes "
    "take trace var"
).split()

_OWN: dict[str, Callable[..., Any]] = {
    "get": _get,
    "set": _set,
    "item": _to_host("item", lambda data: data.item()),
    "tolist": _to_host("tolist", lambda data: data.tolist()),
    "dumps": _to_host("dumps", lambda data: data.dumps()),
    "reshape": _reshape,
    "transpose": lambda self, *axes: wrap(self._data.transpose(*axes), self._device, (self,)),
    "astype": _astype,
    "clip": lambda self, min=None, max=None, out=None: _namespace().clip(self, min, max, out),
    "compress": lambda self, condition, axis=None, out=None: _namespace().compress(
        condition, self, axis, out
    ),
    "copy": lambda self, order="C": wrap(self._data.copy(order), current_id()),
    "fill": _fill,
    "view": _view,
    "reduced_view": _reduced_view,
    "sort": _sort,
    "partition": lambda self, kth, axis=-1: self._data.partition(kth, axis),
    "scatter_add": _scatter("scatter_add", "add"),
    "scatter_max": _scatter("scatter_max", "maximum"),
    "scatter_min": _scatter("scatter_min", "minimum"),
    "conj": lambda self: ufunc_named("conjugate")(self) if self.dtype.kind == "c" else self,
    "conjugate": lambda self: ufunc_named("conjugate")(self) if self.dtype.kind == "c" else self,
    "flatten": lambda self, order="C": wrap(self._data.flatten(order), self._device),
    "tobytes": lambda self, order="C": self.get().tobytes(order),
    "tofile": lambda self, fid, sep="", format="%s": self.get().tofile(fid, sep, format),
    "dump": lambda self, file: self.get().dump(file),
    "byteswap": lambda self, inplace=False: wrap(
        self._data.byteswap(inplace), self._device, (self,)
    ),
}

_SPECIAL: dict[str, Callable[..., Any]] = {
    "__pos__": _pos,
    "__bool__": _bool,
    "__int__": _to_host("int", int),
    "__float__": _to_host("float", float),
    "__complex__": _to_host("complex", complex),
    "__repr__": _to_host("repr", repr),
    "__str__": _to_host("str", str),
    "__bytes__": _to_host("bytes", bytes),
    "__format__": _format,
    "__array__": _array,
    "__array_ufunc__": _array_ufunc,
    "__array_function__": _array_function,
    "__copy__": lambda self: self.copy(),
    "__deepcopy__": lambda self, memo: wrap(self._data.copy(), self._device),
    "__reduce__": lambda self: (array, (self.get(order="A"),)),
    "__dlpack__": _dlpack,
    "__dlpack_device__": lambda self: (12, self._device),  # kDLExtDev
}


def bind_methods() -> None:
    """Set the operators and methods of the array; the package calls it once."""
    _bind_operators()
    ndarray.__module__ = "gpugrad.backend.sim"
    for name in _FORWARDED:
        setattr(ndarray, name, _forward(name))
    for name, function in (*_OWN.items(), *_SPECIAL.items()):
        if function.__name__ == "<lambda>" or name.startswith("__"):
            function.__name__ = name
        setattr(ndarray, name, function)
