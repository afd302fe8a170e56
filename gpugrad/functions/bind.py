"""Binds the op table to functions, operators, methods and NumPy's protocols.

Imports the modules beside it. `PUBLIC` are the functions that `gpugrad` exports, `MEMBERS` the
members of Tensor that are bound here; ci/stubs.py declares both for type checkers. The entries of
the table, and the modules of functions, say what is public, a method or an operator.
"""

import functools
import inspect
import math
import operator
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.backend.device import to_numpy
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.op import TABLE
from gpugrad.engine.record import bind_operator, use_keywords
from gpugrad.errors import DTypeError, GradientError
from gpugrad.functions import (
    array_api,
    array_creation,
    arraypad,
    dtypes,
    einsum,
    fft,
    function_base,
    histograms,
    index_tricks,
    indexing,
    keywords,
    linalg,
    logic,
    manipulation,
    nanfunctions,
    operands,
    packbits,
    polynomial,
    reductions,
    scatter,
    setops,
    shape_base,
    sorting,
    special,
    statistics,
    stride_tricks,
    tensor_contractions,
    twodim_base,
    type_check,
    ufunc_methods,
    ufunclike,
    vectorize,
    window_functions,
)
from gpugrad.tensor import (
    OPS,
    TENSORS,
    Tensor,
    assign,
    creation,
    dlpack,
    hooks,
    identity,
    indices,
    views,
)
from gpugrad.tensor.hints import METHODS as FOREIGN
from gpugrad.tensor.hints import NUMPY as INSTEAD
from gpugrad.tensor.hints import Foreign

__all__ = ["FUNCTIONS", "MEMBERS", "PUBLIC"]

Function = Callable[..., Any]

# The modules of composed functions. `gpugrad` exports their `__all__`; their `METHODS` are methods
# of Tensor as well.
MODULES = (
    manipulation, shape_base, stride_tricks, arraypad, twodim_base, array_creation, index_tricks,
    indexing, scatter, sorting, setops, packbits, tensor_contractions, einsum, reductions,
    statistics, nanfunctions, histograms, function_base, polynomial, window_functions, ufunclike,
    logic, type_check, vectorize, dtypes, array_api,
)  # fmt: skip

# All functions by name, internal ones included.
FUNCTIONS: dict[str, Function] = {}
FUNCTIONS.update(OPS)
for _module in MODULES:
    for _name in _module.__all__:
        FUNCTIONS[_name] = keywords.explained(getattr(_module, _name))
FUNCTIONS["index_update"] = assign.index_update
for _module in (linalg, fft, special):
    for _name in _module.__all__:
        _function = getattr(_module, _name)
        setattr(_module, _name, keywords.explained(_function, _module.__name__))
FUNCTIONS["vecdot"] = linalg.vecdot
for _op in TABLE.values():
    for _alias in _op.aliases:
        FUNCTIONS[_alias] = FUNCTIONS[_op.name]

use_keywords(keywords.apply)

# Those that `gpugrad` exports.
PUBLIC = {
    name: function
    for name, function in FUNCTIONS.items()
    if name not in TABLE or "gg" in TABLE[name].public
}
TENSORS.__dict__.update(FUNCTIONS)


def _expand(gradient: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A gradient broadcast to a shape; where it is a constant, only its array is."""
    if gradient._node is not None:
        whole: Tensor = FUNCTIONS["broadcast_to"](gradient, shape)
        return whole
    array = gradient._array
    return Tensor(namespace_of(array).expand(array, shape))


TENSORS.__dict__["expand"] = _expand

MEMBERS: dict[str, Any] = {}


def _member(name: str, member: Any) -> None:
    MEMBERS[name] = member
    setattr(Tensor, name, member)


# ---------------------------------------------------------------- operators


def _reflected(operator: Function) -> Function:
    def reflected(self: Tensor, other: Any) -> Tensor:
        return operator(other, self)

    return reflected


def _in_place(name: str, symbol: str, operator: Function) -> Function:
    function = FUNCTIONS[name]

    def change(self: Tensor, other: Any) -> Tensor:
        if not self._changeable(other, symbol):
            return views.change_in_place(symbol, self, other, operator)
        result = function(self.detach(), other)
        views.check_fits(symbol, self, result)
        self._write(Ellipsis, result)
        return self

    return change


for _op in TABLE.values():
    if not _op.operator:
        continue
    if len(_op.arrays) == 1:
        _member(f"__{_op.operator}__", FUNCTIONS[_op.name])
        continue
    _operator = bind_operator(_op)
    _member(f"__{_op.operator}__", _operator)
    if hasattr(operator, f"__i{_op.operator}__"):  # a comparison has no form in place
        _member(f"__r{_op.operator}__", _reflected(_operator))
        _member(f"__i{_op.operator}__", _in_place(_op.name, f"__i{_op.operator}__", _operator))
_member("__eq__", identity.equality(MEMBERS["__eq__"]))
_member("__divmod__", FUNCTIONS["divmod"])
_member("__rdivmod__", _reflected(FUNCTIONS["divmod"]))
_member("__getitem__", indices.getitem)
_member("__setitem__", assign.setitem)
_member("at", property(assign.at, doc=assign.at.__doc__))

# ---------------------------------------------------------------- methods

for _op in TABLE.values():
    for _name in _op.methods:
        _member(_name, FUNCTIONS[_name])
for _module in MODULES:
    for _name in getattr(_module, "METHODS", ()):
        _member(_name, FUNCTIONS.get(_name, getattr(_module, _name)))


def _shape_of_arguments(values: tuple[Any, ...]) -> Any:
    """``t.reshape(2, 3)`` and ``t.reshape((2, 3))`` are equal."""
    return values[0] if len(values) == 1 else values


def _reshape(self: Tensor, *shape: Any, order: str = "C") -> Tensor:
    """The same elements in another shape: ``t.reshape(2, -1)`` or ``t.reshape((2, -1))``."""
    return manipulation.reshape(self, _shape_of_arguments(shape), order)


def _transpose(self: Tensor, *axes: Any) -> Tensor:
    """The axes in another order: reversed, ``t.transpose(1, 0)`` or ``t.transpose((1, 0))``."""
    return manipulation.transpose(self, _shape_of_arguments(axes) if axes else None)


def _round(self: Tensor, ndigits: int | None = None) -> Tensor:
    """``round(t, 2)``: a Tensor, like ``gg.round(t, 2)``."""
    return FUNCTIONS["round"](self, ndigits or 0)


def _compress(self: Tensor, condition: Any, axis: int | None = None) -> Tensor:
    """The elements along an axis where a vector of conditions holds. Waits for the device."""
    return indexing.compress(condition, self, axis)


def _clone(self: Tensor) -> Tensor:
    """A copy of the tensor, recorded in the graph."""
    return FUNCTIONS["astype"](self, self.dtype)


def _size(a: Tensor, axis: Any = None) -> int:
    """The number of elements, along one axis or several."""
    if axis is None:
        return a.size
    return math.prod(a.shape[one] for one in operands.axis_numbers("size", axis, a.ndim))


def _copy(self: Tensor) -> Tensor:
    """A copy of the tensor, recorded in the graph; NumPy's method makes it a contiguous one."""
    flags = getattr(self._array, "flags", None)
    if flags is None or flags.c_contiguous:
        return _clone(self)
    return manipulation.reshape(manipulation.ravel(self), self.shape)


def _cpu(self: Tensor) -> Tensor:
    """The tensor on the CPU; itself if it is there."""
    return dtypes.to(self, device="cpu")


def _cuda(self: Tensor, index: int | None = None) -> Tensor:
    """The tensor on a CUDA device: CuPy's current one, or that of ``index``."""
    return dtypes.to(self, device="cuda" if index is None else f"cuda:{index}")


for _name in hooks.__all__:
    _member(_name, getattr(hooks, _name))
_member("compress", _compress)
_member("reshape", _reshape)
_member("transpose", _transpose)
_member("__round__", _round)
_member("copy", _copy)
_member("clone", _clone)
_member("cpu", _cpu)
_member("cuda", _cuda)
_member("to_device", dlpack.to_device)
_member("__dlpack__", dlpack.dlpack)
_member("__dlpack_device__", dlpack.dlpack_device)
_member("__array_namespace__", array_api.array_namespace)
_member("real", property(FUNCTIONS["real"], doc="The real parts."))
_member("imag", property(FUNCTIONS["imag"], doc="The imaginary parts."))
_member("T", property(FUNCTIONS["transpose"], doc="The axes reversed."))
_member("mT", property(manipulation.matrix_transpose, doc="The last two axes exchanged."))

for _name, _text in FOREIGN.items():
    if not hasattr(Tensor, _name):
        setattr(Tensor, _name, Foreign(_name, _text))

# ---------------------------------------------------------------- NumPy's protocols

UFUNCS = {native: native.__name__ for native in vars(np).values() if isinstance(native, np.ufunc)}
# The names of `np.add.reduce(t)` and the like.
REDUCES = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min",
           "logical_and": "all", "logical_or": "any", "logaddexp": "logsumexp"}  # fmt: skip
ACCUMULATES = {"add": "cumsum", "multiply": "cumprod"}
# The methods of `t.at[index]` for `np.add.at(t, index, value)` and the like.
ASSIGNED = {"add": "add", "multiply": "multiply", "maximum": "max", "minimum": "min"}


def _array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    # In comparisons a NumPy scalar arrives as a 0-d array; a scalar can be sent to any device.
    inputs = tuple(a[()] if type(a) is np.ndarray and a.ndim == 0 else a for a in inputs)
    (target,) = kwargs.pop("out", (None,))
    name = UFUNCS.get(ufunc)
    if name is None:
        result = _of_another_library(ufunc, method)(*inputs, **kwargs)
    elif method == "__call__" and name in FUNCTIONS:
        if not kwargs and target is None:
            return FUNCTIONS[name](*inputs)
        result = ufunc_methods.elementwise(ufunc, FUNCTIONS[name], inputs, kwargs, target)
    else:
        result = _method(ufunc, name, method, inputs, kwargs)
    return result if target is None else ufunc_methods.into(target, result)


def _method(ufunc: Any, name: str, method: str, inputs: tuple[Any, ...], kwargs: Any) -> Any:
    """``np.add.reduce(t)``, ``np.subtract.outer(t, u)`` and the like."""
    own = {"reduce": REDUCES, "accumulate": ACCUMULATES}.get(method, {}).get(name)
    if own is not None:
        function = FUNCTIONS[own]
        kwargs.setdefault("axis", 0)
        return keywords.attempt(own, function, inputs, kwargs, ufunc, f"np.{name}.{method}")
    if method in ("reduce", "accumulate") and name in ufunc_methods.ASSOCIATIVE:
        function = functools.partial(getattr(ufunc_methods, method), name, FUNCTIONS[name])
        return keywords.apply(name, function, inputs, kwargs, ufunc, f"np.{name}.{method}")
    if method == "outer" and ufunc.nin == 2 and name in FUNCTIONS:
        a, b = operands.together(*inputs)
        inputs = (manipulation.reshape(a, a.shape + (1,) * b.ndim), b)
        return ufunc_methods.elementwise(ufunc, FUNCTIONS[name], inputs, kwargs)
    shown = name if method == "__call__" else f"{name}.{method}"
    raise DTypeError(
        f"np.{shown}: gpugrad has no such function of tensors.{_instead(name, method)}"
    )


def _of_another_library(ufunc: Any, method: str) -> Function:
    """gpugrad's function for a ufunc of SciPy's; DTypeError for an unknown one."""
    name = ufunc.__name__
    if getattr(sys.modules.get("scipy.special"), name, None) is not ufunc:
        raise DTypeError(
            f"{name}: this ufunc is neither NumPy's nor SciPy's, and gpugrad does not know its "
            "derivative. Make it an op with gg.custom_op, or give it .detach().numpy()"
        )
    if method == "__call__" and name in special.__all__:
        function: Function = getattr(special, name)
        return function
    shown = name if method == "__call__" else f"{name}.{method}"
    raise DTypeError(
        f"scipy.special.{shown}: gpugrad has no such function of tensors."
        f"{nearest(f'special.{name}')}"
    )


def _plain(function: Function, count: int) -> Function:
    """A NumPy function without a gradient, called with the values of its first operands.

    The others are passed on as they are, such as the width of a line.
    """

    def values(a: Any) -> Any:
        return to_numpy(a.detach().data) if isinstance(a, Tensor) else a

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*map(values, args[:count]), *args[count:], **kwargs)

    return call


def _shared(function: Function) -> Function:
    """NumPy's question whether two arrays share memory, of the memory of tensors."""

    def call(a: Any, b: Any, *args: Any, **kwargs: Any) -> bool:
        raw_a, raw_b = (x._array if isinstance(x, Tensor) else x for x in (a, b))
        if isinstance(raw_a, np.ndarray) or isinstance(raw_b, np.ndarray):
            return isinstance(raw_b, type(raw_a)) and bool(function(raw_a, raw_b, *args, **kwargs))
        return bool(getattr(operands.xp_of(a), function.__name__)(raw_a, raw_b))

    return call


def _changing(name: str) -> Function:
    """NumPy's function that changes its array, written with the one here that returns a copy."""
    function = FUNCTIONS[name]

    def change(a: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(a, Tensor):
            raise DTypeError(
                f"np.{name}: a tensor cannot be written into an array. Use gg.{name}, which "
                "returns a new tensor"
            )
        values = (*args, *kwargs.values())
        if a.requires_grad or any(isinstance(v, Tensor) and v.requires_grad for v in values):
            raise GradientError(
                f"np.{name}: it would change a tensor in place that a graph needs. Use gg.{name}, "
                "which returns a new tensor"
            )
        a._write(Ellipsis, function(a, *args, **kwargs)._array)

    return change


PLAIN = {
    np.allclose: _plain(np.allclose, 4),
    np.array_equal: _plain(np.array_equal, 2),
    np.array_repr: _plain(np.array_repr, 1),
    np.array_str: _plain(np.array_str, 1),
    np.may_share_memory: _shared(np.may_share_memory),
    np.shares_memory: _shared(np.shares_memory),
}
NUMPY_FUNCTIONS: dict[Any, Function] = {
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: _size,
    np.copy: _clone,
    np.zeros_like: creation.zeros_like,
    np.ones_like: creation.ones_like,
    np.full_like: creation.full_like,
    np.empty_like: creation.empty_like,
    np.linspace: creation.linspace,
    np.where: lambda condition, *choices: FUNCTIONS["where" if choices else "nonzero"](
        condition, *choices
    ),
    np.lib.stride_tricks.sliding_window_view: stride_tricks.sliding_window_view,
    np.fill_diagonal: _changing("fill_diagonal"),
    np.put_along_axis: _changing("put_along_axis"),
    **PLAIN,
}
for _name, _function in FUNCTIONS.items():
    if callable(native := vars(np).get(_name)) and not isinstance(native, np.ufunc | type):
        NUMPY_FUNCTIONS.setdefault(native, _function)
for _module, _numpy_s in ((linalg, np.linalg), (fft, np.fft)):
    for _name in _module.__all__:
        if callable(native := getattr(_numpy_s, _name, None)):
            NUMPY_FUNCTIONS.setdefault(native, getattr(_module, _name))


def _array_function(
    self: Tensor, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    function_here = NUMPY_FUNCTIONS.get(function)
    if function_here is None:
        inner = function.__module__.removeprefix("numpy").lstrip(".")  # linalg, fft
        inner = inner.replace("lib.scimath", "emath")
        name = f"{inner}.{function.__name__}" if inner else function.__name__
        raise DTypeError(f"np.{name}: gpugrad has no such function of tensors.{nearest(name)}")
    if len(args) > 1:
        args, kwargs = keywords.by_name(function, function_here, args, kwargs)
    if not kwargs:
        return function_here(*args)
    for first in ("a", "x", "arr", "ary", "array", "m"):  # NumPy's names of the operand
        if first in kwargs and not args and not _accepts(function_here, first):
            args = (kwargs.pop(first),)
    target = kwargs.pop("out", None)
    name = getattr(function_here, "__name__", function.__name__)
    shown = f"np.{function.__name__}"
    result = keywords.attempt(name, function_here, args, kwargs, function, shown)
    return result if target is None else ufunc_methods.into(target, result)


def _instead(name: str, method: str) -> str:
    """Advice for a ufunc, or one of its methods, that gpugrad does not have."""
    if method == "at" and name in ASSIGNED:
        return f" Write t.at[index].{ASSIGNED[name]}(value), which gives a new tensor"
    return nearest(name)


def _accepts(function: Function, keyword: str) -> bool:
    """Whether a function takes this keyword."""
    parameter = inspect.signature(function).parameters.get(keyword)
    return parameter is not None and parameter.kind is not parameter.POSITIONAL_ONLY


def nearest(name: str) -> str:
    """Advice for a function that gpugrad does not have: an equivalent, or the nearest name."""
    if name in INSTEAD:
        return f" Write {INSTEAD[name]}"
    candidates = [f"linalg.{member}" for member in linalg.__all__ if member.islower()]
    candidates += [f"fft.{member}" for member in fft.__all__]
    candidates += [f"special.{member}" for member in special.__all__]
    public = [*PUBLIC, *creation.__all__]
    name = last if (last := name.rpartition(".")[2]) in public else name
    import difflib

    close = difflib.get_close_matches(name, [*public, *candidates], n=1, cutoff=0.8)
    like = f" The nearest is gg.{close[0]}." if close else ""
    return f"{like} For a result without a gradient use .detach().numpy()"


_member("__array_ufunc__", _array_ufunc)
_member("__array_function__", _array_function)
