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
from gpugrad.codegen.operands import Signature, argument, in_place_of, signature
from gpugrad.codegen.operations import c_type
from gpugrad.kernels.rows import ROW, contiguous, launch_shape
from gpugrad.kernels.source import COLUMN, FLOATS, Get, cupy_kernel, prelude, stripes

__all__ = ["Epilogue", "epilogue_source", "epilogue_vjp_source", "sums_source"]

STRIPE = 64  # the least number of rows that a block sums
FEW = 128  # the most rows that one block sums: for more, CuPy's kernel is faster
PLAIN = signature(())  # no parameters


class _Parameters:
    """The parameters of an activation: ``values`` for its formula, ``declared`` as C arguments.

    The arguments are the last ones of the kernel.
    """

    def __init__(self, writer: Writer, classes: Signature, first: int) -> None:
        numbered = list(enumerate(classes.parameters, first))
        values = [in_place_of(one, writer, index) for index, one in numbered]
        self.values = dict(zip(classes.names, values, strict=True))
        arguments = [(index, argument(one)) for index, one in numbered]
        self.declared = "".join(
            f", {c_type(dtype)} x{index}" for index, dtype in arguments if dtype is not None
        )


def _arguments(classes: Signature, parameters: dict[str, Any]) -> tuple[Any, ...]:
    """The parameters that are arguments of the kernel, in the order of `_Parameters`."""
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
    parameters = _Parameters(writer, classes, 2)
    result = between
    if activation is not None:
        result = getattr(EXPRESSIONS, activation)(between, **parameters.values)
    body = "\n".join(f"        {line}" for line in writer.body(result))
    stores = f"y[row * length + i] = narrow({between.code});\n        result" if keep else "y"
    return f"""{prelude(dtype)}{ROW}
extern "C" __global__ void epilogue(
    T* y, const T* bias, T* result, long long rows, long long length{parameters.declared})
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
    parameters = _Parameters(writer, classes, 3)
    pulled = rule(EXPRESSIONS, *operands, **parameters.values)
    body = "\n".join(f"            {line}" for line in writer.body(pulled))
    return f"""{prelude(dtype)}{COLUMN}
extern "C" __global__ void epilogue_vjp(
    const T* g, const T* y, const T* x, T* d, T* sums, W* parts, unsigned int* arrived,
    long long rows, long long length, long long stripe{parameters.declared})
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
    return all(type(value) in (float, int, str) for value in parameters.values())


def _multiply(a: Any, b: Any, turn_a: bool = False, turn_b: bool = False) -> Any:
    return namespace_of(a).matmul(a.T if turn_a else a, b.T if turn_b else b)


class Epilogue:
    """Launches the kernels on arrays of ``module`` (cupy); ``get`` compiles them.

    ``multiply(a, b, turn_a, turn_b)`` is the product of two matrices, either of them transposed.
    """

    def __init__(
        self, module: Any, get: Get = cupy_kernel, multiply: Callable[..., Any] | None = None
    ) -> None:
        self.module = module
        self.get = get
        self.multiply = multiply or _multiply

    def functions(self) -> dict[str, Callable[..., Any]]:
        """The methods by the names of the formulas that they replace."""
        return {
            "linear": self._linear,
            "linear_vjp": self._linear_vjp,
            "linear_activation": self._activated,
            "linear_activation_vjp": self._activated_vjp,
        }

    def takes(self, x: Any, weight: Any, bias: Any) -> bool:
        """Whether the shapes fit x @ weight.T + bias, and all operands have one dtype."""
        array = self.module.ndarray
        if not (isinstance(x, array) and isinstance(weight, array) and isinstance(bias, array)):
            return False
        dtype, shape = x.dtype, weight.shape
        return (
            dtype in FLOATS
            and dtype == weight.dtype == bias.dtype
            and x.ndim > 0
            and x.size > 0
            and len(shape) == 2
            and x.shape[-1] == shape[1]
            and bias.shape == shape[:1] != (0,)
        )

    def __call__(
        self, activation: str | None, parameters: dict[str, Any], y: Any, bias: Any, keep: bool
    ) -> tuple[Any, Any]:
        """y + bias, and activation(y + bias, **parameters); the first is valid with ``keep`` only.

        y is in C order and owned by the caller: one of the results reuses its memory. Without an
        activation the second is y + bias.
        """
        shape, dtype = y.shape, y.dtype
        length = shape[-1]
        rows = y.size // length
        result = self.module.ndarray(shape, dtype) if keep else y
        classes = signature((), parameters) if parameters else PLAIN
        kernel = self.get(epilogue_source(dtype, activation, classes, keep), "epilogue")
        arguments: tuple[Any, ...] = (y, contiguous(self.module, bias), result, rows, length)
        if parameters:
            arguments += _arguments(classes, parameters)
        kernel(*launch_shape(rows, length), arguments)
        return y, result

    def vjp(
        self, activation: str, parameters: dict[str, Any], g: Any, y: Any, x: Any
    ) -> tuple[Any, Any]:
        """g pulled back through the activation, and its sum over rows.

        ``x`` is the input of the activation and ``y`` its output; the one that its rule does not
        use may be a `ShapeDtype`.
        """
        module, dtype, shape = self.module, g.dtype, g.shape
        array = module.ndarray
        length = shape[-1]
        rows = g.size // length
        d, sums = array(shape, dtype), array((length,), dtype)
        divided = stripes(module, rows, length, dtype, STRIPE)
        classes = signature((), parameters) if parameters else PLAIN
        kernel = self.get(epilogue_vjp_source(dtype, activation, classes), "epilogue_vjp")
        arguments: tuple[Any, ...] = (
            contiguous(module, g),
            contiguous(module, y) if isinstance(y, array) else None,
            contiguous(module, x) if isinstance(x, array) else None,
            d, sums, divided.parts, divided.arrived, rows, length, divided.rows,
        )  # fmt: skip
        if parameters:
            arguments += _arguments(classes, parameters)
        kernel(divided.grid, divided.block, arguments)
        return d, sums

    def product(self, x: Any, weight: Any) -> Any:
        """x @ weight.T, for operands that `takes` accepts."""
        if x.ndim == 2:
            return self.multiply(x, weight, False, True)
        return FORMULAS["linear"](namespace_of(x), x, weight)

    def _linear(self, x: Any, weight: Any, bias: Any = None) -> Any:
        """A linear layer: the product, then the bias in one pass."""
        if bias is None or not self.takes(x, weight, bias):
            xp = namespace_of(x) or namespace_of(weight)
            return FORMULAS["linear"](xp, x, weight, bias)
        y = self.product(x, weight)
        if not y.flags.c_contiguous:  # no product of CuPy has another order
            return y + bias
        return self(None, {}, y, bias, False)[1]

    def _linear_vjp(
        self, g: Any, needs: tuple[Any, ...], x: Any, weight: Any, bias: Any, sums: Any = None
    ) -> tuple[Any, Any, Any]:
        """The gradients of the operands of a layer; ``sums`` is that of the bias if known."""
        if sums is None and needs[2]:
            sums = self._column_sums(g, bias)
        if len(x.shape) != 2 or (needs[2] and sums is None):
            remaining = (*needs[:2], sums is None and needs[2])
            d_x, d_weight, d_bias = FORMULAS["linear_vjp"](
                namespace_of(g), g, remaining, x, weight, bias
            )
        else:
            d_x = self._gradient(needs[0], g, weight)
            d_weight = self._gradient(needs[1], g, x, True)
            d_bias = None
        return d_x, d_weight, sums if needs[2] and sums is not None else d_bias

    def _gradient(self, need: Any, a: Any, b: Any, turn_a: bool = False) -> Any:
        """A product; None where it is not needed, or was added to ``need.total`` in place."""
        if not need:
            return None
        if need is not True:
            xp = namespace_of(a)
            if xp.add_product and xp.add_product(need.total, a.T if turn_a else a, b):
                return None
        return self.multiply(a, b, turn_a, False)

    def _activated(
        self, name: str, parameters: dict[str, Any], x: Any, weight: Any, bias: Any, keep: bool
    ) -> tuple[Any, Any]:
        """A layer with its activation, and with ``keep`` the input of the activation."""
        y = None
        if bias is not None and self.takes(x, weight, bias) and _plain(parameters):
            y = self.product(x, weight)
        if y is None or not y.flags.c_contiguous:  # no product of CuPy has another order
            xp = namespace_of(x) or namespace_of(weight)
            result: tuple[Any, Any] = FORMULAS["linear_activation"](
                xp, name, parameters, x, weight, bias, keep
            )
            return result
        between, result = self(name, parameters, y, bias, keep)
        return result, between

    def _activated_vjp(
        self, name: str, parameters: dict[str, Any], g: Any, needs: tuple[Any, ...], y: Any,
        between: Any, x: Any, weight: Any, bias: Any,
    ) -> tuple[Any, Any, Any]:  # fmt: skip
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
            formula = FORMULAS["linear_activation_vjp"]
            gradients: tuple[Any, Any, Any] = formula(
                namespace_of(g), name, parameters, g, needs, y, between, x, weight, bias
            )
            return gradients
        d, sums = self.vjp(name, parameters, g, y, between)
        return self._linear_vjp(d, needs, x, weight, bias, sums)

    def _column_sums(self, g: Any, bias: Any) -> Any:
        """The sum of g over all axes but the last; None for many rows, which CuPy sums."""
        dtype, shape = g.dtype, g.shape
        length = shape[-1] if shape else 0
        rows = g.size // length if length else 0
        if not 0 < rows <= FEW or dtype not in FLOATS or bias.shape != (length,):
            return None
        sums = self.module.ndarray((length,), dtype)
        kernel = self.get(sums_source(dtype), "column_sums")
        grid = (-(-length // 32),)
        kernel(grid, (32, 8), (contiguous(self.module, g), sums, rows, length))
        return sums
