"""In what precision a `Trainer` computes. Imports optim and below."""

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import numpy as np

from gpugrad.engine.autocast import autocast
from gpugrad.errors import ArgumentError, DTypeError
from gpugrad.optim import clip_grad_norm_
from gpugrad.optim.grad_scaler import GradScaler
from gpugrad.tensor import as_tensor

__all__ = ["Precision"]


class Precision:
    """The dtype of the products, or None, and the scaler that float16 needs, or None."""

    def __init__(self, dtype: Any, scaler: Any) -> None:
        block = None if dtype is None else autocast(dtype)
        self.block: Any = block or nullcontext()
        if scaler is not None and not isinstance(scaler, GradScaler):
            raise DTypeError(f"Trainer: scaler must be a gg.GradScaler or None, got {scaler!r}")
        if dtype is None and scaler is not None:
            raise ArgumentError("Trainer: a scaler needs autocast='float16'")
        if scaler is None and block is not None and block.dtype == "float16":
            scaler = GradScaler()
        self.scaler = scaler if scaler is not None and scaler.is_enabled() else None

    def scale(self, device: Any) -> Any:
        """What a loss is multiplied by on a device: a number that changes, or None for 1."""
        if self.scaler is None:
            return None
        return self.scaler.scale(as_tensor(np.ones((), np.float32), device=device))

    def step(self, optimizer: Any, parameters: Iterable[Any], most: float | None) -> None:
        """Step an optimizer, after clipping the norm of all gradients to ``most``."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        if most is not None:
            clip_grad_norm_(list(parameters), most)
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()
