"""Values of other libraries among arguments: labelled arrays, and what is refused.

A pandas Series or DataFrame, or an xarray DataArray, is an array and labels: a function that is
differentiated gets the array, by position, and the gradient gets the labels. What holds numbers
in another way would pass for a constant; it is refused, with what to write. Imports backend,
errors and tensor.
"""

import collections.abc
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpugrad.backend.namespace import NAMESPACES, namespace_of
from gpugrad.engine.messages import instead_of_array, type_name
from gpugrad.errors import DTypeError
from gpugrad.tensor import Tensor

__all__ = [
    "CONSTANTS", "check_constant", "is_array", "is_labelled", "refused", "relabel", "unlabelled",
]  # fmt: skip

# What stands beside arrays without holding numbers.
CONSTANTS = (
    bool, str, bytes, range, slice, type, types.FunctionType, types.BuiltinFunctionType,
    types.MethodType, types.ModuleType, np.dtype, np.ufunc, type(None), type(...),
)  # fmt: skip

_STRUCTURE = (*CONSTANTS, list, tuple, dict)

# By these, a value shows that it holds numbers.
_PROTOCOLS = (
    "__array__", "__array_interface__", "__cuda_array_interface__", "__dlpack__", "__float__",
    "__buffer__",
)  # fmt: skip


def _pandas(where: str, value: Any) -> Any:
    dtypes = list(value.dtypes) if value.ndim == 2 else [value.dtype]
    if len(set(map(str, dtypes))) > 1 or not isinstance(dtypes[0], np.dtype):
        shown = " and ".join(dict.fromkeys(map(str, dtypes)))
        raise DTypeError(
            f"{where}: a {type_name(type(value))} of dtype {shown} is no array of one NumPy dtype. "
            "Choose its numeric columns, or write .astype('float64')"
        )
    return value.to_numpy()


def _xarray(where: str, value: Any) -> Any:
    if NAMESPACES.get(type(value.data)) is None:
        raise DTypeError(
            f"{where}: a {type_name(type(value))} over {type_name(type(value.data))} is no array "
            "in memory. Write .compute() first"
        )
    return value.data


def _with_columns(value: Any, array: Any) -> Any:
    return value._constructor(array, index=value.index, columns=value.columns)


def _with_name(value: Any, array: Any) -> Any:
    return value._constructor(array, index=value.index, name=value.name)


def _with_coordinates(value: Any, array: Any) -> Any:
    return value.copy(data=array)


# By library and class: a labelled array's array, and another array with its labels.
_LABELLED: dict[str, tuple[Callable[[str, Any], Any], Callable[[Any, Any], Any]]] = {
    "pandas.Series": (_pandas, _with_name),
    "pandas.DataFrame": (_pandas, _with_columns),
    "xarray.DataArray": (_xarray, _with_coordinates),
}

# The entry of `_LABELLED` for each type that was met, None for most.
_entries: dict[type, Any] = {}


def _functions(value: Any) -> Any:
    cls = type(value)
    if cls not in _entries:
        names = (f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in cls.__mro__)
        _entries[cls] = next((_LABELLED[name] for name in names if name in _LABELLED), None)
    return _entries[cls]


def is_labelled(value: Any) -> bool:
    """Whether a value is a Series, a DataFrame or a DataArray."""
    return _functions(value) is not None


def unlabelled(where: str, value: Any) -> Any:
    """The array of a labelled one, any other value itself.

    DTypeError, which begins with ``where``, for a table of several dtypes, or of another library's.
    """
    functions = _functions(value)
    return value if functions is None else functions[0](where, value)


def relabel(value: Any, array: Any) -> Any:
    """An array with the labels of a labelled one; itself where it has another shape."""
    functions = _functions(value)
    if functions is None or tuple(array.shape) != tuple(value.shape):
        return array
    return functions[1](value, array)


def is_array(value: Any) -> bool:
    """Whether a value is a Tensor, a raw array or a number of a known type."""
    if isinstance(value, Tensor):
        return True
    if type(value) in NAMESPACES:
        return type(value) is not bool
    if isinstance(value, _STRUCTURE):
        return False
    try:
        namespace_of(value)
    except DTypeError:
        return False
    return True


def check_constant(who: str, path: str, value: Any) -> None:
    """DTypeError where a value would pass for a constant, but holds numbers."""
    if holds_numbers(value):
        raise refused(who, path, value)


def holds_numbers(value: Any) -> bool:
    """Whether a value that is no array and no structure of arrays has numbers in it."""
    if isinstance(value, CONSTANTS):
        return False
    if any(hasattr(type(value), name) for name in _PROTOCOLS):
        return True
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return True
    return any(is_array(part) or is_labelled(part) for part in _parts(value))


def _parts(value: Any) -> Iterator[Any]:
    """The elements of a collection; the arrays in the attributes of another object."""
    if isinstance(value, collections.abc.Mapping):
        yield from value.values()
    elif isinstance(value, collections.abc.Collection):
        yield from value
    else:
        attributes = list(getattr(value, "__dict__", {}).values())
        yield from (part for part in attributes if not isinstance(part, int | float | complex))
        if callable(getattr(value, "parameters", None)):  # a Module
            yield from value.parameters()


def refused(who: str, path: str, value: Any) -> DTypeError:
    """The error for a value that is neither an array nor a structure of arrays."""
    return DTypeError(
        f"{who}: {path or 'an argument'} is a {type_name(type(value))}, which gpugrad does not "
        f"differentiate by. {_instead(value)}"
    )


def _instead(value: Any) -> str:
    """What to write for a value that is no array: a collection, a Module, or a constant."""
    if isinstance(value, collections.abc.Mapping):
        return "Write dict(x)"
    if (advice := instead_of_array(value)) is not None:
        return advice
    if callable(getattr(value, "parameters", None)):
        return (
            "Write loss.backward(), and read .grad of model.parameters(); or gg.gradients(loss, "
            "list(model.parameters()))"
        )
    if isinstance(value, collections.abc.Iterable):
        return "Write list(x)"
    return (
        "Pass an array, a number, or a dict, list, tuple or dataclass of these; what is constant "
        "goes into the function, as in lambda x: f(x, constant)"
    )
