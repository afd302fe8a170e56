"""What a `Trainer` computes for a batch and for a step; compiled where it is asked to.

Imports metrics, nn and below, and the compiler when it is used.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gpugrad.data.dataset import map_arrays
from gpugrad.engine.modes import no_grad
from gpugrad.errors import ArgumentError, CompileError
from gpugrad.metrics import added
from gpugrad.tensor import Tensor, as_tensor
from gpugrad.training.finite import are_finite, find_anomaly

__all__ = ["Batch", "Steps"]


class Batch(NamedTuple):
    """What a batch gives: its loss, the sum of all so far, and the number of its samples.

    ``is_finite`` is a mask of one element, None where nobody has looked; ``output`` has the
    predictions and targets for the metrics, where there are any.
    """

    loss: Tensor
    total: Tensor
    rows: int
    is_finite: Any
    output: Any


class Steps:
    """The functions of a training that are programs where it is compiled."""

    def __init__(self, trainer: Any, is_compiled: bool) -> None:
        if not isinstance(is_compiled, bool):
            raise ArgumentError(f"Trainer: compile must be True or False, got {is_compiled!r}")
        self._trainer = trainer
        self.is_compiled = is_compiled
        self._closes = getattr(trainer.optimizer, "needs_closure", False)
        self._gradients: Any = self._run_backward
        self._loss: Any = self._compute_loss
        self._update: Any = self._run_update
        if is_compiled:
            from gpugrad.compiler.api import compile

            self._gradients, self._loss = compile(self._gradients), compile(self._loss)
            # A scaler decides by values whether to step; a divided optimizer asks other processes.
            if trainer.precision.scaler is None and not trainer.ranks.divides:
                self._update = compile(self._update)

    def begin(self) -> Any:
        """The sum of no losses: None, or a number that a program may begin with."""
        if not self.is_compiled:
            return None
        return as_tensor(np.zeros(()), device=self._trainer._device())

    def batch(self, batch: Any, total: Any, weight: float | None = None) -> Batch:
        """Add the gradients of a batch, or make the step of an optimizer that does so itself.

        ``total`` is the sum of losses before; ``weight`` is what the loss is multiplied by, None
        for 1, and 0 for a batch that does not count. AnomalyError where the loss or a gradient is
        not finite.
        """
        if not self._closes:
            result = self._differentiated(batch, total, weight)
            return result._replace(total=total, rows=0, output=None) if weight == 0 else result
        results: list[Batch] = []

        def closure() -> Any:
            self._trainer.optimizer.zero_grad()
            if results:  # a line search may try what is not finite
                return self._call(self._gradients, batch, total, None, False).loss
            results.append(self._differentiated(batch, total))
            return results[0].loss

        self._trainer.optimizer.step(closure)
        return results[0]

    def step(self) -> None:
        """Make the step, unless a batch has made it, and forget the gradients."""
        if self._closes:
            self._trainer.optimizer.zero_grad()
        else:
            self._call(self._update)

    def evaluated(self, batch: Any, total: Any) -> Batch:
        """The loss of a batch, without gradients."""
        result: Batch = self._call(self._loss, batch, total)
        return result

    def _differentiated(self, batch: Any, total: Any, weight: float | None = None) -> Batch:
        trainer = self._trainer
        device = trainer._device()
        looks = device is None or device.kind == "cpu" or trainer.step % trainer.look_steps == 0
        scale = trainer.precision.scale(device)
        # A program looks in passing, and is another one where it does not.
        flags = looks or self.is_compiled
        result: Batch = self._call(self._gradients, batch, total, scale, flags, weight)
        if looks and not result.is_finite:
            find_anomaly(trainer, batch)
        return result

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except CompileError as error:
            raise CompileError(f"Trainer: {error}. Or leave out compile=True") from error

    # What is compiled.

    def _run_backward(
        self, batch: Any, total: Any, scale: Any, looks: bool, weight: float | None = None
    ) -> Batch:
        trainer = self._trainer
        loss, prediction, target = trainer._checked_loss(batch)
        share = loss if trainer.accumulate == 1 else loss / trainer.accumulate
        share = share if weight is None else share * weight
        (share if scale is None else share * scale).backward()
        is_finite = None
        if looks:  # scaled gradients may overflow
            parameters = trainer.model.parameters() if scale is None else []
            is_finite = are_finite([loss, *(parameter.grad for parameter in parameters)])
        return self._batch(loss.detach(), total, is_finite, prediction, target)

    def _compute_loss(self, batch: Any, total: Any) -> Batch:
        loss, prediction, target = self._trainer._checked_loss(batch)
        return self._batch(loss, total, None, prediction, target)

    def _batch(
        self, loss: Tensor, total: Any, is_finite: Any, prediction: Any, target: Any
    ) -> Batch:
        rows = _rows(target, prediction)
        with no_grad():
            total = added(total, loss.astype("float64") * rows)
        output = None
        if self._trainer.metrics:
            output = map_arrays(_detached, (prediction, target))
        return Batch(loss, total, rows, is_finite, output)

    def _run_update(self) -> None:
        trainer = self._trainer
        trainer.precision.step(trainer.optimizer, trainer.model.parameters(), trainer.clip_norm)
        trainer.optimizer.zero_grad()


def _detached(array: Any) -> Any:
    return array.detach() if isinstance(array, Tensor) else array


def _rows(*things: Any) -> int:
    """How many samples are in a batch, by the first thing that has rows."""
    for thing in things:
        if getattr(thing, "shape", ()):
            return int(thing.shape[0])
    return 1
