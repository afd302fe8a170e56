"""From an array's type to the namespace that computes on it. Imports natives and errors.

A rule is a function over a namespace: ``lambda xp, g, y, x: g * xp.cos(x)``. The
namespace of NumPy arrays has every function of ``numpy`` and, beside them, the
functions of gpugrad's own table that NumPy lacks (``sigmoid``, ``logsumexp``), so
that a formula finds the same names whatever array type it runs over.

A namespace also answers all that the engine asks about its arrays: on which device one lives,
whether looking at a value waits, who owns the memory. `register` lets arrays of a new type in.
"""

import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy

from gpugrad.backend.natives import native
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

# Formulas of the op table, by name, that every namespace offers: filled by gpugrad.ops.
FORMULAS: dict[str, Callable[..., Any]] = {}
# The derivative rules of the table's elementwise ops, by name: a namespace may make kernels of
# them, and of their formulas.
ELEMENTWISE: dict[str, tuple[Callable[..., Any] | None, ...] | None] = {}


class Namespace:
    """The functions that compute on one type of array.

    A name is looked up in ``fast`` (replacements that are quicker than the module's
    own function, and ``special``), then in the op table's formulas, then in ``module``; what was
    found stays as an attribute, so the second look-up costs as much as that of a module. Formulas
    whose op has the name of a function of the module reach it as ``native_argsort``.

    ``checks`` is called with an op's name and its raw operands before the op runs, and
    raises where they cannot meet (two devices); None where nothing can be wrong. ``alone`` says
    that there is one device of the kind, so that arrays of this type can always meet and only what
    comes with others is checked.

    ``rules(op)`` gives the derivative rules that backward() runs on this type of array in place of
    the op's own. ``multi_tensor`` runs one kernel over many arrays, see
    `gpugrad.kernels.multi_tensor`. ``add_product(total, a, b)`` adds a @ b to an array in place and
    says whether it has. None where there is none.

    ``waits`` says whether looking at a value (``bool(x)``, ``x.item()``) waits for a device.
    ``atomic`` has the characters of the dtypes whose numbers `add_at` adds in any order, by atomic
    operations, taking no others; None where it takes all and adds in the order of the indices.

    The methods answer questions about an array. They suit arrays that resemble NumPy's and live in
    the host's memory; a subclass overrides those whose answers differ.
    """

    atomic: str | None = None
    waits: bool = False

    rules: Callable[[Any], Any] | None = None
    multi_tensor: Any = None
    add_product: Callable[[Any, Any, Any], bool] | None = None
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
        """Kind and index of the `gpugrad.Device` of an array: by default the host's."""
        return "cpu", 0

    def owner_of(self, array: Any) -> Any:
        """What owns an array's memory: one object, weakly referable, for all views of the memory.

        By default the end of the chain of ``base``, as NumPy and CuPy have it.
        """
        while (base := getattr(array, "base", None)) is not None and hasattr(base, "base"):
            array = base
        return array

    def owns_buffer(self, array: Any) -> bool:
        """Whether an array that nothing else refers to has its memory for itself.

        The engine then adds to it in place, or hands it over. By default only where ``base`` is
        None: an array that has no ``base`` may be a view.
        """
        return getattr(array, "base", array) is None

    def address(self, array: Any) -> int | None:
        """The address of an array's first element; None, by default, where it is not known."""
        return None

    def copy(self, array: Any) -> Any:
        """A copy of an array, on its device."""
        return array.copy()

    def add_at(self, out: Any, index: Any, values: Any) -> None:
        """Add values to the elements at an index, to a repeated element each of its values."""
        self.module.add.at(out, index, values)

    def maximum_at(self, out: Any, index: Any, values: Any) -> None:
        """Let elements be the largest of themselves and of the values at their places."""
        self.module.maximum.at(out, index, values)

    def to_numpy(self, array: Any) -> numpy.ndarray:
        """An array as a NumPy array on the host, not a copy where it is one already."""
        found = numpy.asarray(array)
        if found.dtype == object != array.dtype:
            raise DTypeError(
                f"{_name(type(array))} does not become a NumPy array: give it a method __array__, "
                "or override to_numpy in its gpugrad.backend.Namespace"
            )
        return found

    def listen(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call ``callback(kind)`` before each wait for a device; returns what ends it.

        Also before each copy to a device, with the kind "host to device". By default there is none.
        """
        return lambda: None

    def __getattr__(self, name: str) -> Any:
        formula = FORMULAS.get(name)
        if formula is None:
            found = native(self.module, name.removeprefix("native_"))
        else:
            found = partial(formula, self)
        setattr(self, name, found)
        return found

    def __repr__(self) -> str:
        return f"<namespace of {self.module.__name__}>"


# By type, those known so far; None for numbers, which go where the arrays are.
NAMESPACES: dict[type, Any] = {}
# By the name of a package that is not imported before it is needed: what registers its arrays.
LIBRARIES: dict[str, Callable[[], None]] = {}


def register(array_type: type, namespace: Any) -> None:
    """Let arrays of a type, and of its subclasses, be differentiated.

    The arrays need what rules and the engine ask of any array: ``shape``, ``dtype`` (a NumPy
    dtype), ``ndim``, ``size``, operators, indexing, ``astype``, ``reshape``, ``item``, ``copy`` and
    ``bool``. ``namespace`` is a `Namespace` around a module, or another object, that has NumPy's
    functions for them; each op needs those that its formula calls. Functions and indices give
    arrays of the type, not NumPy's scalars, and ``asarray`` makes one of a NumPy array. Arrays of
    two types do not meet in one operation.

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
    kind = type(array)
    if kind not in NAMESPACES:
        NAMESPACES[kind] = _look_for(kind)
    return NAMESPACES[kind]


def imported() -> list[Any]:
    """The namespaces of all libraries of arrays that are imported."""
    modules = [getattr(namespace, "module", None) for namespace in NAMESPACES.values()]
    for library, register_arrays in LIBRARIES.items():
        if library in sys.modules and sys.modules[library] not in modules:
            register_arrays()
    return [namespace for namespace in dict.fromkeys(NAMESPACES.values()) if namespace is not None]


def waits(array: Any) -> bool:
    """Whether looking at a value of an array waits for a device; False for numbers.

    >>> waits(numpy.ones(3)), waits(1.0)
    (False, False)
    """
    namespace = namespace_of(array)
    return namespace is not None and namespace.waits


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _look_for(kind: type) -> Any:
    masked = sys.modules.get("numpy.ma")  # imported by those who have masked arrays
    if issubclass(kind, numpy.matrix) or (masked and issubclass(kind, masked.MaskedArray)):
        raise DTypeError(
            f"expected a plain array, got {_name(kind)}, whose operators "
            "do other things; convert it with numpy.asarray, or a masked array with .filled"
        )
    # Arrays before numbers: numpy.float64 is a float as well.
    for known, namespace in sorted(NAMESPACES.items(), key=lambda item: item[1] is None):
        if issubclass(kind, known):
            return namespace
    library = kind.__module__.partition(".")[0]
    if library in LIBRARIES and library in sys.modules:
        LIBRARIES[library]()
        if kind in NAMESPACES:
            return NAMESPACES[kind]
    raise DTypeError(
        f"expected a NumPy, CuPy or sim array or a number, got {_name(kind)}; convert it first, "
        "for example with numpy.asarray, or register its type with gpugrad.backend.register"
    )
