"""The namespaces of batched arrays. Imports the modules beside it, backend and ops.

There is one for each namespace of arrays. A name is looked up among the rules of the other modules,
which compute it on arrays with the hidden axis; an elementwise function needs no rule but that the
axes are aligned; a formula of the table runs as it is, over the functions that it is made of.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np

from gpugrad.backend.lines import user_line
from gpugrad.backend.namespace import (
    ELEMENTWISE,
    FORMULAS,
    NAMESPACES,
    Namespace,
    common_namespace,
    namespace_of,
    register,
    takes,
)
from gpugrad.backend.special import Special
from gpugrad.batching import axes, indexing, layers, products
from gpugrad.batching.batched import (
    Batched,
    by_value,
    innermost,
    level_of,
    use_types,
    wrapped,
)
from gpugrad.batching.operands import Operands, aligned
from gpugrad.errors import BatchError
from gpugrad.ops.index import joined, split

__all__ = ["Batching", "batched_type"]

# By name the functions that compute on arrays with the hidden axis, ``rule(operands, ...)``.
RULES: dict[str, Callable[..., Any]] = {
    **axes.RULES, **indexing.RULES, **layers.RULES, **products.RULES
}  # fmt: skip
# Formulas of several pieces, though all of them are elementwise: what they do depends on types.
IN_PIECES = frozenset(("dropped", "unless"))
# Functions that are elementwise, and have no entry for that.
ALIKE = frozenset(("astype", "conj", "copy", "imag", "nan_to_num", "real"))
# Formulas that add in place to what they make of their first operands, by the number of these:
# they need the hidden axis if any of the operands has it.
FILLED = {
    "batch_norm": 1, "elman": 2, "gru": 2, "gru_and_residuals": 2, "lstm": 3,
    "lstm_and_residuals": 3,
}  # fmt: skip
# What is the same for all elements, since it depends on the shape of one alone.
SAME = frozenset(("arange_like", "eye_like"))
NUMBERS = frozenset((bool, int, float, complex))
# Functions that may return a view of their first operand.
VIEWS = frozenset((
    "broadcast_to", "diagonal", "expand_dims", "getitem", "imag", "moveaxis", "ravel", "real",
    "reshape", "squeeze", "swapaxes", "transpose",
))  # fmt: skip
# Functions of the dtypes and shapes alone.
PLAIN = frozenset((
    "broadcast_shapes", "can_cast", "iscomplexobj", "isrealobj", "ndim", "result_type", "shape",
    "size",
))  # fmt: skip


class Batching(Namespace):
    """The namespace of batched arrays over those of ``base``, also of several levels."""

    waits = True  # reading a value raises
    batched = True

    def __init__(self, base: Any) -> None:
        super().__init__(base.module, alone=base.alone)
        self.lifts = base
        self.in_place = base.in_place
        self.atomic = None  # the base's is asked where it adds
        self.outer_products = partial(self._apply, "outer_products", RULES["outer_products"])
        if base.checks is not None:
            self.checks = lambda op, raws: base.checks(op, tuple(map(innermost, raws)))

    def beside(self, other: Any) -> Any:
        """The namespace of batched arrays that takes those of another one; None if there is none.

        So that arrays that record meet batched ones that do not, as the seeds of a Jacobian.
        """
        below = other.lifts if getattr(other, "batched", False) else other
        return batched_type(below).xp if takes(below, self.lifts) else None

    def device_id(self, array: Any) -> tuple[str, int]:
        return self.lifts.device_id(innermost(array))

    def owner_of(self, array: Any) -> Any:
        return array if array.base is None else array.base

    def address(self, array: Any) -> int | None:
        address: int | None = self.lifts.address(innermost(array))
        return address

    def owns_buffer(self, array: Any) -> bool:
        return array.base is None

    def copy(self, array: Any) -> Any:
        return array.copy()

    def to_numpy(self, array: Any) -> Any:
        raise by_value("an array on the host")

    def expand(self, gradient: Any, shape: tuple[int, ...]) -> Any:
        return self.broadcast_to(gradient, shape)

    def listen(self, callback: Callable[[str], None]) -> Callable[[], None]:
        return self.lifts.listen(callback)

    def __getattr__(self, name: str) -> Any:
        function: Any = None
        if name in SAME:
            function = partial(self._same, name)
        elif name in FILLED:
            function = partial(self._filled, name)
        elif name in RULES:
            function = partial(self._apply, name, RULES[name])
        elif name in ELEMENTWISE and name not in IN_PIECES:
            function = self._alike(name)
        elif name in FORMULAS:
            function = partial(FORMULAS[name], self)
        elif name in ALIKE or isinstance(getattr(np, name, None), np.ufunc):
            function = self._alike(name)
        else:
            found = getattr(self.lifts, name)
            if isinstance(found, ModuleType | Special):
                function = _Part(self, name)
            elif isinstance(found, type) or not callable(found) or name in PLAIN:
                function = found
            else:
                function = partial(self._unknown, name, found)
        setattr(self, name, function)
        return function

    def failing_element(
        self, operands: Sequence[Any], error_of: Callable[[Any, Sequence[Any]], Exception | None]
    ) -> tuple[list[Any], Exception | None]:
        """The operands and the error of the first element of the highest level that has one.

        By bisection. There is no error if no element has one, as in a batch of none.
        """
        level = _highest(operands)
        held = [level_of(operand) == level for operand in operands]
        start, stop = 0, next(one.array.shape[0] for one, own in zip(operands, held) if own)

        def part(index: Any, convert: Callable[[Any], Any]) -> list[Any]:
            return [convert(one.array[index]) if own else one for one, own in zip(operands, held)]

        while stop - start > 1:
            middle = (start + stop) // 2
            half = part(slice(start, middle), lambda array: wrapped(array, level))
            start, stop = (middle, stop) if error_of(self, half) is None else (start, middle)
        if start == stop:
            return [], None
        element = part((start, ...), lambda array: array)
        xp = common_namespace(*[one for one in element if hasattr(one, "dtype")])
        return element, error_of(xp, element)

    def concatenate(self, arrays: Sequence[Any], axis: int | None = 0) -> Any:
        return self.concat_arrays(*arrays, axis=axis)

    concat = concatenate

    def stack(self, arrays: Sequence[Any], axis: int = 0) -> Any:
        return self.stack_arrays(*arrays, axis=axis)

    def get_item(self, x: Any, index: Any) -> Any:
        pattern, arrays = split(index)
        return self.getitem(x, *arrays, index=pattern)

    def set_item(self, x: Any, index: Any, value: Any) -> None:
        pattern, arrays = split(index)
        if _highest((value, *arrays)) > x.level:
            raise BatchError(
                "vmap: an assignment to an array that has no value of its own for each element of "
                f"the batch, at {user_line()}. Make it of one that has, as by gg.zeros_like(x), "
                "or write y = y.at[index].set(value)"
            )
        try:
            self._apply("set_item", indexing.set_item, x, value, *arrays, index=pattern)
        except (IndexError, TypeError, ValueError) as error:

            def error_of(xp: Any, operands: Sequence[Any]) -> Exception | None:
                one, value, *arrays = operands
                try:
                    one.copy()[joined(pattern, arrays)] = value
                except (IndexError, TypeError, ValueError) as own:
                    return own
                return None

            _, own = self.failing_element((x, value, *arrays), error_of)
            raise own or error from None

    def add_slice(self, total: Any, index: Any, g: Any) -> bool:
        cls, level = type(g), level_of(g)
        if not level and not level_of(total):
            return bool(self.lifts.add_slice(total, index, g))
        if type(total) is not cls or total.level != level or type(g.array) is cls:
            return False
        whole = index if isinstance(index, tuple) else (index,)
        total.array[(slice(None), *whole)] += g.array
        return True

    def _same(self, name: str, x: Any, /, *given: Any, **parameters: Any) -> Any:
        return getattr(self.lifts, name)(innermost(x), *given, **parameters)

    def _filled(self, name: str, /, *given: Any, **parameters: Any) -> Any:
        level, own = _highest(given), list(given)
        size = next((one.array.shape[0] for one in given if level_of(one) == level > 0), None)
        for index, operand in enumerate(own[: FILLED[name]]):
            if size is not None and level_of(operand) < level:
                array = namespace_of(operand).broadcast_to(operand, (size, *operand.shape))
                own[index] = wrapped(array, level)
        return FORMULAS[name](self, *own, **parameters)

    def _apply(self, name: str, rule: Callable[..., Any], /, *given: Any, **parameters: Any) -> Any:
        """Call a rule over the arrays of the highest level among the operands."""
        level = _highest(given)
        if not level:
            return _function(self.lifts, name)(*given, **parameters)
        inner: list[Any] = []
        held: list[bool] = []
        xp, size = self.lifts, 0
        for operand in given:
            own = isinstance(operand, Batched) and operand.level == level
            if own:
                operand = operand.array
                size = operand.shape[0]
            if isinstance(operand, Batched):
                xp = self
            elif xp is not self and (other := NAMESPACES.get(type(operand))) is not None:
                xp = other if getattr(other, "lifts", None) is xp else xp
            inner.append(operand)
            held.append(own)
        operands = Operands(xp, name, inner, held, size, level)
        made = wrapped(rule(operands, **parameters), level)
        return made.seen_from(given[0]) if name in VIEWS and level_of(given[0]) == level else made

    def _alike(self, name: str) -> Callable[..., Any]:
        """An elementwise function; quick for one level where nothing has to be aligned."""
        general = partial(self._apply, name, elementwise)
        if self.lifts.lifts is not None or name in VIEWS:
            return general
        lifts, function, own = self.lifts, getattr(self.lifts, name), _type(self.lifts)

        def quick(*given: Any, **parameters: Any) -> Any:
            level, ndim, most = 0, 0, 0
            arrays = []
            for operand in given:
                cls = operand.__class__
                if cls is own:
                    array = operand.array
                    if not level:
                        level, ndim = operand.level, len(operand.shape)
                    elif operand.level != level or len(operand.shape) != ndim:
                        return general(*given, **parameters)
                    if array.__class__ is own:  # of a level below
                        return general(*given, **parameters)
                    arrays.append(array)
                    continue
                if cls not in NUMBERS:
                    if NAMESPACES.get(cls) is not lifts:
                        return general(*given, **parameters)
                    if (count := len(operand.shape)) > most:
                        most = count
                arrays.append(operand)
            if not level or most > ndim:
                return general(*given, **parameters)
            result = function(*arrays, **parameters) if parameters else function(*arrays)
            return own(result, level) if result.__class__ is not tuple else wrapped(result, level)

        return quick

    def _unknown(
        self, name: str, found: Callable[..., Any], /, *given: Any, **parameters: Any
    ) -> Any:
        if any(map(level_of, given)):
            raise BatchError(
                f"vmap: there is no rule for {name} of a batched array. Compute it outside of the "
                "function that vmap was given, or loop over the elements"
            )
        return found(*given, **parameters)


def _highest(operands: Sequence[Any]) -> int:
    level = 0
    for operand in operands:
        if isinstance(operand, Batched) and operand.level > level:
            level = operand.level
    return level


def _function(xp: Any, name: str) -> Callable[..., Any]:
    """A function of a namespace by its dotted name, or of those with a list of arrays."""
    for part in name.split("."):
        xp = getattr(xp, part)
    function: Callable[..., Any] = xp
    return function


def elementwise(operands: Operands, **parameters: Any) -> Any:
    """A function of each element: the logical axes are aligned from the right, as ever."""
    return _function(operands.xp, operands.name)(*aligned(operands), **parameters)


class _Part:
    """A part of a namespace: ``xp.special``, whose functions are elementwise, ``xp.linalg``, ..."""

    def __init__(self, xp: Batching, name: str) -> None:
        self._xp = xp
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        path = f"{self._name}.{name}"
        rule = RULES.get(path) or (elementwise if self._name == "special" else None)
        if rule is None:
            found = _function(self._xp.lifts, path)
            function: Any = partial(self._xp._unknown, path, found)
        else:
            function = partial(self._xp._apply, path, rule)
        setattr(self, name, function)
        return function


def batched_type(namespace: Any) -> type[Batched]:
    """The type of batched arrays over those of a namespace."""
    return _type(namespace.lifts if isinstance(namespace, Batching) else namespace)


@cache
def _type(namespace: Any) -> type[Batched]:
    cls: type[Batched] = type("Batched", (Batched,), {"__slots__": ()})
    cls.xp = Batching(namespace)
    register(cls, cls.xp)
    return cls


use_types(batched_type)
