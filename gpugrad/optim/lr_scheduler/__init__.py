"""Learning rates that follow a schedule: ``gg.optim.lr_scheduler``, with PyTorch's names.

All are in ``gg.optim`` as well. Each is a closed form, a function of a group's initial rate and of
the number of steps, that goes on from a rate set by hand (`base`). `decays` has factors, lines and
powers, `cycles` what goes up and down, `combined` schedules of schedules, and `plateau` the one
that looks at a loss.
"""

from gpugrad.optim.lr_scheduler.base import LRScheduler
from gpugrad.optim.lr_scheduler.combined import ChainedScheduler, SequentialLR
from gpugrad.optim.lr_scheduler.cycles import (
    SWALR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    OneCycleLR,
)
from gpugrad.optim.lr_scheduler.decays import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from gpugrad.optim.lr_scheduler.plateau import ReduceLROnPlateau

__all__ = [
    "SWALR", "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
    "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR",
    "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip
