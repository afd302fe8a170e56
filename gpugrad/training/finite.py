"""Stops a training whose numbers are not finite. Imports inspect, nn and below."""

import operator
from collections.abc import Iterable
from functools import reduce
from typing import Any

from gpugrad.backend import processes
from gpugrad.backend.namespace import namespace_of
from gpugrad.errors import AnomalyError
from gpugrad.inspect import detect_anomaly
from gpugrad.nn import Module
from gpugrad.optim.divided import parts_of

__all__ = ["all_finite", "are_finite", "check_parameters", "find_anomaly"]


def are_finite(tensors: Iterable[Any]) -> Any:
    """Whether all numbers of some tensors of one device are finite, still on the device.

    Where gradients are divided among processes, all of these ask together.
    """
    there = [tensor for tensor in tensors if tensor is not None]
    parts = parts_of(there)
    arrays = [t.data for t in there] if parts is None else [*parts.own, *parts.whole]
    flags = [namespace_of(array).isfinite(array).all() for array in arrays]
    finite = reduce(operator.and_, flags, True)
    if parts is None:
        return finite
    return parts.join(finite * 1, "min") != 0


def all_finite(tensors: Iterable[Any]) -> bool:
    """Whether all numbers of some tensors of one device are finite. Waits once."""
    return bool(are_finite(tensors))


def check_parameters(model: Module, step: int) -> None:
    """AnomalyError where a parameter is not finite: what began it is then in an earlier step."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if all_finite(p for _, p in named):
        return
    names = [name for name, p in named if not all_finite([p])]
    raise AnomalyError(
        f"Trainer: after step {step} there are numbers that are not finite in {', '.join(names)}. "
        "Go on from the last checkpoint with look_steps=1, which finds the operation"
    )


def find_anomaly(trainer: Any, batch: Any) -> None:
    """Compute a batch again whose loss or gradients were not finite: AnomalyError, with the op."""
    trainer.optimizer.zero_grad()
    check_parameters(trainer.model, trainer.step)
    with detect_anomaly(), trainer.ranks.passing(trainer.model, False, False):
        with trainer.precision.block:
            loss, *_ = trainer.compute_loss(batch)
        loss.backward()
    value = loss.item()
    trainer.optimizer.zero_grad()
    processes.wait_for_all()  # where it was another rank's, that ends all with the operation
    raise AnomalyError(
        f"Trainer: the loss or a gradient was not finite at step {trainer.step}, but is when it is "
        f"computed again (the loss is {value:.4g})"
    )
