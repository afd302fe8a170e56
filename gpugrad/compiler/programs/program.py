"""A recorded computation: arrays, and the steps that compute them. Imports backend.

A step calls a function of a namespace (`gpugrad.backend.namespace`) by name, so that a program
runs on every device that has one. Values are assigned once. What happens to memory in place is a
step that gives a new value: "set_item" is the array with other elements at an index.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from gpugrad.backend.namespace import namespace_of

__all__ = [
    "FUNCTIONS", "VIEWS", "Program", "Step", "Value", "flat", "function_of",
    "gives_view", "is_elementwise", "values_in",
]  # fmt: skip


class Value:
    """An array of a program: given by its caller, or the result of a step.

    ``weak`` says that it is a Python number, which takes the dtype of the arrays beside it.
    ``strides`` has those of the array that was recorded, in bytes, where it was not C-contiguous.
    Two values are equal only if they are the same.
    """

    __slots__ = ("dtype", "shape", "strides", "weak")

    def __init__(self, shape: tuple[int, ...], dtype: Any, weak: bool = False) -> None:
        self.shape = shape
        self.dtype = dtype
        self.weak = weak
        self.strides: tuple[int, ...] | None = None

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


class Step:
    """One call: ``results = name(*operands, **parameters)``.

    An operand is a `Value`, a Python number, string, dtype or None, a slice or an Ellipsis, or a
    tuple of these, such as an index; a list holds no values, and parameters hold none. ``results``
    has one for each array that the function gives, in nested tuples too (`flat`); None where it
    gives None.
    """

    __slots__ = ("_values", "name", "operands", "parameters", "results")

    def __init__(
        self,
        name: str,
        operands: Sequence[Any],
        parameters: dict[str, Any],
        results: Sequence[Any],
    ) -> None:
        self.name = name
        self.operands = tuple(operands)
        self.parameters = parameters
        self.results = tuple(results)
        self._values = tuple(values_in(self.operands))  # each pass asks for them

    def values(self) -> Iterator[Value]:
        """The values among its operands, in order, those in tuples too."""
        return iter(self._values)

    def __repr__(self) -> str:
        return f"{self.name}{self.operands}"


class Program:
    """Steps in the order in which they run, from ``inputs`` and ``constants`` to ``outputs``.

    ``constants`` has the arrays of values that are the same in every call.
    """

    def __init__(
        self,
        inputs: Sequence[Value],
        constants: dict[Value, Any],
        steps: Sequence[Step],
        outputs: Sequence[Value],
    ) -> None:
        self.inputs = list(inputs)
        self.constants = dict(constants)
        self.steps = list(steps)
        self.outputs = list(outputs)

    def __call__(self, arrays: Sequence[Any]) -> list[Any]:
        """The outputs for the arrays of the inputs, step by step: what every backend must give."""
        known: dict[Any, Any] = dict(zip(self.inputs, arrays)) | self.constants

        def array_of(operand: Any) -> Any:
            if isinstance(operand, tuple):
                return tuple(map(array_of, operand))
            return known[operand] if isinstance(operand, Value) else operand

        for step in self.steps:
            operands = [array_of(operand) for operand in step.operands]
            home = next((known[v] for v in step.values() if not v.weak), 0.0)
            result = function_of(home, step.name)(*operands, **step.parameters)
            known.update(zip(step.results, flat(result)))
        return [known[value] for value in self.outputs]

    def __str__(self) -> str:
        names: dict[Value, str] = {}
        for prefix, values in (("x", self.inputs), ("c", self.constants)):
            names |= {value: f"{prefix}{index}" for index, value in enumerate(values)}
        made = [value for step in self.steps for value in step.results if value is not None]
        names |= {value: f"v{index}" for index, value in enumerate(made)}

        def shown(operand: Any) -> str:
            if isinstance(operand, Value):
                return names.get(operand, "?")
            if isinstance(operand, tuple):
                return f"({', '.join(map(shown, operand))})"
            return str(operand)

        lines = [f"{names[value]}: {value!r}" for value in (*self.inputs, *self.constants)]
        for step in self.steps:
            results = ", ".join("_" if v is None else f"{names[v]}: {v!r}" for v in step.results)
            given = [*map(shown, step.operands)]
            given += [f"{name}={value}" for name, value in step.parameters.items()]
            lines.append(f"{results} = {step.name}({', '.join(given)})")
        return "\n".join([*lines, f"return {', '.join(map(shown, self.outputs))}"])


def values_in(operand: Any) -> Iterator[Value]:
    """The values in an operand."""
    if isinstance(operand, Value):
        yield operand
    elif isinstance(operand, tuple):
        for part in operand:
            yield from values_in(part)


def flat(result: Any) -> Iterator[Any]:
    """The arrays of a function's result, those in (nested) tuples and lists in order.

    >>> list(flat(((1, 2), 3)))
    [1, 2, 3]
    """
    if isinstance(result, tuple | list):
        for part in result:
            yield from flat(part)
    else:
        yield result


def _copy(array: Any) -> Any:
    """A copy that can be changed: NumPy's functions give scalars in place of 0-d arrays."""
    return np.array(array) if isinstance(array, np.generic) else array.copy()


def _set_item(array: Any, index: Any, value: Any) -> Any:
    changed = _copy(array)
    changed[index] = value
    return changed


def _add_item(array: Any, index: Any, value: Any) -> Any:
    """The array with a value added at an index: the gradient of a slice, added to the others."""
    changed = _copy(array)
    changed[index] += value
    return changed


def _set_view(array: Any, views: Iterable[Sequence[Any]], value: Any) -> Any:
    """The array, with other values in a view of it: a chain of (name, operands, parameters)."""
    changed = view = _copy(array)
    for name, operands, parameters in views:
        view = function_of(view, name)(view, *operands, **parameters)
    view[...] = value
    return changed


# Steps that are no functions of a namespace.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "get_item": lambda array, index: array[index],
    "set_item": _set_item,
    "add_item": _add_item,
    "set_view": _set_view,
    "astype": lambda array, dtype: array.astype(dtype),
    "reshape": lambda array, *shape: array.reshape(*shape),
    "copy": lambda array: array.copy(),
    # A copy of what is a view of an operand, though its name is not in VIEWS.
    "own": lambda array: array.copy(),
    "item": lambda array: array.item(),
    "number_on": lambda number, device, dtype: device.send(np.asarray(number, dtype)),
}

# Steps whose result is, or may be, a view of the first operand, or the first operand itself.
VIEWS = frozenset((
    "array_split", "asanyarray", "asarray", "ascontiguousarray", "asfortranarray", "atleast_1d",
    "atleast_2d", "atleast_3d", "broadcast_arrays", "broadcast_to", "diag", "diagonal", "dsplit",
    "einsum", "einsum_explicit", "expand", "expand_dims", "flip", "fliplr", "flipud", "get_item",
    "getitem", "hsplit", "imag", "matrix_transpose", "moveaxis", "nan_to_num", "permute_dims",
    "ravel", "real", "real_if_close", "require", "reshape", "rollaxis", "rot90", "split",
    "split_heads", "squeeze", "swapaxes", "transpose", "unless", "unstack", "vsplit", "windows",
))  # fmt: skip


def gives_view(step: Step) -> bool:
    """Whether the result may be a view of the first operand."""
    if step.name == "get_item":
        index = step.operands[1]
        parts = index if isinstance(index, tuple) else (index,)
        return not any(getattr(part, "ndim", isinstance(part, list)) for part in parts)
    # Of one operand these may move axes, and no more.
    if step.name.startswith("einsum") or step.name == "join_heads":
        return len(list(step.values())) == 1
    return step.name in VIEWS


@cache
def is_elementwise(name: str) -> bool:
    """Whether steps of a name compute each element from those at its place, and broadcast."""
    if name in ("where", "astype"):
        return True
    ufunc = getattr(np, name, None)
    return isinstance(ufunc, np.ufunc) and ufunc.nout == 1 and ufunc.signature is None


def function_of(array: Any, name: str) -> Callable[..., Any]:
    """The function that computes a step of a name on arrays of the type of ``array``."""
    function = FUNCTIONS.get(name)
    if function is None:
        xp = namespace_of(array)
        function = namespace_of(np.empty(0)) if xp is None else xp
        for part in name.split("."):
            function = getattr(function, part)
    return function
