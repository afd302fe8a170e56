"""What follows a product of matrices, in one pass over it: the bias and the activation.

Backward, one pass gives the gradient of the product and that of the bias, which is the sum of the
former's rows. The activation is its formula of the op table, written as C, and so is its
derivative. Imports the modules beside it.
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

STRIPE = 64  # rows, at least, that a block adds up
FEW = 128  # rows at most whose sum one block makes: of more CuPy's kernel is quicker
PLAIN = signature(())  # no parameters


class _Parameters:
    """An activation's parameters in a kernel: ``words`` for its formula, ``declared`` in C.

    Numbers that are arguments of the kernel are its last ones.
    """

    def __init__(self, writer: Writer, known: Signature, first: int) -> None:
        places = list(enumerate(known.parameters, first))
        values = [in_place_of(one, writer, index) for index, one in places]
        self.words = dict(zip(known.names, values, strict=True))
        arguments = [(index, argument(one)) for index, one in places]
        self.declared = "".join(
            f", {c_type(found)} x{index}" for index, found in arguments if found is not None
        )


def _numbers(known: Signature, words: dict[str, Any]) -> tuple[Any, ...]:
    """The values that a kernel takes as arguments, in the order of `_Parameters`."""
    pairs = zip(known.parameters, words.values(), strict=True)
    return tuple(value for one, value in pairs if argument(one) is not None)


@cache
def epilogue_source(
    dtype: Any, activation: str | None, known: Signature = PLAIN, keep: bool = False
) -> str:
    """The kernel ``epilogue``: activation(y + bias, **words) in the place of y, row by row.

    With ``keep``, y + bias in the place of y and what the activation makes of it in ``made``.
    Without an activation y + bias in the place of y.
    """
    writer = Writer()
    y, bias = (
        writer.operand(code, dtype, index)
        for index, code in enumerate(("widen(y[row * length + i])", "widen(bias[i])"))
    )
    between = EXPRESSIONS.add(y, bias)
    parameters = _Parameters(writer, known, 2)
    found = between
    if activation is not None:
        found = getattr(EXPRESSIONS, activation)(between, **parameters.words)
    body = "\n".join(f"        {line}" for line in writer.body(found))
    stores = f"y[row * length + i] = narrow({between.code});\n        made" if keep else "y"
    return f"""{prelude(dtype)}{ROW}
extern "C" __global__ void epilogue(
    T* y, const T* bias, T* made, long long rows, long long length{parameters.declared})
{{
    EACH_ROW(row) EACH(i) {{
{body}
        {stores}[row * length + i] = narrow({found.code});
    }}
}}
"""


@cache
def epilogue_vjp_source(dtype: Any, activation: str, known: Signature) -> str:
    """The kernel ``epilogue_vjp``: the activation's derivative times g, and the sums of its rows.

    ``y`` is the activation's result and ``x`` what it was given; the one that the derivative does
    not need may be 0.
    """
    writer = Writer()
    operands = [
        writer.operand(f"widen({name}[row * length + column])", dtype, index)
        for index, name in enumerate("gyx")
    ]
    (rule,) = ELEMENTWISE[activation] or ()
    assert rule is not None
    parameters = _Parameters(writer, known, 3)
    found = rule(EXPRESSIONS, *operands, **parameters.words)
    body = "\n".join(f"            {line}" for line in writer.body(found))
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
            const T found = narrow({found.code});
            d[row * length + column] = found;
            sum += widen(found);
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
    """The kernel ``column_sums``: the sums of g over its rows, of which there are few."""
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


def _plain(words: dict[str, Any]) -> bool:
    """Whether an activation's parameters can stand in a kernel."""
    return all(type(value) in (float, int, str) for value in words.values())


def _multiply(a: Any, b: Any, turn_a: bool = False, turn_b: bool = False) -> Any:
    return namespace_of(a).matmul(a.T if turn_a else a, b.T if turn_b else b)


class Epilogue:
    """The launches, for arrays of ``module`` (cupy), whose kernels ``get`` compiles.

    ``multiply(a, b, turn_a, turn_b)`` gives the product of two matrices, either transposed.
    """

    def __init__(
        self, module: Any, get: Get = cupy_kernel, multiply: Callable[..., Any] | None = None
    ) -> None:
        self.module = module
        self.get = get
        self.multiply = multiply or _multiply

    def functions(self) -> dict[str, Callable[..., Any]]:
        """By the names of the formulas that they stand in for."""
        return {
            "linear": self._linear,
            "linear_vjp": self._linear_vjp,
            "linear_activation": self._activated,
            "linear_activation_vjp": self._activated_vjp,
        }

    def takes(self, x: Any, weight: Any, bias: Any) -> bool:
        """Whether the operands are those of a layer, as x @ weight.T + bias, and of one dtype."""
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
        self, activation: str | None, words: dict[str, Any], y: Any, bias: Any, keep: bool
    ) -> tuple[Any, Any]:
        """y + bias and activation(y + bias, **words), the first only where it is to be kept.

        y is in C order and nobody else's: its memory is used for one of the two. Without an
        activation the second is y + bias.
        """
        shape, dtype = y.shape, y.dtype
        length = shape[-1]
        rows = y.size // length
        made = self.module.ndarray(shape, dtype) if keep else y
        known = signature((), words) if words else PLAIN
        kernel = self.get(epilogue_source(dtype, activation, known, keep), "epilogue")
        arguments: tuple[Any, ...] = (y, contiguous(self.module, bias), made, rows, length)
        if words:
            arguments += _numbers(known, words)
        kernel(*launch_shape(rows, length), arguments)
        return y, made

    def vjp(
        self, activation: str, words: dict[str, Any], g: Any, y: Any, x: Any
    ) -> tuple[Any, Any]:
        """The gradient of y + bias, and the sums of its rows, of the gradient of the call's result.

        ``y`` is that result and ``x`` is y + bias; one may be a stand-in, where the activation's
        rule does not need it.
        """
        module, dtype, shape = self.module, g.dtype, g.shape
        array = module.ndarray
        length = shape[-1]
        rows = g.size // length
        d, sums = array(shape, dtype), array((length,), dtype)
        divided = stripes(module, rows, length, dtype, STRIPE)
        known = signature((), words) if words else PLAIN
        kernel = self.get(epilogue_vjp_source(dtype, activation, known), "epilogue_vjp")
        arguments: tuple[Any, ...] = (
            contiguous(module, g),
            contiguous(module, y) if isinstance(y, array) else None,
            contiguous(module, x) if isinstance(x, array) else None,
            d, sums, divided.parts, divided.arrived, rows, length, divided.rows,
        )  # fmt: skip
        if words:
            arguments += _numbers(known, words)
        kernel(divided.grid, divided.block, arguments)
        return d, sums

    def product(self, x: Any, weight: Any) -> Any:
        """x @ weight.T, of operands that `takes` takes."""
        if x.ndim == 2:
            return self.multiply(x, weight, False, True)
        return FORMULAS["linear"](namespace_of(x), x, weight)

    def _linear(self, x: Any, weight: Any, bias: Any = None) -> Any:
        """A layer: the product, and its bias in one pass over it."""
        if bias is None or not self.takes(x, weight, bias):
            xp = namespace_of(x) or namespace_of(weight)
            return FORMULAS["linear"](xp, x, weight, bias)
        y = self.product(x, weight)
        if not y.flags.c_contiguous:  # as no product of CuPy's is
            return y + bias
        return self(None, {}, y, bias, False)[1]

    def _linear_vjp(
        self, g: Any, needs: tuple[Any, ...], x: Any, weight: Any, bias: Any, sums: Any = None
    ) -> tuple[Any, Any, Any]:
        """The gradients of a layer's operands; that of the bias is ``sums`` where it is known."""
        if sums is None and needs[2]:
            sums = self._column_sums(g, bias)
        if len(x.shape) != 2 or (needs[2] and sums is None):
            words = (*needs[:2], sums is None and needs[2])
            d_x, d_weight, d_bias = FORMULAS["linear_vjp"](
                namespace_of(g), g, words, x, weight, bias
            )
        else:
            d_x = self._gradient(needs[0], g, weight)
            d_weight = self._gradient(needs[1], g, x, True)
            d_bias = None
        return d_x, d_weight, sums if needs[2] and sums is not None else d_bias

    def _gradient(self, need: Any, a: Any, b: Any, turn_a: bool = False) -> Any:
        """A product; None where it is not needed, or was added to what ``need`` has."""
        if not need:
            return None
        if need is not True:
            xp = namespace_of(a)
            if xp.add_product and xp.add_product(need.total, a.T if turn_a else a, b):
                return None
        return self.multiply(a, b, turn_a, False)

    def _activated(
        self, name: str, words: dict[str, Any], x: Any, weight: Any, bias: Any, keep: bool
    ) -> tuple[Any, Any]:
        """A layer with its activation, and what comes between them where it is to be kept."""
        y = None
        if bias is not None and self.takes(x, weight, bias) and _plain(words):
            y = self.product(x, weight)
        if y is None or not y.flags.c_contiguous:  # as no product of CuPy's is
            xp = namespace_of(x) or namespace_of(weight)
            result: tuple[Any, Any] = FORMULAS["linear_activation"](
                xp, name, words, x, weight, bias, keep
            )
            return result
        between, made = self(name, words, y, bias, keep)
        return made, between

    def _activated_vjp(
        self, name: str, words: dict[str, Any], g: Any, needs: tuple[Any, ...], y: Any,
        between: Any, x: Any, weight: Any, bias: Any,
    ) -> tuple[Any, Any, Any]:  # fmt: skip
        """The gradients of a layer's operands, of that of its activation's result."""
        dtype, shape = g.dtype, g.shape
        if (
            bias is None
            or dtype not in FLOATS
            or not g.size
            or any(other.dtype != dtype for other in (y, between, x, weight, bias))
            or not shape == y.shape == between.shape
            or bias.shape != shape[-1:]
            or not _plain(words)
        ):
            formula = FORMULAS["linear_activation_vjp"]
            gradients: tuple[Any, Any, Any] = formula(
                namespace_of(g), name, words, g, needs, y, between, x, weight, bias
            )
            return gradients
        d, sums = self.vjp(name, words, g, y, between)
        return self._linear_vjp(d, needs, x, weight, bias, sums)

    def _column_sums(self, g: Any, bias: Any) -> Any:
        """The sum of g over all axes but the last, of few rows; None where CuPy has to make it."""
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
