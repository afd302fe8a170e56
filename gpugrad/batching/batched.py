"""The array type with a hidden leading axis. Imports backend and errors.

``Batched(array, level)`` stands for one element of ``array`` along its first axis, and shows the
shape of that. Levels number the `gpugrad.vmap` calls that are running: an inner one has a higher
number than those around it. The array of a batched array may be batched itself, by a lower level.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpugrad.backend.lines import user_line
from gpugrad.backend.namespace import NAMESPACES, namespace_of
from gpugrad.backend.operators import BINARY, COMPARISONS, UNARY
from gpugrad.errors import BatchError

__all__ = ["Batched", "by_value", "enter", "innermost", "leave", "level_of", "use_types", "wrapped"]

# Set once by `namespace`: the type of batched arrays over those of a namespace.
_type_of: Callable[[Any], "type[Batched]"]


def use_types(type_of: Callable[[Any], "type[Batched]"]) -> None:
    """Set what gives the type of batched arrays over those of a namespace."""
    global _type_of
    _type_of = type_of


class Batched:
    """An array with a hidden first axis, that of the elements of a batch.

    There is a subclass for each namespace of the arrays that are batched. ``base`` is the batched
    array that this one is a view of, if any.
    """

    __slots__ = ("__weakref__", "array", "base", "dtype", "level", "shape")

    __array_priority__ = 600.0  # below a Tensor's

    xp: Any  # the namespace of the subclass

    def __init__(self, array: Any, level: int) -> None:
        self.array = array
        self.level = level
        self.base: Batched | None = None
        self.shape = array.shape[1:]
        self.dtype = array.dtype

    # What arrays have.

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        return int(self.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def strides(self) -> Any:
        """Those of an element, also of one among others: views are compared element by element."""
        if self.array.shape[0]:
            return self.array.strides[1:]
        strides, step = [], self.itemsize  # NumPy's are any numbers where there is no element
        for size in reversed(self.shape):
            strides.append(step)
            step *= size
        return tuple(reversed(strides))

    @property
    def flags(self) -> Any:
        return self.array.flags

    @property
    def T(self) -> "Batched":  # noqa: N802 - NumPy's name
        turned: Batched = self.xp.transpose(self)
        return turned

    @property
    def real(self) -> Any:
        return self.xp.real(self)

    @property
    def imag(self) -> Any:
        return self.xp.imag(self)

    def astype(self, dtype: Any, copy: bool = True) -> "Batched":
        if self.dtype == dtype and not copy:
            return self
        return type(self)(self.array.astype(dtype), self.level)

    def copy(self, order: str = "C") -> "Batched":
        return type(self)(self.array.copy(), self.level)

    def reshape(self, *shape: Any) -> "Batched":
        if len(shape) == 1 and not hasattr(shape[0], "__index__"):
            (shape,) = shape
        sizes = [int(size) for size in shape]
        if -1 in sizes:  # the hidden axis may have no elements
            known = -math.prod(sizes)
            sizes[sizes.index(-1)] = self.size // known if known else 0
        array = self.array
        return type(self)(array.reshape((array.shape[0], *sizes)), self.level).seen_from(self)

    def seen_from(self, other: "Batched") -> "Batched":
        """The same, as a view of another array where it is over its memory."""
        owner = self.xp.lifts.owner_of
        if owner(innermost(self)) is owner(innermost(other)):
            self.base = other if other.base is None else other.base
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name in ("item", "tolist", "tobytes"):
            raise by_value(f"a value (.{name})", _CHOOSE)
        function = getattr(self.xp, name)
        return lambda *operands, **parameters: function(self, *operands, **parameters)

    def __getitem__(self, index: Any) -> "Batched":
        item: Batched = self.xp.get_item(self, index)
        return item

    def __setitem__(self, index: Any, value: Any) -> None:
        self.xp.set_item(self, index, value)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __iter__(self) -> Iterator["Batched"]:
        return (self[index] for index in range(len(self)))

    def __bool__(self) -> bool:
        raise by_value("the truth", _CHOOSE)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise by_value(
            "a NumPy array",
            f"{_OUTSIDE}. In place of an assignment to an array that has no value for each "
            "element, write y = y.at[index].set(value)",
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **keywords: Any) -> Any:
        # Of ``a += b`` the result is bound to a: there is no need to write it into ``out``.
        if method != "__call__" or keywords.keys() - {"out"}:
            raise BatchError(f"vmap: np.{ufunc.__name__}.{method} has no rule for a batched array")
        return getattr(self.xp, ufunc.__name__)(*operands)

    def __repr__(self) -> str:
        return f"<batched array: {self.dtype}{list(self.shape)} for each of {self.array.shape[0]}>"

    __hash__ = object.__hash__


_CHOOSE = (
    "Write gg.where(condition, a, b) in place of `if condition`, gg.take(x, k + gg.arange(n)) in "
    "place of x[k : k + n], or compute what is asked for outside of the function given to vmap"
)
_OUTSIDE = (
    "Compute it outside of the function that vmap was given, write gg.asarray(array)[i] for an "
    "array of NumPy that is indexed, or make what takes NumPy's arrays a "
    "gg.custom_op(..., host=True), which is called for each element"
)


def by_value(what: str, instead: str = "") -> BatchError:
    """The error where Python code asks for a value, which is another one for each element."""
    instead = instead or _OUTSIDE
    return BatchError(
        f"vmap: {what} is asked for at {user_line()}, of an array that has a value for each "
        f"element of the batch. {instead}"
    )


def _reads(what: str) -> Callable[..., Any]:
    def read(self: Batched, *_: Any) -> Any:
        raise by_value(what, _CHOOSE)

    return read


for _name in ("int", "float", "complex", "index", "round", "trunc", "floor", "ceil", "format"):
    setattr(Batched, f"__{_name}__", _reads("a number"))


def _operator(name: str, reflected: bool = False) -> Callable[..., Any]:
    def apply(self: Batched, other: Any) -> Any:
        if other.__class__ not in NAMESPACES and not _is_operand(other):
            return NotImplemented
        function = getattr(self.xp, name)
        return function(other, self) if reflected else function(self, other)

    return apply


def _unary(name: str) -> Callable[..., Any]:
    return lambda self: getattr(self.xp, name)(self)


def _is_operand(other: Any) -> bool:
    cls = type(other)
    return cls in NAMESPACES or (
        not hasattr(cls, "_node") and isinstance(other, int | float | complex | np.generic)
    )


# There are no operators in place: ``a += b`` binds a new array, since a may lack b's level.
for _method, _name in {**BINARY, "matmul": "matmul", **COMPARISONS, **UNARY}.items():
    setattr(Batched, f"__{_method}__", (_unary if _method in UNARY else _operator)(_name))
    if _method not in COMPARISONS and _method not in UNARY:
        setattr(Batched, f"__r{_method}__", _operator(_name, reflected=True))


# ---------------------------------------------------------------- levels


def level_of(operand: Any) -> int:
    """The level of a batched array, 0 for anything else."""
    return operand.level if isinstance(operand, Batched) else 0


def innermost(operand: Any) -> Any:
    """The array below all levels."""
    while isinstance(operand, Batched):
        operand = operand.array
    return operand


def wrapped(result: Any, level: int) -> Any:
    """A result, all arrays of which have the hidden axis in front."""
    if isinstance(result, tuple | list):
        return tuple([wrapped(one, level) for one in result])
    if result is None:
        return None
    cls = type(result) if isinstance(result, Batched) else _type_of(namespace_of(result))
    return cls(result, level)


def enter(array: Any, level: int, axis: int) -> Any:
    """An array, one axis of which becomes the hidden one of a level."""
    if level_of(array) > level:
        return wrapped(enter(array.array, level, axis + 1), array.level)
    made: Batched = wrapped(_moved(array, axis, 0), level)
    made.base = type(made)(made.array, level)  # somebody else has the memory
    return made


def leave(array: Any, level: int, axis: int, size: int) -> Any:
    """An array whose hidden axis of a level becomes the axis ``axis``; repeated if it has none."""
    own = level_of(array)
    if own > level:
        return wrapped(leave(array.array, level, axis + 1, size), own)
    if own == level:
        return _moved(array.array, 0, axis)
    xp = namespace_of(array)
    return _moved(xp.broadcast_to(array, (size, *array.shape)), 0, axis)


def _moved(array: Any, source: int, to: int) -> Any:
    if source == to:
        return array
    axes = list(range(len(array.shape)))
    axes.insert(to, axes.pop(source))
    return namespace_of(array).transpose(array, tuple(axes))
