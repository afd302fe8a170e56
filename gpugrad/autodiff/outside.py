"""Finds arrays that a user's functions keep outside of themselves. Imports nothing of gpugrad.

A rule that reads what the forward has stored in a closure, a global or an attribute of an object
takes it for a constant. Its gradient is right, and the derivative of that is not.
"""

import dis
import functools
from collections.abc import Callable, Iterable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

__all__ = ["arrays_in", "places_outside"]

# What a place outside is never searched for arrays when it has one of these.
_FIXED = (type, ModuleType, FunctionType, BuiltinFunctionType)

Place = Callable[[], Any]


def places_outside(functions: Iterable[Any]) -> list[Place]:
    """The places outside of functions that they read, each as a function that gets its value."""
    places = [place for function in functions for place in _places(function)]
    return [place for place in places if not isinstance(place(), _FIXED)]


def _places(function: Any) -> Iterator[Place]:
    while isinstance(function, functools.partial):
        function = function.func
    owner = getattr(function, "__self__", None)
    if owner is not None:
        yield lambda: owner
    function = getattr(function, "__func__", function)
    if isinstance(function, FunctionType):
        for cell in function.__closure__ or ():
            yield functools.partial(_content, cell)
        for name in _globals_read(function.__code__):
            yield functools.partial(function.__globals__.get, name)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _globals_read(code: CodeType) -> dict[str, None]:
    """The names of globals that the code reads, or a function that is defined within it."""
    names = [i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"]
    inner = [_globals_read(const) for const in code.co_consts if isinstance(const, CodeType)]
    return dict.fromkeys(name for part in (names, *inner) for name in part)


def arrays_in(places: Iterable[Place]) -> list[Any]:
    """The arrays that places have now: themselves, or in a dict, a list or attributes there."""
    return [array for place in places for array in _arrays(place())]


def _arrays(value: Any) -> list[Any]:
    values: Iterable[Any]
    if isinstance(value, dict):
        values = value.values()
    elif isinstance(value, list | tuple):
        values = value
    elif hasattr(value, "dtype"):
        values = (value,)
    else:
        values = getattr(value, "__dict__", {}).values()
    return [one for one in values if hasattr(one, "dtype") and hasattr(one, "ndim")]
