"""gpugrad: derivatives of NumPy and CuPy code.

    >>> import gpugrad as gg
    >>> x = gg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> loss = (x**2).sum()
    >>> loss.backward()
    >>> x.grad
    tensor([2., 4., 6.])

Array functions have the names of NumPy and the Array API standard; ``nn``, ``optim`` and the
gradient modes follow PyTorch; function transforms follow JAX.
"""

import importlib
from typing import Any

from numpy import (
    bool,
    bool_,
    complex64,
    complex128,
    e,
    float16,
    float32,
    float64,
    inf,
    int8,
    int16,
    int32,
    int64,
    nan,
    newaxis,
    pi,
    uint8,
    uint16,
    uint32,
    uint64,
)  # fmt: skip

from gpugrad import backend, errors
from gpugrad.backend import Device, cuda, default_device, set_default_device
from gpugrad.backend.device import device
from gpugrad.backend.reuse import empty_cache
from gpugrad.engine.modes import (
    deterministic,
    enable_grad,
    is_deterministic,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from gpugrad.errors import *  # noqa: F403
from gpugrad.errors import __all__ as _errors
from gpugrad.functions.bind import PUBLIC
from gpugrad.functions.index_tricks import c_, r_
from gpugrad.kernels import attach as _kernels  # noqa: F401  for the arrays of CuPy
from gpugrad.tensor import Tensor
from gpugrad.tensor.creation import *  # noqa: F403
from gpugrad.tensor.creation import __all__ as _creation
from gpugrad.tensor.hints import members

__version__ = "0.2.0"
__array_api_version__ = "2025.12"

globals().update(PUBLIC)
setattr(cuda, "__getattr__", members("cuda", cuda.__all__)[0])  # noqa: B010  advice for others

# Imported at first access, so that `import gpugrad` is quick.
_LAZY: dict[str, str] = {
    name: f"gpugrad.{module or name}"
    for module, names in {
        "": "autodiff data inspect io metrics nn optim parallel plot random sklearn training",
        "autodiff": "checkpoint custom_op grad gradcheck gradgradcheck gradients hessian hvp "
        "jacobian jvp linearize saved scan value_and_grad vjp vmap",
        "compiler.api": "compile",
        "engine.autocast": "autocast is_autocast_enabled",
        "functions": "fft linalg special",
        "inspect": "debug_mode detect_anomaly draw explain sync_guard",
        "io": "load save",
        "nn.stateless": "functional_call stack_parameters",
        "optim.grad_scaler": "GradScaler",
        "random": "manual_seed",
        "training": "Trainer",
    }.items()
    for name in names.split()
}


def __getattr__(name: str) -> Any:
    path = _LAZY.get(name)
    if name == "bfloat16":
        from gpugrad.backend.precision import dtype_named

        try:
            return dtype_named(name).type
        except errors.DTypeError as error:
            raise AttributeError(str(error)) from None
    if path is None:
        from gpugrad.tensor.hints import hint

        raise AttributeError(f"module 'gpugrad' has no attribute {name!r}{hint(name)}")
    module = importlib.import_module(path)
    value = module if path == f"gpugrad.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


__all__ = [  # noqa: PLE0604  names of the tables
    "Device", "Tensor", "backend", "bool", "bool_", "c_", "complex128", "complex64", "cuda",
    "default_device", "deterministic", "device", "e", "empty_cache", "enable_grad", "errors",
    "float16", "float32", "float64", "inf", "int16", "int32", "int64", "int8", "is_deterministic",
    "is_grad_enabled", "nan", "newaxis", "no_grad", "pi", "r_", "set_default_device",
    "set_grad_enabled", "uint16", "uint32", "uint64", "uint8", "__array_api_version__",
    *_errors, *_creation, *PUBLIC, *_LAZY,
]  # fmt: skip
