"""Errors for names of PyTorch, JAX and NumPy that gpugrad does not have: they say what to write.

`hasattr` is False for these names, and `dir` omits them. Imports errors and the tables of
names beside it.
"""

import functools
import importlib
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, NoReturn, TypeVar, cast

from gpugrad.errors import DTypeError
from gpugrad.tensor.foreign import METHODS, OF_MODULES

__all__ = [
    "KEYWORDS", "METHODS", "NUMPY", "OF_MODULES", "REFUSED", "Foreign", "Setting", "absent",
    "explain", "explained", "fits", "hint", "homes", "members", "misfit", "not_fitting",
    "of_one_shape", "watched",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])


# The attributes of a tensor that raise an error, which `dir` omits.
REFUSED = METHODS.keys() | {"as_integer_ratio"}

_SAVE = "gg.save(path, {'name': t})"
_MASKED = "gg.where(mask, values, t)"

# Of NumPy, called with a tensor: `np.copyto(a, t)`.
NUMPY = {
    "array2string": "repr(t), or np.array2string(t.numpy())",
    "common_type": "gg.result_type(t, u)",
    "copyto": "`t[...] = values` under gg.no_grad(), or np.copyto(a, t.detach().numpy())",
    "isfortran": "np.isfortran(t.data)",
    "min_scalar_type": "gg.result_type(t)",
    "place": _MASKED,
    "put": "t.at[indices].set(values), which gives a new tensor",
    "putmask": _MASKED,
    "save": _SAVE,
    "savetxt": "np.savetxt(path, t.numpy())",
    "savez": _SAVE,
    "savez_compressed": _SAVE,
}

# Keywords of NumPy and PyTorch: `np.sum(t, casting="no")`, `t.sum(dim=0)`; and, with brackets,
# calls with too many arguments.
KEYWORDS = {
    "casting": "it without: dtypes promote as NumPy's do",
    "dim": "axis=",
    "dim0": "axis1=, or both axes as they are: gg.swapaxes(t, 0, 1)",
    "dim1": "axis2=, or both axes as they are: gg.swapaxes(t, 0, 1)",
    "dims": "axis=",
    "dtype": "t.astype(dtype)",
    "full()": "full((2, 3), value): the shape is one argument",
    "inplace": "y = f(x): a function gives a new tensor",
    "initial": "gg.maximum(result, initial), or what else joins the two",
    "input": "the tensor as the first argument, without a name",
    "input1": "both tensors as the first arguments, without names",
    "input2": "both tensors as the first arguments, without names",
    "keepdim": "keepdims=",
    "order": "it without: a tensor does not show the layout of its memory",
    "other": "the second tensor as the second argument, without a name",
    "out": "y = f(x): a function gives a new tensor; `t[...] = y` under gg.no_grad() writes it",
    "permute_dims()": "the axes as one argument, (1, 0)",
    "shifts": "the shift as the second argument, without a name",
    "split_size_or_sections": "the number of pieces, or the places to cut at",
    "subok": "it without: the result is a tensor",
    "tensors": "the list as the first argument, without a name",
    "transpose()": "gg.swapaxes(t, 0, 1), or the axes as one argument, (1, 0)",
    "unbiased": "correction=1, or correction=0 for False",
    "x1": "both tensors as the first arguments, without names",
    "x2": "both tensors as the first arguments, without names",
    "where": "gg.where(mask, t, value) first, or gg.where(mask, result, value) afterwards",
    **{f"{name}()": f"{name}((2, 3)): the shape is one argument"
       for name in ("empty", "ones", "zeros", "reshape", "tile", "resize", "broadcast_to")},
}  # fmt: skip


def fits(names: Set[str], kwargs: Mapping[str, Any], error: TypeError) -> bool:
    """Whether a TypeError is one of the function's own: its arguments did fit its parameters."""
    below = error.__traceback__ and error.__traceback__.tb_next  # None: the call itself failed
    return below is not None and kwargs.keys() <= names


def watched(function: F, otherwise: Callable[[TypeError, Any, Any], Any]) -> F:
    """The function, with ``otherwise(error, args, kwargs)`` for arguments that do not fit."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            if fits(inspect.signature(function).parameters.keys(), kwargs, error):
                raise
            return otherwise(error, args, kwargs)

    return cast(F, call)


def not_fitting(name: str, error: TypeError) -> TypeError:
    """The error for too many arguments, or too few, with advice if there is one."""
    advice = KEYWORDS.get(f"{name}()")
    return error if advice is None else DTypeError(f"{error}. Write {advice}")


def of_one_shape(function: F) -> F:
    """For functions whose first argument is a shape: ``zeros(2, 3)`` says what to write."""

    def otherwise(error: TypeError, args: Any, kwargs: Any) -> NoReturn:
        raise not_fitting(function.__name__, error) from None

    return watched(function, otherwise)


def explain(cls: type, advice: Mapping[str, str] | None = None) -> None:
    """Let a class say what its ``__init__`` takes, where arguments do not fit; see `misfit`."""
    init = vars(cls).get("__init__")
    if init is None or "__signature__" in vars(init):  # which says so itself
        return

    def otherwise(error: TypeError, args: Any, kwargs: Any) -> NoReturn:
        signature = inspect.signature(init)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as unbound:
            raise misfit(type(args[0]).__name__, signature, kwargs, unbound, advice) from None
        raise error

    setattr(cls, "__init__", watched(init, otherwise))  # noqa: B010


def explained(function: F) -> F:
    """A function that says what it takes, where arguments do not fit."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError:
            signature, who = inspect.signature(function), function.__name__
            try:
                signature.bind(*args, **kwargs)
            except TypeError as unbound:
                unknown = [name for name in kwargs if name not in signature.parameters]
                if (name := unknown[0] if unknown else "") in KEYWORDS:
                    advice = f"{name}= is not supported. Write {KEYWORDS[name]}"
                    raise DTypeError(f"{who}: {advice}") from None
                raise misfit(who, signature, kwargs, unbound) from None
            raise

    return cast(F, call)


def misfit(
    who: str, signature: inspect.Signature, kwargs: Mapping[str, Any], error: TypeError,
    advice: Mapping[str, str] | None = None,
) -> TypeError:  # fmt: skip
    """The error for arguments that a call does not take: advice, or what it takes.

    The advice is by the name of a keyword; by default that for layers.
    """
    if advice is None:
        from gpugrad.tensor.foreign_functions import SETTINGS

        advice = SETTINGS
    parameters = [name for name in signature.parameters if name != "self"]
    name = next((name for name in kwargs if name not in parameters), "")
    if name in advice:
        return DTypeError(f"{who}: {name} is no setting of it: {advice[name]}")
    what = f"got an unexpected keyword argument {name!r}" if name else str(error)
    return DTypeError(f"{who}: {what}. It takes {', '.join(parameters) or 'no arguments'}")


# Where a name is looked for that another module does not have.
_MODULES = (
    "", "nn", "nn.functional", "optim", "linalg", "special", "fft", "random", "data", "nn.utils",
    "nn.init", "autodiff", "cuda", "inspect",
)  # fmt: skip
# Whose functions stand behind a `custom_op` where there is none here.
_LIBRARIES = {"special": "scipy.special", "linalg": "scipy.linalg"}


def hint(name: str) -> str:
    """The advice after "module 'gpugrad' has no attribute"; empty for most names."""
    return _advice("", name)


def absent(module: str, name: str) -> AttributeError:
    """The error for a name that a module of ``gpugrad`` does not have."""
    return AttributeError(
        f"module 'gpugrad.{module}' has no attribute {name!r}{_advice(module, name)}"
    )


def homes(modules: Mapping[str, str]) -> dict[str, str]:
    """The module of each name, from the names of each module of ``gpugrad``."""
    return {n: f"gpugrad.{module}" for module, names in modules.items() for n in names.split()}


def members(
    module: str, listed: Iterable[str], lazy: Mapping[str, str] = types.MappingProxyType({}),
    change: Callable[[Any], Any] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:  # fmt: skip
    """``__getattr__`` and ``__dir__`` of a module of ``gpugrad`` with the names ``listed``.

    Those in ``lazy`` are imported from there when they are first used, and are here what ``change``
    makes of them; others raise `absent`.
    """
    package = f"gpugrad.{module}"

    def get(name: str) -> Any:
        home = lazy.get(name)
        if home is None:
            raise absent(module, name)
        if home == package:
            return importlib.import_module(f"{package}.{name}")
        value = getattr(importlib.import_module(home), name)
        value = value if change is None else change(value)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(listed)


def _advice(module: str, name: str) -> str:
    """What to write: by the tables, else the name where it is, else the library that has it.

    It is asked for absent names alone, so an entry of a name that arrives is never read again.
    """
    from gpugrad.tensor.foreign_functions import FUNCTIONS, MODULES

    if name.startswith("_"):
        return ""
    table = MODULES[module] if module else FUNCTIONS
    instead = table.get(name) or _elsewhere(module, name)
    return "" if instead is None else f". Write {instead}"


def _elsewhere(module: str, name: str) -> str | None:
    """The name in another module, or as an attribute of a tensor; a function of SciPy."""
    root = sys.modules["gpugrad"]
    for other in _MODULES:
        home = functools.reduce(getattr, other.split("."), root) if other else root
        if other != module and name in home.__all__:
            return f"gg.{other}.{name}" if other else f"gg.{name}"
    if not module and name in METHODS:
        return METHODS[name]
    if not module and hasattr(root.Tensor, name):
        return f"x.{name}, of a tensor"
    library = _LIBRARIES.get(module)
    if library is not None and hasattr(importlib.import_module(library), name):
        return f"a gg.custom_op around {library}.{name}, which says its derivative"
    return None


class Foreign:
    """A class attribute that raises AttributeError with advice; it costs nothing until it is read.

    A ``__getattr__`` of the class would make all of its attributes slower. `dir` of an instance
    omits these; that of the class lists them, since ``isinstance(2.0, Tensor)``, which operators
    ask, takes 60 ns in place of 25 where the class has a metaclass.
    """

    __slots__ = ("_instead", "_name")

    def __init__(self, name: str, instead: str) -> None:
        self._name = name
        self._instead = instead

    def __get__(self, instance: Any, owner: Any = None) -> NoReturn:
        cls = type(instance) if owner is None else owner
        raise AttributeError(
            f"{cls.__name__!r} object has no attribute {self._name!r}. Write {self._instead}"
        )


class Setting(Foreign):
    """A `Foreign` attribute that is not assigned either, once the object has what it is about."""

    def __set__(self, instance: Any, value: Any) -> None:
        if getattr(instance, "param_groups", None):
            self.__get__(instance)
        vars(instance)[self._name] = value
