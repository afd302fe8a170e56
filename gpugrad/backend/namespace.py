"""From the type of an array to its namespace. Imports cupy_compat and errors.

A rule is a function over a namespace: ``lambda xp, g, y, x: g * xp.cos(x)``. The namespace of NumPy
arrays has every function of ``numpy``, and the functions of the op table that NumPy lacks
(``sigmoid``, ``logsumexp``). So a formula finds the same names over every array type.

A namespace also answers what the engine asks about its arrays: on which device one is, whether
reading a value waits, who owns the memory. `register` adds an array type.
"""

import math
import sys
from collections.abc import Callable, Iterable
from functools import partial
from operator import mul
from types import ModuleType
from typing import Any

import numpy

from gpugrad.backend.cupy_compat import native
from gpugrad.errors import DTypeError

__all__ = [
    "ELEMENTWISE",
    "FORMULAS",
    "LIBRARIES",
    "NAMESPACES",
    "Namespace",
    "imported",
    "namespace_of",
    "register",
    "waits",
]

# The formulas of the op table by name, which every namespace offers; filled by gpugrad.ops.
FORMULAS: dict[str, Callable[..., Any]] = {}
# The derivative rules of elementwise ops by name: a namespace may compile them, and their formulas,
# to kernels.
ELEMENTWISE: dict[str, tuple[Callable[..., Any] | None, ...] | None] = {}


# The dtypes in which `add_at` adds, and the number of positions from which it does for float32.
WIDER = {"e": "f", "f": "d", "F": "D"}
MANY = 1 << 16


def _positions(index: Any) -> int:
    """How often an index may name one element: as often as its arrays have elements together."""
    parts = index if isinstance(index, tuple) else (index,)
    shapes = [part.shape for part in parts if hasattr(part, "shape")]
    return math.prod(numpy.broadcast_shapes(*shapes))


class Namespace:
    """The functions that compute on one type of array.

    A name is looked up in ``fast`` (faster replacements, and ``special``), then in the formulas of
    the op table, then in ``module``. The function stays as an attribute, so later lookups cost what
    they cost in a module. The formula of an op that has the name of a function of the module calls
    that function as ``native_argsort``.

    ``checks(op, raws)`` runs before an op and raises where its raw operands cannot meet (two
    devices); None where they always can. ``alone`` says that there is one device of this kind: then
    operands of this type alone need no check.

    ``rules(op)`` returns the derivative rules that backward() runs on this array type in place of
    those of the op. ``multi_tensor`` runs one kernel over many arrays, see
    `gpugrad.kernels.multi_tensor`. ``philox(key, start, high, words)`` writes random words, see
    `gpugrad.random.philox`. ``add_product(total, a, b)`` adds a @ b to an array in place and
    returns whether it did; ``product_into(y, a, b)`` writes it there. Each of them may be None.
    ``outer_products(a, b)`` is a * b of stacks of columns and of rows, or a vector: where that can
    be had quicker, its zeros may have another sign.

    ``waits`` says whether reading a value (``bool(x)``, ``x.item()``) waits for a device.
    ``atomic`` has the dtype characters for which `add_at` uses atomic operations, in any order; it
    takes no others. None where it takes all dtypes and adds in the order of the indices.

    ``bfloat16`` names the ops, of those that mostly take bfloat16 in float32, which take its arrays
    as they are.

    ``batched`` says that arrays have an axis that they do not show, see `gpugrad.batching`.

    ``in_place`` says whether the engine may add to an array in place. ``lifts`` is the namespace
    whose arrays this one takes beside its own, as if they were its own.

    The methods answer questions about arrays. By default they suit arrays in host memory that
    resemble NumPy's; a subclass overrides what differs.
    """

    atomic: str | None = None
    waits: bool = False
    in_place: bool = True
    bfloat16: frozenset[str] = frozenset()
    batched: bool = False
    lifts: Any = None

    rules: Callable[[Any], Any] | None = None
    multi_tensor: Any = None
    philox: Callable[[int, int, int, Any], None] | None = None
    add_product: Callable[[Any, Any, Any], bool] | None = None
    product_into: Callable[[Any, Any, Any], bool] | None = None
    outer_products: Callable[[Any, Any], Any] = mul
    special: Any  # the functions of scipy.special, see `gpugrad.backend.special`

    def __init__(
        self,
        module: ModuleType | Any,
        fast: dict[str, Any] | None = None,
        checks: Callable[[str, tuple[Any, ...]], None] | None = None,
        alone: bool = False,
    ) -> None:
        self.module = module
        self.checks = checks
        self.alone = alone or checks is None
        self.__dict__.update(fast or {})

    def device_id(self, array: Any) -> tuple[str, int]:
        """Kind and index of the `gpugrad.Device` of an array: by default of the host."""
        return "cpu", 0

    def owner_of(self, array: Any) -> Any:
        """The owner of the memory of an array: one weakly referable object for all views of it.

        By default the end of the chain of ``base``, as in NumPy and CuPy.
        """
        while (base := getattr(array, "base", None)) is not None and hasattr(base, "base"):
            array = base
        return array

    def owns_buffer(self, array: Any) -> bool:
        """Whether an array to which nothing else refers is the only way to its memory.

        The engine then accumulates into it, or hands it over. By default only if ``base`` is None:
        an array without ``base`` may be a view.
        """
        return getattr(array, "base", array) is None

    def address(self, array: Any) -> int | None:
        """The address of the first element of an array; None, the default, where it is unknown."""
        return None

    def copy(self, array: Any) -> Any:
        """A copy of an array, on its device."""
        return array.copy()

    def expand(self, gradient: Any, shape: tuple[int, ...]) -> Any:
        """A gradient broadcast to a shape: a view, or new memory where that is quicker."""
        return self.broadcast_to(gradient, shape)

    def add_at(self, out: Any, index: Any, values: Any) -> None:
        """Add values to the elements at an index; values of a repeated element add up.

        float16, and many values of float32, are added in a wider dtype: beyond 2048, and 2**24,
        they do not hold the next whole number.
        """
        wide = WIDER.get(out.dtype.char)
        if wide is None or (wide != "f" and _positions(index) < MANY):
            self.module.add.at(out, index, values)
            return
        total = out.astype(wide)
        self.module.add.at(total, index, values.astype(wide))
        out[...] = total

    def add_slice(self, total: Any, index: Any, values: Any) -> bool:
        """Add values to a part of an array, in place; returns whether it did."""
        total[index] += values
        return True

    def maximum_at(self, out: Any, index: Any, values: Any) -> None:
        """Replace the elements at an index by the maximum of themselves and their values."""
        self.module.maximum.at(out, index, values)

    def to_numpy(self, array: Any) -> numpy.ndarray:
        """An array as a NumPy array on the host; itself if it is one already."""
        converted = numpy.asarray(array)
        if converted.dtype == object != array.dtype:
            raise DTypeError(
                f"{_name(type(array))} does not become a NumPy array: give it a method __array__, "
                "or override to_numpy in its gpugrad.backend.Namespace"
            )
        return converted

    def listen(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call ``callback(cause)`` before each wait for a device; returns what stops it.

        Before a copy to a device the cause is "host to device". By default there are no waits.
        """
        return lambda: None

    def __getattr__(self, name: str) -> Any:
        formula = FORMULAS.get(name)
        if formula is None:
            function = native(self.module, name.removeprefix("native_"))
        else:
            function = partial(formula, self)
        setattr(self, name, function)
        return function

    def __repr__(self) -> str:
        return f"<namespace of {self.module.__name__}>"


# The namespaces by type, filled as types are met; None for numbers, which go to any device.
NAMESPACES: dict[type, Any] = {}
# By the name of a library that is imported when needed: the function that registers its arrays.
LIBRARIES: dict[str, Callable[[], None]] = {}


def register(array_type: type, namespace: Any) -> None:
    """Make arrays of a type, and of its subclasses, differentiable.

    The arrays need ``shape``, ``dtype`` (a NumPy dtype), ``ndim``, ``size``, operators, indexing,
    ``astype``, ``reshape``, ``item``, ``copy`` and ``bool``. ``namespace`` is a `Namespace` around
    a module, or another object, with NumPy's functions for them; an op needs those that its formula
    calls. Functions and indexing return arrays of the type, not NumPy scalars; ``asarray`` converts
    a NumPy array. Arrays of two types cannot meet in one operation.

    >>> import gpugrad as gg
    >>> class Boxed(numpy.lib.mixins.NDArrayOperatorsMixin):
    ...     def __init__(self, values):
    ...         self.values = numpy.asarray(values)
    ...         self.shape, self.dtype = self.values.shape, self.values.dtype
    ...
    ...     def copy(self):
    ...         return Boxed(self.values.copy())
    ...
    ...     def __array__(self, dtype=None, copy=None):
    ...         return self.values
    ...
    ...     def __array_ufunc__(self, ufunc, method, *operands):
    ...         return over(ufunc)(*operands)
    >>> def over(function):
    ...     return lambda *xs: Boxed(function(*(getattr(x, "values", x) for x in xs)))
    >>> class Functions:
    ...     def __getattr__(self, name):
    ...         return over(getattr(numpy, name))
    >>> gg.backend.register(Boxed, gg.backend.Namespace(Functions()))
    >>> t = gg.tensor(Boxed([2.0, 3.0]), requires_grad=True)
    >>> gg.square(t).backward(t.detach())
    >>> t.grad
    tensor([ 8., 18.], dtype=float64)
    >>> type(t.grad.data).__name__
    'Boxed'
    """
    NAMESPACES[array_type] = namespace


def namespace_of(array: Any) -> Any:
    """The namespace of an array, None for a Python number; DTypeError for anything else."""
    cls = type(array)
    if cls not in NAMESPACES:
        NAMESPACES[cls] = _look_for(cls)
    return NAMESPACES[cls]


def common_namespace(first: Any, *others: Any) -> Any:
    """The namespace that takes all these arrays: that of the first, or one that `lifts` it."""
    return widest(namespace_of(first), others)


def widest(namespace: Any, arrays: Iterable[Any]) -> Any:
    """The namespace that takes the arrays of a namespace and of these, as far as there is one."""
    for array in arrays:
        own = namespace_of(array)
        if own is not namespace:
            namespace = joint(namespace, own) or namespace
    return namespace


def joint(first: Any, second: Any) -> Any:
    """The namespace that takes the arrays of two others; None if there is none."""
    if takes(second, first):
        return second
    if takes(first, second):
        return first
    for one, other in ((first, second), (second, first)):
        if one is not None and one.batched and (found := one.beside(other)) is not None:
            return found
    return None


def takes(namespace: Any, other: Any) -> bool:
    """Whether a namespace takes the arrays of another one beside its own."""
    while (namespace := getattr(namespace, "lifts", None)) is not None:
        if namespace is other:
            return True
    return False


def imported() -> list[Any]:
    """The namespaces of all array libraries that are imported."""
    modules = [getattr(namespace, "module", None) for namespace in _own()]
    for library, register_arrays in LIBRARIES.items():
        if library in sys.modules and sys.modules[library] not in modules:
            register_arrays()
    return _own()


def _own() -> list[Any]:
    """The namespaces of arrays, but for those that take another one's."""
    found = dict.fromkeys(NAMESPACES.values())
    return [one for one in found if one is not None and getattr(one, "lifts", None) is None]


def waits(array: Any) -> bool:
    """Whether reading a value of an array waits for a device; False for numbers.

    >>> waits(numpy.ones(3)), waits(1.0)
    (False, False)
    """
    namespace = namespace_of(array)
    return namespace is not None and namespace.waits


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _look_for(cls: type) -> Any:
    """The namespace of a type that is not registered itself."""
    masked = sys.modules.get("numpy.ma")  # imported if there are masked arrays
    if issubclass(cls, numpy.matrix) or (masked and issubclass(cls, masked.MaskedArray)):
        raise DTypeError(
            f"expected a plain array, got {_name(cls)}, whose operators "
            "do other things; convert it with numpy.asarray, or a masked array with .filled"
        )
    # Arrays before numbers: numpy.float64 is a float as well.
    for base, namespace in sorted(NAMESPACES.items(), key=lambda item: item[1] is None):
        if issubclass(cls, base):
            return namespace
    library = cls.__module__.partition(".")[0]
    if library in LIBRARIES and library in sys.modules:
        LIBRARIES[library]()
        if cls in NAMESPACES:
            return NAMESPACES[cls]
    raise DTypeError(
        f"expected a NumPy, CuPy or sim array or a number, got {_name(cls)}; convert it first, "
        "for example with numpy.asarray, or register its type with gpugrad.backend.register"
    )
