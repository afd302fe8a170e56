"""Optimizers: ``gg.optim``, with PyTorch's names. Imports tensor and below.

`rules` has the formulas, `apply` says how they meet the arrays, `optimizer` has what all
optimizers share and `algorithms` the optimizers.
"""

from gpugrad.optim.algorithms import SGD, Adam, AdamW
from gpugrad.optim.optimizer import Optimizer

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
