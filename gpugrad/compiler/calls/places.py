"""Where each call of a program has its arrays and its results. Imports tensor and backend.

A place is called with the leaves of the arguments, a result with the program's outputs.
They are objects of a few classes, not functions, so that calls in C can read them as well.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.backend.device import Device, device_of
from gpugrad.backend.host import NUMPY
from gpugrad.backend.namespace import NAMESPACES
from gpugrad.tensor import Tensor

__all__ = [
    "Argument", "ArrayOf", "Called", "Fixed", "Given", "GradientOf", "Item", "Living", "NewTensor",
    "Output", "Place", "Sent", "StaleError", "StateOf", "is_given", "number_at",
]  # fmt: skip


class StaleError(Exception):
    """A program is not right any more, and another has to be recorded."""


class Place:
    """What finds something at each call."""

    __slots__ = ()

    def __call__(self, leaves: Sequence[Any]) -> Any:
        """What is there now; StaleError where the function would have another one."""
        raise NotImplementedError


class Argument(Place):
    """A leaf of the arguments."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __call__(self, leaves: Sequence[Any]) -> Any:
        return leaves[self.index]


class Sent(Place):
    """A NumPy scalar among the arguments, as an array of a device: scalars go to any."""

    __slots__ = ("device", "index")

    def __init__(self, index: int, device: Device) -> None:
        self.index = index
        self.device = device

    def __call__(self, leaves: Sequence[Any]) -> Any:
        return self.device.send(leaves[self.index])


class Fixed(Place):
    """The same object at each call."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, leaves: Sequence[Any]) -> Any:
        return self.value


class Living(Place):
    """What a weak reference refers to."""

    __slots__ = ("reference",)

    def __init__(self, reference: Any) -> None:
        self.reference = reference

    def __call__(self, leaves: Sequence[Any]) -> Any:
        found = self.reference()
        if found is None:
            raise StaleError
        return found


class ArrayOf(Place):
    """The array of a tensor."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Place) -> None:
        self.tensor = tensor

    def __call__(self, leaves: Sequence[Any]) -> Any:
        return self.tensor(leaves).data


class GradientOf(Place):
    """The gradient of a tensor, which has one."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Place) -> None:
        self.tensor = tensor

    def __call__(self, leaves: Sequence[Any]) -> Any:
        return self.tensor(leaves)._grad


class Item(Place):
    """An element of a list, which is filled at the beginning of each call."""

    __slots__ = ("index", "items")

    def __init__(self, items: list[Any], index: int) -> None:
        self.items = items
        self.index = index

    def __call__(self, leaves: Sequence[Any]) -> Any:
        return self.items[self.index]


class StateOf(Place):
    """What a dict has under a name: one of a list of dicts, filled at the beginning of a call."""

    __slots__ = ("entries", "index", "name")

    def __init__(self, entries: list[dict[str, Any]], index: int, name: str) -> None:
        self.entries = entries
        self.index = index
        self.name = name

    def __call__(self, leaves: Sequence[Any]) -> Any:
        return self.entries[self.index][self.name]


class Called(Place):
    """The result of a function without arguments, another one at each call."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function

    def __call__(self, leaves: Sequence[Any]) -> Any:
        return self.function()


def is_given(place: Place) -> bool:
    """Whether there is another array at each call, as mostly: an argument, or random numbers."""
    if isinstance(place, ArrayOf):
        return is_given(place.tensor)
    return isinstance(place, Argument | Called | Sent)


def number_at(index: int, leaves: Sequence[Any]) -> tuple[Any, Place]:
    """A number among the arguments, and what finds it: on the device of the tensors beside it."""
    arrays = [leaf._array for leaf in leaves if isinstance(leaf, Tensor)]
    known = [one for one in arrays if NAMESPACES.get(type(one)) not in (None, NUMPY)]
    is_sent = known and isinstance(leaves[index], np.generic)
    place = Sent(index, device_of(known[0])) if is_sent else Argument(index)
    return place(leaves), place


# Results.


class Output:
    """An output of the program."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, arrays: Sequence[Any]) -> Any:
        return arrays[self.number]


class NewTensor(Output):
    """A new tensor over an output of the program."""

    __slots__ = ()

    def __call__(self, arrays: Sequence[Any]) -> Any:
        return Tensor(arrays[self.number])


class Given:
    """What is found at a place before the call changes anything, such as an argument."""

    __slots__ = ("place",)

    def __init__(self, place: Place) -> None:
        self.place = place
