"""Functions of C that differ in names alone, made one. Imports functions.

A loop that Python has unrolled does the same at each turn, on other arrays.
"""

import re

from gpugrad.compiler.c.functions import Function

__all__ = ["shared"]

_NAMES = re.compile(r"\b[acdmnprsw]\d+(?:_\w+)?\b")  # those in which there is a number of an array


def shared(functions: dict[int, Function]) -> dict[int, Function]:
    """The functions, of which those that repeat another one have its name and no text."""
    first: dict[str, Function] = {}
    return {
        index: function
        if (known := first.setdefault(_anonymous(function), function)) is function
        else function._replace(name=known.name, text="")
        for index, function in functions.items()
    }


def _anonymous(function: Function) -> str:
    """The text of a function, with names by the order in which they come up."""
    names: dict[str, str] = {}
    return _NAMES.sub(
        lambda match: names.setdefault(match[0], f"{match[0][0]}{len(names)}"),
        function.text.replace(function.name, "item"),
    )
