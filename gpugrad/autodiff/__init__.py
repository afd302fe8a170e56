"""Derivatives as functions. Imports tensor and engine."""

from gpugrad.autodiff.batches import vmap
from gpugrad.autodiff.checkpoint import checkpoint
from gpugrad.autodiff.custom import CustomOp, custom_op, saved
from gpugrad.autodiff.gradcheck import gradcheck, gradgradcheck
from gpugrad.autodiff.matrices import hessian, jacobian
from gpugrad.autodiff.reverse import gradients
from gpugrad.autodiff.scan import scan
from gpugrad.autodiff.transforms import grad, hvp, jvp, linearize, value_and_grad, vjp

__all__ = [
    "CustomOp", "checkpoint", "custom_op", "grad", "gradcheck", "gradgradcheck", "gradients",
    "hessian", "hvp", "jacobian", "jvp", "linearize", "saved", "scan", "value_and_grad",
    "vjp", "vmap",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)
