"""Registers the namespace of CuPy in which kernels replace formulas.

`gpugrad` imports this module; the namespace is made at the first CuPy array. Imports backend, and
with CuPy the modules beside it.
"""

from functools import partial
from importlib import import_module
from typing import Any

from gpugrad.backend.namespace import LIBRARIES, register
from gpugrad.kernels import enabled

__all__ = ["register_arrays"]

# Ops of which all that is not moved or multiplied is in kernels that take bfloat16.
BFLOAT16 = frozenset(
    ("convolution", "convolution_transpose", "convolution_weight", "elman", "gru", "lstm")
)


def register_arrays() -> None:
    """Register cupy.ndarray: with kernels, unless GPUGRAD_FUSION is 0."""
    from gpugrad.backend import cupy_arrays

    if not enabled():
        cupy_arrays.register_arrays()
        return
    from gpugrad.backend.products import Products
    from gpugrad.kernels.attention import Attention
    from gpugrad.kernels.batch_norm import BatchNorm, RMSNorm
    from gpugrad.kernels.class_losses import ClassLosses
    from gpugrad.kernels.dropout import Dropout
    from gpugrad.kernels.elementwise import FusingNamespace
    from gpugrad.kernels.epilogue import Epilogue
    from gpugrad.kernels.layer_norm import LayerNorm
    from gpugrad.kernels.multi_tensor import MultiTensor
    from gpugrad.kernels.ones import ones_like
    from gpugrad.kernels.philox import philox
    from gpugrad.kernels.recurrent import Recurrent
    from gpugrad.kernels.resampling import Resampling
    from gpugrad.kernels.rows import Rows
    from gpugrad.kernels.squares import Squares
    from gpugrad.kernels.windows import WindowKernels

    cupy = import_module("cupy")
    products = Products(cupy)
    functions: dict[str, Any] = {
        "add_product": products.add_product,
        "multi_tensor": MultiTensor(cupy),
        "ones_like": partial(ones_like, cupy),
        "philox": partial(philox, cupy),
        "product_into": products.product_into,
    }
    epilogue = Epilogue(cupy, products.multiply)
    families = (
        Rows, LayerNorm, BatchNorm, RMSNorm, Squares, WindowKernels, Resampling, Dropout,
        ClassLosses,
    )  # fmt: skip
    of_products = [family(cupy, products) for family in (Attention, Recurrent)]
    for family in (*[made(cupy) for made in families], epilogue, *of_products):
        functions |= family.functions()
    functions["bfloat16"] = BFLOAT16
    register(cupy.ndarray, cupy_arrays.make_namespace(cupy, FusingNamespace, products, **functions))


LIBRARIES["cupy"] = register_arrays
