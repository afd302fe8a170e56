"""Modules, layers, losses and first values: ``gg.nn``, with PyTorch's names.

Imports tensor, random and below.

>>> import gpugrad as gg
>>> model = gg.nn.Sequential(gg.nn.Linear(2, 8), gg.nn.Tanh(), gg.nn.Linear(8, 1))
>>> loss = gg.nn.functional.mse_loss(model(gg.ones((4, 2))), gg.zeros((4, 1)))
>>> loss.backward()
>>> model[0].weight.grad.shape
(8, 2)
"""

from typing import TYPE_CHECKING, NoReturn

from gpugrad.nn import functional, init
from gpugrad.nn.activations import (
    ELU,
    GELU,
    Identity,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from gpugrad.nn.criteria import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
)
from gpugrad.nn.layers import MLP, Dropout, Flatten, LayerNorm, Linear, Sequential
from gpugrad.nn.module import Module
from gpugrad.nn.parameter import Parameter
from gpugrad.tensor.hints import absent

__all__ = [
    "ELU", "GELU", "MLP", "BCEWithLogitsLoss", "CrossEntropyLoss", "Dropout", "Flatten",
    "HuberLoss", "Identity", "L1Loss", "LayerNorm", "LeakyReLU", "Linear", "LogSoftmax", "MSELoss",
    "Module", "NLLLoss", "Parameter", "ReLU", "Sequential", "SiLU", "Sigmoid", "Softmax",
    "Softplus", "Tanh", "functional", "init",
]  # fmt: skip


if not TYPE_CHECKING:

    def __getattr__(name: str) -> NoReturn:
        raise absent("nn", name)
