"""The functions that transforms return. Imports nothing of gpugrad."""

import functools
import operator
import sys
import types
from collections.abc import Callable
from typing import Any

__all__ = ["transformed"]

Function = Callable[..., Any]


class Transformed:
    """What a transform made of a function: a function with its name, that pickles where it does."""

    def __init__(
        self, call: Function, transform: Function, f: Function, options: dict[str, Any]
    ) -> None:
        functools.update_wrapper(self, f, updated=())
        self._call = call
        self._arguments = (transform, f, options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """A method, where the function was defined in a class."""
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        transform, f, _ = self._arguments
        return f"<gpugrad.{transform.__name__} of {f!r}>"

    def __reduce__(self) -> Any:
        # A decorated function is found by its name.
        name = getattr(self, "__qualname__", "")
        try:
            if operator.attrgetter(name)(sys.modules[self.__module__]) is self:
                return name
        except (AttributeError, KeyError):
            pass
        return _transform, self._arguments


def _transform(transform: Function, f: Function, options: dict[str, Any]) -> Any:
    return transform(f, **options)


def transformed(transform: Function, f: Function, **options: Any) -> Callable[[Function], Function]:
    """Decorate the function that ``transform(f, **options)`` returns."""
    return lambda call: Transformed(call, transform, f, options)
