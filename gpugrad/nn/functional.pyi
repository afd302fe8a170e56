"""Layers, activations and losses as functions: ``gg.nn.functional``.

Written by ci/stubs.py from the op table; do not edit.
"""

from gpugrad import elu, gelu, leaky_relu, log_softmax, relu, sigmoid, silu, softmax, softplus, tanh
from gpugrad.nn.cross_entropy import binary_cross_entropy_with_logits, cross_entropy, nll_loss
from gpugrad.nn.dropout import dropout
from gpugrad.nn.linear import linear
from gpugrad.nn.losses import huber_loss, l1_loss, mse_loss
from gpugrad.nn.normalization import layer_norm

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "elu",
    "gelu",
    "huber_loss",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mse_loss",
    "nll_loss",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]
