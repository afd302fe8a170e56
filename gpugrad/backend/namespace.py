"""From an array's type to the namespace that computes on it. Imports natives and errors.

A rule is a function over a namespace: ``lambda xp, g, y, x: g * xp.cos(x)``. The
namespace of NumPy arrays has every function of ``numpy`` and, beside them, the
functions of gpugrad's own table that NumPy lacks (``sigmoid``, ``logsumexp``), so
that a formula finds the same names whatever array type it runs over.
"""

import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, ClassVar

import numpy

from gpugrad.backend.natives import native
from gpugrad.errors import DTypeError

__all__ = ["ELEMENTWISE", "FORMULAS", "Namespace", "namespace_of", "register"]

# Formulas of the op table, by name, that every namespace offers: filled by gpugrad.ops.
FORMULAS: dict[str, Callable[..., Any]] = {}
# The derivative rules of the table's elementwise ops, by name: a namespace may make kernels of
# them, and of their formulas.
ELEMENTWISE: dict[str, tuple[Callable[..., Any] | None, ...] | None] = {}


class Namespace:
    """The functions that compute on one type of array.

    A name is looked up in ``fast`` (replacements that are quicker than the module's
    own function, and ``special``), then in the op table's formulas, then in ``module``; what was
    found stays as an attribute, so the second look-up costs as much as that of a module.

    ``checks`` is called with an op's name and its raw operands before the op runs, and
    raises where they cannot meet (two devices); None where nothing can be wrong. ``alone`` says
    that there is one device of the kind, so that arrays of this type can always meet and only what
    comes with others is checked.

    ``rules(op, chained)`` gives the derivative rules that backward() runs on this type of array in
    place of the op's own; None where they run as they are written. With ``chained``, those of the
    second op of a chain may give what only the first op understands. ``Namespace.fusing`` says
    whether there is any namespace that has it. ``multi_tensor`` runs one kernel over many arrays,
    see `gpugrad.kernels.multi_tensor`, and ``epilogue`` what follows a product of matrices.
    ``add_product(total, a, b)`` adds a @ b to an array in place and says whether it has; it is
    asked where ``fusing``. None where there is none.
    """

    rules: Callable[[Any, bool], Any] | None = None
    fusing: ClassVar[bool] = False
    multi_tensor: Any = None
    epilogue: Any = None
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

    def __getattr__(self, name: str) -> Any:
        formula = FORMULAS.get(name)
        found = native(self.module, name) if formula is None else partial(formula, self)
        setattr(self, name, found)
        return found

    def __repr__(self) -> str:
        return f"<namespace of {self.module.__name__}>"


# By type, those known so far; None for numbers, which go where the arrays are.
NAMESPACES: dict[type, Any] = {}


def register(kind: type, namespace: Any) -> None:
    """Let arrays of type ``kind``, and of its subclasses, be computed on with ``namespace``."""
    NAMESPACES[kind] = namespace


def namespace_of(array: Any) -> Any:
    """The namespace of an array, None for a Python number; DTypeError for anything else."""
    kind = type(array)
    if kind not in NAMESPACES:
        NAMESPACES[kind] = _look_for(kind)
    return NAMESPACES[kind]


def _look_for(kind: type) -> Any:
    masked = sys.modules.get("numpy.ma")  # imported by those who have masked arrays
    if issubclass(kind, numpy.matrix) or (masked and issubclass(kind, masked.MaskedArray)):
        raise DTypeError(
            f"expected a plain array, got {kind.__module__}.{kind.__qualname__}, whose operators "
            "do other things; convert it with numpy.asarray, or a masked array with .filled"
        )
    # Arrays before numbers: numpy.float64 is a float as well.
    for known, namespace in sorted(NAMESPACES.items(), key=lambda item: item[1] is None):
        if issubclass(kind, known):
            return namespace
    if kind.__module__.partition(".")[0] == "cupy" and "cupy" in sys.modules:
        from gpugrad.backend import cuda

        cuda.register_arrays()
        if kind in NAMESPACES:
            return NAMESPACES[kind]
    raise DTypeError(
        f"expected a NumPy or CuPy array, got {kind.__module__}.{kind.__qualname__}; "
        "convert it first, for example with numpy.asarray"
    )
