"""The epilogue of a matrix product in one pass: add the bias, apply the activation.

Backward, one pass computes the gradient of the product and, as the sum of its rows, that of the
bias. Activation and derivative are the formulas of the op table, written as C. Imports codegen,
`rows` and `source`.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from gpugrad.backend.namespace import ELEMENTWISE, FORMULAS, namespace_of
from gpugrad.codegen.expression import EXPRESSIONS, Writer
from gpugrad.codegen.operands import Signature, argument, in_place_of_all, signature
from gpugrad.codegen.operations import c_type
from gpugrad.kernels.rows import ROW
from gpugrad.kernels.source import COLUMN, FLOATS, Get, Kernels, cupy_kernel, prelude

__all__ = ["Epilogue", "epilogue_source", "epilogue_vjp_source", "sums_source"]

STRIPE = 64  # the least number of rows that a block sums
FEW = 128  # the most rows that one block sums: for more, CuPy's kernel is faster
PLAIN = signature(())  # no parameters


def _declared(classes: Signature, first: int) -> str:
    """The parameters of an activation as the last C arguments of a kernel, from x<first> on."""
    numbered = enumerate(map(argument, classes.parameters), first)
    return "".join(f", {c_type(dtype)} x{i}" for i, dtype in numbered if dtype is not None)


def _arguments(classes: Signature, parameters: dict[str, Any]) -> tuple[Any, ...]:
    """The values of those arguments."""
    if not parameters:
        return ()
    pairs = zip(classes.parameters, parameters.values(), strict=True)
    return tuple(value for one, value in pairs if argument(one) is not None)


@cache
def epilogue_source(
    dtype: Any, activation: str | None, classes: Signature = PLAIN, keep: bool = False
) -> str:
    """The kernel ``epilogue``: replaces y by activation(y + bias, **parameters), row by row.

    With ``keep`` it replaces y by y + bias and writes the activation to ``result``. Without an
    activation it replaces y by y + bias.
    """
    writer = Writer()
    y, bias = (
        writer.operand(code, dtype, index)
        for index, code in enumerate(("widen(y[row * length + i])", "widen(bias[i])"))
    )
    between = EXPRESSIONS.add(y, bias)
    result = between
    if activation is not None:
        result = getattr(EXPRESSIONS, activation)(between, **in_place_of_all(classes, writer, 2))
    body = "\n".join(f"        {line}" for line in writer.body(result))
    stores = f"y[row * length + i] = narrow({between.code});\n        result" if keep else "y"
    return f"""{prelude(dtype)}{ROW}
extern "C" __global__ void epilogue(
    T* y, const T* bias, T* result, long long rows, long long length{_declared(classes, 2)})
{{
    EACH_ROW(row) EACH(i) {{
{body}
        {stores}[row * length + i] = narrow({result.code});
    }}
}}
"""


@cache
def epilogue_vjp_source(dtype: Any, activation: str, classes: Signature) -> str:
    """The kernel ``epilogue_vjp``: g times the derivative of the activation, and its sum over rows.

    ``x`` is the input of the activation and ``y`` its output; the one that the derivative does not
    use may be 0.
    """
    writer = Writer()
    operands = [
        writer.operand(f"widen({name}[row * length + column])", dtype, index)
        for index, name in enumerate("gyx")
    ]
    (rule,) = ELEMENTWISE[activation] or ()
    assert rule is not None
    pulled = rule(EXPRESSIONS, *operands, **in_place_of_all(classes, writer, 3))
    body = "\n".join(f"            {line}" for line in writer.body(pulled))
    return f"""{prelude(dtype)}{COLUMN}
extern "C" __global__ void epilogue_vjp(
    const T* g, const T* y, const T* x, T* d, T* sums, W* parts, unsigned int* arrived,
    long long rows, long long length, long long stripe{_declared(classes, 3)})
{{
    const long long column = (long long)blockIdx.x * 32 + threadIdx.x;
    const long long start = blockIdx.y * stripe, end = start + stripe < rows ? start + stripe : rows;
    W sum = 0;
    if (column < length)
        for (long long row = start + threadIdx.y; row < end; row += blockDim.y) {{
{body}
            const T value = narrow({pulled.code});
            d[row * length + column] = value;
            sum += widen(value);
        }}
    sum = sum_of_column(sum);
    if (gridDim.y > 1) {{
        if (threadIdx.y == 0 && column < length)
            parts[blockIdx.y * length + column] = sum;
        if (!comes_last(arrived))
            return;
        sum = sum_of_stripes(parts, column, length);
    }}
    if (threadIdx.y == 0 && column < length)
        sums[column] = narrow(sum);
}}
"""  # noqa: E501


@cache
def sums_source(dtype: Any) -> str:
    """The kernel ``column_sums``: the sum of g over its rows, for few rows."""
    return f"""{prelude(dtype)}{COLUMN}
extern "C" __global__ void column_sums(const T* g, T* sums, long long rows, long long length)
{{
    const long long column = (long long)blockIdx.x * 32 + threadIdx.x;
    W sum = 0;
    if (column < length)
        for (long long row = threadIdx.y; row < rows; row += blockDim.y)
            sum += widen(g[row * length + column]);
    sum = sum_of_column(sum);
    if (threadIdx.y == 0 && column < length)
        sums[column] = narrow(sum);
}}
"""


def _plain(parameters: dict[str, Any]) -> bool:
    """Whether the parameters of an activation have a kernel."""
    return all(value is None or type(value) in (float, int, str) for value in parameters.values())


class Epilogue(Kernels):
    """Linear layers, with and without an activation, on arrays of CuPy.

    ``multiply(a, b, turn_a, turn_b)`` is the product of two matrices, either of them transposed.
    """

    def __init__(self, module: Any, multiply: Callable[..., Any], get: Get = cupy_kernel) -> None:
        super().__init__(module, get)
        self._multiply = multiply

    def linear(self, x: Any, weight: Any, bias: Any = None) -> Any:
        """The product, then the bias in one pass."""
        y = None if bias is None else self._product(x, weight, bias)
        if y is None:
            xp = namespace_of(x) or namespace_of(weight)
            return FORMULAS["linear"](xp, x, weight, bias)
        return self(None, {}, y, bias, False)[1]

    def linear_vjp(
        self, g: Any, needs: tuple[Any, ...], x: Any, weight: Any, bias: Any, sums: Any = None
    ) -> Any:
        """The gradients of the operands of a layer; ``sums`` is that of the bias if known."""
        if sums is None and needs[2]:
            sums = self._column_sums(g, bias)
        if len(x.shape) != 2 or (needs[2] and sums is None):
            remaining = (*needs[:2], sums is None and needs[2])
            d_x, d_weight, d_bias = self._formula("linear_vjp", g, remaining, x, weight, bias)
        else:
            d_x = self._gradient(needs[0], g, weight)
            d_weight = self._gradient(needs[1], g, x, True)
            d_bias = None
        return d_x, d_weight, sums if needs[2] and sums is not None else d_bias

    def linear_activation(
        self, name: str, parameters: dict[str, Any], x: Any, weight: Any, bias: Any, keep: bool
    ) -> Any:
        """A layer with its activation, and with ``keep`` the input of the activation."""
        fits = bias is not None and _plain(parameters)
        y = self._product(x, weight, bias) if fits else None
        if y is None:
            xp = namespace_of(x) or namespace_of(weight)
            return FORMULAS["linear_activation"](xp, name, parameters, x, weight, bias, keep)
        return self(name, parameters, y, bias, keep)[::-1]

    def linear_activation_vjp(
        self, name: str, parameters: dict[str, Any], g: Any, needs: tuple[Any, ...], y: Any,
        between: Any, x: Any, weight: Any, bias: Any,
    ) -> Any:  # fmt: skip
        """g pulled back through a layer and its activation."""
        dtype, shape = g.dtype, g.shape
        if (
            bias is None
            or dtype not in FLOATS
            or not g.size
            or any(other.dtype != dtype for other in (y, between, x, weight, bias))
            or not shape == y.shape == between.shape
            or bias.shape != shape[-1:]
            or not _plain(parameters)
        ):
            formula, xp = FORMULAS["linear_activation_vjp"], namespace_of(g)
            return formula(xp, name, parameters, g, needs, y, between, x, weight, bias)
        d, sums = self._pulled(name, parameters, g, y, between)
        return self.linear_vjp(d, needs, x, weight, bias, sums)

    def _product(self, x: Any, weight: Any, bias: Any) -> Any:
        """x @ weight.T, to which the kernel adds the bias; None where it does not fit."""
        if not isinstance(x, self._array) or not self._fit(x, weight, bias) or not x.ndim:
            return None
        if weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
            return None
        if not bias.shape == weight.shape[:1] != (0,):
            return None
        if x.ndim == 2:
            y = self._multiply(x, weight, False, True)
        else:
            y = self._formula("linear", x, weight)
        return y if y.flags.c_contiguous else None  # no product of CuPy has another order

    def __call__(
        self, activation: str | None, parameters: dict[str, Any], y: Any, bias: Any, keep: bool
    ) -> tuple[Any, Any]:
        """y + bias, and activation(y + bias, **parameters); the first is valid with ``keep`` only.

        y is in C order and owned by the caller: one of the results reuses its memory. Without an
        activation the second is y + bias.
        """
        length, dtype = y.shape[-1], y.dtype
        rows = y.size // length
        result = self._array(y.shape, dtype) if keep else y
        classes = signature((), parameters) if parameters else PLAIN
        arguments = (y, self._dense(bias), result, rows, length, *_arguments(classes, parameters))
        source = epilogue_source(dtype, activation, classes, keep)
        self._launch(source, "epilogue", rows, length, *arguments)
        return y, result

    def _pulled(
        self, activation: str, parameters: dict[str, Any], g: Any, y: Any, x: Any
    ) -> tuple[Any, Any]:
        """g pulled back through the activation, and its sum over rows.

        ``x`` is the input of the activation and ``y`` its output; the one that its rule does not
        use may be a `ShapeDtype`.
        """
        dtype, shape = g.dtype, g.shape
        length = shape[-1]
        rows = g.size // length
        d, sums = self._array(shape, dtype), self._array((length,), dtype)
        divided = self._stripes(rows, length, dtype, STRIPE)
        classes = signature((), parameters) if parameters else PLAIN
        y, x = (self._dense(one) if isinstance(one, self._array) else None for one in (y, x))
        kernel = self._get(epilogue_vjp_source(dtype, activation, classes), "epilogue_vjp")
        kernel(divided.grid, divided.block, (
            self._dense(g), y, x, d, sums, divided.parts, divided.arrived, rows, length,
            divided.rows, *_arguments(classes, parameters),
        ))  # fmt: skip
        return d, sums

    def _gradient(self, need: Any, a: Any, b: Any, turn_a: bool = False) -> Any:
        """A product; None where it is not needed, or was added to ``need.total`` in place."""
        if not need:
            return None
        if need is not True:
            xp = namespace_of(a)
            if xp.add_product and xp.add_product(need.total, a.T if turn_a else a, b):
                return None
        return self._multiply(a, b, turn_a, False)

    def _column_sums(self, g: Any, bias: Any) -> Any:
        """The sum of g over all axes but the last; None for many rows, which CuPy sums."""
        dtype, shape = g.dtype, g.shape
        length = shape[-1] if shape else 0
        rows = g.size // length if length else 0
        if not 0 < rows <= FEW or dtype not in FLOATS or bias.shape != (length,):
            return None
        sums = self._array((length,), dtype)
        kernel = self._get(sums_source(dtype), "column_sums")
        kernel((-(-length // 32),), (32, 8), (self._dense(g), sums, rows, length))
        return sums
