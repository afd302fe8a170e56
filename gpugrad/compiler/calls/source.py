"""The source of functions that take the leaves of a call's arguments. Imports places.

What `Entry` does at each call in loops over places is written once for a program, line by line.
"""

from types import CodeType, FunctionType
from typing import Any

from gpugrad.compiler.calls.places import (
    Argument,
    ArrayOf,
    GradientOf,
    Item,
    Living,
    Place,
    StaleError,
    StateOf,
)

__all__ = ["CallWriter"]


class CallWriter:
    """Writes a function: ``lines`` of Python, and ``names`` with what they mean."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {}
        self.tensors: dict[int, str] = {}  # by weak reference, the variable with what it refers to

    def compiled(self, title: str) -> Any:
        """The function."""
        body = "\n".join(f"    {line}" for line in self.lines)
        module = compile(f"def call(leaves):\n{body}\n", title, "exec")
        code = next(one for one in module.co_consts if isinstance(one, CodeType))
        return FunctionType(code, self.names)

    def constant(self, value: Any) -> str:
        """The name of an object."""
        name = f"k{len(self.names)}"
        self.names[name] = value
        return name

    def place(self, place: Place) -> str:
        """The code that finds what is at a place."""
        if isinstance(place, Argument):
            return f"leaves[{place.index}]"
        if isinstance(place, ArrayOf):
            return f"{self.place(place.tensor)}._array"
        if isinstance(place, GradientOf):
            return f"{self.place(place.tensor)}._grad"
        if isinstance(place, Living):
            return self.living(place.reference)
        if isinstance(place, Item):
            return f"{self.known(place.items)}[{place.index}]"
        if isinstance(place, StateOf):
            return f"{self.known(place.entries)}[{place.index}][{place.name!r}]"
        return f"{self.known(place)}(leaves)"

    def known(self, value: Any) -> str:
        """The name of an object, one for all its uses."""
        for name, other in self.names.items():
            if other is value:
                return name
        return self.constant(value)

    def living(self, reference: Any) -> str:
        name = self.tensors.get(id(reference))
        if name is None:
            name = self.tensors[id(reference)] = f"t{len(self.tensors)}"
            self.lines.append(f"{name} = {self.known(reference)}()")
            self.lines.append(f"if {name} is None: raise {self.known(StaleError)}")
        return name
