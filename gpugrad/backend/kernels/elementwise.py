"""One kernel for an elementwise formula: CuPy's ElementwiseKernel around a written body.

`Fused` stands in for a formula of the op table, forward or derivative. The first call with
operands of certain dtypes writes the kernel (see `expression`); what follows costs a look into
a dict. Imports the modules beside it, and CuPy when a kernel is first launched.
"""

import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.kernels.expression import EXPRESSIONS, NotFusibleError, Value, Writer
from gpugrad.backend.kernels.wide import Wide, for_large
from gpugrad.backend.namespace import ELEMENTWISE, FORMULAS, NAMESPACES, Namespace

__all__ = ["Fused", "FusingNamespace", "Kernel", "cupy_kernel", "write"]

Formula = Callable[..., Any]

# Numbers that formulas look at (`x ** 2`) and that are few: they are written into the kernel.
# All others are arguments, so that a schedule of learning rates compiles nothing anew.
WRITTEN = frozenset((-2, -1, -0.5, 0, 0.5, 1, 2, 3, 4))
LARGE = 2**63  # no argument of a kernel holds it


class Kernel(NamedTuple):
    """What a kernel takes, gives and does.

    ``inputs`` are pairs of an operand's position and its type; the n-th is called xn in the
    body, and the result, of type ``output``, is y. A type is the name of a NumPy dtype.
    ``numbers`` says which inputs are Python or NumPy scalars. ``functions`` are definitions that
    stand before the kernel: of the special functions that the body calls.
    """

    name: str
    inputs: tuple[tuple[int, str], ...]
    numbers: tuple[bool, ...]
    output: str
    body: str
    functions: tuple[str, ...] = ()


def write(name: str, formula: Formula, operands: tuple[Any, ...], words: dict[str, Any]) -> Any:
    """The Kernel of a formula for operands of these types; or the position of an operand.

    The latter where the formula gives an operand back as it is. Operands are arrays, stand-ins
    for arrays that were not kept (only their dtype is asked for), numbers, None and words.
    NotFusibleError where there is no kernel for it.
    """
    writer = Writer()
    everything = (*operands, *words.values())
    values = [_value(writer, operand, index) for index, operand in enumerate(everything)]
    for index, value in enumerate(words.values(), len(operands)):
        if type(value) is not float:  # a formula may count up to a whole number
            values[index] = value
    options = dict(zip(words, values[len(operands) :]))
    result = formula(EXPRESSIONS, *values[: len(operands)], **options)
    if not isinstance(result, Value) or result.weak is not None:
        raise NotFusibleError(f"{name} gives no array")
    for index, value in enumerate(values[: len(operands)]):
        if result is value:
            return index
    inputs = []
    numbers = []
    for index in sorted(result.reads):
        operand = everything[index]
        number = isinstance(operand, int | float | np.generic)
        if not number and type(operand) not in NAMESPACES:
            raise NotFusibleError(f"{name} asks for elements of an array that was not kept")
        inputs.append((index, _type_of(operand)))
        numbers.append(number)
    half = "(float16)" if result.dtype == np.float16 else ""
    lines = [*writer.body(result), f"y = {half}{result.code};"]
    types = tuple(inputs), tuple(numbers), result.dtype.name
    return Kernel(name, *types, "\n".join(lines), writer.functions(lines))


def _type_of(operand: Any) -> str:
    kind = type(operand)
    return "float64" if kind is float else "int64" if kind is int else operand.dtype.name


def _written(number: int | float) -> bool:
    if type(number) is int and abs(number) >= LARGE:
        return True
    # -0.0 equals 0, and the two are not the same number: it is an argument.
    return number in WRITTEN and (number != 0 or math.copysign(1, number) > 0)


def _value(writer: Writer, operand: Any, index: int) -> Any:
    kind = type(operand)
    if (kind is float or kind is int) and not _written(operand):
        return writer.number(f"x{index}", kind, index)
    if operand is None or kind in (bool, int, float, str):
        return operand
    dtype = getattr(operand, "dtype", None)
    if dtype is None:
        raise NotFusibleError(f"an operand is a {kind.__name__}")
    return writer.operand(f"x{index}", dtype, index)


def cupy_kernel(kernel: Kernel) -> Callable[..., Any]:
    """The kernel as CuPy compiles and launches it, with its broadcasting and strides.

    Large arrays that need neither go to a `Wide` kernel with the same body.
    """
    cupy = import_module("cupy")
    words = [f"{dtype} x{index}" for index, dtype in kernel.inputs]
    launch: Callable[..., Any] = cupy.ElementwiseKernel(
        ", ".join(words),
        f"{kernel.output} y",
        kernel.body,
        f"gpugrad_{kernel.name}",
        preamble="".join(kernel.functions),
        options=("--std=c++17",),  # as CuPy compiles its special functions
    )
    return Wide(kernel, launch, cupy) if Wide.takes(kernel) else launch


class Fused:
    """A formula ``f(xp, *operands, **words)`` that runs as one kernel where it can.

    ``make(kernel)`` compiles. A formula for whose operands there is no kernel (complex
    numbers, say) runs as it is, operation by operation, in the namespace that it is given.
    """

    __slots__ = ("_formula", "_known", "_make", "_name")

    def __init__(self, name: str, formula: Formula, make: Callable[[Kernel], Any]) -> None:
        self._name = name
        self._formula = formula
        self._make = make
        self._known: dict[Any, Any] = {}

    def __call__(self, xp: Any, *operands: Any, **words: Any) -> Any:
        everything = (*operands, *words.values()) if words else operands
        key = (*map(_key, everything), *words)
        launch = self._known.get(key)
        if launch is None:
            launch = self._known[key] = self._plan(operands, words)
        if launch is NotFusibleError:
            return self._formula(xp, *operands, **words)
        return launch(everything)

    def _plan(self, operands: tuple[Any, ...], words: dict[str, Any]) -> Any:
        try:
            kernel = write(self._name, self._formula, operands, words)
        except NotFusibleError:
            return NotFusibleError
        if isinstance(kernel, int):
            return itemgetter(kernel)
        launch = self._make(kernel)
        positions = [index for index, _ in kernel.inputs]
        return lambda everything: launch(*[everything[index] for index in positions])


def _key(operand: Any) -> Any:
    kind = type(operand)
    if kind is float or kind is int:
        return kind, operand if _written(operand) else None
    dtype = getattr(operand, "dtype", None)
    if dtype is None:
        return kind, operand
    # An array, a number with a dtype, or a stand-in.
    return kind, dtype.char


class FusingNamespace(Namespace):
    """A namespace in which the op table's elementwise formulas and rules are kernels."""

    def __init__(
        self,
        module: Any,
        fast: dict[str, Callable[..., Any]] | None = None,
        checks: Callable[[str, tuple[Any, ...]], None] | None = None,
        alone: bool = False,
        make: Callable[[Kernel], Any] = cupy_kernel,
    ) -> None:
        super().__init__(module, fast, checks, alone)
        Namespace.fusing = True
        self._make = make
        self._rules: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in ELEMENTWISE:
            return super().__getattr__(name)
        formula = FORMULAS.get(name)
        found = self._native(name) if formula is None else self._fused(name, formula)
        setattr(self, name, found)
        return found

    def _fused(self, name: str, formula: Formula) -> Formula:
        return partial(Fused(name, formula, self._make), self)

    def _native(self, name: str) -> Formula:
        """A function of the module's, which is one kernel, and for large arrays one of ours."""
        function = getattr(self.module, name)

        def formula(xp: Any, *operands: Any) -> Any:
            return function(*operands) if xp is self else getattr(xp, name)(*operands)

        return for_large(self._fused(name, formula), function, self.module.ndarray)

    def rules(self, op: Any, chained: bool) -> Any:
        """The op's rules, each as one kernel if the op is an elementwise one of the table."""
        if op.chained and chained and self.epilogue is not None:
            return (partial(self.epilogue.vjp, op.name),)
        found = self._rules.get(op)
        if found is None:
            rules = op.vjps
            if rules is not None and ELEMENTWISE.get(op.name) is rules:
                rules = tuple(
                    None if rule is None else Fused(f"{op.name}_vjp{index}", rule, self._make)
                    for index, rule in enumerate(op.vjps)
                )
            found = self._rules[op] = rules
        return found
