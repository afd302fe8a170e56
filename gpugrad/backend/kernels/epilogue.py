"""What follows a product of matrices, in one pass over it: the bias and the activation.

The activation is its formula of the op table, written as C. Imports the modules beside it.
"""

from functools import cache
from typing import Any

from gpugrad.backend.kernels.expression import EXPRESSIONS, Writer
from gpugrad.backend.kernels.rows import ROW, launch_shape
from gpugrad.backend.kernels.source import FLOATS, Get, cupy_kernel, prelude

__all__ = ["Epilogue", "epilogue_source"]


@cache
def epilogue_source(
    dtype: Any, activation: str, words: tuple[tuple[str, Any], ...] = (), keep: bool = False
) -> str:
    """The kernel ``epilogue``: activation(y + bias, **words) in the place of y, row by row.

    With ``keep``, y + bias in the place of y and what the activation makes of it in ``made``.
    """
    writer = Writer()
    y, bias = (
        writer.operand(code, dtype, index)
        for index, code in enumerate(("widen(y[row * length + i])", "widen(bias[i])"))
    )
    between = EXPRESSIONS.add(y, bias)
    found = getattr(EXPRESSIONS, activation)(between, **dict(words))
    body = "\n".join(f"        {line}" for line in writer.body(found))
    stores = f"y[row * length + i] = narrow({between.code});\n        made" if keep else "y"
    return f"""{prelude(dtype)}{ROW}
extern "C" __global__ void epilogue(
    T* y, const T* bias, T* made, long long rows, long long length)
{{
    EACH_ROW(row) EACH(i) {{
{body}
        {stores}[row * length + i] = narrow({found.code});
    }}
}}
"""


class Epilogue:
    """The launches, for arrays of ``module`` (cupy), whose kernels ``get`` compiles."""

    def __init__(self, module: Any, get: Get = cupy_kernel) -> None:
        self.module = module
        self.get = get

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
        source = epilogue_source(y.dtype, activation, tuple(words.items()), keep)
        kernel = self.get(source, "epilogue")
        kernel(*launch_shape(rows, length), (y, bias, made, rows, length))
        return y, made
