"""Modules, layers, losses and initialization: ``gg.nn``, with PyTorch's names.

Written by ci/stubs.py from the op table; do not edit.
"""

from typing import Any, Literal

from gpugrad.nn import functional, init
from gpugrad.nn.activations import Identity, LogSoftmax, Softmax
from gpugrad.nn.containers import MLP, Flatten, Sequential
from gpugrad.nn.cross_entropy import BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
from gpugrad.nn.dropout import Dropout
from gpugrad.nn.linear import Linear
from gpugrad.nn.losses import HuberLoss, L1Loss, MSELoss
from gpugrad.nn.module import Module
from gpugrad.nn.normalization import LayerNorm
from gpugrad.nn.parameter import Parameter
from gpugrad.tensor import Tensor

__all__ = [
    "ELU",
    "GELU",
    "MLP",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "HuberLoss",
    "Identity",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "functional",
    "init",
]

class Sigmoid(Module):
    """1 / (1 + e ** -x), elementwise, for x of any size."""
    def forward(self, x: Any) -> Tensor: ...

class ReLU(Module):
    """x where x > 0 and else 0; its derivative at 0 is 0."""
    def forward(self, x: Any) -> Tensor: ...

class Softplus(Module):
    """log(1 + e ** x), elementwise, for x of any size."""
    def forward(self, x: Any) -> Tensor: ...

class SiLU(Module):
    """x * sigmoid(x), elementwise (Elfwing et al., 2018); also named swish."""
    def forward(self, x: Any) -> Tensor: ...

class ELU(Module):
    """x where x > 0 and else alpha * (e ** x - 1) (Clevert et al., 2016)."""

    alpha: float | Tensor
    def __init__(self, alpha: float | Tensor = 1.0) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class LeakyReLU(Module):
    """x where x > 0 and else negative_slope * x."""

    negative_slope: float | Tensor
    def __init__(self, negative_slope: float | Tensor = 0.01) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class GELU(Module):
    """x * Φ(x), Φ the normal distribution function (Hendrycks and Gimpel, 2016);
    approximate="tanh" for their faster form.
    """

    approximate: Literal["none", "tanh"]
    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class Tanh(Module):
    """The hyperbolic tangent: 1 for large x, never an overflow."""
    def forward(self, x: Any) -> Tensor: ...
