"""CuPy's own functions on Tensors: ``cupy.exp(t)`` is ``gg.exp(t)``.

Imports bind, special and tensor.

CuPy's ufuncs and elementwise kernels call ``__cupy_override_elementwise_kernel__`` of their
arguments before they touch a device, and its reduction kernels another hook; other functions call
the method of their name. CuPy must not convert a Tensor to an array of its own, as it would
compute without a graph. So Tensor has no ``__cuda_array_interface__``, and ``__cupy_get_ndarray__``
raises an error with advice. Functions that check the type (``cupy.matmul``) raise CuPy's own
TypeError. The simulated device has the same hooks.
"""

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from gpugrad.errors import DTypeError
from gpugrad.functions import keywords, special
from gpugrad.functions.bind import FUNCTIONS, PUBLIC, _member, nearest
from gpugrad.functions.ufunc_methods import into
from gpugrad.tensor.core import Tensor

# The modules in which ufuncs are public, with the prefix of the ufuncs' own names. The calling
# module is among those imported already.
_HOMES = {
    "cupy": ("cupy_",),
    "gpugrad.backend.sim": ("cupy_",),
    "cupyx.scipy.special": ("cupyx_scipy_special_", "cupyx_scipy_", "cupy_"),
    "gpugrad.backend.sim.scipy_special": ("cupyx_scipy_special_", "cupyx_scipy_", "cupy_"),
}
# Ufuncs that functions of CuPy call.
_INNER = {"cupy_where": "where", "cupy_angle": "angle"}


def _home(kernel: Any) -> tuple[str, str]:
    """The module and the name under which a ufunc is public; "" and its own for any other."""
    for module, prefixes in _HOMES.items():
        for prefix in prefixes:
            name = kernel.name.removeprefix(prefix)
            if getattr(sys.modules.get(module), name, None) is kernel:
                return module, name
    return "", kernel.name


def _function(kernel: Any) -> Callable[..., Any]:
    """gpugrad's function for a kernel of CuPy's; DTypeError for an unknown one."""
    home, name = _home(kernel)
    if home.endswith("special") and name in special.__all__:
        function: Callable[..., Any] = getattr(special, name)
        return function
    name = _INNER.get(name, name)
    if name in FUNCTIONS and (home or kernel.name in _INNER):
        return FUNCTIONS[name]
    if home:
        raise DTypeError(
            f"{'cupyx.scipy.special' if 'special' in home else 'cupy'}.{name}: gpugrad has no "
            f"such function of tensors.{nearest(name)}"
        )
    raise DTypeError(
        f"{name}: gpugrad does not know the derivative of this {type(kernel).__name__} of CuPy's. "
        "Make it an op with gg.custom_op, or give it .detach().data"
    )


def _elementwise(self: Tensor, kernel: Any, *args: Any, **kwargs: Any) -> Any:
    """Called by CuPy for a ufunc or an elementwise kernel with a Tensor among its arguments."""
    function = _function(kernel)
    inputs, outputs = args[: kernel.nin], args[kernel.nin :]
    named = kwargs.pop("out", None)
    if named is not None:
        outputs = named if isinstance(named, tuple) else (named,)
    refused = [key for key, value in kwargs.items() if value is not None and key != "casting"]
    if refused:
        raise DTypeError(
            f"cupy.{_home(kernel)[1]}: {refused[0]}= is not supported for tensors. "
            "Cast with .astype"
        )
    result = function(*inputs)
    return into(outputs[0], result) if outputs else result


def _reduction(self: Tensor, kernel: Any, axis: Any, dtype: Any, out: Any, keepdims: bool) -> Any:
    """Called by CuPy for a reduction kernel over a Tensor."""
    name = kernel.name.removeprefix("cupy_")
    if name == kernel.name or name not in FUNCTIONS:
        raise DTypeError(f"{kernel.name}: gpugrad does not know this reduction.{nearest(name)}")
    given = {"axis": axis, "keepdims": keepdims, "dtype": dtype}
    result = keywords.apply(name, FUNCTIONS[name], (self,), given)
    return result if out is None else into(out, result)


_member("__cupy_override_elementwise_kernel__", _elementwise)
_member("__cupy_override_reduction_kernel__", _reduction)


# ---------------------------------------------------------------- functions that need an array


def _refuse_to_be_an_array(self: Tensor) -> NoReturn:
    """Called by CuPy where it needs an array of its own, as in ``cupy.concatenate([t])``."""
    name = _caller()
    shown = f"cupy.{name}" if name else "CuPy"
    if name in PUBLIC:
        instead = f"gg.{name}, which has a gradient"
    else:
        instead = "a function of gpugrad, which has a gradient"
    raise DTypeError(
        f"{shown}: expected arrays of CuPy's, got a Tensor of shape {self.shape}. Write {instead}, "
        "or give it t.data (t.detach().data in a graph), the array"
    )


def _caller() -> str:
    """The name of CuPy's function that is running, if it is written in Python."""
    name = ""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "cupy":
        name = frame.f_code.co_name
        frame = frame.f_back
    return name


class _AskedByCuPy:
    """A method that only CuPy's functions written in Python see.

    CuPy's compiled code looks for it too, in ``array @ t``: the Tensor's reflected operator runs
    only if it does not find the method.
    """

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if instance is None or caller.partition(".")[0] != "cupy":
            raise AttributeError("__cupy_get_ndarray__")
        return partial(_refuse_to_be_an_array, instance)


setattr(Tensor, "__cupy_get_ndarray__", _AskedByCuPy())  # noqa: B010 - no member to type

# ---------------------------------------------------------------- functions that call a method

# The parameters of ndarray's methods after the array, in their order: ``cupy.sum(t)`` is
# ``t.sum(axis, dtype, out, keepdims)``.
_METHODS = {
    **dict.fromkeys(("sum", "prod", "mean"), ("axis", "dtype", "out", "keepdims")),
    **dict.fromkeys(("var", "std"), ("axis", "dtype", "out", "ddof", "keepdims")),
    **dict.fromkeys(("max", "min"), ("axis", "out", "keepdims")),
    **dict.fromkeys(("argmax", "argmin"), ("axis", "dtype", "out", "keepdims")),
}


def _method(name: str, order: tuple[str, ...]) -> Callable[..., Any]:
    """The method of a reduction that also accepts the arguments of CuPy's function."""
    function = FUNCTIONS[name]

    def method(
        self: Tensor, axis: Any = None, keepdims: Any = False, *others: Any, **kwargs: Any
    ) -> Tensor:
        if not others and not kwargs:
            return function(self, axis, keepdims)
        named = order if others else ("axis", "keepdims")
        kwargs.update(zip(named, (axis, keepdims, *others)))
        out = kwargs.pop("out", None)
        result: Tensor = function(self, **kwargs)
        return result if out is None else into(out, result)

    method.__name__ = method.__qualname__ = name
    method.__doc__, method.__module__ = function.__doc__, function.__module__
    method.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return method


for _name, _order in _METHODS.items():
    _member(_name, _method(_name, _order))
