"""Optimizers: ``gg.optim``, with PyTorch's names. Imports tensor and below.

Written by ci/stubs.py from the op table; do not edit.
"""

from gpugrad.optim import lr_scheduler, swa_utils
from gpugrad.optim.adaptive import Adadelta, Adagrad, Adamax, NAdam, RAdam, RMSprop
from gpugrad.optim.algorithms import SGD, Adam, AdamW
from gpugrad.optim.clip import clip_grad_norm_, clip_grad_value_, get_total_norm
from gpugrad.optim.descent import ASGD, Lion, Rprop
from gpugrad.optim.lbfgs import LBFGS
from gpugrad.optim.lr_scheduler import (
    SWALR,
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from gpugrad.optim.matrices import LAMB, Muon
from gpugrad.optim.optimizer import Optimizer

__all__ = [
    "ASGD",
    "LAMB",
    "LBFGS",
    "SGD",
    "SWALR",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "Lion",
    "MultiStepLR",
    "MultiplicativeLR",
    "Muon",
    "NAdam",
    "OneCycleLR",
    "Optimizer",
    "PolynomialLR",
    "RAdam",
    "RMSprop",
    "ReduceLROnPlateau",
    "Rprop",
    "SequentialLR",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
    "get_total_norm",
    "lr_scheduler",
    "swa_utils",
]
