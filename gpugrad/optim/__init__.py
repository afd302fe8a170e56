"""Optimizers: ``gg.optim``, with PyTorch's names. Imports tensor and below.

`rules` has the formulas, `apply` and `together` run them over arrays, `optimizer` has the base
class, `algorithms`, `adaptive`, `descent`, `matrices` and `lbfgs` the optimizers, `lr_scheduler`
the learning rates, `clip` the clipping of gradients and `swa_utils` averages of weights.
"""

from typing import TYPE_CHECKING, NoReturn

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
from gpugrad.tensor.hints import Setting, absent

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

_RATE = Setting("lr", "optimizer.param_groups[0]['lr'], which may be set, or a scheduler")
setattr(Optimizer, "lr", _RATE)  # noqa: B010  no member to type


if not TYPE_CHECKING:

    def __getattr__(name: str) -> NoReturn:
        raise absent("optim", name)

    def __dir__() -> list[str]:
        return sorted(__all__)
