"""One kernel for an elementwise formula: CuPy's ElementwiseKernel with a generated body.

`Fused` replaces a formula of the op table, forward or derivative. The first call with operands of
given classes (`codegen.operands`) writes the kernel (`codegen.expression`); later calls cost one
dict lookup. Imports codegen, `wide`, and CuPy when a kernel is first launched.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.cupy_compat import native
from gpugrad.backend.cupy_namespace import CupyNamespace
from gpugrad.backend.cupy_ufuncs import UFUNCS
from gpugrad.backend.namespace import ELEMENTWISE, FORMULAS, NAMESPACES
from gpugrad.codegen.expression import EXPRESSIONS, NotFusibleError, Value, Writer
from gpugrad.codegen.operands import (
    Signature,
    argument,
    classify,
    in_place_of,
    in_place_of_all,
    signature,
)
from gpugrad.kernels.wide import Wide, for_large

__all__ = ["Fused", "FusingNamespace", "Kernel", "cupy_kernel", "write"]

Formula = Callable[..., Any]


class Kernel(NamedTuple):
    """An elementwise kernel: its inputs, its output and its body.

    ``inputs`` are pairs of the position of an operand and the name of its dtype; operand n is xn
    in the body, and the result, of dtype ``output``, is y. ``numbers`` says which inputs are
    scalars of Python or NumPy. ``functions`` are the definitions of the special functions that the
    body calls.
    """

    name: str
    inputs: tuple[tuple[int, str], ...]
    numbers: tuple[bool, ...]
    output: str
    body: str
    functions: tuple[str, ...] = ()


def write(name: str, formula: Formula, classes: Signature) -> Any:
    """The Kernel of a formula for operands of these classes.

    The position of an operand where the formula returns that operand itself. A formula may use the
    dtype of an array that was not saved (`ShapeDtype`). NotFusibleError where there is no kernel.
    """
    writer = Writer()
    count = len(classes.operands)
    all_classes = (*classes.operands, *classes.parameters)
    values = [in_place_of(one, writer, index) for index, one in enumerate(classes.operands)]
    result = formula(EXPRESSIONS, *values, **in_place_of_all(classes, writer, count))
    if not isinstance(result, Value) or result.weak is not None:
        raise NotFusibleError(f"{name} returns no array")
    for index, value in enumerate(values):
        if result is value:
            return index
    inputs, numbers = [], []
    for index in sorted(result.reads):
        scalar = argument(all_classes[index])
        if scalar is None and all_classes[index][0] not in NAMESPACES:
            raise NotFusibleError(f"{name} reads elements of an array that was not saved")
        dtype = all_classes[index][1] if scalar is None else scalar
        inputs.append((index, dtype.name))
        numbers.append(scalar is not None)
    half = "(float16)" if result.dtype == np.float16 else ""
    lines = [*writer.body(result), f"y = {half}{result.code};"]
    types = tuple(inputs), tuple(numbers), result.dtype.name
    return Kernel(name, *types, "\n".join(lines), writer.functions(lines))


def cupy_kernel(kernel: Kernel) -> Callable[..., Any]:
    """The kernel as CuPy compiles and launches it, with broadcasting and strides.

    Large arrays that need neither go to a `Wide` kernel with the same body.
    """
    cupy = import_module("cupy")
    inputs = [f"{dtype} x{index}" for index, dtype in kernel.inputs]
    launch: Callable[..., Any] = cupy.ElementwiseKernel(
        ", ".join(inputs),
        f"{kernel.output} y",
        kernel.body,
        f"gpugrad_{kernel.name}",
        preamble="".join(kernel.functions),
        options=("--std=c++17",),  # as CuPy compiles its special functions
    )
    return Wide(kernel, launch, cupy) if Wide.takes(kernel) else launch


class Fused:
    """A formula ``f(xp, *operands, **parameters)`` that runs as one kernel where there is one.

    ``make(kernel)`` compiles. For operands without a kernel (complex numbers, for example) the
    formula itself runs, operation by operation, in the namespace ``xp``.
    """

    __slots__ = ("_formula", "_launchers", "_make", "_name")

    def __init__(self, name: str, formula: Formula, make: Callable[[Kernel], Any]) -> None:
        self._name = name
        self._formula = formula
        self._make = make
        self._launchers: dict[Any, Any] = {}

    def __call__(self, xp: Any, *operands: Any, **parameters: Any) -> Any:
        # Without parameters the classes of the operands are the whole key, which is faster.
        key = signature(operands, parameters) if parameters else tuple(map(classify, operands))
        launch = self._launchers.get(key)
        if launch is None:
            classes = key if isinstance(key, Signature) else Signature(key)
            launch = self._launchers[key] = self._launcher(classes)
        if launch is NotFusibleError:
            return self._formula(xp, *operands, **parameters)
        return launch((*operands, *parameters.values()) if parameters else operands)

    def _launcher(self, classes: Signature) -> Any:
        """What launches the kernel for operands of these classes; NotFusibleError without one."""
        try:
            kernel = write(self._name, self._formula, classes)
        except NotFusibleError:
            return NotFusibleError
        if isinstance(kernel, int):
            return itemgetter(kernel)
        launch = self._make(kernel)
        positions = [index for index, _ in kernel.inputs]
        return lambda operands: launch(*[operands[index] for index in positions])


class FusingNamespace(CupyNamespace):
    """The namespace of CuPy in which elementwise formulas and rules of the op table are kernels."""

    def __init__(
        self, *arguments: Any, make: Callable[[Kernel], Any] = cupy_kernel, **keywords: Any
    ) -> None:
        super().__init__(*arguments, **keywords)
        self._make = make
        self._rules: dict[Any, Any] = {}
        for name, formula in UFUNCS.items():
            function = partial(formula, self, self.module)
            setattr(self, name, self._as_formula(name, function))

    def __getattr__(self, name: str) -> Any:
        if name not in ELEMENTWISE:
            return super().__getattr__(name)
        formula = FORMULAS.get(name)
        function = self._native(name) if formula is None else self._fused(name, formula)
        setattr(self, name, function)
        return function

    def _fused(self, name: str, formula: Formula) -> Formula:
        return partial(Fused(name, formula, self._make), self)

    def _native(self, name: str) -> Formula:
        """A CuPy function, which is one kernel; for large arrays a `Wide` kernel in its place."""
        function = native(self.module, name)
        return for_large(self._as_formula(name, function), function, self.module.ndarray)

    def _as_formula(self, name: str, function: Formula) -> Formula:
        """A kernel written by the function of this name; ``function`` where there is none."""

        def formula(xp: Any, *operands: Any) -> Any:
            return function(*operands) if xp is self else getattr(xp, name)(*operands)

        return self._fused(name, formula)

    def rules(self, op: Any) -> Any:
        """The rules of an op; those of an elementwise op of the table run as one kernel each."""
        rules = self._rules.get(op)
        if rules is None:
            rules = op.vjps
            if rules is not None and ELEMENTWISE.get(op.name) is rules:
                rules = tuple(
                    None if rule is None else Fused(f"{op.name}_vjp{index}", rule, self._make)
                    for index, rule in enumerate(op.vjps)
                )
            self._rules[op] = rules
        return rules
