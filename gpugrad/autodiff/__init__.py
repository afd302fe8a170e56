"""Derivatives as functions. Imports tensor and engine."""

from gpugrad.autodiff.reverse import gradients

__all__ = ["gradients"]
