"""Optimizers: ``gg.optim``, with PyTorch's names. Imports tensor and below.

`rules` has the formulas, `apply` and `together` run them over arrays, `optimizer` has the base
class, `algorithms`, `adaptive`, `descent`, `matrices` and `lbfgs` the optimizers, `lr_scheduler`
the learning rates, `clip` the clipping of gradients and `swa_utils` averages of weights.
"""

from gpugrad.optim.optimizer import Optimizer
from gpugrad.tensor.hints import Setting, homes, members

_LAZY = homes({
    "optim": "lr_scheduler swa_utils",
    "optim.adaptive": "Adadelta Adagrad Adamax NAdam RAdam RMSprop",
    "optim.algorithms": "SGD Adam AdamW",
    "optim.clip": "clip_grad_norm_ clip_grad_value_ get_total_norm",
    "optim.descent": "ASGD Lion Rprop",
    "optim.lbfgs": "LBFGS",
    "optim.lr_scheduler": "SWALR ChainedScheduler ConstantLR CosineAnnealingLR "
    "CosineAnnealingWarmRestarts CyclicLR ExponentialLR LambdaLR LinearLR LRScheduler "
    "MultiplicativeLR MultiStepLR OneCycleLR PolynomialLR ReduceLROnPlateau SequentialLR StepLR",
    "optim.matrices": "LAMB Muon",
})  # fmt: skip

__all__ = sorted(["Optimizer", *_LAZY])  # noqa: PLE0605
__getattr__, __dir__ = members("optim", __all__, _LAZY)

_RATE = Setting("lr", "optimizer.param_groups[0]['lr'], which may be set, or a scheduler")
setattr(Optimizer, "lr", _RATE)  # noqa: B010  no member to type
