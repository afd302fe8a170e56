"""Finds values that a user's functions keep outside of themselves. Imports nothing of gpugrad.

A rule that reads what the forward has stored in a closure, a global or an attribute of an object
takes it for a constant: its gradient is that of the last call, and the derivative of that is not
right. Arrays and floating-point numbers are looked at, which alone carry derivatives; whole numbers
count calls, or are indices.
"""

import dis
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

__all__ = ["Kept", "Place", "arrays_in", "numbers_changed", "places_outside", "put", "values_at"]

# What a place outside is never searched for values when it has one of these.
_FIXED = (type, ModuleType, FunctionType, MethodType, BuiltinFunctionType)

# Values by the number of the place and, in a dict, a list or attributes there, by key.
Kept = dict[tuple[int, Any], Any]


class Place(NamedTuple):
    """A place outside of a rule that it reads; of an object's attributes those it names."""

    read: Callable[[], Any]
    write: Callable[[Any], None]
    names: tuple[str, ...]


def places_outside(functions: Iterable[Any]) -> list[Place]:
    """The places outside of functions that they read."""
    places = [place for function in functions for place in _places(function)]
    return [place for place in places if not isinstance(place.read(), _FIXED)]


def _places(function: Any) -> Iterator[Place]:
    while isinstance(function, functools.partial):
        function = function.func
    owner = getattr(function, "__self__", None)
    function = getattr(function, "__func__", function)
    code = function.__code__ if isinstance(function, FunctionType) else None
    names = tuple(_names(code, ("LOAD_ATTR", "LOAD_METHOD"))) if code else ()
    if owner is not None:
        yield Place(lambda: owner, lambda value: None, names)
    if isinstance(function, FunctionType):
        for cell in function.__closure__ or ():
            read = functools.partial(_content, cell)
            yield Place(read, functools.partial(setattr, cell, "cell_contents"), names)
        for name in _names(function.__code__, ("LOAD_GLOBAL",)):
            read = functools.partial(function.__globals__.get, name)
            yield Place(read, functools.partial(function.__globals__.__setitem__, name), names)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _names(code: CodeType, operations: Sequence[str]) -> dict[str, None]:
    """What such operations of the code name, or of a function that is defined within it."""
    names = [i.argval for i in dis.get_instructions(code) if i.opname in operations]
    inner = [_names(const, operations) for const in code.co_consts if isinstance(const, CodeType)]
    return dict.fromkeys(name for part in (names, *inner) for name in part)


# ---------------------------------------------------------------- values


def values_at(places: Sequence[Place]) -> Kept:
    """The arrays and floating-point numbers that places have now."""
    kept: Kept = {}
    for index, place in enumerate(places):
        value = place.read()
        if _counts(value):
            kept[index, None] = value
            continue
        for key, one in _items(value, place.names):
            if _counts(one):
                kept[index, key] = one
    return kept


def _items(value: Any, names: Sequence[str]) -> Iterable[tuple[Any, Any]]:
    """What lies in a dict, in a list or in the attributes of an object, by key."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list):
        return list(enumerate(value))
    attributes = getattr(value, "__dict__", {})
    return [(name, attributes[name]) for name in names if name in attributes]


def _counts(value: Any) -> bool:
    """Whether a derivative may go through a value: an array, a number, or a tuple with one."""
    if isinstance(value, tuple):
        return any(map(_counts, value))
    return isinstance(value, float | complex) or _is_array(value)


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "ndim")


def arrays_in(values: Iterable[Any]) -> list[Any]:
    """The arrays among values, and in tuples among them."""
    parts = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    return [part for part in parts if _is_array(part)]


@contextmanager
def put(places: Sequence[Place], kept: Kept) -> Iterator[None]:
    """A block in which places have other values; afterwards they have theirs again."""
    before = values_at(places)
    try:
        _write(places, kept)
        yield
    finally:
        _write(places, {key: before[key] for key in kept if key in before})


def _write(places: Sequence[Place], kept: Kept) -> None:
    for (index, key), value in kept.items():
        holder = places[index].read()
        if key is None:
            places[index].write(value)
        elif isinstance(holder, dict | list):
            holder[key] = value
        else:
            setattr(holder, key, value)


def numbers_changed(kept: Mapping[Any, Any]) -> Kept:
    """The values with other numbers, for those that are numbers or have some."""
    changed = {key: _other(value) for key, value in kept.items()}
    return {key: value for key, value in changed.items() if value is not kept[key]}


def _other(value: Any) -> Any:
    if isinstance(value, tuple):
        others = tuple(map(_other, value))
        return value if all(map(_same, value, others)) else others
    if isinstance(value, float | complex):
        number: Any = 1.5 * value + 0.75
        return type(value)(number)
    return value


def _same(one: Any, other: Any) -> bool:
    return one is other
