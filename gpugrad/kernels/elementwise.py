"""One kernel for an elementwise formula: CuPy's ElementwiseKernel around a written body.

`Fused` stands in for a formula of the op table, forward or derivative. The first call with
operands of certain classes (see `operands`) writes the kernel (see `expression`); later calls cost
one look-up in a dict. Imports the modules beside it, and CuPy when a kernel is first launched.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.cupy_namespace import CupyNamespace
from gpugrad.backend.mended_ufuncs import UFUNCS
from gpugrad.backend.namespace import ELEMENTWISE, FORMULAS, NAMESPACES
from gpugrad.backend.natives import native
from gpugrad.codegen.expression import EXPRESSIONS, NotFusibleError, Value, Writer
from gpugrad.codegen.operands import (
    Signature,
    argument,
    classify,
    in_place_of,
    signature,
)
from gpugrad.kernels.wide import Wide, for_large

__all__ = ["Fused", "FusingNamespace", "Kernel", "cupy_kernel", "write"]

Formula = Callable[..., Any]


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


def write(name: str, formula: Formula, known: Signature) -> Any:
    """The Kernel of a formula for operands of these classes; or the position of an operand.

    The latter where the formula gives an operand back as it is. Of a stand-in for an array that
    was not kept only the dtype is asked for. NotFusibleError where there is no kernel for it.
    """
    writer = Writer()
    count = len(known.operands)
    classes = (*known.operands, *known.parameters)
    values = [in_place_of(one, writer, index) for index, one in enumerate(classes)]
    words = dict(zip(known.names, values[count:], strict=True))
    result = formula(EXPRESSIONS, *values[:count], **words)
    if not isinstance(result, Value) or result.weak is not None:
        raise NotFusibleError(f"{name} gives no array")
    for index, value in enumerate(values[:count]):
        if result is value:
            return index
    inputs = []
    numbers = []
    for index in sorted(result.reads):
        number = argument(classes[index])
        if number is None and classes[index][0] not in NAMESPACES:
            raise NotFusibleError(f"{name} asks for elements of an array that was not kept")
        dtype = classes[index][1] if number is None else number
        inputs.append((index, dtype.name))
        numbers.append(number is not None)
    half = "(float16)" if result.dtype == np.float16 else ""
    lines = [*writer.body(result), f"y = {half}{result.code};"]
    types = tuple(inputs), tuple(numbers), result.dtype.name
    return Kernel(name, *types, "\n".join(lines), writer.functions(lines))


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
        # Without parameters the operands' classes are the whole key, which is quicker to make.
        known = signature(operands, words) if words else tuple(map(classify, operands))
        launch = self._known.get(known)
        if launch is None:
            made = known if isinstance(known, Signature) else Signature(known)
            launch = self._known[known] = self._plan(made)
        if launch is NotFusibleError:
            return self._formula(xp, *operands, **words)
        return launch((*operands, *words.values()) if words else operands)

    def _plan(self, known: Signature) -> Any:
        try:
            kernel = write(self._name, self._formula, known)
        except NotFusibleError:
            return NotFusibleError
        if isinstance(kernel, int):
            return itemgetter(kernel)
        launch = self._make(kernel)
        positions = [index for index, _ in kernel.inputs]
        return lambda everything: launch(*[everything[index] for index in positions])


class FusingNamespace(CupyNamespace):
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
        self._make = make
        self._rules: dict[Any, Any] = {}
        for name, formula in UFUNCS.items():
            setattr(self, name, self._mended(name, formula))

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
        function = native(self.module, name)

        def formula(xp: Any, *operands: Any) -> Any:
            return function(*operands) if xp is self else getattr(xp, name)(*operands)

        return for_large(self._fused(name, formula), function, self.module.ndarray)

    def _mended(self, name: str, mended: Formula) -> Formula:
        """What stands in for a function of the module's, for arrays of any size."""

        def formula(xp: Any, *operands: Any) -> Any:
            if xp is self:
                return mended(self, self.module, *operands)
            return getattr(xp, name)(*operands)

        return self._fused(name, formula)

    def rules(self, op: Any) -> Any:
        """The op's rules, each as one kernel if the op is an elementwise one of the table."""
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
