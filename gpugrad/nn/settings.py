"""What a module is at a moment, beside the numbers of its tensors. Imports nothing of gpugrad.

A compiled function is right for modules as they were when it was recorded: their modes, numbers,
layers and tensors. To compare all of that takes long, so it is done after a change of an attribute
alone: until then a module has its `Settings` at hand, and equal ones are one object.
"""

import weakref
from types import MethodType
from typing import Any

import numpy as np

__all__ = ["Settings", "are_those_of", "forget_settings", "read_settings", "settings_of"]

_DEPTH = 8  # of lists in lists
_PLAIN = (bool, int, str, bytes, type(None), type(Ellipsis))


class Settings:
    """The attributes of a module, by name: plain values, and other objects by their identity.

    A copy of a module has none, and finds its own.
    """

    __slots__ = ("values",)

    def __init__(self, values: tuple[tuple[str, Any], ...]) -> None:
        self.values = values

    def __reduce__(self) -> Any:
        return type(None), ()

    def differences(self, other: "Settings") -> frozenset[str]:
        """The names of attributes that differ, or that one of the two lacks."""
        return frozenset(name for name, _ in {*self.values} ^ {*other.values})


class _Same:
    """An object, known by its identity and not kept."""

    __slots__ = ("find", "number")

    def __init__(self, value: Any) -> None:
        self.number = id(value)
        try:
            self.find: Any = weakref.ref(value)
        except TypeError:
            self.find = lambda: value

    def __hash__(self) -> int:
        return hash(self.number)

    def __eq__(self, other: object) -> bool:
        if type(other) is not _Same or self.number != other.number:
            return False
        value = self.find()
        return value is not None and value is other.find()


def _known(value: Any, depth: int = 0) -> Any:
    """What is equal for two values that a function cannot tell apart."""
    cls = type(value)
    if cls in _PLAIN:
        return cls, value
    if cls is float or cls is complex:
        return cls, repr(value)  # of NaN and of -0.0, too
    if isinstance(value, np.generic | np.dtype):
        return cls, str(value)
    if depth < _DEPTH and cls in (list, tuple):
        return cls, tuple([_known(one, depth + 1) for one in value])
    if depth < _DEPTH and cls is dict:
        return cls, tuple([(_known(k, depth + 1), _known(v, depth + 1)) for k, v in value.items()])
    if cls is MethodType:  # which is another object each time
        return cls, _Same(value.__self__), value.__func__.__qualname__
    return _Same(value)


# Not by weak references, which call back: an interrupt that arrives there is lost.
_all: dict[Any, Settings] = {}
_MOST = 4096


def read_settings(module: Any) -> Settings:
    """The settings of a module, read from its attributes."""
    values = {name: _known(value) for name, value in [*vars(module).items()]}
    values.pop("_settings", None)
    values |= {"training": getattr(module, "training", None), "__class__": _Same(type(module))}
    key = tuple(sorted(values.items(), key=lambda item: item[0]))
    if len(_all) >= _MOST:
        _all.clear()
    found = _all.setdefault(key, Settings(key))
    object.__setattr__(module, "_settings", found)
    return found


def settings_of(module: Any) -> Settings:
    """The settings of a module, which it has at hand until an attribute is set.

    >>> import gpugrad as gg
    >>> layer = gg.nn.Dropout(0.5)
    >>> before = settings_of(layer)
    >>> layer.p = 0.1
    >>> settings_of(layer) is before
    False
    >>> layer.p = 0.5
    >>> settings_of(layer) is before
    True
    """
    return vars(module).get("_settings") or read_settings(module)


def forget_settings(module: Any) -> None:
    """Have the settings of a module read again: something in it changes."""
    vars(module).pop("_settings", None)


def are_those_of(module: Any, settings: Settings, but: frozenset[str]) -> bool:
    """Whether a module is there and has these settings, but for some names."""
    if module is None:
        return False
    now = settings_of(module)
    if now is settings:
        return True
    changed = now.differences(settings)
    if not changed:  # but another object since `_all` was cleared
        object.__setattr__(module, "_settings", settings)
    return changed <= but
