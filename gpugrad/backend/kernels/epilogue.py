"""What follows a product of matrices, in one pass over it: the bias and the activation.

Backward, one pass gives the gradient of the product and that of the bias, which is the sum of the
former's rows. The activation is its formula of the op table, written as C, and so is its
derivative. Imports the modules beside it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from gpugrad.backend.kernels.expression import EXPRESSIONS, Writer
from gpugrad.backend.kernels.operands import Signature, argument, in_place_of, signature
from gpugrad.backend.kernels.operations import c_type
from gpugrad.backend.kernels.rows import ROW, contiguous, launch_shape
from gpugrad.backend.kernels.source import COLUMN, FLOATS, Get, cupy_kernel, prelude, stripes
from gpugrad.backend.namespace import ELEMENTWISE, FORMULAS, namespace_of
from gpugrad.backend.summed import Summed

__all__ = ["Epilogue", "epilogue_source", "epilogue_vjp_source"]

STRIPE = 64  # rows, at least, that a block adds up


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
def epilogue_source(dtype: Any, activation: str, known: Signature, keep: bool = False) -> str:
    """The kernel ``epilogue``: activation(y + bias, **words) in the place of y, row by row.

    With ``keep``, y + bias in the place of y and what the activation makes of it in ``made``.
    """
    writer = Writer()
    y, bias = (
        writer.operand(code, dtype, index)
        for index, code in enumerate(("widen(y[row * length + i])", "widen(bias[i])"))
    )
    between = EXPRESSIONS.add(y, bias)
    parameters = _Parameters(writer, known, 2)
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


class Epilogue:
    """The launches, for arrays of ``module`` (cupy), whose kernels ``get`` compiles."""

    def __init__(self, module: Any, get: Get = cupy_kernel) -> None:
        self.module = module
        self.get = get

    def functions(self) -> dict[str, Callable[..., Any]]:
        """By the names of the formulas that they stand in for."""
        return {"linear_vjp": self._linear_vjp}

    def takes(self, x: Any, weight: Any, bias: Any) -> bool:
        """Whether the operands are those of a layer, as x @ weight.T + bias, and of one dtype."""
        arrays = (x, weight, bias)
        return (
            all(isinstance(array, self.module.ndarray) for array in arrays)
            and x.dtype in FLOATS
            and x.dtype == weight.dtype == bias.dtype
            and x.ndim > 0
            and x.size > 0
            and weight.ndim == 2
            and x.shape[-1] == weight.shape[1]
            and bias.shape == weight.shape[:1] != (0,)
        )

    def __call__(
        self, activation: str, words: dict[str, Any], y: Any, bias: Any, keep: bool
    ) -> tuple[Any, Any]:
        """y + bias and activation(y + bias, **words), the first only where it is to be kept.

        y is in C order and nobody else's: its memory is used for one of the two.
        """
        length = y.shape[-1]
        rows = y.size // length
        if not bias.flags.c_contiguous:
            bias = self.module.ascontiguousarray(bias)
        made = self.module.empty(y.shape, y.dtype) if keep else y
        known = signature((), words)
        kernel = self.get(epilogue_source(y.dtype, activation, known, keep), "epilogue")
        arguments = (y, bias, made, rows, length, *_numbers(known, words))
        kernel(*launch_shape(rows, length), arguments)
        return y, made

    def vjp(self, activation: str, xp: Any, g: Any, y: Any, x: Any, **words: Any) -> Any:
        """The gradient of y + bias, a `Summed`, of the gradient of what the activation made of it.

        As a rule of the table, of a pair of layers that was computed by a call above.
        """
        module, dtype = self.module, g.dtype
        g, y, x = (
            contiguous(module, array) if isinstance(array, module.ndarray) else None
            for array in (g, y, x)
        )
        length = g.shape[-1]
        rows = g.size // length
        d, sums = module.empty(g.shape, dtype), module.empty((length,), dtype)
        divided = stripes(module, rows, length, dtype, STRIPE)
        known = signature((), words)
        kernel = self.get(epilogue_vjp_source(dtype, activation, known), "epilogue_vjp")
        arrays = (g, y, x, d, sums, divided.parts, divided.arrived)
        numbers = (rows, length, divided.rows, *_numbers(known, words))
        kernel(divided.grid, divided.block, (*arrays, *numbers))
        return Summed(d, sums)

    def _linear_vjp(
        self, g: Any, needs: tuple[bool, ...], x: Any, weight: Any, bias: Any
    ) -> tuple[Any, Any, Any]:
        """The gradients of a layer's operands; that of the bias is known where g is a `Summed`."""
        formula = FORMULAS["linear_vjp"]
        if not isinstance(g, Summed):
            pulled: tuple[Any, Any, Any] = formula(namespace_of(g), g, needs, x, weight, bias)
            return pulled
        d_x, d_weight, _ = formula(
            namespace_of(g.array), g.array, (*needs[:2], False), x, weight, bias
        )
        return d_x, d_weight, g.sums if needs[2] else None
